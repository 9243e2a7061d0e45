"""What a new phone takes over and what it cannot: told by name, nothing forgotten, the same plan the same token."""

from __future__ import annotations

from collections.abc import Mapping

from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.fleet.swap_plan import Side, SwapPlan, What, planned
from provisioner.model import ConfigLayer, Device, DeviceState, Mac, Model, Scope
from provisioner.neutral import parse_value
from provisioner.store.rows import Binding
from provisioner.vendors import drivers

KNOWN = {one.manifest.name: one for one in drivers()}
OLD, NEW = Mac("0004f2000001"), Mac("0004f2000002")
NOTHING = ConfigLayer(Scope.DEVICE, "")
MODELS = [model for driver in KNOWN.values() for model in driver.manifest.models.values()]


def side(mac: Mac, vendor: str, model: str) -> Side:
    manifest = KNOWN[vendor].manifest
    return Side(Device(mac, vendor, model, DeviceState.UNASSIGNED, "a"), manifest.models[model], manifest)


def bound(*lines: int) -> list[Binding]:
    return [Binding(OLD, line, f"x{line}", f"10{line:02d}", "", 1.0, None, "ann", "bind") for line in lines]


def layer(values: Mapping[str, object], raw: Mapping[str, str] | None = None) -> ConfigLayer:
    return ConfigLayer(Scope.DEVICE, OLD, {name: parse_value(name, one) for name, one in values.items()}, raw or {})


def plan(
    old: tuple[str, str],
    new: tuple[str, str],
    *lines: int,
    own: ConfigLayer = NOTHING,
    others: ConfigLayer = NOTHING,
    shared: list[ConfigLayer] | None = None,
) -> SwapPlan:
    return planned(side(OLD, *old), side(NEW, *new), bound(*lines), own, others, shared or [])


VVX, SMALL, T46S, OBI = ("poly", "VVX 411"), ("poly", "VVX 150"), ("yealink", "T46S"), ("poly", "OBi302")


def test_like_for_like_loses_nothing() -> None:
    found = plan(VVX, VVX, 1, 3, own=layer({"language": "de-DE", "line.3.voicemail.number": "*98"}))
    assert [(one.line, one.to) for one in found.moves] == [(1, 1), (3, 3)]
    assert (found.differences, found.lost) == ((), ())
    assert dict(found.layer.values) == {"language": "de-DE", "line.3.voicemail.number": "*98"}
    assert found.layer.key == NEW


def test_a_line_beyond_the_last_moves_to_the_first_free_one_with_all_that_is_its() -> None:
    keys = [{"position": 1, "kind": "blf", "value": "2002", "line": 5}, {"position": 9, "kind": "park", "value": "70"}]
    found = plan(VVX, SMALL, 1, 5, own=layer({"line.5.voicemail.number": "*98", "keys": keys}))
    assert [(one.line, one.to) for one in found.moves] == [(1, 1), (5, 2)]
    assert found.layer.values["line.2.voicemail.number"] == "*98"
    (kept,) = found.layer.values["keys"]  # type: ignore[misc]  # a tuple of LineKey
    assert (kept.position, kept.line) == (1, 2)
    assert [(one.what, one.lost) for one in found.losses] == [(What.KEY, True)]
    assert any(one.what is What.LINE and "will be line 2" in one.why and not one.lost for one in found.differences)


def test_lines_that_find_no_place_are_named() -> None:
    found = plan(VVX, SMALL, 1, 2, 3)
    assert [(one.line, one.number) for one in found.lost] == [(3, "1003")]
    (loss,) = found.losses
    assert (loss.what, loss.name) == (What.LINE, "1003, line 3")
    assert loss.why == "VVX 150 has 2 lines"


def test_what_the_new_model_refuses_is_lost_by_name_from_whatever_layer() -> None:
    refuses = {model.name: set(model.refuses) for model in KNOWN["poly"].manifest.models.values()}
    name = next(iter(refuses["OBi302"] - refuses["VVX 411"]))
    shared = [ConfigLayer(Scope.SITE, "s", {name: "x"})]
    told = [one for one in plan(VVX, OBI, shared=shared).losses if one.name == name]
    assert len(told) == 1 and told[0].what is What.SETTING
    assert name not in [one.name for one in plan(OBI, OBI, shared=shared).losses]


def test_another_vendor_knows_no_raw_parameter() -> None:
    found = plan(VVX, T46S, 1, own=layer({"language": "sv-SE"}, {"voice.volume": "1"}))
    assert {(one.what, one.name) for one in found.losses} >= {
        (What.PARAMETER, "voice.volume"),
        (What.SETTING, "language"),
    }
    assert dict(found.layer.raw) == {}
    assert any(one.what is What.DIALECT for one in found.differences)


def test_what_the_new_phone_has_of_its_own_is_told_before_it_goes() -> None:
    found = plan(VVX, VVX, own=layer({"language": "de-DE"}), others=layer({"language": "fr-FR", "net.vlan": 7}))
    assert [(one.name, "comes in its place" in one.why) for one in found.losses] == [
        ("language", True),
        ("net.vlan", False),
    ]


def test_a_phone_that_cannot_call_the_prompts_is_told() -> None:
    mute = next(one for one in KNOWN["poly"].manifest.models.values() if not one.ivr_activation)
    assert any(one.what is What.ACTIVATION for one in plan(VVX, ("poly", mute.name)).losses)


def test_the_token_names_what_was_shown() -> None:
    assert plan(VVX, SMALL, 1, 2).token == plan(VVX, SMALL, 1, 2).token
    tokens = {
        plan(VVX, SMALL, 1, 2).token,
        plan(VVX, SMALL, 1, 2, 3).token,
        plan(VVX, VVX, 1, 2).token,
        plan(VVX, SMALL, 1, 2, own=layer({"language": "de-DE"})).token,
    }
    assert len(tokens) == 4


@settings(max_examples=examples(200))
@given(st.sampled_from(MODELS), st.sampled_from(MODELS), st.data())
def test_each_line_goes_to_one_place_or_is_told_lost(old: Model, new: Model, data: st.DataObject) -> None:
    had = data.draw(st.sets(st.integers(1, old.lines), max_size=20))
    found = plan((old.vendor, old.name), (new.vendor, new.name), *sorted(had))
    places = [one.to for one in found.moves]
    assert len(set(places)) == len(places) and all(1 <= one <= new.lines for one in places)
    assert {one.line for one in found.moves} | {one.line for one in found.lost} == had
    assert len(found.moves) == min(len(had), new.lines)
    assert [one.what for one in found.losses].count(What.LINE) == len(found.lost)
