"""Many phones' troubles as few sentences: how many, which failure, since when, which models. Pure.

The flight recorder names what each connection came to in one word; here each word is a row of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from provisioner.diagnosis.catalogue import Row, catalogue

_ROWS: Final = {
    "alert_unknown_ca": 39, "alert_certificate_unknown": 39, "alert_unsupported_certificate": 39,
    "alert_certificate_expired": 42, "alert_bad_certificate": 25, "alert_handshake_failure": 45,
    "alert_protocol_version": 46, "alert_access_denied": 39, "no_request": 43,
    "no_shared_cipher": 45, "no_shared_group": 45, "old_version": 46, "wrong_version": 46, "no_http11": 45,
    "bad_signature": 49, "handshake_failed": 45, "handshake_timeout": 85, "hello_timeout": 85, "left": 85,
    "hello_crowded_out": 37, "plain_http": 36, "sslv2": 46,
    "verdict_untrusted": 49, "verdict_self_signed": 49, "verdict_expired": 51, "verdict_not_yet_valid": 52,
    "verdict_weak": 53, "verdict_none": 55, "verdict_generic": 56, "verdict_revoked": 77,
    "not_identified": 55, "not_yours": 57, "pin_mismatch": 79, "unknown_device": 78, "revoked": 77, "wrong_vendor": 63,
    "wrong_listener": 80, "needs_credentials": 61, "no_such_file": 62, "bad_path": 62, "bad_request": 62,
    "render_failed": 84, "store_failed": 84, "internal": 84, "deferred": 71, "busy": 71, "paused": 71,
    "stalled": 65, "too_large": 67, "method_not_allowed": 67, "head_timeout": 32,
}  # fmt: skip
_FAMILIES: Final = (("gate_", 37), ("alert_", 39), ("verdict_", 49))
"""Words that begin so and are not listed."""


class Trouble(Protocol):
    """One and the same trouble of phones of one model."""

    @property
    def label(self) -> str:
        """What its connections came to."""

    @property
    def vendor(self) -> str:
        """Whose phones; empty for strangers'."""

    @property
    def model(self) -> str:
        """Of which model; empty where that is not known."""

    @property
    def phones(self) -> int:
        """How many; of strangers, addresses."""

    @property
    def known(self) -> bool:
        """They are devices that have been added."""

    @property
    def who(self) -> frozenset[str]:
        """Whose; empty where only their number is known."""

    @property
    def first(self) -> float:
        """Unix time."""

    @property
    def last(self) -> float:
        """Unix time."""


@dataclass(frozen=True, slots=True)
class Group:
    """One failure that many phones have."""

    row: Row | None
    """None for what the catalogue does not have."""
    label: str
    phones: int
    known: bool
    models: tuple[tuple[str, int], ...]
    """With how many each, the most first."""
    first: float
    last: float
    who: tuple[str, ...] = ()
    """Their Macs; of strangers their addresses."""

    @property
    def title(self) -> str:
        """The failure in words."""
        return self.row.title if self.row else self.label.replace("_", " ")

    @property
    def says(self) -> str:
        """``37 phones: the issuer is not trusted, all T46S``."""
        what = "phone" if self.known else "address"
        many = "" if self.phones == 1 else "s" if self.known else "es"
        return f"{self.phones} {what}{many}: {self.title}{self._which}"

    @property
    def _which(self) -> str:
        named = [(name, count) for name, count in self.models if name]
        if not named:
            return ""
        if len(self.models) == 1:
            return f", all {named[0][0]}" if self.phones > 1 else f", {named[0][0]}"
        return ", " + ", ".join(f"{count} {name}" for name, count in named[:4])


def row_of(label: str) -> int:
    """The number of the row that a recorder's word stands for; 0 for none."""
    if label in _ROWS:
        return _ROWS[label]
    return next((row for family, row in _FAMILIES if label.startswith(family)), 0)


def grouped(troubles: Iterable[Trouble]) -> list[Group]:
    """By failure, known phones apart from strangers, the most phones first."""
    found: dict[tuple[bool, int, str], list[Trouble]] = {}
    for one in troubles:
        row = row_of(one.label)
        found.setdefault((one.known, row, "" if row else one.label), []).append(one)
    groups = [_group(known, row, same) for (known, row, _), same in found.items()]
    return sorted(groups, key=lambda one: (not one.known, -one.phones, one.title))


def _group(known: bool, row: int, same: list[Trouble]) -> Group:
    models: dict[str, list[Trouble]] = {}
    for one in same:
        models.setdefault(one.model, []).append(one)
    counted = ((name, _phones(some)) for name, some in models.items())
    by_number = tuple(sorted(counted, key=lambda pair: (-pair[1], pair[0])))
    first, last = min(one.first for one in same), max(one.last for one in same)
    phones, who = _phones(same), tuple(sorted(_who(same)))
    return Group(catalogue().rows.get(row), same[0].label, phones, known, by_number, first, last, who)


def _phones(some: Iterable[Trouble]) -> int:
    """Each once, under however many words it failed."""
    told = list(some)
    return len(_who(told)) + sum(one.phones for one in told if not one.who)


def _who(some: Iterable[Trouble]) -> frozenset[str]:
    return frozenset[str]().union(*(one.who for one in some))
