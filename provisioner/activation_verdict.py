"""What an entered code is worth for this caller: rules in order, the first that objects names the cause. Pure.

The cause is for the log. What the caller is told is less: who has not proven its device hears the same for every cause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from provisioner.codes import ActivationCode, CodeState
from provisioner.model import Device, DeviceState, Mac, Model


class Outcome(StrEnum):
    """What the caller is told."""

    ACCEPTED = "accepted"
    MISTYPED = "mistyped"
    """The check digit does not fit: ask again, it was no guess."""
    WRONG = "wrong"
    EXPIRED = "expired"
    USED = "used"
    WRONG_MODEL = "wrong_model"
    WRONG_DEVICE = "wrong_device"
    WRONG_SITE = "wrong_site"
    NOT_READY = "not_ready"
    """Code and phone are right, and the extension lacks something: ask the administrator; the code stays good."""
    LOCKED = "locked"
    """Too many wrong codes: ``retry_after`` says when the next may be tried."""
    UNSUPPORTED = "unsupported"
    """This phone is not activated by a code as things are: ask the administrator."""
    BUSY = "busy"
    """Not looked at, and nothing was counted: try again."""


class Cause(StrEnum):
    """Why an entered code was not accepted, in full."""

    UNKNOWN = "unknown"
    OTHER_ACCOUNT = "other_account"
    USED = "used"
    EXPIRED = "expired"
    REVOKED = "revoked"
    LOCKED = "locked"
    UNPROVEN = "unproven"
    NOT_OFFERED = "not_offered"
    HAS_LINES = "device_has_lines"
    DEVICE_REVOKED = "device_revoked"
    VENDOR = "vendor"
    MAC = "mac"
    MODEL = "model"
    SITE = "site"
    NETWORK = "network"
    NO_LICENSE = "no_license"
    NO_NUMBER = "no_number"
    NO_LOCATION = "no_emergency_location"
    HAS_PHONE = "extension_has_phone"
    NO_LINE = "no_free_line"


ANSWERS: Final[Mapping[Cause, Outcome]] = MappingProxyType(
    {
        Cause.UNKNOWN: Outcome.WRONG,
        Cause.OTHER_ACCOUNT: Outcome.WRONG,  # that another account has such a code is not its business
        Cause.USED: Outcome.USED,
        Cause.EXPIRED: Outcome.EXPIRED,
        Cause.REVOKED: Outcome.EXPIRED,
        Cause.LOCKED: Outcome.EXPIRED,  # the same help, another code; that an alarm was raised is not for a thief
        Cause.UNPROVEN: Outcome.WRONG,
        Cause.NOT_OFFERED: Outcome.WRONG,
        Cause.HAS_LINES: Outcome.WRONG_DEVICE,
        Cause.DEVICE_REVOKED: Outcome.WRONG,
        Cause.VENDOR: Outcome.WRONG,
        Cause.MAC: Outcome.WRONG_DEVICE,
        Cause.MODEL: Outcome.WRONG_MODEL,
        Cause.SITE: Outcome.WRONG_SITE,
        Cause.NETWORK: Outcome.WRONG_SITE,
        Cause.NO_LICENSE: Outcome.NOT_READY,
        Cause.NO_NUMBER: Outcome.NOT_READY,
        Cause.NO_LOCATION: Outcome.NOT_READY,
        Cause.HAS_PHONE: Outcome.EXPIRED,
        Cause.NO_LINE: Outcome.WRONG_DEVICE,
    }
)
"""For a caller whose device is proven."""

MISFITS: Final = frozenset(
    {
        Cause.OTHER_ACCOUNT,
        Cause.UNPROVEN,
        Cause.NOT_OFFERED,
        Cause.HAS_LINES,
        Cause.VENDOR,
        Cause.MAC,
        Cause.MODEL,
        Cause.SITE,
        Cause.NETWORK,
    }
)
"""The digits were right and the phone was not: somebody has a code that was not meant for that phone."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One entry of digits, as the voice menu or an adapter knows it."""

    mac: Mac
    vendor: str
    """Whose certificate the device showed when it fetched what it calls with."""
    model: str
    """As its vendor names it."""
    code: str = field(repr=False)
    source: str = ""
    """IP address that the call came from; empty where a PBX hides it."""
    authenticated: bool = False
    """The call proved that it comes from the device with this Mac."""
    channel: str = "sip"
    """Through which door: sip, agi, twiml ..."""
    number: int = 1
    """Which attempt of its call this is."""


@dataclass(frozen=True, slots=True)
class Redemption:
    """What came of an attempt."""

    outcome: Outcome
    extension: str = ""
    """The number that the phone has now."""
    device: Mac | None = None
    """The phone that has it."""
    line: int = 0
    replaced: Mac | None = None
    """The phone that had it before."""
    retry_after: float = 0.0
    """s, of ``locked`` and ``busy``."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that the rules look at."""

    attempt: Attempt
    code: ActivationCode
    device: Device | None
    """The device's row; None for one that nobody has added."""
    model: Model
    now: float
    offered: bool = True
    """A device that has proven itself would be offered activation now, too: its secret outlives the offer."""
    bound: float | None = None
    """When the first of its lines became somebody's; None while it has none."""
    window: float = 0.0
    """s from then on that it may be given further ones."""

    @property
    def state(self) -> CodeState:
        """The code's."""
        return self.code.state_at(self.now)


_RULES: Final[tuple[tuple[Cause, Callable[[Case], bool]], ...]] = (
    (Cause.OTHER_ACCOUNT, lambda one: one.device is not None and one.device.account != one.code.account),
    (Cause.USED, lambda one: one.state is CodeState.USED),
    (Cause.EXPIRED, lambda one: one.state is CodeState.EXPIRED),
    (Cause.REVOKED, lambda one: one.state is CodeState.REVOKED),
    (Cause.LOCKED, lambda one: one.state is CodeState.LOCKED),
    (Cause.UNPROVEN, lambda one: one.device is None and not one.attempt.authenticated),
    (Cause.DEVICE_REVOKED, lambda one: one.device is not None and one.device.state is DeviceState.REVOKED),
    (Cause.NOT_OFFERED, lambda one: one.attempt.authenticated and not one.offered),
    (Cause.HAS_LINES, lambda one: _is_taken(one)),
    (Cause.VENDOR, lambda one: one.attempt.authenticated and one.attempt.vendor != one.model.vendor),
    (Cause.MAC, lambda one: one.code.mac not in {"", one.attempt.mac}),
    (Cause.MODEL, lambda one: one.code.model != "" and not _is_model(one.code, one.model)),
    (Cause.SITE, lambda one: one.device is not None and not _is_site(one.code, one.device)),
)


def objection(case: Case) -> Cause | None:
    """The first cause against it; None when the phone may have the extension as far as can be told by these facts."""
    return next((cause for cause, objects in _RULES if objects(case)), None)


def answer(cause: Cause, *, authenticated: bool) -> Outcome:
    """What the caller hears."""
    return ANSWERS[cause] if authenticated else Outcome.WRONG


def _is_taken(case: Case) -> bool:
    """A phone that is somebody's gets no line by a code, but the further ports of an adapter soon after its first."""
    if case.bound is None:
        return False
    return not case.attempt.authenticated or case.now - case.bound >= case.window


def _is_model(code: ActivationCode, model: Model) -> bool:
    return (code.vendor, code.model) == (model.vendor, model.name)


def _is_site(code: ActivationCode, device: Device) -> bool:
    """A device that stands nowhere yet may come to the code's site."""
    return not code.site or not device.site or device.site == code.site
