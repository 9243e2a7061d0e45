"""DNS: whether the server's name becomes an address, and the right one. Pure.

Only a name that never became an address is a finding: phones ask for many names, also for ones that need not exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from provisioner.diagnosis.case import Case, Finding, Gap, Judged, Mark
from provisioner.diagnosis.catalogue import Rung
from provisioner.diagnosis.facts import Fact, Kind
from provisioner.diagnosis.rungs.heading import told_hosts

_RECORDS: Final = frozenset({"", "A", "AAAA"})
"""SRV and NAPTR are asked for and not needed."""
_FINE: Final = frozenset({"", "0", "NOERROR"})
_MISSING: Final = frozenset({"3", "NXDOMAIN"})


def judge(case: Case) -> Judged:
    """One name after the other; where our own is asked for, or one that it was told, no other counts."""
    told: dict[str, list[Fact]] = {}
    for one in case.of_kind(Kind.DNS):
        if one["name"] and one["record"].upper() in _RECORDS:
            told.setdefault(_name(one), []).append(one)
    own = {name for name in told if name in case.subject.names}
    own = own or told.keys() & told_hosts(case)
    for name in sorted(own or set(told)):
        for said in _judge_name(case, name, told[name]):
            if own or not isinstance(said, Finding):
                yield said
            else:
                yield from _doubted(case, said)


def _doubted(case: Case, one: Finding) -> Iterator[Finding]:
    """A name that nobody has told it is perhaps not the server's; surely not where it then goes somewhere."""
    if not any(syn.at >= one.at for each in case.ours() for syn in each.of(Kind.SYN)):
        yield replace(one, sure=False)


def _name(one: Fact) -> str:
    return one["name"].rstrip(".").lower()


def _judge_name(case: Case, name: str, told: list[Fact]) -> Judged:
    answers = [one for one in told if one["type"] == "answer"]
    good = [one for one in answers if one["rcode"].upper() in _FINE and one["addresses"]]
    if good:
        yield from _resolved(case, name, good[-1])
    elif answers:
        yield from _refused(name, answers)
    elif case.blind:
        yield Gap(Rung.DNS, "frames were lost, so the name server may have answered")
    else:
        asked = told[-1]
        yield Finding(21, asked.at, (asked.witness,), f"nobody answers what {name} is", sure=len(told) > 1)


def _resolved(case: Case, name: str, answer: Fact) -> Judged:
    addresses = {text.strip() for text in answer["addresses"].split(",")}
    if name in case.subject.names and case.subject.addresses and not addresses & case.subject.addresses:
        says = f"{name} is {answer['addresses']}; this server is {', '.join(sorted(case.subject.addresses))}"
        yield Finding(22, answer.at, (answer.witness,), says)
        return
    says = f"{name} is {answer['addresses']}"
    if all(":" in one for one in addresses) and not _speaks_ipv6(case):
        yield Finding(20, answer.at, (answer.witness,), f"{says}: IPv6 alone, and the phone uses none", sure=False)
        return
    yield Mark(frozenset({Rung.DNS}), answer.at, answer.witness, says, heals=False)


def _speaks_ipv6(case: Case) -> bool:
    """Whether it has opened a connection over IPv6, or tried."""
    return any(":" in one.to for one in case.connections)


def _refused(name: str, answers: list[Fact]) -> Iterator[Finding]:
    """That it does not exist outweighs a name server that failed once."""
    missing = [one for one in answers if one["rcode"].upper() in _MISSING]
    empty = [one for one in answers if one["rcode"].upper() in _FINE]
    last = (missing or empty or answers)[-1]
    if missing:
        yield Finding(20, last.at, (last.witness,), f"{name} does not exist")
    elif empty:
        yield Finding(20, last.at, (last.witness,), f"{name} has no address")
    else:
        yield Finding(21, last.at, (last.witness,), f"the name server answers {last['rcode']} for {name}")
