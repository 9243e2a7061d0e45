"""TLS: who has refused whom, and why. An alert's code is ambiguous; the hello and the chains decide. Pure.

Rule: the dates of a phone's certificate are judged also where nobody has complained, and that TLS came to its end is
never the last word: a phone that then leaves without asking has refused the server all the same.
"""

from __future__ import annotations

from typing import Final

from provisioner.diagnosis.case import DOT1X, Case, Connection, Finding, Judged, Mark, below, number
from provisioner.diagnosis.catalogue import Rung
from provisioner.diagnosis.facts import Fact, Kind, Source, Witness
from provisioner.diagnosis.rungs.refusals import (
    by_phone,
    by_server,
    has_its_name,
    is_leaf_only,
    is_nameless,
    other_name,
    phone_dates,
    server_dates,
    weak_row,
)

_TRUSTED: Final = below(Rung.PHONE_TRUSTS)
_GOOD: Final = frozenset({"200", "201", "204", "206", "304"})
_TOGETHER: Final = 60.0
"""s between what two witnesses saw of one attempt."""
_BOOT: Final = 600.0
"""s: connections of one boot; a phone may open more of them than it needs."""
_ENDS: Final = frozenset({"0", "90", "100"})
"""Alerts that refuse nothing: close_notify, user_canceled, no_renegotiation (RFC 5246 section 7.2)."""
_NAME_UNKNOWN: Final = "112"
"""RFC 6066 section 3: as a warning it says nothing to those who go on."""
_VERDICTS: Final = {"untrusted": 49, "self_signed": 49, "expired": 51, "not_yet_valid": 52, "none": 55, "generic": 56}
_CUT_MODELS: Final = ("spa2102", "spa3102", "spa9000")
"""Made with wrong certificates, some of them."""


def judge(case: Case) -> Judged:
    """One connection after the other."""
    for one in case.ours():
        yield from _judge_connection(case, one)


def _judge_connection(case: Case, one: Connection) -> Judged:
    refused_by_phone = _refusal(one, "phone")
    refused_by_server = _refusal(one, "server")
    if refused_by_phone is not None:
        yield by_phone(case, one, refused_by_phone)
    if refused_by_server is not None:
        yield by_server(one, refused_by_server)
    if refused_by_phone is None and refused_by_server is None:
        yield from _accepted(case, one)
    yield from _chain(one)
    for fact in one.of(Kind.VERDICT):
        yield from _verdict(case, one, fact)


def _refusal(one: Connection, by: str) -> Fact | None:
    """The first that ended it; an alert of the other side's behind it is only an answer."""
    done = one.first(Kind.TLS_DONE)
    found = [
        fact for fact in one.of(Kind.ALERT, Kind.TLS_REFUSED) if fact.kind is not Kind.ALERT or _refuses(fact, done)
    ]
    mine = [fact for fact in found if fact["by"] == by]
    if not mine or any(fact.at < mine[0].at for fact in found if fact["by"] != by):
        return None
    return next((fact for fact in mine if fact.kind is Kind.ALERT), mine[0])


def _refuses(alert: Fact, done: Fact | None) -> bool:
    """Behind a warning both may go on; where the handshake then came to its end, they did."""
    if alert["code"] in _ENDS or not (alert["code"] or alert["name"]):
        return False
    if alert["level"] == "warning" and alert["code"] == _NAME_UNKNOWN:
        return False
    return done is None or alert.at >= done.at


def _accepted(case: Case, one: Connection) -> Judged:
    done = one.first(Kind.TLS_DONE)
    if done is None:
        yield from _left(one)
        return
    if one.has(Kind.REQUEST, Kind.ANSWER, Kind.UPLOAD):
        last = one.of(Kind.REQUEST, Kind.ANSWER, Kind.UPLOAD)[-1]
        yield Mark(_TRUSTED, last.at, done.witness, f"it asks over {done['version'] or 'TLS'}")
        return
    yield Mark(frozenset({Rung.TCP}), done.at, done.witness, f"{done['version'] or 'TLS'} is agreed on", heals=False)
    ended = one.first(Kind.CLOSED, by="phone") or one.first(Kind.RESET, by="phone") or one.first(Kind.CLOSED)
    if ended is not None and _has_spoken(done, ended):
        yield Mark(_TRUSTED, ended.at, done.witness, f"it speaks inside {done['version']}")
    if ended is None or ended["after"] not in {"", "handshake"} or _was_served(case, ended.at):
        return
    if server_dates(case, one, ended.at):
        yield Finding(42, ended.at, _seen(one, ended), "the server's certificate is not valid today")
        return
    yield _without_a_word(one, done, ended)


def _has_spoken(done: Fact, ended: Fact) -> bool:
    """Up to TLS 1.2 what comes encrypted behind the handshake is no alert in disguise: the phone trusts the server."""
    return done["version"] in {"TLSv1.0", "TLSv1.1", "TLSv1.2"} and ended["after"] in {"request", "answer"}


def _without_a_word(one: Connection, done: Fact, ended: Fact) -> Finding:
    """What the certificate says of its name tells the causes apart, where it was seen."""
    nameless = is_nameless(one) and not one.server_saw
    left = ended["by"] == "phone"
    says = f"complete handshake, no request, {'the phone closes' if left else 'then closed'}"
    seen = (done.witness, ended.witness)
    if other := other_name(one):
        return Finding(43, ended.at, seen, f"{says}: the certificate is for {other}", sure=left)
    if has_its_name(one):
        return Finding(39, ended.at, seen, f"{says}; the name is not why", sure=False)
    own = one.server_saw  # its certificate is known to be in order, so what is left is the name in the URL
    return Finding(44 if nameless else 43, ended.at, seen, says, sure=left and own and not nameless)


def _left(one: Connection) -> Judged:
    """In the middle of the handshake, without an alert, as this server saw it; others may have missed the alert."""
    ended = one.first(Kind.CLOSED, by="phone") or one.first(Kind.RESET, by="phone")
    if ended is not None and one.server_saw and one.has(Kind.HELLO) and not one.has(Kind.ANSWER, Kind.STALLED):
        yield Finding(85, ended.at, (ended.witness,), "it left in the middle of the handshake", sure=False)


def _was_served(case: Case, at: float) -> bool:
    """In the same boot, on another connection."""
    return any(one["status"] in _GOOD and 0 <= at - one.at < _BOOT for one in case.of_kind(Kind.ANSWER))


def _seen(one: Connection, fact: Fact) -> tuple[Witness, ...]:
    chain = one.first(Kind.CHAIN, by="server")
    return (fact.witness, chain.witness) if chain else (fact.witness,)


# --- the phone's certificate ---------------------------------------------------------------------------


def _chain(one: Connection) -> Judged:
    """What was presented, where no verdict of ours says what that is worth."""
    chain = one.first(Kind.CHAIN, by="phone")
    if chain is None or one.has(Kind.VERDICT) or _refusal(one, "server") is not None:
        return
    if chain["length"] == "0":
        yield Finding(55, chain.at, (chain.witness,), "it sent an empty Certificate message", sure=False)
        return
    row = phone_dates(chain)
    if row:
        yield Finding(row, chain.at, (chain.witness,), f"its certificate: {_dates(chain)}")


def _dates(chain: Fact) -> str:
    return f"not before {chain['not_before'] or '?'}, not after {chain['not_after'] or '?'} (s since 1970)"


def _verdict(case: Case, one: Connection, fact: Fact) -> Judged:
    verdict, why = fact["verdict"], fact["why"] or fact["verdict"]
    seen = (fact.witness,)
    if verdict == "unique":
        yield from _named(case, fact)
    elif verdict == "weak":
        yield Finding(weak_row(why, one), fact.at, seen, why)
    elif "purpose" in why or "vouch for TLS clients" in why:
        yield Finding(60, fact.at, seen, why)
    elif verdict in {"untrusted", "self_signed"}:
        row = 50 if is_leaf_only(one, fact) else 49
        issuer = f"; issuer {fact['issuer']}" if fact["issuer"] else ""
        yield Finding(row, fact.at, seen, f"verdict {verdict}: {why}{issuer}")
    elif verdict == "none" and any(asked["authorization"] for asked in one.of(Kind.REQUEST)):
        return  # it proves itself by a password: whether that is right, the answers tell
    elif verdict == "none" and (shown := _shown_elsewhere(case, fact)):
        to = shown["connection"].partition(">")[2] or "somebody"
        says = f"it shows a certificate to {to}, and this server sees none"
        yield Finding(59, fact.at, (fact.witness, shown.witness), says)
    elif verdict in _VERDICTS:
        yield Finding(_VERDICTS[verdict], fact.at, seen, f"verdict {verdict}: {why}")


def _shown_elsewhere(case: Case, verdict: Fact) -> Fact | None:
    """A certificate that the phone has put on the wire at that time, and not on a connection that this server saw."""
    shown = [
        fact for one in case.connections if not one.server_saw and one.key != DOT1X
        for fact in one.of(Kind.CHAIN, by="phone")
        if number(fact["length"]) and abs(fact.at - verdict.at) < _TOGETHER
    ]  # fmt: skip
    return shown[-1] if shown else None


def _named(case: Case, fact: Fact) -> Judged:
    """It counts as this phone's only where it names it; whose verdict it is without a name is not asked."""
    named = "".join(letter for letter in fact["certificate_mac"].lower() if letter not in ":-. ")
    trusted = below(Rung.SERVER_TRUSTS)
    yield Mark(trusted, fact.at, fact.witness, f"its certificate is good{_of(fact)}")
    if not named or case.subject.mac is None:
        return
    if named == case.subject.mac:
        yield Mark(trusted | {Rung.CERTIFICATE_MAC}, fact.at, fact.witness, "its certificate names this MAC")
        return
    model = case.model.lower().replace("-", "").replace(" ", "")
    wrong = case.vendor == "cisco" and model.startswith(_CUT_MODELS)
    yield Finding(58 if wrong else 57, fact.at, (fact.witness,), f"its certificate names {named}")


def _of(fact: Fact) -> str:
    return f" ({fact['vendor']})" if fact["vendor"] and fact.witness.source is Source.SERVER else ""
