"""What the product says to the IVR's questions (ivr/desk.py): whose phone calls, what its code is worth, what follows.

No method raises: a store that does not answer is a line that is busy, and it costs nobody an attempt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from ivr.flow import Caller, Flow, FlowSettings, Note, Result, ResultKind
from ivr.flow_table import Event as Heard
from provisioner.activation.activation import Activation
from provisioner.activation_verdict import Attempt, Outcome, Redemption
from provisioner.codes import SHORTEST, checks
from provisioner.errors import Invalid, ProvisionerError, StoreFailed
from provisioner.events import Repeats, printable
from provisioner.model import Event, Mac
from provisioner.settings import Settings
from provisioner.store.codes import open_lengths
from provisioner.store.database import Store
from provisioner.store.devices import find_device
from provisioner.store.journal import find_seen

log: Final = logging.getLogger(__name__)

RESULTS: Final[Mapping[Outcome, ResultKind]] = MappingProxyType(
    {
        Outcome.ACCEPTED: ResultKind.ACCEPTED,
        Outcome.MISTYPED: ResultKind.TYPO,
        Outcome.WRONG: ResultKind.WRONG,
        Outcome.EXPIRED: ResultKind.EXPIRED,
        Outcome.USED: ResultKind.USED,
        Outcome.WRONG_MODEL: ResultKind.WRONG_MODEL,
        Outcome.WRONG_DEVICE: ResultKind.WRONG_MODEL,
        Outcome.WRONG_SITE: ResultKind.WRONG_MODEL,
        Outcome.NOT_READY: ResultKind.NOT_READY,
        Outcome.LOCKED: ResultKind.LOCKED,
        Outcome.UNSUPPORTED: ResultKind.UNSUPPORTED,
        Outcome.BUSY: ResultKind.BUSY,
    }
)
_BUSY: Final = Result(ResultKind.BUSY, retry_after=60.0)
_NOBODY: Final = Result(ResultKind.UNSUPPORTED)
"""A phone that cannot be told from others: its administrator has to help."""


class IvrDesk:
    """One a process; ``tell`` takes events."""

    def __init__(
        self,
        activation: Activation,
        store: Store,
        settings: Settings,
        tell: Callable[[Event], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._activation = activation
        self._store = store
        self._digits = settings.activation_digits
        self._flow = _taking(FlowSettings(confirm_extension=settings.ivr_confirm_extension), self._digits)
        self._leaving = False
        self._language = settings.ivr_language
        self._tell = tell
        self._clock = clock
        self._repeats = Repeats()

    def flow(self, language: str = "") -> Flow:
        """A new conversation."""
        return Flow(self._flow, checks, language or self._language)

    async def learn(self) -> None:
        """How many keys a code may have: as many as the longest that is open, for the setting may have been more."""
        async with self._store.reading() as connection:
            lengths = await open_lengths(connection, self._store.box, self._clock())
        self._flow = _taking(self._flow, max((self._digits, *lengths)))

    def leave(self) -> None:
        """Whoever calls from now on hears that all lines are busy; calls under way go on."""
        self._leaving = True

    async def greet(self, caller: Caller) -> Result | None:
        """Who cannot be served is told so before keying in anything; a phone that nobody knows yet is let go on.

        It may have fetched a moment ago, and what is known of it is written every second or so.
        """
        if self._leaving:
            return _BUSY
        try:
            mac = Mac.parse(caller.mac)
            vendor, model = await self._phone(mac)
            if not model:
                return None
            found = await self._activation.greet(_asked(caller, mac, vendor, model))
        except Invalid:
            return _NOBODY
        except ProvisionerError as error:
            return _failed(error)
        return None if found is None else Result(RESULTS[found.outcome], retry_after=found.retry_after)

    async def attempt(self, caller: Caller, code: str, attempt: int) -> Result:
        """Redeem a code; one that is cancelled has either bound the phone or changed nothing."""
        return await self._put(self._activation.redeem, caller, code, attempt)

    async def hold(self, caller: Caller, code: str, attempt: int) -> Result:
        """Whose extension it would be; a wrong code counts as it does in ``attempt``, a right one stays as it is."""
        return await self._put(self._activation.hold, caller, code, attempt)

    async def _put(
        self, question: Callable[[Attempt], Awaitable[Redemption]], caller: Caller, code: str, attempt: int
    ) -> Result:
        try:
            mac = Mac.parse(caller.mac)
            vendor, model = await self._phone(mac)
            found = await question(_asked(caller, mac, vendor, model, code, attempt))
        except Invalid:
            return _NOBODY
        except ProvisionerError as error:
            return _failed(error)
        return Result(RESULTS[found.outcome], found.extension, found.retry_after)

    async def _phone(self, mac: Mac) -> tuple[str, str]:
        """Vendor and model by the device's row, else as it was when it last asked for a file; empty when unheard of."""
        async with self._store.reading() as connection:
            device = await find_device(connection, mac)
            if device is not None:
                return device.vendor, device.model
            seen = await find_seen(connection, mac)
        return (seen.vendor, seen.model) if seen else ("", "")

    def note(self, caller: Caller, note: Note) -> None:
        """Every prompt with its cause, and of slips one more event a minute and phone; a note never has digits."""
        now = self._clock()
        told = {
            "cause": note.cause,
            "attempt": str(note.attempt),
            "extension": note.extension,
            "source": caller.source,
            "channel": caller.channel,
            "proven": "yes" if caller.authenticated else "no",
        }
        details = {name: printable(value) for name, value in told.items() if value}
        self._tell(Event("ivr_prompt", now, mac=caller.mac, actor="device", details=details))
        if note.cause == Heard.MISTYPED:
            self._mistyped(caller, details, now)

    def _mistyped(self, caller: Caller, details: Mapping[str, str], now: float) -> None:
        """The conversation notices a slip by itself and asks nobody, so here is where it is known."""
        held = self._repeats.held((caller.mac, caller.source), now)
        if held is not None:
            known = {name: value for name, value in details.items() if name != "cause"}
            known |= {"repeated": str(held)} if held else {}
            self._tell(Event("code_mistyped", now, mac=caller.mac, actor="device", details=known))

    def finished(self, caller: Caller, result: Result | None) -> None:
        """Nothing: that a phone was bound stands in the database, and from there it is told to fetch what it has now.

        So it is told though its caller hung up while the code was looked at, or this process was killed.
        """


def _taking(flow: FlowSettings, longest: int) -> FlowSettings:
    """Every length that a code can have: refusing those that no open code has would tell strangers which ones have."""
    return replace(flow, code_digits=longest, other_lengths=tuple(range(SHORTEST, longest)))


def _asked(caller: Caller, mac: Mac, vendor: str, model: str, code: str = "", number: int = 1) -> Attempt:
    return Attempt(mac, vendor, model, code, caller.source, caller.authenticated, caller.channel, number)


def _failed(error: ProvisionerError) -> Result:
    log.warning("a caller was not served: %s", error.cause)
    return _BUSY if isinstance(error, StoreFailed) else Result(ResultKind.ERROR)
