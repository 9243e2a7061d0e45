"""Where people and phones are: what a site says of itself, and users that are places. Pure.

A site's address is where an ambulance drives to, so it is whole or not there.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

from provisioner.errors import Invalid
from provisioner.mail_address import parse_address
from provisioner.neutral import check_text

_LONGEST: Final = 120
"""Characters of a line of an address."""
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_MOST: Final = 50
_NEEDED: Final = ("street", "city", "country")


class UserKind(StrEnum):
    """What a user is."""

    PERSON = "person"
    PLACE = "place"
    """A lobby, a reception, a fax: its phones are for whoever comes by."""


def _check_line(name: str, value: str) -> None:
    try:
        check_text(value, _LONGEST)
    except ValueError as error:
        raise Invalid(f"address.{name}", str(error)) from error
    if value != value.strip():
        raise Invalid(f"address.{name}", "must not begin or end with a blank")


@dataclass(frozen=True, slots=True)
class Address:
    """A postal address; all empty where none is known."""

    street: str = ""
    city: str = ""
    region: str = ""
    postal_code: str = ""
    country: str = ""
    """ISO 3166-1 alpha-2."""

    def __post_init__(self) -> None:
        """Invalid names the line that is wrong, or that is missing where another is there."""
        for one in fields(self):
            _check_line(one.name, getattr(self, one.name))
        if self.country and not _COUNTRY.fullmatch(self.country):
            raise Invalid("address.country", "must be two capital letters (ISO 3166-1): DE, GB, US")
        if self.known and (missing := [name for name in _NEEDED if not getattr(self, name)]):
            raise Invalid(f"address.{missing[0]}", "is empty, and other lines of the address are not")

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return any(getattr(self, one.name) for one in fields(self))

    def __str__(self) -> str:
        """In one line, for people."""
        town = " ".join(one for one in (self.postal_code, self.city) if one)
        return ", ".join(one for one in (self.street, town, self.region, self.country) if one)


NOWHERE: Final = Address()


def parse_location(text: str) -> str:
    """Where in the building, in words that help to find it; Invalid when no screen could show it."""
    try:
        return check_text(text, _LONGEST).strip()
    except ValueError as error:
        raise Invalid("location", str(error)) from error


def parse_networks(given: Iterable[str]) -> tuple[str, ...]:
    """Networks in their one spelling, each once; Invalid names the one that is none."""
    found: dict[str, None] = {}
    for text in given:
        try:
            network = ipaddress.ip_network(text.strip())
        except ValueError as error:
            raise Invalid("networks", f"{text[:60]!r} is no network such as 192.0.2.0/24: {error}") from error
        found[str(network)] = None
    if len(found) > _MOST:
        raise Invalid("networks", f"must be at most {_MOST}")
    return tuple(found)


def parse_notify(given: Iterable[str]) -> tuple[str, ...]:
    """Mail addresses, each once; Invalid names the one that is none."""
    found: dict[str, None] = {}
    for text in given:
        try:
            found[parse_address(text.strip())] = None
        except ValueError as error:
            raise Invalid("notify", f"{text[:60]!r} is no mail address: {error}") from error
    if len(found) > _MOST:
        raise Invalid("notify", f"must be at most {_MOST}")
    return tuple(found)
