"""Merge ConfigLayers in scope order; each value remembers who set it and what that overrode. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from provisioner.model import ConfigLayer, Line, Mac, Model, ResolvedConfig, Scope, Sourced

ORDER: Mapping[Scope, int] = MappingProxyType({scope: rank for rank, scope in enumerate(Scope)})

Merged = tuple[Mapping[str, Sourced], Mapping[str, Sourced]]
"""Values and raw vendor parameters of some layers put together."""


def merge(layers: Iterable[ConfigLayer], onto: Merged | None = None) -> Merged:
    """Put layers together, weakest scope first, on top of an earlier result that is left as it is."""
    values: dict[str, Sourced] = dict(onto[0]) if onto else {}
    raw: dict[str, Sourced] = dict(onto[1]) if onto else {}
    for layer in sorted(layers, key=lambda one: ORDER[one.scope]):
        _overlay(values, layer, layer.values)
        _overlay(raw, layer, layer.raw)
    return MappingProxyType(values), MappingProxyType(raw)


def _overlay(into: dict[str, Sourced], layer: ConfigLayer, entries: Mapping[str, object]) -> None:
    for name, value in entries.items():
        before = into.get(name)
        overrode = () if before is None else ((before.scope, before.value), *before.overrode)
        into[name] = Sourced(value, layer.scope, layer.key, overrode)


def resolve(
    mac: Mac,
    model: Model,
    lines: Sequence[Line],
    merged: Merged,
    *,
    upgrade_only: bool = False,
    base_url: str = "",
    emptied: tuple[int, ...] = (),
    wiped: bool = False,
) -> ResolvedConfig:
    """The ResolvedConfig of one device."""
    values, raw = merged
    return ResolvedConfig(mac, model, tuple(lines), values, raw, upgrade_only, base_url, emptied=emptied, wiped=wiped)
