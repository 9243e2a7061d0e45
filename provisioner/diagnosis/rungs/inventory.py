"""What administrators, the PBX and this server's own errands say of a phone. Pure."""

from __future__ import annotations

from typing import Final

from provisioner.diagnosis.case import Case, Finding, Gap, Judged, Mark, below, moment
from provisioner.diagnosis.catalogue import Rung
from provisioner.diagnosis.facts import Fact, Kind

_UP: Final = below(Rung.ADDRESS) | {Rung.LINE}
_LINE: Final = frozenset({Rung.LINE})
_CHALLENGES: Final = frozenset({"401", "407"})
_UNABLE: Final = frozenset({"408", "480"})
"""Whoever answers so has not been answered himself (RFC 3261 section 21.4)."""
_IN_VAIN: Final = 3
_HEEDED: Final = 300.0
"""s within which a phone that was told to fetch comes, also where it restarts for that."""
_HEARD: Final = frozenset({"", "ok", "told", "notified"})


def judge(case: Case) -> Judged:
    """The device's row, its registrations, and what came of telling it."""
    device = case.of_kind(Kind.DEVICE)[-1:]
    for one in device:
        yield from _device(one)
    yield from _behind(case, device)
    yield from _registered(case)


def _device(one: Fact) -> Judged:
    seen = (one.witness,)
    if one["state"] == "revoked":
        yield Finding(77, one.at, seen, "an administrator has revoked it")
    elif one["state"] == "unknown":
        yield Finding(78, one.at, seen, "the inventory does not have it")
    elif one["state"] == "needs_firmware":
        yield Finding(81, one.at, seen, f"firmware {one['firmware'] or '?'}, at least {one['min_firmware'] or '?'}")
    if one["wiped"] == "yes":
        yield Finding(83, one.at, seen)
    elif one["lines"] == "0" and one["state"] != "unknown":
        yield Finding(82, one.at, seen)


def _behind(case: Case, device: list[Fact]) -> Judged:
    """That it is behind is how it should be until it polls, unless it was told since it came last, or is overdue."""
    if not any(one["configuration"] == "behind" for one in device):
        return
    one = device[-1]
    told = [each for each in case.of_kind(Kind.NOTIFY) if each.at > case.served]
    last = told[-1] if told else None
    if last is not None and not _is_heard(last):
        says = f"told to fetch: {last['result'] or last['status']}"
        yield Finding(38, last.at, (last.witness,), says)
        return
    heard = last is not None and case.now - last.at > _HEEDED
    changed = moment(one["changed"])
    overdue = changed is not None and case.now - changed > case.subject.rules.silent_after
    seen = (one.witness,) if last is None else (one.witness, last.witness)
    says = "its configuration here is newer than what it has"
    yield Finding(76, one.at, seen, says, sure=heard, side=not (heard or overdue))


def _is_heard(one: Fact) -> bool:
    if one["status"]:
        return one["status"].startswith("2")
    return one["result"].lower() in _HEARD


def _registered(case: Case) -> Judged:
    told = case.of_kind(Kind.REGISTER)
    answers = [one for one in told if one["type"] == "answer" and one["status"]]
    for one in answers:
        if one["status"].startswith("2"):
            yield Mark(_UP, one.at, one.witness, f"registered{_where(one)}")
    last = answers[-1] if answers else None
    unheard = [one for one in told if one["type"] == "request" and (last is None or one.at > last.at)]
    if len(unheard) >= _IN_VAIN:
        yield from _unanswered(case, unheard)
    elif last is not None and not last["status"].startswith("2"):
        yield from _refused(answers, last)


def _unanswered(case: Case, asked: list[Fact]) -> Judged:
    """SIP repeats over UDP what is not answered: once is on its way, thrice is lost."""
    last = asked[-1]
    closed = [one for one in case.of_kind(Kind.UNREACHABLE) if last["to"] and _place(one) == last["to"]]
    if case.blind and not closed:
        yield Gap(Rung.LINE, "frames were lost, so the PBX may have answered")
        return
    why = f"{closed[-1]['by']} says: {closed[-1]['code']} unreachable" if closed else "no answer"
    seen = (last.witness, *(one.witness for one in closed[-1:]))
    to = f" to {last['to']}" if last["to"] else ""
    says = f"REGISTER{_where(last)}{to}, {len(asked)} times: {why}"
    yield Finding(90, last.at, seen, says)


def _place(one: Fact) -> str:
    return f"{one['to']}:{one['port']}"


def _refused(answers: list[Fact], last: Fact) -> Judged:
    challenged = [one for one in answers if one["status"] in _CHALLENGES]
    if last["status"] in _CHALLENGES and len(challenged) < 2:
        return  # the first one is how SIP asks for the password
    row = 90 if last["status"] in _UNABLE or last["status"][0] in "56" else 74
    yield Finding(row, last.at, (last.witness,), f"REGISTER{_where(last)} is answered with {last['status']}")


def _where(one: Fact) -> str:
    return f" at {one['registrar']}" if one["registrar"] else ""
