"""The TLS edge against independent clients: every chain shape, both versions, resumption, and everything hostile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto

from provisioner.errors import Unusable
from provisioner.http.tls import make_context
from provisioner.model import ListenerKind, TlsFacts
from tests.http.conftest import DAY, Edge, Pki, client_context, edge, fetch, get, issue, rsa_key

pytestmark = pytest.mark.filterwarnings("error")

VERSIONS = ["1.2", "1.3"]
SHAPES: dict[str, tuple[tuple[int, int], ...]] = {
    # X509_V_ERR codes at depth 0: 10 expired, 9 not yet valid, 66 key too small, 68 weak digest, 18 self-signed
    "good": (),
    "leaf_only": (),
    "with_root": (),
    "elliptic": (),
    "expired": ((10, 0),),
    "early": ((9, 0),),
    "small": ((66, 0),),
    "sha1": ((68, 0),),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.asyncio
async def test_every_certificate_of_our_factory_reaches_the_verdict(pki: Pki, shape: str, version: str) -> None:
    async with edge(pki.context()) as server:
        answer, *_ = await get(client_context(pki, getattr(pki, shape), version), server.port)
        assert answer.startswith(b"HTTP/1.1 200")
        [cert] = server.certs
        assert cert is not None
        assert cert.errors == SHAPES[shape]
        assert not cert.resumed
        assert cert.chain[0] == cert.leaf == _leaf_der(getattr(pki, shape))
        assert cert.chain[1:] == (pki.issuing.der, pki.root.der)
        assert server.counts[f"tls_done TLSv{version}_full"] == 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.asyncio
async def test_a_stranger_s_certificate_completes_and_is_marked(pki: Pki, version: str) -> None:
    async with edge(pki.context()) as server:
        await get(client_context(pki, pki.self_signed, version), server.port)
        await get(client_context(pki, pki.stranger, version), server.port)
        alone, unknown = server.certs
        assert alone is not None
        assert unknown is not None
        assert {code for code, _ in alone.errors} == {18}
        assert {code for code, _ in unknown.errors} == {19}
        assert pki.root.der not in unknown.chain


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.asyncio
async def test_no_certificate_is_no_certificate(pki: Pki, version: str) -> None:
    async with edge(pki.context()) as server:
        answer, *_ = await get(client_context(pki, None, version), server.port)
        assert answer.startswith(b"HTTP/1.1 200")
        assert server.certs == [None]
        [facts] = server.facts
        assert isinstance(facts, TlsFacts)
        assert (facts.version, facts.sni) == (f"TLSv{version}", "localhost")
        assert "AES_128_GCM" in facts.cipher.replace("AES128-GCM", "AES_128_GCM")


@pytest.mark.asyncio
async def test_each_key_type_is_served_to_those_who_know_it(pki: Pki) -> None:
    async with edge(pki.context()) as server:
        for cipher, curve in (("ECDHE-RSA-AES128-GCM-SHA256", False), ("ECDHE-ECDSA-AES128-GCM-SHA256", True)):
            context = client_context(pki, pki.good, "1.2")
            context.set_ciphers(cipher)
            await get(context, server.port)
            facts = server.facts[-1]
            assert facts is not None
            assert facts.cipher == cipher
            assert ("ECDSA" in facts.cipher) is curve
        await get(client_context(pki, pki.good, "1.2"), server.port)
        assert server.facts[-1] is not None
        assert "ECDSA" in server.facts[-1].cipher  # the cheap one, when the client takes both


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shape", ["good", "expired", "stranger"])
@pytest.mark.asyncio
async def test_a_resumed_session_has_its_leaf_no_chain_and_the_old_trouble(pki: Pki, shape: str, version: str) -> None:
    async with edge(pki.context()) as server:
        context = client_context(pki, getattr(pki, shape), version)
        _, session, first = await get(context, server.port)
        answer, _, second = await get(context, server.port, "b.cfg", session)
        assert answer.endswith(b"ok GET /b.cfg 0")
        assert (first, second) == (False, True)
        full, resumed = server.certs
        assert full is not None
        assert resumed is not None
        assert (resumed.leaf, resumed.chain, resumed.resumed) == (full.leaf, (), True)
        assert bool(resumed.errors) is bool(full.errors)
        assert server.counts[f"tls_done TLSv{version}_resumed"] == 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.asyncio
async def test_a_ticket_of_one_worker_resumes_in_another(pki: Pki, version: str) -> None:
    context = pki.context()
    ours, theirs = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if not child:
        _serve_forked(context, theirs)
    try:
        client = client_context(pki, pki.good, version)
        _, session, _ = await asyncio.to_thread(fetch, client, theirs.getsockname()[1])
        async with edge(context) as server:
            _, _, resumed = await get(client, server.port, "a", session)
            assert resumed
            assert server.certs[0] is not None
            assert server.certs[0].leaf == pki.leaf.der
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)  # noqa: ASYNC222  # it was killed in the line above
        ours.close()
        theirs.close()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("begun", [ListenerKind.DEVICE, ListenerKind.LEGACY])
@pytest.mark.asyncio
async def test_a_ticket_is_worth_nothing_on_another_listener(pki: Pki, begun: ListenerKind, version: str) -> None:
    """Each has ticket keys of its own, and a name for its sessions that the other refuses."""
    old = pki.context(ListenerKind.LEGACY)
    async with edge(pki.context()) as device, edge(old, kind=ListenerKind.LEGACY) as legacy:
        here, there = (device, legacy) if begun is ListenerKind.DEVICE else (legacy, device)
        client = client_context(pki, pki.good, version)
        _, session, _ = await get(client, here.port)
        answer, _, resumed = await get(client, there.port, "a", session)
        assert not resumed and answer.startswith(b"HTTP/1.1 200")
        assert there.certs[0] is not None and there.certs[0].chain, "a whole handshake with the whole chain"
        assert (await get(client, here.port, "b", session))[2], "it was a ticket"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.asyncio
async def test_a_ticket_s_name_alone_opens_nothing(pki: Pki, version: str) -> None:
    """Two contexts of one kind call their sessions alike; it is the keys that keep them apart."""
    async with edge(pki.context()) as one, edge(pki.context()) as other:
        client = client_context(pki, pki.good, version)
        _, session, _ = await get(client, one.port)
        assert not (await get(client, other.port, "a", session))[2]


@pytest.mark.asyncio
async def test_old_tls_only_on_the_legacy_listener(pki: Pki) -> None:
    old = client_context(pki, pki.small)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        old.maximum_version = ssl.TLSVersion.TLSv1
    async with edge(pki.context()) as device, edge(pki.context(ListenerKind.LEGACY)) as legacy:
        with pytest.raises(ssl.SSLError):
            await get(old, device.port)
        await device.counted("tls_refused old_version")
        answer, *_ = await get(old, legacy.port)
        assert answer.startswith(b"HTTP/1.1 200")
        [cert], [facts] = legacy.certs, legacy.facts
        assert cert is not None
        assert cert.errors == ()  # SECLEVEL 0 forgives 1024 bits; the listener's own policy judges
        assert facts is not None
        assert facts.version == "TLSv1"


@pytest.mark.asyncio
async def test_no_finite_field_diffie_hellman_anywhere(pki: Pki) -> None:
    for kind in (ListenerKind.DEVICE, ListenerKind.LEGACY):
        async with edge(pki.context(kind)) as server:
            context = client_context(pki, pki.good, "1.2")
            context.set_ciphers("DHE:@SECLEVEL=0")
            with pytest.raises(ssl.SSLError):
                await get(context, server.port)
            await server.counted("tls_refused no_shared_cipher")


@pytest.mark.asyncio
async def test_alpn_is_http11_or_nothing(pki: Pki) -> None:
    async with edge(pki.context()) as server:
        for offered, chosen in ((["h2", "http/1.1"], "http/1.1"), ([], None)):
            context = client_context(pki)
            if offered:
                context.set_alpn_protocols(offered)
            assert await asyncio.to_thread(_alpn, context, server.port) == chosen
        context = client_context(pki)
        context.set_alpn_protocols(["h2"])
        with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
            await asyncio.to_thread(_alpn, context, server.port)
        await server.counted("tls_refused no_http11")


# --- other people's clients ------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.asyncio
async def test_curl_gets_its_file_and_keeps_the_connection(pki: Pki, version: str) -> None:
    curl = shutil.which("curl")
    assert curl, "the tests need curl"
    async with edge(pki.context()) as server:
        url = f"https://localhost:{server.port}/one"
        out = await _run(
            *(curl, "-sS", "--resolve", f"localhost:{server.port}:127.0.0.1", f"--tlsv{version}"),
            *("--tls-max", version, "--cacert", pki.server_ca_file, "--cert", pki.leaf_only, url, url),
        )
        assert out == "ok GET /one 0" * 2
        assert server.counts["connections opened"] == 1


@pytest.mark.asyncio
async def test_s_client_sees_an_empty_ca_list_and_no_compression(pki: Pki) -> None:
    async with edge(pki.context()) as server:
        out = await _s_client(pki, server, b"R\n", "-tls1_2", "-cert", pki.good)
        assert "No client certificate CA names sent" in out
        assert "Compression: NONE" in out
        assert "verify return:1" in out
        last = b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answer = await _s_client(pki, server, last, "-tls1_3", "-quiet", "-ign_eof")
        assert "ok GET /x 0" in answer


@pytest.mark.asyncio
async def test_renegotiation_is_refused(pki: Pki) -> None:
    async with edge(pki.context()) as server:
        openssl = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2", "-legacy_renegotiation"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        await server.counted("tls_done TLSv1.2_full")
        assert openssl.stdin is not None
        openssl.stdin.write(b"R\n")
        await asyncio.wait_for(openssl.stdin.drain(), 5)
        out, _ = await asyncio.wait_for(openssl.communicate(), 20)
        assert b"RENEGOTIATING" in out
        assert b"no renegotiation" in out
        assert server.counts["tls_done TLSv1.2_full"] == 1


# --- contexts refuse to be built on sand --------------------------------------------------------------


def test_a_context_says_what_is_wrong_with_its_files(pki: Pki, tmp_path: Path) -> None:
    def refuse(*paths: Path, ca: bytes = b"") -> str:
        with pytest.raises(Unusable) as caught:
            make_context(ListenerKind.DEVICE, paths, ca)
        return caught.value.cause

    assert "No such file" in refuse(tmp_path / "none.pem")
    assert "tls.certificates is empty" in refuse()
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("not PEM")
    assert "no readable certificate" in refuse(garbage)
    mixed = tmp_path / "mixed.pem"
    mixed.write_bytes(pki.issuing.key_pem + pki.leaf.cert_pem)
    assert "does not belong to its certificate" in refuse(mixed)
    keyless = tmp_path / "keyless.pem"
    keyless.write_bytes(pki.leaf.cert_pem)
    assert "holds no RSA or EC key" in refuse(keyless)
    broken = tmp_path / "broken.pem"
    broken.write_bytes(pki.leaf.cert_pem + pki.leaf.key_pem.replace(pki.leaf.key_pem.split()[5], b"A" * 64))
    assert "key cannot be read" in refuse(broken)
    old = tmp_path / "old.pem"
    old.write_bytes(issue("localhost", rsa_key(), first=-9 * DAY, last=2).pem())
    assert "renew it" in refuse(old)
    assert "not PEM" in refuse(pki.server_rsa, ca=b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_is_refused_and_nobody_is_asked(tmp_path: Path, form: serialization.PrivateFormat) -> None:
    one = issue("localhost", rsa_key())
    key = serialization.load_pem_private_key(one.key_pem, None)
    locked = serialization.BestAvailableEncryption(b"sesame")
    path = tmp_path / "locked.pem"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, locked) + one.cert_pem)
    script = (
        "import sys; from pathlib import Path; from provisioner.http.tls import make_context;"
        "from provisioner.model import ListenerKind; make_context(ListenerKind.DEVICE, [Path(sys.argv[1])], b'')"
    )
    # A terminal of its own: there OpenSSL would ask, and wait.
    asking, terminal = os.openpty()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, asking)
        done = subprocess.run(
            [sys.executable, "-c", "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);" + script, path],
            stdin=terminal,
            capture_output=True,
            timeout=20,
            start_new_session=True,
            check=False,
        )
        os.close(terminal)
    assert b"its key is encrypted" in done.stderr
    assert b"Unusable" in done.stderr


def test_key_and_chain_come_from_one_read(pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is exchanged the moment it was read."""
    path = tmp_path / "server.pem"
    path.write_bytes(pki.server_rsa.read_bytes())
    read = Path.read_bytes

    def read_and_renew(self: Path) -> bytes:
        content = read(self)
        self.write_bytes(issue("localhost", rsa_key()).pem())
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_renew)
    context = make_context(ListenerKind.DEVICE, [path], b"")
    monkeypatch.undo()
    ours, theirs = SSL.Connection(context, None), SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    ours.set_accept_state()
    theirs.set_connect_state()
    for _ in range(4):
        for one, other in ((theirs, ours), (ours, theirs)):
            with contextlib.suppress(SSL.WantReadError):
                one.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))
    sent = theirs.get_peer_cert_chain()
    assert sent is not None
    assert len(sent) == 2
    assert crypto.dump_certificate(crypto.FILETYPE_ASN1, sent[0]) == _leaf_der(pki.server_rsa)


# --- what the tests above use ---------------------------------------------------------------------------


def _leaf_der(path: Path) -> bytes:
    text = path.read_text()
    start = text.index("-----BEGIN CERTIFICATE-----")
    return ssl.PEM_cert_to_DER_cert(text[start : text.index("-----END CERTIFICATE-----") + 25])


def _serve_forked(context: SSL.Context, sock: socket.socket) -> None:
    """A worker in a child process: one listener on a context that was made before the fork."""
    from provisioner.http.listener import Listener, http_limits
    from provisioner.http.server import QuietServer
    from provisioner.settings import Settings

    async def ok(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="forked")

    async def serve() -> None:
        chosen = Settings()
        server = QuietServer(ok, lambda *_: None, **http_limits(chosen))
        Listener(ListenerKind.DEVICE, sock, context, server, chosen, lambda *_: None).start()
        await asyncio.sleep(60)

    asyncio.events._set_running_loop(None)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(serve())


def _alpn(context: ssl.SSLContext, port: int) -> str | None:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        return tls.selected_alpn_protocol()


async def _run(*command: Any) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    return out.decode(errors="replace")


async def _s_client(pki: Pki, server: Edge, stdin: bytes, *options: Any) -> str:
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", str(pki.server_ca_file)),
        *(str(one) for one in options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(stdin), 30)
    return out.decode(errors="replace")
