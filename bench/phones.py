"""The client: boots phones one after another, as fast as the server lets it; small, and the same for both servers."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fleet_of
import servers


@dataclass(frozen=True)
class Mode:
    """How phones connect."""

    name: str
    version: ssl.TLSVersion
    ciphers: str
    per_file: bool = False
    """A connection per file instead of one for the boot."""
    resume: bool = False
    """Per file: each connection after the boot's first resumes it. Kept: the connection resumes an earlier boot's."""


RSA12 = ("RSA TLS 1.2", ssl.TLSVersion.TLSv1_2, servers.RSA_CIPHER)
EC12 = ("P-256 TLS 1.2", ssl.TLSVersion.TLSv1_2, servers.EC_CIPHER)
TLS13 = ("TLS 1.3", ssl.TLSVersion.TLSv1_3, "")
MODES = tuple(
    Mode(f"{crypto}, {how}", version, ciphers, per_file, resume)
    for crypto, version, ciphers in (RSA12, EC12, TLS13)
    for how, per_file, resume in (
        ("one kept connection", False, False),
        ("one kept connection, resumed", False, True),
        ("a connection per file", True, False),
        ("a connection per file, resumed", True, True),
    )
)


def context(mode: Mode, phone: fleet_of.Phone, ca: Path) -> ssl.SSLContext:
    """One phone's TLS: it sends its leaf and the issuing CA."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(ca)
    made.load_cert_chain(phone.certificate, phone.key)
    made.minimum_version = made.maximum_version = mode.version
    if mode.ciphers:
        made.set_ciphers(mode.ciphers)
    return made


class Boots:
    """Phones that boot against one port in one way."""

    def __init__(self, port: int, mode: Mode, phones: Sequence[fleet_of.Phone], ca: Path) -> None:
        self._port = port
        self._mode = mode
        self.vendor = phones[0].vendor
        self._phones = [(phone, context(mode, phone, ca)) for phone in phones]
        self._sessions: dict[str, ssl.SSLSession] = {}
        self.negotiated: set[tuple[str, str, int]] = set()
        """Version, cipher and size of the server's certificate of every connection made."""
        self.seconds: list[float] = []
        """How long each boot took."""

    def run(self, number: int, first: int = 0) -> None:
        """Boot ``number`` phones, each in its turn, from the ``first`` on."""
        for index in range(first, first + number):
            begun = time.perf_counter()
            phone, made = self._phones[index % len(self._phones)]
            self._boot(phone, made)
            self.seconds.append(time.perf_counter() - begun)

    def meet(self) -> None:
        """Boot every phone once, so that there is a session to resume."""
        self.run(len(self._phones))
        self.seconds.clear()

    def handshakes(self, number: int, *, resumed: bool = False) -> None:
        """Connect and take leave, without a request."""
        for index in range(number):
            phone, made = self._phones[index % len(self._phones)]
            leave(self.connect(made, self._sessions[phone.mac] if resumed else None))

    def _boot(self, phone: fleet_of.Phone, made: ssl.SSLContext) -> None:
        mode, connection = self._mode, None
        session = self._sessions.get(phone.mac) if mode.resume and not mode.per_file else None
        for name, status in phone.files:
            if connection is None:
                connection = self.connect(made, session)
            got, _ = exchange(connection, name, phone.user_agent, close=mode.per_file)
            if got != status:
                raise SystemExit(f"{name}: {got} instead of {status}")
            self._sessions[phone.mac] = connection.session  # TLS 1.3: the tickets have come with the answer
            if mode.per_file:
                session = connection.session if mode.resume else None
                leave(connection)
                connection = None
        if connection is not None:
            leave(connection)

    def connect(self, made: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        """A connection on which the server has proven itself and agreed to the mode."""
        raw = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = made.wrap_socket(raw, server_hostname="localhost", session=session)
        if session is not None and not connection.session_reused:
            raise SystemExit("the server did not resume")
        self.negotiated.add((str(connection.version()), connection.cipher()[0], len(connection.getpeercert(True))))
        return connection


def leave(connection: ssl.SSLSocket) -> None:
    """close_notify both ways, then TCP."""
    with contextlib.suppress(OSError):
        connection.unwrap()
    connection.close()


def exchange(connection: ssl.SSLSocket, name: str, user_agent: str, *, close: bool = False) -> tuple[int, bytes]:
    """One GET: the status, and the body read to its end."""
    ending = "Connection: close\r\n" if close else ""
    connection.sendall(f"GET /{name} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {user_agent}\r\n{ending}\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
    while len(body) < length:
        body += receive(connection)
    return int(lines[0].split()[1]), body


def receive(connection: ssl.SSLSocket) -> bytes:
    """Some bytes, or an end to the benchmark."""
    data = connection.recv(65536)
    if not data:
        raise SystemExit("the server closed in the middle")
    return data


def bodies(port: int, fleet: fleet_of.Installation) -> dict[str, bytes]:
    """Every file that is there, as our server renders it: what nginx will serve from disk."""
    found = {}
    mode = Mode("", ssl.TLSVersion.TLSv1_3, "")
    for phone in fleet.phones:
        connection = Boots(port, mode, [phone], fleet.ca).connect(context(mode, phone, fleet.ca))
        for name, wanted in phone.files:
            status, body = exchange(connection, name, phone.user_agent)
            if status != wanted:
                raise SystemExit(f"{name}: {status} instead of {wanted}")
            if status == 200:
                found[name] = body
        leave(connection)
    return found
