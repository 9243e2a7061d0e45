"""A phone that calls over real sockets, written from the RFCs and independent of the code under test."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
import secrets
import ssl
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

KEYS = "0123456789*#"
_LINE = re.compile(r"([^:]+):\s*(.*)")


@dataclass
class Message:
    """What came, taken apart in the simplest way."""

    start: str
    headers: list[tuple[str, str]]
    body: bytes

    @classmethod
    def of(cls, data: bytes) -> Message:
        head, _, body = data.partition(b"\r\n\r\n")
        start, *lines = head.decode().split("\r\n")
        return cls(start, [_LINE.fullmatch(line).groups() for line in lines], body)  # type: ignore[union-attr,misc]  # a test fails where it is none

    @property
    def status(self) -> int:
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        return "" if self.status else self.start.split()[0]

    def get(self, name: str) -> str:
        return next((value for one, value in self.headers if one == name), "")


class _Wire(asyncio.DatagramProtocol, asyncio.Protocol):
    """Datagrams and streams alike; the server sends whole messages."""

    def __init__(self, heard: Callable[[bytes], None], senders: set[str] | None = None) -> None:
        self._heard = heard
        self._rest = b""
        self._senders = senders

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._senders is not None:
            self._senders.add(addr[0])
        self._heard(data)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while (end := self._rest.find(b"\r\n\r\n")) >= 0:
            found = re.search(rb"Content-Length: (\d+)", self._rest[:end])
            whole = end + 4 + int(found[1] if found else 0)
            if len(self._rest) < whole:
                return
            message, self._rest = self._rest[:whole], self._rest[whole:]
            self._heard(message)

    def error_received(self, _exc: Exception) -> None:
        """A closed port of the server; the test sees that nobody answers."""


class CallPhone:
    """One phone: ``await CallPhone.open(...)``, ``register``, ``call``, ``key``, ``hang_up``, ``close``."""

    def __init__(self, mac: str, user: str, secret: str, server: tuple[str, int], transport: str) -> None:
        self.mac, self.user, self.secret, self.server, self.transport = mac, user, secret, server, transport
        self.frames: list[bytes] = []
        """Sound, 20 ms each, as it came."""
        self.arrivals: list[float] = []
        self.senders: set[str] = set()
        """Where datagrams came from."""
        self.left = asyncio.Event()
        """The server has said BYE."""
        self.notified: asyncio.Queue[str] = asyncio.Queue()
        self.agreed: Message | None = None
        """The answer to the INVITE."""
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._cseq = itertools.count(1)
        self._call_id = f"{secrets.token_hex(8)}@phone"
        self._to = ""
        self._seq = itertools.count(secrets.randbits(12))
        self._ts = secrets.randbits(20)
        self._talking: asyncio.Task[None] | None = None
        self._rtp: asyncio.DatagramTransport | None = None
        self.media_to = ("", 0)

    @classmethod
    async def open(
        cls,
        mac: str,
        user: str,
        secret: str,
        server: tuple[str, int],
        transport: str = "udp",
        context: ssl.SSLContext | None = None,
    ) -> CallPhone:
        phone = cls(mac, user, secret, server, transport)
        loop = asyncio.get_running_loop()
        if transport == "udp":
            phone._wire, _ = await loop.create_datagram_endpoint(
                lambda: _Wire(phone._heard, phone.senders), local_addr=("127.0.0.1", 0)
            )
        else:
            phone._wire, _ = await loop.create_connection(  # type: ignore[assignment]  # one of the two
                lambda: _Wire(phone._heard), *server, ssl=context, server_hostname="localhost" if context else None
            )
        phone._rtp, _ = await loop.create_datagram_endpoint(
            lambda: _Wire(phone._sound, phone.senders), local_addr=("127.0.0.1", 0)
        )
        return phone

    _wire: Any

    def close(self) -> None:
        if self._talking is not None:
            self._talking.cancel()
        self._wire.abort()
        if self._rtp is not None:
            self._rtp.close()

    # --- SIP ------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        if self.transport == "udp":
            self._wire.sendto(data, self.server)
        else:
            self._wire.write(data)

    def _heard(self, data: bytes) -> None:
        message = Message.of(data)
        if message.status:
            self._answers.put_nowait(message)
            return
        if message.method == "BYE":
            self.left.set()
        elif message.method == "NOTIFY":
            self.notified.put_nowait(message.get("Event"))
        kept = [f"{name}: {value}" for name, value in message.headers if name in {"Via", "From", "Call-ID", "CSeq"}]
        to = message.get("To") + ("" if ";tag=" in message.get("To") else ";tag=phone")
        self.send("\r\n".join(["SIP/2.0 200 OK", *kept, f"To: {to}", "Content-Length: 0", "", ""]).encode())

    def request(self, method: str, uri: str, *headers: str, body: bytes = b"", cseq: int = 0) -> bytes:
        host, port = self._wire.get_extra_info("sockname")[:2]
        number = cseq or next(self._cseq)
        to = self._to or f"<{uri}>" if method != "REGISTER" else f"<sip:{self.mac}@localhost>"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{self.transport.upper()} {host}:{port};rport;branch=z9hG4bK{secrets.token_hex(8)}",
            "Max-Forwards: 70",
            f"From: <sip:{self.mac}@localhost>;tag=phone{self._call_id[:6]}",
            f"To: {to}",
            f"Call-ID: {self._call_id}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:{self.mac}@{host}:{port};transport={self.transport}>",
            "User-Agent: Test phone/1.0",
            *headers,
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def _answer(self, method: str, seconds: float = 5.0) -> Message:
        async with asyncio.timeout(seconds):
            while True:
                message = await self._answers.get()
                if message.status >= 200 and message.get("CSeq").endswith(method):
                    return message

    def _proof(self, challenge: str, method: str, uri: str) -> str:
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))

        def md5(text: str) -> str:
            return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

        first, last = md5(f"{self.user}:{fields['realm']}:{self.secret}"), md5(f"{method}:{uri}")
        response = md5(f"{first}:{fields['nonce']}:00000001:abc:auth:{last}")
        return (
            f'Authorization: Digest username="{self.user}", realm="{fields["realm"]}", nonce="{fields["nonce"]}", '
            f'uri="{uri}", response="{response}", algorithm=MD5, qop=auth, nc=00000001, cnonce="abc"'
        )

    async def ask(self, method: str, uri: str, *headers: str, body: bytes = b"") -> Message:
        """A request, with the challenge answered."""
        self.send(self.request(method, uri, *headers, body=body))
        answer = await self._answer(method)
        if answer.status != 401:
            return answer
        if method == "INVITE":
            self._acknowledge(answer, uri)
        proof = self._proof(answer.get("WWW-Authenticate"), method, uri)
        self.send(self.request(method, uri, *headers, proof, body=body))
        return await self._answer(method)

    def _acknowledge(self, answer: Message, uri: str, body: bytes = b"") -> None:
        to, self._to = self._to, answer.get("To")
        self.send(self.request("ACK", uri, cseq=int(answer.get("CSeq").split()[0]), body=body))
        self._to = to

    async def register(self, expires: int = 120) -> int:
        return (await self.ask("REGISTER", "sip:localhost", f"Expires: {expires}")).status

    async def call(self, number: str = "activate", *, events: int | None = 101, codec: int = 0) -> int:
        """The final status; after 200 it acknowledges, sends silence and listens."""
        host, port = self._rtp_address()
        keys = f"a=rtpmap:{events} telephone-event/8000\r\n" if events is not None else ""
        formats = f"{codec}" + (f" {events}" if events is not None else "")
        sdp = (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP {formats}\r\n{keys}"
        )
        self.events, self.codec, self.uri = events, codec, f"sip:{number}@localhost"
        answer = await self.ask("INVITE", self.uri, "Content-Type: application/sdp", body=sdp.encode())
        self.agreed = answer
        self._acknowledge(answer, self.uri)
        if answer.status == 200:
            self._to = answer.get("To")
            self.uri = answer.get("Contact").strip("<>")
            where = re.search(r"c=IN IP4 (\S+)", answer.body.decode())
            media = re.search(r"m=audio (\d+)", answer.body.decode())
            assert where, answer.body
            assert media, answer.body
            self.media_to = (where[1], int(media[1]))
            self._talking = asyncio.create_task(self._talk())
        return answer.status

    async def hang_up(self) -> int:
        self.send(self.request("BYE", self.uri))
        return (await self._answer("BYE")).status

    # --- sound ----------------------------------------------------------------------------------------

    def _rtp_address(self) -> tuple[str, int]:
        assert self._rtp is not None
        found: tuple[str, int] = self._rtp.get_extra_info("sockname")
        return found

    def _sound(self, data: bytes) -> None:
        self.frames.append(data[12:])
        self.arrivals.append(asyncio.get_running_loop().time())

    def say(self, kind: int, payload: bytes, ts: int, marker: bool = False) -> None:
        assert self._rtp is not None
        head = struct.pack("!BBHII", 0x80, kind | (0x80 if marker else 0), next(self._seq) & 0xFFFF, ts, 0x1234)
        self._rtp.sendto(head + payload, self.media_to)

    async def _talk(self) -> None:
        loop = asyncio.get_running_loop()
        due, quiet = loop.time(), (b"\xff" if self.codec == 0 else b"\xd5") * 160
        while True:
            self.say(self.codec, quiet, self._ts)
            self._ts += 160
            due += 0.02
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def key(self, keys: str, way: str = "event", pause: float = 0.1) -> None:
        for one in keys:
            if way == "event":
                await self._press(one, pause)
            else:
                body = f"Signal={one}\r\nDuration=160\r\n".encode()
                answer = await self.ask("INFO", self.uri, "Content-Type: application/dtmf-relay", body=body)
                assert answer.status == 200, answer

    async def _press(self, one: str, pause: float) -> None:
        began = self._ts
        for turn in range(5):  # 60 ms held; the end is said three times
            payload = struct.pack("!BBH", KEYS.index(one), 0x8A if turn > 1 else 10, min(480, 160 * (turn + 1)))
            self.say(self.events or 101, payload, began, marker=turn == 0)
        await asyncio.sleep(pause)


def heard(frames: Sequence[bytes], decode: Callable[[bytes], bytes]) -> list[int]:
    """Samples."""
    pcm = decode(b"".join(frames))
    return list(struct.unpack(f"<{len(pcm) // 2}h", pcm))


def correlation(one: Sequence[int], other: Sequence[int]) -> float:
    """Of two sounds that begin together, over what both have."""
    length = min(len(one), len(other))
    assert length > 4000, "not half a second of sound"
    first, second = one[:length], other[:length]
    both = sum(a * b for a, b in zip(first, second, strict=True))
    return float(both / (sum(a * a for a in first) * sum(b * b for b in second)) ** 0.5)
