"""Rule: systems that fetch a document a step have their call kept here, by their own id for it, bounded and expiring.

Each document has a number that comes back with what the caller did about it. A request with another number is one sent
twice: it gets the document that stands, and no code is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from ivr.adapters.conversation import Conversation, Count, Said, uncounted
from ivr.desk import Desk
from ivr.flow import Caller, Cause, Collect, Input, Played, Result, ResultKind

LONGEST_ID: Final = 128
_PATIENCE: Final = 10.0
"""s: Twilio waits 15 for a document, and the others are no more patient."""
_LINGERS: Final = 60.0
"""s that a call which is over is remembered, for a last request sent twice."""
_BUSY: Final = Result(ResultKind.BUSY)
_LOG: Final = logging.getLogger(__name__)


Keyed = Callable[[Collect], tuple[Input, ...]]
"""What the caller did about a document that waited for keys."""


@dataclass(frozen=True, slots=True)
class Document:
    """What is to be said, and which document of its call it is."""

    said: Said
    number: int
    language: str
    """Of the recordings."""


class _Call:
    """One call of the other side."""

    def __init__(self, conversation: Conversation, expiry: asyncio.TimerHandle) -> None:
        self.conversation = conversation
        self.expiry = expiry
        self.turn = asyncio.Lock()
        self.document: Document | None = None
        self.over = False


class DocumentCalls:
    """The calls of one hook; ``most`` at once, those just ended included."""

    def __init__(
        self,
        desk: Desk,
        *,
        most: int,
        language: str = "",
        clock: Callable[[], float] = time.monotonic,
        count: Count = uncounted,
    ) -> None:
        """``language`` empty is the server's."""
        self._count = count
        self._desk = desk
        self._most = most
        self._language = language
        self._clock = clock
        self._calls: dict[str, _Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def under_way(self) -> int:
        """Calls that are not over."""
        return sum(not call.over for call in self._calls.values())

    async def step(self, call_id: str, number: int | None, keyed: Keyed, caller: Caller) -> Document:
        """The next document; a number of None is that of the one that stands, and a call not known yet begins."""
        call = self._calls.get(call_id)
        if call is None:
            return await self._begin(call_id, caller)
        async with call.turn:
            standing = call.document
            if standing is None:
                return await self._begin(call_id, caller)
            waits = standing.said.collect
            if call.over or waits is None or (number is not None and number != standing.number):
                return standing
            said = await call.conversation.tell(*keyed(waits)) or standing.said
            return await self._answered(call_id, call, said)

    async def _begin(self, call_id: str, caller: Caller) -> Document:
        conversation = Conversation(
            self._desk, caller, self._clock, language=self._language, patience=_PATIENCE, count=self._count
        )
        if not self._room():
            _LOG.warning("%s: %d calls stand, and that is the limit; told to call again", caller.channel, self._most)
            return await _turned_away(conversation)
        longest = conversation.flow.settings.longest + _LINGERS
        loop = asyncio.get_running_loop()
        call = self._calls[call_id] = _Call(conversation, loop.call_later(longest, self._forget, call_id))
        try:
            async with call.turn:
                return await self._answered(call_id, call, await conversation.begin())
        finally:
            if call.document is None:
                self._forget(call_id)

    async def _answered(self, call_id: str, call: _Call, said: Said) -> Document:
        said = await _whole(call.conversation, said)
        number = call.document.number + 1 if call.document else 1
        call.document = Document(said, number, call.conversation.flow.language)
        if said.hangup:
            self.end(call_id)
        return call.document

    def end(self, call_id: str) -> None:
        """The call is over, by us or by its caller; remembered for a moment."""
        call = self._calls.get(call_id)
        if call is None or call.over:
            return
        call.over = True
        call.conversation.end()
        call.expiry.cancel()
        call.expiry = asyncio.get_running_loop().call_later(_LINGERS, self._forget, call_id)

    async def close(self) -> None:
        """All are over."""
        for call_id in list(self._calls):
            self._forget(call_id)

    def _forget(self, call_id: str) -> None:
        call = self._calls.pop(call_id)
        call.expiry.cancel()
        call.conversation.end()

    def _room(self) -> bool:
        if len(self._calls) >= self._most:
            over = next((call_id for call_id, call in self._calls.items() if call.over), None)
            if over is None:
                return False
            self._forget(over)
        return True


async def _turned_away(conversation: Conversation) -> Document:
    """Nothing is kept of a call that there is no room for."""
    try:
        said = await _whole(conversation, await conversation.begin(_BUSY))
        return Document(said, 1, conversation.flow.language)
    finally:
        conversation.end()


async def _whole(conversation: Conversation, said: Said) -> Said:
    """Nobody will tell the end of a last prompt, so its hang-up stands in the same document."""
    if not said.closing:
        return said
    last = await conversation.tell(Played())
    return replace(said, hangup=(last.hangup if last else None) or Cause.ERROR)
