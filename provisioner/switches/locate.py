"""On which port of one switch a Mac is: the fewest questions first, so that hundreds of switches can be asked at once.

A filtering database is kept by FdbId, which is not always the VLAN, and on Cisco's in a view of its own for each VLAN.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from provisioner.model import Mac
from provisioner.switches import oids
from provisioner.switches.agent import Agent, AgentFailed
from provisioner.switches.oids import Oid, Value, column, mac_index, number_in
from provisioner.switches.tables import VLANS, remote_macs

_VLANS: Final = 1024
_VIEWS: Final = 256
"""VLANs of a Cisco switch that are looked into."""
_ROWS: Final = 8192
"""Of a filtering database whose ids are not told; beyond it the switch is left."""
_NEIGHBOURS: Final = 1024
_CISCO_INTERNAL: Final = range(1002, 1006)
"""fddi-default and its like, on every Cisco switch and in use on none."""


@dataclass(frozen=True, slots=True)
class Place:
    """A port of a switch, as its filtering database or its neighbours say."""

    bridge_port: int
    vlans: tuple[int, ...]
    view: int
    """The VLAN of a Cisco switch's view in which it was found; 0: the only one."""
    seen: Oid
    """The object that says so."""
    views: tuple[int, ...] = ()
    """All of them."""
    local: int = 0
    """LLDP's number of the port, where only a neighbour told of it."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a switch says of itself with the first answer."""

    name: str
    object_id: Oid
    plain: int
    """The port at which its plain database has the Mac; 0: it has not."""

    @property
    def is_cisco(self) -> bool:
        """Whether it may have views by VLAN."""
        return self.object_id[:7] == (1, 3, 6, 1, 4, 1, 9)


async def greet(agent: Agent, mac: Mac) -> Greeting:
    """One question: who are you, and have you seen it?"""
    plain = (*oids.FDB_PORT, *mac_index(mac))
    told = await agent.get(oids.SYS_OBJECT_ID, oids.SYS_NAME, plain)
    identity = told.get(oids.SYS_OBJECT_ID)
    name = oids.text_in(told.get(oids.SYS_NAME))
    return Greeting(name, identity if isinstance(identity, tuple) else (), number_in(told.get(plain)))


async def locate(agent: Agent, mac: Mac, greeting: Greeting) -> Place | None:
    """Where the switch has it; None where it has not."""
    by_fdb = await _by_fdb(agent, mac)
    if by_fdb is not None:
        return by_fdb
    if greeting.plain:
        return Place(greeting.plain, (), 0, (*oids.FDB_PORT, *mac_index(mac)))
    return await _by_view(agent, mac) if greeting.is_cisco else None


async def _by_fdb(agent: Agent, mac: Mac) -> Place | None:
    """One question for each FdbId that a VLAN has, which is less than a walk over a large database."""
    told = await agent.walk(oids.VLAN_FDB, _VLANS)
    vlans: dict[int, set[int]] = {}
    for index, fdb in column(told.rows, oids.VLAN_FDB).items():
        if isinstance(fdb, int) and index[-1] in VLANS:  # timeMark.vlan
            vlans.setdefault(fdb, set()).add(index[-1])
    if not vlans:
        return await _by_walk(agent, mac)
    wanted = [(*oids.QFDB_PORT, fdb, *mac_index(mac)) for fdb in sorted(vlans)]
    found = await agent.get(*wanted)
    return placed({oid[len(oids.QFDB_PORT)]: value for oid, value in found.items()}, vlans, mac)


async def _by_walk(agent: Agent, mac: Mac) -> Place | None:
    """A switch that does not say which FdbIds it has: they are its VLANs then, as far as is known."""
    first = await agent.walk(oids.QFDB_PORT, 1)
    if not first.rows:
        return None
    rows = column((await agent.walk(oids.QFDB_PORT, _ROWS)).rows, oids.QFDB_PORT)
    mine = {index[0]: port for index, port in rows.items() if index[1:] == mac_index(mac)}
    return placed(mine, {fdb: {fdb} for fdb in mine}, mac)


def placed(ports: Mapping[int, Value], vlans: Mapping[int, Iterable[int]], mac: Mac) -> Place | None:
    """The port that most of the databases name; port 0 is one that is not known (RFC 4188 dot1dTpFdbPort)."""
    known = {fdb: port for fdb, port in ports.items() if isinstance(port, int) and port > 0}
    if not known:
        return None
    counted = Counter(known.values())
    port = min(counted, key=lambda one: (-counted[one], one))
    mine = sorted(fdb for fdb, at in known.items() if at == port)
    seen = sorted({vlan for fdb in mine for vlan in vlans.get(fdb, ()) if vlan in VLANS})
    return Place(port, tuple(seen), 0, (*oids.QFDB_PORT, mine[0], *mac_index(mac)))


async def _by_view(agent: Agent, mac: Mac) -> Place | None:
    """Classic IOS has a database for each VLAN, in a community or context of its own."""
    states = column((await agent.walk(oids.CISCO_VLAN_STATE, _VLANS)).rows, oids.CISCO_VLAN_STATE)
    vlans = sorted({index[-1] for index, state in states.items() if state == 1} - set(_CISCO_INTERNAL))[:_VIEWS]
    wanted = (*oids.FDB_PORT, *mac_index(mac))
    ports: dict[int, Value] = {}
    for vlan in vlans:
        try:
            told = await agent.within(vlan).get(wanted)
        except AgentFailed:  # a view that nobody has set up; those of the other VLANs may be there
            continue
        if wanted in told:
            ports[vlan] = told[wanted]
    found = placed(ports, {vlan: (vlan,) for vlan in ports}, mac)
    if found is None:
        return None
    return Place(found.bridge_port, found.vlans, found.vlans[0], wanted, tuple(vlans))


async def by_neighbour(agent: Agent, mac: Mac) -> Place | None:
    """A phone that has sent nothing for minutes is forgotten by every database, and still somebody's neighbour."""
    ports = column((await agent.walk((*oids.REM, oids.REM_PORT), _NEIGHBOURS)).rows, (*oids.REM, oids.REM_PORT))
    chassis = column((await agent.walk((*oids.REM, oids.REM_CHASSIS), _NEIGHBOURS)).rows, (*oids.REM, oids.REM_CHASSIS))
    mine = [index for index, one in remote_macs(ports, chassis) if one == mac]
    if not mine:
        return None
    return Place(0, (), 0, (*oids.REM, oids.REM_PORT, *mine[0]), local=mine[0][1])
