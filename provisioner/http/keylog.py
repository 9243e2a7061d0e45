"""The TLS secrets of connections, held with each until it is known whose it is; nothing at all while nobody wants any.

OpenSSL calls the function here for each secret of each handshake of a context that was told to, so a context is told
only while a device is recorded. Lines go with their connection, however it ends, and are never shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from provisioner.model import Identity

_LABELS: Final = frozenset(
    {
        b"CLIENT_RANDOM",
        b"CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        b"SERVER_HANDSHAKE_TRAFFIC_SECRET",
        b"CLIENT_TRAFFIC_SECRET_0",
        b"SERVER_TRAFFIC_SECRET_0",
    }
)
"""What it takes to read a connection. Others would open more than that: exporters, early data."""
_LINES: Final = 8
_LONGEST: Final = 300
"""Characters: a label, a random of 32 bytes and a secret of 48, both as hex digits."""
_HELD: Final = 4096
"""Connections at once that have not said who they are: 3 MiB. Of further ones nothing is held."""

_held: Final[WeakKeyDictionary[SSL.Connection, list[str]]] = WeakKeyDictionary()


class KeySink(Protocol):
    """Whoever wants the secrets of one device."""

    mac: str
    """Whose; empty while nobody wants any."""

    def judged(self, connection: SSL.Connection, identity: Identity) -> None:
        """It is known who is there; never raises."""


def listen(contexts: Iterable[SSL.Context], *, on: bool) -> None:
    """Begin or end; what is held is forgotten with the end."""
    for context in contexts:
        lib.SSL_CTX_set_keylog_callback(context._context, _note if on else ffi.NULL)
    if not on:
        _held.clear()


def lines_of(connection: SSL.Connection) -> list[str]:
    """Hand over what is held with it: it is not held any more."""
    return _held.pop(connection, [])


def forget(connection: SSL.Connection) -> None:
    """It is over, and nobody has asked."""
    if _held:
        _held.pop(connection, None)


def held() -> int:
    """Connections with which something is held."""
    return len(_held)


@ffi.callback("void (*)(const SSL *, const char *)")  # type: ignore[untyped-decorator]  # cffi is untyped
def _note(ssl: Any, line: Any) -> None:
    """Called within a handshake; what is raised here would be printed by cffi, so nothing may be."""
    connection = SSL.Connection._reverse_mapping.get(ssl)
    said = ffi.string(line, _LONGEST)
    if connection is None or said.partition(b" ")[0] not in _LABELS:
        return
    lines = _held.get(connection)
    if lines is None:
        if len(_held) >= _HELD:
            return
        lines = _held[connection] = []
    if len(lines) < _LINES:
        lines.append(said.decode("ascii", "replace"))
