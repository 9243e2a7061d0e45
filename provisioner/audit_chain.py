"""The audit log as a chain: each row's hash covers the row and the hash before it, so none can change unnoticed. Pure.

Hashes are plain SHA-256, so that an export can be checked by anybody without a key. The head (how many rows, and the
last one's hash) is sealed with a key that is not in the database: who can write the database alone can neither cut the
tail off nor write a whole new chain.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

PURPOSE: Final = b"provisioner audit head"
"""HKDF's info (RFC 5869 section 3.2): a key for this purpose alone."""
_START: Final = hashlib.sha256(b"provisioner audit chain 1").hexdigest()
_MOST: Final = 20
"""Faults that are told: one cut makes all behind it wrong."""


@dataclass(frozen=True, slots=True)
class Row:
    """An audit event as it is stored; ``details`` is its JSON text, byte for byte."""

    seq: int
    at: float
    kind: str
    mac: str
    severity: str
    actor: str
    account: str
    details: str
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ends."""

    seq: int = 0
    hash: str = _START
    seal: str = ""


def link(before: str, row: Row) -> str:
    """The hash of a row that follows one with the hash ``before``.

    JSON of a list tells every field apart; floats are written so that they read back as the same double.
    """
    fields = [before, row.seq, float(row.at), row.kind, row.mac, row.severity, row.actor, row.account, row.details]
    return hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode("ascii")).hexdigest()


def sealed(key: bytes, head: Head) -> str:
    """HMAC-SHA256 over how long the chain is and how it ends."""
    return hmac.digest(key, f"{head.seq}:{head.hash}".encode("ascii"), "sha256").hex()


def is_sealed(keys: Sequence[bytes], head: Head) -> bool:
    """Whether one of these keys made its seal."""
    return any(hmac.compare_digest(sealed(key, head), head.seal) for key in keys)


@dataclass(slots=True)
class Walk:
    """Follows a chain row by row and remembers what is wrong with it; ``marks`` are states it must have been in."""

    marks: Mapping[str, Head] = field(default_factory=dict)
    """By where they are kept."""
    head: Head = Head()
    faults: list[str] = field(default_factory=list)

    def step(self, row: Row) -> None:
        """The next row in the order of ``seq``."""
        expected = self.head.seq + 1
        if row.seq < expected:
            self._fault(f"row {row.seq} is there twice")
        elif row.seq > expected:
            self._fault(_gap(expected, row.seq - 1))
        elif link(self.head.hash, row) != row.hash:
            self._fault(f"row {row.seq} ({row.kind}) is not what was written, or not in its place")
        self.head = Head(row.seq, row.hash)
        for where, mark in self.marks.items():
            if mark.seq == row.seq and mark.hash != row.hash:
                self._fault(f"row {row.seq} is not the one that {where} knows")

    def end(self) -> list[str]:
        """All that is wrong, once the last row was seen."""
        for where, mark in self.marks.items():
            if mark.seq > self.head.seq:
                self._fault(f"{_gap(self.head.seq + 1, mark.seq)} at the end: {where} knows {mark.seq}")
        return self.faults

    def _fault(self, what: str) -> None:
        if len(self.faults) < _MOST:
            self.faults.append(what)


def _gap(first: int, last: int) -> str:
    return f"row {first} is missing" if first == last else f"rows {first} to {last} are missing"


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """What an audit event says of a change: ``name`` and ``name_before``, of what differs only."""
    found = {}
    for name in sorted({*before, *after}):
        if before.get(name, "") != after.get(name, ""):
            found[f"{name}_before"], found[name] = before.get(name, ""), after.get(name, "")
    return found
