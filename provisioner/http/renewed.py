"""A listener whose certificate can be renewed: new connections get the new one, those that are open go on."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from OpenSSL import SSL

from provisioner.errors import Unusable
from provisioner.http.contexts import make_context
from provisioner.http.listener import Listener
from provisioner.http.shared import Upper
from provisioner.model import Count, ListenerKind
from provisioner.settings import Settings


class RenewedListener:
    """On one socket; plain HTTP where there are no ``files``. Nobody who comes here has a certificate to show."""

    def __init__(
        self,
        kind: ListenerKind,
        sock: socket.socket,
        server: Upper,
        settings: Settings,
        count: Count,
        files: Sequence[Path],
    ) -> None:
        """Unusable when a certificate cannot be used."""
        self._kind, self._sock, self._server, self._settings, self._count = kind, sock, server, settings, count
        self._files = files
        self._stamps = _stamps(files)
        self._now = self._listener()
        self._before: list[Listener] = []

    def __len__(self) -> int:
        """Connections."""
        return len(self._now) + sum(len(one) for one in self._before)

    def start(self) -> None:
        """Answer from now on."""
        self._now.start()

    async def look(self) -> None:
        """Use certificates that have changed; Unusable leaves all as it was."""
        self._before = [one for one in self._before if _lives(one)]
        if (stamps := _stamps(self._files)) == self._stamps:
            return
        fresh = self._listener()
        self._now.stop_accepting()
        self._before.append(self._now)
        self._now, self._stamps = fresh, stamps
        fresh.start()

    def close(self) -> None:
        """Drop every connection."""
        for one in (self._now, *self._before):
            one.close()

    def _listener(self) -> Listener:
        context = _context(self._kind, self._files) if self._files else None
        return Listener(self._kind, self._sock, context, self._server, self._settings, self._count)


def _context(kind: ListenerKind, files: Sequence[Path]) -> SSL.Context:
    """A browser that is asked for a certificate asks its user for one."""
    context = make_context(kind, files, b"")
    context.set_verify(SSL.VERIFY_NONE)
    return context


def _stamps(files: Sequence[Path]) -> Mapping[Path, int]:
    try:
        return {path: path.stat().st_mtime_ns for path in files}
    except OSError as error:
        raise Unusable(f"a certificate of tls.certificates cannot be read: {error}") from error


def _lives(listener: Listener) -> bool:
    """What is empty is given back."""
    if len(listener):
        return True
    listener.close()
    return False
