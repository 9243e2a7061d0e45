"""What callers do and what they hear: one table that every way into the Flow has to act out.

A scenario is a dialogue. In each turn the caller hears prompts, presses keys, and then waits, falls silent or hangs up.
The use-case gives its ``answers`` one by one; ``asked`` is what it was asked. ``causes`` go into the event log, one for
each turn, and ``ends`` is why the Flow hung up, None when the caller did. Keys may come one by one or all at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ivr.flow import Attempt, Cause, Confirm, FlowSettings, Result, ResultKind

GOOD = "314159265356"
OTHER = "271828182849"
MISTYPED = "314159265351"
SHORT = "2718282"
"""Its check digit is right."""
OLD = "27182820"
EXTENSION = "204"
SECONDS = FlowSettings()
CONFIRMING = FlowSettings(confirm_extension=True)


def checks(code: str) -> bool:
    """The check digit of the codes above makes their sum end in 0."""
    return sum(map(int, code)) % 10 == 0


class Then(StrEnum):
    """What the caller does when the keys are pressed."""

    WAITS = "waits for the answer"
    LISTENS = "listens to the end"
    SILENT = "presses nothing more"
    HANGS_UP = "hangs up"


@dataclass(frozen=True)
class Turn:
    """``hears`` are the prompts of one Play."""

    hears: tuple[str, ...]
    keys: str = ""
    then: Then = Then.WAITS


@dataclass(frozen=True)
class Scenario:
    """A call from its first prompt to its end."""

    name: str
    turns: tuple[Turn, ...]
    causes: tuple[str, ...]
    ends: Cause | None
    answers: tuple[Result, ...] = ()
    asked: tuple[Attempt | Confirm, ...] = ()
    settings: FlowSettings = SECONDS
    refusal: Result | None = None
    authenticated: bool = True


ACCEPTED = Result(ResultKind.ACCEPTED, EXTENSION)
WRONG = Result(ResultKind.WRONG)
_DIGITS = ("digit_2", "digit_0", "digit_4")
_WELCOME = ("welcome", "enter")
_SUCCESS = Turn(("success", "your_extension", *_DIGITS), then=Then.LISTENS)
_READ_BACK = ("confirm_extension", *_DIGITS, "confirm_keys")


def _again(prompt: str) -> tuple[str, ...]:
    return (prompt, "enter")


def _end(*prompts: str) -> Turn:
    return Turn(prompts, then=Then.LISTENS)


def _good(attempt: int = 1) -> tuple[Attempt, ...]:
    return (Attempt(GOOD, attempt),)


def _turned_away(kind: ResultKind, prompt: str, cause: str, ends: Cause) -> tuple[Scenario, Scenario]:
    """The same refusal before the first prompt, and as the answer to a code."""
    early = Scenario(f"{kind} before any prompt", (_end(prompt),), (cause,), ends, refusal=Result(kind))
    turns = (Turn(_WELCOME, GOOD), _end(prompt))
    return early, Scenario(f"{kind} for a code", turns, ("started", cause), ends, (Result(kind),), _good())


def _named(kind: ResultKind) -> tuple[Scenario, ...]:
    """A refusal that only an authenticated device may hear; the log tells both callers' cause."""
    return tuple(
        Scenario(
            f"{kind}, {'an authenticated' if known else 'an unknown'} device",
            (Turn(_WELCOME, GOOD), Turn(_again(kind if known else "wrong"), OTHER), _SUCCESS),
            ("started", kind, "accepted"),
            Cause.ACTIVATED,
            (Result(kind), ACCEPTED),
            (Attempt(GOOD, 1), Attempt(OTHER, 2)),
            authenticated=known,
        )
        for known in (True, False)
    )


def _mended(name: str, first: Turn, cause: str, prompt: str) -> Scenario:
    """Something goes wrong that is no guess, then the right code."""
    turns = (first, Turn(_again(prompt), GOOD), _SUCCESS)
    attempt = 1 if cause == "silent" else 2
    return Scenario(name, turns, ("started", cause, "accepted"), Cause.ACTIVATED, (ACCEPTED,), _good(attempt))


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "complete without pound",
        (Turn(_WELCOME, GOOD), _SUCCESS),
        ("started", "accepted"),
        Cause.ACTIVATED,
        (ACCEPTED,),
        _good(),
    ),
    Scenario(
        "complete, and pound as the prompt asks",
        (Turn(_WELCOME, GOOD + "#"), _SUCCESS),
        ("started", "accepted"),
        Cause.ACTIVATED,
        (ACCEPTED,),
        _good(),
    ),
    Scenario(
        "an extension that is no number is not read",
        (Turn(_WELCOME, GOOD), _end("success")),
        ("started", "accepted"),
        Cause.ACTIVATED,
        (Result(ResultKind.ACCEPTED, "lobby"),),
        _good(),
    ),
    Scenario(
        "a code of the length before",
        (Turn(_WELCOME, OLD + "#"), _SUCCESS),
        ("started", "accepted"),
        Cause.ACTIVATED,
        (ACCEPTED,),
        (Attempt(OLD, 1),),
        FlowSettings(other_lengths=(8,)),
    ),
    Scenario(
        "star begins anew",
        (Turn(_WELCOME, f"999*{GOOD}"), _SUCCESS),
        ("started", "accepted"),
        Cause.ACTIVATED,
        (ACCEPTED,),
        _good(),
    ),
    _mended("too short, with pound", Turn(_WELCOME, SHORT + "#"), "mistyped", "reenter_typo"),
    _mended("too short, then a pause", Turn(_WELCOME, SHORT, Then.SILENT), "mistyped", "reenter_typo"),
    _mended("a wrong check digit", Turn(_WELCOME, MISTYPED), "mistyped", "reenter_typo"),
    _mended("silence", Turn(_WELCOME, then=Then.SILENT), "silent", "no_input"),
    _mended("only a pound", Turn(_WELCOME, "#", Then.SILENT), "silent", "no_input"),
    _mended("cleared, then silence", Turn(_WELCOME, "12*", Then.SILENT), "silent", "no_input"),
    Scenario(
        "the use-case finds the typo",
        (Turn(_WELCOME, GOOD), Turn(_again("reenter_typo"), OTHER), _SUCCESS),
        ("started", "mistyped", "accepted"),
        Cause.ACTIVATED,
        (Result(ResultKind.TYPO), ACCEPTED),
        (Attempt(GOOD, 1), Attempt(OTHER, 2)),
    ),
    Scenario(
        "three silences",
        (
            Turn(_WELCOME, then=Then.SILENT),
            Turn(_again("no_input"), then=Then.SILENT),
            Turn(_again("no_input"), then=Then.SILENT),
            _end("no_input", "goodbye"),
        ),
        ("started", "silent", "silent", "silent"),
        Cause.NO_CODE,
    ),
    Scenario(
        "three wrong codes",
        (Turn(_WELCOME, GOOD), Turn(_again("wrong"), OTHER), Turn(_again("wrong"), GOOD), _end("wrong", "goodbye")),
        ("started", "wrong", "wrong", "wrong"),
        Cause.NO_CODE,
        (WRONG, WRONG, WRONG),
        (Attempt(GOOD, 1), Attempt(OTHER, 2), Attempt(GOOD, 3)),
    ),
    Scenario(
        "typos count as tries and are not guesses",
        (
            Turn(_WELCOME, MISTYPED),
            Turn(_again("reenter_typo"), GOOD),
            Turn(_again("wrong"), MISTYPED),
            _end("reenter_typo", "goodbye"),
        ),
        ("started", "mistyped", "wrong", "mistyped"),
        Cause.NO_CODE,
        (WRONG,),
        _good(2),
    ),
    *_named(ResultKind.EXPIRED),
    *_named(ResultKind.USED),
    *_named(ResultKind.WRONG_MODEL),
    Scenario(
        "not ready, an authenticated device",
        (Turn(_WELCOME, GOOD), _end("goodbye")),
        ("started", "not_ready"),
        Cause.NOT_READY,
        (Result(ResultKind.NOT_READY),),
        _good(),
    ),
    Scenario(
        "not ready, an unknown device",
        (Turn(_WELCOME, GOOD), Turn(_again("wrong"), OTHER), _SUCCESS),
        ("started", "not_ready", "accepted"),
        Cause.ACTIVATED,
        (Result(ResultKind.NOT_READY), ACCEPTED),
        (Attempt(GOOD, 1), Attempt(OTHER, 2)),
        authenticated=False,
    ),
    *_turned_away(ResultKind.LOCKED, "locked", "locked", Cause.LOCKED),
    *_turned_away(ResultKind.BUSY, "busy", "busy", Cause.BUSY),
    *_turned_away(ResultKind.UNSUPPORTED, "ask_administrator", "unsupported", Cause.UNSUPPORTED),
    *_turned_away(ResultKind.ERROR, "system_error", "failed", Cause.ERROR),
    Scenario(
        "confirmed",
        (Turn(_WELCOME, GOOD), Turn(_READ_BACK, "1"), _SUCCESS),
        ("started", "held", "accepted"),
        Cause.ACTIVATED,
        (ACCEPTED, ACCEPTED),
        (Attempt(GOOD, 1, hold=True), Confirm(GOOD, 1)),
        CONFIRMING,
    ),
    Scenario(
        "not the caller's extension, then another code",
        (Turn(_WELCOME, OTHER), Turn(_READ_BACK, "*"), Turn(("enter",), GOOD), Turn(_READ_BACK, "1"), _SUCCESS),
        ("started", "held", "declined", "held", "accepted"),
        Cause.ACTIVATED,
        (ACCEPTED, ACCEPTED, ACCEPTED),
        (Attempt(OTHER, 1, hold=True), Attempt(GOOD, 2, hold=True), Confirm(GOOD, 2)),
        CONFIRMING,
    ),
    Scenario(
        "asked again to confirm",
        (Turn(_WELCOME, GOOD), Turn(_READ_BACK, then=Then.SILENT), Turn(_READ_BACK, "1"), _SUCCESS),
        ("started", "held", "silent", "accepted"),
        Cause.ACTIVATED,
        (ACCEPTED, ACCEPTED),
        (Attempt(GOOD, 1, hold=True), Confirm(GOOD, 1)),
        CONFIRMING,
    ),
    Scenario(
        "another phone was quicker to confirm",
        (Turn(_WELCOME, GOOD), Turn(_READ_BACK, "1"), Turn(_again("used"), then=Then.HANGS_UP)),
        ("started", "held", "used"),
        None,
        (ACCEPTED, Result(ResultKind.USED)),
        (Attempt(GOOD, 1, hold=True), Confirm(GOOD, 1)),
        CONFIRMING,
    ),
    Scenario("hangs up at once", (Turn(_WELCOME, then=Then.HANGS_UP),), ("started",), None),
    Scenario("hangs up within the code", (Turn(_WELCOME, GOOD[:5], Then.HANGS_UP),), ("started",), None),
    Scenario(
        "hangs up right after success",
        (Turn(_WELCOME, GOOD), Turn(_SUCCESS.hears, then=Then.HANGS_UP)),
        ("started", "accepted"),
        None,
        (ACCEPTED,),
        _good(),
    ),
)
