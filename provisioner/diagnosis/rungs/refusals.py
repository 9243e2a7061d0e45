"""A refused handshake becomes a row of the catalogue: by the alert, by our own word for it, by both chains. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from provisioner.diagnosis.case import Case, Connection, Finding, moment, number
from provisioner.diagnosis.catalogue import Party
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
_RSA_OF_TODAY: Final = re.compile(r"ECDHE-RSA-(?:AES(?:128|256)-GCM|CHACHA20)")
_ANY_KEY: Final = re.compile(r"(?:^|,)TLS_(?:AES|CHACHA20)")
"""Suites of TLS 1.3 go with keys of every kind (RFC 8446 section B.4)."""
_OLD_SERVER: Final = 87
"""Either end may be the one that says so."""
_SMALL: Final = 1024
"""bits"""


def by_phone(case: Case, one: Connection, fact: Fact) -> Finding:
    """The phone has refused the server."""
    code, words = _said(fact)
    chain = one.first(Kind.CHAIN, by="server")
    seen = _witnesses(fact, chain)
    says = f"{_named(fact)} from the phone"
    if code == "48" or "unknown ca" in words:
        row, sure = _unknown_ca(case, one, chain)
        return Finding(row, fact.at, seen, says, sure=sure)
    if code == "45" or "expired" in words:
        return _out_of_date(case, one, fact, says)
    if code == "42" or "bad certificate" in words:
        return _bad_certificate(case, one, fact, says)
    if code == "70" or "protocol version" in words:
        return _too_old(one, fact, seen, says)
    if code == "40" or "handshake failure" in words:
        return Finding(48 if _is_new_kind(one) else 45, fact.at, seen, says, sure=False)
    return Finding(36 if "wrong version" in words else 39, fact.at, seen, says, sure=False)


def by_server(one: Connection, fact: Fact) -> Finding:
    """The server has refused the phone."""
    code, words = _said(fact)
    chain = one.first(Kind.CHAIN, by="phone")
    row, sure = _server_row(one, code, words, chain)
    sure = sure and fact["sure"] != "no"
    refused = Party.SERVER if row == _OLD_SERVER else None
    says = f"{_named(fact)} from the server"
    return Finding(row, fact.at, _witnesses(fact, chain), says, sure=sure, refused=refused)


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


def _too_old(one: Connection, fact: Fact, seen: tuple[Witness, ...], says: str) -> Finding:
    """It does not like the version that the server has chosen; which that is stands in the ServerHello."""
    version = one.said(Kind.SERVER_HELLO, "version")
    if version and not _MODERN.search(version):
        return Finding(_OLD_SERVER, fact.at, seen, f"{says}: the server has chosen {version}")
    return Finding(46, fact.at, seen, says, sure=False)


def _unknown_ca(case: Case, one: Connection, chain: Fact | None) -> tuple[int, bool]:
    """Inspection shows another chain than ours; one alone lacks its intermediate; old Cisco phones take few CAs.

    A private root that signs the server's certificate itself sends no more than one either.
    """
    if chain is not None and (inspected := _inspected(case, one, chain)):
        return 35, inspected == _BY_NAME
    if chain is not None and chain["length"] == "1" and chain["issuer"] != chain["subject"]:
        return 40, False
    if case.vendor == "cisco" and re.match(r"(?:spa|ata|pap|wrp)", case.model, re.I):
        return 41, True
    return 39, chain is not None


_BY_NAME, _BY_ISSUER = "name", "issuer"


def _inspected(case: Case, one: Connection, chain: Fact) -> str:
    """By what such CAs are called; and perhaps where the phone asked for our name, by another issuer than ours.

    CAs change their names, and so do administrators their CA: a capture from before our certificate shows another one.
    """
    if chain.witness.source is Source.SERVER or not chain["issuer"]:
        return ""
    if _INSPECTORS.search(chain["issuer"] + chain["root"]):
        return _BY_NAME
    issuer = _CN.search(chain["issuer"])
    if issuer is None or not case.subject.issuers or chain.at < (case.subject.begins or chain.at):
        return ""
    asked = one.said(Kind.HELLO, "sni").lower() in case.subject.names
    return _BY_ISSUER if asked and issuer[1].strip().lower() not in case.subject.issuers else ""


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
    if other := other_name(one):
        return Finding(43, fact.at, seen, f"{says}: the certificate is for {other}")
    told = [each for each in case.of_kind(Kind.NTP) if each["type"] == "answer"]
    if told and _told_wrong(case):
        return Finding(26, fact.at, (*seen, told[-1].witness), says)
    asked = [each for each in case.of_kind(Kind.NTP) if each["type"] == "query"]
    if asked and not told and not case.blind:
        return Finding(25, fact.at, (*seen, asked[-1].witness), f"{says}, and no time server has answered it")
    if chain is not None and is_nameless(one):
        shown = f"; the certificate is for {_names(chain)}"
        return Finding(44, fact.at, seen, f"{says}, which names no host{shown}", sure=False)
    if told:  # unknown CAs and ended certificates have alerts of their own, names that differ have none
        return Finding(43, fact.at, seen, f"{says}, and its clock was told the time", sure=False)
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


def is_nameless(one: Connection) -> bool:
    """Its ClientHello was seen, and no server's name in it."""
    hello = one.first(Kind.HELLO)
    return hello is not None and "sni" in hello.values and not hello["sni"]


def other_name(one: Connection) -> str:
    """Whose certificate was shown in place of the one that it asked for; empty where they agree or nobody knows."""
    chain, asked = one.first(Kind.CHAIN, by="server"), one.said(Kind.HELLO, "sni").lower().rstrip(".")
    if chain is None or not asked:
        return ""
    shown = _names(chain).lower().split(",")
    return "" if not any(shown) or any(_fits(each.strip(), asked) for each in shown) else _names(chain)


def has_its_name(one: Connection) -> bool:
    """The certificate was seen, and it is for the name that was asked for."""
    return bool(one.has(Kind.CHAIN) and one.said(Kind.HELLO, "sni") and one.first(Kind.CHAIN, by="server")) and not (
        other_name(one)
    )


def _names(chain: Fact) -> str:
    """RFC 6125 section 6.4.4: the common name counts only where there are no others."""
    named = _CN.search(chain["subject"])
    return chain["names"] or (named[1].strip() if named else "")


def _fits(name: str, asked: str) -> bool:
    return name == asked or (name.startswith("*.") and asked.partition(".")[2] == name[2:])


# --- the server ----------------------------------------------------------------------------------------


def _server_row(one: Connection, code: str, words: str, chain: Fact | None) -> tuple[int, bool]:
    for row in _by_words(words):
        return row, True
    if code in {"116"} or (code in {"40", ""} and chain is not None and chain["length"] == "0"):
        return 55, True
    if code == "40" or "no shared cipher" in words or "handshake fail" in words:
        return _no_common_ground(one)
    if code == "70" or "protocol version" in words:
        return _version_refused(one)
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
    (re.compile(r"unsupported protocol|old version|sslv2"), 46),
    (re.compile(r"certificate purpose|unsupported certificate"), 60),
    (re.compile(r"plain http|http request|tls on plain"), 36),
    (re.compile(r"self.signed"), 49),
)


def _by_words(words: str) -> Iterator[int]:
    return (row for pattern, row in _WORDS if pattern.search(words))


def _version_refused(one: Connection) -> tuple[int, bool]:
    """The older end is the one to blame."""
    versions = one.said(Kind.HELLO, "versions")
    return (_OLD_SERVER if _MODERN.search(versions) else 46), bool(versions)


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
        return hello is not None and _takes_only_rsa(hello["suites"].upper())
    key = chain["key"].upper()
    if key.startswith("EC"):
        return hello is None or "ECDSA" not in hello["suites"].upper()
    return "4096" in key or "SHA384" in chain["signature"].upper().replace("-", "")


def _takes_only_rsa(suites: str) -> bool:
    """Suites of today, and none for an EC key: every server with an RSA key would take one of them."""
    return bool(_RSA_OF_TODAY.search(suites)) and "ECDSA" not in suites and not _ANY_KEY.search(suites)


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
