"""Use-cases: the audit log is read, checked and exported. Checking proves that nobody has changed a row unnoticed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from provisioner.audit_chain import PURPOSE, Head, Row, Walk, is_sealed
from provisioner.desk import Desk
from provisioner.errors import Invalid
from provisioner.roles import Right
from provisioner.store import audit

_SEAL: Final = "the seal in the database"
_HEAD: Final = "the head in the database"
_FILE: Final = f"the file {audit.FILE}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of checking."""

    rows: int
    hash: str
    """Of the last row: keep it somewhere else, and nobody can change what was before without its being seen."""
    sealed: int
    """Rows that the seal covers; the few behind it were written by a process without the key at hand."""
    faults: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Nothing is wrong."""
        return not self.faults


class AuditLog(Desk):
    """The audit log as a whole: who reads it reaches every account."""

    async def verify(self) -> Verified:
        """Follow the whole chain and compare its end with the seal and with the file beside the master key."""
        self._require_all(Right.AUDIT_READ)
        kept, faults = self._file()
        async with self._store.reading() as connection:
            head, seal = await audit.read_head(connection)
            walk = Walk({_HEAD: head, _SEAL: seal, **kept}, faults=faults)
            faults += self._seals(seal, kept)
            async for page in audit.pages(connection):
                for row in page:
                    walk.step(row)
            if loose := await audit.count_loose(connection):
                faults.append(f"{loose} audit events stand in no chain: they were written past this program")
            last, _ = await audit.read_head(connection)  # PostgreSQL shows rows that came meanwhile, and then this, too
        walk.end()
        if walk.head.seq > last.seq:
            faults.append(f"{_HEAD} knows {last.seq} rows, there are {walk.head.seq}")
        return Verified(walk.head.seq, walk.head.hash, seal.seq, tuple(walk.faults))

    async def export(self, *, after: int = 0) -> AsyncIterator[str]:
        """JSON, a line a row, and the head at the end; ``after`` is the last row that was exported before."""
        self._require_all(Right.AUDIT_READ)
        async with self._store.reading() as connection:
            head, seal = await audit.read_head(connection)
            async for page in audit.pages(connection, after):
                for row in page:
                    if row.seq <= head.seq:  # what came meanwhile is the next export's
                        yield json.dumps(asdict(row), sort_keys=True)
        told = {"head": {"seq": head.seq, "hash": head.hash}, "sealed": asdict(seal)}
        yield json.dumps(told, sort_keys=True)

    def _file(self) -> tuple[Mapping[str, Head], list[str]]:
        path = self._store.uploads.with_name(audit.FILE)
        try:
            kept = audit.read_file(path)
        except (OSError, ValueError) as error:
            return {}, [f"{path} cannot be read: {error}"]
        return ({} if kept is None else {_FILE: kept}), []

    def _seals(self, seal: Head, kept: Mapping[str, Head]) -> Iterable[str]:
        """A chain that was never sealed is one from before there were seals, and then there is no file either."""
        keys = self._store.box.derived(PURPOSE)
        if seal.seal or kept:
            for where, one in {_SEAL: seal, **kept}.items():
                if not is_sealed(keys, one):
                    yield f"{where} was not made with this installation's key"


def verify_lines(lines: Iterable[str]) -> Verified:
    """Check an export without a database; it has to begin with the first row."""
    walk, marks = Walk(), {}
    for number, line in enumerate(lines, 1):
        try:
            told = json.loads(line)
            if "head" in told:
                marks["its last line"] = Head(int(told["head"]["seq"]), str(told["head"]["hash"]))
            else:
                walk.step(Row(**told))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Invalid("file", f"line {number} is none of an export: {type(error).__name__}") from error
    walk.marks = marks
    faults = walk.end()
    if not marks:
        faults.append("it has no last line: it was cut off")
    elif marks["its last line"].hash != walk.head.hash:
        faults.append("its last row is not the one that its last line knows")
    return Verified(walk.head.seq, walk.head.hash, 0, tuple(faults))


def verify_file(path: Path) -> Verified:
    """Check an export that lies in a file."""
    with path.open(encoding="utf-8") as file:
        return verify_lines(line for line in file if line.strip())
