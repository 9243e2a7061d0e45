"""Records the TLS secrets of one device in one worker: from its open connections to rows that only it can be read by.

Rule: a connection is the device's when identity says so of the certificate that was proven on it, and its key is the
pinned one; the name that somebody claims, a token and a password open nothing here. Whatever else is held goes at once.
While no recording is open this costs a handshake nothing and a connection one look at an empty text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from OpenSSL import SSL

from provisioner.background import Fence
from provisioner.errors import Conflict, StoreFailed
from provisioner.http import keylog
from provisioner.model import Count, Identity, Verdict
from provisioner.store.database import Store
from provisioner.store.key_recordings import Secret, Wanted, read_wanted, sealed, write_secrets

MOST: Final = 2000
"""Connections of one recording: a phone that boots all day makes fewer."""
_WAITING: Final = 200
"""Connections whose secrets wait to be written, a kilobyte each."""
_NOBODY: Final = Wanted()
_NEVER: Final = -1


class KeyLog:
    """One a worker; a KeySink."""

    def __init__(
        self,
        store: Store,
        contexts: Iterable[SSL.Context],
        count: Count,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.mac = ""
        self._store = store
        self._contexts = tuple(contexts)
        self._count = count
        self._clock = clock
        self._fence = Fence("tls_secrets", count)
        self._wanted = _NOBODY
        self._generation = _NEVER
        self._waiting: list[Secret] = []

    def __repr__(self) -> str:
        return f"KeyLog({'on' if self.mac else 'off'})"

    def judged(self, connection: SSL.Connection, identity: Identity) -> None:
        """As of a KeySink."""
        self._fence.holds(self._judge, connection, identity)

    def _judge(self, connection: SSL.Connection, identity: Identity) -> None:
        lines = keylog.lines_of(connection)
        if lines and self._is_whose(identity):
            self._keep(lines)

    def _is_whose(self, identity: Identity) -> bool:
        """An expired certificate counts by the pin alone, as it does where files are served."""
        wanted = self._wanted
        if identity.mac != wanted.mac or self._clock() >= wanted.until:
            return False
        held_to = {Verdict.UNIQUE: ("", identity.spki), Verdict.EXPIRED: (identity.spki,)}
        return wanted.pinned in held_to.get(identity.verdict, ())

    def _keep(self, lines: list[str]) -> None:
        """Sealed before it waits: in the clear it is nowhere but in its connection."""
        if len(self._waiting) >= _WAITING:
            self._count("tls_secrets", "dropped")
            return
        random = lines[0].split()[1]
        at = self._clock()
        self._waiting.append(Secret(random, at, sealed(self._store.box, self._wanted.mac, random, lines)))

    async def follow(self, generation: int) -> None:
        """Begin or end as administrators have said; ``generation`` counts their changes, and nothing else is asked."""
        if generation != self._generation:
            try:
                wanted = await read_wanted(self._store, self._clock())
            except StoreFailed:
                return  # whoever follows the changes has told of it; this comes again
            self._generation = generation
            if wanted != self._wanted:
                await self._take_up(wanted)
        if self.mac and self._clock() >= self._wanted.until:
            await self._take_up(_NOBODY)

    async def _take_up(self, wanted: Wanted) -> None:
        await self.flush()  # of the one before
        self._wanted = wanted
        if bool(wanted.mac) != bool(self.mac):
            keylog.listen(self._contexts, on=bool(wanted.mac))
        self.mac = wanted.mac

    async def flush(self) -> None:
        """Write what waits, where it is still wanted; what the database does not take now is lost, and counted."""
        some, self._waiting = self._waiting, []
        if not some:
            return
        try:
            written = await write_secrets(self._store, self._wanted.mac, some, most=MOST)
        except (StoreFailed, Conflict):
            written = 0
        self._count_all("written", written)
        self._count_all("dropped", len(some) - written)

    def _count_all(self, label: str, times: int) -> None:
        for _ in range(times):
            self._count("tls_secrets", label)

    async def close(self) -> None:
        """Write everything, and have no context told any more."""
        await self._take_up(_NOBODY)
