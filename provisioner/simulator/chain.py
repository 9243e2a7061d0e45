"""Would a phone with these roots believe this chain? Every fault is told with its certificate, and how sure it is.

It is worked out here and not asked of this machine's OpenSSL, whose word would be about this machine: a phone may hold
fewer roots, not know a key or a hash, or have another clock. What nobody knows of a model is left open, never guessed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import NameOID

_DEEPEST: Final = 8
"""Certificates that are followed upwards."""
_BROKEN: Final = (
    ValueError, TypeError, OverflowError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion,
    x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
)  # fmt: skip
"""What cryptography raises on certificates that it cannot make sense of."""


class Outcome(StrEnum):
    """What the phone would do with the server's certificate."""

    ACCEPTS = "accepts"
    REFUSES = "refuses"
    DEPENDS = "depends"
    """It refuses if what is not known of the model is so."""
    NOT_KNOWN = "not known"
    """Nothing speaks against it, but whether it holds the root is known to nobody here."""


class Fault(StrEnum):
    """What is wrong with one certificate of the chain."""

    UNREADABLE = "unreadable"
    UNKNOWN_ROOT = "unknown_root"
    MISSING_INTERMEDIATE = "missing_intermediate"
    UNKNOWN_ISSUER = "unknown_issuer"
    """Neither sent nor trusted: a root that the phone lacks, or an intermediate that the server does not send."""
    NOT_A_CA = "not_a_ca"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_NAME = "wrong_name"
    TOO_NEW = "too_new"
    OUT_OF_ORDER = "out_of_order"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. ``place`` counts the certificates as they were sent, from 1; 0: it was not sent."""

    fault: Fault
    place: int
    subject: str
    why: str
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Eyes:
    """What a phone judges with. Empty means not known."""

    roots: tuple[x509.Certificate, ...] = field(default=(), repr=False)
    complete: bool = False
    """It trusts nothing beside these roots."""
    never: tuple[x509.Certificate, ...] = field(default=(), repr=False)
    """CAs of this house: no maker has put them into a phone."""
    doubtful: tuple[str, ...] = ()
    """Common names of roots that such phones often lack."""
    checks_name: bool | None = None
    keys: frozenset[str] = frozenset()
    """Kinds of keys that it can verify with: RSA, EC, EdDSA."""
    hashes: frozenset[str] = frozenset()
    """Hashes of signatures that it can verify: sha1, sha256."""
    rsa_bits: int = 0
    """The largest RSA key."""
    tls_max: str = "1.3"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a phone makes of a chain."""

    outcome: Outcome
    findings: tuple[Finding, ...] = ()
    path: tuple[str, ...] = ()
    """Subjects from the server's own certificate up to where the path ends."""
    anchor: str = ""
    """The trusted certificate at which it ends; empty where it ends at none."""


def judge(sent: Sequence[bytes], host: str, eyes: Eyes, now: float, pool: Sequence[x509.Certificate] = ()) -> Verdict:
    """Judge a chain as it was sent (DER); CAs in ``pool`` help to tell a missing intermediate from a strange root."""
    try:
        chain = [x509.load_der_x509_certificate(der) for der in sent]
        return _judge(chain, host, eyes, datetime.fromtimestamp(now, UTC), pool)
    except _BROKEN as error:
        return Verdict(Outcome.REFUSES, (Finding(Fault.UNREADABLE, 0, "", f"a certificate cannot be read: {error}"),))


def _judge(
    chain: Sequence[x509.Certificate], host: str, eyes: Eyes, now: datetime, pool: Sequence[x509.Certificate]
) -> Verdict:
    if not chain:
        why = "the server sent no certificate"
        return Verdict(Outcome.REFUSES, (Finding(Fault.UNREADABLE, 0, "", why),))
    path, trusted = _path(chain, eyes.roots)
    places = {id(one): place for place, one in enumerate(chain, 1)}
    findings = [
        *(() if trusted else _unanchored(path, places, eyes, pool)),
        *_order(path, places),
        *_authorities(path, places),
        *_dates(path, places, now),
        *_name(path[0], host, eyes.checks_name),
        *_news(path, places, eyes, trusted=trusted),
    ]
    return Verdict(
        _outcome(findings, trusted=trusted),
        tuple(findings),
        tuple(subject_of(one) for one in path),
        subject_of(path[-1]) if trusted else "",
    )


def _outcome(findings: Sequence[Finding], *, trusted: bool) -> Outcome:
    if any(one.sure for one in findings):
        return Outcome.REFUSES
    if findings:
        return Outcome.DEPENDS
    return Outcome.ACCEPTS if trusted else Outcome.NOT_KNOWN


# --- the path -----------------------------------------------------------------------------------------


def _path(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> tuple[list[x509.Certificate], bool]:
    """From the server's own certificate upwards, a trusted issuer before one that was sent; whether it ends well."""
    path = [chain[0]]
    while len(path) < _DEEPEST:
        last = path[-1]
        if last in roots:
            return path, True
        if (root := _issuer(last, roots)) is not None:
            return [*path, root], True
        above = _issuer(last, [one for one in chain if one not in path])
        if above is None:
            break
        path.append(above)
    return path, False


def _issuer(one: x509.Certificate, among: Sequence[x509.Certificate]) -> x509.Certificate | None:
    """Who has signed it, found by name and signature."""
    return next((other for other in among if other != one and _signed(one, other)), None)


def _signed(one: x509.Certificate, by: x509.Certificate) -> bool:
    if one.issuer != by.subject:
        return False
    try:
        one.verify_directly_issued_by(by)
    except _BROKEN:
        return False
    return True


def _unanchored(
    path: Sequence[x509.Certificate], places: dict[int, int], eyes: Eyes, pool: Sequence[x509.Certificate]
) -> Iterator[Finding]:
    """Why the path ends at nothing that the phone trusts."""
    last, root = path[-1], path[-1]
    if not _signed(last, last):
        above = _issuer(last, pool)
        if above is None:
            if eyes.complete:
                why = f"its issuer {name_of(last.issuer)} is not among the phone's roots and was not sent"
                yield Finding(Fault.UNKNOWN_ISSUER, places[id(last)], subject_of(last), why)
            return
        if not _signed(above, above):
            why = f"the server does not send {subject_of(above)}, which signed it"
            yield Finding(Fault.MISSING_INTERMEDIATE, places[id(last)], subject_of(last), why)
            rest, trusted = _path([above, *pool], eyes.roots)
            if trusted:
                return
            above = rest[-1]
        root = above
    yield from _strange(root, places.get(id(root), 0), eyes)


def _strange(root: x509.Certificate, place: int, eyes: Eyes) -> Iterator[Finding]:
    subject = subject_of(root)
    if eyes.complete:
        yield Finding(Fault.UNKNOWN_ROOT, place, subject, "it is not among the phone's roots")
    elif root in eyes.never:
        why = "it is this installation's own CA, which no maker puts into a phone: a configuration has to bring it"
        yield Finding(Fault.UNKNOWN_ROOT, place, subject, why)
    elif common_name(root.subject) in eyes.doubtful:
        yield Finding(Fault.UNKNOWN_ROOT, place, subject, "phones of this kind often lack this root", sure=False)


def _order(path: Sequence[x509.Certificate], places: dict[int, int]) -> Iterator[Finding]:
    """RFC 5246 section 7.4.2: each certificate follows the one that it certifies; old stacks insist on it."""
    sent = [places[id(one)] for one in path if id(one) in places]
    for before, after in pairwise(sent):
        if after != before + 1:
            one = next(cert for cert in path if places.get(id(cert)) == after)
            why = f"it certifies certificate {before} and was sent as number {after}; TLS 1.2 wants it right behind"
            yield Finding(Fault.OUT_OF_ORDER, after, subject_of(one), why, sure=False)
            return


def _authorities(path: Sequence[x509.Certificate], places: dict[int, int]) -> Iterator[Finding]:
    for one in path[1:]:
        if not _is_ca(one) and id(one) in places:
            why = "it has signed another certificate and is no CA (basicConstraints)"
            yield Finding(Fault.NOT_A_CA, places[id(one)], subject_of(one), why)


def _is_ca(one: x509.Certificate) -> bool:
    try:
        return one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return one.version is x509.Version.v1  # roots of the nineties


# --- each certificate ---------------------------------------------------------------------------------


def _dates(path: Sequence[x509.Certificate], places: dict[int, int], now: datetime) -> Iterator[Finding]:
    for one in path:
        first, last = one.not_valid_before_utc, one.not_valid_after_utc
        place = places.get(id(one), 0)
        if now > last:
            yield Finding(Fault.EXPIRED, place, subject_of(one), f"it was valid until {last:%Y-%m-%d %H:%M} UTC")
        elif now < first:
            why = f"it is valid from {first:%Y-%m-%d %H:%M} UTC; the phone's clock says {now:%Y-%m-%d %H:%M}"
            yield Finding(Fault.NOT_YET_VALID, place, subject_of(one), why)


def _name(leaf: x509.Certificate, host: str, checked: bool | None) -> Iterator[Finding]:
    names = names_of(leaf)
    if checked is False or any(_matches(name, host) for name in names):
        return
    told = ", ".join(names[:6]) or "no name"
    doubt = "" if checked else "; whether this model compares names is not known"
    why = f"it is for {told}, and the URL names {host}{doubt}"
    yield Finding(Fault.WRONG_NAME, 1, subject_of(leaf), why, sure=checked is True)


def names_of(leaf: x509.Certificate) -> list[str]:
    """What it is for: alternative names, and the common name only where there are none (RFC 2818 section 3.1)."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return list(filter(None, [common_name(leaf.subject)]))
    addresses = [str(one) for one in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _matches(name: str, host: str) -> bool:
    name, host = name.lower().rstrip("."), host.lower().rstrip(".")
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(host)
    except ValueError:
        pass
    if name.startswith("*."):
        first, dot, rest = host.partition(".")
        return bool(first and dot) and rest == name[2:]
    return name == host


def _news(path: Sequence[x509.Certificate], places: dict[int, int], eyes: Eyes, *, trusted: bool) -> Iterator[Finding]:
    """Keys and signatures that the model cannot verify; a root's own signature is asked by nobody."""
    for number, one in enumerate(path):
        place, (kind, bits) = places.get(id(one), 0), key_of(one)
        is_root = trusted and number == len(path) - 1
        why = _key_objection(kind, bits, eyes) or ("" if is_root else _hash_objection(hash_of(one), eyes))
        if number == 0 and kind == "EdDSA" and eyes.tls_max < "1.2":
            why = f"TLS {eyes.tls_max} has no way to use an EdDSA key (RFC 8422 section 5.10)"
        if why:
            yield Finding(Fault.TOO_NEW, place, subject_of(one), why)


def _key_objection(kind: str, bits: int, eyes: Eyes) -> str:
    if eyes.keys and kind not in eyes.keys:
        return f"its key is {kind}; the phone knows {', '.join(sorted(eyes.keys))}"
    if kind == "RSA" and eyes.rsa_bits and bits > eyes.rsa_bits:
        return f"its RSA key has {bits} bits; the phone takes {eyes.rsa_bits} at most"
    return ""


def _hash_objection(name: str, eyes: Eyes) -> str:
    if eyes.hashes and name and name not in eyes.hashes:
        return f"it is signed with {name}; the phone knows {', '.join(sorted(eyes.hashes))}"
    return ""


# --- in words -----------------------------------------------------------------------------------------


def key_of(one: x509.Certificate) -> tuple[str, int]:
    """Kind and bits of its key."""
    key = one.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "EC", key.curve.key_size
    return ("DSA", key.key_size) if isinstance(key, dsa.DSAPublicKey) else ("EdDSA", 0)


def hash_of(one: x509.Certificate) -> str:
    """Hash of the signature on it; empty where the algorithm has none of its own."""
    try:
        found = one.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return "a hash that is not known here"
    return found.name.lower() if found is not None else ""


def common_name(name: x509.Name) -> str:
    """The first one; empty without any."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def name_of(name: x509.Name) -> str:
    """For people."""
    return common_name(name) or name.rfc4514_string() or "(no name)"


def subject_of(one: x509.Certificate) -> str:
    """For people."""
    return name_of(one.subject)
