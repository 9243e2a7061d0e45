"""Power off, link down, a minute, power on: whatever happens in between, the last thing is that power was read back.

Before anything is switched off its row says so, durably. Who dies leaves that row, and whoever comes next (the server
each two seconds, every `switch` command as it begins) brings power back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
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
_INTERRUPTED: Final = "it was interrupted"


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

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.switch.name} {self.port}"


def myself() -> str:
    """Who this process is: host, number, and when it began, as numbers come again."""
    return f"{socket.gethostname()}/{os.getpid()}/{_began(os.getpid())}"


def is_dead(owner: str) -> bool:
    """Whether it is known to be over: it was a process of this machine, and it is not there any more."""
    host, _, rest = owner.rpartition("/")[0].rpartition("/")
    began = owner.rpartition("/")[2]
    if host != socket.gethostname() or not rest.isdecimal() or not began:
        return False
    return _began(int(rest)) != began


def _began(number: int) -> str:
    """When a process began, in ticks since the machine did (proc(5), field 22); empty: it is not there."""
    try:
        text = Path(f"/proc/{number}/stat").read_text("ascii", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]


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
        self._told: dict[int, float] = {}

    # --- turns --------------------------------------------------------------------------------------------

    async def turn(self) -> int:
        """Bring power back where somebody has died, and begin what was wished; how many are under way."""
        await self.release()
        async with self._store.reading() as connection:
            now = self._clock()
            due = [one.id for one in await cycles.maybe_off(connection) if one.lease < now]
            due += await cycles.waiting(connection, now)
        for ident in due:
            if ident not in self._running and len(self._running) < _AT_ONCE:
                task = asyncio.create_task(self._contained(ident), name="power cycle")
                self._running[ident] = task
                task.add_done_callback(partial(self._over, ident))
        return len(self._running)

    def _over(self, ident: int, _task: object) -> None:
        self._running.pop(ident, None)

    async def resume(self) -> list[PowerCycle]:
        """Only bring power back, and wait for it: what every command does first."""
        await self.release()
        now = self._clock()
        async with self._store.reading() as connection:
            due = [one.id for one in await cycles.maybe_off(connection) if one.lease < now]
        found = [await self.run(ident) for ident in due]
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
            await self._restore(row, await self._power_of(row), self._left(row))
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
            await asyncio.shield(self._restore(row, power, why))

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
        around = Circumstances(found.switch.writable, lately, self._settings.switch_cycles)
        if reasons := objections(found.port, around):
            raise Conflict("; ".join(reasons))
        return _power(found.switch, found.port)

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
                raise Conflict("somebody else has it meanwhile")
            change.audit(
                "power_cut", mac=row.mac, severity="warning", account=row.account, switch=power.switch.id,
                port=power.words, poe=str(values["poe"]), cycle=str(row.id), seconds=f"{row.seconds:g}",
            )  # fmt: skip

    async def _off(self, row: PowerCycle, power: Power) -> str:
        """Switch off, see the link go down, wait; why it did not do what it should, empty where it did."""
        doors = StoreDoors(self._store, self._settings)
        reader, writer = await doors.reader(power.switch), await doors.writer(power.switch)
        await writer.set(power.oid, power.off)
        if number_in((await reader.get(power.oid)).get(power.oid)) != power.off:
            return f"{power.switch.name} took the change and did not make it"
        if not await self._until(power, self._settings.switch_dark, is_up=False):
            return (
                f"the link of {power.words} stayed up for {self._settings.switch_dark:g} s after PoE port "
                f"{dotted(power.oid[-2:])} was off: it is not its port, or the phone has another supply"
            )
        lease = self._clock() + row.seconds + _GRACE
        async with self._store.writing() as connection:
            await cycles.move(connection, row.id, CycleStep.DARK, self.owner, {"lease": lease})
        await self._sleep(row.seconds)
        return ""

    async def _until(self, power: Power, seconds: float, *, is_up: bool) -> bool:
        """Whether the link becomes so in that time; a switch that does not answer for a moment is asked again."""
        wanted = (*oids.IF_OPER, power.interface)
        until = self._clock() + seconds
        while True:
            try:
                reader = await StoreDoors(self._store, self._settings).reader(power.switch)
                status = number_in((await reader.get(wanted)).get(wanted))
            except AgentFailed:
                status = 0
            if status and (status == 1) is is_up:
                return True
            if self._clock() >= until:
                return False
            await self._sleep(_LOOK)

    # --- back -----------------------------------------------------------------------------------------------

    async def _restore(self, row: PowerCycle, power: Power, why: str) -> None:
        """Again and again until it was read back; what this process cannot do stays for the next one."""
        last = ""
        for number in range(_TRIES):
            lease = self._clock() + _GRACE
            async with self._store.writing() as connection:
                values = {"lease": lease, "result": why}
                if not await cycles.move(connection, row.id, CycleStep.RESTORE, self.owner, values):
                    return  # somebody else brings it back
            try:
                if await self._is_on(power):
                    await self._done(row, power, why)
                    return
                last = "the switch took the change and did not make it"
            except ProvisionerError as error:
                last = error.cause
            if number + 1 < _TRIES:
                await self._sleep(_PAUSE)
        await self._not_restored(row, power, last)

    async def _is_on(self, power: Power) -> bool:
        """What counts is what is read: a switch that lets nobody change it has not been switched off either."""
        doors = StoreDoors(self._store, self._settings)
        failed: ProvisionerError | None = None
        try:
            await (await doors.writer(power.switch)).set(power.oid, power.was)
        except ProvisionerError as error:
            failed = error
        if number_in((await (await doors.reader(power.switch)).get(power.oid)).get(power.oid)) == power.was:
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
        until = self._clock() + _BACK
        while self._clock() < until:
            try:
                reader = await StoreDoors(self._store, self._settings).reader(power.switch)
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
        return Power(found[0], oid, row.interface, _off_value(oid), row.was, row.port)


def _power(switch: Switch, port: Port) -> Power:
    poe = port.poe
    assert poe is not None, "one of the objections"
    root = oids.CISCO_POE_ENABLE if poe.cisco else oids.POE_ADMIN
    return Power(switch, (*root, *poe.index), port.if_index, _off_value((*root, *poe.index)), poe.admin, port.name)


def _off_value(oid: Oid) -> int:
    return _CISCO_OFF if oid[: len(oids.CISCO_POE_ENABLE)] == oids.CISCO_POE_ENABLE else _OFF
