# SPDX-License-Identifier: GPL-2.0-only
"""What this program says: facts, phones, frames and progress, each one JSON object a line on stdout."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from provisioner.capture.looks import RANDOM, hidden

LONGEST: Final = 400
"""Characters of one value. A User-Agent or a DHCP option is shorter; a hostile one is cut."""
_CUT: Final = "\N{HORIZONTAL ELLIPSIS}"
_UNPRINTED: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters and the marks that turn the direction of writing: a terminal would obey them."""
_RANDOM: Final = re.compile(RANDOM)
SCHEMES: Final = {one.lower(): one for one in ("Basic", "Digest", "Bearer", "NTLM", "Negotiate")}


class Fact(NamedTuple):
    """One thing seen. Values are text; kinds and names are those that the diagnosis knows."""

    kind: str
    at: float
    ref: str
    values: Mapping[str, str]


class Absent:
    """A value that the frame could have and has not: said as an empty text, where silence would mean "not known"."""

    def __str__(self) -> str:
        return ""


ABSENT: Final = Absent()


def fact(kind: str, at: float, ref: str, **values: object) -> Fact:
    """A fact of what is known: None and empty values are left out, a trailing _ of a name is Python's."""
    told = {name.rstrip("_"): text(value) for name, value in values.items() if value not in (None, "", b"")}
    return Fact(kind, at, ref, told)


def text(value: object) -> str:
    """One value as it may be shown: bytes as text, nothing unprintable, not too long."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value).rstrip(b"\x00").decode("utf-8", "replace")
    if isinstance(value, float):
        value = f"{value:.3f}".rstrip("0").rstrip(".")
    shown = _UNPRINTED.sub("\N{REPLACEMENT CHARACTER}", str(value))
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}{_CUT}"


def url_without_secrets(url: str) -> str:
    """A URL or a path as a phone was given it or asks for it: no user and password in it, no token, no query."""
    shown, question, _ = words_without_secrets(url).partition("?")
    return shown + ("?..." if question else "")


def words_without_secrets(words: str, *, whole: bool = True) -> str:
    """Free text of a phone, a syslog line: whatever looks like a secret is left out."""
    return hidden(words, lambda _: "...", whole=whole and not words.endswith(_CUT))


def scheme_of(value: str) -> str:
    """How somebody proves who he is, by its name if that is one of five: a bare secret would stand where it does."""
    word = value.split(maxsplit=1)[0] if value.strip() else ""
    return SCHEMES.get(word.lower(), "other") if word else ""


def told_apart(value: str) -> str:
    """An ETag: what may be a token in it as a digest, for two that are alike must stay so, and two that are not."""
    return _RANDOM.sub(lambda found: hashlib.sha256(found[0].encode()).hexdigest()[:12], value)


def as_line(one: Fact) -> dict[str, object]:
    """The shape in which provisioner reads a fact."""
    return {"kind": one.kind, "at": one.at, "source": "capture", "ref": one.ref, "values": dict(one.values)}


Say = Callable[[Mapping[str, object]], None]
"""Takes one line."""


def say(line: Mapping[str, object]) -> None:
    """One JSON object on stdout, at once: somebody waits at the other end of the pipe."""
    sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
    sys.stdout.flush()


_ANSWER: Final = 64 << 20
"""Characters of one answer: two directions of 8 MiB, as text."""


def ask(line: Mapping[str, object]) -> Mapping[str, object]:
    """Say it, and take one JSON object from stdin; empty where nobody answers any more."""
    say(line)
    said = sys.stdin.readline(_ANSWER)
    try:
        answer = json.loads(said) if said.endswith("\n") else {}
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
