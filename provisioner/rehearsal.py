"""What a device would get if one layer said something else: worked out from what each value remembers. Pure.

A value knows who set it and what that overrode, which is all that is needed to take one layer out and put another in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from provisioner.layers import ORDER
from provisioner.model import ResolvedConfig, Scope, Sourced

_Stack = list[tuple[Scope, object]]


@dataclass(frozen=True, slots=True)
class LayerChange:
    """What shall be different in one layer; a name may stand in one place only."""

    scope: Scope
    key: str
    values: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Neutral settings, parsed."""
    raw: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Vendor parameters, as the layer has them: in one that vendors share ``VENDOR:NAME``."""
    unset: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """All that it touches."""
        return (*self.values, *self.raw, *sorted(self.unset))


def rehearsed(config: ResolvedConfig, change: LayerChange) -> ResolvedConfig:
    """The same device under the changed layer; the layer has to be one of this device's."""
    vendor = config.model.vendor
    values = _changed(config.values, change, change.values, change.unset)
    raw = _changed(config.raw, change, dict(_own(change.raw, vendor)), frozenset(_plain(change.unset, vendor)))
    return replace(config, values=MappingProxyType(values), raw=MappingProxyType(raw))


def _changed(
    now: Mapping[str, Sourced], change: LayerChange, wanted: Mapping[str, object], unset: frozenset[str]
) -> dict[str, Sourced]:
    found = dict(now)
    for name in (*wanted, *unset):
        stack = [one for one in _stack(now.get(name)) if one[0] is not change.scope]
        if name in wanted:
            stack.append((change.scope, wanted[name]))
        stack.sort(key=lambda one: ORDER[one[0]], reverse=True)
        keys = {now[name].scope: now[name].key} if name in now else {}
        found.pop(name, None)
        if stack:
            (scope, value), *overrode = stack
            key = change.key if scope is change.scope else keys.get(scope, "")
            found[name] = Sourced(value, scope, key, tuple(overrode))
    return found


def _stack(one: Sourced | None) -> _Stack:
    """Who says what, the strongest first."""
    return [] if one is None else [(one.scope, one.value), *one.overrode]


def _own(raw: Mapping[str, str], vendor: str) -> Iterable[tuple[str, str]]:
    """Parameters that this vendor's devices get."""
    for given, value in raw.items():
        whose, colon, name = given.rpartition(":")
        if not colon or whose == vendor:
            yield name, value


def _plain(names: Iterable[str], vendor: str) -> Iterable[str]:
    return (name for name, _ in _own(dict.fromkeys(names, ""), vendor))
