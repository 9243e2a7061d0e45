"""A diagnosis in plain words: one screen for people, and the same for scripts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from provisioner import deeds
from provisioner.diagnosis.facts import Witness
from provisioner.diagnosis.ladder import Cure, Diagnosis, Outcome, State, Step, Told

_SIGNS: Final = {State.GOOD: "ok", State.BROKEN: "BROKEN", State.UNKNOWN: "?"}

Say = Callable[[deeds.Cure], str]
"""How a deed is done at one edge: each has words of its own."""


def screen(found: Diagnosis, now: float, say: Say) -> str:
    """What `provisioner why` prints."""
    return "\n".join(_lines(found, now, say))


def headline(found: Diagnosis) -> str:
    """The first line: the cause, and who has refused whom."""
    told = found.cause or (found.pretended if found.outcome is Outcome.UP else None)
    row = f" [{told.row.id}]" if told else ""
    who = f": {found.who}" if found.who else ""
    return f"{found.title}{row}{who}"


def _lines(found: Diagnosis, now: float, say: Say) -> Iterator[str]:
    device = " ".join(text for text in (found.subject.vendor, found.subject.model) if text)
    yield f"{found.subject.called}{f' ({device})' if device else ''}{f', {day(now)} UTC' if day(now) else ''}"
    yield headline(found)
    if found.cause is not None:
        yield from _cause(found.cause, now)
        yield f"  rung: {_title(found)}; the last good one: {_last(found)}"
    yield ""
    yield from _ladder(found, now)
    if found.cures:
        yield ""
        yield "What helps"
        for one in found.cures:
            yield f"  {cure_words(one)}"
            if one.by is not None:
                yield f"    {say(one.by)}"
    yield from _rest(found, now, say)


def _title(found: Diagnosis) -> str:
    return next(one.title for one in found.steps if one.rung is found.broken)


def _last(found: Diagnosis) -> str:
    return next((one.title for one in found.steps if one.rung is found.last_good), "none is known")


def _cause(cause: Told, now: float) -> Iterator[str]:
    if cause.says:
        yield f"  seen: {cause.says}"
    times = f", {cause.times} times since {when(cause.first, now)}" if cause.times > 1 else ""
    yield f"  last: {when(cause.last, now)}{times} ({_cited(cause.witnesses)})"
    yield f"  why:  {cause.row.cause}"


def _ladder(found: Diagnosis, now: float) -> Iterator[str]:
    told = runs(found)
    width = max(len(title) for title, _ in told)
    for title, one in told:
        yield f"  {_SIGNS[one.state]:<6}  {title:<{width}}  {_said(one, now)}".rstrip()


def runs(found: Diagnosis) -> list[tuple[str, Step]]:
    """Rungs of which the same is known stand in one line: what they are called, and one of them."""
    same: list[list[Step]] = []
    for one in found.steps:
        if same and (same[-1][0].state, _said(same[-1][0], 0.0)) == (one.state, _said(one, 0.0)):
            same[-1].append(one)
        else:
            same.append([one])
    return [(_span(run), run[0]) for run in same]


def _span(run: Sequence[Step]) -> str:
    if len(run) < 3:
        return ", ".join(one.title for one in run)
    return f"{run[0].title} ... {run[-1].title}"


def _said(one: Step, now: float) -> str:
    if not one.says:
        return ""
    at = f", {when(one.at, now)}" if one.at is not None else ""
    return f"{one.says}{at} ({_cited(one.witnesses)})"


def _rest(found: Diagnosis, now: float, say: Say) -> Iterator[str]:
    if found.missing:
        yield ""
        yield "Who could tell more"
        for one in found.missing:
            yield f"  {one.witness} ({one.why})"
            yield f"    {say(one.by)}"
    if found.also:
        yield ""
        yield "Also"
        for told in found.also:
            yield f"  {told.row.title} [{told.row.id}], {when(told.last, now)}{f': {told.says}' if told.says else ''}"
    if found.notes:
        yield ""
        yield from (f"Note: {text}" for text in found.notes)
    if found.outcome is Outcome.UP:
        yield ""
        yield "Nothing keeps it from coming up, as far as is known."


def cure_words(one: Cure) -> str:
    """With whose phones it is for, and how far it is known."""
    vendor = f"{one.vendor}{' (inferred)' if one.inferred else ''}: " if one.vendor else ""
    return f"{vendor}{one.text}"


def _cited(witnesses: Sequence[Witness]) -> str:
    return "; ".join(map(str, witnesses)) or "nobody"


def when(at: float, now: float) -> str:
    """In UTC, with the date where that is not the one of the first line."""
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (OverflowError, OSError, ValueError):
        return f"at {at:g}"
    return moment.strftime("%H:%M:%SZ" if f"{moment:%Y-%m-%d}" == day(now) else "%Y-%m-%d %H:%M:%SZ")


def day(now: float) -> str:
    """The date of what is told without one: a ticket is read later; empty where nothing says when that is."""
    try:
        return f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}" if now else ""
    except (OverflowError, OSError, ValueError):
        return ""


def as_document(found: Diagnosis, say: Say) -> dict[str, object]:
    """Plain values for JSON; ``how`` is in the words of the edge that tells it."""
    return {
        "mac": found.subject.mac or "",
        "address": found.subject.where,
        "vendor": found.subject.vendor,
        "model": found.subject.model,
        "outcome": found.outcome.value,
        "exit_class": found.exit_class,
        "exit": found.exit,
        "title": found.title,
        "who": found.who,
        "refused_by": found.refused.value,
        "last_good": found.last_good.value if found.last_good else None,
        "broken": found.broken.value if found.broken else None,
        "cause": None if found.cause is None else _told(found.cause),
        "cures": [
            {
                "text": one.text, "vendor": one.vendor, "inferred": one.inferred,
                "how": "" if one.by is None else say(one.by),
            }
            for one in found.cures
        ],
        "ladder": [
            {
                "rung": one.rung.value, "title": one.title, "state": one.state.value, "says": one.says, "at": one.at,
                "witnesses": [str(each) for each in one.witnesses],
            }
            for one in found.steps
        ],
        "also": [_told(one) for one in found.also],
        "missing": [{"witness": one.witness, "why": one.why, "how": say(one.by)} for one in found.missing],
        "notes": list(found.notes),
    }  # fmt: skip


def _told(one: Told) -> dict[str, object]:
    return {
        "row": one.row.id, "rung": one.row.rung.value, "title": one.row.title, "cause": one.row.cause,
        "seen": one.says, "first": one.first, "last": one.last, "times": one.times, "sure": one.sure,
        "witnesses": [str(each) for each in one.witnesses],
    }  # fmt: skip
