"""Chains of every shape for judges of chains, with small EC keys; and a TLS server that shows one and says 404."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class One:
    """A certificate and its key."""

    cert: x509.Certificate
    key: Key = field(repr=False)

    @property
    def der(self) -> bytes:
        return self.cert.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.cert.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate(
    name: str,
    by: One | None = None,
    *,
    ca: bool = False,
    days: tuple[int, int] = (-1, 90),
    names: Sequence[str] = (),
    key: Key | None = None,
    hashed: hashes.HashAlgorithm | None = None,
) -> One:
    """Signed by another, or by itself; ``days`` from today that it begins and ends."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = by.key if by else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.cert.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + days[0] * DAY)
        .not_valid_after(NOW + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(one) for one in names]), False)
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashed or hashes.SHA256()
    return One(builder.sign(signer, algorithm), key)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Family:
    """A root, a CA below it, and a server's certificate below that."""

    def __init__(self, name: str = "Example", **leaf: object) -> None:
        self.root = certificate(f"{name} Root", ca=True, days=(-100, 3000))
        self.between = certificate(f"{name} Issuing", self.root, ca=True, days=(-90, 2000))
        given: dict[str, object] = {"names": ["localhost", "127.0.0.1"]} | leaf
        self.leaf = certificate("localhost", self.between, **given)  # type: ignore[arg-type]  # as given

    @property
    def chain(self) -> list[bytes]:
        return [self.leaf.der, self.between.der]


@contextlib.contextmanager
def showing(directory: Path, leaf: One, *above: One) -> Iterator[str]:
    """A server that shows this chain and answers every request with 404; its URL."""
    path = directory / "shown.pem"
    path.write_bytes(leaf.key_pem + leaf.pem + b"".join(one.pem for one in above))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(0.1)
        thread = threading.Thread(target=_serve, args=(sock, context, ended))
        thread.start()
        try:
            yield f"https://localhost:{sock.getsockname()[1]}/"
        finally:
            ended.set()
            thread.join(10)


def _serve(sock: socket.socket, context: ssl.SSLContext, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            plain, _ = sock.accept()
        except TimeoutError:
            continue
        with contextlib.suppress(OSError), plain:
            plain.settimeout(5)
            with context.wrap_socket(plain, server_side=True) as tls:
                while tls.recv(8192):
                    tls.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
