"""Make certificates: the server's own CA and chains for `init`, and factories that only pretend, for demo and tests.

One RSA CA signs both server certificates: a phone needs one file to trust both. A pretended factory
says so in its name.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisioner.certificates import Unreadable, read, stamp, to_der, to_pem
from provisioner.errors import Conflict, Invalid, Unusable

SERVER_CA_DAYS: Final = 20 * 365
"""Phones keep the CA for life, and a phone lasts ten years."""
SERVER_DAYS: Final = 5 * 365
"""Phones set no limit as browsers do; `certs check` warns 90, 30 and 7 days before the end."""
FACTORY_DAYS: Final = 30 * 365
LEAF_DAYS: Final = 20 * 365
_RSA_BITS: Final = 2048
"""Every phone that knows TLS 1.2 takes it; some old ones take nothing larger."""
_SLACK: Final = timedelta(hours=1)
"""Certificates begin an hour ago, for clocks that are a little late."""
_WEAK_HASHES: Final = {"sha1": (hashes.SHA1(), 0x05), "md5": (hashes.MD5(), 0x04)}  # noqa: S303  # old factories signed so
_RSA_SHA256: Final = bytes.fromhex("06092a864886f70d01010b")
"""DER of sha256WithRSAEncryption; SHA-1 and MD5 differ from it in the last byte (RFC 8017, appendix A.2)."""

_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,253}")

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Signer:
    """A CA that can sign: its certificate, its key and the certificates above it, nearest first."""

    certificate: x509.Certificate
    key: Key = field(repr=False)
    above: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """Itself and what is above it."""
        return (self.certificate, *self.above)


def make_ca(
    name: str | x509.Name, above: Signer | None = None, *, days: int = FACTORY_DAYS, bits: int = _RSA_BITS
) -> Signer:
    """A root, or a CA below another one."""
    key = rsa.generate_private_key(65537, bits)
    subject = common_name(name) if isinstance(name, str) else name
    now = datetime.now(UTC)
    builder = (
        _builder(
            subject, above.certificate.subject if above else subject, key, now - _SLACK, now + timedelta(days=days)
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if above:
        builder = builder.add_extension(_issued_by(above), critical=False)
    certificate = builder.sign(above.key if above else key, hashes.SHA256())
    return Signer(certificate, key, above.chain if above else ())


def common_name(text: str) -> x509.Name:
    """A name of nothing but a CN."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, not_before: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def _issued_by(ca: Signer) -> x509.AuthorityKeyIdentifier:
    """Tells OpenSSL which of several CAs of one name to follow."""
    public = ca.certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _pem(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


# --- the server's own -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """What ``make_server`` wrote."""

    ca: Path
    """The CA to give to phones."""
    ca_key: Path
    certificates: tuple[Path, ...]
    """Key and chain each: RSA, P-256."""


def make_server(directory: Path, name: str) -> ServerFiles:
    """The server's CA and its RSA-2048 and P-256 certificates for a host name or address. Overwrites."""
    if not _NAME.fullmatch(name):
        raise Invalid("server.name", f"{name[:80]!r} is neither a host name nor an IP address")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca = make_ca(f"{name} provisioning CA"[:64], days=SERVER_CA_DAYS)
    files = _server_files(directory)
    _write(files.ca_key, _key_pem(ca.key), 0o600)
    _write(files.ca, _pem([ca.certificate]), 0o644)
    _write_server_leaves(files, name, ca)
    return files


def renew_server(directory: Path, name: str) -> tuple[Path, ...]:
    """New server certificates from the CA that is there; Conflict where those in use come from another one."""
    files = _server_files(directory)
    try:
        ca = _stored_server_ca(files)
    except (OSError, ValueError, TypeError) as error:
        raise Unusable(
            f"{files.ca} and {files.ca_key} are no usable CA: put both back from the backup, or remove {directory} "
            "and run `provisioner init` for a new CA, which phones do not know"
        ) from error
    for path in files.certificates:
        issuer = _issuer(path)
        if issuer is not None and issuer != ca.certificate.subject:
            raise Conflict(f"{path} comes from another CA than {files.ca}: renew it there")
    _write_server_leaves(files, name, ca)
    return files.certificates


def _server_files(directory: Path) -> ServerFiles:
    certificates = (directory / "server-rsa.pem", directory / "server-ec.pem")
    return ServerFiles(directory / "ca.pem", directory / "ca-key.pem", certificates)


def _stored_server_ca(files: ServerFiles) -> Signer:
    ca = _signer(files.ca, files.ca_key, ())
    if ca.key.public_key() != ca.certificate.public_key():
        raise ValueError("the key belongs to another certificate")
    return ca


def _issuer(path: Path) -> x509.Name | None:
    """Who issued the certificate in use; None where there is none that can be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).issuer
    except (OSError, ValueError):
        return None


def _write_server_leaves(files: ServerFiles, name: str, ca: Signer) -> None:
    keys: tuple[Key, ...] = (rsa.generate_private_key(65537, _RSA_BITS), ec.generate_private_key(ec.SECP256R1()))
    for path, key in zip(files.certificates, keys, strict=True):
        _write(path, _key_pem(key) + _pem([_server_leaf(name, key, ca), *ca.chain]), 0o600)


def _server_leaf(name: str, key: Key, ca: Signer) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        _builder(common_name(name[:64]), ca.certificate.subject, key, now - _SLACK, now + timedelta(days=SERVER_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(_alternatives(name)), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_issued_by(ca), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.add_extension(_usage(ca=False), critical=True).sign(ca.key, hashes.SHA256())


def _alternatives(name: str) -> list[x509.GeneralName]:
    names = dict.fromkeys((name, "localhost", "127.0.0.1", "::1"))
    return [_alternative(one) for one in names]


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """The state of one server certificate file, for `doctor` and for the start."""

    path: Path
    subject: str = ""
    key: str = ""
    """RSA or EC, and bits: ``RSA 2048``."""
    not_after: str = ""
    problem: str = ""
    """What keeps it from being used and what to do; empty when nothing."""
    hint: str = ""
    """What is not right but does not keep the server from starting."""


def server_certificates_state(paths: Sequence[Path], name: str, now: float) -> tuple[ServerCertificate, ...]:
    """Look at each file that holds a key and a chain; nothing is raised for what is found."""
    return tuple(_state(path, name, now) for path in paths)


def require_server_certificates(paths: Sequence[Path], name: str, now: float) -> None:
    """Unusable with all problems in one text when a server certificate cannot be used."""
    if not paths:
        raise Unusable("no server certificate is set; tls.certificates names the files")
    problems = [one.problem for one in server_certificates_state(paths, name, now) if one.problem]
    if problems:
        raise Unusable("\n".join(problems))


def _state(path: Path, name: str, now: float) -> ServerCertificate:
    advice = "restore it, or run `provisioner certs renew-server` for new ones of the same CA"
    try:
        content = path.read_bytes()
        chain = to_der(content)
        facts = read(chain[0])
        key = load_pem_private_key(content, None)
    except (OSError, Unreadable, ValueError, TypeError) as error:
        return ServerCertificate(path, problem=f"{path}: no usable key and certificate ({_why(error)}); {advice}")
    found = ServerCertificate(path, facts.subject, f"{facts.key} {facts.bits}", stamp(facts.not_after))
    certificate = x509.load_der_x509_certificate(chain[0])
    problem = ""
    if key.public_key() != certificate.public_key():
        problem = f"{path}: its key does not belong to its certificate; {advice}"
    elif not facts.not_before <= now <= facts.not_after:
        problem = (
            f"{path}: valid from {stamp(facts.not_before)} to {found.not_after}, not now; check the clock, {advice}"
        )
    return replace(found, problem=problem, hint=_hint(path, certificate, name))


def _why(error: Exception) -> str:
    """In plain words: no error numbers."""
    return (error.strerror if isinstance(error, OSError) else "") or str(error)


def _hint(path: Path, certificate: x509.Certificate, name: str) -> str:
    hints = []
    if path.stat().st_mode & 0o077:
        hints.append("its key can be read by others: chmod 600")
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    if _alternative(name) not in list(names) and not any(
        one.startswith("*.") and name.partition(".")[2] == one[2:] for one in names.get_values_for_type(x509.DNSName)
    ):
        hints.append(f"it does not name {name}, by which phones call this server (server.name)")
    return "; ".join(hints)


# --- pretended factories ------------------------------------------------------------------------

_TITLES: Final = {"poly": "Poly", "yealink": "Yealink", "grandstream": "Grandstream", "cisco": "Cisco", "snom": "Snom"}
_ORGANIZATIONS: Final = {
    "poly": "Polycom Inc.",
    "grandstream": "Grandstream Networks, Inc.",
    "cisco": "Cisco Systems, Inc.",
}


@dataclass(frozen=True, slots=True)
class Factory:
    """A vendor's pretended PKI: root, policy and issuing CA, and leaves named as the vendor names them."""

    vendor: str
    root: Signer
    policy: Signer
    issuing: Signer
    directory: Path

    @property
    def root_pem(self) -> Path:
        """The file to trust."""
        return self.directory / "root.pem"

    @property
    def cas_pem(self) -> Path:
        """Root, policy and issuing CA in one file: trusted together, a phone may send its leaf alone."""
        return self.directory / "cas.pem"

    def sub_ca(self, name: str) -> Signer:
        """Another CA under this factory's root, whatever it calls itself."""
        return make_ca(name, self.root)

    def leaf(
        self,
        mac: str,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        bits: int = _RSA_BITS,
        algorithm: str = "sha256",
        generic: bool = False,
        common_name: str | None = None,
        signer: Signer | None = None,
        curve: ec.EllipticCurve | None = None,
        purposes: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        key: Key | None = None,
    ) -> tuple[bytes, bytes, bytes]:
        """A device's certificate, its key and the CAs between it and the root, as PEM each.

        ``algorithm`` is sha256, sha1 or md5; ``generic`` leaves the Mac out; ``curve`` makes an EC key;
        ``key`` is one that is there already.
        """
        if key is None:
            key = ec.generate_private_key(curve) if curve else rsa.generate_private_key(65537, bits)
        by = signer or self.issuing
        now = datetime.now(UTC)
        builder = _builder(
            self._subject(mac, generic, common_name),
            by.certificate.subject,
            key,
            not_before or now - _SLACK,
            not_after or now + timedelta(days=LEAF_DAYS),
        ).add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_issued_by(by), critical=False)
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        der = _sign(builder, by.key, algorithm)
        return to_pem(der), _key_pem(key), _pem(by.chain[:-1])

    def _subject(self, mac: str, generic: bool, override: str | None) -> x509.Name:
        upper = mac.upper()
        parts = {NameOID.COMMON_NAME: override or ("Generic device" if generic else upper)}
        if organization := _ORGANIZATIONS.get(self.vendor):
            parts[NameOID.ORGANIZATION_NAME] = organization
        if self.vendor == "cisco":
            parts[NameOID.COMMON_NAME] = override or f"SPA-525G2, MAC: {upper}, Serial: CBT00000000"
            parts[NameOID.STATE_OR_PROVINCE_NAME] = "ciscogeneric" if generic else upper
            parts[NameOID.LOCALITY_NAME] = "ciscogeneric" if generic else "CBT00000000"
        return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts.items()])


def _sign(builder: x509.CertificateBuilder, key: Key, algorithm: str) -> bytes:
    """Sign as asked. cryptography signs no certificate with SHA-1 or MD5 any more, so those are put in afterwards."""
    der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    if algorithm == "sha256":
        return der
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("only RSA keys sign with SHA-1 or MD5 here")
    weak, last = _WEAK_HASHES[algorithm]
    signed = x509.load_der_x509_certificate(der)
    old = signed.tbs_certificate_bytes
    new = old.replace(_RSA_SHA256, _RSA_SHA256[:-1] + bytes([last]), 1)
    der = der.replace(old, new, 1).replace(_RSA_SHA256, _RSA_SHA256[:-1] + bytes([last]))
    return der.replace(signed.signature, key.sign(new, padding.PKCS1v15(), weak))


def make_factory(vendor: str, directory: Path) -> Factory:
    """A pretended factory; the one that is in the directory already, or a new one that is written there."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (directory / "cas.pem").exists():
        _build_factory(vendor, directory)
    root = _stored(directory, "root", ())
    policy = _stored(directory, "policy", root.chain)
    return Factory(vendor, root, policy, _stored(directory, "issuing", policy.chain), directory)


def _build_factory(vendor: str, directory: Path) -> None:
    title = f"Demo {_TITLES.get(vendor, vendor.title())} Factory"
    root = make_ca(f"{title} Root CA - not for production")
    policy = make_ca(f"{title} Policy CA - not for production", root)
    issuing = make_ca(f"{title} Issuing CA - not for production", policy)
    for name, one in (("root", root), ("policy", policy), ("issuing", issuing)):
        _write(directory / f"{name}-key.pem", _key_pem(one.key), 0o600)
        _write(directory / f"{name}.pem", _pem([one.certificate]), 0o644)
    _write(directory / "cas.pem", _pem(tuple(reversed(issuing.chain))), 0o644)


def _stored(directory: Path, name: str, above: tuple[x509.Certificate, ...]) -> Signer:
    return _signer(directory / f"{name}.pem", directory / f"{name}-key.pem", above)


def _signer(certificate: Path, key_file: Path, above: tuple[x509.Certificate, ...]) -> Signer:
    key = load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return Signer(x509.load_pem_x509_certificate(certificate.read_bytes()), key, above)
