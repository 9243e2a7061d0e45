"""One call: what the phone says goes into the Flow, what the Flow says goes to the phone, by SIP, RTP and the Desk.

The clock's beat drives it; the only thing that is ever waited for is the Desk. A caller who hangs up cancels what the
Desk is doing, so a code that nobody waits for is not looked at. From our 200 on keys count, though its ACK may be lost
and nothing is said before it comes: the caller has a dialog and a session by then (RFC 3261 §13.2.2.4).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Final, Protocol

from ivr.desk import Desk, ask
from ivr.flow import (
    Attempt,
    Caller,
    Cause,
    Collect,
    Confirm,
    Digits,
    Ended,
    Flow,
    Hangup,
    Input,
    Note,
    Outcome,
    Output,
    Play,
    Played,
    Result,
    ResultKind,
    Started,
    Stop,
    Timeout,
)
from ivr.media.dtmf import Digit
from ivr.media.g711 import Codec
from ivr.media.player import Origin
from ivr.media.session import Session, Terms
from ivr.server_media import MediaPort, Voice
from ivr.sip import sdp
from ivr.sip.call import Call, Phase
from ivr.sip.effects import Invited, Why
from ivr.sip.errors import SipError
from ivr.sip.sdp import Offer

log: Final = logging.getLogger("ivr")

BUSY: Final = Result(ResultKind.BUSY)
FAULT: Final = "fault"
"""In the metrics and the event log, of a call that ended because something in the server broke."""

_BEFORE: Final = 32
"""Keys kept that came before there was somebody to hear them: two codes, and who goes on is no person."""
_SORRY: Final = 10.0
"""s for the words that end a broken call, should the phone not want to hear them."""


class Switchboard(Protocol):
    """What a call asks of the server that it is part of."""

    @property
    def voice(self) -> Voice:
        """The prompts."""

    def now(self) -> float:
        """The clock of all calls."""

    def accept(self, call: Call, body: bytes) -> None:
        """200 with this session description."""

    def refuse(self, call: Call, status: int) -> None:
        """No call, or no change of it."""

    def hang_up(self, call: Call) -> None:
        """BYE."""

    def over(self, conversation: Conversation) -> None:
        """Nothing is left of it."""

    def contained(self, conversation: Conversation, act: Callable[[], None]) -> None:
        """Do this; a fault in it ends this conversation and no other."""


class Conversation:
    """From the invitation to ``Desk.finished``."""

    def __init__(self, board: Switchboard, desk: Desk, invited: Invited, port: MediaPort, address: str) -> None:
        """``address`` is where the phone finds the port."""
        self.call = invited.call
        self.outcome = ""
        """In one word, for the metrics."""
        peer = invited.call.flow.peer
        self._caller = Caller(invited.mac, invited.call.source and peer[0], "sip", authenticated=True)
        self._board = board
        self._desk = desk
        self._flow: Flow | None = None
        self._language = ""
        self._offer = invited.offer
        self._port = port
        self._address = address
        self._id = secrets.randbits(62)
        self._version = 0
        self._session: Session | None = None
        self._refusal: Result | None = None
        self._result: Result | None = None
        self._asking: asyncio.Task[None] | None = None
        self._untold: deque[tuple[str, float]] = deque(maxlen=_BEFORE)
        """Keys told by INFO before there was a session, and when."""
        self._unfed = ""
        """Keys heard before the conversation began."""
        self._talking = False
        self._playing = False
        self._failed_until = 0.0
        """Something has broken: the call ends by then. 0: nothing has."""
        self._is_over = False

    # --- what SIP tells -------------------------------------------------------------------------------

    def begin(self, refusal: Result | None) -> None:
        """Answer it, to refuse it in words or, without a refusal, after the Desk had its say."""
        self._flow = self._desk.flow()
        self._language = self._flow.language
        if refusal is not None:
            self._answer(refusal)
        else:
            self._wait_for(self._greet(), "greeting")

    async def _greet(self) -> None:
        refusal = await self._desk.greet(self._caller)
        self._asking = None
        if not self._is_over:
            self._answer(refusal)

    def _wait_for(self, asked: Coroutine[None, None, None], name: str) -> None:
        self._asking = asyncio.create_task(asked, name=name)
        self._asking.add_done_callback(self._has_asked)

    def _has_asked(self, asked: asyncio.Task[None]) -> None:
        if not asked.cancelled() and asked.exception() is not None:
            self._asking = None
            self._board.contained(self, asked.result)  # raises it

    def _answer(self, refusal: Result | None) -> None:
        self._refusal = refusal
        if self._describe() and self._offer is not None:
            self._agree(self._offer)

    def reoffered(self, offer: Offer | None) -> None:
        """Hold, another codec, another address."""
        if self._describe() and offer is not None:
            self._agree(offer)

    def _describe(self) -> bool:
        """Answer the offer that waits, or make ours."""
        where = {"address": self._address, "port": self._port.number}
        offered = self.call.offered
        try:
            if offered:
                body = sdp.answer(offered, session=self._id, version=self._version, **where)  # type: ignore[arg-type]  # two kinds of values
            else:
                body = sdp.offer(session=self._id, version=self._version, **where)  # type: ignore[arg-type]  # two kinds of values
        except SipError as wrong:
            self._board.refuse(self.call, wrong.status or 488)
            return False
        self._version += 1
        self._board.accept(self.call, body)
        return True

    def acknowledged(self, chosen: Offer | None) -> None:
        """Both sides know what they have agreed on: talk."""
        offer = chosen or (None if self._session else self._offer)
        if offer is not None:
            self._agree(offer)
        if self._session is None:
            self._board.hang_up(self.call)
        elif not self._talking:
            self._talking = True
            self._feed(Started(self._caller, self._refusal))
            if self._unfed and self._refusal is None:
                self._feed(Digits(self._unfed))

    def _agree(self, offer: Offer) -> None:
        now, terms = self._board.now(), _terms(offer)
        if self._session is None:
            numbers = Origin(secrets.randbits(32), secrets.randbits(16), secrets.randbits(32))
            self._session = Session(terms, numbers, self.call.flow.peer, now)
            self._port.forget()
            for digit, at in self._untold:
                self._heard(self._session.info(digit, at))
        else:
            self._session.agree(terms, now, self.call.flow.peer)

    def keyed(self, digit: str) -> None:
        """A key told by INFO."""
        now = self._board.now()
        if self._session is None:
            self._untold.append((digit, now))
        else:
            self._heard(self._session.info(digit, now))

    def _heard(self, told: list[Digit]) -> None:
        keys = "".join(one.key for one in told)
        if keys and self._talking:
            self._feed(Digits(keys))
        else:
            self._unfed = (self._unfed + keys)[:_BEFORE]

    def ended(self, why: Why | None) -> None:
        """The call is over, however that came about; None: before it was answered."""
        if self._is_over:
            return
        self._is_over = True
        self.outcome = self.outcome or (why.name.lower() if why else "cancelled")
        self._port.close()
        self._tell_foreign_keys()
        try:
            self._feed(Ended())
        finally:
            self._finish_after(self._asking)

    def _finish_after(self, asked: asyncio.Task[None] | None) -> None:
        if asked is None:
            self._finish()
        else:
            asked.cancel()
            asked.add_done_callback(lambda _: self._board.contained(self, self._finish))

    def _tell_foreign_keys(self) -> None:
        if self._session is not None and (tried := self._session.counts.foreign_keys):
            log.warning("sip call of %s: %d packets with keys came from elsewhere, ignored", self.call.mac, tried)

    def _finish(self) -> None:
        try:
            self._desk.finished(self._caller, self._result)
        finally:
            self._board.over(self)

    # --- what must not happen -------------------------------------------------------------------------

    def fail(self) -> None:
        """Something in here is broken: say so where there is somebody to hear it, and end the call."""
        self.outcome = self.outcome or FAULT
        if self._is_over:
            return
        if self._failed_until or self._session is None or not self._talking:
            self.give_up()
            return
        self._failed_until = self._board.now() + _SORRY
        if self._asking is not None:
            self._asking.cancel()
        self._play(("system_error",))
        self._desk.note(self._caller, Note(FAULT, 0))

    def give_up(self) -> None:
        """End the call without a word."""
        if self.call.phase is Phase.INVITED:
            self._board.refuse(self.call, 500)
        else:
            self._board.hang_up(self.call)

    # --- what the clock tells -------------------------------------------------------------------------

    def beat(self, now: float) -> None:
        """20 ms have passed."""
        session = self._session
        if session is None or self._is_over:
            return
        self._listen(session, now)
        for packet, to in session.outgoing(now):
            self._port.send(packet, to)
        if self._playing and session.finished and now >= session.ends:
            self._playing = False
            self._feed(Played())
        if self._failed_until:
            if not self._playing or now >= self._failed_until:
                self._board.hang_up(self.call)
        elif self._talking:
            self._look_at_clock(session, now)

    def _look_at_clock(self, session: Session, now: float) -> None:
        timer = self._flow.timer if self._flow else None
        if timer is not None and now >= timer:
            self._feed(Timeout())
        if session.is_dead(now):
            self.outcome = self.outcome or "silent"
            self._board.hang_up(self.call)

    def _listen(self, session: Session, now: float) -> None:
        told: list[Digit] = []
        for data, source in self._port.arrived():
            if not self._talking and source != session.destination:
                continue  # until its ACK a phone is where it says: another at its host would be first to be heard
            told += session.receive(data, source, now)
        if told:
            self._heard(told)

    # --- what the Flow says ---------------------------------------------------------------------------

    def _feed(self, given: Input) -> None:
        if self._flow is None or self._failed_until:
            return
        for output in self._flow.feed(given, self._board.now()):
            self._obey(output)

    def _obey(self, output: Output) -> None:
        match output:
            case Play():
                self._play(output.prompts)
            case Stop():
                self._playing = False
                if self._session is not None:
                    self._session.stop()
            case Attempt() | Confirm():
                self._wait_for(self._ask(output), "attempt")
            case Hangup():
                self._hang_up(output.cause)
            case Note():
                self._desk.note(self._caller, output)
            case Collect():
                pass  # keys are always listened for, and the Flow's timer says how long

    def _play(self, prompts: tuple[str, ...]) -> None:
        if self._session is not None:
            self._playing = True
            self._session.play(self._board.voice.prompt(self._language, prompts), self._board.now())

    def _hang_up(self, cause: Cause) -> None:
        self.outcome = cause.value.replace(" ", "_")
        self._board.hang_up(self.call)

    async def _ask(self, asked: Attempt | Confirm) -> None:
        result = await ask(self._desk, self._caller, asked)
        self._asking = None
        if self._result is None or self._result.kind is not ResultKind.ACCEPTED:
            self._result = result
        if not self._is_over:
            self._feed(Outcome(result))


def _terms(offer: Offer) -> Terms:
    nowhere = offer.address in {"0.0.0.0", "::"} or not offer.port  # noqa: S104  # RFC 3264's old sign for hold
    claimed = None if nowhere else (offer.address, offer.port)
    return Terms(Codec(offer.codec), offer.events, claimed, offer.held)
