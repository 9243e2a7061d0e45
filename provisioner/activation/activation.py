"""Use-case: a person keys a code into a phone. ``redeem`` is the whole of it, one transaction from budget to binding.

Whatever was counted, bound or told stands in that one transaction: a call that ends before its turn, or a database that
does not answer, has cost nobody an attempt. Attempts take turns, since each of them looks at the same total; one whose
turn has come is finished even when its caller hangs up, so that hanging up neither undoes nor hides anything.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.activation.binding import ACTOR, Entry, Rules, accept, is_again, is_offered, preview, told_of
from provisioner.activation_budget import HOUR, Budget, Standing, budgets, charged, wait
from provisioner.activation_limits import limits_of
from provisioner.activation_offer import is_within, networks_of
from provisioner.activation_verdict import MISFITS, Attempt, Cause, Outcome, Redemption, answer
from provisioner.codes import checks, normalise
from provisioner.errors import Conflict, IvrUnsupportedModel, ModelUnsupported, StoreFailed
from provisioner.events import Repeats
from provisioner.model import Device, Event, Model
from provisioner.preconditions import Preconditions
from provisioner.settings import Settings
from provisioner.store import codes, devices
from provisioner.store.budgets import clear_budgets, hold, read_budgets, write_budgets
from provisioner.store.database import Store
from provisioner.store.journal import write_events
from provisioner.vendor import VendorDriver, model_named

WAITING: Final = 200
"""Attempts that may wait for their turn: at a few milliseconds each the last still hears its answer within a second."""
AGAIN: Final = 60.0
"""s after which to call again when all was busy."""
_RIGHTFUL: Final = frozenset({Cause.HAS_PHONE, Cause.NO_LICENSE, Cause.NO_NUMBER, Cause.NO_LOCATION, Cause.NO_LINE})
"""The code and the phone were right, and something else is in the way: no guess."""
_DEVICE: Final = "device"
"""The one budget of the caller's own: whoever is put off for another hears that all lines are busy."""
_ALARMS: Final = frozenset({"total", "unproven", "account", "network"})
_LOG: Final = logging.getLogger(__name__)


class Activation:
    """One a process; the voice menu and its adapters call it."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, VendorDriver],
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        wanted: Preconditions | None = None,
    ) -> None:
        self._store = store
        self._drivers = drivers
        self._limits = limits_of(settings)
        self._misuses = settings.activation_misuses
        self._window = settings.activation_window
        self._networks = networks_of(settings.activation_networks)
        self._clock = clock
        self._wanted = wanted or Preconditions()
        self._repeats = Repeats()
        self._turns = asyncio.Semaphore(1)
        self._waiting = 0
        self._running: set[asyncio.Task[Redemption]] = set()

    def supports(self, vendor: str, model: str) -> bool:
        """Whether such a phone may be activated by a code: the menu need not ask others for digits."""
        found = self._model(vendor, model)
        return found is not None and found.ivr_activation

    async def greet(self, attempt: Attempt) -> Redemption | None:
        """What a caller hears instead of the prompts, before any digit: unsupported, locked or busy; None to go on.

        A phone that has proven itself and would not be offered activation any more is unsupported, too.
        """
        now = self._clock()
        try:
            async with self._store.reading() as connection:
                device = await devices.find_device(connection, attempt.mac)
                waits = _waits(*await self._standings(connection, attempt, device), now)
                offered = not attempt.authenticated or await is_offered(
                    connection, self._store.box, attempt.mac, device, self._reach
                )
            model = self._model(device.vendor, device.model) if device else self._model(attempt.vendor, attempt.model)
            if not offered or model is None or not model.ivr_activation:
                cause = _unable(model) if offered else Cause.NOT_OFFERED.value
                return await self._finished(self._unsupported(attempt, now, cause))
        except StoreFailed as error:
            _LOG.warning("a caller was not looked at: %s", error.cause)
            return Redemption(Outcome.BUSY, retry_after=AGAIN)
        return _answer_of(waits) if max(waits.values()) > 0 else None

    async def hold(self, attempt: Attempt) -> Redemption:
        """What ``redeem`` would say, and bind nothing: for prompts that let the caller confirm the extension first.

        A wrong code counts here as it does there.
        """
        return await self._looked_at(attempt, binding=False)

    async def redeem(self, attempt: Attempt) -> Redemption:
        """Bind the calling device to the code's extension, or say what its caller is to hear."""
        return await self._looked_at(attempt, binding=True)

    async def _looked_at(self, attempt: Attempt, *, binding: bool) -> Redemption:
        attempt = replace(attempt, code=normalise(attempt.code))
        if self._waiting >= WAITING:
            return Redemption(Outcome.BUSY, retry_after=AGAIN)
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        return await self._finished(self._in_turn(attempt, binding))

    async def _finished(self, work: Coroutine[Any, Any, Redemption]) -> Redemption:
        """Do it to its end whoever stops waiting for it: a write that is cut off may leave the database locked."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Let what is under way come to its end; call it before the store is closed."""
        if self._running:
            await asyncio.wait(self._running)

    async def _in_turn(self, attempt: Attempt, binding: bool) -> Redemption:
        try:
            return await self._redeem(attempt, self._clock(), binding)
        except (StoreFailed, Conflict) as error:
            _LOG.warning("an activation code was not looked at: %s", error.cause)
            return Redemption(Outcome.BUSY, retry_after=AGAIN)
        finally:
            self._turns.release()

    async def _redeem(self, attempt: Attempt, now: float, binding: bool) -> Redemption:
        claimed = self._model(attempt.vendor, attempt.model)
        if claimed is not None and not claimed.ivr_activation:
            return await self._unsupported(attempt, now, _unable(claimed))
        if not checks(attempt.code):
            return Redemption(Outcome.MISTYPED)
        async with self._store.writing() as connection:
            await hold(connection)
            device = await devices.find_device(connection, attempt.mac)
            model = self._model(device.vendor, device.model) if device else claimed
            if model is not None and model.ivr_activation:
                rules = Rules(now, self._window, self._reach, self._wanted)
                entry = Entry.of(connection, self._store.box, attempt, model, rules)
                return await self._counted(entry, device, binding)
        return await self._unsupported(attempt, now, _unable(model))

    async def _counted(self, entry: Entry, device: Device | None, binding: bool) -> Redemption:
        """Within its budgets look at the code, and count it when it was wrong."""
        mine, standings = await self._standings(entry.connection, entry.attempt, device)
        waits = _waits(mine, standings, entry.now)
        if max(waits.values()) > 0:
            return await self._put_off(entry, waits)
        await entry.look(self._store.box, device)
        entry.code = await codes.find_code(entry.connection, entry.finders)
        found = await self._looked(entry, device, binding)
        if isinstance(found, Cause):
            return await self._refused(entry, found, mine, standings)
        return found

    async def _standings(
        self, connection: AsyncConnection, attempt: Attempt, device: Device | None
    ) -> tuple[tuple[Budget, ...], Mapping[str, Standing]]:
        account = device.account if device else ""
        mine = budgets(self._limits, attempt.mac, attempt.source, account, proven=attempt.authenticated)
        return mine, await read_budgets(connection, [one.key for one in mine])

    async def _looked(self, entry: Entry, device: Device | None, binding: bool) -> Redemption | Cause:
        cause = entry.objection(device)
        if cause is None:
            return await self._accepted(entry) if binding else await preview(entry)
        if cause is Cause.USED and (again := await is_again(entry)) is not None:
            await _tell(entry, Event("code_repeated", entry.now), **entry.whose())
            return again
        return cause

    async def _accepted(self, entry: Entry) -> Redemption | Cause:
        """A fresh code wipes the device's slate; one keyed in again does not, or it would pay for guesses."""
        found = await accept(entry, self._store.box, self._drivers)
        if isinstance(found, Redemption):
            limits, attempt = self._limits, entry.attempt
            mine = budgets(limits, attempt.mac, attempt.source, "", proven=attempt.authenticated)
            await clear_budgets(entry.connection, [one.key for one in mine if one.kind == _DEVICE])
        return found

    async def _refused(
        self, entry: Entry, cause: Cause, mine: Sequence[Budget], standings: Mapping[str, Standing]
    ) -> Redemption:
        """The same statements for every cause of a wrong entry, so that none can be told from another by its time."""
        if cause not in _RIGHTFUL:
            await self._charge(entry, mine, standings)
            await self._misused(entry)
        foreign = cause is Cause.OTHER_ACCOUNT
        severity = "alarm" if foreign else "warning" if cause in MISFITS else "info"
        event = Event("code_of_another_account" if foreign else "code_failed", entry.now, severity=severity)
        await _tell(entry, event, cause=cause.value, **entry.whose())
        return Redemption(answer(cause, authenticated=entry.attempt.authenticated))

    async def _charge(self, entry: Entry, mine: Sequence[Budget], standings: Mapping[str, Standing]) -> None:
        after = {one.key: charged(standings[one.key], one.limit, entry.now) for one in mine}
        spent = []
        for one in mine:
            left, told = wait(after[one.key], one.limit, entry.now), after[one.key].told
            if left and not 0 <= entry.now - told < HOUR:
                after[one.key] = replace(after[one.key], told=entry.now)
                spent.append((one, left))
        await write_budgets(entry.connection, after)
        for one, left in spent:
            event = Event("code_budget_spent", entry.now, severity="alarm" if one.kind in _ALARMS else "warning")
            await _tell(entry, event, budget=one.kind, tries=f"{one.limit.tries:g}/h", wait=f"{left:.0f} s")

    async def _misused(self, entry: Entry) -> None:
        if await codes.note_misuse(entry.connection, entry.finders, self._misuses, entry.now):
            await _tell(entry, Event("code_locked", entry.now, severity="alarm"), **entry.whose())

    async def _put_off(self, entry: Entry, waits: Mapping[str, float]) -> Redemption:
        """Not looked at and not counted."""
        event, kind = Event("code_put_off", entry.now, severity="warning"), _longest(waits)
        if (repeated := self._repeated(event, entry.attempt)) is not None:
            await _tell(entry, event, budget=kind, wait=f"{waits[kind]:.0f} s", **repeated)
        return _answer_of(waits)

    async def _unsupported(self, attempt: Attempt, now: float, cause: str) -> Redemption:
        await self._mention(attempt, Event("code_unsupported", now, severity="warning", details={"cause": cause}))
        return Redemption(Outcome.UNSUPPORTED)

    async def _mention(self, attempt: Attempt, event: Event) -> None:
        """What costs its sender nothing is told once a minute, in a transaction of its own."""
        if (repeated := self._repeated(event, attempt)) is not None:
            async with self._store.writing() as connection:
                await write_events(connection, [_filled(event, attempt, {**event.details, **repeated})])

    def _repeated(self, event: Event, attempt: Attempt) -> dict[str, str] | None:
        """None to hold it back, else how often its like was held back since it was told."""
        held = self._repeats.held((event.kind, attempt.mac, attempt.source), event.at)
        return None if held is None else {"repeated": str(held)} if held else {}

    def _reach(self, address: str) -> bool:
        return is_within(address, self._networks)

    def _model(self, vendor: str, model: str) -> Model | None:
        driver = self._drivers.get(vendor)
        return model_named(driver.manifest, model) if driver and model else None


def _unable(model: Model | None) -> str:
    """Why a phone of this model cannot be activated by a code, in the words of who issues them."""
    return ModelUnsupported.kind if model is None else IvrUnsupportedModel.kind


def _waits(mine: Sequence[Budget], standings: Mapping[str, Standing], now: float) -> Mapping[str, float]:
    return {one.kind: wait(standings[one.key], one.limit, now) for one in mine}


def _longest(waits: Mapping[str, float]) -> str:
    """The budget to tell of: the device's own before those that others share."""
    return _DEVICE if waits[_DEVICE] > 0 else max(waits, key=lambda one: waits[one])


def _answer_of(waits: Mapping[str, float]) -> Redemption:
    """Who is not to blame for the wait hears that all lines are busy."""
    kind = _longest(waits)
    return Redemption(Outcome.LOCKED if kind == _DEVICE else Outcome.BUSY, retry_after=waits[kind])


async def _tell(entry: Entry, event: Event, **more: str) -> None:
    await write_events(entry.connection, [_filled(event, entry.attempt, more)])


def _filled(event: Event, attempt: Attempt, more: Mapping[str, str]) -> Event:
    return replace(event, mac=attempt.mac, actor=ACTOR, details={**told_of(attempt), **more})
