"""Power off, link down, a minute, power on: whatever happens in between, the last thing is that power was read back.

Before anything is switched off its row says so, durably. Who dies leaves that row, and whoever comes next (the server
each two seconds, every `switch` command as it begins) brings power back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from provisioner.cycle_states import MAY_BE_OFF, CycleState, CycleStep
from provisioner.errors import Conflict, ProvisionerError
from provisioner.settings import Settings
from provisioner.store import power_cycles as cycles
from provisioner.store import switches as rows
from provisioner.store.database import Store
from provisioner.store.power_cycles import PowerCycle
from provisioner.store.switches import Switch
from provisioner.switches import oids
from provisioner.switches.agent import AgentFailed
from provisioner.switches.doors import StoreDoors
from provisioner.switches.objections import Circumstances, objections
from provisioner.switches.oids import Oid, dotted, number_in, parsed
from provisioner.switches.owners import is_dead, myself
from provisioner.switches.search import search
from provisioner.switches.values import DELIVERING, Port

_LOG: Final = logging.getLogger("provisioner.server")
_GRACE: Final = 20.0
"""s beyond what a step takes, in which its owner is left alone."""
_CHECK: Final = 120.0
"""s in which everything is looked at."""
_TRIES: Final = 5
_PAUSE: Final = 2.0
_LOOK: Final = 1.0
"""s between looks at a link: pysnmp's clock ticks each half second."""
_BACK: Final = 10.0
"""s in which a port that is on again finds its phone (IEEE 802.3af: detection and classification take one)."""
_AGAIN: Final = 10.0
"""s between rounds of bringing power back."""
_HOUR: Final = 3600.0
_OFF: Final = 2  # TruthValue false: pethPsePortAdminEnable, RFC 3621
_CISCO_OFF: Final = 4  # cpeExtPsePortEnable disable
_AT_ONCE: Final = 20
_PATIENCE: Final = 15.0
"""s that a command waits for power that comes back, before it does what it is for."""
_INTERRUPTED: Final = "it was interrupted"
_LOST: Final = "somebody else has it meanwhile"


class _Later(Conflict):
    """It may be done, and not at this moment."""


@dataclass(frozen=True, slots=True)
class Power:
    """The object that is switched, and the interface whose link shows it."""

    switch: Switch
    oid: Oid
    interface: int
    off: int
    was: int
    port: str
    doors: StoreDoors = field(repr=False)
    """They hold what opens the switch: power comes back also when the database is away."""

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.switch.name} {self.port}"


class Cycler:
    """One a process."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self.owner = myself()
        self._running: dict[int, asyncio.Task[object]] = {}
        self._begun: set[int] = set()
        self._restoring: set[asyncio.Task[None]] = set()
        self._told: dict[int, float] = {}

    # --- turns --------------------------------------------------------------------------------------------

    async def turn(self) -> int:
        """Bring power back where somebody has died, and begin what was wished; how many are under way."""
        await self.release()
        async with self._store.reading() as connection:
            now = self._clock()
            off = [one.id for one in await cycles.maybe_off(connection) if one.lease < now]
            wished = await cycles.waiting(connection, now)
        for ident in off:  # however many
            self._start(ident)
        for ident in wished:
            if len(self._begun) < _AT_ONCE:
                self._start(ident, self._begun)
        return len(self._running)

    def _start(self, ident: int, among: set[int] | None = None) -> None:
        if ident in self._running:
            return
        self._running[ident] = task = asyncio.create_task(self._contained(ident), name="power cycle")
        if among is not None:
            among.add(ident)
        task.add_done_callback(partial(self._over, ident))

    def _over(self, ident: int, _task: object) -> None:
        self._running.pop(ident, None)
        self._begun.discard(ident)

    async def resume(self) -> list[PowerCycle]:
        """Only bring power back, and wait a moment for it: what every command does first; how far each is then."""
        await self.release()
        now = self._clock()
        async with self._store.reading() as connection:
            due = [one.id for one in await cycles.maybe_off(connection) if one.lease < now]
        for ident in due:
            self._start(ident)
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=_PATIENCE)
        async with self._store.reading() as connection:
            found = [await cycles.find(connection, ident) for ident in due]
        return [one for one in found if one is not None]

    async def release(self) -> None:
        """Nobody waits for a process that is known to be dead."""
        async with self._store.reading() as connection:
            lost = [one for one in await cycles.maybe_off(connection) if is_dead(one.owner)]
        for one in lost:
            async with self._store.writing() as connection:
                await cycles.end_lease(connection, one)

    async def close(self) -> None:
        """Bring power back wherever this process has taken it, and end."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await asyncio.gather(*self._restoring, return_exceptions=True)

    async def tidy(self) -> None:
        """Forget what ended months ago."""
        async with self._store.writing() as connection:
            await cycles.forget(connection, self._clock() - 90 * 86_400.0)

    async def _contained(self, ident: int) -> None:
        try:
            await self.run(ident)
        except ProvisionerError as error:
            _LOG.warning("power cycle %d: %s", ident, error.cause)

    # --- one of them --------------------------------------------------------------------------------------

    async def run(self, ident: int) -> PowerCycle | None:
        """All of it; None where somebody else has it."""
        async with self._store.writing() as connection:
            row = await cycles.take(connection, ident, self.owner, self._clock(), _CHECK)
        if row is None:
            return None
        if row.state in MAY_BE_OFF:
            await self._back_on(row, await self._power_of(row), self._left(row))
        else:
            await self._begin(row)
        async with self._store.reading() as connection:
            return await cycles.find(connection, ident)

    def _left(self, row: PowerCycle) -> str:
        """Why it did not do what it should, of one that somebody has left; empty where it did."""
        whole = row.off_at is not None and self._clock() - row.off_at >= row.seconds
        if row.state is CycleState.RESTORING or (row.state is CycleState.OFF and whole):
            return row.result
        return _INTERRUPTED

    async def _begin(self, row: PowerCycle) -> None:
        try:
            power = await self._checked(row)
            await self._cut(row, power)
        except _Later as error:
            await self._put_off(row, error)
            return
        except ProvisionerError as error:
            await self._end(row, CycleStep.REFUSE, "power_refused", error.cause, severity="warning")
            return
        why = _INTERRUPTED
        try:
            why = await self._off(row, power)
        except ProvisionerError as error:
            why = error.cause
        finally:
            await self._back_on(row, power, why)

    async def _back_on(self, row: PowerCycle, power: Power, why: str) -> None:
        """Whoever is told to leave meanwhile leaves it to ``close`` to wait for it."""
        task = asyncio.create_task(self._restore(row, power, why), name="power back")
        self._restoring.add(task)
        task.add_done_callback(self._restoring.discard)
        await asyncio.shield(task)

    async def _put_off(self, row: PowerCycle, error: _Later) -> None:
        """One port of a switch after the other; whoever has waited for an hour is told so."""
        now = self._clock()
        if now - row.asked_at >= _HOUR:
            await self._end(row, CycleStep.REFUSE, "power_refused", error.cause, severity="warning")
            return
        values = {"owner": "", "lease": now + _AGAIN, "result": error.cause}
        async with self._store.writing() as connection:
            await cycles.move(connection, row.id, CycleStep.PUT_OFF, self.owner, values)

    async def _checked(self, row: PowerCycle) -> Power:
        """The port, where nothing stands in the way; Conflict says what does."""
        async with self._store.reading() as connection:
            known = await rows.switches_for(connection, row.mac)
        doors = StoreDoors(self._store, self._settings)
        await doors.fetch(known)
        found = await search(row.mac, known, doors, self._settings.switch_parallel)
        if found.port is None or found.switch is None:
            raise Conflict(found.words)
        async with self._store.reading() as connection:
            lately = await cycles.lately(connection, found.switch.id, self._clock() - _HOUR)
        around = Circumstances(found.switch.writable, lately, self._settings.switch_cycles, len(found.failed))
        if reasons := objections(row.mac, found.port, around):
            raise Conflict("; ".join(reasons))
        return _power(found.switch, found.port, doors)

    async def _cut(self, row: PowerCycle, power: Power) -> None:
        """Say that it will be off, before it is; Conflict where another port of the switch is."""
        now = self._clock()
        values = {
            "switch": power.switch.id, "port": power.port, "interface": power.interface, "was": power.was,
            "object": dotted(power.oid), "poe": dotted(power.oid[-2:]), "off_at": now,
            "lease": now + self._settings.switch_dark + _GRACE,
        }  # fmt: skip
        async with self._store.changing(row.actor, now) as change:
            other = await cycles.open_of(change.connection, switch=power.switch.id)
            if other is not None and other.id != row.id:
                raise _Later(f"another port of {power.switch.name} is off: power cycle {other.id}")
            if not await cycles.move(change.connection, row.id, CycleStep.CUT, self.owner, values):
                raise Conflict(_LOST)
            change.audit(
                "power_cut", mac=row.mac, severity="warning", account=row.account, switch=power.switch.id,
                port=power.words, poe=str(values["poe"]), cycle=str(row.id), seconds=f"{row.seconds:g}",
            )  # fmt: skip

    async def _off(self, row: PowerCycle, power: Power) -> str:
        """Switch off, see the link go down, wait; why it did not do what it should, empty where it did."""
        reader, writer = await power.doors.reader(power.switch), await power.doors.writer(power.switch, once=True)
        if not await self._is_mine(row):
            return _LOST
        await writer.set(power.oid, power.off)  # once: what is sent again might come after power is back
        if number_in((await reader.get(power.oid)).get(power.oid)) != power.off:
            return f"{power.switch.name} took the change and did not make it"
        if not await self._until(power, self._settings.switch_dark, is_up=False):
            return (
                f"the link of {power.words} stayed up for {self._settings.switch_dark:g} s after PoE port "
                f"{dotted(power.oid[-2:])} was off: it is not its port, or the phone has another supply"
            )
        lease = self._clock() + row.seconds + _GRACE
        async with self._store.writing() as connection:
            mine = await cycles.move(connection, row.id, CycleStep.DARK, self.owner, {"lease": lease})
        if not mine:
            return _LOST
        await self._sleep(row.seconds)
        return ""

    async def _is_mine(self, row: PowerCycle) -> bool:
        """Whether nobody else may think by now that it was left."""
        async with self._store.reading() as connection:
            now = await cycles.find(connection, row.id)
        return now is not None and now.owner == self.owner and now.state in MAY_BE_OFF and now.lease > self._clock()

    async def _until(self, power: Power, seconds: float, *, is_up: bool) -> bool:
        """Whether the link becomes so in that time; a switch that does not answer for a moment is asked again."""
        wanted = (*oids.IF_OPER, power.interface)
        until = time.monotonic() + seconds
        while True:
            try:
                reader = await power.doors.reader(power.switch)
                status = number_in((await reader.get(wanted)).get(wanted))
            except AgentFailed:
                status = 0
            if status and (status == 1) is is_up:
                return True
            if time.monotonic() >= until:
                return False
            await self._sleep(_LOOK)

    # --- back -----------------------------------------------------------------------------------------------

    async def _restore(self, row: PowerCycle, power: Power, why: str) -> None:
        """Again and again until it was read back; what this process cannot do stays for the next one.

        Power first, whatever the row says and whether or not it can be asked: what is on twice is on.
        """
        last = ""
        for number in range(_TRIES):
            try:
                if await self._is_on(power):
                    break
                last = "the switch took the change and did not make it"
            except ProvisionerError as error:
                last = error.cause
            with suppress(ProvisionerError):
                await self._hold(row, why)
            if number + 1 < _TRIES:
                await self._sleep(_PAUSE)
        else:
            await self._not_restored(row, power, last)
        await self._written(row, power, why)

    async def _hold(self, row: PowerCycle, why: str) -> bool:
        """Say that this process brings it back; False where somebody else does."""
        values = {"lease": self._clock() + _GRACE, "result": why}
        async with self._store.writing() as connection:
            return await cycles.move(connection, row.id, CycleStep.RESTORE, self.owner, values)

    async def _written(self, row: PowerCycle, power: Power, why: str) -> None:
        """It is on; whoever finds the row where it cannot be written reads it back once more."""
        for number in range(_TRIES):
            try:
                if await self._hold(row, why):
                    await self._done(row, power, why)
                return
            except ProvisionerError:
                if number + 1 == _TRIES:
                    raise
            await self._sleep(_PAUSE)

    async def _is_on(self, power: Power) -> bool:
        """What counts is what is read: a switch that lets nobody change it has not been switched off either."""
        failed: ProvisionerError | None = None
        try:
            await (await power.doors.writer(power.switch)).set(power.oid, power.was)
        except ProvisionerError as error:
            failed = error
        told = await (await power.doors.reader(power.switch)).get(power.oid)
        if power.oid in told and number_in(told[power.oid]) == power.was:
            return True
        if failed is not None:
            raise failed
        return False

    async def _done(self, row: PowerCycle, power: Power, why: str) -> None:
        step = CycleStep.GIVE_UP if why else CycleStep.FINISH
        told = why or await self._back(power)
        kind = "power_failed" if why else "power_restored"
        await self._end(row, step, kind, told, severity="warning" if why else "info", port=power.words)

    async def _back(self, power: Power) -> str:
        """What a person wants to know: whether the phone has power again."""
        detection = (*oids.POE_DETECTION, *power.oid[-2:])
        until = time.monotonic() + _BACK
        while time.monotonic() < until:
            try:
                reader = await power.doors.reader(power.switch)
                if (await reader.get(detection)).get(detection) == DELIVERING:
                    return "the port is on again and delivers power"
            except AgentFailed:
                pass
            await self._sleep(_LOOK)
        return f"the port is on again; within {_BACK:g} s no phone has asked it for power"

    async def _end(
        self, row: PowerCycle, step: CycleStep, kind: str, why: str, *, severity: str, **details: str
    ) -> None:
        now = self._clock()
        async with self._store.changing(row.actor, now) as change:
            values = {"ended": now, "result": why, "lease": 0.0}
            if await cycles.move(change.connection, row.id, step, self.owner, values):
                told = {"account": row.account, "cycle": str(row.id), "reason": why, **details}
                change.audit(kind, mac=row.mac, severity=severity, **told)

    async def _not_restored(self, row: PowerCycle, power: Power, why: str) -> None:
        """An alarm, once an hour; the row stays, and is taken again in a moment."""
        now = self._clock()
        async with self._store.changing(row.actor, now) as change:
            await cycles.move(change.connection, row.id, CycleStep.RESTORE, self.owner, {"lease": now + _AGAIN})
            if now - self._told.get(row.id, -_HOUR) >= _HOUR:
                self._told[row.id] = now
                change.audit(
                    "power_not_restored", mac=row.mac, severity="alarm", account=row.account, cycle=str(row.id),
                    port=power.words, switch=power.switch.id, reason=why,
                )  # fmt: skip
        raise Conflict(
            f"PoE port {dotted(power.oid[-2:])} of {power.switch.name} could not be switched on again: {why}. The "
            "server goes on trying, and so does whoever asks a switch next; or switch it on at the switch"
        )

    async def _power_of(self, row: PowerCycle) -> Power:
        """The same from what was written down before it was switched off."""
        async with self._store.reading() as connection:
            found = [one for one in await rows.find_switches(connection, row.switch) if one.id == row.switch]
        if not found:
            raise Conflict(f"the switch of power cycle {row.id} is not known any more: look at {row.port} by hand")
        oid = parsed(row.object)
        doors = StoreDoors(self._store, self._settings)
        await doors.fetch(found)
        return Power(found[0], oid, row.interface, _off_value(oid), row.was, row.port, doors)


def _power(switch: Switch, port: Port, doors: StoreDoors) -> Power:
    poe = port.poe
    assert poe is not None, "one of the objections"
    root = oids.CISCO_POE_ENABLE if poe.cisco else oids.POE_ADMIN
    oid = (*root, *poe.index)
    return Power(switch, oid, port.if_index, _off_value(oid), poe.admin, port.name, doors)


def _off_value(oid: Oid) -> int:
    return _CISCO_OFF if oid[: len(oids.CISCO_POE_ENABLE)] == oids.CISCO_POE_ENABLE else _OFF
