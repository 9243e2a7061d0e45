"""Which PoE port is which port: by a rule of the maker that is known, or by what an administrator has said. Pure.

POWER-ETHERNET-MIB does not say it (RFC 3621 section 4). A wrong guess turns a neighbour's phone off, so nothing is
guessed: without a rule and without a word there is no PoE port.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from provisioner.errors import Invalid
from provisioner.switches import oids
from provisioner.switches.oids import Oid, Value

_ENTERPRISE: Final = (1, 3, 6, 1, 4, 1)
_POE: Final = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}")


class Rule(StrEnum):
    """How PoE ports are numbered."""

    AUTO = "auto"
    """By what the switch says it is."""
    HP = "hp"
    """PoE port = ifIndex (ProCurve, ArubaOS-Switch)."""
    CISCO = "cisco"
    """By cpeExtPsePortEntPhyIndex and entAliasMappingIdentifier."""
    CONFIRMED = "confirmed"
    """Only as an administrator has said."""


_MAKERS: Final[Mapping[int, Rule]] = {9: Rule.CISCO, 11: Rule.HP}
"""Enterprise numbers in sysObjectID whose rule is known."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """A PoE port, and how it is known."""

    index: Oid
    how: str


def rule_of(chosen: Rule, object_id: object) -> Rule:
    """The rule that counts; CONFIRMED where the maker has none that is known."""
    if chosen is not Rule.AUTO:
        return chosen
    maker = oids.below(_ENTERPRISE, object_id) if isinstance(object_id, tuple) else None
    return _MAKERS.get(maker[0], Rule.CONFIRMED) if maker else Rule.CONFIRMED


def mapped(
    if_index: int,
    rule: Rule,
    confirmed: Mapping[int, Oid],
    present: Iterable[Oid],
    interfaces: Mapping[Oid, int],
) -> Mapped | None:
    """The PoE port of an interface.

    ``present``: PoE ports that the switch has. ``interfaces``: the interface of each, where a Cisco switch says it.
    """
    have = set(present)
    if if_index in confirmed:
        said = confirmed[if_index]
        return Mapped(said, "confirmed") if said in have else None
    if rule is Rule.HP:
        same = [one for one in have if len(one) == 2 and one[1:] == (if_index,)]
        return Mapped(same[0], "hp") if len(same) == 1 else None
    if rule is Rule.CISCO:
        found = [one for one, interface in interfaces.items() if interface == if_index and one in have]
        return Mapped(found[0], "cisco") if len(found) == 1 else None
    return None


def entity_interfaces(entities: Mapping[Oid, Value], aliases: Mapping[Oid, Value]) -> dict[Oid, int]:
    """PoE port -> ifIndex on a Cisco switch: from its entity to the interface that the entity is an alias of."""
    by_entity: dict[int, set[int]] = {}
    for index, value in aliases.items():
        interface = oids.below(oids.IF_INDEX, value) if isinstance(value, tuple) else None
        if interface is not None and len(interface) == 1 and index:
            by_entity.setdefault(index[0], set()).add(interface[0])
    found: dict[Oid, int] = {}
    for port, entity in entities.items():
        known = by_entity.get(entity, set()) if isinstance(entity, int) else set()
        if len(known) == 1:
            found[port] = next(iter(known))
    return found


def poe_index(text: str) -> Oid:
    """``1.7``: group and port; Invalid names the form."""
    if not _POE.fullmatch(text):
        raise Invalid("poe", "must be group.port, like 1.7")
    return oids.parsed(text)


def read_map(text: str) -> dict[int, Oid]:
    """The confirmed ports as they are kept: interface by PoE port."""
    return {int(interface): oids.parsed(port) for interface, port in json.loads(text or "{}").items()}


def written_map(confirmed: Mapping[int, Oid]) -> str:
    """The same to be kept."""
    return json.dumps({str(interface): oids.dotted(port) for interface, port in sorted(confirmed.items())})
