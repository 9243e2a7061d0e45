"""A real listener on port 0 and factory chains of every shape; made once a session, keys are the slow part."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from provisioner.flight_notes import FlightSink
from provisioner.gate import Storm
from provisioner.http.listener import Listener, http_limits
from provisioner.http.server import QuietServer
from provisioner.http.tls import make_context
from provisioner.model import ListenerKind, PeerCert, TlsFacts
from provisioner.settings import Settings

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    def pem(self, *chain: Issued) -> bytes:
        return self.key_pem + b"".join(one.cert_pem for one in (self, *chain))

    @property
    def cert_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def issue(
    name: str, key: Key, issuer: Issued | None = None, *, ca: bool = False, first: timedelta = -DAY, last: int = 3650
) -> Issued:
    """A certificate that is valid from ``first`` from now, for ``last`` days; self-signed without an issuer."""
    start = datetime.now(UTC) + first
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + last * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    return Issued(builder.sign(signer, hashes.SHA256()), key)


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


class Pki:
    """The server's chains, a factory with an issuing CA, and leaves that are right or wrong in one way each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        key = rsa_key()
        self.server_ca = issue("Server CA", rsa_key(), ca=True)
        self.server_rsa = self._write("server-rsa", issue("localhost", rsa_key(), self.server_ca), self.server_ca)
        ec_key = ec.generate_private_key(ec.SECP256R1())
        self.server_ec = self._write("server-ec", issue("localhost", ec_key, self.server_ca), self.server_ca)
        self.server_ca_file = directory / "server-ca.pem"
        self.server_ca_file.write_bytes(self.server_ca.cert_pem)
        self.root = issue("Factory Root", rsa_key(), ca=True)
        self.issuing = issue("Factory Issuing", rsa_key(), self.root, ca=True)
        self.stranger_root = issue("Stranger Root", rsa_key(), ca=True)
        self.leaf = issue("0004F2AABBCC", key, self.issuing)
        self.good = self._write("good", self.leaf, self.issuing)
        self.leaf_only = self._write("leaf-only", self.leaf)
        self.with_root = self._write("with-root", self.leaf, self.issuing, self.root)
        self.expired = self._write(
            "expired", issue("0004F2AABBCC", key, self.issuing, first=-10 * DAY, last=1), self.issuing
        )
        self.early = self._write("early", issue("0004F2AABBCC", key, self.issuing, first=DAY), self.issuing)
        self.self_signed = self._write("self-signed", issue("0004F2AABBCC", key))
        self.stranger = self._write("stranger", issue("0004F2AABBCC", key, self.stranger_root), self.stranger_root)
        self.small = self._write("small", issue("0004F2AABBCC", rsa_key(1024), self.issuing), self.issuing)
        self.elliptic = self._write("ec", issue("0004F2AABBCC", ec_key, self.issuing), self.issuing)
        self.sha1 = self._sha1(key)

    def _write(self, name: str, leaf: Issued, *chain: Issued) -> Path:
        path = self.directory / f"{name}.pem"
        path.write_bytes(leaf.pem(*chain))
        return path

    def _sha1(self, key: Key) -> Path:
        """The cryptography package no longer signs with SHA-1; openssl still does."""
        at = self.directory
        (at / "issuing-key.pem").write_bytes(self.issuing.key_pem)
        (at / "issuing.pem").write_bytes(self.issuing.cert_pem)
        leaf = Issued(self.leaf.certificate, key)
        (at / "leaf-key.pem").write_bytes(leaf.key_pem)
        run = ["openssl", "req", "-new", "-key", at / "leaf-key.pem", "-subj", "/CN=0004F2AABBCC", "-out", at / "r.pem"]
        subprocess.run(run, check=True, capture_output=True)
        sign = [
            *("openssl", "x509", "-req", "-sha1", "-in", at / "r.pem", "-CA", at / "issuing.pem"),
            *("-CAkey", at / "issuing-key.pem", "-set_serial", "7", "-days", "99", "-out", at / "s.pem"),
        ]
        subprocess.run(sign, check=True, capture_output=True)
        path = at / "sha1.pem"
        path.write_bytes(leaf.key_pem + (at / "s.pem").read_bytes() + self.issuing.cert_pem)
        return path

    @property
    def factory_cas(self) -> bytes:
        return self.root.cert_pem + self.issuing.cert_pem

    def context(self, kind: ListenerKind = ListenerKind.DEVICE) -> Any:
        return make_context(kind, [self.server_rsa, self.server_ec], self.factory_cas)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@dataclass
class Edge:
    """A listener under test, what it counted, and what each request saw."""

    listener: Listener
    port: int
    counts: Counter[str] = field(default_factory=Counter)
    certs: list[PeerCert | None] = field(default_factory=list)
    facts: list[TlsFacts | None] = field(default_factory=list)

    async def until(self, happened: Callable[[], bool], seconds: float = 8.0) -> None:
        """Wait for what other tasks do."""
        async with asyncio.timeout(seconds):
            while not happened():  # noqa: ASYNC110  # what is waited for happens in the product, which sets no event
                await asyncio.sleep(0.01)

    async def counted(self, label: str, times: int = 1) -> None:
        try:
            await self.until(lambda: self.counts[label] >= times)
        except TimeoutError:
            pytest.fail(f"{label} was not counted {times} times: {dict(self.counts)}")

    async def empty(self) -> None:
        await self.until(lambda: not len(self.listener))


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def edge(
    context: Any,
    handler: Handler | None = None,
    kind: ListenerKind = ListenerKind.DEVICE,
    *,
    eager: bool = False,
    storm: Storm | None = None,
    flights: FlightSink | None = None,
    **settings: Any,
) -> AsyncIterator[Edge]:
    """Serve ``handler`` (by default an "ok") on a free port; at the end every connection must be gone."""
    seen: Edge

    async def ok(request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        seen.certs.append(transport.get_extra_info("peer_cert"))
        seen.facts.append(transport.get_extra_info("tls_facts"))
        body = await request.read()
        return web.Response(text=f"ok {request.method} {request.path} {len(body)}")

    def count(metric: str, label: str) -> None:
        seen.counts[f"{metric} {label}"] += 1

    chosen = Settings(**settings)
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = QuietServer(handler or ok, count, eager=eager, **http_limits(chosen))
    listener = Listener(kind, sock, context, server, chosen, count, storm=storm, flights=flights)
    seen = Edge(listener, sock.getsockname()[1])
    listener.start()
    try:
        yield seen
    finally:
        await listener.drain(0.2)
        sock.close()
        assert seen.counts["connections opened"] == seen.counts["connections closed"]


def client_context(pki: Pki, certificate: Path | None = None, version: str = "") -> ssl.SSLContext:
    """A stdlib client; ``version`` "1.2" or "1.3" pins it. Weak certificates need its own SECLEVEL lowered."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_verify_locations(pki.server_ca_file)
    if certificate:
        context.load_cert_chain(certificate)
    if version:
        context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, "TLSv" + version.replace(".", "_"))
    return context


REQUEST = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"


def fetch(
    context: ssl.SSLContext, port: int, path: str = "a.cfg", session: ssl.SSLSession | None = None
) -> tuple[bytes, ssl.SSLSession | None, bool]:
    """One GET on a new connection, by a blocking independent client: answer, session, whether it was resumed."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost", session=session) as tls,
    ):
        tls.sendall(REQUEST % path.encode())
        answer = tls.recv(65536)
        return answer, tls.session, bool(tls.session_reused)


async def get(*arguments: Any) -> tuple[bytes, ssl.SSLSession | None, bool]:
    return await asyncio.to_thread(fetch, *arguments)


def client_hello(pki: Pki) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context(pki).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def exchange(port: int, pieces: list[bytes]) -> bytes:
    """Send the pieces raw and read to the end; a reset is a failure."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        for piece in pieces:
            raw.sendall(piece)
        answer = b""
        while data := raw.recv(65536):
            answer += data
        return answer


def reset(raw: socket.socket) -> None:
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()
