"""Every value that a setting can have survives the database."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import Invalid, StoreFailed
from provisioner.model import ConfigLayer, Scope
from provisioner.neutral import SETTINGS, parse_value
from provisioner.store.secretbox import SecretBox
from provisioner.store.values import from_json, pack_layer, to_json, unpack_layer

BOX = SecretBox([b"\x07" * 32])
GIVEN = {
    "sip.server": "[2001:db8::1]:5061",
    "sip.codecs": ["opus", "g722"],
    "keys": [{"position": 1, "kind": "blf", "value": "101", "label": 'Zoë ]]> "'}, {"position": 2, "kind": "line"}],
    "dialplan.rules": [{"match": "0[1-9]xxx.T", "prefix": "9"}, "112"],
    "emergency.numbers": "112,911",
    "net.vlan": 4094,
    "net.lldp": "off",
    "password.admin": 'pä"ss',
    "net.dot1x.password": "canary",
    "line.3.sip.expiry": 900,
}

scalars = st.text(max_size=30) | st.integers(-100, 70_000) | st.booleans()
texts = st.text(st.characters(codec="utf-8"), max_size=20)
candidates: st.SearchStrategy[Any] = st.one_of(
    scalars,
    st.lists(scalars, max_size=4),
    st.from_regex(r"[a-z]{1,9}\.example\.net(:[1-9][0-9]{1,3})?", fullmatch=True),
    st.lists(st.fixed_dictionaries({"position": st.integers(1, 400), "label": texts}), max_size=5),
    st.lists(st.fixed_dictionaries({"match": st.from_regex(r"[0-9x]{1,8}\.?T?", fullmatch=True)}), max_size=5),
    st.lists(st.sampled_from(["opus", "g722", "pcma", "g729"]), min_size=1, unique=True),
)


@given(st.sampled_from(sorted(SETTINGS)), candidates)
def test_what_a_setting_accepts_comes_back_equal(name: str, given_value: Any) -> None:
    if name == "time.zone" and not isinstance(given_value, str):
        return
    try:
        value = parse_value(name, given_value)
    except Invalid:
        return
    assert from_json(json.loads(json.dumps(to_json(value)))) == value
    try:
        layer = ConfigLayer(Scope.SITE, "s1", {name: value}, {})
        packed = pack_layer(layer, BOX)
    except UnicodeEncodeError:
        return
    assert unpack_layer(Scope.SITE, "s1", *packed, BOX) == layer


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_default_comes_back_equal_and_of_its_type(name: str) -> None:
    value = SETTINGS[name].default
    back = from_json(json.loads(json.dumps(to_json(value))))
    assert back == value and type(back) is type(value)


@given(st.dictionaries(texts, texts, max_size=5))
def test_raw_parameters_come_back_equal(raw: dict[str, str]) -> None:
    packed = pack_layer(ConfigLayer(Scope.DEVICE, "0004f2aabb01", {}, raw), BOX)
    assert unpack_layer(Scope.DEVICE, "0004f2aabb01", *packed, BOX).raw == raw


def test_a_layer_comes_back_equal_and_shows_no_secret() -> None:
    values = {name: parse_value(name, value) for name, value in GIVEN.items()}
    layer = ConfigLayer(Scope.SITE, "s1", values, {"poly:some.password": "canary"})
    entries, raw = pack_layer(layer, BOX)
    back = unpack_layer(Scope.SITE, "s1", entries, raw, BOX)
    assert back == layer
    assert "canary" not in entries + repr(raw) + repr(back) and 'pä"ss' not in repr(back)
    assert f"{back.values['net.dot1x.password']}" == "canary"


def test_a_sealed_setting_moved_to_another_layer_or_name_does_not_open() -> None:
    entries, raw = pack_layer(ConfigLayer(Scope.SITE, "s1", {"password.admin": "one"}, {"a": "b"}), BOX)
    moved = json.dumps({"password.user": json.loads(entries)["password.admin"]})
    for scope, key, text, sealed in (
        (Scope.SITE, "s2", entries, None),
        (Scope.ACCOUNT, "s1", entries, None),
        (Scope.SITE, "s1", moved, None),
        (Scope.SITE, "s2", "{}", raw),
    ):
        with pytest.raises(StoreFailed):
            unpack_layer(scope, key, text, sealed, BOX)


@pytest.mark.parametrize(
    "entries",
    ["", "nonsense", "[]", "null",
     '{"a": {"host": []}}', '{"a": {"nothing": [1]}}', '{"a": {}}', '{"a": {"sealed": "!"}}',
     '{"a": {"sealed": 3}}', '{"a": {"host": ["x"], "key": []}}'],
)  # fmt: skip
def test_a_damaged_row_is_the_stores_failure(entries: str) -> None:
    with pytest.raises(StoreFailed):
        unpack_layer(Scope.SITE, "s1", entries, None, BOX)
