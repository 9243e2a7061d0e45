"""Rules by which somebody else's document becomes one of our actions: a table in TOML or JSON, no code. Pure.

The first rule whose conditions all hold decides. Everything is checked when the table is loaded, so that what comes
later can lack a value, and nothing else.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from provisioner.errors import Invalid
from provisioner.hooks.paths import Json, PathError, parse_path, text_of

_LONGEST: Final = 32_768
_RULES: Final = 50
_VALUE: Final = 254
_MILLI: Final = 1e11
"""Numbers from here on are milliseconds: as seconds they would be the year 5138."""


class Action(StrEnum):
    """What a source may ask for."""

    ASSIGN = "extension.assign"
    LEFT = "user.left"
    REGISTERED = "registration.seen"
    SHIPPED = "device.shipped"
    IGNORE = "ignore"
    """Known, and of no interest."""


FIELDS: Final[Mapping[Action, tuple[frozenset[str], frozenset[str]]]] = MappingProxyType(
    {
        Action.ASSIGN: (frozenset(), frozenset({"mac", "line", "extension", "user", "label", "replace"})),
        Action.LEFT: (frozenset({"user"}), frozenset()),
        Action.REGISTERED: (frozenset(), frozenset({"mac", "extension", "address", "user_agent"})),
        Action.SHIPPED: (frozenset({"mac", "model"}), frozenset({"vendor", "site"})),
        Action.IGNORE: (frozenset(), frozenset()),
    }
)
"""What an action needs, and what it takes beside that."""


class MappingError(ValueError):
    """The table cannot be used; says where and why."""


Read = Callable[[Json], str]
"""Finds a value in a document; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A document that was understood."""

    action: Action
    fields: Mapping[str, str]
    ident: str
    """The sender's id of it; empty where the table knows none."""
    at: float | None
    subject: str
    """Of whose messages only the newest counts; empty: whom the action is about."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to understand a document."""

    action: Action
    when: tuple[tuple[Read, frozenset[str]], ...]
    fields: Mapping[str, Read]

    def holds(self, document: Json) -> bool:
        """Whether all its conditions do."""
        return all(read(document) in wanted for read, wanted in self.when)


@dataclass(frozen=True, slots=True)
class Rules:
    """A whole table."""

    ident: Read
    at: Read
    subject: Read
    rules: tuple[Rule, ...]

    def understand(self, document: Json) -> Asked:
        """Invalid where no rule fits, or a value that is needed is not there."""
        rule = next((one for one in self.rules if one.holds(document)), None)
        if rule is None:
            raise Invalid("rules", "none of the source's rules fits this document")
        fields = {name: value for name, read in rule.fields.items() if (value := read(document))}
        if lacking := sorted(FIELDS[rule.action][0] - set(fields)):
            raise Invalid(lacking[0], f"is not in the document, and {rule.action} needs it")
        if long := [name for name, value in fields.items() if len(value) > _VALUE]:
            raise Invalid(long[0], f"is longer than {_VALUE} characters")
        return Asked(rule.action, fields, self.ident(document)[:_VALUE], moment_of(self.at(document)),
                     self.subject(document)[:_VALUE])  # fmt: skip


def moment_of(text: str) -> float | None:
    """RFC 3339, or Unix time in s or ms; None where there is none. Invalid when it is neither."""
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        return _from_iso(text)
    if not math.isfinite(number) or not 0 < number < 1e14:
        raise Invalid("occurred_at", "is no time that could be meant")
    return number / 1000 if number >= _MILLI else number


def _from_iso(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            raise ValueError
        return found.timestamp()
    except (ValueError, OverflowError):
        raise Invalid("occurred_at", "is neither RFC 3339 with a zone nor Unix time") from None


# --- loading ------------------------------------------------------------------------------------------


def load_rules(text: str) -> Rules:
    """A table in TOML or JSON; MappingError says what is wrong with it."""
    if len(text) > _LONGEST:
        raise MappingError(f"must be at most {_LONGEST} characters")
    table = _table(text)
    _known("the table", table, {"id", "occurred_at", "subject", "rules"})
    rules = table.get("rules")
    if not isinstance(rules, list) or not 1 <= len(rules) <= _RULES:
        raise MappingError(f"rules: must be a list of 1 to {_RULES}")
    made = tuple(_rule(f"rules[{number}]", one) for number, one in enumerate(rules))
    head = {name: _reader(name, table.get(name, "")) for name in ("id", "occurred_at", "subject")}
    return Rules(head["id"], head["occurred_at"], head["subject"], made)


def _table(text: str) -> Mapping[str, Json]:
    try:
        table: Json = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        said = "is nested too deeply" if isinstance(error, RecursionError) else str(error).partition("\n")[0]
        raise MappingError(f"is neither TOML nor JSON: {said}") from None
    if not isinstance(table, dict):
        raise MappingError("must be a table")
    return table


def _known(where: str, table: Mapping[str, Json], names: set[str] | frozenset[str]) -> None:
    if strange := sorted(set(table) - names):
        raise MappingError(f"{where}: {strange[0]!r} is none of {', '.join(sorted(names))}")


def _rule(where: str, given: Json) -> Rule:
    if not isinstance(given, dict):
        raise MappingError(f"{where}: must be a table with action, when and fields")
    _known(where, given, {"action", "when", "fields"})
    action = _action(where, given.get("action"))
    when, fields = given.get("when", {}), given.get("fields", {})
    if not isinstance(when, dict) or not isinstance(fields, dict):
        raise MappingError(f"{where}: when and fields must be tables")
    needs, takes = FIELDS[action]
    _known(f"{where}.fields", fields, needs | takes)
    if lacking := sorted(needs - set(fields)):
        raise MappingError(f"{where}.fields: {action} needs {lacking[0]}")
    conditions = tuple((_path(f"{where}.when", path), _wanted(f"{where}.when", one)) for path, one in when.items())
    readers = {name: _reader(f"{where}.fields.{name}", one) for name, one in fields.items()}
    return Rule(action, conditions, MappingProxyType(readers))


def _action(where: str, given: Json) -> Action:
    try:
        return Action(str(given))
    except ValueError:
        raise MappingError(f"{where}.action: must be one of {', '.join(Action)}") from None


def _wanted(where: str, given: Json) -> frozenset[str]:
    found = [text_of(one) for one in (given if isinstance(given, list) else [given])]
    if not found or None in found:
        raise MappingError(f"{where}: what a path is compared with is text, a number, or a list of them")
    return frozenset(one for one in found if one is not None)


def _path(where: str, text: str) -> Read:
    try:
        path = parse_path(text)
    except PathError as error:
        raise MappingError(f"{where}: {text[:60]!r}: {error}") from None
    return lambda document: _plain(text_of(path.find(document)) or "")


def _plain(text: str) -> str:
    """Without what no database and no terminal takes: control characters and halves of surrogate pairs."""
    return "".join(one if one.isprintable() else "?" for one in text).strip()


def _reader(where: str, given: Json) -> Read:
    """A path, a constant, or a table ``{path, map, default}``."""
    if isinstance(given, dict):
        return _mapped(where, given)
    constant = text_of(given)
    if constant is None:
        raise MappingError(f"{where}: must be a path, a constant, or a table with path, map and default")
    return _path(where, constant) if constant.startswith("$") else lambda _document: constant


def _mapped(where: str, given: Mapping[str, Json]) -> Read:
    _known(where, given, {"path", "map", "default"})
    path, table, default = given.get("path"), given.get("map", {}), text_of(given.get("default", ""))
    if not isinstance(path, str) or not isinstance(table, dict) or default is None:
        raise MappingError(f"{where}: path must be a path, map a table, default text")
    values = {str(key): text_of(one) for key, one in table.items()}
    if None in values.values():
        raise MappingError(f"{where}.map: values must be text or numbers")
    find = _path(where, path)

    def read(document: Json) -> str:
        found = find(document)
        if values:  # what the table does not name is not meant
            return values.get(found) or default
        return found or default

    return read
