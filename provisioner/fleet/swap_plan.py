"""What a new phone takes over from an old one, and what it cannot: worked out before anything is changed. Pure.

A line keeps its number where the new phone has it, else it gets the first one that is free. Whatever the new phone
lacks is told by name; who goes on has seen it, since a plan with losses is asked for by its token.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from provisioner.model import ConfigLayer, Device, Mac, Model, Scope
from provisioner.neutral import KEYS, LANGUAGE, LineKey
from provisioner.store.rows import Binding
from provisioner.vendor import Manifest

_LINE: Final = re.compile(r"line\.([0-9]+)\.(.+)")


class What(StrEnum):
    """Kinds of differences."""

    LINE = "line"
    KEY = "key"
    SETTING = "setting"
    PARAMETER = "parameter"
    """A raw one, which is the vendor's own."""
    ACTIVATION = "activation"
    POWER = "power"
    DIALECT = "dialect"


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is otherwise afterwards."""

    what: What
    name: str
    why: str
    lost: bool = True
    """Whether somebody will miss it; otherwise it is only told."""


@dataclass(frozen=True, slots=True)
class Move:
    """A line that the new phone takes over."""

    extension: str
    """Its id."""
    number: str
    label: str
    line: int
    to: int


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two phones."""

    device: Device
    model: Model
    manifest: Manifest = field(repr=False)


@dataclass(frozen=True, slots=True)
class SwapPlan:
    """All of it."""

    old: Mac
    new: Mac
    old_model: str
    new_model: str
    moves: tuple[Move, ...]
    lost: tuple[Binding, ...]
    """Lines for which the new phone has none."""
    differences: tuple[Difference, ...]
    layer: ConfigLayer = field(repr=False)
    """The new phone's own settings."""
    exchanged: tuple[str, ...] = ()
    """Numbers whose SIP secret will be another, as their accounts' policies say."""

    @property
    def losses(self) -> tuple[Difference, ...]:
        """What somebody will miss."""
        return tuple(one for one in self.differences if one.lost)

    @property
    def token(self) -> str:
        """Names this very plan: the same while nothing of it has changed."""
        told = {
            "phones": [self.old, self.new, self.old_model, self.new_model],
            "moves": [[one.extension, one.line, one.to] for one in self.moves],
            "lost": [[one.extension, one.line] for one in self.lost],
            "differences": [[one.what, one.name] for one in self.differences],
            "layer": sorted([*self.layer.values, *self.layer.raw]),
        }
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def planned(
    old: Side, new: Side, bound: Sequence[Binding], own: ConfigLayer, others: ConfigLayer, shared: Iterable[ConfigLayer]
) -> SwapPlan:
    """``own`` and ``others`` are the old and the new phone's layers, ``shared`` those that both have."""
    places = _places([one.line for one in bound], new.model.lines)
    moves = [
        Move(one.extension, one.number, one.label, one.line, places[one.line]) for one in bound if one.line in places
    ]
    lost = [one for one in bound if one.line not in places]
    layer, missing = _carried(own, new, old, places)
    differences = [
        *(Difference(What.LINE, f"{one.number}, line {one.line}", _lines(new.model)) for one in lost),
        *(_moved(one) for one in moves if one.line != one.to),
        *missing,
        *_replaced(others, layer),
        *_refused(shared, old.model, new.model, {*own.values}),
        *_abilities(old.model, new.model),
    ]
    device = new.device
    layer = ConfigLayer(Scope.DEVICE, device.mac, layer.values, layer.raw)
    models = old.model.name, new.model.name
    return SwapPlan(old.device.mac, device.mac, *models, tuple(moves), tuple(lost), tuple(differences), layer)


def _places(lines: Sequence[int], most: int) -> dict[int, int]:
    """Line of the old phone -> line of the new one."""
    found = {line: line for line in lines if line <= most}
    free = [number for number in range(1, most + 1) if number not in found]
    beyond = sorted(line for line in lines if line > most)
    return found | dict(zip(beyond, free, strict=False))


def _lines(model: Model) -> str:
    return f"{model.name} has {model.lines} line{'' if model.lines == 1 else 's'}"


def _moved(one: Move) -> Difference:
    return Difference(What.LINE, f"{one.number}, line {one.line}", f"will be line {one.to}", lost=False)


# --- settings of the phone itself -------------------------------------------------------------------------


def _carried(own: ConfigLayer, new: Side, old: Side, places: Mapping[int, int]) -> tuple[ConfigLayer, list[Difference]]:
    values: dict[str, object] = {}
    missing: list[Difference] = []
    for name, value in own.values.items():
        renamed, why = _fits(name, value, new, places)
        if why:
            missing.append(Difference(What.SETTING, name, why))
        elif renamed == KEYS.name:
            values[renamed], lost = _keys(KEYS.parse(value), new.model, places)
            missing += lost
        else:
            values[renamed] = value
    raw, gone = _raw(own.raw, old, new)
    return ConfigLayer(own.scope, own.key, values, raw), [*missing, *gone]


def _fits(name: str, value: object, new: Side, places: Mapping[int, int]) -> tuple[str, str]:
    """The setting's name on the new phone, or why it has none."""
    found = _LINE.fullmatch(name)
    plain = found[2] if found else name
    reason = new.model.refuses.get(plain) or (new.model.refuses.get(f"line.{plain}") if found else None)
    if reason:
        return name, reason
    if plain == LANGUAGE.name and isinstance(value, str) and value and not new.manifest.speaks(value):
        return name, f"{new.manifest.title} phones lack {value}"
    if not found:
        return name, ""
    line = int(found[1])
    to = places.get(line, line)
    if to > new.model.lines or (line not in places and to in places.values()):
        return name, _lines(new.model)
    return f"line.{to}.{plain}", ""


def _keys(
    keys: Iterable[LineKey], model: Model, places: Mapping[int, int]
) -> tuple[tuple[LineKey, ...], list[Difference]]:
    kept, lost = [], []
    for key in keys:
        name = f"key {key.position}{f', {key.label or key.value}' if key.label or key.value else ''}"
        to = places.get(key.line, key.line)
        if model.line_keys and key.position > model.line_keys:
            lost.append(Difference(What.KEY, name, f"{model.name} has {model.line_keys} keys"))
        elif to > model.lines:
            lost.append(Difference(What.KEY, name, f"it belongs to line {key.line}, and {_lines(model)}"))
        else:
            kept.append(replace(key, line=to))
    return tuple(kept), lost


def _raw(raw: Mapping[str, str], old: Side, new: Side) -> tuple[Mapping[str, str], list[Difference]]:
    if old.model.vendor == new.model.vendor and (old.model.dialect == "obi") == (new.model.dialect == "obi"):
        return raw, []
    why = f"it is a parameter of {old.model.name}, and {new.model.name} does not know it"
    return {}, [Difference(What.PARAMETER, name, why) for name in raw]


def _replaced(others: ConfigLayer, layer: ConfigLayer) -> Iterator[Difference]:
    """What the new phone has of its own goes where the old one's settings come."""
    for name in (*others.values, *others.raw):
        what = What.SETTING if name in others.values else What.PARAMETER
        said = "the old phone's comes in its place" if name in {*layer.values, *layer.raw} else "the old phone has none"
        yield Difference(what, name, f"the new phone has it now; {said}")


# --- what the models can do -------------------------------------------------------------------------------


def _refused(shared: Iterable[ConfigLayer], old: Model, new: Model, own: set[str]) -> Iterator[Difference]:
    """Settings of the account, the site and all phones, which the old phone does and the new one does not."""
    values = {name: value for layer in shared for name, value in layer.values.items() if name not in own}
    for name, value in sorted(values.items()):
        found = _LINE.fullmatch(name)
        plain = found[2] if found else name
        reason = new.refuses.get(plain) or (new.refuses.get(f"line.{plain}") if found else None)
        if reason and plain not in old.refuses and f"line.{plain}" not in old.refuses:
            yield Difference(What.SETTING, name, f"{new.name} cannot do it: {reason}")
        elif name == KEYS.name:
            yield from _keys(KEYS.parse(value), new, {})[1]


def _abilities(old: Model, new: Model) -> Iterator[Difference]:
    if old.ivr_activation and not new.ivr_activation:
        yield Difference(What.ACTIVATION, "activation by a code", f"{new.name} is bound by its MAC only")
    if old.poe and not new.poe:
        yield Difference(What.POWER, "power from the network", f"{new.name} needs its power supply", lost=False)
    if bool(old.ports) != bool(new.ports):
        kind = "is an adapter for analogue phones" if new.ports else "is a phone, no adapter"
        yield Difference(What.DIALECT, new.name, kind, lost=False)
    if old.line_keys > new.line_keys:
        why = f"{new.name} has {new.line_keys} of them, {old.name} has {old.line_keys}"
        yield Difference(What.KEY, "programmable keys", why, lost=False)
    if (old.vendor, old.dialect) != (new.vendor, new.dialect):
        why = "its menus and its web page are others, and what its user set on the phone itself stays with the old one"
        yield Difference(What.DIALECT, f"{old.name} -> {new.name}", why, lost=False)
