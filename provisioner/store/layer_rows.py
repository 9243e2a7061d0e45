"""Rows of ConfigLayers; what a row cannot say any more is an error of that layer alone.

Whoever writes one writes its revision with it. A layer that is being rolled out is changed by nobody else meanwhile:
phones would get a mixture that nobody has looked at.
"""

from __future__ import annotations

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import Conflict
from provisioner.model import ConfigLayer, Scope
from provisioner.rollout_states import PARTS
from provisioner.store import layer_history, rollouts, schema
from provisioner.store.secretbox import SecretBox
from provisioner.store.values import pack_layer, unpack_layer

_L = schema.layer.c


async def read_layer(connection: AsyncConnection, box: SecretBox, scope: Scope, key: str) -> ConfigLayer | None:
    """One layer, opened."""
    query = select(_L.entries, _L.raw).where(_L.scope == scope.value, _L.key == key)
    found = (await connection.execute(query)).one_or_none()
    return None if found is None else unpack_layer(scope, key, found.entries, found.raw, box)


async def list_layers(
    connection: AsyncConnection, box: SecretBox, scope: Scope | None = None, limit: int = 1000
) -> list[ConfigLayer]:
    """Layers of one scope, or of all but the devices'."""
    query = select(_L.scope, _L.key, _L.entries, _L.raw).order_by(_L.scope, _L.key).limit(limit)
    query = query.where(_L.scope != Scope.DEVICE.value if scope is None else _L.scope == scope.value)
    rows = await connection.execute(query)
    return [unpack_layer(Scope(row.scope), row.key, row.entries, row.raw, box) for row in rows]


async def write_layer(
    connection: AsyncConnection, box: SecretBox, layer: ConfigLayer, *, reverts: int | None = None
) -> None:
    """Put a layer in the place of the one before; an empty one leaves no row. Conflict while it is rolled out.

    ``reverts``: the revision that is taken back by it.
    """
    await require_settled(connection, layer.scope, layer.key)
    was = await read_layer(connection, box, layer.scope, layer.key) or ConfigLayer(layer.scope, layer.key)
    await _delete(connection, layer.scope, layer.key)
    if layer.values or layer.raw:
        entries, raw = pack_layer(layer, box)
        values = {"scope": layer.scope.value, "key": layer.key, "entries": entries, "raw": raw}
        await connection.execute(insert(schema.layer).values(values))
    await layer_history.note(connection, box, was, layer, reverts)


async def require_settled(connection: AsyncConnection, scope: Scope, key: str) -> None:
    """Conflict while some phones have another value of it than the rest."""
    found = await rollouts.open_rollout(connection, scope, key)
    if found is not None and found.share < PARTS:
        raise Conflict(
            f"revision {found.revision} of this layer is being rolled out ({found.state}, step {found.step}): "
            f"promote rollout {found.id} to all phones or revert it first"
        )


async def delete_layer(connection: AsyncConnection, scope: Scope, key: str) -> None:
    """Remove a layer, with all that it ever said: what it belongs to is gone."""
    await _delete(connection, scope, key)
    await layer_history.forget(connection, scope, key)
    await rollouts.forget(connection, scope, key)


async def _delete(connection: AsyncConnection, scope: Scope, key: str) -> None:
    await connection.execute(delete(schema.layer).where(_L.scope == scope.value, _L.key == key))
