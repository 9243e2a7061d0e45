"""A rehearsed change gives what merging the changed layers would, whatever they say."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from provisioner.layers import merge, resolve
from provisioner.model import ConfigLayer, Mac, Model, Scope, Sourced
from provisioner.rehearsal import LayerChange, rehearsed

MODEL = Model("poly", "VVX 411", "vvx", "ucs", 12)
MAC = Mac("0004f2000001")
SCOPES = [Scope.DEFAULTS, Scope.VENDOR, Scope.MODEL, Scope.ACCOUNT, Scope.SITE, Scope.DEVICE]
NAMES = st.sampled_from(["a", "b", "c"])
SAYS = st.dictionaries(NAMES, st.integers(0, 3), max_size=3)
RAW = st.dictionaries(NAMES, st.sampled_from(["x", "y"]), max_size=3)


def plain(found: Mapping[str, Sourced]) -> dict[str, tuple[object, Scope, tuple[tuple[Scope, object], ...]]]:
    return {name: (one.value, one.scope, one.overrode) for name, one in found.items()}


@given(
    st.dictionaries(st.sampled_from(SCOPES), st.tuples(SAYS, RAW)),
    st.sampled_from(SCOPES), SAYS, RAW, st.frozensets(NAMES),
)  # fmt: skip
def test_as_if_the_layers_were_merged_anew(
    said: dict[Scope, tuple[dict[str, int], dict[str, str]]],
    scope: Scope,
    values: dict[str, int],
    raw: dict[str, str],
    unset: frozenset[str],
) -> None:
    unset -= set(values) | set(raw)
    layers = {one: ConfigLayer(one, one.value, *said.get(one, ({}, {}))) for one in SCOPES}
    before = resolve(MAC, MODEL, (), merge(layers.values()))
    old = layers[scope]
    kept_values = {name: value for name, value in old.values.items() if name not in unset}
    kept_raw = {name: value for name, value in old.raw.items() if name not in unset}
    layers[scope] = ConfigLayer(scope, scope.value, {**kept_values, **values}, {**kept_raw, **raw})
    wanted = resolve(MAC, MODEL, (), merge(layers.values()))
    found = rehearsed(before, LayerChange(scope, scope.value, values, raw, unset))
    assert plain(found.values) == plain(wanted.values)
    assert plain(found.raw) == plain(wanted.raw)


def test_a_parameter_of_another_vendor_changes_nothing() -> None:
    before = resolve(MAC, MODEL, (), merge([ConfigLayer(Scope.ACCOUNT, "a", {}, {"volume": "1"})]))
    change = LayerChange(Scope.ACCOUNT, "a", {}, {"yealink:volume": "9", "poly:tone": "2"}, frozenset({"poly:volume"}))
    found = rehearsed(before, change)
    assert {name: one.value for name, one in found.raw.items()} == {"tone": "2"}
    assert change.names == ("yealink:volume", "poly:tone", "poly:volume")
