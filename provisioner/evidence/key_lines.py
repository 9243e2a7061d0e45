"""Recorded TLS secrets as lines of a key log: read, looked up by the connection, and never shown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from provisioner.evidence.tls_layout import Unopened

PHONE, SERVER = "phone", "server"
MASTER: Final = "CLIENT_RANDOM"
"""The label of TLS 1.2: one secret for both directions."""
LABELS: Final = MappingProxyType(
    {
        PHONE: ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0"),
        SERVER: ("SERVER_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0"),
    }
)
"""Those of TLS 1.3: in the handshake, and after it."""
_KEPT: Final = frozenset({MASTER, *LABELS[PHONE], *LABELS[SERVER]})
"""What it takes to read a connection; others (exporters, early data) are not to go along."""


class KeyLog:
    """Lines of an NSS key log, by the random of the ClientHello; never shown."""

    __slots__ = ("_found",)

    def __init__(self, lines: Sequence[str]) -> None:
        self._found: dict[bytes, dict[str, bytes]] = {}
        for line in lines:
            words = line.split()
            if len(words) != 3 or words[0] not in _KEPT:
                continue
            try:
                random, secret = bytes.fromhex(words[1]), bytes.fromhex(words[2])
            except ValueError:
                continue
            self._found.setdefault(random, {})[words[0]] = secret

    def __repr__(self) -> str:
        return f"KeyLog({len(self._found)} connections)"

    def __len__(self) -> int:
        return len(self._found)

    def of(self, random: bytes) -> Mapping[str, bytes]:
        """The secrets of one connection; Unopened where there are none."""
        if random not in self._found:
            raise Unopened("no secrets of it were recorded")
        return self._found[random]

    def lines(self, random: bytes) -> list[str]:
        """The same as lines."""
        return [f"{label} {random.hex()} {secret.hex()}" for label, secret in self.of(random).items()]
