"""One Mac, many switches: all asked at once within a bound, and the port that it is really plugged into."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from provisioner.errors import StoreFailed
from provisioner.model import Mac
from provisioner.store.switches import Switch
from provisioner.switches.agent import Agent, AgentFailed, Part
from provisioner.switches.describe import describe
from provisioner.switches.locate import Greeting, Place, by_neighbour, greet, locate
from provisioner.switches.ports import Rule, read_map
from provisioner.switches.values import Port, likeliest

_ONE: Final = 20.0
"""s for one switch, however many questions that are; one that answers slowly is none that is waited for."""
_ALL: Final = 90.0
"""s for all of them."""


class Doors(Protocol):
    """How a switch is asked: whoever calls has its credentials."""

    async def reader(self, switch: Switch) -> Agent:
        """As its first credential sees it; AgentFailed where there is no way to it."""


@dataclass(frozen=True, slots=True)
class Look:
    """A switch that has answered, and where it has the Mac."""

    switch: Switch
    agent: Agent = field(repr=False)
    greeting: Greeting
    place: Place | None


@dataclass(frozen=True, slots=True)
class Found:
    """What all of them say."""

    mac: Mac
    port: Port | None
    switch: Switch | None
    on_the_way: tuple[Port, ...] = ()
    """Where other switches see it: on the way to its port."""
    asked: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    """Switches that did not answer, and why."""

    @property
    def words(self) -> str:
        """For people, in one sentence."""
        missed = f"; {len(self.failed)} of {self.asked} switches did not answer" if self.failed else ""
        if self.port is None:
            if not self.asked:
                return "no switch is known where this phone may be: add the one that it is plugged into"
            return f"none of {self.asked - len(self.failed)} switches has seen {self.mac.colons}{missed}"
        why = f" ({self.port.uplink}: it is behind that)" if self.port.uplink else ""
        return f"{self.mac.colons} is at {self.port.switch} {self.port.name}{why}{missed}"


async def search(mac: Mac, switches: Sequence[Switch], doors: Doors, parallel: int) -> Found:
    """Ask all, look closer at those that have seen it; AgentFailed where that takes too long in all."""
    try:
        async with asyncio.timeout(_ALL):
            return await _search(mac, switches, doors, parallel)
    except TimeoutError as error:
        raise AgentFailed(Part.SILENT, f"{len(switches)} switches were not asked within {_ALL:g} s") from error


async def _search(mac: Mac, switches: Sequence[Switch], doors: Doors, parallel: int) -> Found:
    gate = asyncio.Semaphore(parallel)
    failed: list[tuple[str, str]] = []

    async def look(one: Switch) -> Look | None:
        async with gate:
            try:
                async with _patience():
                    agent = await doors.reader(one)
                    greeting = await greet(agent, mac)
                    return Look(one, agent, greeting, await locate(agent, mac, greeting))
            except (AgentFailed, StoreFailed) as error:
                failed.append((one.name, error.cause))
                return None

    async def look_again(one: Look) -> Look:
        async with gate:
            with suppress(AgentFailed):  # it has answered so far
                async with _patience():
                    return replace(one, place=await by_neighbour(one.agent, mac))
            return one

    looks = [one for one in await asyncio.gather(*(look(one) for one in switches)) if one is not None]
    if not any(one.place for one in looks):
        looks = await asyncio.gather(*(look_again(one) for one in looks))

    async def closer(hit: Look) -> tuple[Switch, Port] | None:
        try:
            async with _patience():
                port = await _described(mac, hit)
        except AgentFailed as error:
            failed.append((hit.switch.name, error.cause))
            return None
        return None if port is None else (hit.switch, port)

    ports = [one for one in await asyncio.gather(*(closer(hit) for hit in looks if hit.place)) if one is not None]
    best = likeliest([port for _, port in ports])
    chosen = next((switch for switch, port in ports if port is best), None)
    rest = tuple(port for _, port in ports if port is not best)
    return Found(mac, best, chosen, rest, len(switches), tuple(sorted(failed)))


@asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_ONE):
            yield
    except TimeoutError as error:
        raise AgentFailed(Part.SILENT, f"it has not told all within {_ONE:g} s") from error


async def _described(mac: Mac, hit: Look) -> Port | None:
    """The port with all that is known of it."""
    switch, confirmed = hit.switch, read_map(hit.switch.ports)
    assert hit.place is not None, "nobody else is looked at closer"
    return await describe(hit.agent, mac, hit.place, hit.greeting, switch.name, Rule(switch.rule), confirmed)
