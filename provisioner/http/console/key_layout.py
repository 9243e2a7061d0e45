"""A model's keys as people see them: the first are the lines, one that an administrator has set is what they set. Pure.

What is known of a model is how many it has, not where they sit, so they are drawn in two columns in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from provisioner.model import Model
from provisioner.neutral import LineKey
from provisioner.store.rows import Binding

_FEW: Final = 12
"""Keys that are always drawn, where a model has so many; others when something is on them."""


class Drawn(NamedTuple):
    """One key."""

    position: int
    line: int
    """Whose key it is; 0 where it is no line's."""
    on: Binding | None
    """Who is on that line."""
    kind: str = ""
    """What else it does: blf, speed_dial, park."""
    value: str = ""
    label: str = ""

    @property
    def free(self) -> bool:
        """Nothing is on it."""
        return self.on is None and not self.kind


class Layout(NamedTuple):
    """All that is drawn."""

    what: str
    """Keys, ports or lines."""
    keys: Sequence[Drawn]
    more: int
    """Keys that are not drawn, all of them free."""
    beyond: Sequence[Binding]
    """Who is on lines that have no key."""

    def first(self, line: int) -> int:
        """The first key of a line, which several may be."""
        return next((one.position for one in self.keys if one.line == line), 0)

    @property
    def next_free(self) -> int:
        """The first line that nobody is on."""
        taken = {one.line for one in self.keys if one.on} | {one.line for one in self.beyond}
        return next(number for number in range(1, len(taken) + 2) if number not in taken)


def layout(model: Model | None, bound: Iterable[Binding], keys: Iterable[LineKey]) -> Layout:
    """``keys``: as they are set for the device, by position."""
    on = {one.line: one for one in bound}
    set_to = {one.position: one for one in keys} if model is not None and not model.ports else {}
    most = _most(model, on, set_to)
    lines = model.lines if model is not None else most
    drawn = [_drawn(position, on, set_to.get(position), lines) for position in range(1, most + 1)]
    used = [one.position for one in drawn if not one.free]
    shown = min(most, max([_FEW, *used]))
    seen = {one.line for one in drawn if one.on is not None}
    beyond = [one for line, one in sorted(on.items()) if line not in seen]
    return Layout(_what(model), drawn[:shown], most - shown, beyond)


def _what(model: Model | None) -> str:
    if model is None:
        return "Lines"
    return "Ports" if model.ports else "Keys" if model.line_keys else "Lines"


def _most(model: Model | None, on: Mapping[int, Binding], set_to: Mapping[int, LineKey]) -> int:
    if model is None:
        return max([1, *on])
    return model.ports or model.line_keys or max([model.lines, *set_to])


def _drawn(position: int, on: Mapping[int, Binding], wanted: LineKey | None, lines: int) -> Drawn:
    if wanted is None or wanted.kind == "line":
        line = position if wanted is None else wanted.line
        if line > lines:
            return Drawn(position, 0, None)
        return Drawn(position, line, on.get(line), label=wanted.label if wanted else "")
    if wanted.kind == "none":
        return Drawn(position, 0, None)
    return Drawn(position, 0, None, wanted.kind, wanted.value, wanted.label)
