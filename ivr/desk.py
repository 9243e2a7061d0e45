"""Rule: all that a conversation needs of the product is this contract; whoever answers calls is given one Desk.

No method raises: what goes wrong on the product's side is a ``Result`` of kind ERROR or BUSY.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ivr.flow import Attempt, Caller, Confirm, Flow, Note, Result, ResultKind


class Desk(Protocol):
    """What a conversation needs of the product."""

    def flow(self, language: str = "") -> Flow:
        """A new conversation with the server's settings; without a language, in the server's."""

    async def greet(self, caller: Caller) -> Result | None:
        """A refusal before any prompt: unsupported model, locked, busy; None to go on."""

    async def attempt(self, caller: Caller, code: str, attempt: int) -> Result:
        """Redeem a code; ``attempt`` is how many were keyed in this call, this one included."""

    def note(self, caller: Caller, note: Note) -> None:
        """One line for the event log; it never has digits."""

    def finished(self, caller: Caller, result: Result | None) -> None:
        """The call is over, and what is to follow a binding may begin; None when no code was tried."""


@runtime_checkable
class HoldingDesk(Desk, Protocol):
    """A Desk that can also say whose a code is without using it up: what ``confirm_extension`` needs."""

    async def hold(self, caller: Caller, code: str, attempt: int) -> Result:
        """ACCEPTED with the extension that the code would bind; nothing is bound."""


async def ask(desk: Desk, caller: Caller, asked: Attempt | Confirm) -> Result:
    """Put a Flow's question to the Desk; never bind what the caller has yet to confirm."""
    if isinstance(asked, Confirm) or not asked.hold:
        return await desk.attempt(caller, asked.code, asked.attempt)
    if isinstance(desk, HoldingDesk):
        return await desk.hold(caller, asked.code, asked.attempt)
    return Result(ResultKind.ERROR)
