"""Captures that are kept, each with what must be told of it, and whoever else has seen the same.

`rows.json` has for each name the row of the catalogue, null for a phone that comes up, or an object: row, mac, names
and addresses of the server, vendor, model, who has refused whom. Beside NAME.pcap there may be NAME.server.pcap,
frames at the server, and NAME.server.json, what this server's own records tell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wire import PHONE

from provisioner.capture.course import Course
from provisioner.capture.lines import as_line
from provisioner.diagnosis.case import Subject
from provisioner.diagnosis.facts import Fact, of_line
from provisioner.diagnosis.ladder import Diagnosis, diagnose
from provisioner.model import Mac

FOLDER = Path(__file__).resolve().parents[1] / "captures"
HELD_OUT = FOLDER / "held_out"
"""Of cases that no rule was written by."""


@dataclass(frozen=True)
class Kept:
    """One of them."""

    path: Path
    said: Any

    def __str__(self) -> str:
        return self.path.stem if self.path.parent == FOLDER else f"{self.path.parent.name}-{self.path.stem}"

    @property
    def row(self) -> int | None:
        return self._told("row") if isinstance(self.said, dict) else self.said

    @property
    def mac(self) -> str:
        return str(self._told("mac") or PHONE)

    @property
    def who(self) -> str:
        """Who has refused, where that is said."""
        return str(self._told("who") or "")

    @property
    def subject(self) -> Subject:
        several = {name: frozenset(self._told(name) or ()) for name in ("names", "addresses")}
        return Subject(Mac(self.mac), self._told("vendor") or "", self._told("model") or "", **several)

    def _told(self, name: str) -> Any:
        return self.said.get(name) if isinstance(self.said, dict) else None

    @property
    def files(self) -> list[Path]:
        """The phone's side first."""
        far = self.path.with_name(f"{self.path.stem}.server.pcap")
        return [self.path, *([far] if far.exists() else [])]

    def facts(self) -> list[Fact]:
        """Of all witnesses."""
        found = [of_line(as_line(one)) for one in Course(self.files).facts(bytes.fromhex(self.mac))]
        records = self.path.with_name(f"{self.path.stem}.server.json")
        return found + ([of_line(one) for one in json.loads(records.read_text())] if records.exists() else [])

    def diagnosis(self) -> Diagnosis:
        facts = self.facts()
        return diagnose(facts, self.subject, max(one.at for one in facts))


def kept(folder: Path = FOLDER) -> list[Kept]:
    """All of a folder."""
    rows = json.loads((folder / "rows.json").read_text()) if (folder / "rows.json").exists() else {}
    return [Kept(folder / f"{name}.pcap", said) for name, said in sorted(rows.items())]


def files(folder: Path) -> Iterator[Path]:
    """Captures of phones, without what lies beside them."""
    return (one for one in folder.glob("*.pcap*") if not one.name.endswith(".server.pcap"))
