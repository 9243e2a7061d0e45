"""Use-cases of the administrator: the values of a storm plan in the vendors' layers, and all of them back again.

What a plan has set is written down with what stood there before, in the same transaction and in the journal that keeps
administrators' changes. So taking back is exact; and a value that somebody has set since is theirs and stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.fleet.layers import Layers
from provisioner.model import ConfigLayer, Scope
from provisioner.neutral import parse_value
from provisioner.store import journal, layer_rows
from provisioner.store.database import Change

_KIND: Final = "storm_shaped"


class Shaped(NamedTuple):
    """A value that a plan has set in a vendor's layer."""

    value: object
    before: object
    """What the layer said before any plan; None where it said nothing."""


class Unshaped(NamedTuple):
    """One value of a plan when all are taken back."""

    vendor: str
    setting: str
    value: object
    """What the plan had set."""
    now: object
    """What the layer says from now on; None where it says nothing."""
    taken_back: bool
    """False where somebody else has changed it since: it was left as it is."""


Standing = Mapping[str, Mapping[str, Shaped]]
"""By vendor and setting."""


class Shaping(Layers):
    """Storm plans, applied and taken back."""

    async def shaped(self) -> Standing:
        """What plans have set and nobody has changed since."""
        async with self._store.reading() as connection:
            told = await self._recorded(connection)
            return {vendor: _still(ours, await self._said(connection, vendor)) for vendor, ours in told.items()}

    async def shape(self, wanted: Mapping[str, Mapping[str, object]]) -> None:
        """Set values by vendor and setting, all or none; None takes back what a plan had set there."""
        async with self._change() as change:
            standing = dict(await self._recorded(change.connection))
            for vendor, values in wanted.items():
                layer = await self._said(change.connection, self._vendor(vendor))
                ours = dict(_still(standing.get(vendor, {}), layer))
                before = {name: ours[name].before if name in ours else layer.values.get(name) for name in values}
                parsed = {name: parse_value(name, value) for name, value in values.items() if value is not None}
                back = {name: before[name] for name, value in values.items() if value is None and name in ours}
                await self._say(change, layer, {**parsed, **back})
                kept = {name: one for name, one in ours.items() if name not in back}
                standing[vendor] = kept | {name: Shaped(value, before[name]) for name, value in parsed.items()}
            _record(change, standing, "set")

    async def unshape(self) -> list[Unshaped]:
        """Take back whatever plans have set; nothing is left to do when it is asked for again."""
        async with self._store.reading() as connection:
            if not await self._recorded(connection):
                return []
        found: list[Unshaped] = []
        async with self._change() as change:
            for vendor, ours in (await self._recorded(change.connection)).items():
                layer = await self._said(change.connection, vendor)
                still = _still(ours, layer)
                await self._say(change, layer, {name: one.before for name, one in still.items()})
                found += _told(vendor, ours, still, layer)
            _record(change, {}, "taken back")
        return found

    async def _said(self, connection: AsyncConnection, vendor: str) -> ConfigLayer:
        return await self._read(connection, Scope.VENDOR, vendor)

    async def _recorded(self, connection: AsyncConnection) -> Standing:
        """As the last change of a plan has left it."""
        for event in await journal.list_events(connection, limit=1, kind=_KIND):
            told: Mapping[str, Mapping[str, tuple[object, object]]] = json.loads(event.details["standing"])
            return {vendor: {name: Shaped(*one) for name, one in ours.items()} for vendor, ours in told.items()}
        return {}

    async def _say(self, change: Change, layer: ConfigLayer, entries: Mapping[str, object]) -> None:
        """Set entries of a layer, and take out those that are None, with an event of each sort."""
        values = {name: value for name, value in {**layer.values, **entries}.items() if value is not None}
        if values == layer.values:
            return
        await layer_rows.write_layer(
            change.connection, self._store.box, ConfigLayer(layer.scope, layer.key, values, layer.raw)
        )
        change.touch(layer.scope, layer.key)
        told = {"scope": layer.scope.value, "key": layer.key}
        if names := [name for name, value in entries.items() if value is not None]:
            change.audit("layer_set", **told, names=", ".join(names))
        if names := [name for name, value in entries.items() if value is None]:
            change.audit("layer_unset", **told, names=", ".join(names))


def _still(ours: Mapping[str, Shaped], layer: ConfigLayer) -> Mapping[str, Shaped]:
    """Those whose value is still the plan's."""
    return {name: one for name, one in ours.items() if layer.values.get(name) == one.value}


def _told(
    vendor: str, ours: Mapping[str, Shaped], still: Mapping[str, Shaped], layer: ConfigLayer
) -> Iterator[Unshaped]:
    for name, one in ours.items():
        now = one.before if name in still else layer.values.get(name)
        yield Unshaped(vendor, name, one.value, now, name in still)


def _record(change: Change, standing: Standing, what: str) -> None:
    """The newest of these events is what counts; the journal keeps what administrators did."""
    names = [f"{vendor} {name}={one.value}" for vendor, ours in standing.items() for name, one in ours.items()]
    change.audit("storm_shaped", what=what, now=", ".join(names), standing=json.dumps(standing))
