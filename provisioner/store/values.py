"""Typed setting values to JSON and back without parsing: the boot path only rebuilds what was checked once."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import astuple
from typing import Any, Final

from provisioner.errors import Invalid, StoreFailed
from provisioner.model import ConfigLayer, Scope, Secret
from provisioner.neutral import DialRule, HostPort, LineKey, setting_of
from provisioner.store.secretbox import SecretBox

_CLASSES: Final[Mapping[str, Callable[..., object]]] = {"host": HostPort, "key": LineKey, "rule": DialRule}
_WORDS: Final = {HostPort: "host", LineKey: "key", DialRule: "rule"}
_SEALED: Final = "sealed"


def to_json(value: object) -> Any:
    """A JSON value that ``from_json`` turns into an equal one; TypeError for a type no setting has."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    word = _WORDS.get(type(value))
    if word is None:
        raise TypeError(f"a {type(value).__name__} cannot be stored")
    return {word: list(astuple(value))}  # type: ignore[call-overload]  # the classes in _WORDS are dataclasses


def from_json(stored: Any) -> object:
    """The value that ``to_json`` was given, lists as tuples."""
    if stored.__class__ is list:
        return tuple([from_json(item) for item in stored])
    if stored.__class__ is dict:
        [(word, parts)] = stored.items()
        return _CLASSES[word](*parts)
    return stored


def pack_layer(layer: ConfigLayer, box: SecretBox) -> tuple[str, bytes | None]:
    """The columns ``entries`` and ``raw`` of a layer: secret settings sealed one by one, raw parameters as a whole."""
    row = f"{layer.scope}/{layer.key}"
    entries = {
        name: _seal(value, name, row, box) if _is_secret(name) else to_json(value)
        for name, value in layer.values.items()
    }
    raw = json.dumps(dict(layer.raw), sort_keys=True).encode()
    return json.dumps(entries, sort_keys=True), box.seal(raw, "layer", row, "raw") if layer.raw else None


def _is_secret(name: str) -> bool:
    """A setting that this version no longer knows is sealed too."""
    try:
        return setting_of(name).secret
    except Invalid:
        return True


def _seal(value: object, name: str, row: str, box: SecretBox) -> Any:
    return _sealed(json.dumps(to_json(value)).encode(), name, row, box)


def _sealed(plain: bytes, name: str, row: str, box: SecretBox) -> Any:
    return {_SEALED: b64encode(box.seal(plain, "layer", row, name)).decode()}


def unpack_layer(scope: Scope, key: str, entries: str, raw: bytes | None, box: SecretBox) -> ConfigLayer:
    """The layer of a row; StoreFailed when the row is damaged. What was sealed comes as Secret, which no repr shows."""
    row = f"{scope.value}/{key}"
    try:
        stored = json.loads(entries)
        values = {name: _unpack(value, name, row, box) for name, value in stored.items()}
        opened = {} if raw is None else json.loads(box.open(raw, "layer", row, "raw"))
        return ConfigLayer(scope, key, values, {name: Secret(value) for name, value in opened.items()})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreFailed(f"layer {row} is damaged: {type(error).__name__}") from error


def reseal_layer(
    scope: str, key: str, entries: str, raw: bytes | None, box: SecretBox
) -> tuple[str, bytes | None] | None:
    """The columns of a row with every secret sealed by the newest key; None when they are so already."""
    row = f"{scope}/{key}"
    try:
        stored = json.loads(entries)
        old = {name: b64decode(one[_SEALED]) for name, one in stored.items() if _is_sealed(one)}
        old = {name: sealed for name, sealed in old.items() if not box.is_current(sealed)}
        if not old and (raw is None or box.is_current(raw)):
            return None
        for name, sealed in old.items():
            stored[name] = _sealed(box.open(sealed, "layer", row, name), name, row, box)
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreFailed(f"layer {row} is damaged: {type(error).__name__}") from error
    fresh = raw if raw is None else box.seal(box.open(raw, "layer", row, "raw"), "layer", row, "raw")
    return json.dumps(stored, sort_keys=True), fresh


def _is_sealed(stored: Any) -> bool:
    return stored.__class__ is dict and _SEALED in stored


def _unpack(stored: Any, name: str, row: str, box: SecretBox) -> object:
    if _is_sealed(stored):
        value = json.loads(box.open(b64decode(stored[_SEALED]), "layer", row, name))
        return Secret(value) if isinstance(value, str) else from_json(value)
    return from_json(stored)
