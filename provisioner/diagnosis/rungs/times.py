"""Time: what the phone asks time servers and is told; it matters where certificates are refused for their dates. Pure.

Rule: a time server that is silent or wrong is the cause only where nothing else refused the phone for another reason.
"""

from __future__ import annotations

from typing import Final

from provisioner.diagnosis.case import Case, Connection, Finding, Gap, Judged, Mark, moment
from provisioner.diagnosis.catalogue import Rung
from provisioner.diagnosis.facts import Fact, Kind

_TIME: Final = frozenset({Rung.TIME})
_DAY: Final = 86_400.0
"""s: a clock that is a day off is wrong; certificates begin and end at some hour of some day."""
_BY_DATE: Final = frozenset({"42", "45", "46"})
"""Alerts by which phones tell that they did not like the dates (RFC 8446 section 6.2)."""
_UNSYNCHRONISED: Final = frozenset({"0", "16"})
"""Strata of servers without time (RFC 5905 section 7.3)."""


def judge(case: Case) -> Judged:
    """Answers, and questions without one."""
    told = case.of_kind(Kind.NTP)
    answers = [one for one in told if one["type"] == "answer"]
    matters = _matters(case)
    wrong = [one for one in answers if is_wrong(one)]
    right = [one for one in answers if one not in wrong]
    for one in right:
        yield Mark(_TIME, one.at, one.witness, "a time server has told it the time")
    if wrong and not right:
        yield Finding(26, wrong[-1].at, (wrong[-1].witness,), _fault(wrong[-1]), side=not matters)
    asked = [one for one in told if one["type"] == "query"]
    if answers or not asked:
        return
    if case.blind:
        yield Gap(Rung.TIME, "frames were lost, so a time server may have answered")
    else:
        last = asked[-1]
        says = f"{last['server'] or 'the time server'} does not answer"
        yield Finding(25, last.at, (last.witness,), says, sure=len(asked) > 1, side=not matters)


def is_wrong(one: Fact) -> bool:
    """Whether the answer is of a server without time, or of another day."""
    at = moment(one["time"])
    return one["stratum"] in _UNSYNCHRONISED or (at is not None and abs(at - one.at) > _DAY)


def _fault(one: Fact) -> str:
    if one["stratum"] in _UNSYNCHRONISED:
        return f"{one['server'] or 'the time server'} has no time itself (stratum {one['stratum']})"
    return f"{one['server'] or 'the time server'} tells another day"


def _matters(case: Case) -> bool:
    """A certificate was refused for its dates, or nobody knows what came of the handshakes."""
    ends = [one for one in case.connections if _ended(one)]
    return not ends or any(_by_date(one) for one in ends)


def _ended(one: Connection) -> bool:
    return one.has(Kind.ALERT, Kind.TLS_DONE, Kind.TLS_REFUSED, Kind.ANSWER)


def _by_date(one: Connection) -> bool:
    alerts = one.of(Kind.ALERT, by="phone")
    why = " ".join(fact["why"] for fact in one.of(Kind.TLS_REFUSED, by="phone")).lower()
    return any(alert["code"] in _BY_DATE for alert in alerts) or "expired" in why or "not yet valid" in why
