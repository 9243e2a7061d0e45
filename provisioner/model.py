"""The frozen values that every room speaks in; parsed at the edge, never wrong inside. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, NamedTuple, Self, TypeVar, cast

from provisioner.errors import Invalid

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_MAC = re.compile(r"[0-9a-f]{12}")
_MAC_SEPARATORS = str.maketrans("", "", ":-. ")


class Mac(str):
    """A device's MAC address as 12 lower-case hex digits, the only spelling inside."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read any usual spelling (``00:04:F2:..``, ``0004-f2..``, ``0004.f2..``); Invalid when it is no MAC.

        All zeros is refused: Poly and Yealink use it as the name of files for everybody.
        """
        digits = text.translate(_MAC_SEPARATORS).lower()
        if not _MAC.fullmatch(digits):
            raise Invalid("mac", f"{text[:40]!r} is not a MAC address (12 hex digits, separators : - . allowed)")
        if digits == "000000000000":
            raise Invalid("mac", "000000000000 is the vendors' name for everybody, not a device")
        return cls(digits)

    @property
    def oui(self) -> str:
        """The maker's part: the first six digits."""
        return self[:6]

    @property
    def colons(self) -> str:
        """For people: ``00:04:f2:aa:bb:cc``."""
        return ":".join(self[i : i + 2] for i in range(0, 12, 2))


class Secret(str):
    """Text that is used like any other but that no repr shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'********'"


class Verdict(StrEnum):
    """What a presented certificate is worth; identity.py decides, docs/identity.md explains."""

    UNIQUE = "unique"
    GENERIC = "generic"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    UNTRUSTED = "untrusted"
    SELF_SIGNED = "self_signed"
    WEAK = "weak"
    REVOKED = "revoked"
    NONE = "none"


class ListenerKind(StrEnum):
    """The purposes of a listening socket, each with its own TLS context."""

    DEVICE = "device"
    LEGACY = "legacy"
    BOOTSTRAP = "bootstrap"
    ADMIN = "admin"
    IVR = "ivr"
    """SIP over UDP."""
    IVR_TCP = "ivr-tcp"
    IVR_TLS = "ivr-tls"
    AGI = "agi"
    """FastAGI of Asterisks."""
    HOOKS = "hooks"
    """Web hooks of other telephone systems."""
    PROFILE = "profile"


class Proof(StrEnum):
    """How a device proved who it is; recorded on each fetch."""

    CERTIFICATE = "certificate"
    TOKEN = "token"  # noqa: S105  # the word, not a secret
    DIGEST = "digest"
    NOTHING = "nothing"


class FileKind(StrEnum):
    """What a DeviceFile is for; limits, classes and content types hang on it."""

    MASTER = "master"
    BOOT = "boot"
    COMMON = "common"
    DEVICE = "device"
    OVERRIDES = "overrides"
    DIRECTORY = "directory"
    CALLS = "calls"
    LICENSE = "license"
    FIRMWARE = "firmware"
    RESOURCE = "resource"
    LOG = "log"


class DeviceState(StrEnum):
    """The life of a Device."""

    UNASSIGNED = "unassigned"
    ASSIGNED = "assigned"
    NEEDS_FIRMWARE = "needs_firmware"
    REVOKED = "revoked"


class Scope(StrEnum):
    """Where a ConfigLayer applies, in merge order: a later scope overrides an earlier one."""

    BUILT_IN = "built-in"
    DEFAULTS = "defaults"
    VENDOR = "vendor"
    MODEL = "model"
    ACCOUNT = "account"
    SITE = "site"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class PeerCert:
    """What TLS proved about the other end: possession of the leaf's key, and the chain OpenSSL built.

    ``chain`` is DER, leaf first, trust anchor last, empty on a resumed session. ``errors`` are OpenSSL's
    (code, depth) pairs that the verify callback saw (X509_V_ERR_*, openssl-verification-options(1)).
    """

    leaf: bytes
    chain: tuple[bytes, ...] = ()
    errors: tuple[tuple[int, int], ...] = ()
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """How the connection was made, for events: TLS version, cipher, SNI; empty strings on plain HTTP."""

    version: str = ""
    cipher: str = ""
    sni: str = ""
    resumed: bool = False
    """By a ticket: at a fifth of the cost of a full handshake."""


@dataclass(frozen=True, slots=True)
class FactoryName:
    """What a vendor reads in its own leaf: the Mac, or None where the certificate is shared by many devices."""

    mac: Mac | None
    serial: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """The verdict on a PeerCert: vendor by trust anchor, Mac by the vendor's rule, and why."""

    verdict: Verdict
    vendor: str = ""
    mac: Mac | None = None
    spki: str = ""
    """SHA-256 (hex) of the leaf's SubjectPublicKeyInfo: what a Device pins."""
    subject: str = ""
    issuer: str = ""
    not_before: str = ""
    not_after: str = ""
    why: str = ""


NOBODY = Identity(Verdict.NONE, why="no client certificate was presented")


class AgentClaim(NamedTuple):
    """What a User-Agent claims; it identifies, never authenticates."""

    model: str = ""
    """The model's name in models.toml, empty when the token is not known."""
    firmware: str = ""
    mac: Mac | None = None
    is_updater: bool = False
    """Poly: the updater speaks, so ``firmware`` is its own version and not the application's."""


NO_CLAIM = AgentClaim()


@dataclass(frozen=True, slots=True)
class DeviceFile:
    """A named thing a device asks for, as its vendor's driver understood the path and the User-Agent."""

    vendor: str
    kind: FileKind
    name: str
    """The last path segments as asked for, Mac in lower case."""
    mac: Mac | None = None
    """The Mac in the name; None for files that everybody asks for."""
    upload: bool = False
    """The device may PUT (or POST) it."""
    secret: bool = True
    """May hold a secret: never on the bootstrap listener."""
    media_type: str = "text/plain; charset=utf-8"
    agent: AgentClaim = NO_CLAIM


@dataclass(frozen=True, slots=True)
class Model:
    """A row of a vendor's models.toml: each fact about a model stands there once."""

    vendor: str
    name: str
    family: str
    dialect: str
    lines: int
    """SIP lines or FXS ports that can register."""
    line_keys: int = 0
    ports: int = 0
    """FXS ports; 0 for a phone."""
    agents: tuple[str, ...] = ()
    """Model tokens of its User-Agents."""
    code: str = ""
    """Yealink: the number in y0000000000NN.cfg, digits only."""
    part_number: str = ""
    """Poly: firmware part number, 2345-12600-001."""
    firmware_family: str = ""
    """Yealink: first field of its firmware versions."""
    min_firmware: str = ""
    """Below it only an upgrade-only configuration without secrets is served."""
    ivr_activation: bool = True
    poe: bool = True
    dect: bool = False
    refuses: Mapping[str, str] = field(default_factory=dict)
    """Neutral setting -> why this model cannot do it."""
    answers: tuple[str, ...] = ()
    """What it takes better than a wait, when the server is busy: 503 as a ``p1``, ``p2`` or ``p3`` request, 404 for a
    ``firmware``, ``log``, ``directory`` or ``calls`` file. Inferred unless measured: admission.answers overrides it."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Setting(Generic[T_co]):
    """A neutral setting: one meaning for all vendors, typed and checked where it enters."""

    name: str
    parse: Callable[[object], T_co]
    """Takes what JSON, TOML or a command line gives; raises ValueError with the why."""
    default: T_co
    help: str
    unit: str = ""
    secret: bool = False
    per_line: bool = False
    """May be given for one line as ``line.N.<name>``."""
    policy: bool = False
    """Says what this server does for the device; no parameter of a phone means it."""


@dataclass(frozen=True, slots=True)
class ConfigLayer:
    """Settings from one scope. ``key`` names the vendor, model, account, site or Mac; empty for defaults.

    ``values`` are parsed already (their type is the Setting's); ``raw`` are vendor parameters by name.
    """

    scope: Scope
    key: str
    values: Mapping[str, object] = field(default_factory=dict)
    raw: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value, the scope that set it and what that overrode, nearest first."""

    value: object
    scope: Scope
    key: str = ""
    overrode: tuple[tuple[Scope, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A numbered line key or FXS port of a Device, bound to an Extension."""

    number: int
    extension: str
    auth_user: str
    secret: str = field(repr=False)
    display_name: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """One physical phone or ATA. ``model`` is the name in its vendor's models.toml."""

    mac: Mac
    vendor: str
    model: str
    state: DeviceState
    account: str
    """Account id."""
    site: str = ""
    """Site id; empty when the device stands at none."""
    pinned: str = ""
    """SPKI SHA-256 (hex) of the pinned factory key; empty before the first unique certificate."""
    firmware: str = ""
    """Last version its User-Agent gave."""
    seen_modern: bool = False
    """It has spoken TLS 1.2 or newer, so the legacy listener is closed to it."""
    allow_token: bool = False
    allow_digest: bool = False
    allow_expired: bool = True
    """An expired leaf is accepted while it is the pinned one."""
    digest_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class BootView:
    """All that one indexed read tells about a device that boots: itself, its lines, its own layer."""

    device: Device
    lines: tuple[Line, ...] = ()
    layer: ConfigLayer | None = None
    uploads: frozenset[str] = frozenset()
    """Names of the files it has uploaded for its owner (``0004f2..-phone.cfg``), served back when it asks."""
    revision: int = 0
    """Administrators' changes up to this one are in it."""
    served: int = -1
    """Changes up to this one were in the configuration it fetched last; -1 while it has fetched none."""
    changed: int = 0
    """The last change that concerns it: its own, or of a layer below its own."""
    owner: str = ""
    """The user on its first line, whose uploads are served to it; empty while it is nobody's."""
    emptied: tuple[int, ...] = ()
    """Lines that had an extension and have none."""
    wiped: bool = False
    """It shall forget everything."""


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """Layers merged for one device; every value remembers the scope it came from."""

    mac: Mac
    model: Model
    lines: tuple[Line, ...]
    values: Mapping[str, Sourced]
    raw: Mapping[str, Sourced]
    upgrade_only: bool = False
    """Firmware below the floor: files carry only what the upgrade needs, no SIP secret."""
    base_url: str = ""
    """Where the device fetches from, with a trailing slash: https://prov.example.net:8443/."""
    ca_url: str = ""
    """Where a device that trusts nobody yet fetches ca.custom, by plain HTTP; the bootstrap listener alone gives it."""
    activation: bool = False
    """Nobody's phone yet, its one line calls the activation prompts: it dials the hotline and emergency numbers and
    nothing else, polls as often as it can, and keeps its network as it is where no layer speaks of it."""
    emptied: tuple[int, ...] = ()
    """Lines that had an extension: those that have none now are emptied by name."""
    wiped: bool = False
    """Files say by name that everything goes back to the maker's default."""

    def get(self, setting: Setting[T]) -> T:
        """The setting's value for the whole device; its own default where no layer says."""
        found = self.values.get(setting.name)
        return setting.default if found is None else cast("T", found.value)

    def on_line(self, setting: Setting[T], number: int) -> T:
        """The setting's value for one line: ``line.N.<name>`` before ``<name>``."""
        found = self.values.get(f"line.{number}.{setting.name}")
        return self.get(setting) if found is None else cast("T", found.value)

    def settles(self, setting: Setting[object]) -> bool:
        """Whether the device is told the setting's value: what no layer says is left to a phone that is nobody's."""
        return not self.activation or setting.name in self.values

    def is_set(self, setting: Setting[object]) -> bool:
        """Whether any layer, the built-in included, gives the setting."""
        return setting.name in self.values


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a connection, and how it came."""

    identity: Identity
    tls: TlsFacts
    listener: ListenerKind
    address: str
    """Source IP address as text."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth telling a person, with everything needed to understand it and no secret."""

    kind: str
    """Stable word: an error's ``kind``, or what happened (``pin_set``, ``device_added``)."""
    at: float
    """Unix time, s."""
    mac: str = ""
    severity: str = "info"
    """info, warning or alarm."""
    actor: str = ""
    """Who caused it: ``device``, ``server`` or an administrator's name."""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FetchRecord:
    """One file that a known device asked for and what it got."""

    mac: Mac
    file: str
    at: float
    status: int
    size: int
    digest: str
    """SHA-256 (hex) of the whole body, empty when none was sent."""
    proof: Proof
    listener: ListenerKind
    tls_version: str
    firmware: str
    revision: int = -1
    """The device has its configuration up to this change now; -1 where the file says nothing about that."""
    body: bytes = field(default=b"", repr=False)
    """What was sent, kept sealed for `provisioner diff`; empty for firmware, 304 and errors."""
    address: str = ""
    """From where; empty where the connection says nothing about that."""


Count = Callable[[str, str], None]
"""Count one happening: metric name (``tls_refused``) and label (``hello_timeout``)."""
Observe = Callable[[str, float], None]
"""Note one measurement: histogram name (``gate_delay``) and seconds."""
