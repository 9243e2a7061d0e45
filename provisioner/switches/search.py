"""One Mac, many switches: all asked at once within a bound, and the port that it is really plugged into."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeVar

from provisioner.errors import StoreFailed
from provisioner.model import Mac
from provisioner.store.switches import Switch
from provisioner.switches.agent import Agent, AgentFailed
from provisioner.switches.describe import describe, glance
from provisioner.switches.locate import Greeting, Place, by_neighbour, greet, locate
from provisioner.switches.ports import Rule, read_map
from provisioner.switches.values import Port, likeliest

T = TypeVar("T")
_ONE: Final = 20.0
"""s for one switch, however many questions that are; one that answers slowly is none that is waited for."""
_ALL: Final = 90.0
"""s for all of them; so much of it as one switch takes is kept for looking closer at those that have seen it."""
_LATE: Final = "time was up before it had answered, or before its turn: other switches were waited for"


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
        missed = f"; {len(self.failed)} of {_switches(self.asked)} did not answer" if self.failed else ""
        if self.port is None:
            if not self.asked:
                return "no switch is known where this phone may be: add the one that it is plugged into"
            if (answered := self.asked - len(self.failed)) <= 0:
                return f"nobody has answered that could have seen {self.mac.colons}{missed}"
            return f"{self.mac.colons} was not seen by {_switches(answered)} that answered{missed}"
        why = f" ({self.port.uplink}: it is behind that)" if self.port.uplink else ""
        return f"{self.mac.colons} is at {self.port.switch} {self.port.name}{why}{missed}"


def _switches(count: int) -> str:
    return "1 switch" if count == 1 else f"{count} switches"


async def search(mac: Mac, switches: Sequence[Switch], doors: Doors, parallel: int) -> Found:
    """Ask all, look closer at those that have seen it; whoever has not answered when time is up is named."""
    return await _Search(mac, doors, parallel).among(switches)


class _Search:
    """One phone, at one moment."""

    def __init__(self, mac: Mac, doors: Doors, parallel: int) -> None:
        self._mac = mac
        self._doors = doors
        self._gate = asyncio.Semaphore(parallel)
        self._failed: list[tuple[str, str]] = []
        self._end = asyncio.get_running_loop().time() + _ALL

    async def among(self, switches: Sequence[Switch]) -> Found:
        """What all of them say."""
        looks = [one for one in await asyncio.gather(*map(self._look, switches)) if one is not None]
        if not any(one.place for one in looks):
            looks = [one for one in await asyncio.gather(*map(self._look_again, looks)) if one is not None]
        found = await self._ports([one for one in looks if one.place])
        best = likeliest([port for _, port in found])
        chosen = next((hit.switch for hit, port in found if port is best), None)
        rest = tuple(port for _, port in found if port is not best)
        return Found(self._mac, best, chosen, rest, len(switches), tuple(sorted(self._failed)))

    async def _ports(self, hits: Sequence[Look]) -> list[tuple[Look, Port]]:
        """Most of many are on the way, and are asked for no more than shows that; where all are, all are looked at."""
        found = await self._closer_at(hits, brief=len(hits) > 1)
        if len(hits) > 1 and all(port.macs is None for _, port in found):
            return await self._closer_at(hits)
        return found

    async def _closer_at(self, hits: Sequence[Look], *, brief: bool = False) -> list[tuple[Look, Port]]:
        asked = await asyncio.gather(*(self._closer(hit, brief=brief) for hit in hits))
        return [(hit, port) for hit, port in zip(hits, asked, strict=True) if port is not None]

    async def _look(self, switch: Switch) -> Look | None:
        async def look() -> Look:
            agent = await self._doors.reader(switch)
            greeting = await greet(agent, self._mac)
            return Look(switch, agent, greeting, await locate(agent, self._mac, greeting))

        return await self._asked(switch, look, self._end - _ONE)

    async def _look_again(self, one: Look) -> Look | None:
        async def look() -> Look:
            return replace(one, place=await by_neighbour(one.agent, self._mac))

        return await self._asked(one.switch, look, self._end - _ONE)

    async def _closer(self, hit: Look, *, brief: bool = False) -> Port | None:
        async def look() -> Port | None:
            return (await _glanced(self._mac, hit) if brief else None) or await _described(self._mac, hit)

        return await self._asked(hit.switch, look, self._end)

    async def _asked(self, switch: Switch, look: Callable[[], Awaitable[T]], end: float) -> T | None:
        """When it is its turn, and no longer than it may take; who does not answer is noted, and the rest goes on."""
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout_at(end), self._gate, asyncio.timeout_at(min(end, clock() + _ONE)):
                return await look()
        except (AgentFailed, StoreFailed) as error:
            self._failed.append((switch.name, error.cause))
        except TimeoutError:
            self._failed.append((switch.name, _LATE if clock() >= end else f"it has not told all within {_ONE:g} s"))
        return None


async def _glanced(mac: Mac, hit: Look) -> Port | None:
    """A port that is on the way; None for one that has to be looked at whole."""
    assert hit.place is not None, "nobody else is looked at closer"
    return await glance(hit.agent, mac, hit.place, hit.switch.name)


async def _described(mac: Mac, hit: Look) -> Port | None:
    """The port with all that is known of it."""
    switch, confirmed = hit.switch, read_map(hit.switch.ports)
    assert hit.place is not None, "nobody else is looked at closer"
    return await describe(hit.agent, mac, hit.place, hit.greeting, switch.name, Rule(switch.rule), confirmed)
