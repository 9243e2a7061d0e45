"""802.1X: whether the switch lets the phone in, and of the two ends of EAP-TLS which one refused the other. Pure.

Rule: one conversation ends with success, with failure, or in silence; what was refused inside it is why it failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from provisioner.diagnosis.case import DOT1X, Case, Finding, Gap, Judged, Mark
from provisioner.diagnosis.catalogue import Rung
from provisioner.diagnosis.facts import Fact, Kind
from provisioner.diagnosis.rungs.refusals import phone_dates

_DOT1X: Final = frozenset({Rung.POWER, Rung.LINK, Rung.DOT1X})
_ENDS: Final = frozenset({"success", "failure"})
_INSIDE: Final = frozenset({Kind.ALERT, Kind.TLS_REFUSED, Kind.CHAIN})
_REFUSALS: Final = frozenset({Kind.ALERT, Kind.TLS_REFUSED})
_NOT_THE_METHOD: Final = frozenset({"", "identity", "notification", "nak"})
_ASKED_IN_VAIN: Final = 2
"""Starts of the phone's: one may be lost."""


def judge(case: Case) -> Judged:
    """One conversation after the other, then the one that has not ended."""
    begun: list[Fact] = []
    for one in _told(case):
        begun.append(one)
        if one.kind is Kind.EAP and one["code"] in _ENDS:
            yield from _ended(begun)
            begun = []
    yield from _open(case, begun)


def _told(case: Case) -> Iterator[Fact]:
    """In order: what EAP says, and in the TLS inside it what the phone shows and who refuses whom."""
    return (
        one for one in case.facts if one.kind is Kind.EAP or (one.kind in _INSIDE and one["connection"] == DOT1X)
    )  # fmt: skip


def _ended(told: Sequence[Fact]) -> Judged:
    end = told[-1]
    if end["code"] == "success":
        yield Mark(_DOT1X, end.at, end.witness, "802.1X let it in")
        return
    refusal = _refusal(told)
    if refusal is not None:
        yield _refused(refusal, end)
    else:
        yield Finding(8, end.at, (end.witness,), f"EAP failure{_after(told)}")


def _refusal(told: Sequence[Fact]) -> Fact | None:
    """The first that refused; an alert of the other side's behind it is only an answer. 0 is good-bye."""
    return next((one for one in told if one.kind in _REFUSALS and one["code"] != "0"), None)


def _refused(one: Fact, end: Fact) -> Finding:
    why = f"alert {one['code'] or '?'} ({one['name']})" if one["name"] else one["why"] or "a refusal"
    seen = tuple(dict.fromkeys((one.witness, end.witness)))
    if one["by"] == "phone":
        return Finding(86, end.at, seen, f"{why} from the phone")
    return Finding(8, end.at, seen, f"its certificate is refused: {why} from RADIUS")


def _after(told: Sequence[Fact]) -> str:
    """How far it came; many RADIUS servers say nothing of why they refuse a certificate."""
    shown = next((one for one in reversed(told) if one.kind is Kind.CHAIN and one["by"] == "phone"), None)
    if shown is not None:
        return f" after {_certificate(shown)}"
    methods = [one["method"] for one in told if one["code"] in {"request", "response"}]
    if "nak" in methods:
        return ": the phone wants another method than it is asked for"
    method = next((one for one in reversed(methods) if one not in _NOT_THE_METHOD), "")
    return f" ({method})" if method else ": its name is not known there" if "identity" in methods else ""


def _certificate(shown: Fact) -> str:
    if shown["length"] == "0":
        return "it has shown no certificate"
    dates = {51: ", which has expired", 52: ", which is not valid yet"}.get(phone_dates(shown), "")
    issuer = f" of {shown['issuer']}" if shown["issuer"] else ""
    return f"it has shown its certificate{issuer}{dates}"


def _open(case: Case, told: Sequence[Fact]) -> Judged:
    """Nobody has said how it ended: who was asked and has not answered?"""
    refusal = _refusal(told)
    if refusal is not None:
        yield _refused(refusal, refusal)
        return
    asked = [one for one in told if one["code"] == "request"]
    answered = any(one["code"] == "response" for one in told)
    starts = [one for one in told if one["code"] == "start"]
    if not (asked or starts) or answered:
        return
    if case.blind:
        yield Gap(Rung.DOT1X, "frames were lost, so it may have been answered")
    elif asked:
        says = "the switch asks who it is and is not answered"
        yield Finding(8, asked[-1].at, (asked[-1].witness,), says, sure=len(asked) > 1)
    elif len(starts) >= _ASKED_IN_VAIN:
        says = "it asks to be let in, and the switch says nothing"
        yield Finding(8, starts[-1].at, (starts[-1].witness,), says, sure=False, side=_goes_on(case, starts[-1].at))


def _goes_on(case: Case, since: float) -> bool:
    """A port that knows nothing of 802.1X does not answer either; then the phone asks for an address."""
    return any(one.at >= since for one in (*case.of_kind(Kind.DHCP), *case.of_kind(Kind.SYN)))
