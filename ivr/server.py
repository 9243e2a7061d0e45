"""The IVR as a server: carries out in order what the sans-I/O parts ask for, and is the only one here that waits.

One task waits for the Desk in each call that asks it something; all else is callbacks: sockets, one timer for SIP, one
clock for all sound. A call is an outer edge: what breaks in one is told in the log and ends that one.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import ssl
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, assert_never

from ivr.desk import Desk
from ivr.server_call import BUSY, Conversation
from ivr.server_media import Clock, MediaPorts, Voice
from ivr.server_net import Datagrams, Streams
from ivr.sip.call import Call, Phase
from ivr.sip.config import CoreConfig
from ivr.sip.core import Core
from ivr.sip.door import SecretOf
from ivr.sip.effects import (
    Acknowledged,
    Cancelled,
    Close,
    Effect,
    Flow,
    Hungup,
    Invited,
    Keyed,
    Notified,
    Refused,
    Registered,
    Reoffered,
    Send,
    Stranger,
    Unregistered,
    Why,
)

log: Final = logging.getLogger("ivr")

Count = Callable[[str, str], None]
"""Metric and label, as the product's."""

_LOOK: Final = 0.05
"""s between looks at whether the last call has ended."""
_FAREWELL: Final = 1.0
"""s for the phones to answer our BYE."""
_STOPPING: Final = 5
"""s after which to call a server that is being stopped: its successor may be there."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What a server goes by beside its Core."""

    core: CoreConfig
    """Its ``calls`` are all that are answered."""
    calls: int
    """Calls that are served; who comes above them hears that all lines are busy."""
    media: tuple[int, int]
    """First and last port for sound."""
    connections: int
    """TCP and TLS together."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """Bound by whoever starts the server, and closed by it."""

    udp: socket.socket | None = None
    tcp: socket.socket | None = None
    tls: tuple[socket.socket, ssl.SSLContext] | None = None


class Server:
    """One a process."""

    def __init__(self, config: ServerConfig, desk: Desk, secret_of: SecretOf, voice: Voice, count: Count) -> None:
        self.voice = voice
        self._config = config
        self._desk = desk
        self._core = Core(config.core, secret_of, secrets.token_bytes)
        self._count = count
        self._ports = MediaPorts(*config.media)
        self._clock = Clock(self._beat)
        self._calls: dict[str, Conversation] = {}
        self._ending: set[Conversation] = set()
        self._reached: set[str] = set()
        self._answers: dict[str, asyncio.Future[int]] = {}
        self._todo: deque[Effect] = deque()
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._datagrams: Datagrams | None = None
        self._streams = Streams(self._heard, self._gone, config.core.longest, config.connections)
        self._leaving = False

    # --- its time -------------------------------------------------------------------------------------

    async def start(self, sockets: Sockets) -> None:
        """Hear and answer from now on."""
        self._loop = asyncio.get_running_loop()
        if sockets.udp is not None:
            self._datagrams = Datagrams(sockets.udp, self._heard)
        if sockets.tcp is not None:
            await self._streams.listen(sockets.tcp, None)
        if sockets.tls is not None:
            await self._streams.listen(*sockets.tls)

    async def drain(self, seconds: float) -> None:
        """No new calls; those under way may go on for so long, then they are hung up."""
        self._leaving = True
        self._streams.stop_accepting()
        await self._until_silent(seconds)
        for one in list(self._calls.values()):
            self.hang_up(one.call)
        await self._until_silent(_FAREWELL)

    async def _until_silent(self, seconds: float) -> None:
        end = self.now() + seconds
        while (self._calls or self._core.held.calls) and self.now() < end:  # noqa: ASYNC110  # a look costs nothing
            await asyncio.sleep(_LOOK)

    async def close(self) -> None:
        """Let go of everything; calls that are left are over."""
        for one in list(self._calls.values()):
            self._over(one.call, Why.CONNECTION)
        end = self.now() + _FAREWELL
        while self._ending and self.now() < end:  # noqa: ASYNC110  # what they asked the Desk is being cancelled
            await asyncio.sleep(0.001)
        self._clock.stop()
        if self._timer is not None:
            self._timer.cancel()
        if self._datagrams is not None:
            self._datagrams.close()
        self._streams.end()
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_result(0)

    # --- its state ------------------------------------------------------------------------------------

    @property
    def calls(self) -> int:
        """Calls under way."""
        return len(self._calls)

    @property
    def registrations(self) -> int:
        """Phones that are registered."""
        return self._core.held.registrations

    @property
    def connections(self) -> int:
        """TCP and TLS."""
        return len(self._streams)

    def dropped(self) -> dict[str, int]:
        """Messages and connections that got no further since the start, by reason."""
        found = {str(why): number for why, number in self._core.dropped.items()}
        return {**found, "over_cap": self._streams.turned_away}

    # --- NOTIFY ---------------------------------------------------------------------------------------

    def __contains__(self, mac: object) -> bool:
        """Whether this phone can be told something: it is registered and in no call."""
        return mac in self._reached and all(one.call.mac != mac for one in self._calls.values())

    async def notify(self, mac: str, event: str, headers: Iterable[tuple[str, str]] = ()) -> int:
        """Send a NOTIFY to a phone that is registered or has just called: its final status, 0 without an answer."""
        token = secrets.token_hex(8)
        answer: asyncio.Future[int] = self._loop.create_future()
        self._answers[token] = answer
        try:
            self._do(self._core.notify(mac, event, headers, self.now(), token))
            return await answer
        finally:
            del self._answers[token]

    # --- what calls ask for (server_call.Switchboard) ---------------------------------------------------

    def now(self) -> float:
        """The loop's clock."""
        return self._loop.time()

    def accept(self, call: Call, body: bytes) -> None:
        """200."""
        self._do(self._core.answer(call, body, self.now()))

    def refuse(self, call: Call, status: int) -> None:
        """Refuse it; a first INVITE ends with that."""
        self._do(self._core.reject(call, status, self.now()))
        if call.phase is Phase.OVER:
            self._over(call, None)

    def hang_up(self, call: Call) -> None:
        """BYE."""
        self._do(self._core.bye(call, self.now()))

    def over(self, conversation: Conversation) -> None:
        """It has told the Desk."""
        self._ending.discard(conversation)
        self._count("ivr_calls", conversation.outcome)

    def contained(self, conversation: Conversation, act: Callable[[], None]) -> None:
        """What breaks ends its call in words; what breaks even there ends it without, and no other call notices."""
        for step in (act, conversation.fail, conversation.give_up):
            try:
                step()
            except Exception as fault:  # noqa: BLE001  # the outer edge of a call: no other may suffer
                _tell_fault(conversation.call, fault)
            else:
                return

    # --- what comes in ----------------------------------------------------------------------------------

    def _heard(self, data: bytes, flow: Flow) -> bool:
        """Whether there was a budget for it."""
        before = self._core.dropped[Stranger.TOO_MANY]
        self._do(self._core.feed(data, flow, self.now()))
        return self._core.dropped[Stranger.TOO_MANY] == before

    def _gone(self, flow: Flow) -> None:
        self._do(self._core.closed(flow, self.now()))

    def _ticked(self) -> None:
        self._timer = None
        try:
            self._do(self._core.tick(self.now()))
        finally:
            self._set_timer()

    def _beat(self, now: float) -> None:
        self._ports.spare.renew()
        for one in list(self._calls.values()):
            self.contained(one, partial(one.beat, now))

    # --- what is to be done -----------------------------------------------------------------------------

    def _do(self, effects: list[Effect]) -> None:
        """In order, those first that were there first, for what is done may cause more."""
        self._todo += effects
        if self._busy:
            return
        self._busy = True
        try:
            while self._todo:
                self._carry_out(self._todo.popleft())
        finally:
            self._busy = False
        self._set_timer()

    def _set_timer(self) -> None:
        due = self._core.due()
        if self._timer is not None and (due is None or due != self._timer_at):
            self._timer.cancel()
            self._timer = None
        if due is not None and self._timer is None:
            self._timer, self._timer_at = self._loop.call_at(due, self._ticked), due

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send():
                self._send(effect.flow, effect.data)
            case Close():
                self._streams.close(effect.flow)
            case Notified():
                self._notified(effect)
            case Registered() | Unregistered():
                self._registered(effect)
            case Refused():
                _denounce(effect)
            case _:
                self._tell(effect)

    def _registered(self, effect: Registered | Unregistered) -> None:
        if isinstance(effect, Registered):
            self._streams.proved(effect.flow, effect.mac)
            self._reached.add(effect.mac)
            self._count("ivr_registered", effect.flow.transport)
        else:
            self._reached.discard(effect.mac)
            self._count("ivr_registered", "ended")

    def _tell(self, effect: Invited | Reoffered | Acknowledged | Cancelled | Hungup | Keyed) -> None:
        """What is about a call goes to its conversation."""
        if isinstance(effect, Invited):
            self._invited(effect)
            return
        one = self._calls.get(effect.call.id)
        if one is None:
            return
        match effect:
            case Reoffered():
                self.contained(one, partial(one.reoffered, effect.offer))
            case Acknowledged():
                self.contained(one, partial(one.acknowledged, effect.offer))
            case Keyed():
                self.contained(one, partial(one.keyed, effect.digit))
            case Cancelled():
                self._over(effect.call, None)
            case Hungup():
                self._over(effect.call, effect.why)
            case _:
                assert_never(effect)

    def _invited(self, invited: Invited) -> None:
        call, config = invited.call, self._config
        self._streams.proved(call.flow, call.mac)
        if self._leaving:
            self._turn_away(call, "stopping", _STOPPING)
            return
        port = self._ports.open(call.flow.local[0])
        if port is None:
            self._turn_away(call, "no_port", config.core.retry_after)
            return
        address = config.core.address or call.flow.local[0]
        full = len(self._calls) >= config.calls
        one = self._calls[call.id] = Conversation(self, self._desk, invited, port, address)
        self._clock.start()
        self.contained(one, partial(one.begin, BUSY if full else None))

    def _turn_away(self, call: Call, why: str, retry_after: int) -> None:
        self._count("ivr_calls", why)
        self._do(self._core.reject(call, 503, self.now(), retry_after))

    def _over(self, call: Call, why: Why | None) -> None:
        one = self._calls.pop(call.id, None)
        if one is None:
            return
        if not self._calls:
            self._clock.stop()
        self._ending.add(one)
        self.contained(one, partial(one.ended, why))

    def _send(self, flow: Flow, data: bytes) -> None:
        if flow.reliable:
            self._streams.send(flow, data)
        elif self._datagrams is not None:
            self._datagrams.send(flow, data)

    def _notified(self, notified: Notified) -> None:
        answer = self._answers.get(notified.token)
        if answer is not None and not answer.done():
            answer.set_result(notified.status)


def _tell_fault(call: Call, fault: Exception) -> None:
    """What kind and where; not its words, which may hold digits of a code."""
    where = "".join(traceback.format_tb(fault.__traceback__))
    log.error("sip call of %s: a fault ends it, %s\n%s", call.mac, type(fault).__name__, where)


def _denounce(refused: Refused) -> None:
    """The first line feeds ban lists; the second must not: over UDP anybody can say that he is somebody else."""
    how = "from" if refused.flow.reliable else "over udp, as if from"
    log.warning("sip refused %s %s %s", refused.why, how, refused.flow.peer[0])
