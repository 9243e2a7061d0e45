"""Licenses and an account's policy: what state a license is in is worked out from who has it, never stored. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from provisioner.errors import Invalid

MOST_PHONES: Final = 10
"""Phones of one extension at most: a PBX that rings more contacts of one number than that is told to by a group."""

RESERVED: Final = ("000", "110", "112", "411", "711", "911", "933", "999")
"""Emergency and service numbers that no extension should take; an account can have a list of its own."""


class LicenseKind(StrEnum):
    """What a license is for."""

    USER = "user"
    LOBBY = "lobby"
    """A phone for everybody: reception, hall, a place that others sign in at."""
    ADDITIONAL_NUMBER = "additional_number"
    TOLL_FREE = "toll_free"


SEATS: Final = frozenset({LicenseKind.USER, LicenseKind.LOBBY})
"""Each of them lets its user have a phone; a user has one of them."""


class Rotation(StrEnum):
    """Which SIP secrets are exchanged when an extension comes to another phone than the one that knows them."""

    MADE = "made"
    """Those that were made here; one that somebody has given is what the PBX dictates, and stays."""
    ALL = "all"
    """Those that were given, too: the PBX hears of each new one and reads it."""
    NEVER = "never"


class EmergencyRule(StrEnum):
    """What becomes of a line where neither the phone's site nor the extension's user has an address for emergencies."""

    WARN = "warn"
    """It is bound, which is told: ``emergency.location_missing``."""
    BLOCK = "block"


class CodeNetworks(StrEnum):
    """From where an activation code may be used."""

    ANYWHERE = "anywhere"
    SITE = "site"
    """By a phone that fetched last from one of the networks of its site."""


class CodeMails(StrEnum):
    """Which activation codes are mailed when they are issued, where nobody says so with the code."""

    HOUSE = "house"
    """As the installation's setting mail.on_issue has it."""
    ALL = "all"
    ASKED = "asked"
    """Those alone for which it is asked."""


class LicenseState(StrEnum):
    """What can be done with it."""

    AVAILABLE = "available"
    ASSIGNED = "assigned"
    SUSPENDED = "suspended"
    """Counts for nothing until it is resumed, whoever has it."""


def license_state(*, has_user: bool, suspended: bool) -> LicenseState:
    """A suspended one is neither available nor does it license its user."""
    if suspended:
        return LicenseState.SUSPENDED
    return LicenseState.ASSIGNED if has_user else LicenseState.AVAILABLE


@dataclass(frozen=True, slots=True)
class AccountPolicy:
    """What an account must have before a phone becomes somebody's, and how many phones an extension may have."""

    account: str
    needs_license: bool = False
    """The user who holds the extension must have a license of a kind in SEATS that is not suspended."""
    needs_number: bool = False
    """The extension must have a phone number of the pool that is not still being ported."""
    phones: int = 1
    """Physical phones of one extension at the same time."""
    reserved: tuple[str, ...] = RESERVED
    """Numbers that no extension may have."""
    rotation: Rotation = Rotation.MADE
    """Which SIP secrets follow when an extension comes to another phone."""
    emergency: EmergencyRule = EmergencyRule.WARN
    """Whether a line may be somebody's while nobody could be sent to where its phone is."""
    networks: CodeNetworks = CodeNetworks.ANYWHERE
    """From where activation codes may be used."""
    mails: CodeMails = CodeMails.HOUSE
    """Whether activation codes are mailed to their users when they are issued."""

    def __post_init__(self) -> None:
        """A policy that nobody could keep is refused where it is made."""
        if not 1 <= self.phones <= MOST_PHONES:
            raise Invalid("phones", f"must be from 1 to {MOST_PHONES}")
        if wrong := [one for one in self.reserved if not (one.isascii() and one.isdigit() and len(one) <= 15)]:
            raise Invalid("reserved", f"{wrong[0]!r} is not 1 to 15 digits")
