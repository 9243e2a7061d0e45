"""Rows of ConfigLayers; what a row cannot say any more is an error of that layer alone."""

from __future__ import annotations

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import ConfigLayer, Scope
from provisioner.store import schema
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


async def write_layer(connection: AsyncConnection, box: SecretBox, layer: ConfigLayer) -> None:
    """Put a layer in the place of the one before; an empty one leaves no row."""
    await delete_layer(connection, layer.scope, layer.key)
    if layer.values or layer.raw:
        entries, raw = pack_layer(layer, box)
        values = {"scope": layer.scope.value, "key": layer.key, "entries": entries, "raw": raw}
        await connection.execute(insert(schema.layer).values(values))


async def delete_layer(connection: AsyncConnection, scope: Scope, key: str) -> None:
    """Remove a layer."""
    await connection.execute(delete(schema.layer).where(_L.scope == scope.value, _L.key == key))
