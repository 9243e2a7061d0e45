"""One call of a simulated phone: lift, listen, key, listen on, until somebody hangs up. Nobody waits without an end."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from provisioner.errors import Invalid
from provisioner.simulator.caller_agent import Agent, Dialog
from provisioner.simulator.caller_message import Garbled, Message
from provisioner.simulator.caller_sdp import PCMA, PCMU, Agreed, offer, read_answer
from provisioner.simulator.caller_sound import KEYS, PACE, Ear, Mouth
from provisioner.simulator.caller_wire import MediaPort, Unreached, open_media

Tell = Callable[[str], None]
CODECS: Final = {PCMU: "PCMU", PCMA: "PCMA"}
_BARGE: Final = 0.3
"""s of a prompt that somebody hears who does not listen."""
_FIRST_EVENTS: Final = 96
"""The first payload type that may stand for telephone-event (RFC 3551 section 6)."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How somebody calls. Times are in seconds."""

    keys: str = field(repr=False)
    """What is keyed at the first prompt, its ``#`` included."""
    then: tuple[str, ...] = field(default=(), repr=False)
    """What is keyed at each prompt after that."""
    info: bool = False
    """Keys go by INFO and not by RFC 4733."""
    events: int = 101
    """Payload type that is offered for telephone-event."""
    codecs: tuple[int, ...] = (PCMU, PCMA)
    barge_in: bool = False
    pause: float = 1.0
    """Silence after a prompt, before the first key."""
    deaf: float = 10.0
    """Nobody has spoken for so long: the keys are pressed all the same."""
    hang_up_after_success: bool = False
    """Hang up as soon as the last key is answered."""
    most: float = 120.0
    """The longest call."""
    wait: float = 10.0
    """From the end of the call to the check-sync."""
    dial: str = ""
    """Dialled by hand, on a phone that dials nothing by itself."""
    server: str = ""
    """host:port to which its SIP goes, whatever server its line names."""

    def __post_init__(self) -> None:
        """Invalid for what nobody can key or offer."""
        if not all(one and set(one) <= set(KEYS) for one in (self.keys, *self.then)):
            raise Invalid("code", "must be digits, * and #")
        if not _FIRST_EVENTS <= self.events <= 127:
            raise Invalid("events", f"must be {_FIRST_EVENTS} to 127")
        if not self.codecs:
            raise Invalid("codecs", "must name at least one")


@dataclass(slots=True)
class Heard:
    """What came of a call."""

    answered: bool = False
    codec: str = ""
    seconds: float = 0.0
    spoken: float = 0.0
    keys: str = ""
    """Masked: how many, and the last two digits."""
    by: str = ""
    """RFC 4733 or INFO."""
    ended_by: str = ""
    wrong: str = ""
    """Why there was no call to speak of."""
    wav: bytes = field(default=b"", repr=False)


def masked(keys: str) -> str:
    """The keys as they may be shown: all but the last two digits hidden."""
    digits = [place for place, key in enumerate(keys) if key.isdigit()]
    hidden = set(digits[:-2])
    return "".join("*" if place in hidden else key for place, key in enumerate(keys))


class Call:
    """From the INVITE to the BYE."""

    def __init__(self, agent: Agent, manner: Manner, tell: Tell) -> None:
        self._agent, self._manner, self._tell = agent, manner, tell
        self._ear = Ear()
        self._heard = Heard(by="INFO" if manner.info else "RFC 4733")
        self._over = False
        self._dialog: Dialog | None = None
        self._media: MediaPort | None = None
        self._sdp = b""
        self._deadline = 0.0

    async def run(self, dialog: Dialog) -> Heard:
        """The whole call; what goes wrong on its way is told in the result."""
        self._dialog = dialog
        self._deadline = time.monotonic() + self._manner.most
        self._agent.handlers |= {"BYE": self._bye, "INVITE": self._again}
        try:
            await self._call(dialog)
        except (Unreached, Garbled) as error:
            self._heard.wrong = error.cause
        finally:
            for method in ("BYE", "INVITE"):
                del self._agent.handlers[method]
            if self._media is not None:
                self._media.close()
        self._heard.seconds, self._heard.spoken, self._heard.wav = self._ear.seconds, self._ear.spoken, self._ear.wav()
        return self._heard

    async def _call(self, dialog: Dialog) -> None:
        local = self._agent.local_host
        self._media = await open_media(local, lambda data: self._ear.take(data, time.monotonic()))
        events = None if self._manner.info else self._manner.events
        self._sdp = offer(local, self._media.local[1], self._manner.codecs, events, secrets.randbelow(1 << 31))
        answer = await self._agent.ask(dialog, "INVITE", {"content-type": "application/sdp"}, self._sdp)
        if answer.status >= 300:
            self._heard.wrong = f"the call was refused: {answer.told}"
            return
        try:
            agreed = read_answer(answer.body)
            if not self._manner.info and agreed.events is None:
                raise Garbled("the answer takes no keys by RFC 4733; try INFO")
        except Garbled:
            await self._hang_up()
            raise
        await self._talk(self._media, agreed)

    async def _talk(self, media: MediaPort, agreed: Agreed) -> None:
        self._heard.answered, self._heard.codec = True, CODECS[agreed.codec]
        self._tell(f"answered with {self._heard.codec}")
        media.peer = agreed.address
        mouth = Mouth(agreed.codec, agreed.events, secrets.token_bytes(10))
        speaking = asyncio.create_task(_speak(mouth, media))
        try:
            await self._converse(mouth)
        except asyncio.CancelledError:
            if self._dialog is not None and not self._over:
                self._agent.leave(self._dialog)  # or the other side would wait for somebody who is gone
            raise
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
        if not self._over:
            await self._hang_up()

    # --- the conversation ---------------------------------------------------------------------------------

    async def _converse(self, mouth: Mouth) -> None:
        since = 0.0
        for keys in (self._manner.keys, *self._manner.then):
            await self._hear(since)
            if self._ended:
                self._cut_short()
                return
            self._tell(f"keys {masked(keys)} by {self._heard.by}")
            await (self._inform(keys) if self._manner.info else self._press(mouth, keys))
            self._heard.keys += masked(keys)
            if mouth.busy:
                self._cut_short()
            since = time.monotonic()
        if self._manner.hang_up_after_success:
            await self._until(lambda: self._spoken_since(since), self._manner.most)
        else:
            await self._until(lambda: False, self._manner.most)

    def _cut_short(self) -> None:
        if self._over:
            self._heard.wrong = "the server hung up before all was keyed"

    async def _hear(self, since: float) -> None:
        """Wait until somebody speaks, and unless barging in, until they have finished."""
        if not await self._until(lambda: self._spoken_since(since), self._manner.deaf):
            if not self._ended:
                self._tell("nobody speaks")
            return
        self._tell("hears somebody speak")
        if self._manner.barge_in:
            await self._until(lambda: False, _BARGE)
        else:
            await self._until(self._silent, self._manner.most)

    def _spoken_since(self, moment: float) -> bool:
        return self._ear.last_loud is not None and self._ear.last_loud > moment

    def _silent(self) -> bool:
        return time.monotonic() - (self._ear.last_loud or 0.0) >= self._manner.pause

    @property
    def _ended(self) -> bool:
        return self._over or bool(self._agent.gone) or time.monotonic() >= self._deadline

    async def _until(self, so: Callable[[], bool], seconds: float) -> bool:
        """Whether it came to be so, in the time and before the call was over."""
        deadline = time.monotonic() + seconds
        while not self._ended and time.monotonic() < deadline:
            if so():
                return True
            await asyncio.sleep(PACE)
        return so()

    async def _press(self, mouth: Mouth, keys: str) -> None:
        mouth.press(keys)
        await self._until(lambda: not mouth.busy, self._manner.most)

    async def _inform(self, keys: str) -> None:
        """Each key by an INFO of its own, in order (the body of Cisco's application/dtmf-relay)."""
        assert self._dialog is not None
        for key in keys:
            if self._ended:
                return
            body = f"Signal={key}\r\nDuration=160\r\n".encode()
            answer = await self._agent.ask(self._dialog, "INFO", {"content-type": "application/dtmf-relay"}, body)
            if answer.status >= 300 and not self._over:
                raise Unreached(f"a key by INFO was refused: {answer.told}")

    # --- its end ------------------------------------------------------------------------------------------

    async def _hang_up(self) -> None:
        assert self._dialog is not None
        late = time.monotonic() >= self._deadline
        self._over, self._heard.ended_by = True, "the phone"
        why = f", after {self._manner.most:g} s" if late else ""
        if self._agent.gone:
            self._heard.ended_by = ""
            raise Unreached(self._agent.gone)
        self._tell(f"hangs up{why}")
        answer = await self._agent.ask(self._dialog, "BYE")
        if answer.status == 481:
            self._heard.ended_by = "both at once"

    def _is_ours(self, asked: Message) -> bool:
        return self._dialog is not None and asked.one("call-id") == self._dialog.call_id

    def _bye(self, asked: Message) -> Message:
        if not self._is_ours(asked):
            return self._agent.answer(asked, "481 Call Does Not Exist")
        if not self._over:
            self._over, self._heard.ended_by = True, "the server"
            self._tell("the server hangs up")
        return self._agent.answer(asked, "200 OK")

    def _again(self, asked: Message) -> Message:
        """A re-INVITE keeps the session as it is; another call finds the phone busy."""
        if not self._is_ours(asked):
            return self._agent.answer(asked, "486 Busy Here")
        return self._agent.answer(asked, "200 OK", {"content-type": "application/sdp"}, self._sdp)


async def _speak(mouth: Mouth, media: MediaPort) -> None:
    """A packet every 20 ms by the clock, however late the last one was."""
    due = time.monotonic()
    while True:
        media.send(mouth.packet())
        due += PACE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
