"""Rule: the lines of AGI both ways, pure: every argument quoted, every line that comes bounded and accounted for.

What comes is the environment, ended by an empty line, then one answer a command; ``HANGUP`` may stand between any two.
Syntax as Asterisk's ``agi`` documentation and res_agi.c have it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

LONGEST: Final = 4096
"""Bytes of a line; Asterisk itself writes values of 1 KiB at most."""
MOST_LINES: Final = 128
"""Of an environment, or of an answer with the explanation that comes with 520."""
GONE: Final = 511
"""The channel is dead: the caller has hung up."""

_REPLY: Final = re.compile(r"([0-9]{3})([ -])(.*)")
_RESULT: Final = re.compile(r"result=(?P<result>\S*)(?: \((?P<value>.*)\))?(?: endpos=(?P<endpos>[0-9]{1,12}))?\s*")


class AgiError(Exception):
    """The peer does not speak AGI, or says too much; never has what it said."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What Asterisk tells of the call before anything is asked, names without ``agi_``."""

    values: Mapping[str, str]

    def get(self, name: str) -> str:
        """Empty when it was not told; ``unknown`` is Asterisk's word for that."""
        value = self.values.get(name, "")
        return "" if value == "unknown" else value

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the dialplan gave behind the URL."""
        return tuple(value for name, value in self.values.items() if name.startswith("arg_"))


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one command; what is keyed never prints."""

    code: int
    result: str = field(default="", repr=False)
    value: str = field(default="", repr=False)
    """What stood in parentheses: a variable's value, or ``timeout``."""
    endpos: int = 0


@dataclass(frozen=True, slots=True)
class HungUp:
    """The caller is gone; not an answer to anything."""


Told = Environment | Reply | HungUp


def quote(text: str) -> str:
    """One argument, whatever is in it; a control character would end the command and is refused."""
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
        raise AgiError("a control character in an argument")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def command(name: str, *arguments: str) -> bytes:
    """A line to send; ``name`` is ours and may be of two words."""
    return " ".join([name, *map(quote, arguments)]).encode() + b"\n"


def key(result: str) -> str:
    """The key whose ASCII code ``STREAM FILE`` answers; empty when none was pressed."""
    code = int(result) if result.isascii() and result.isdigit() and len(result) <= 3 else 0
    return chr(code) if chr(code) in "0123456789*#" else ""


class Inbox:
    """Reads line by line; ``told`` is None where a line says nothing by itself."""

    def __init__(self) -> None:
        """At first the environment is expected."""
        self._environment: dict[str, str] | None = {}
        self._explained = False
        self._lines = 0

    def told(self, line: bytes) -> Told | None:
        """What this line completes."""
        if len(line) > LONGEST:
            raise AgiError(f"a line of over {LONGEST} bytes")
        self._lines += 1
        if self._lines > MOST_LINES:
            raise AgiError(f"over {MOST_LINES} lines without an answer")
        told = self._read(line)
        if isinstance(told, Environment | Reply):
            self._lines = 0
        return told

    def _read(self, line: bytes) -> Told | None:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if self._environment is not None:
            return self._variable(self._environment, text)
        if text == "HANGUP":
            return HungUp()
        return self._reply(text)

    def _variable(self, known: dict[str, str], text: str) -> Environment | None:
        if not text:
            self._environment = None
            return Environment(MappingProxyType(known))
        name, colon, value = text.partition(":")
        if not colon or not name.startswith("agi_"):
            raise AgiError("that is no AGI environment")
        known[name.removeprefix("agi_")] = value.strip()
        return None

    def _reply(self, text: str) -> Reply | None:
        found = _REPLY.fullmatch(text)
        if self._explained:
            return self._last_of_explanation(found)
        if found is None:
            raise AgiError("that is no answer")
        code, separator, rest = int(found[1]), found[2], found[3]
        if code < 200:
            return None  # 100 Trying: the answer follows
        if separator == "-":
            self._explained = True
            return None
        if code != 200:
            return Reply(code)
        return _result(rest)

    def _last_of_explanation(self, found: re.Match[str] | None) -> Reply | None:
        """The lines of 520 are free text up to the one that has its number and a blank."""
        if found is None or found[2] == "-":
            return None
        self._explained = False
        return Reply(int(found[1]))


def _result(rest: str) -> Reply:
    found = _RESULT.fullmatch(rest)
    if found is None:
        raise AgiError("an answer without a result")
    return Reply(200, found["result"], found["value"] or "", int(found["endpos"] or 0))
