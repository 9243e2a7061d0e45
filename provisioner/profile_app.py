"""The process of the profile listener: it waits for an administrator to open it, listens for a while, writes cards.

Away from all others on purpose: it lets strangers do what no other listener does. It opens no master key, reads no
device and no file of any; it gives way to every other process of the machine. When its time is over it closes by its
own clock: no database that hangs keeps it open.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from provisioner.background import contained, every
from provisioner.capability import Card
from provisioner.card_draft import Drafter
from provisioner.children import Lifeline
from provisioner.errors import ProvisionerError
from provisioner.flight_draft import claims_by
from provisioner.http.contexts import make_context
from provisioner.http.profile import BACKLOG, ProfileListener, Sighting
from provisioner.identity import Identifier
from provisioner.model import ListenerKind
from provisioner.ports import bind_one, shown
from provisioner.settings import Settings
from provisioner.store import engine as engines
from provisioner.store.cards import Window, read_window, say_listening, write_cards
from provisioner.tenure import Tenure
from provisioner.trust import load as load_trust
from provisioner.vendor import VendorDriver

log: Final = logging.getLogger("provisioner.server")

_LOOK: Final = 0.5
"""s between looks at whether it is open, and between batches of cards."""
_AGAIN: Final = 5.0
"""s until a port that could not be had is tried again, while it is to be open."""
_WAITING: Final = 256
"""Connections that wait for their batch; more are not written down."""
_LEAVES: Final = 64
"""Certificates whose verdict is remembered."""
_NICE: Final = 10

Drivers = Mapping[str, VendorDriver]


async def serve_profile(settings: Settings, drivers: Drivers, certificates: Sequence[Path], line: Lifeline) -> None:
    """Listen whenever it is open, until told to leave."""
    with suppress(OSError):
        os.nice(_NICE)
    async with AsyncExitStack() as stack:
        engine = engines.make_engine(engines.parse_url(settings.database_url), lossy=True)
        stack.push_async_callback(engine.dispose)
        house = ProfileHouse(settings, drivers, certificates, engine)
        stack.push_async_callback(contained, "profile listener", house.leave, _uncounted)
        await contained("profile listener", house.look, _uncounted)
        every(stack, _LOOK, "profile listener", house.look, _uncounted)
        tenure = await stack.enter_async_context(Tenure(line, lambda _lag: None, lambda _told: None))
        await tenure.until_told_to_leave()


class ProfileHouse:
    """The listener, while there is one, and what it has seen since the last batch."""

    def __init__(self, settings: Settings, drivers: Drivers, certificates: Sequence[Path], engine: AsyncEngine) -> None:
        self._settings, self._drivers, self._certificates = settings, drivers, certificates
        self._engine = engine
        self._now = Window()
        """The last that it was open for."""
        self._tried = Window()
        self._try_at = 0.0
        self._listening = ""
        self._end: asyncio.TimerHandle | None = None
        self._is_over = False
        self._listener: ProfileListener | None = None
        self._drafter: Drafter | None = None
        self._waiting: list[Sighting] = []

    async def look(self) -> None:
        """Open or close it as the administrator has said, and write down who came."""
        async with engines.reading(self._engine) as connection:
            window = await read_window(connection)
        wanted = window.is_open(time.time())
        if self._listener is not None and (self._is_over or not wanted or window.number != self._now.number):
            await self._close()
        if wanted and self._listener is None and window.number != self._now.number:
            await self._try(window)
        elif window.listening != self._listening:
            await self._say(self._listening)
        await self._write()

    async def leave(self) -> None:
        """The process ends."""
        if self._listener is not None:
            await self._close()
            await self._write()
            await self._say("")

    async def _try(self, window: Window) -> None:
        """A new window at once; one whose port could not be had, every few seconds: whoever has it may go."""
        now = time.monotonic()
        if window.number != self._tried.number or now >= self._try_at:
            self._tried, self._try_at = window, now + _AGAIN
            await self._open(window)

    async def _open(self, window: Window) -> None:
        try:
            self._listening = await self._listen(window)
        except ProvisionerError as error:
            if error.cause != window.trouble:
                await self._say("", error.cause)
        else:
            self._now, self._is_over = window, False
            self._end = asyncio.get_running_loop().call_later(max(window.until - time.time(), 0), self._over)
            log.warning("the profile listener is open at %s, by %s", self._listening, window.actor)
            await self._say(self._listening)

    def _over(self) -> None:
        """Its time is over, whatever the database says of it and whenever."""
        self._is_over = True
        if self._listener is not None:
            self._listener.shut()

    async def _listen(self, window: Window) -> str:
        """With the certificates and CAs of this moment."""
        settings = self._settings
        trust = load_trust(settings.data)
        context = make_context(
            ListenerKind.PROFILE, self._certificates, trust.pem_bundle, rsa_exchange=settings.profile_rsa_exchange
        )
        identifier = Identifier(
            trust.anchors,
            {name: driver.identify for name, driver in self._drivers.items()},
            _LEAVES,
            key_bits={name: driver.manifest.min_key_bits for name, driver in self._drivers.items()},
        )
        claims = claims_by([driver.match for driver in self._drivers.values()])
        self._drafter = Drafter(identifier.judge, claims)
        listener = ProfileListener(context, settings, self._note, ask=window.ask)
        host = settings.profile_host or settings.server_host
        sock = bind_one(ListenerKind.PROFILE, host, settings.profile_port, BACKLOG)
        listener.open(sock)
        self._listener = listener
        return shown(sock)

    async def _close(self) -> None:
        listener, self._listener, self._listening = self._listener, None, ""
        if self._end is not None:
            self._end.cancel()
        if listener is not None:
            await listener.close()
            log.warning("the profile listener is closed; %d callers were turned away", listener.turned_away)

    def _note(self, seen: Sighting) -> None:
        if len(self._waiting) < _WAITING:
            self._waiting.append(seen)

    async def _write(self) -> None:
        some, self._waiting = self._waiting, []
        if some and self._drafter is not None:
            await write_cards(self._engine, self._cards(some, self._drafter), self._settings.profile_cards)

    @staticmethod
    def _cards(some: Sequence[Sighting], drafter: Drafter) -> list[Card]:
        return [drafter.card(one) for one in some]

    async def _say(self, listening: str, trouble: str = "") -> None:
        async with engines.writing(self._engine) as connection:
            await say_listening(connection, listening, trouble)


def _uncounted(metric: str, label: str) -> None:
    """What is counted here would be about strangers."""
    del metric, label
