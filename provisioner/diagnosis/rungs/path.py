"""TCP: whether packets get to the server and back, told from a capture or from what the kernel counts. Pure.

Rule: an RST behind the phone's own FIN, or behind an alert, is how connections end and no cause of anything.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from provisioner.diagnosis.case import Case, Connection, Finding, Gap, Judged, Mark, below, number
from provisioner.diagnosis.catalogue import Rung
from provisioner.diagnosis.facts import Fact, Kind, Source

_ANSWERED: Final = (
    Kind.SYN_ACK, Kind.RESET, Kind.UNREACHABLE, Kind.STALLED, Kind.HELLO, Kind.SERVER_HELLO, Kind.CHAIN, Kind.ALERT,
    Kind.TLS_DONE, Kind.TLS_REFUSED, Kind.VERDICT, Kind.REQUEST, Kind.ANSWER, Kind.REFUSED_EARLY,
)  # fmt: skip
_BEYOND_HELLO: Final = (
    Kind.SERVER_HELLO, Kind.CHAIN, Kind.ALERT, Kind.TLS_DONE, Kind.TLS_REFUSED, Kind.VERDICT, Kind.ANSWER,
    Kind.RESET, Kind.UNREACHABLE, Kind.STALLED, Kind.REFUSED_EARLY,
)  # fmt: skip
_THERE_AND_BACK: Final = (Kind.ALERT, Kind.TLS_DONE, Kind.VERDICT, Kind.ANSWER)
_REPEATED: Final = 3
"""SYN-ACKs without anything behind them: the phone does not get them."""
_MANY: Final = 5
"""Repeated segments of one connection: fewer happen on every network."""
_TOGETHER: Final = 120.0
"""s within which two attempts belong to one boot."""
_NEAR: Final = 5.0
"""s between two witnesses' clocks."""
_FORBIDDEN: Final = frozenset({"admin", "host", "port", "net"})


def judge(case: Case) -> Judged:
    """One connection after the other, then what the network says of its own accord."""
    for one in case.ours():
        yield from _judge_connection(case, one)
    for one in case.connections:
        if case.foreign(one) and one.has(Kind.SYN_ACK):
            yield Mark(below(Rung.ADDRESS), one.facts[0].at, one.facts[0].witness, f"it reaches {one.to}")
    for lost in case.of_kind(Kind.ICMP_LOST):
        yield from _told_by_network(lost)


def _judge_connection(case: Case, one: Connection) -> Judged:
    yield from _marks(one)
    yield from _unanswered(case, one)
    yield from _unreturned(one)
    yield from _resets(case, one)
    for fact in one.of(Kind.UNREACHABLE):
        if _is_of_the_way(one, fact):
            yield from _told_by_network(fact)
    for fact in one.of(Kind.STALLED):
        yield from _stalled(one, fact)
    yield from _no_server_hello(case, one)
    for fact in one.of(Kind.RETRANSMITTED):
        if number(fact["times"]) >= _MANY:
            yield Finding(32, fact.at, (fact.witness,), f"{fact['times']} segments were repeated", sure=False)
    for fact in one.of(Kind.REFUSED_EARLY, by="gate"):
        yield Finding(37, fact.at, (fact.witness,), f"turned away before TLS: {fact['why'] or 'too many wait'}")


def _marks(one: Connection) -> Iterator[Mark]:
    first = one.facts[0]
    if one.server_saw and one.of(*_ANSWERED):
        says = "it has reached this server"
        yield Mark(below(Rung.DNS), first.at, first.witness, says)
    if ack := one.first(Kind.SYN_ACK):
        yield Mark(below(Rung.DNS), ack.at, ack.witness, "its SYN was answered")
        if not _answer_is_lost(one):
            yield Mark(frozenset({Rung.TCP}), ack.at, ack.witness, "its SYN was answered", heals=False)
    for fact in one.of(*_THERE_AND_BACK):
        yield Mark(below(Rung.DNS) | {Rung.TCP}, fact.at, fact.witness, "packets go both ways")


def _answer_is_lost(one: Connection) -> bool:
    """Frames at the server show its SYN-ACK, and those at the phone do not; nothing came of it."""
    beyond = [fact for fact in one.of(*_ANSWERED) if fact.kind is not Kind.SYN_ACK]
    return not beyond and any(syn["at_server"] == "answered" for syn in one.of(Kind.SYN))


def _unanswered(case: Case, one: Connection) -> Judged:
    syn = next(iter(reversed(one.of(Kind.SYN))), None)
    if syn is None or (one.of(*_ANSWERED) and not _answer_is_lost(one)):
        return
    if case.blind:
        yield Gap(Rung.TCP, "frames were lost, so the SYN may have been answered")
        return
    if _answer_is_lost(one):
        yield Finding(30, syn.at, (syn.witness,), "the server has answered it, and the answer did not come back")
        return
    sure = syn["at_server"] == "no" and (number(syn["times"]) > 1 or len(one.of(Kind.SYN)) > 1)
    where = f"{syn['to'] or 'the server'} port {syn['port'] or '?'}"
    row = 27
    if ":" in syn["to"]:
        row = 24
    elif _other_answers(case, one):
        row = 23
    yield Finding(row, syn.at, (syn.witness,), f"SYN to {where}, {syn['times'] or 1} times, no answer", sure=sure)


def _other_answers(case: Case, dead: Connection) -> bool:
    """Another address of the same name that answers in the same boot."""
    begun = dead.facts[0].at
    others = {one for among in case.resolved if dead.to in among for one in among} - {dead.to}
    return any(abs(at - begun) < _TOGETHER for one in others for at in case.answering.get(one, ()))


def _unreturned(one: Connection) -> Iterator[Finding]:
    acks = one.of(Kind.SYN_ACK)
    times = sum(max(1, number(ack["times"])) for ack in acks)
    if times >= _REPEATED and not one.has(*_BEYOND_HELLO, Kind.HELLO, Kind.REQUEST):
        says = f"the server has answered {times} times and was never heard"
        yield Finding(30, acks[-1].at, (acks[-1].witness,), says)


def _resets(case: Case, one: Connection) -> Iterator[Finding]:
    for fact in one.of(Kind.RESET):
        if fact["by"] == "phone" or (one.left_at is not None and one.left_at <= fact.at):
            continue
        if any(other.at <= fact.at for other in one.of(Kind.ALERT, Kind.TLS_REFUSED)):
            continue
        if fact["after"] == "syn":
            between = fact["by"] == "between"
            yield Finding(29 if between else 28, fact.at, (fact.witness,), "RST to its SYN", sure=between or _far(fact))
        elif fact["after"] == "hello":
            yield _cut(case, one, fact)


def _far(fact: Fact) -> bool:
    """Only the server's own frames prove that it was the server."""
    return fact.witness.source is Source.SERVER


def _cut(case: Case, one: Connection, fact: Fact) -> Finding:
    told = fact["ttl"] and fact["ttl_syn_ack"] and fact["ttl"] != fact["ttl_syn_ack"]
    if fact["by"] == "between" or told:
        return Finding(33, fact.at, (fact.witness,), "something between has sent the RST: its TTL is another one")
    if one.server_saw or _server_saw_hello(case, fact.at):
        return Finding(33, fact.at, (fact.witness,), "the server has seen the ClientHello")
    return Finding(33, fact.at, (fact.witness,), "the server has not been seen to get the ClientHello", sure=False)


def _server_saw_hello(case: Case, at: float) -> bool:
    place = bisect_right(case.greeted, at - _NEAR)
    return place < len(case.greeted) and case.greeted[place] < at + _NEAR


def _told_by_network(fact: Fact) -> Iterator[Finding]:
    if fact["code"] == "fragmentation":
        mtu = f" (MTU {fact['mtu']})" if fact["mtu"] else ""
        yield Finding(31, fact.at, (fact.witness,), f"ICMP: fragmentation needed{mtu}", sure=False)
    elif fact["code"] in _FORBIDDEN:
        yield Finding(29, fact.at, (fact.witness,), f"ICMP: {fact['code']} unreachable")


def _is_of_the_way(one: Connection, fact: Fact) -> bool:
    """A closed UDP port is its service's matter: time, names, syslog, the PBX. What was heeded is none any more."""
    if fact["code"] == "port" and not fact["connection"]:
        return False
    return fact["code"] != "fragmentation" or not _got_through(one)


def _got_through(one: Connection) -> bool:
    """The server has heeded what it was told: that is how it should be (RFC 1191)."""
    return one.has(Kind.TLS_DONE) or any(fact["complete"] == "yes" for fact in one.of(Kind.ANSWER))


def _stalled(one: Connection, fact: Fact) -> Iterator[Finding]:
    """What the kernel counts tells three things apart: a hole, a lost way back, a phone that has fallen silent."""
    repeated, sacked, lost = (number(fact[name]) for name in ("retransmits", "sacked", "lost"))
    seen, where = (fact.witness,), f"stalled in the {fact['in'] or 'connection'}"
    counted = f"{where}: {repeated} retransmits, {sacked} sacked, {lost} lost"
    if sacked and lost:  # the phone's side sees the hole, and not that the server repeats what is lost
        yield Finding(31, fact.at, seen, counted, sure=bool(repeated))
    elif repeated:
        yield Finding(32 if sacked else 30, fact.at, seen, counted)
    elif fact["waits_for"] == "server":
        yield Finding(37, fact.at, seen, f"{where}: the server says nothing", sure=False)
    elif fact["in"] in {"handshake", "hello"} and _is_the_phones_turn(one, fact):
        yield Finding(85, fact.at, seen, f"{where}: it has acknowledged everything", sure=False)


def _is_the_phones_turn(one: Connection, fact: Fact) -> bool:
    """Nothing is on its way to it; told by the server's kernel, or by frames."""
    return (one.server_saw or fact["waits_for"] == "phone") and not number(fact["unacked"])


def _no_server_hello(case: Case, one: Connection) -> Judged:
    """What comes when the phone has left is no answer any more."""
    hello, left = one.first(Kind.HELLO), one.left_at
    if hello is None or one.server_saw:
        return
    if any(left is None or fact.at < left for fact in one.of(*_BEYOND_HELLO, Kind.REQUEST)):
        return
    if case.blind:
        yield Gap(Rung.TCP, "frames were lost, so a ServerHello may have come")
    else:
        waited = f" within {left - hello.at:.0f} s" if left is not None else ""
        yield Finding(37, hello.at, (hello.witness,), f"no ServerHello{waited}", sure=False)
