"""The ladder: which rung was the last good one, which is the first broken one, who refused whom, and what helps. Pure.

Rule: failures are ranked by rung, never by how bad they look. A failure is over when something on its rung, or on one
that stands on it, was good at the same time or later, by the same clock. What silence seems to say counts only where no
frame was lost. What somebody else may have done decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from provisioner import deeds
from provisioner.deeds import Deed
from provisioner.diagnosis.case import Case, Finding, Gap, Mark, Subject
from provisioner.diagnosis.catalogue import Catalogue, Party, Row, Rung, catalogue
from provisioner.diagnosis.clocks import Clocks, compared
from provisioner.diagnosis.facts import Fact, Kind, Source, Witness
from provisioner.diagnosis.rungs import judged
from provisioner.diagnosis.rungs.exchanges import exchanges

_MINOR: Final = frozenset({38, 67, 76})
"""What a phone can have beside a failure of the same rung that keeps it from coming up."""
_OTHER_CERTIFICATE: Final = frozenset({49, 50, 53, 54})
"""Refusals of a certificate that is not the phone's own, where that was good before: it is burnt in."""
_SHOWN: Final = 3
"""Witnesses of one finding."""
UNDECIDED: Final = 20
"""Exit code where a witness is missing."""


class State(StrEnum):
    """What is known of a rung."""

    GOOD = "good"
    BROKEN = "broken"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """What the diagnosis comes to."""

    UP = "up"
    BROKEN = "broken"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Step:
    """One rung as it is for this phone."""

    rung: Rung
    title: str
    state: State
    says: str = ""
    at: float | None = None
    witnesses: tuple[Witness, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """A failure that was found, and how often and since when it was seen."""

    row: Row
    says: str
    first: float
    last: float
    times: int
    sure: bool
    witnesses: tuple[Witness, ...]
    refused: Party
    doubtful: bool = False
    """Another phone at the same address, or who takes this one's name, may have done it."""
    stranger: bool = False
    """Somebody else has done it in this phone's name: it has shown another certificate than the phone's own."""


@dataclass(frozen=True, slots=True)
class Cure:
    """What helps; ``vendor`` is empty where it is for everybody, ``inferred`` where nobody has confirmed it."""

    text: str
    vendor: str = ""
    inferred: bool = False
    by: deeds.Cure | None = None
    """The deed that does it, where it is one of ours."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Who could decide, and the deed that asks them."""

    witness: str
    why: str
    by: deeds.Cure


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One screen."""

    subject: Subject
    outcome: Outcome
    exit: int
    exit_class: str
    steps: tuple[Step, ...]
    last_good: Rung | None
    broken: Rung | None
    cause: Told | None
    refused: Party
    cures: tuple[Cure, ...]
    also: tuple[Told, ...]
    """Other failures that are not over."""
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]

    @property
    def who(self) -> str:
        """The sentence that nobody else prints; empty where nobody has refused anybody."""
        return _WHO[self.refused]

    @property
    def title(self) -> str:
        """In one line."""
        if self.cause is not None:
            return f"{self.cause.row.title}{'' if self.cause.sure else ' (very likely)'}"
        if self.outcome is Outcome.UP:
            other = self.pretended
            return "It comes up" + (f", and somebody else has come in its name: {other.row.title}" if other else "")
        perhaps = next((one.row.title for one in self.also if not one.stranger), "")
        return f"It cannot be decided; perhaps: {perhaps}" if perhaps else "It cannot be decided: a witness is missing"

    @property
    def pretended(self) -> Told | None:
        """What became of somebody else in this phone's name."""
        return next((one for one in self.also if one.stranger), None)


_WHO: Final = {
    Party.PHONE: "the PHONE refused the server",
    Party.SERVER: "the SERVER refused the phone",
    Party.NETWORK: "the NETWORK is in the way",
    Party.NONE: "",
}


def diagnose(facts: Iterable[Fact], subject: Subject, now: float) -> Diagnosis:
    """What keeps the phone from coming up, as far as these facts tell."""
    known = catalogue()
    clocks = compared(facts)
    case = Case.of(clocks.facts, subject, now)
    told = list(judged(case))
    marks = [one for one in told if isinstance(one, Mark) and one.witness not in case.doubtful]
    found = [_doubted(one, case) for one in told if isinstance(one, Finding)]
    open_ones = [one for one in found if not one.side and not _is_healed(one, known.rows[one.row].rung, marks, clocks)]
    failures = sorted(_merged(open_ones, known, case), key=_rank)
    surely = [one for one in failures if not one.doubtful]
    silent = not surely and _is_silent(case, marks)
    steps = tuple(_steps(marks, surely, known, silent=silent))
    gaps = [one for one in told if isinstance(one, Gap)]
    notes = _notes(case, found, open_ones, known, marks, silent) + ([clocks.note] if clocks.note else [])
    notes += [one.says for one in gaps if one.rung is Rung.LINK and not case.blind]
    return _diagnosis(case, surely[0] if surely else None, failures[1:] if surely else failures, steps, gaps, notes)


def _doubted(one: Finding, case: Case) -> Finding:
    return replace(one, sure=False) if case.doubtful.intersection(one.witnesses) else one


def _diagnosis(
    case: Case, cause: Told | None, also: Sequence[Told], steps: tuple[Step, ...], gaps: Sequence[Gap], notes: list[str]
) -> Diagnosis:
    known = catalogue()
    outcome = _outcome(cause, also, steps)
    place = known.places[cause.row.rung] if cause else None
    broken = cause.row.rung if cause else None
    return Diagnosis(
        subject=case.subject,
        outcome=outcome,
        exit=place.exit if place else UNDECIDED if outcome is Outcome.UNDECIDED else 0,
        exit_class=place.exit_class if place else outcome.value,
        steps=steps,
        last_good=_last_good(steps, broken),
        broken=broken,
        cause=cause,
        refused=cause.refused if cause else Party.NONE,
        cures=tuple(_cures(cause.row, case)) if cause else (),
        also=tuple(also),
        missing=tuple(dict.fromkeys(_missing(case, cause, steps, gaps, known))) if outcome is not Outcome.UP else (),
        notes=tuple(notes),
    )


def _outcome(cause: Told | None, also: Sequence[Told], steps: Sequence[Step]) -> Outcome:
    """What perhaps was its own is no failure, nor is it known to be well. What was a stranger's is neither."""
    if cause is not None:
        return Outcome.BROKEN
    if any(not one.stranger for one in also):
        return Outcome.UNDECIDED
    served = any(one.rung is Rung.FILE and one.state is State.GOOD for one in steps)
    return Outcome.UP if served else Outcome.UNDECIDED


# --- which failures are not over -----------------------------------------------------------------------


def _is_healed(one: Finding, rung: Rung, marks: Sequence[Mark], clocks: Clocks) -> bool:
    return any(
        mark.heals and rung in mark.rungs and mark.at >= one.at and clocks.comparable(one.witnesses, mark.witness)
        for mark in marks
    )


def _merged(found: Iterable[Finding], known: Catalogue, case: Case) -> Iterator[Told]:
    """Each row once, as it was seen last."""
    rows: dict[int, list[Finding]] = {}
    for one in found:
        rows.setdefault(one.row, []).append(one)
    for ident, same in rows.items():
        sure = [one for one in same if one.sure]
        last = max(sure or same, key=lambda one: (one.at, one.says, tuple(map(str, one.witnesses))))
        times = [one.at for one in same]
        doubtful = all(case.doubtful.intersection(one.witnesses) for one in same)
        stranger = doubtful and ident in _OTHER_CERTIFICATE and _has_its_own(case)
        yield Told(
            known.rows[ident], last.says, min(times), max(times), len(set(times)), bool(sure), last.witnesses[:_SHOWN],
            last.refused or known.rows[ident].refused, doubtful, stranger,
        )  # fmt: skip


def _has_its_own(case: Case) -> bool:
    """It has proven itself here with the certificate that its maker burnt in: that does not change."""
    told = case.of_kind(Kind.VERDICT, verdict="unique")
    return any(one.witness.source is Source.SERVER and one.witness not in case.doubtful for one in told)


def _rank(one: Told) -> tuple[bool, int, bool, bool, float, int]:
    """What perhaps was another phone's comes behind all that was its own."""
    return one.doubtful, one.row.rung.height, one.row.id in _MINOR, not one.sure, -one.last, one.row.id


def _is_silent(case: Case, marks: Sequence[Mark]) -> bool:
    """All that is known of it is old, and nobody was at its cable since."""
    own = [one for one in marks if one.witness.source in {Source.SERVER, Source.INVENTORY}]
    if len(own) < len(marks) or not own:
        return False
    return case.now - max(one.at for one in own) > case.subject.rules.silent_after


# --- the rungs -----------------------------------------------------------------------------------------


def _steps(marks: Sequence[Mark], failures: Sequence[Told], known: Catalogue, *, silent: bool) -> Iterator[Step]:
    """Below the first broken rung the newest mark counts; above it only what was seen since."""
    cause = failures[0] if failures else None
    for rung in Rung:
        title = known.places[rung].title
        broken = next((one for one in failures if one.row.rung is rung), None)
        if broken is not None:
            yield Step(rung, title, State.BROKEN, broken.says or broken.row.title, broken.last, broken.witnesses)
            continue
        mark = max((one for one in marks if rung in one.rungs), key=_newest, default=None)
        stale = cause is not None and rung.height > cause.row.rung.height and mark and mark.at < cause.last
        if mark is None:
            yield Step(rung, title, State.UNKNOWN)
        elif silent or stale:
            yield Step(rung, title, State.UNKNOWN, f"before: {mark.says}", mark.at, (mark.witness,))
        else:
            yield Step(rung, title, State.GOOD, mark.says, mark.at, (mark.witness,))


def _newest(one: Mark) -> tuple[float, int, str, str]:
    """Of marks of one time the one that says least beside the point: it speaks of the fewest rungs."""
    return one.at, -len(one.rungs), one.says, str(one.witness)


def _last_good(steps: Sequence[Step], broken: Rung | None) -> Rung | None:
    below = [one for one in steps if broken is None or one.rung.height < broken.height]
    return next((one.rung for one in reversed(below) if one.state is State.GOOD), None)


# --- what to do ----------------------------------------------------------------------------------------


def _cures(row: Row, case: Case) -> Iterator[Cure]:
    yield Cure(row.cure, by=_done(row.deed, case) if row.deed else None)
    if text := row.cures.get(case.vendor):
        yield Cure(text, case.vendor)
    if text := row.inferred.get(case.vendor):
        yield Cure(text, case.vendor, inferred=True)


def _done(deed: Deed, case: Case) -> deeds.Cure:
    return deeds.Cure(deed, case.subject.mac or "MAC")


def _missing(
    case: Case, cause: Told | None, steps: Sequence[Step], gaps: Sequence[Gap], known: Catalogue
) -> Iterator[Missing]:
    """Where the cause is sure nobody else need be asked; otherwise who tells its look-alikes apart, or what is dark."""
    if cause is None:
        yield from _dark(case, [one.rung for one in steps if one.state is State.UNKNOWN], gaps, known)
    elif not cause.sure:
        for one in known.looks_like(cause.row.id):
            others = ", ".join(f"{row} {known.rows[row].title.lower()}" for row in one.rows if row != cause.row.id)
            yield Missing(one.separates, f"looks the same: {others}", _done(one.deed, case))


def _dark(case: Case, unknown: Sequence[Rung], gaps: Sequence[Gap], known: Catalogue) -> Iterator[Missing]:
    for gap in gaps:
        if gap.rung in unknown:
            place = known.places[gap.rung]
            yield Missing(place.witness, gap.says, _done(place.deed, case))
    if case.blind:
        yield Missing("a capture without lost frames", "frames were lost", _done(Deed.TAKE_FRAMES, case))
    for rung in unknown[:1]:
        place = known.places[rung]
        yield Missing(place.witness, place.asks, _done(place.deed, case))
    if not any(one.witness.source is Source.CAPTURE for one in case.facts):
        yield Missing("frames at the phone", "they show all rungs up to TLS", _done(Deed.TAKE_FRAMES, case))


# --- worth a word --------------------------------------------------------------------------------------


def _notes(
    case: Case, found: Sequence[Finding], open_ones: Sequence[Finding], known: Catalogue, marks: Sequence[Mark],
    silent: bool,
) -> list[str]:  # fmt: skip
    notes = []
    if silent:
        notes.append("nothing has been heard of it for days: what was good then is no answer any more")
    if missed := sorted({one.file for one in exchanges(case) if one.missed}):
        notes.append(f"404 for {', '.join(missed[:6])} is normal: these files are optional")
    if any(case.doubtful.intersection(one.witnesses) for one in open_ones):
        notes.append(
            "it came from this phone's address or in its name: another phone there, or anybody, may have done it"
        )
    if case.blind:
        notes.append("a capture has lost frames: nothing is concluded from what is not in it")
    broken = case.of_kind(Kind.BROKEN)
    if broken:
        notes.append(f"{len(broken)} frames or files could not be read")
    still = set(open_ones)
    over = sorted({one.row for one in found if one not in still and not one.side})
    if over:
        notes.append(f"over since: {', '.join(f'{row} {known.rows[row].title.lower()}' for row in over)}")
    if sides := sorted({one.row for one in found if one.side}):
        notes.append(f"by the way: {', '.join(f'{row} {known.rows[row].title.lower()}' for row in sides)}")
    notes += _pretender(open_ones, marks)
    return notes


_NOT_IT: Final = frozenset({49, 50, 55, 56, 79})


def _pretender(open_ones: Sequence[Finding], marks: Sequence[Mark]) -> Iterator[str]:
    """It has proven itself before, so who comes with another certificate may be somebody else."""
    strange = [one.at for one in open_ones if one.row in _NOT_IT]
    proven = [one for one in marks if Rung.CERTIFICATE_MAC in one.rungs and one.witness.source is Source.SERVER]
    if strange and proven:
        yield "this MAC has proven itself here before with a good certificate: who came later may be somebody else"
