"""Yealink's line grammar, written and read back: ``name = value``, the last one wins, ``%NULL%`` empties.

No public source says what a phone makes of a blank at either end of a value or of a value in quotes. So a text that
would need either is refused instead of guessed; whatever is written reads the same under every reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from provisioner.errors import Invalid, RenderFailed
from provisioner.rendering import Block, Templates, block

HEADER: Final = "#!version:1.0.0.1"
NULL: Final = "%NULL%"

_BLANKS: Final = " \t\r"

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}(?:\.[A-Za-z0-9_-]{1,64}){1,9}")
_ACCOUNT_KEYED: Final = "security.user_password"
"""The one parameter that stands once per user; its value begins with that user's name and a colon."""
_LONGEST: Final = 2048
"""Characters; the digit map is the longest value the guides allow."""


def identity(name: str, value: str) -> str:
    """What a later line must share to override: the name, and for passwords the user before the colon."""
    return f"{name} {value.partition(':')[0]}" if name.endswith(_ACCOUNT_KEYED) else name


def lay_out(meant: Mapping[str, str]) -> Block:
    """The parameters as lines, read back: RenderFailed unless a phone would take exactly what was meant.

    Keys are identities, so that a password's user stands behind a blank.
    """
    if not meant:
        return Block()
    names, values = [*meant], [value or NULL for value in meant.values()]
    if keyed := " " in "".join(names):
        names = [name.partition(" ")[0] for name in names]
    text = block([*map(" = ".join, zip(names, values, strict=True))])
    if keyed or _words(text) != (names, values) or NULL in meant.values():
        _compare(read(text), meant)
    if '= "' in text or "= '" in text or not text.isascii():
        for name, value in meant.items():
            _certain(name, value)
    return text


@lru_cache(maxsize=256)
def lay_out_shared(meant: tuple[tuple[str, str], ...]) -> Block:
    """``lay_out`` for what many devices have alike: laid out and read back once, the same bytes every time."""
    return lay_out(dict(meant))


class Frame(NamedTuple):
    """What a template wrote around the sections, without anything of a device: rendered and read once."""

    pieces: tuple[str, ...]
    """Before the first section, between each two, after the last."""
    extras: Mapping[str, str]
    """Parameters that an operator's template adds."""


def frame(templates: Templates, template: str, present: tuple[str, ...], empty: tuple[str, ...]) -> Frame:
    """Render the template with a mark for each section; RenderFailed unless each stands once, as a line, in order."""
    marks = {name: block([f"[the section {name}]"]) for name in present}
    text = templates.lines(template, **marks, **dict.fromkeys(empty, "")).decode("utf-8")
    if not text.startswith(HEADER):
        raise RenderFailed(f"a Yealink file must begin with {HEADER}")
    pieces, rest = [], f"{text}\n"
    for name, mark in marks.items():
        before, found, rest = rest.partition(f"\n{mark}\n")
        if not found or text.count(mark) != 1:
            raise RenderFailed(f"the template leaves out the section {name!r}, moves it or puts something beside it")
        pieces.append(f"{before}\n")
        rest = f"\n{rest}"
    pieces.append(rest[:-1])
    return Frame(tuple(pieces), MappingProxyType(read("".join(pieces))))


def assemble(laid: Frame, sections: Iterable[Block]) -> str:
    """The file: sections are whole lines that read as they are meant, and what the frame adds contradicts none."""
    first, *others = laid.pieces
    if laid.extras:
        meant = read("\n".join(sections))
        for name, value in laid.extras.items():
            if meant.get(name, value) != value:
                raise RenderFailed(f"{name}: the template gives another value than is meant")
    return first + "".join([text for both in zip(sections, others, strict=True) for text in both])


def read(text: str) -> dict[str, str]:
    """The parameters as a phone takes them: line by line, the last one wins."""
    found = _read_plain(text)
    if found is None:
        found = _read_lines(text)
    if NULL in text:
        return {name: "" if value == NULL else value for name, value in found.items()}
    return found


def _read_lines(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.split("\n"):
        name, equals, value = line.partition("=")
        name, value = name.strip(_BLANKS), value.strip(_BLANKS)
        if equals and not name.startswith("#"):
            found[identity(name, value)] = value
    return found


def _read_plain(text: str) -> dict[str, str] | None:
    words = None if _ACCOUNT_KEYED in text else _words(text)
    return None if words is None else dict(zip(*words, strict=True))


def _words(text: str) -> tuple[list[str], list[str]] | None:
    """Names and values of a text in which every line is ``name = value`` and nothing else, else None.

    What ``_read_lines`` reads too, but several times faster: splitting is done in one go for all lines.
    """
    if "\t" in text or "\r" in text or "=  " in text or " \n" in text or text[-1:] == " ":
        return None
    words = text.replace("\n", " = \n = ").split(" = ")
    names, ends = words[::3], words[2::3]
    if len(words) % 3 != 2 or ends.count("\n") != len(ends):
        return None
    joined = "".join(names)
    if "=" in joined or "#" in joined or " " in joined:
        return None
    return names, words[1::3]


def _compare(found: Mapping[str, str], meant: Mapping[str, str]) -> None:
    if found != meant:
        name = next((name for name, value in meant.items() if found.get(name) != value), "a parameter")
        raise RenderFailed(f"{name}: the phone would not read this value as it is meant{_why(meant.get(name, ''))}")


def _why(value: str) -> str:
    if value != value.strip(_BLANKS):
        return ": it begins or ends with a blank"
    return f": {NULL} is the word that empties a parameter" if value == NULL else ""


def _certain(name: str, value: str) -> None:
    """RenderFailed where phones may differ: a blank of Unicode at an end, quotes round the whole."""
    if value != value.strip():
        raise RenderFailed(f"{name}: a phone may take off the blank with which the value begins or ends")
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        raise RenderFailed(f"{name}: a phone may take the quotes round the whole value for its own")


def check_raw(name: str, value: str) -> None:
    """Invalid unless an administrator's raw parameter is one line that reads the same everywhere."""
    if not _NAME.fullmatch(name):
        raise Invalid(name[:80] or "raw", "is no name of a Yealink parameter, such as account.1.dtmf.type")
    if len(value) > _LONGEST:
        raise Invalid(name, f"has {len(value)} characters, at most {_LONGEST} are allowed")
    if any(ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u2028\u2029\ufffe\uffff" for char in value):
        raise Invalid(name, "holds a control character")
    try:
        _certain(name, value)
    except RenderFailed as error:
        raise Invalid(name, "begins or ends with a blank, or stands in quotes as a whole") from error
    if name.endswith(_ACCOUNT_KEYED) and ":" not in value:
        raise Invalid(name, "must be user:password")
