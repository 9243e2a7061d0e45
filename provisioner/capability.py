"""What a phone can do, as one card: made of connections that add up, told in words. Pure, and without any secret.

A card says what was seen and nothing else. Its Mac is proven only where a certificate of a maker that is trusted here
proves it; otherwise it is what the caller says of himself, and a card of its own for each address.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from provisioner.tls_names import SIGNATURES, SUITES, VERSIONS, named

Told = Mapping[str, Any]
"""What of a card is kept: plain JSON."""

_READINGS: Final = 6
"""Clock readings kept of one phone."""
_FILES: Final = 40
"""Names kept that a phone asked for."""
_SLACK: Final = 3.0
"""s by which two readings of one clock may differ from ours."""
_NEAR: Final = 86_400.0
"""s: four bytes by chance are that close to now once in 25,000 times."""
_APART: Final = 1.0
"""s between two readings that can show that a clock runs."""
_SAID: Final = 0x0303
"""TLS 1.2: the first version whose hello says which signatures it takes."""
_LISTS: Final = ("versions", "suites", "signatures")


@dataclass(frozen=True, slots=True)
class Card:
    """What one phone has shown."""

    id: str
    mac: str
    """As proven, or as said; empty where it said nothing."""
    proven: bool
    vendor: str
    model: str
    address: str
    first: float
    last: float
    times: int
    """Connections."""
    told: Told = field(default_factory=dict)

    def lines(self) -> list[tuple[str, str]]:
        """What it can do, each with what it is called; without what is not known."""
        return [(name, text) for name, text in _lines(self.told) if text]


def merged(before: Told, newer: Told) -> Told:
    """Both together: what the newer connection says counts, what it does not say stays."""
    made = {**before, **{name: value for name, value in newer.items() if value}}
    files = [*before.get("files", ()), *newer.get("files", ())]
    made["files"] = list(dict.fromkeys(files))[:_FILES]
    made["clock"] = [*before.get("clock", ()), *newer.get("clock", ())][-_READINGS:]
    if newer.get("agreed"):
        made.pop("ended", None)  # what went wrong before does so no longer
        made.pop("refused", None)
    for name in _LISTS:  # a phone that falls back offers less, and can do both
        made[name] = list(dict.fromkeys([*newer.get(name, ()), *before.get(name, ())]))[:64]
    return {name: value for name, value in made.items() if value}


def clock_guess(readings: Sequence[Sequence[float]]) -> float | None:
    """By how many seconds a phone's clock is ahead of ours; None where its hellos hold no clock.

    TLS up to 1.2 begins its random bytes with the time (RFC 5246 section 7.4.1.2); newer stacks put chance there. One
    reading counts when it is about now, several when they go on as our clock does, whatever they say.
    """
    ahead = [said - at for at, said in readings]
    if len(ahead) > 1 and max(at for at, _ in readings) - min(at for at, _ in readings) >= _APART:
        return ahead[-1] if max(ahead) - min(ahead) <= _SLACK else None
    return ahead[-1] if ahead and abs(ahead[-1]) <= _NEAR else None


def written(told: Told) -> str:
    """As it is stored."""
    return json.dumps(told, separators=(",", ":"))


def read(text: str) -> Told:
    """As it was written; empty where that is not what it is."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# --- in words -----------------------------------------------------------------------------------------


def _lines(told: Told) -> Iterator[tuple[str, str]]:
    agreed = told.get("agreed") or ("", "")
    yield "TLS versions offered", named(told.get("versions", ()), VERSIONS).replace(",", ", ")
    yield "agreed", " ".join(filter(None, agreed))
    yield "suites offered", named(told.get("suites", ()), SUITES).replace(",", ", ")
    yield "signature algorithms", _signatures(told)
    yield "server name sent (SNI)", told.get("sni") or ("none" if told.get("versions") else "")
    yield "our certificate", _trust(told)
    yield "handshake", str(told.get("ended", ""))
    yield from _certificate(told)
    yield "User-Agent", str(told.get("agent", ""))
    yield "asked for", ", ".join(told.get("files", ()))
    yield "authentication", _authentication(told)
    yield "clock", _clock(told)
    yield "also came without TLS", "yes" if told.get("plain") else ""
    yield "also came with SSLv2", "yes" if told.get("sslv2") else ""


def _signatures(told: Told) -> str:
    if max(told.get("versions", ()), default=0) < _SAID:
        return ""
    return named(told.get("signatures", ()), SIGNATURES).replace(",", ", ") or "none sent: only SHA-1 is sure to do"


def _trust(told: Told) -> str:
    if told.get("refused"):
        return f"refused: alert {told['refused']}"
    return "accepted" if told.get("agreed") else ""


def _certificate(told: Told) -> Iterator[tuple[str, str]]:
    chain = told.get("chain", ())
    if not chain and told.get("agreed"):
        yield "certificate", "none presented"
    for place, (subject, issuer, first, last, key, bits, hashed) in enumerate(chain, 1):
        strength = f"{key} {bits}" + (f", {hashed}" if hashed else "")
        until = f"{_day(first)} to {_day(last)}"
        yield f"certificate {place}", f"{subject}, issued by {issuer}, {until}, {strength}"
    if told.get("verdict"):
        word, why = told["verdict"]
        yield "worth here", f"{word}: {why}" if why else word


def _authentication(told: Told) -> str:
    asked, used = told.get("asked", ""), told.get("scheme", "")
    if used:
        return f"{used}, {'after it was asked for' if asked else 'without being asked'}"
    return f"{asked} was asked for and not answered" if asked else ""


def _clock(told: Told) -> str:
    readings = [told["date"]] if told.get("date") else told.get("clock", ())
    ahead = readings[0][1] - readings[0][0] if told.get("date") else clock_guess(readings)
    if ahead is None:
        return ""
    if abs(ahead) < 60:
        return "right to the minute"
    at = readings[-1][1]
    return f"said {_minute(at)} UTC, {abs(ahead):,.0f} s {_side(ahead)}"


def _side(ahead: float) -> str:
    return "ahead" if ahead > 0 else "behind"


def _minute(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return "?"


def _day(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return "?"
