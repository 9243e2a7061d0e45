"""Real handshakes in memory: pyOpenSSL serves and lets every certificate through, stdlib ssl is the phone."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from provisioner.certificates import Anchors, fingerprint, to_der
from provisioner.model import PeerCert
from provisioner.pki import Factory

DAY = timedelta(days=1)
TODAY = datetime.now(UTC)
LONG_AGO = {"not_before": TODAY - 4000 * DAY, "not_after": TODAY - 400 * DAY}

Leaf = tuple[bytes, bytes, bytes]


@dataclass
class Tls:
    """One server context: what its callback saw is what identity gets."""

    cas: bytes
    level: int = 2
    version: int = ssl.TLSVersion.TLSv1_3

    def __post_init__(self) -> None:
        self.seen: list[tuple[int, int]] = []
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_cipher_list(f"DEFAULT@SECLEVEL={self.level}".encode())
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(TODAY - DAY).not_valid_after(TODAY + DAY)
        context.use_certificate(builder.sign(key, hashes.SHA256()))
        context.use_privatekey(key)
        store = context.get_cert_store()
        assert store is not None
        for der in to_der(self.cas):
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, der))
        context.set_session_id(b"test")
        context.set_verify(SSL.VERIFY_PEER, self._note)
        self.context = context

    def _note(self, _connection: object, _cert: object, error: int, depth: int, _ok: int) -> bool:
        if error:
            self.seen.append((error, depth))
        return True

    def client(self, directory: Path, leaf: bytes, key: bytes, chain: bytes) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion(self.version)
        (directory / "phone.pem").write_bytes(key + leaf + chain)
        context.load_cert_chain(directory / "phone.pem")
        return context

    def meet(self, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> tuple[PeerCert, ssl.SSLSession]:
        """A whole handshake and a byte each way, which carries TLS 1.3's tickets."""
        self.seen = []
        inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        phone = client.wrap_bio(inward, outward, session=session)
        server = SSL.Connection(self.context)
        server.set_accept_state()
        steps: list[Callable[[], object]] = [phone.do_handshake, server.do_handshake]
        done: set[int] = set()
        for _ in range(20):
            for which, step in enumerate(steps):
                if which not in done and self._try(step):
                    done.add(which)
                self._carry(server, inward, outward)
        assert done == {0, 1}
        server.send(b"x")
        self._carry(server, inward, outward)
        assert phone.read(1) == b"x"
        return self._peer(server, bool(phone.session_reused)), phone.session

    @staticmethod
    def _try(step: Callable[[], object]) -> bool:
        try:
            step()
        except (ssl.SSLWantReadError, SSL.WantReadError):
            return False
        return True

    @staticmethod
    def _carry(server: SSL.Connection, inward: ssl.MemoryBIO, outward: ssl.MemoryBIO) -> None:
        if sent := outward.read():
            server.bio_write(sent)
        with suppress(SSL.WantReadError):
            inward.write(server.bio_read(65536))

    def _peer(self, server: SSL.Connection, resumed: bool) -> PeerCert:
        leaf = server.get_peer_certificate()
        assert leaf is not None
        chain = server.get_verified_chain() or []
        ders = tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in chain)
        der = crypto.dump_certificate(crypto.FILETYPE_ASN1, leaf)
        return PeerCert(der, ders, tuple(self.seen), resumed)


def anchored(*factories: Factory, issuing: bool = True, denied: dict[str, str] | None = None) -> Anchors:
    roots, cas = {}, []
    for factory in factories:
        signers = (factory.root, factory.policy, factory.issuing) if issuing else (factory.root,)
        ders = [one.certificate.public_bytes(Encoding.DER) for one in signers]
        roots[fingerprint(ders[0])] = (factory.vendor, "root")
        cas += ders
    return Anchors(roots, tuple(cas), denied or {})


def cas_of(*factories: Factory, issuing: bool = True) -> bytes:
    return b"".join((one.cas_pem if issuing else one.root_pem).read_bytes() for one in factories)


def presented(
    tmp_path: Path, cas: bytes, leaf: Leaf, *, level: int = 2, version: int = ssl.TLSVersion.TLSv1_3
) -> PeerCert:
    tls = Tls(cas, level, version)
    return tls.meet(tls.client(tmp_path, *leaf))[0]
