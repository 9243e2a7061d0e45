"""What the store tells an administrator: frozen rows of plain values, secrets never among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.model import Event, ListenerKind, Mac, Proof


@dataclass(frozen=True, slots=True)
class Account:
    """A customer: has sites, users, extensions and devices."""

    id: str
    name: str
    created: float


@dataclass(frozen=True, slots=True)
class Site:
    """A place of an account; its time zone stands in the site's layer."""

    id: str
    account: str
    name: str
    time_zone: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """A person, or a place such as a lobby."""

    id: str
    account: str
    name: str
    email: str = ""


@dataclass(frozen=True, slots=True)
class Extension:
    """A number the PBX dials; its SIP secret is told by ``reveal_secret`` only."""

    id: str
    account: str
    number: str
    user: str
    display_name: str
    auth_user: str


@dataclass(frozen=True, slots=True)
class Binding:
    """An extension on a device's line, from when to when, by whom and why."""

    mac: Mac
    line: int
    extension: str
    """Its id."""
    number: str
    label: str
    since: float
    until: float | None
    actor: str
    cause: str


@dataclass(frozen=True, slots=True)
class Token:
    """A token URL as it is listed: everything but the token."""

    id: str
    mac: Mac
    opened: float
    expires: float
    budget: int
    spent: int
    revoked: bool


@dataclass(frozen=True, slots=True)
class Pin:
    """The factory key a device is held to."""

    mac: Mac
    spki: str
    not_after: str
    at: float


@dataclass(frozen=True, slots=True)
class Fetch:
    """The last time a device asked for one file."""

    mac: Mac
    file: str
    at: float
    status: int
    size: int
    digest: str
    proof: Proof
    listener: ListenerKind
    tls_version: str
    firmware: str


@dataclass(frozen=True, slots=True)
class Upload:
    """A file a device has sent."""

    mac: Mac
    name: str
    kind: str
    size: int
    digest: str
    at: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A device with a good certificate that nobody has added."""

    mac: Mac
    vendor: str
    model: str
    address: str
    first: float
    last: float
    times: int


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An Event with its place in the order."""

    id: int
    at: float
    kind: str
    mac: str
    severity: str
    actor: str
    details: Mapping[str, str]

    @property
    def event(self) -> Event:
        """The event itself."""
        return Event(self.kind, self.at, self.mac, self.severity, self.actor, self.details)
