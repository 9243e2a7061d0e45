"""A refused handshake becomes a row of the catalogue: by the alert, by our own word for it, by both chains. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from provisioner.diagnosis.case import Case, Connection, Finding, moment, number
from provisioner.diagnosis.facts import Fact, Kind, Source, Witness
from provisioner.diagnosis.rungs.times import is_wrong

_INSPECTORS: Final = re.compile(
    r"proxy|inspect|forti(?:gate|net)|zscaler|palo ?alto|sophos|sonicwall|watchguard|check ?point|barracuda|netskope"
    r"|blue ?coat|umbrella|untrusted ca",
    re.I,
)
"""What firewalls call the CA with which they open TLS."""
_CN: Final = re.compile(r"(?:^|[,/ ])CN ?= ?([^,/]+)")
_MODERN: Final = re.compile(r"1\.[23]|0x?030[34]")
_SMALL: Final = 1024
"""bits"""


def by_phone(case: Case, one: Connection, fact: Fact) -> Finding:
    """The phone has refused the server."""
    code, words = _said(fact)
    chain = one.first(Kind.CHAIN, by="server")
    seen = _witnesses(fact, chain)
    says = f"{_named(fact)} from the phone"
    if code == "48" or "unknown ca" in words:
        row = _unknown_ca(case, one, chain)
        return Finding(row, fact.at, seen, says, sure=row != 39 or chain is not None)
    if code == "45" or "expired" in words:
        return _out_of_date(case, one, fact, says)
    if code == "42" or "bad certificate" in words:
        return _bad_certificate(case, one, fact, says)
    if code == "70" or "protocol version" in words:
        return Finding(46, fact.at, seen, says, sure=False)
    if code == "40" or "handshake failure" in words:
        return Finding(48 if _is_new_kind(one) else 45, fact.at, seen, says, sure=False)
    return Finding(36 if "wrong version" in words else 39, fact.at, seen, says, sure=False)


def by_server(one: Connection, fact: Fact) -> Finding:
    """The server has refused the phone."""
    code, words = _said(fact)
    chain = one.first(Kind.CHAIN, by="phone")
    row, sure = _server_row(one, code, words, chain)
    sure = sure and fact["sure"] != "no"
    return Finding(row, fact.at, _witnesses(fact, chain), f"{_named(fact)} from the server", sure=sure)


def _said(fact: Fact) -> tuple[str, str]:
    words = f"{fact['name']} {fact['why']}".lower().replace("_", " ").replace("-", " ")
    return fact["code"].strip(), words


def _named(fact: Fact) -> str:
    if fact.kind is Kind.ALERT:
        name = f" ({fact['name']})" if fact["name"] else ""
        return f"alert {fact['code'] or '?'}{name}"
    shape = "a refusal by the shape of its records" if fact["why"] == "record_shape" else fact["why"]
    return shape or "a refusal"


def _witnesses(fact: Fact, chain: Fact | None) -> tuple[Witness, ...]:
    return (fact.witness, chain.witness) if chain is not None else (fact.witness,)


# --- the phone -----------------------------------------------------------------------------------------


def _unknown_ca(case: Case, one: Connection, chain: Fact | None) -> int:
    """Inspection shows another chain than ours; one alone lacks its intermediate; old Cisco phones take few CAs."""
    if chain is not None and _is_inspected(case, one, chain):
        return 35
    if chain is not None and chain["length"] == "1" and chain["issuer"] != chain["subject"]:
        return 40
    if case.vendor == "cisco" and re.match(r"(?:spa|ata|pap|wrp)", case.model, re.I):
        return 41
    return 39


def _is_inspected(case: Case, one: Connection, chain: Fact) -> bool:
    """By what such CAs are called; and where the phone asked for our name, by another issuer than ours."""
    if chain.witness.source is Source.SERVER or not chain["issuer"]:
        return False
    if _INSPECTORS.search(chain["issuer"] + chain["root"]):
        return True
    issuer = _CN.search(chain["issuer"])
    if issuer is None or not case.subject.issuers:
        return False
    asked = one.said(Kind.HELLO, "sni").lower() in case.subject.names
    return asked and issuer[1].strip().lower() not in case.subject.issuers


def _out_of_date(case: Case, one: Connection, fact: Fact, says: str) -> Finding:
    """The certificate has ended, or the phone lives in the future."""
    chain = one.first(Kind.CHAIN, by="server")
    seen = _witnesses(fact, chain)
    _, ends = _validity(case, one)
    if ends is None:
        return Finding(42, fact.at, seen, says, sure=False)
    if ends < fact.at:
        return Finding(42, fact.at, seen, f"{says}: the server's certificate ended before that")
    return Finding(26 if _told_wrong(case) else 25, fact.at, seen, f"{says}, though the certificate is valid")


def _bad_certificate(case: Case, one: Connection, fact: Fact, says: str) -> Finding:
    """Mostly a clock at its default; it is the certificate where that has really not begun yet, or time was told."""
    chain = one.first(Kind.CHAIN, by="server")
    seen = _witnesses(fact, chain)
    if server_dates(case, one, fact.at):
        return Finding(42, fact.at, seen, f"{says}: the server's certificate is not valid today")
    told = [each for each in case.of_kind(Kind.NTP) if each["type"] == "answer"]
    if told and _told_wrong(case):
        return Finding(26, fact.at, (*seen, told[-1].witness), says)
    if told:
        return Finding(39, fact.at, seen, f"{says}, and its clock was told the time", sure=False)
    asked = [each for each in case.of_kind(Kind.NTP) if each["type"] == "query"]
    if asked and not case.blind:
        return Finding(25, fact.at, (*seen, asked[-1].witness), f"{says}, and no time server has answered it")
    return Finding(25, fact.at, seen, says, sure=False)


def _told_wrong(case: Case) -> bool:
    answers = [one for one in case.of_kind(Kind.NTP) if one["type"] == "answer"]
    return bool(answers) and all(map(is_wrong, answers))


def _validity(case: Case, one: Connection) -> tuple[float | None, float | None]:
    """Of the certificate that was shown on it; this server knows its own without being shown it."""
    chain = one.first(Kind.CHAIN, by="server")
    if chain is not None:
        return moment(chain["not_before"]), moment(chain["not_after"])
    return (case.subject.begins, case.subject.ends) if one.server_saw else (None, None)


def server_dates(case: Case, one: Connection, at: float) -> bool:
    """Whether the server's certificate was not valid at that time."""
    begins, ends = _validity(case, one)
    return (begins is not None and begins > at) or (ends is not None and ends < at)


# --- the server ----------------------------------------------------------------------------------------


def _server_row(one: Connection, code: str, words: str, chain: Fact | None) -> tuple[int, bool]:
    for row in _by_words(words):
        return row, True
    if code in {"116"} or (code in {"40", ""} and chain is not None and chain["length"] == "0"):
        return 55, True
    if code == "40" or "no shared cipher" in words or "handshake fail" in words:
        return _no_common_ground(one)
    if code == "70":
        return 46, True
    if code == "48" or "unknown ca" in words or "local issuer" in words:
        return (50 if chain is not None and chain["length"] == "1" else 49), True
    if code in {"45", "43"}:
        return (51 if code == "45" else 60), True
    return _by_chain(code, chain)


_WORDS: Final = (
    (re.compile(r"not yet valid"), 52),
    (re.compile(r"has expired"), 51),
    (re.compile(r"key too (?:weak|small)"), 53),
    (re.compile(r"digest too weak|md too weak"), 54),
    (re.compile(r"did not return a certificate|certificate required"), 55),
    (re.compile(r"signature algorithm"), 47),
    (re.compile(r"unsupported protocol|old version|sslv2|protocol version"), 46),
    (re.compile(r"certificate purpose|unsupported certificate"), 60),
    (re.compile(r"plain http|http request|tls on plain"), 36),
    (re.compile(r"self.signed"), 49),
)


def _by_words(words: str) -> Iterator[int]:
    return (row for pattern, row in _WORDS if pattern.search(words))


def _no_common_ground(one: Connection) -> tuple[int, bool]:
    """RFC 5246 section 7.4.1.4.1: TLS 1.2 without signature algorithms means SHA-1, which no library takes any more."""
    hello = one.first(Kind.HELLO)
    if hello is None:
        return 45, False
    versions = hello["versions"]
    if versions and not _MODERN.search(versions):
        return 46, True
    if "signature_algorithms" in hello.values and not hello["signature_algorithms"]:
        return 47, True
    return (48, False) if _is_new_kind(one) else (45, True)


def _is_new_kind(one: Connection) -> bool:
    """An EC key or a long RSA key, and a hello that is not made for it."""
    chain, hello = one.first(Kind.CHAIN, by="server"), one.first(Kind.HELLO)
    if chain is None:
        return False
    key = chain["key"].upper()
    if key.startswith("EC"):
        return hello is None or "ECDSA" not in hello["suites"].upper()
    return "4096" in key or "SHA384" in chain["signature"].upper().replace("-", "")


def _by_chain(code: str, chain: Fact | None) -> tuple[int, bool]:
    """A refusal without its reason: what the phone presented must tell."""
    if chain is None:
        return (49 if code else 55), False
    if chain["length"] == "0":
        return 55, True
    if row := phone_dates(chain):
        return row, True
    if row := _weakness(chain):
        return row, True
    return (50 if chain["length"] == "1" else 49), False


def phone_dates(chain: Fact) -> int:
    """Row of a phone's certificate that was not valid when it came; 0 for a valid one."""
    begins, ends = moment(chain["not_before"]), moment(chain["not_after"])
    if ends is not None and ends < chain.at:
        return 51
    return 52 if begins is not None and begins > chain.at else 0


def _weakness(chain: Fact) -> int:
    signature = chain["signature"].lower().replace("-", "")
    if "sha1" in signature or "md5" in signature:
        return 54
    bits = number(re.sub(r"\D", "", chain["key"]))
    return 53 if chain["key"].upper().startswith("RSA") and 0 < bits <= _SMALL else 0


def weak_row(why: str, one: Connection) -> int:
    """Whether it is the key or the hash that is weak."""
    if re.search(r"sha-?1|md5|hash|sign", why, re.I):
        return 54
    chain = one.first(Kind.CHAIN, by="phone")
    return (_weakness(chain) if chain else 0) or 53


def is_leaf_only(one: Connection, verdict: Fact) -> bool:
    """It came without its chain, and did not sign itself."""
    chain = one.first(Kind.CHAIN, by="phone")
    if verdict["verdict"] == "self_signed":
        return False
    alone = chain is not None and chain["length"] == "1" and chain["issuer"] != chain["subject"]
    return alone or "came without a chain" in verdict["why"]
