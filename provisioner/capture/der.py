# SPDX-License-Identifier: GPL-2.0-only
"""Certificates out of handshakes, by a bounded reading of DER: names, dates, key and signature, nothing verified."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

LARGEST: Final = 64 * 1024
_MOST: Final = 256
"""Members of one sequence: more than any name or list of alternative names has."""
_SEQUENCE, _SET, _INTEGER, _BITS, _OID, _EXPLICIT_0, _EXPLICIT_3 = 0x30, 0x31, 0x02, 0x03, 0x06, 0xA0, 0xA3
_UTC_TIME, _GENERALIZED_TIME, _BMP, _UTF8 = 0x17, 0x18, 0x1E, 0x0C
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87

_ATTRIBUTES: Final = {
    "2.5.4.3": "CN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "1.2.840.113549.1.9.1": "emailAddress",
}
_KEYS: Final = {
    "1.2.840.113549.1.1.1": "RSA",
    "1.2.840.10040.4.1": "DSA",
    "1.3.101.112": "EdDSA",
    "1.3.101.113": "EdDSA",
}
_EC_KEY: Final = "1.2.840.10045.2.1"
_CURVES: Final = {"1.2.840.10045.3.1.7": "EC P-256", "1.3.132.0.34": "EC P-384", "1.3.132.0.35": "EC P-521"}
_HASHES: Final = {
    "1.2.840.113549.1.1.2": "md2",
    "1.2.840.113549.1.1.4": "md5",
    "1.2.840.113549.1.1.5": "sha1",
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
    "1.2.840.113549.1.1.14": "sha224",
    "1.2.840.10040.4.3": "sha1",
    "1.2.840.10045.4.1": "sha1",
    "1.2.840.10045.4.3.1": "sha224",
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
}
_PSS: Final = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_SUBJECT_ALT_NAME: Final = "2.5.29.17"


class NotDer(ValueError):
    """Bytes that are no certificate."""


class Value(NamedTuple):
    """One tag, length and value."""

    tag: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a diagnosis wants to know of one."""

    subject: str
    issuer: str
    not_before: float
    not_after: float
    key: str
    signature: str
    """Hash of the signature, lower case; the algorithm's number where it is not known."""
    names: tuple[str, ...]


def read(der: bytes) -> Certificate:
    """One certificate; NotDer is the only thing raised."""
    if len(der) > LARGEST:
        raise NotDer(f"{len(der)} bytes are too many for a certificate")
    try:
        return _certificate(der)
    except (IndexError, ValueError, struct.error, OverflowError, StopIteration) as error:
        raise NotDer(f"a certificate cannot be read: {error}") from error


def _certificate(der: bytes) -> Certificate:
    signed, algorithm, *_ = values(one(der, _SEQUENCE))
    fields = list(values(signed.body))
    if fields[0].tag == _EXPLICIT_0:
        del fields[0]
    _, _, issuer, validity, subject, spki, *rest = fields
    first, last = values(validity.body)
    return Certificate(
        subject=_name(subject.body),
        issuer=_name(issuer.body),
        not_before=_time(first),
        not_after=_time(last),
        key=_key(spki.body),
        signature=_hash(algorithm.body),
        names=tuple(_alternatives(rest)),
    )


def one(data: bytes, tag: int) -> bytes:
    """The body of a value that has to have this tag."""
    found = next(values(data))
    if found.tag != tag:
        raise NotDer(f"tag {tag:#x} is expected, {found.tag:#x} is there")
    return found.body


def values(data: bytes) -> Iterator[Value]:
    """Each value after the other; NotDer where a length leads beyond the end."""
    at, count = 0, 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            more = size & 0x7F
            if not 1 <= more <= 4:
                raise NotDer("a length of no certificate")
            size, at = int.from_bytes(data[at : at + more], "big"), at + more
        if at + size > len(data):
            raise NotDer("a length leads beyond the end")
        count += 1
        if count > _MOST:
            raise NotDer(f"more than {_MOST} values in one")
        yield Value(tag, data[at : at + size])
        at += size


def oid(body: bytes) -> str:
    """Dotted."""
    numbers, value = [], 0
    for byte in body[:64]:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if not numbers:
        return ""
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))


def name_of(der: bytes) -> str:
    """A distinguished name as it stands in a CertificateRequest."""
    try:
        return _name(one(der, _SEQUENCE))
    except (IndexError, ValueError, StopIteration):
        return ""


def _name(body: bytes) -> str:
    parts = []
    for group in values(body):
        for attribute in values(group.body):
            kind, value = values(attribute.body)
            dotted = oid(kind.body)
            parts.append(f"{_ATTRIBUTES.get(dotted, dotted)}={_text(value)}")
    return ", ".join(parts)


def _text(value: Value) -> str:
    if value.tag == _BMP:
        return value.body.decode("utf-16-be", "replace")
    return value.body.decode("utf-8" if value.tag == _UTF8 else "latin-1", "replace")


def _time(value: Value) -> float:
    text = value.body.decode("ascii").removesuffix("Z")
    if value.tag == _UTC_TIME:  # RFC 5280 section 4.1.2.5.1: 50 and above is the last century
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    elif value.tag != _GENERALIZED_TIME:
        raise NotDer("a date of no certificate")
    return datetime.strptime(text[:14].ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()


def _key(spki: bytes) -> str:
    algorithm, bits = values(spki)
    parts = list(values(algorithm.body))
    dotted = oid(parts[0].body)
    if dotted == _EC_KEY:
        curve = oid(parts[1].body)
        return _CURVES.get(curve, f"EC {curve}")
    if dotted in _KEYS and _KEYS[dotted] == "RSA":
        modulus = one(one(bits.body[1:], _SEQUENCE), _INTEGER)
        return f"RSA {int.from_bytes(modulus, 'big').bit_length()}"
    return _KEYS.get(dotted, dotted)


def _hash(algorithm: bytes) -> str:
    parts = list(values(algorithm))
    dotted = oid(parts[0].body)
    if dotted == "1.2.840.113549.1.1.10" and len(parts) > 1:  # RSASSA-PSS names its hash in its parameters
        first = next(values(parts[1].body), None)
        inner = oid(next(values(one(first.body, _SEQUENCE))).body) if first and first.tag == _EXPLICIT_0 else ""
        return _PSS.get(inner, "sha1")  # RFC 4055 section 3.1: SHA-1 where it names none
    return _HASHES.get(dotted, dotted)


def _alternatives(rest: list[Value]) -> Iterator[str]:
    for field in rest:
        if field.tag != _EXPLICIT_3:
            continue
        for extension in values(one(field.body, _SEQUENCE)):
            parts = list(values(extension.body))
            if oid(parts[0].body) == _SUBJECT_ALT_NAME:
                yield from _general_names(one(parts[-1].body, _SEQUENCE))


def _general_names(body: bytes) -> Iterator[str]:
    for name in values(body):
        if name.tag == _DNS_NAME:
            yield name.body.decode("latin-1")
        elif name.tag == _IP_ADDRESS and len(name.body) == 4:
            yield ".".join(map(str, name.body))
