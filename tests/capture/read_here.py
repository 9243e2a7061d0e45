"""The capture program's parts run within the test, without its process, and its facts as people would look for them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from wire import PHONE, Tape

from provisioner.capture.course import Course
from provisioner.capture.lines import Fact


def facts(tmp_path: Path, *tapes: Tape, mac: str = PHONE) -> list[Fact]:
    """Each tape as a file of its own; the phone's side first."""
    paths = [tape.save(tmp_path / f"side{number}.pcap") for number, tape in enumerate(tapes)]
    return Course(paths).facts(bytes.fromhex(mac))


def of(found: Iterable[Fact], kind: str, **values: str) -> list[dict[str, str]]:
    """The values of each fact of a kind that has these values."""
    return [dict(one.values) for one in found if one.kind == kind and values.items() <= one.values.items()]


def one(found: Iterable[Fact], kind: str, **values: str) -> dict[str, str]:
    """The only one."""
    there = of(list(found), kind, **values)
    assert len(there) == 1, (kind, values, there)
    return there[0]
