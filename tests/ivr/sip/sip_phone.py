"""A phone that writes its SIP by hand, independent of the code under test, and a core on a clock that tests move."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ivr.sip.call import Call
from ivr.sip.config import CoreConfig
from ivr.sip.core import Core
from ivr.sip.effects import Credential, Effect, Flow, Invited, Send

MAC = "0004f2aabbcc"
OTHER = "0004f2ddeeff"
SECRETS = {MAC: Credential(MAC, "s3cret-of-aabbcc"), f"{MAC}-77": Credential(MAC, "s3cret-77")} | {
    mac: Credential(mac, f"s3cret-of-{mac}") for mac in (OTHER, *(f"0015650000{n:02x}" for n in range(64)))
}
HERE = ("198.51.100.7", 5060)
US = "activate@ivr.example.com"
KEY = b"k" * 32
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.17\r\ns=-\r\nc=IN IP4 192.0.2.17\r\nt=0 0\r\n"
    b"m=audio 16384 RTP/AVP 0 8 127\r\na=rtpmap:127 telephone-event/8000\r\n"
)
HOLD = SDP.replace(b"a=rtpmap", b"a=sendonly\r\na=rtpmap")
ANSWER = SDP.replace(b"192.0.2.17", b"198.51.100.7").replace(b"16384", b"20000")


def udp(host: str = "192.0.2.17", port: int = 5062) -> Flow:
    return Flow("udp", (host, port), 0, HERE)


def tcp(key: int = 1, host: str = "192.0.2.17", port: int = 40_001, transport: str = "tcp") -> Flow:
    return Flow(transport, (host, port), key, HERE)


class Heard:
    """A message that the core sent, taken apart in the simplest way."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        self.data = data
        self.start, *lines = head.decode().split("\r\n")
        self.headers = [tuple(line.split(": ", 1)) for line in lines]

    @property
    def status(self) -> int:
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        return "" if self.status else self.start.split()[0]

    @property
    def uri(self) -> str:
        return self.start.split()[1]

    def all(self, name: str) -> list[str]:
        return [value for one, value in self.headers if one == name]

    def get(self, name: str) -> str:
        found = self.all(name)
        return found[0] if found else ""

    def tag(self, name: str = "To") -> str:
        found = re.search(r";tag=([^;]+)", self.get(name))
        return found[1] if found else ""

    def __repr__(self) -> str:
        return self.start


@dataclass
class Phone:
    """One caller: its dialog is what it has seen of it."""

    flow: Flow = field(default_factory=udp)
    mac: str = MAC
    user: str = ""
    secret: str = ""
    call_id: str = "call-1@192.0.2.17"
    tag: str = "phonetag"
    cseq: int = 0
    to_tag: str = ""
    agent: str = "PolycomVVX-VVX_150-UA/6.4.1"
    contact: str = ""
    target: str = ""
    """Our Contact, once heard."""
    branches: Iterable[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.user = self.user or self.mac
        self.secret = self.secret or SECRETS[self.user].secret
        self.contact = self.contact or f"<sip:{self.mac}@{self.flow.peer[0]}:{self.flow.peer[1]}>"

    def branch(self) -> str:
        return f"z9hG4bK{self.mac}{self.call_id[:6]}{next(iter(self.branches))}"

    def request(
        self,
        method: str,
        *headers: str,
        uri: str = "",
        cseq: int | None = None,
        branch: str = "",
        body: bytes = b"",
        kind: str = "application/sdp",
        to_tag: str | None = None,
        version: str = "SIP/2.0",
        vias: tuple[str, ...] = (),
    ) -> bytes:
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        tag = self.to_tag if to_tag is None else to_tag
        uri = uri or (self.target if tag and self.target else f"sip:{US}")
        transport = self.flow.transport.upper()
        to = f"<sip:{self.mac}@ivr.example.com>" if method == "REGISTER" else f"<sip:{US}>"
        lines = [
            f"{method} {uri} {version}",
            f"Via: SIP/2.0/{transport} 10.0.0.5:5060;rport;branch={branch or self.branch()}",
            *(f"Via: {via}" for via in vias),
            f"From: <sip:{self.mac}@ivr.example.com>;tag={self.tag}",
            f"To: {to}" + (f";tag={tag}" if tag else ""),
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
            *(() if any(one.startswith("Max-Forwards") for one in headers) else ("Max-Forwards: 70",)),
            *(() if any(one.startswith("Contact") for one in headers) else (f"Contact: {self.contact}",)),
            f"User-Agent: {self.agent}",
            *headers,
            *((f"Content-Type: {kind}",) if body and kind else ()),
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join([*(one for one in lines if one != "Contact: -"), "", ""]).encode() + body

    def proof(self, challenge: str, method: str, uri: str, nc: int = 1) -> str:
        """RFC 2617 by hand."""
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        hashed = "sha256" if "SHA-256" in challenge else "md5"

        def digest(text: str) -> str:
            return hashlib.new(hashed, text.encode()).hexdigest()

        first = digest(f"{self.user}:{fields['realm']}:{self.secret}")
        middle = f"{fields['nonce']}:{nc:08x}:abc:auth"
        response = digest(f"{first}:{middle}:{digest(f'{method}:{uri}')}")
        algorithm = "SHA-256" if hashed == "sha256" else "MD5"
        return (
            f'Authorization: Digest username="{self.user}", realm="{fields["realm"]}", nonce="{fields["nonce"]}", '
            f'uri="{uri}", response="{response}", algorithm={algorithm}, qop=auth, nc={nc:08x}, cnonce="abc"'
        )


class Line:
    """A core, its clock, and all that it has sent."""

    def __init__(self, config: CoreConfig | None = None, start: float = 1000.0) -> None:
        self.rng = random.Random(7)
        self.config = config or CoreConfig(KEY, hosts=frozenset({"ivr.example.com"}))
        self.core = Core(self.config, SECRETS.get, self.rng.randbytes)
        self.now = start
        self.log: list[tuple[float, Effect]] = []

    def note(self, effects: list[Effect]) -> list[Effect]:
        self.log += [(self.now, one) for one in effects]
        return effects

    def feed(self, data: bytes, flow: Flow) -> list[Effect]:
        return self.note(self.core.feed(data, flow, self.now))

    def heard(self, effects: list[Effect]) -> list[Heard]:
        return [Heard(one.data) for one in effects if isinstance(one, Send)]

    def say(self, data: bytes, flow: Flow) -> list[Heard]:
        """Feed and give back what is sent."""
        return self.heard(self.feed(data, flow))

    def wait(self, seconds: float) -> list[Effect]:
        """Let time pass as a shell does: wake exactly when due."""
        end, found = self.now + seconds, []
        while (due := self.core.due()) is not None and due <= end:
            self.now = max(self.now, due)
            found += self.note(self.core.tick(self.now))
        self.now = end
        return found

    def times(self, since: float, start: str) -> list[float]:
        """When messages whose first line begins so were sent."""
        sent = [(at, Heard(one.data)) for at, one in self.log if isinstance(one, Send)]
        return [round(at - since, 6) for at, heard in sent if heard.start.startswith(start) and at >= since]

    # --- what most tests begin with ---------------------------------------------------------------------

    def ask(self, phone: Phone, method: str, *headers: str, uri: str, body: bytes = b"") -> list[Effect]:
        """A request with the challenge answered."""
        (challenged,) = self.say(phone.request(method, *headers, uri=uri, body=body), phone.flow)
        assert challenged.status == 401, challenged
        if method == "INVITE":
            assert self.say(phone.request("ACK", cseq=phone.cseq, to_tag=challenged.tag()), phone.flow) == []
        proof = phone.proof(challenged.get("WWW-Authenticate"), method, uri)
        self.last = phone.request(method, *headers, proof, uri=uri, body=body)
        return self.feed(self.last, phone.flow)

    def register(self, phone: Phone, *headers: str) -> list[Effect]:
        return self.ask(phone, "REGISTER", *headers, uri="sip:ivr.example.com")

    def invite(self, phone: Phone, *headers: str, body: bytes = SDP) -> Call:
        effects = self.ask(phone, "INVITE", *headers, uri=f"sip:{US}", body=body)
        assert [one.status for one in self.heard(effects)] == [100]
        (invited,) = (one for one in effects if isinstance(one, Invited))
        return invited.call

    def answer(self, call: Call, phone: Phone, body: bytes = ANSWER) -> Heard:
        (answered,) = self.heard(self.note(self.core.answer(call, body, self.now)))
        if answered.status == 200:
            phone.to_tag = answered.tag()
            phone.target = answered.get("Contact").strip("<>")
        return answered

    def talk(self, phone: Phone, *headers: str, body: bytes = SDP) -> Call:
        """A call, answered and acknowledged."""
        call = self.invite(phone, *headers, body=body)
        self.answer(call, phone)
        self.feed(phone.request("ACK", cseq=phone.cseq, body=b"" if body else ANSWER), phone.flow)
        return call


def reply(request: Heard, status: int, *headers: str) -> bytes:
    """The phone's answer to a request of ours."""
    lines = [
        f"SIP/2.0 {status} Whatever",
        *(f"{name}: {value}" for name, value in request.headers if name in {"Via", "From", "Call-ID", "CSeq"}),
        f"To: {request.get('To')}" + ("" if request.tag() else ";tag=phone9"),
        *headers,
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()
