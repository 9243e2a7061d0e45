"""What a scene must come to: the row, who has refused whom, and the words; of all frames and of what is cut out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from office import PHONE
from pcaps import written

from provisioner.capture.course import Course
from provisioner.capture.cutting import cut
from provisioner.capture.files import Frame, of_paths
from provisioner.capture.lines import as_line as said_line
from provisioner.diagnosis.case import Subject
from provisioner.diagnosis.facts import Fact, as_line, of_line
from provisioner.diagnosis.ladder import Diagnosis, Outcome, diagnose
from provisioner.model import Mac

KEPT: Final = Path(__file__).resolve().parents[1] / "captures"
HELD_OUT: Final = KEPT / "held_out"

LARGEST: Final = 24_000
"""bytes of a capture that is kept"""


@dataclass(frozen=True)
class Expected:
    """The first line."""

    row: int | None
    """None: it comes up."""
    who: str = ""
    says: str = ""
    """A part of what is special here."""
    mac: str = PHONE
    vendor: str = ""
    model: str = ""
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    sure: bool | None = None
    small: bool = True
    """Small enough to be kept."""
    in_the_body: bool = False
    """What tells it stands in a body, which is blanked where frames are cut out."""

    @property
    def subject(self) -> Subject:
        return Subject(Mac(self.mac), self.vendor, self.model, frozenset(self.names), frozenset(self.addresses))

    def check(self, name: str, facts: Sequence[Fact]) -> Diagnosis:
        """AssertionError with the whole ladder where it is another."""
        found = diagnose(facts, self.subject, max(one.at for one in facts))
        cause = found.cause
        ladder = "\n".join(f"{one.rung} {one.state} {one.says}" for one in found.steps)
        whole = f"{name}: {cause.row.id if cause else None} {found.title}: {cause and cause.says}\n{ladder}"
        if self.row is None:
            assert found.outcome is Outcome.UP, whole
            return found
        assert cause is not None and cause.row.id == self.row, whole
        assert self.who in {"", found.refused} and self.says in cause.says, whole
        assert self.sure in {None, cause.sure}, whole
        return found


def facts_in(tapes: Sequence[Path], mac: str = PHONE) -> list[Fact]:
    """What the capture program reads in them."""
    return [of_line(said_line(one)) for one in Course(tapes).facts(bytes.fromhex(mac))]


def told(tapes: Sequence[Path], mac: str = PHONE) -> Diagnosis:
    """What is to be said of tapes alone."""
    facts = facts_in(tapes, mac)
    return diagnose(facts, Subject(Mac(mac)), max(one.at for one in facts))


def shown(
    name: str, expected: Expected, tape: Path, facts: Sequence[Fact] = (), into: Path = KEPT, server: Path | None = None
) -> None:
    """From all frames, and from those that would be handed to a vendor; with LAB_KEEP=1 kept, once and for all.

    ``server``: what was captured there at the same time.
    """
    tapes = [tape, *([server] if server else [])]
    expected.check(name, [*facts_in(tapes, expected.mac), *facts])
    if not expected.in_the_body:
        with TemporaryDirectory() as folder:
            cut(tapes, bytes.fromhex(expected.mac), Path(folder))
            parts = sorted(Path(folder).glob("*.pcapng"))
            expected.check(f"{name}, cut out", [*facts_in(parts, expected.mac), *facts])
    if os.environ.get("LAB_KEEP") and expected.small:
        keep(name, expected, tapes, facts, into)


def keep(name: str, expected: Expected, tapes: Sequence[Path], facts: Sequence[Fact], into: Path) -> None:
    """One that is kept is never played again."""
    path = into / f"{name}.pcap"
    if path.exists():
        return
    into.mkdir(exist_ok=True)
    frames = _of_phone(of_paths([tapes[0]])[0].frames(), expected.mac)
    size = sum(16 + len(one.data) for one in frames)
    assert size <= LARGEST, f"{name}: {size} bytes are too many to keep"
    written(frames, path)
    for tape in tapes[1:]:
        written(of_paths([tape])[0].frames(), path.with_name(f"{name}.server.pcap"))
    if facts:
        lines = [as_line(one) for one in facts]
        path.with_name(f"{name}.server.json").write_text(json.dumps(lines, indent=1) + "\n")
    rows = json.loads((into / "rows.json").read_text()) if (into / "rows.json").exists() else {}
    rows[name] = _said(expected)
    (into / "rows.json").write_text(json.dumps(rows, indent=2, sort_keys=True) + "\n")


def _said(expected: Expected) -> dict[str, object]:
    usual = Expected(expected.row)
    names = ("mac", "vendor", "model", "names", "addresses", "who")
    told = {name: getattr(expected, name) for name in names if getattr(expected, name) != getattr(usual, name)}
    return {"row": expected.row, **told, "by": "laboratory"}


def _of_phone(frames: Iterable[Frame], mac: str) -> list[Frame]:
    """To and from it, and what groups of its cable get."""
    own = bytes.fromhex(mac)
    return [one for one in frames if own in (one.data[:6], one.data[6:12]) or one.data[0] & 1]
