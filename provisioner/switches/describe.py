"""What a switch says of one of its ports: link, VLANs, neighbour, media policy, power, and who else is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from provisioner.model import Mac
from provisioner.switches import oids, tables
from provisioner.switches.agent import Agent
from provisioner.switches.locate import Greeting, Place
from provisioner.switches.oids import Oid, Value, column, number_in, text_in
from provisioner.switches.ports import Rule, entity_interfaces, mapped, rule_of
from provisioner.switches.values import Neighbour, Poe, Port, VoiceVlan

_LINKS: Final = {1: "up"}
"""ifOperStatus; every other state but these is a link that is down."""
_UNKNOWN_LINK: Final = 4
_ROWS: Final = 4096
"""Of a filtering database that are counted; a switch with more has uplinks, and none of these is asked about."""
_FIRST: Final = 25
_PAGE: Final = 250
"""Rows of a look at a filtering database: at an uplink the first few show it, and a desk's port takes all of them."""
_ENOUGH: Final = 12
"""Macs on a port above which nobody counts on."""
_VIEWS: Final = 64
_POE_PORTS: Final = 1024
_LOCAL: Final = 2048


@dataclass(frozen=True, slots=True)
class Told:
    """A port while it is put together."""

    if_index: int
    bridge_port: int
    names: tuple[str, ...]
    cells: Mapping[Oid, Value] = field(repr=False)


async def glance(agent: Agent, mac: Mac, place: Place, switch: str) -> Port | None:
    """A port on the way, as far as it is asked to know it for one; None where the phone may be plugged in there."""
    told = await _interface(agent, place)
    if told is None or await _others(agent, place, told.bridge_port, mac) is not None:
        return None
    return _plain(told, place, switch)


def _plain(told: Told, place: Place, switch: str) -> Port:
    """Who it is; nobody has counted its Macs."""
    cells, if_index = told.cells, told.if_index
    return Port(
        switch=switch,
        if_index=if_index,
        name=next((name for name in told.names if name), str(if_index)),
        alias=text_in(cells.get((*oids.IF_ALIAS, if_index))),
        link=_link(cells.get((*oids.IF_OPER, if_index))),
        kind=number_in(cells.get((*oids.IF_TYPE, if_index))),
        bridge_port=told.bridge_port,
        vlans=place.vlans,
        native=_native(if_index, told.bridge_port, cells),
        seen=place.seen,
    )


async def describe(
    agent: Agent, mac: Mac, place: Place, greeting: Greeting, switch: str, rule: Rule, confirmed: Mapping[int, Oid]
) -> Port | None:
    """The port, with all that is known of it; None where the switch does not know the interface."""
    told = await _interface(agent, place)
    if told is None:
        return None
    if_index, bridge_port, cells = told.if_index, told.bridge_port, told.cells
    lldp = await _lldp(agent, told, place, mac)
    cisco = tables.cisco_voice(if_index, cells)
    neighbour, used = lldp.neighbour, lldp.used
    if neighbour is None:
        neighbour, used = await _cdp(agent, if_index)
    counted = await _others(agent, place, bridge_port, mac)
    tagged, untagged = await _members(agent, bridge_port)
    return replace(
        _plain(told, place, switch),
        vlans=place.vlans or _only_vlan(tagged | untagged),
        macs=None if counted is None else len(counted),
        others=tuple(sorted(one for one in counted or () if one != mac))[:_ENOUGH],
        tagged=tagged,
        untagged=untagged,
        offered=tuple(one for one in (lldp.offered, cisco) if one is not None),
        used=used,
        neighbour=neighbour,
        inventory=lldp.inventory,
        poe=await poe_of(agent, if_index, rule_of(rule, greeting.object_id), confirmed),
    )


def _link(status: Value | None) -> str:
    if status is None or status == _UNKNOWN_LINK:
        return ""
    return _LINKS.get(number_in(status), "down")


def _only_vlan(vlans: frozenset[int]) -> tuple[int, ...]:
    """A switch without a database for each VLAN says where a Mac is only if the port is in one VLAN."""
    return tuple(vlans) if len(vlans) == 1 else ()


def _native(if_index: int, bridge_port: int, cells: Mapping[Oid, Value]) -> int:
    access = number_in(cells.get((*oids.CISCO_ACCESS_VLAN, if_index)))
    return number_in(cells.get((*oids.PVID, bridge_port))) or access


async def _interface(agent: Agent, place: Place) -> Told | None:
    """From the bridge's number, or LLDP's, to the interface and what it is called."""
    if_index, bridge_port = await _numbers(agent, place)
    if not if_index:
        return None
    names = (oids.IF_NAME, oids.IF_DESCR)
    more = (oids.IF_ALIAS, oids.IF_OPER, oids.IF_TYPE, oids.CISCO_VOICE_VLAN, oids.CISCO_ACCESS_VLAN)
    cells = await agent.get(*((*one, if_index) for one in (*names, *more)), (*oids.PVID, bridge_port))
    if not any((*one, if_index) in cells for one in (*names, oids.IF_OPER)):
        return None
    return Told(if_index, bridge_port, tuple(text_in(cells.get((*one, if_index))) for one in names), cells)


async def _numbers(agent: Agent, place: Place) -> tuple[int, int]:
    """Interface and bridge port."""
    if place.bridge_port:
        view = agent.within(place.view) if place.view else agent
        asked = (*oids.BASE_PORT_IF, place.bridge_port)
        return number_in((await view.get(asked)).get(asked)), place.bridge_port
    bases = column((await agent.walk(oids.BASE_PORT_IF, _LOCAL)).rows, oids.BASE_PORT_IF)
    ports = {number_in(interface): index[0] for index, interface in bases.items()}
    if_index = await _of_local(agent, place.local)
    return if_index, ports.get(if_index, 0)


async def _of_local(agent: Agent, local: int) -> int:
    """The interface that LLDP calls by this number: by its name, else it is the same number."""
    asked = ((*oids.LOC_PORT_ID, local), (*oids.LOC_PORT_DESC, local))
    told = await agent.get(*asked)
    wanted = {text_in(one).lower() for one in told.values()} - {""}
    for root in (oids.IF_NAME, oids.IF_DESCR):
        for index, name in column((await agent.walk(root, _LOCAL)).rows, root).items():
            if text_in(name).lower() in wanted:
                return index[0]
    return local


# --- neighbours ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Lldp:
    offered: VoiceVlan | None = None
    used: VoiceVlan | None = None
    neighbour: Neighbour | None = None
    inventory: Mapping[str, str] = field(default_factory=dict)


async def _lldp(agent: Agent, told: Told, place: Place, mac: Mac) -> _Lldp:
    """What is offered at the port and what the phone there says; LLDP is of the port, not of each Mac on it."""
    local = place.local or await _local(agent, told)
    if not local:
        return _Lldp()
    root = (*oids.REM, oids.REM_PORT)
    ports = column((await agent.walk(root, _LOCAL)).rows, root)
    mine = [index for index in ports if len(index) == 3 and index[1] == local]
    asked = tables.med_objects(oids.MED_OFFERED, (local,))
    for index in mine:
        asked += tables.remote_objects(index) + tables.med_objects(oids.MED_USED, index)
        asked += tables.inventory_objects(index)
    cells = await agent.get(*asked)
    offered = tables.med_policy(oids.MED_OFFERED, (local,), cells)
    if not mine:
        return _Lldp(offered)
    chosen = _chosen(mine, cells, mac)
    used = tables.med_policy(oids.MED_USED, chosen, cells)
    return _Lldp(offered, used, tables.remote(chosen, cells), tables.inventory(chosen, cells))


def _chosen(mine: Sequence[Oid], cells: Mapping[Oid, Value], mac: Mac) -> Oid:
    """The phone itself before a phone before anybody else, the newest of them."""
    known = {index: tables.remote(index, cells) for index in mine}
    return max(mine, key=lambda index: (known[index].mac == mac, known[index].is_phone, index))


async def _local(agent: Agent, told: Told) -> int:
    """LLDP's number of the port: the same as the interface's or the bridge's if those bear its name, else by name."""
    likely = sorted({told.if_index, told.bridge_port} - {0})
    asked = [(*root, one) for one in likely for root in (oids.LOC_PORT_ID, oids.LOC_PORT_DESC)]
    cells = await agent.get(*asked)
    names = (*told.names, text_in(told.cells.get((*oids.IF_ALIAS, told.if_index))))
    ids, descriptions = column(cells.items(), oids.LOC_PORT_ID), column(cells.items(), oids.LOC_PORT_DESC)
    found = tables.local_ports(names, ids, descriptions)
    if not found:
        ids = column((await agent.walk(oids.LOC_PORT_ID, _LOCAL)).rows, oids.LOC_PORT_ID)
        descriptions = column((await agent.walk(oids.LOC_PORT_DESC, _LOCAL)).rows, oids.LOC_PORT_DESC)
        found = tables.local_ports(names, ids, descriptions)
    if not found and (told.if_index,) in ids:
        return told.if_index
    return found[0] if len(found) == 1 else 0


async def _cdp(agent: Agent, if_index: int) -> tuple[Neighbour | None, VoiceVlan | None]:
    """A neighbour that speaks CDP alone, and the VLAN that it says it uses."""
    rows = (await agent.walk((*oids.CDP, oids.CDP_DEVICE, if_index), 16)).rows
    if not rows:
        return None, None
    index = rows[0][0][len(oids.CDP) + 1 :]
    numbers = (oids.CDP_DEVICE, oids.CDP_PLATFORM, oids.CDP_CAPABILITIES, oids.CDP_VLAN)
    told = await agent.get(*((*oids.CDP, number, *index) for number in numbers))
    where = (*oids.CDP, oids.CDP_VLAN, *index)
    vlan = number_in(told.get(where))
    used = VoiceVlan(vlan, by="cdp", oid=where) if vlan in tables.VLANS else None
    return tables.cdp_neighbour(index, told), used


# --- who else, which VLANs, which power -----------------------------------------------------------------------------


async def _others(agent: Agent, place: Place, bridge_port: int, mac: Mac) -> frozenset[Mac] | None:
    """All Macs on the port; None where there are more than are counted."""
    if not bridge_port:
        return frozenset({mac})
    if len(place.views) > _VIEWS:
        return None
    found = {mac}
    for vlan in place.views or (0,):
        view = agent.within(vlan) if vlan else agent
        mine = await _on_port(view, (oids.FDB_PORT,) if vlan else (oids.QFDB_PORT, oids.FDB_PORT), bridge_port)
        if mine is None:
            return None
        found |= mine
    return frozenset(found) if len(found) <= _ENOUGH else None


async def _on_port(view: Agent, roots: Sequence[Oid], bridge_port: int) -> set[Mac] | None:
    """Page by page, so that nobody reads a large database to its end to learn that a port is an uplink."""
    found: set[Mac] = set()
    for root in roots:
        after, read, page = root, 0, _FIRST
        while read < _ROWS:
            table = await view.walk(root, page, after)
            macs = (oids.mac_of(index) for index, port in column(table.rows, root).items() if port == bridge_port)
            found |= {one for one in macs if one is not None}
            read += len(table.rows)
            if len(found) > _ENOUGH:
                return None
            if table.whole or not table.rows:
                break
            after, page = table.rows[-1][0], _PAGE
        if read:
            return found if read < _ROWS else None
    return found


async def _members(agent: Agent, bridge_port: int) -> tuple[frozenset[int], frozenset[int]]:
    """VLANs that leave the port tagged, and without a tag."""
    egress = await _vlans_of(agent, oids.VLAN_EGRESS, bridge_port)
    if not egress:
        return frozenset(), frozenset()
    untagged = await _vlans_of(agent, oids.VLAN_UNTAGGED, bridge_port)
    return egress - untagged, untagged & egress


async def _vlans_of(agent: Agent, root: Oid, bridge_port: int) -> frozenset[int]:
    rows = column((await agent.walk(root, 256)).rows, root)
    return frozenset(index[-1] for index, bits in rows.items() if oids.has_port(bits, bridge_port))


async def poe_of(agent: Agent, if_index: int, rule: Rule, confirmed: Mapping[int, Oid]) -> Poe | None:
    """The power of the port, where it is known which PoE port it is."""
    if if_index in confirmed:
        present = [confirmed[if_index]]
    elif rule is Rule.CONFIRMED:
        return None
    else:
        present = list(column((await agent.walk(oids.POE_ADMIN, _POE_PORTS)).rows, oids.POE_ADMIN))
    interfaces = await _interfaces(agent) if rule is Rule.CISCO and if_index not in confirmed else {}
    found = mapped(if_index, rule, confirmed, present, interfaces)
    return await power_at(agent, found.index, found.how) if found else None


async def power_at(agent: Agent, index: Oid, how: str) -> Poe | None:
    """What a PoE port says; None where there is none of that number."""
    admin, detection, cisco = ((*root, *index) for root in (oids.POE_ADMIN, oids.POE_DETECTION, oids.CISCO_POE_ENABLE))
    told = await agent.get(admin, detection, cisco)
    if detection not in told:
        return None
    own = number_in(told.get(cisco))
    return Poe(index, own or number_in(told.get(admin)), number_in(told[detection]), how, cisco=bool(own))


async def _interfaces(agent: Agent) -> dict[Oid, int]:
    """Cisco's way from PoE ports to interfaces."""
    entities = column((await agent.walk(oids.CISCO_POE_ENTITY, _POE_PORTS)).rows, oids.CISCO_POE_ENTITY)
    wanted = [(*oids.ENTITY_ALIAS, one, 0) for one in sorted({number_in(value) for value in entities.values()} - {0})]
    aliases = column((await agent.get(*wanted)).items(), oids.ENTITY_ALIAS) if wanted else {}
    return entity_interfaces(entities, aliases)
