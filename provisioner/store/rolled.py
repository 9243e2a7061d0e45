"""Which value of a layer a phone gets while a change of it is being rolled out; read with the layers, kept in memory.

The row of the layer has the new value, the rollout's the former one. So a boot asks the database nothing more, and who
restarts, or is added meanwhile, gets what its Mac says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Row,
    Select,
    and_,
    bindparam,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import ConfigLayer, Scope
from provisioner.rollout_states import PARTS, part_of
from provisioner.store import schema
from provisioner.store.secretbox import SecretBox
from provisioner.store.values import unpack_layer

FORMER: Final = "former"
"""Behind a layer's scope and key: what it said before."""
_L: Final = schema.layer.c
_R: Final = schema.rollout.c
Place = tuple[str, ...]


class Turn(NamedTuple):
    """How far a rollout is."""

    share: int
    salt: int

    def place(self, place: Place, mac: str) -> Place:
        """Where the value stands that this phone gets."""
        return place if part_of(mac, self.salt) < self.share else (*place, FORMER)


def place_of(scope: str, key: str, share: int) -> Place:
    """Where a row's value stands."""
    return (scope, key) if share >= PARTS else (scope, key, FORMER)


def _layers() -> Select[Any]:
    """Scope, key, entries, raw, share and salt: what a layer says now."""
    whole: ColumnElement[int] = literal_column(str(PARTS))
    none: ColumnElement[int] = literal_column("0")
    return select(_L.scope, _L.key, _L.entries, _L.raw, whole.label("share"), none.label("salt"))


def _formers() -> Select[Any]:
    """The same of what it said before, where that still counts."""
    query = select(_R.scope, _R.key, _R.entries, _R.raw, _R.share, _R.revision)
    return query.where(_R.ended.is_(None), _R.share < literal_column(str(PARTS)))


def all_layers() -> CompoundSelect[Any]:
    """All that devices share."""
    return union_all(_layers().where(_L.scope != literal_column(f"'{Scope.DEVICE.value}'")), _formers())


async def layers_for(
    connection: AsyncConnection, box: SecretBox, mac: str, places: Sequence[tuple[Scope, str]]
) -> list[ConfigLayer]:
    """What these layers say for this device, in the order asked for; those that say nothing are left out."""
    now = or_(*(and_(_L.scope == scope.value, _L.key == key) for scope, key in places))
    was = or_(*(and_(_R.scope == scope.value, _R.key == key) for scope, key in places))
    rows = list(await connection.execute(union_all(_layers().where(now), _formers().where(was))))
    turns: dict[Place, Turn] = {(row.scope, row.key): Turn(row.share, row.salt) for row in rows if row.share < PARTS}
    found = [
        unpack_layer(Scope(row.scope), row.key, row.entries, row.raw, box)
        for row in rows
        if row.entries is not None and place_of(row.scope, row.key, row.share) == _own(turns, row, mac)
    ]
    return sorted(found, key=lambda one: places.index((one.scope, one.key)))


def _own(turns: Mapping[Place, Turn], row: Row[Any], mac: str) -> Place:
    """Where the device's value of this row's layer stands."""
    place = (row.scope, row.key)
    return turns[place].place(place, mac) if place in turns else place


def one_layer() -> CompoundSelect[Any]:
    """One of them."""
    scope: ColumnElement[str] = bindparam("scope")
    key: ColumnElement[str] = bindparam("key")
    return union_all(
        _layers().where(_L.scope == scope, _L.key == key), _formers().where(_R.scope == scope, _R.key == key)
    )
