"""A boot over real TLS as frames, and the secrets of both ends; canaries stand where a secret can stand."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import trustme
from wire import Talk, Tape, spoken

from provisioner.evidence.key_lines import KeyLog

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
CANARIES = (b"kanarienvogel-passwort", b"Z2VoZWlt", b"AbCdEfGhIjKlMnOpQrStUv", b"frage=geheim")
REQUEST = (
    b"GET /t/AbCdEfGhIjKlMnOpQrStUv/0004f2aabbcc.cfg?frage=geheim HTTP/1.1\r\nHost: prov.example.net\r\n"
    b"User-Agent: FileTransport PolycomVVX-VVX_411-UA/6.4.0\r\nAuthorization: Basic Z2VoZWlt\r\n\r\n"
)
CONFIG = b"account.1.password = kanarienvogel-passwort\n" * 2000
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(CONFIG), CONFIG)
SUITES = {
    "1.3": (TLS_1_3, ""),
    "1.2 AES-128": (TLS_1_2, "ECDHE+AES128+AESGCM"),
    "1.2 AES-256": (TLS_1_2, "ECDHE+AES256+AESGCM"),
    "1.2 ChaCha20": (TLS_1_2, "ECDHE+CHACHA20"),
}

Turns = Sequence[tuple[str, bytes]]


def talked(
    folder: Path, version: ssl.TLSVersion, ciphers: str = "", *, answer: bytes = ANSWER, curve: str = ""
) -> tuple[Turns, Path]:
    """What two real ends put on the wire, and the file with their secrets."""
    ca, log = trustme.CA(), folder / f"keys-{len(list(folder.iterdir()))}"
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.issue_cert("prov.example.net").configure_cert(server)
    ca.configure_trust(client)
    server.keylog_filename = str(log)
    client.minimum_version = client.maximum_version = version
    if ciphers:
        client.set_ciphers(ciphers)
    if curve:
        server.set_ecdh_curve(curve)
    return list(spoken(client, server, request=REQUEST, answer=answer)), log


def keys(log: Path) -> KeyLog:
    return KeyLog(log.read_text("ascii").splitlines())


def tape_of(turns: Turns, spoil: Callable[[Tape], object] = lambda _: None, **ends: object) -> Tape:
    tape = Tape()
    Talk(tape, **ends).open().flow(turns).close()  # type: ignore[arg-type]  # ports and addresses
    spoil(tape)
    return tape
