"""What administrators, the PBX and this server's own errands say of a phone. Pure."""

from __future__ import annotations

from typing import Final

from provisioner.diagnosis.case import Case, Finding, Judged, Mark, below
from provisioner.diagnosis.catalogue import Rung
from provisioner.diagnosis.facts import Fact, Kind

_UP: Final = below(Rung.ADDRESS) | {Rung.LINE}
_LINE: Final = frozenset({Rung.LINE})
_CHALLENGES: Final = frozenset({"401", "407"})
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
    """Only where it is known to be behind does it matter whether it has heard."""
    if not any(one["configuration"] == "behind" for one in device):
        return
    told = case.of_kind(Kind.NOTIFY)
    last = told[-1] if told else None
    if last is not None and not _is_heard(last):
        says = f"told to fetch: {last['result'] or last['status']}"
        yield Finding(38, last.at, (last.witness,), says)
        return
    one = device[-1]
    seen = (one.witness,) if last is None else (one.witness, last.witness)
    yield Finding(76, one.at, seen, "its configuration here is newer than what it has", sure=last is not None)


def _is_heard(one: Fact) -> bool:
    if one["status"]:
        return one["status"].startswith("2")
    return one["result"].lower() in _HEARD


def _registered(case: Case) -> Judged:
    answers = [one for one in case.of_kind(Kind.REGISTER) if one["type"] == "answer" and one["status"]]
    for one in answers:
        if one["status"].startswith("2"):
            yield Mark(_UP, one.at, one.witness, f"registered{_where(one)}")
    last = answers[-1] if answers else None
    if last is None or last["status"].startswith("2"):
        return
    challenged = [one for one in answers if one["status"] in _CHALLENGES]
    if last["status"] in _CHALLENGES and len(challenged) < 2:
        return  # the first one is how SIP asks for the password
    if last["status"].startswith("4"):
        yield Finding(74, last.at, (last.witness,), f"REGISTER{_where(last)} is answered with {last['status']}")


def _where(one: Fact) -> str:
    return f" at {one['registrar']}" if one["registrar"] else ""
