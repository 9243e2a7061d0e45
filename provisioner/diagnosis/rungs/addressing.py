"""DHCP, the own address, and what the phone is told about its server. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from provisioner.diagnosis.case import Case, Finding, Gap, Judged, Mark
from provisioner.diagnosis.catalogue import Rung
from provisioner.diagnosis.facts import Fact, Kind
from provisioner.diagnosis.rungs.heading import OPTIONS, host_of, is_redirector, knows_where

_LEASED: Final = frozenset({Rung.POWER, Rung.LINK, Rung.DOT1X, Rung.DHCP})
_ALL: Final = tuple(f"option_{number}" for number in OPTIONS)
_BOOT: Final = 120.0
"""s from a DISCOVER to the lease that comes of it; without one it is a renewal, which boots nothing."""
_HOSTLIKE: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?[\w.-]+(?::\d+)?(?:/[!-~]*)?", re.I | re.A)
_UNTAGGED: Final = frozenset({"", "0"})


def judge(case: Case) -> Judged:
    """Three rungs."""
    yield from _lease(case)
    yield from _conflict(case)
    yield from _option(case)
    yield from _redirected(case)
    yield from _pnp(case)


def _typed(case: Case, *types: str) -> list[Fact]:
    return [one for one in case.of_kind(Kind.DHCP) if one["type"] in types]


# --- a lease ---------------------------------------------------------------------------------------------


def _lease(case: Case) -> Judged:
    answers = _typed(case, "offer", "ack", "nak")
    last = answers[-1].at if answers else float("-inf")
    unheard = [one for one in _typed(case, "discover") if one.at > last]
    if len(unheard) > (1 if answers else 0):  # the last one of a good capture may still be answered
        yield from _unheard(case, unheard)
    for one in _typed(case, "ack"):
        rungs = _LEASED - {Rung.DHCP} if _is_shut_in(one) else _LEASED
        yield Mark(rungs, one.at, one.witness, f"it has the address {one['address']}" if one["address"] else "leased")
    for one in _typed(case, "nak"):
        yield Finding(19, one.at, (one.witness,), "the DHCP server says no to the address that it wants")
    yield from _turned_down(case)
    yield from _no_router(case)


def _unheard(case: Case, asked: list[Fact]) -> Judged:
    if case.blind:
        yield Gap(Rung.DHCP, "frames were lost, so an offer may have come")
        return
    last = asked[-1]
    tagged = last["vlan"] not in _UNTAGGED
    says = f"DISCOVER in VLAN {last['vlan']} without an offer" if tagged else "DISCOVER without an offer"
    yield Finding(4 if tagged else 10, last.at, (last.witness,), says, sure=len(asked) > 1)


def _turned_down(case: Case) -> Iterator[Finding]:
    """Offered at least twice, and nothing was asked for."""
    offers = _typed(case, "offer")
    wanted = _typed(case, "request", "ack", "inform")
    asked_again = [one for one in _typed(case, "discover") if offers and one.at > offers[0].at]
    if len(offers) < 2 or wanted or not asked_again or case.blind:
        return
    lacks = not any(one["option_43"] or one["option_125"] for one in offers)
    yield Finding(16, offers[-1].at, (offers[-1].witness,), f"{len(offers)} offers, no REQUEST", sure=lacks)


def _is_shut_in(ack: Fact) -> bool:
    """A lease without a router: nothing outside its own network answers it."""
    return "router" in ack.values and not ack["router"]


def _no_router(case: Case) -> Iterator[Finding]:
    last = _typed(case, "ack")[-1:]
    if last and _is_shut_in(last[0]):
        yield Finding(19, last[0].at, (last[0].witness,), "the lease names no router", sure=False)


def _conflict(case: Case) -> Iterator[Finding]:
    holders = case.of_kind(Kind.ADDRESS_CONFLICT)
    for one in holders:
        holder = f", which {one['holder']} has" if one["holder"] else ""
        yield Finding(11, one.at, (one.witness,), f"address {one['address'] or '?'}{holder}")
    for one in _typed(case, "decline"):
        yield Finding(11, one.at, (one.witness,), f"it declines {one['address'] or 'its address'}", sure=not holders)


# --- where the files are ---------------------------------------------------------------------------------


def _option(case: Case) -> Judged:
    rivals = list(_two_servers(case))
    yield from rivals
    leases = _typed(case, "ack") or _typed(case, "offer")
    if not leases:
        return
    boots = [one for one in leases if _is_of_boot(case, one)]
    told = (boots or leases)[-1]
    values = _told(told)
    if not values and (rivals or not boots):
        return  # whose offer it took is what is wrong, and that has been told; or it only keeps what it has
    trouble = list(_troubles(case, told, values))
    kept = not boots and case.served > told.at - case.subject.rules.silent_after
    yield from (replace(one, side=True) if kept else one for one in trouble)
    if values and not trouble:
        name, text = next(iter(values.items()))
        yield Mark(frozenset({Rung.BOOT_OPTION}), told.at, told.witness, f"{_named(name)} says {text}", heals=False)


def _is_of_boot(case: Case, lease: Fact) -> bool:
    return any(0 <= lease.at - one.at <= _BOOT for one in _typed(case, "discover"))


def _told(one: Fact) -> dict[str, str]:
    return {name: one[name] for name in _ALL if one[name]}


def _named(name: str) -> str:
    return name.replace("_", " ")


def _troubles(case: Case, told: Fact, values: dict[str, str]) -> Iterator[Finding]:
    seen = (told.witness,)
    urls = {name: text for name, text in values.items() if name != "option_67"}
    if not values:
        yield from _nowhere(case, told)
    elif set(values) == {"option_43"} and not _HOSTLIKE.fullmatch(_plain(values["option_43"])):
        yield Finding(15, told.at, seen)
    yield from _differ(case, told, urls)
    if any(f"option_{number}" in values for number in told["full"].split(",")):
        yield Finding(18, told.at, seen, "an option is as long as an option can be")
    yield from _misread(case, told, urls)


def _differ(case: Case, told: Fact, urls: dict[str, str]) -> Iterator[Finding]:
    """A name and an address of one server do not; nor does a URL beside its bare host, which is for other phones."""
    plain = {text for one in urls.values() if _HOSTLIKE.fullmatch(text := _plain(one))}
    hosts = {"" if _is_ours(case, host_of(one)) else host_of(one) for one in plain}
    if len(hosts) > 1 or len([one for one in plain if "://" in one]) > 1:
        says = ", ".join(f"{_named(name)} says {text}" for name, text in urls.items())
        yield Finding(13, told.at, (told.witness,), says, sure=len(hosts) > 1 and "" not in hosts)


def _is_ours(case: Case, host: str) -> bool:
    return host in case.subject.names or host in case.places


def _plain(text: str) -> str:
    return text.replace("\\x00", "").replace("\\0", "").strip("\x00 ").rstrip("/")


def _nowhere(case: Case, told: Fact) -> Iterator[Finding]:
    if "://" in told["sname"] + told["file"]:
        yield Finding(18, told.at, (told.witness,), f"the URL stands in {'file' if '://' in told['file'] else 'sname'}")
        return
    if knows_where(case):
        return
    asked = [one["asked"] for one in _typed(case, "discover", "request") if one["asked"]]
    wants = set(asked[-1].replace(" ", "").split(",")) if asked else set(OPTIONS)
    says = "the lease has none" if wants & set(OPTIONS) else "it asks for none: it has an address of its own"
    yield Finding(14, told.at, (told.witness,), says)


def _misread(case: Case, told: Fact, urls: dict[str, str]) -> Iterator[Finding]:
    zeros = [name for name, text in urls.items() if "\x00" in text or "\\x00" in text or "\\0" in text]
    if zeros:
        yield Finding(17, told.at, (told.witness,), f"{_named(zeros[0])} ends with a zero byte", sure=False)
    bare = [name for name, text in urls.items() if "://" not in text]
    by_tftp = [one for one in case.of_kind(Kind.TFTP) if one["type"] == "request"]
    if bare and by_tftp:
        says = f"{_named(bare[0])} has no scheme, and it asks by TFTP"
        yield Finding(17, by_tftp[-1].at, (told.witness, by_tftp[-1].witness), says)


def _two_servers(case: Case) -> Iterator[Finding]:
    """Two servers that say the same are a spare one."""
    offers = {one["server"]: one for one in _typed(case, "offer") if one["server"]}
    says = {server: tuple(_told(one).items()) for server, one in offers.items()}
    if len(offers) > 1 and len(set(says.values())) > 1:
        last = max(offers.values(), key=lambda one: one.at)
        text = "; ".join(f"{server} offers {_brief(pairs)}" for server, pairs in sorted(says.items()))
        yield Finding(12, last.at, tuple(offers[server].witness for server in sorted(offers)), text)


def _brief(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{_named(name)} {text}" for name, text in pairs) or "no boot option"


# --- sent elsewhere --------------------------------------------------------------------------------------


def _redirected(case: Case) -> Iterator[Finding]:
    """It asked its maker, and then a host that is not ours."""
    asked = [
        one for one in (*case.of_kind(Kind.HELLO), *case.of_kind(Kind.DNS))
        if is_redirector(one["sni"] or one["name"])
    ]  # fmt: skip
    if not asked or not case.subject.addresses:
        return
    first = min(one.at for one in asked)
    # The first one that it reaches afterwards is the maker itself.
    after = [one for one in case.connections if case.foreign(one) and one.facts[0].at > first]
    hosts = [one for one in after if not is_redirector(one.said(Kind.HELLO, "sni")) and one.has(Kind.HELLO)]
    if hosts:
        last = hosts[-1].last
        name = hosts[-1].said(Kind.HELLO, "sni") or hosts[-1].to
        yield Finding(69, last.at, (asked[0].witness, last.witness), f"it was sent to {name}")


def _pnp(case: Case) -> Iterator[Finding]:
    told = [one for one in case.of_kind(Kind.PNP) if one["type"] == "notify" and one["url"]]
    urls = {one["url"]: one for one in told}
    if len(urls) > 1:
        says = ", ".join(f"{one['from'] or 'one'} says {url}" for url, one in sorted(urls.items()))
        yield Finding(70, told[-1].at, tuple(one.witness for one in urls.values()), says)
    elif told and case.subject.names and not any(name in told[-1]["url"] for name in case.subject.names):
        yield Finding(70, told[-1].at, (told[-1].witness,), f"it was told {told[-1]['url']}", sure=False)
