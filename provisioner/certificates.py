"""Read X.509 that strangers send: bounded first, parsed once, and whatever is wrong with it is Unreadable."""

from __future__ import annotations

import base64
import hashlib
import re
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

if TYPE_CHECKING:
    from OpenSSL import crypto

LARGEST: Final = 16 * 1024
"""Bytes of one certificate. The shipped CAs have under 2 KiB; a 16,384-bit RSA key alone would be 2 KiB."""
LONGEST_NAME: Final = 300
"""Characters of a subject or issuer that are kept for events."""

_NO_CHECK_TIME: Final = 0x200000
_CHECK_SELF_SIGNATURE: Final = 0x4000
_PARTIAL_CHAIN: Final = 0x80000
"""X509_V_FLAG_NO_CHECK_TIME, _CHECK_SS_SIGNATURE and _PARTIAL_CHAIN of OpenSSL's x509_vfy.h."""

COMMON_NAME: Final = "2.5.4.3"
SERIAL_NUMBER: Final = "2.5.4.5"
LOCALITY: Final = "2.5.4.7"
STATE: Final = "2.5.4.8"
ORGANIZATION: Final = "2.5.4.10"

_SHORT: Final = {
    COMMON_NAME: "CN",
    SERIAL_NUMBER: "serialNumber",
    "2.5.4.6": "C",
    LOCALITY: "L",
    STATE: "ST",
    ORGANIZATION: "O",
    "2.5.4.11": "OU",
    "1.2.840.113549.1.9.1": "emailAddress",
}
BROKEN: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""All that cryptography raises on bytes it cannot make sense of."""


class Unreadable(ValueError):
    """Bytes that are no certificate this server understands."""


@dataclass(frozen=True, slots=True)
class CertFacts:
    """What identity and trust want to know of one certificate."""

    fingerprint: str
    """SHA-256 (hex) of the whole certificate."""
    spki: str
    """SHA-256 (hex) of its SubjectPublicKeyInfo."""
    subject: str
    issuer: str
    not_before: float
    not_after: float
    """Unix time, s."""
    key: str
    """RSA, EC, EdDSA or DSA."""
    bits: int
    hash: str
    """Hash of the signature on it, lower case (``sha256``); empty where the algorithm has none of its own."""
    names: tuple[tuple[str, str], ...]
    """Subject attributes as (dotted OID, text), in their order."""

    def all(self, oid: str) -> tuple[str, ...]:
        """Every value of one subject attribute."""
        return tuple(text for one, text in self.names if one == oid)

    @property
    def common_name(self) -> str:
        """The first common name, for people."""
        return next(iter(self.all(COMMON_NAME)), self.subject)


@dataclass(frozen=True, slots=True)
class Anchors:
    """The CAs that may vouch for a device. A chain must end, by fingerprint, at one of ``roots``."""

    roots: Mapping[str, tuple[str, str]]
    """Fingerprint of a root -> its vendor and its name."""
    cas: tuple[bytes, ...] = field(default=(), repr=False)
    """DER of the roots and of the issuing CAs: what a leaf without its chain is verified with."""
    denied: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """SPKI of a key that proves nothing any more, leaf or CA -> why."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How strong the certificates of a chain must be on one listener.

    Key sizes count for every certificate of the chain; hashes for all but the anchor, which nobody has to vouch for.
    """

    min_rsa_bits: int = 2048
    max_rsa_bits: int = 4096
    """Beyond it a handshake is an attack on the processor, not a phone; an anchor may be larger."""
    min_ec_bits: int = 256
    weak_hashes: frozenset[str] = frozenset({"md5", "sha1"})


MODERN: Final = Policy()


def fingerprint(der: bytes) -> str:
    """SHA-256 (hex) of the whole certificate: the name under which a CA is trusted."""
    return hashlib.sha256(der).hexdigest()


def read(der: bytes) -> CertFacts:
    """Parse one certificate; Unreadable is the only thing raised, whatever the bytes are."""
    if len(der) > LARGEST:
        raise Unreadable(f"{len(der)} bytes are too many for a certificate")
    try:
        # Factory CAs break RFC 5280 in ways cryptography warns of: Grandstream's old CA has the serial number 0.
        with warnings.catch_warnings(action="ignore"):
            return _facts(der)
    except BROKEN as error:
        raise Unreadable(str(error)[:LONGEST_NAME] or type(error).__name__) from error


def _facts(der: bytes) -> CertFacts:
    certificate = x509.load_der_x509_certificate(der)
    public = certificate.public_key()
    kind, bits = _strength(public)
    hashed = certificate.signature_hash_algorithm
    names = _names(certificate.subject)
    return CertFacts(
        fingerprint=fingerprint(der),
        spki=hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest(),
        subject=_shown(names),
        issuer=_shown(_names(certificate.issuer)),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        key=kind,
        bits=bits,
        hash=hashed.name if hashed else "",
        names=names,
    )


def _strength(public: CertificatePublicKeyTypes) -> tuple[str, int]:
    if isinstance(public, rsa.RSAPublicKey):
        return "RSA", public.key_size
    if isinstance(public, ec.EllipticCurvePublicKey):
        return "EC", public.key_size
    if isinstance(public, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
        return "EdDSA", 256
    if isinstance(public, dsa.DSAPublicKey):
        return "DSA", public.key_size
    raise Unreadable(f"{type(public).__name__} is no key that signs a TLS handshake")


def _names(name: x509.Name) -> tuple[tuple[str, str], ...]:
    return tuple(
        (one.oid.dotted_string, one.value if isinstance(one.value, str) else one.value.hex())
        for rdn in name.rdns
        for one in rdn
    )


def _shown(names: tuple[tuple[str, str], ...]) -> str:
    """One line for events and tables; a stranger's control characters and floods stop here."""
    text = ", ".join(f"{_SHORT.get(oid, oid)}={value}" for oid, value in names)
    if len(text) > LONGEST_NAME:
        text = text[:LONGEST_NAME] + "…"
    return (
        text
        if text.isprintable()
        else "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    )


def weakness(facts: CertFacts, policy: Policy, *, anchor: bool = False) -> str:
    """What is too weak (or absurdly large) about one certificate under a policy; empty when nothing."""
    whose = f"{facts.common_name[:80]!r}"
    if facts.key == "DSA":
        return f"{whose} has a DSA key"
    low = policy.min_rsa_bits if facts.key == "RSA" else policy.min_ec_bits
    if facts.bits < low:
        return f"{whose} has a {facts.key} key of {facts.bits} bits, less than {low}"
    if not anchor and facts.key == "RSA" and facts.bits > policy.max_rsa_bits:
        return f"{whose} has an absurd RSA key of {facts.bits} bits"
    if not anchor and facts.hash in policy.weak_hashes:
        return f"{whose} is signed with {facts.hash.upper()}"
    return ""


def stamp(moment: float) -> str:
    """Unix time as ``2009-03-09T18:12:40Z``, the way dates stand in events, tables and pins."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.{1,24000}?-----END CERTIFICATE-----", re.DOTALL)


def to_der(content: bytes) -> tuple[bytes, ...]:
    """The certificates of a PEM or DER file, one or more; Unreadable when there are none."""
    blocks = _PEM.findall(content)
    if not blocks and content[:1] == b"\x30":
        return (content,)
    if not blocks:
        raise Unreadable("holds no certificate, neither PEM nor DER")
    try:
        return tuple(base64.b64decode(b"".join(block.split()[2:-2]), validate=True) for block in blocks)
    except ValueError as error:
        raise Unreadable(f"holds a PEM block that is broken: {error}") from error


def to_pem(der: bytes) -> bytes:
    """One certificate as PEM."""
    lines = textwrap.wrap(base64.b64encode(der).decode("ascii"), 64)
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----\n")).encode("ascii")


def ca_objection(der: bytes) -> str:
    """Why OpenSSL would not let this certificate issue others; empty when it may."""
    with warnings.catch_warnings(action="ignore"):
        certificate = x509.load_der_x509_certificate(der)
        if certificate.version is x509.Version.v1:
            return "" if certificate.issuer == certificate.subject else "is a version 1 certificate and not self-signed"
        try:
            basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
            if not basic.ca:
                return "is a device's certificate, not a CA's"
            usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        except x509.ExtensionNotFound as error:
            # keyUsage may be absent (Grandstream's old CA); without basicConstraints it is no CA.
            return "" if error.oid == ExtensionOID.KEY_USAGE else "does not say that it is a CA"
        except BROKEN as error:
            return f"has extensions that cannot be read ({error})"
    return "" if usage.key_cert_sign else "may not sign certificates by its own keyUsage"


def ca_store(ders: Iterable[bytes], flags: int = 0) -> crypto.X509Store:
    """Time and strength are judged elsewhere, so OpenSSL is asked for the chain and its signatures only."""
    from OpenSSL import crypto  # commands that only look at certificates do not wait for it

    store = crypto.X509Store()
    store.set_flags(_NO_CHECK_TIME | flags)
    for der in ders:
        store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, der))
    return store


def chain_to(cas: Sequence[bytes], der: bytes, *, self_signed: bool = False) -> tuple[bytes, ...]:
    """The chain by which OpenSSL gets from a certificate to one of these CAs; empty when it cannot.

    ``self_signed`` also checks the signature of the last one, which is nobody's business in a chain.
    """
    from OpenSSL import crypto

    store = ca_store(cas, _CHECK_SELF_SIGNATURE if self_signed else 0)
    try:
        certificate = crypto.load_certificate(crypto.FILETYPE_ASN1, der)
        chain = crypto.X509StoreContext(store, certificate).get_verified_chain()
    except (crypto.Error, crypto.X509StoreContextError):
        return ()
    return tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in chain)


_ABOVE: Final = 8
"""Certificates that a device sends besides its own, which are looked at: chains of makers have three."""


def issuers_of(der: bytes, others: Sequence[bytes]) -> tuple[bytes, ...]:
    """Of some certificates those above this one, each by its signature: a stranger may send anybody's along."""
    found: list[bytes] = []
    left = [one for one in others[:_ABOVE] if one != der]
    while (above := next((one for one in left if _signed(der, one)), None)) is not None:
        found.append(above)
        left.remove(above)
        der = above
    return tuple(found)


def signer_of(chain: Sequence[bytes]) -> str:
    """The SHA-256 of the CA whose key has signed the first of them; empty where it did not come along."""
    above = (one for one in chain[1 : _ABOVE + 1] if one != chain[0] and _signed(chain[0], one))
    return next((fingerprint(one) for one in above), "")


def _signed(der: bytes, ca: bytes) -> bool:
    from OpenSSL import crypto

    try:
        store = ca_store([ca], _PARTIAL_CHAIN)
        crypto.X509StoreContext(store, crypto.load_certificate(crypto.FILETYPE_ASN1, der)).verify_certificate()
    except (crypto.Error, crypto.X509StoreContextError):
        return False
    return True
