"""A diagnosis in plain words: one screen for people, and the same for scripts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from provisioner.diagnosis.facts import Witness
from provisioner.diagnosis.ladder import Cure, Diagnosis, Outcome, State, Step, Told

_SIGNS: Final = {State.GOOD: "ok", State.BROKEN: "BROKEN", State.UNKNOWN: "?"}
_DAY: Final = 86_400.0


def screen(found: Diagnosis, now: float) -> str:
    """What `provisioner why` prints."""
    return "\n".join(_lines(found, now))


def headline(found: Diagnosis) -> str:
    """The first line: the cause, and who has refused whom."""
    row = f" [{found.cause.row.id}]" if found.cause else ""
    who = f": {found.who}" if found.who else ""
    return f"{found.title}{row}{who}"


def _lines(found: Diagnosis, now: float) -> Iterator[str]:
    device = " ".join(text for text in (found.subject.vendor, found.subject.model) if text)
    yield f"{found.subject.called}{f' ({device})' if device else ''}"
    yield headline(found)
    if found.cause is not None:
        yield from _cause(found.cause, now)
        yield f"  rung: {_title(found)}; the last good one: {_last(found)}"
    yield ""
    yield from _ladder(found, now)
    if found.cures:
        yield ""
        yield "What helps"
        yield from (f"  {cure_words(one)}" for one in found.cures)
    yield from _rest(found, now)


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
    """Rungs of which the same is known stand in one line."""
    runs: list[list[Step]] = []
    for one in found.steps:
        if runs and (runs[-1][0].state, _said(runs[-1][0], now)) == (one.state, _said(one, now)):
            runs[-1].append(one)
        else:
            runs.append([one])
    titles = [_span(run) for run in runs]
    width = max(map(len, titles))
    for run, title in zip(runs, titles, strict=True):
        yield f"  {_SIGNS[run[0].state]:<6}  {title:<{width}}  {_said(run[0], now)}".rstrip()


def _span(run: Sequence[Step]) -> str:
    if len(run) < 3:
        return ", ".join(one.title for one in run)
    return f"{run[0].title} ... {run[-1].title}"


def _said(one: Step, now: float) -> str:
    if not one.says:
        return ""
    at = f", {when(one.at, now)}" if one.at is not None else ""
    return f"{one.says}{at} ({_cited(one.witnesses)})"


def _rest(found: Diagnosis, now: float) -> Iterator[str]:
    if found.missing:
        yield ""
        yield "Who could tell more"
        for one in found.missing:
            yield f"  {one.witness} ({one.why})"
            yield f"    {one.command}"
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
    """The time of the day, with the date where it is another one; UTC."""
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (OverflowError, OSError, ValueError):
        return f"at {at:g}"
    return moment.strftime("%H:%M:%SZ" if abs(now - at) < _DAY else "%Y-%m-%d %H:%M:%SZ")


def as_document(found: Diagnosis) -> dict[str, object]:
    """Plain values for JSON."""
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
        "cures": [{"text": one.text, "vendor": one.vendor, "inferred": one.inferred} for one in found.cures],
        "ladder": [
            {
                "rung": one.rung.value, "title": one.title, "state": one.state.value, "says": one.says, "at": one.at,
                "witnesses": [str(each) for each in one.witnesses],
            }
            for one in found.steps
        ],
        "also": [_told(one) for one in found.also],
        "missing": [{"witness": one.witness, "why": one.why, "command": one.command} for one in found.missing],
        "notes": list(found.notes),
    }  # fmt: skip


def _told(one: Told) -> dict[str, object]:
    return {
        "row": one.row.id, "rung": one.row.rung.value, "title": one.row.title, "cause": one.row.cause,
        "seen": one.says, "first": one.first, "last": one.last, "times": one.times, "sure": one.sure,
        "witnesses": [str(each) for each in one.witnesses],
    }  # fmt: skip
