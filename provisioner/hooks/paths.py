"""A small part of JSONPath, to find a value in somebody else's document. Pure.

``$.data.person.id``, ``$['odd name']``, ``$.phones[0]``, ``$.phones[-1]``, ``$.fields[?name='mac'].value`` (the first
element whose name is mac). Reading a path may raise PathError and nothing else; following one raises nothing: what is
not there is None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

Json = object
"""What json.loads returns."""
_LONGEST: Final = 500
_STEPS: Final = 32
_TOKEN: Final = re.compile(
    r"""\.(?P<name>[A-Za-z_][A-Za-z0-9_-]*)
      | \[\s*(?P<index>-?[0-9]{1,6})\s*\]
      | \[\s*(?P<quoted>'[^']*'|"[^"]*")\s*\]
      | \[\s*\?\s*(?P<key>[A-Za-z_][A-Za-z0-9_-]*)\s*={1,2}\s*(?P<value>'[^']*'|"[^"]*")\s*\]""",
    re.VERBOSE,
)


class PathError(ValueError):
    """It is no path of this language."""


Step = Callable[[Json], Json]


@dataclass(frozen=True, slots=True)
class Path:
    """A path that was read."""

    text: str
    steps: tuple[Step, ...]

    def find(self, document: Json) -> Json:
        """What it leads to; None where it leads nowhere."""
        for step in self.steps:
            document = step(document)
        return document


def parse_path(text: str) -> Path:
    """PathError says where it stops being a path."""
    if not text.startswith("$"):
        raise PathError("a path begins with $")
    if len(text) > _LONGEST:
        raise PathError(f"a path has at most {_LONGEST} characters")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise PathError(f"cannot be read from character {at + 1} on: .name, ['name'], [0] or [?name='value']")
        if len(steps) == _STEPS:
            raise PathError(f"a path has at most {_STEPS} steps")
        steps.append(_step(found))
        at = found.end()
    return Path(text, tuple(steps))


def _step(found: re.Match[str]) -> Step:
    if found["index"]:
        return _at(int(found["index"]))
    if found["key"]:
        return _where(found["key"], found["value"][1:-1])
    return _named(found["name"] or found["quoted"][1:-1])


def _named(name: str) -> Step:
    def step(document: Json) -> Json:
        return document.get(name) if isinstance(document, Mapping) else None

    return step


def _at(index: int) -> Step:
    def step(document: Json) -> Json:
        if not isinstance(document, list):
            return None
        return document[index] if -len(document) <= index < len(document) else None

    return step


def _where(key: str, value: str) -> Step:
    def step(document: Json) -> Json:
        if not isinstance(document, list):
            return None
        matching = (one for one in document if isinstance(one, Mapping) and text_of(one.get(key)) == value)
        return next(matching, None)

    return step


def text_of(value: Json) -> str | None:
    """A scalar as text, as people would write it; None for null, lists and objects."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    if isinstance(value, float):
        return f"{value:.15g}"
    return None
