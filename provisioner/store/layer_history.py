"""Revisions of layers: every write puts down what it changed, in its own transaction, so none is ever left out.

A revision holds only the entries that changed, sealed as the layer's own. Who and when is filled in as the change ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Row, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import ConfigLayer, Scope
from provisioner.store import schema
from provisioner.store.hook_queue import UNBOUND
from provisioner.store.secretbox import SecretBox
from provisioner.store.values import pack_layer, unpack_layer

_H: Final = schema.layer_revision.c
_FREE: Final = {UNBOUND: True}
"""Whoever may write a layer writes its history; what is read of it is narrowed as the layer is."""


@dataclass(frozen=True, slots=True)
class LayerRevision:
    """One change of a layer."""

    revision: int
    scope: Scope
    key: str
    at: float
    actor: str
    reverts: int | None
    """The revision that it took back."""
    was: ConfigLayer = field(repr=False)
    """Of the entries that changed: what they said before; those that are missing were not set."""
    now: ConfigLayer = field(repr=False)
    """What they have said since."""

    @property
    def names(self) -> tuple[str, ...]:
        """The entries that changed."""
        return tuple(sorted({*self.was.values, *self.was.raw, *self.now.values, *self.now.raw}))


def _changed(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of the first that the other has not, or not so; 1 and True are not the same setting."""
    return {
        name: value
        for name, value in one.items()
        if name not in other or other[name] != value or isinstance(other[name], bool) is not isinstance(value, bool)
    }


def difference(was: ConfigLayer, now: ConfigLayer) -> tuple[ConfigLayer, ConfigLayer]:
    """Both layers, only with the entries in which they differ."""
    return (
        ConfigLayer(now.scope, now.key, _changed(was.values, now.values), _changed(was.raw, now.raw)),
        ConfigLayer(now.scope, now.key, _changed(now.values, was.values), _changed(now.raw, was.raw)),
    )


async def note(
    connection: AsyncConnection, box: SecretBox, was: ConfigLayer, now: ConfigLayer, reverts: int | None = None
) -> None:
    """Put down what is different; a second write of the same change goes on where the first began."""
    before, after = difference(was, now)
    if not (before.values or before.raw or after.values or after.raw):
        return
    revision = (await connection.execute(select(schema.revision.c.value))).scalar_one()
    row = await _row(connection, now.scope, now.key, revision)
    if row is not None:
        first = _read(row, box)
        before, after = difference(_laid(was, first), now)
    values = dict(zip(("was_entries", "was_raw"), pack_layer(before, box), strict=True))
    values |= dict(zip(("entries", "raw"), pack_layer(after, box), strict=True))
    keys = {"revision": revision, "scope": now.scope.value, "key": now.key}
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    query = dialect.insert(schema.layer_revision).values(**keys, **values, reverts=reverts)
    query = query.on_conflict_do_update(index_elements=list(keys), set_=values)
    await connection.execute(query.execution_options(**_FREE))


def _laid(was: ConfigLayer, first: LayerRevision) -> ConfigLayer:
    """The layer as it was before the earlier write of the same change."""
    touched = set(first.names)
    return ConfigLayer(
        was.scope,
        was.key,
        {**{name: one for name, one in was.values.items() if name not in touched}, **first.was.values},
        {**{name: one for name, one in was.raw.items() if name not in touched}, **first.was.raw},
    )


async def _row(connection: AsyncConnection, scope: Scope, key: str, revision: int) -> Row[Any] | None:
    query = select(schema.layer_revision).where(_H.scope == scope.value, _H.key == key, _H.revision == revision)
    return (await connection.execute(query)).one_or_none()


def _read(row: Row[Any], box: SecretBox) -> LayerRevision:
    scope = Scope(row.scope)
    was = unpack_layer(scope, row.key, row.was_entries, row.was_raw, box)
    now = unpack_layer(scope, row.key, row.entries, row.raw, box)
    return LayerRevision(row.revision, scope, row.key, row.at, row.actor, row.reverts, was, now)


async def find_revision(
    connection: AsyncConnection, box: SecretBox, scope: Scope, key: str, revision: int
) -> LayerRevision | None:
    """One change of a layer."""
    row = await _row(connection, scope, key, revision)
    return None if row is None else _read(row, box)


async def list_revisions(
    connection: AsyncConnection, box: SecretBox, scope: Scope, key: str, *, before: int | None = None, limit: int = 100
) -> list[LayerRevision]:
    """What a layer was, the newest change first."""
    query = select(schema.layer_revision).where(_H.scope == scope.value, _H.key == key)
    query = query.where(_H.revision < before) if before is not None else query
    rows = await connection.execute(query.order_by(_H.revision.desc()).limit(limit))
    return [_read(row, box) for row in rows]


async def later_changes(
    connection: AsyncConnection, box: SecretBox, scope: Scope, key: str, after: int, names: Sequence[str]
) -> list[LayerRevision]:
    """Changes of these entries since then, the newest first."""
    wanted = set(names)
    found = [one for one in await list_revisions(connection, box, scope, key, limit=1000) if one.revision > after]
    return [one for one in found if wanted & set(one.names)]


async def forget(connection: AsyncConnection, scope: Scope, key: str) -> None:
    """The layer belongs to nothing any more."""
    query = delete(schema.layer_revision).where(_H.scope == scope.value, _H.key == key)
    await connection.execute(query.execution_options(**_FREE))
