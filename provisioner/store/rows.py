"""What the store tells an administrator: frozen rows of plain values, secrets never among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.licensing import LicenseKind, LicenseState
from provisioner.model import Event, ListenerKind, Mac, Proof
from provisioner.numbering import NumberOrigin, NumberState
from provisioner.places import NOWHERE, Address, UserKind


@dataclass(frozen=True, slots=True)
class Account:
    """Whose sites, users, extensions and devices there are."""

    id: str
    name: str
    created: float
    parent: str = ""
    """The partner's account that it is below; empty: none."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place of an account; its time zone stands in the site's layer."""

    id: str
    account: str
    name: str
    time_zone: str = ""
    address: Address = NOWHERE
    location: str = ""
    """Where in the building: what a dispatcher has to know beside the address."""
    notify: tuple[str, ...] = ()
    """Mail addresses that hear when an address for emergencies is missing or changes."""
    networks: tuple[str, ...] = ()
    """From where its phones come."""
    range: str = ""
    """In which its extensions are suggested, ``1000-1999``; empty: in its account's."""


@dataclass(frozen=True, slots=True)
class User:
    """A person, or a place such as a lobby."""

    id: str
    account: str
    name: str
    email: str = ""
    kind: UserKind = UserKind.PERSON
    address: Address = NOWHERE
    """Where somebody is sent to who calls for help from this user's phones; nowhere: where their site is."""
    location: str = ""
    """Where in the building."""


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
    slot: int = 1
    """Which of the phones it is that its extension may have at the same time; 1 where it may have one."""


@dataclass(frozen=True, slots=True)
class License:
    """One that was bought; ``since`` is when it came to be as it is."""

    id: str
    account: str
    kind: LicenseKind
    state: LicenseState
    user: str
    """The id of the user who has it, also while it is suspended; empty for nobody."""
    since: float


@dataclass(frozen=True, slots=True)
class LicenseTotal:
    """How many an account has bought of a kind, and what became of them."""

    account: str
    kind: LicenseKind
    total: int
    available: int
    assigned: int
    suspended: int


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number of an account's pool, as it is at the time it was asked for."""

    id: str
    number: str
    account: str
    site: str
    state: NumberState
    origin: NumberOrigin
    extension: str
    """The id of the extension that has it, or will have it when it is ported; empty for none."""
    held_by: str
    until: float
    """When the hold ends; 0 while nobody holds it."""
    since: float


@dataclass(frozen=True, slots=True)
class ExtensionRange:
    """Where new extensions of an account, or of one of its sites, are looked for."""

    account: str
    site: str
    """Empty for the account as a whole."""
    low: str
    high: str


@dataclass(frozen=True, slots=True)
class ExtensionHold:
    """A free number that is kept for whoever asked for it."""

    account: str
    number: str
    actor: str
    until: float


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
    owner: str
    """The user whose phone it was; empty for nobody's."""


@dataclass(frozen=True, slots=True)
class HeldUpload:
    """The same as an administrator sees it."""

    name: str
    kind: str
    size: int
    at: float
    digest: str
    owner: str
    """The user's name; their id when they are gone; empty for what nobody's phone has sent."""
    served: bool
    """Whether the device gets it when it asks: its first line is this user's."""


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
    site: str = ""
    """The id of the site whose network it came from; empty for none, or for several."""


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
