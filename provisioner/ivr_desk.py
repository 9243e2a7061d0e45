"""What the product says to the IVR's questions (ivr/desk.py): whose phone calls, what its code is worth, what follows.

No method raises: a store that does not answer is a line that is busy, and it costs nobody an attempt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from ivr.flow import Caller, Flow, FlowSettings, Note, Result, ResultKind
from provisioner.activation import Activation
from provisioner.activation_verdict import Attempt, Outcome
from provisioner.codes import checks
from provisioner.errors import Invalid, ProvisionerError, StoreFailed
from provisioner.events import printable
from provisioner.model import Event, Mac
from provisioner.settings import Settings
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
        self._flow = FlowSettings(code_digits=settings.activation_digits)
        self._language = settings.ivr_language
        self._tell = tell
        self._clock = clock

    def flow(self, language: str = "") -> Flow:
        """A new conversation."""
        return Flow(self._flow, checks, language or self._language)

    async def greet(self, caller: Caller) -> Result | None:
        """Who cannot be served is told so before keying in anything; a phone that nobody knows yet is let go on.

        It may have fetched a moment ago, and what is known of it is written every second or so.
        """
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
        try:
            mac = Mac.parse(caller.mac)
            vendor, model = await self._phone(mac)
            found = await self._activation.redeem(_asked(caller, mac, vendor, model, code, attempt))
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
        """Every prompt with its cause; a note never has digits."""
        told = {
            "cause": note.cause,
            "attempt": str(note.attempt),
            "extension": note.extension,
            "source": caller.source,
            "channel": caller.channel,
            "proven": "yes" if caller.authenticated else "no",
        }
        details = {name: printable(value) for name, value in told.items() if value}
        self._tell(Event("ivr_prompt", self._clock(), mac=caller.mac, actor="device", details=details))

    def finished(self, caller: Caller, result: Result | None) -> None:
        """Nothing: that a phone was bound stands in the database, and from there it is told to fetch what it has now.

        So it is told though its caller hung up while the code was looked at, or this process was killed.
        """


def _asked(caller: Caller, mac: Mac, vendor: str, model: str, code: str = "", number: int = 1) -> Attempt:
    return Attempt(mac, vendor, model, code, caller.source, caller.authenticated, caller.channel, number)


def _failed(error: ProvisionerError) -> Result:
    log.warning("a caller was not served: %s", error.cause)
    return _BUSY if isinstance(error, StoreFailed) else Result(ResultKind.ERROR)
