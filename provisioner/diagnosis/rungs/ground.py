"""Power, link and voice VLAN: what the switch says of the port, and what of the phone is on the cable. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from provisioner.diagnosis.case import Case, Finding, Gap, Judged, Mark, number
from provisioner.diagnosis.catalogue import Rung
from provisioner.diagnosis.facts import Fact, Kind, Source

_POWER: Final = frozenset({Rung.POWER})
_LINK: Final = frozenset({Rung.POWER, Rung.LINK})
_VLAN: Final = frozenset({Rung.VOICE_VLAN})
_SWITCH: Final = frozenset({"lldp", "cdp", "switch"})
_STARVED: Final = frozenset({"searching", "off"})
_UNTAGGED: Final = "0"
_AT_ONCE: Final = 1.0
"""s: what one look at a switch brings."""


def judge(case: Case) -> Judged:
    """The three lowest rungs."""
    yield from _ports(case)
    yield from _frames(case)
    for one in _vlans(case):
        yield _softened(case, one) if isinstance(one, Finding) else one


def _softened(case: Case, one: Finding) -> Finding:
    """A switch says how it is now, which no boot can be behind: what came through all the same is not stopped by it."""
    if any(each.source is not Source.SWITCH for each in one.witnesses):
        return one
    if case.served >= case.now - case.subject.rules.loop_window:
        return replace(one, side=True)
    return replace(one, sure=False) if _is_heard(case) else one


def _is_heard(case: Case) -> bool:
    return case.served >= case.now - case.subject.rules.silent_after


def _ports(case: Case) -> Judged:
    """The last word of each switch port counts; where one is up, a port that it left is none of its troubles.

    A phone with a power supply of its own has a link, and PoE may fail there as it will.
    """
    ports = case.of_kind(Kind.PORT)
    up = [one for one in ports if one["link"] == "up"]
    last = up[-1] if up else ports[-1] if ports else None
    if last is None:
        return
    where = f"port {last['port'] or '?'} of {last['switch'] or 'the switch'}"
    poe, link = last["poe"], last["link"]
    if poe == "fault" or (poe in _STARVED and link == "down"):
        yield Finding(1, last.at, (last.witness,), f"{where}: PoE {poe}", side=link == "up")
    elif link == "down":
        yield Finding(2, last.at, (last.witness,), f"{where} has no link")
    if link == "up":
        yield Mark(_LINK, last.at, last.witness, f"{where} has a link")
    if poe == "delivering":
        yield Mark(_POWER, last.at, last.witness, f"{where} delivers power")


def _frames(case: Case) -> Judged:
    for one in case.of_kind(Kind.FRAME):
        if one["silent"] != "yes":
            yield Mark(_LINK, one.at, one.witness, "it sends frames")
        elif case.blind:
            yield Gap(Rung.LINK, "frames were lost, so it may have sent some")
        elif _is_heard(case) or any(port["link"] == "up" for port in case.of_kind(Kind.PORT)):
            yield Gap(Rung.LINK, "a capture has seen others and not it: perhaps it was taken where it does not pass")
        else:
            says = "frames of others were seen and none of it: or it was captured where it does not pass"
            yield Finding(2, one.at, (one.witness,), says, sure=False)
    for one in case.of_kind(Kind.DHCP):
        if one["type"] in {"discover", "request", "inform", "decline"}:
            yield Mark(_LINK, one.at, one.witness, "it sends frames")


# --- voice VLAN ------------------------------------------------------------------------------------------


def _vlans(case: Case) -> Judged:
    offered = [one for one in case.of_kind(Kind.VLAN_OFFERED) if one["by"] in _SWITCH]
    named = [one for one in offered if number(one["vlan"])]
    by_dhcp = [one for one in case.of_kind(Kind.VLAN_OFFERED, by="dhcp") if number(one["vlan"])]
    seen = _used(case)
    used = seen[0] if seen else None
    quarrel = list(_quarrel(named))
    yield from quarrel
    if offered and not named:
        yield from _none_offered(offered[-1], used)
    if quarrel or not named:
        return  # whichever it follows, the other says that it is wrong
    policy = named[-1]
    yield from _stale(policy, by_dhcp)
    if used is None:
        yield Gap(Rung.VOICE_VLAN, f"VLAN {policy['vlan']} is offered; which one it uses was not seen")
        return
    good = next((one for one in seen if _agree(policy, one)), None)
    if good is not None:
        yield Mark(_VLAN, good.at, good.witness, f"it uses VLAN {policy['vlan']}, as it is offered")
    else:
        yield _elsewhere(policy, used)


def _elsewhere(policy: Fact, used: Fact) -> Finding:
    offer, seen = f"VLAN {policy['vlan']} is offered", (policy.witness, used.witness)
    if used["by"] == "fdb":
        return Finding(5, used.at, seen, f"{offer}, and its frames come in VLAN {used['vlan']}")
    if used["vlan"] == _UNTAGGED:
        return Finding(5, used.at, seen, f"{offer}, tagged, and it sends without a tag")
    if used["vlan"] == policy["vlan"]:
        return Finding(5, used.at, seen, f"{offer} untagged, and it sends with its tag")
    return Finding(7, used.at, seen, f"{offer}, and it uses {used['vlan']}")


def _used(case: Case) -> list[Fact]:
    """Where it was seen last, the newest first; a switch may have learned it in several VLANs at a time.

    Its very first frame is always without a tag and says nothing.
    """
    seen = [one for one in (*case.of_kind(Kind.VLAN_USED), *case.of_kind(Kind.DHCP)) if one["vlan"].isdecimal()]
    newest = max((one.at for one in seen), default=0.0)
    return sorted((one for one in seen if one.at >= newest - _AT_ONCE), key=lambda one: -one.at)


def _agree(policy: Fact, used: Fact) -> bool:
    """The tag counts where frames were seen; switches and phones speak of the VLAN alone."""
    framed = used.kind is Kind.DHCP or used["by"] == "frames"
    if framed and policy["tagged"] == "no":
        return used["vlan"] == _UNTAGGED
    return used["vlan"] == policy["vlan"]


def _quarrel(named: list[Fact]) -> Iterator[Finding]:
    """LLDP and CDP are compared as they are now: the last of each."""
    last = {one["by"]: one for one in named}
    lldp, cdp = last.get("lldp"), last.get("cdp")
    if lldp and cdp and lldp["vlan"] != cdp["vlan"]:
        says = f"LLDP says VLAN {lldp['vlan']}, CDP says {cdp['vlan']}"
        yield Finding(6, max(lldp.at, cdp.at), (lldp.witness, cdp.witness), says)


def _none_offered(offer: Fact, used: Fact | None) -> Iterator[Finding]:
    """A network without a voice VLAN is no fault by itself: what reaches the server heals it."""
    if used is None or used["vlan"] == _UNTAGGED:
        seen = (offer.witness,) if used is None else (offer.witness, used.witness)
        yield Finding(3, max(offer.at, used.at if used else offer.at), seen, sure=used is not None)


def _stale(policy: Fact, by_dhcp: list[Fact]) -> Iterator[Finding]:
    other = next((one for one in reversed(by_dhcp) if one["vlan"] != policy["vlan"]), None)
    if other is not None:
        says = f"the switch offers VLAN {policy['vlan']}, DHCP names {other['vlan']}"
        yield Finding(7, other.at, (policy.witness, other.witness), says)
