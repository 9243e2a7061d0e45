"""One simulated phone: a persona with a MAC, its certificate and its habits, and what it remembers between boots."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from provisioner.errors import Invalid
from provisioner.model import Mac
from provisioner.simulator.persona import Persona


@dataclass(frozen=True)
class Phone:
    """Everything that is decided before it is plugged in. ``None`` and empty mean: as its persona does."""

    persona: Persona
    mac: Mac
    certificate: Path | None = None
    """PEM: the leaf first, then whatever of its chain this phone sends."""
    key: Path | None = field(default=None, repr=False)
    trust: Path | None = None
    """PEM of the CAs it trusts; None is the system's store."""
    check_server: bool = True
    check_name: bool = True
    ask_for: Mac | None = None
    """A thief's choice: the MAC in the names of the files, while certificate and User-Agent stay its own."""
    user: str = ""
    password: str = field(default="", repr=False)
    """With ``user`` for HTTP Digest."""
    firmware: str = ""
    connection_per_file: bool = False
    resume: bool = False
    """Resume the TLS session on each new connection."""
    tls_min: str = ""
    tls_max: str = ""
    ciphers: str = ""
    """OpenSSL cipher list for TLS 1.2 and older."""
    address: str = ""
    """IP address to connect to in place of the URL's host, which stays the name that is checked."""
    updater: bool = False
    """Poly: let the updater walk first, as after a power-on."""
    check_firmware: bool = False
    """Ask with HEAD for the firmware image that the configuration names."""
    upload_log: bool = True
    local_changes: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What its user has changed at the phone itself; uploaded where the configuration lets it."""
    follow: int = 0
    """How many times it goes on to another provisioning URL that a configuration gives."""
    patience: float | None = None
    attempts: int | None = None
    retry_delay: float | None = None

    def __post_init__(self) -> None:
        """A certificate without its key, or the other way round, is a mistake of the caller."""
        if (self.certificate is None) != (self.key is None):
            raise Invalid("key", "a certificate and its key are given together")

    @property
    def asks_as(self) -> Mac:
        """The MAC in the names of the files it asks for."""
        return self.ask_for or self.mac


@dataclass
class Flash:
    """What survives a power cut. Hand the same one to the next boot."""

    parameters: dict[str, str] = field(default_factory=dict, repr=False)
    digests: dict[str, str] = field(default_factory=dict)
    """MD5 of each file as last applied."""
    has_directory: bool = False
    certificates: list[str] = field(default_factory=list, repr=False)
    """PEM of CAs that a configuration brought."""
    sessions: dict[tuple[str, int, str], tuple[ssl.SSLContext, ssl.SSLSession]] = field(
        default_factory=dict, repr=False
    )
    """TLS sessions by host, port and certificate, each with the context it belongs to."""
