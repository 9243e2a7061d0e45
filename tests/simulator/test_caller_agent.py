"""A simulated phone's signalling against a server that does what a test says: loss, refusals, silence, surprises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from provisioner.simulator.caller_agent import Agent, Dialog
from provisioner.simulator.caller_call import Call, Heard, Manner
from provisioner.simulator.caller_message import Message, read, request, response
from provisioner.simulator.caller_wire import Unreached, connect
from provisioner.simulator.credentials import Credentials

ANSWER = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0 101\r\n"
ANSWER += b"a=rtpmap:101 telephone-event/8000\r\n"
Script = Callable[["Server", Message], list[Message]]


class Server(asyncio.DatagramProtocol):
    """Answers each message with what the script says."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.heard: list[Message] = []
        self.phone: tuple[str, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.way = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.phone = addr
        message = read(data)
        self.heard.append(message)
        for reply in self.script(self, message):
            self.way.sendto(reply.encode(), addr)

    def count(self, method: str) -> int:
        return sum(one.method == method for one in self.heard)


@asynccontextmanager
async def served(script: Script, patience: float = 5.0) -> AsyncIterator[tuple[Server, Agent, Dialog]]:
    loop = asyncio.get_running_loop()
    way, server = await loop.create_datagram_endpoint(lambda: Server(script), local_addr=("127.0.0.1", 0))
    port = way.get_extra_info("sockname")[1]
    agent = Agent("ada", Credentials("auth", "s3cret", ("MD5", "SHA-256")), "Phone/1", patience)
    agent.wire = await connect("udp", "127.0.0.1", port, None, agent.heard, agent.lost)
    try:
        yield server, agent, agent.dialog(f"sip:2288@127.0.0.1:{port}", "sip:2288@127.0.0.1", "127.0.0.1")
    finally:
        agent.wire.close()
        way.close()


def final(status: str, **headers: str) -> Script:
    return lambda _, asked: [] if asked.method == "ACK" else [response(asked, status, "srv", headers.items())]


def call(agent: Agent, told: list[str] | None = None, **how: object) -> Call:
    quick: dict[str, object] = {"keys": "12#", "deaf": 0.1, "most": 3.0, "pause": 0.1}
    manner = Manner(**{**quick, **how})  # type: ignore[arg-type]  # each test names its own
    return Call(agent, manner, (told if told is not None else []).append)


def answers(asked: Message) -> Message:
    headers = {"contact": "<sip:ivr@127.0.0.1>", "record-route": "<sip:p1;lr>, <sip:p2;lr>"}
    return response(asked, "200 OK", "srv", {**headers, "content-type": "application/sdp"}.items(), ANSWER)


@pytest.mark.asyncio
async def test_what_is_lost_is_sent_again() -> None:
    def script(server: Server, asked: Message) -> list[Message]:
        return final("200 OK")(server, asked) if server.count("OPTIONS") > 1 else []

    async with served(script) as (server, agent, dialog):
        answer = await agent.ask(dialog, "OPTIONS")
    assert answer.status == 200
    assert server.heard[0] == server.heard[1]


@pytest.mark.asyncio
async def test_a_name_is_asked_for_its_ipv4_address_first() -> None:
    wire = await connect("udp", "localhost", 9, None, print, print)
    assert wire.local[0] == "127.0.0.1"
    wire.close()


@pytest.mark.asyncio
async def test_silence_has_an_end() -> None:
    async with served(lambda *_: [], patience=0.7) as (server, agent, dialog):
        with pytest.raises(Unreached, match="OPTIONS is not answered"):
            await agent.ask(dialog, "OPTIONS")
    assert server.count("OPTIONS") == 2


@pytest.mark.asyncio
async def test_nobody_there_is_told_at_once() -> None:
    agent = Agent("ada", Credentials("auth", "s3cret"), "Phone/1")
    agent.wire = await connect("udp", "127.0.0.1", 9, None, agent.heard, agent.lost)
    with pytest.raises(Unreached):
        await asyncio.wait_for(agent.ask(agent.dialog("sip:a@b", "sip:a@b", "b"), "OPTIONS"), 3)
    agent.wire.close()
    with pytest.raises(Unreached, match="cannot be reached by tcp"):
        await connect("tcp", "127.0.0.1", 9, None, agent.heard, agent.lost)


@pytest.mark.asyncio
async def test_a_stale_nonce_is_answered_once_more_and_a_wrong_secret_is_not() -> None:
    def script(stale: str) -> Script:
        challenge = f'Digest realm="r", nonce="n", qop="auth", algorithm=MD5{stale}'
        return final("401 Unauthorized", **{"www-authenticate": challenge})

    for stale, asked in ((", stale=true", 3), ("", 2)):
        async with served(script(stale)) as (server, agent, dialog):
            assert (await agent.ask(dialog, "REGISTER")).status == 401
        assert [bool(one.one("authorization")) for one in server.heard] == [False] + [True] * (asked - 1)
        assert [one.cseq[0] for one in server.heard] == list(range(1, asked + 1))
        assert all("s3cret" not in one.encode().decode() for one in server.heard)


@pytest.mark.asyncio
async def test_a_refused_call_is_acknowledged_and_told() -> None:
    async with served(final("503 Service Unavailable", **{"retry-after": "60"})) as (server, agent, dialog):
        heard = await call(agent).run(dialog)
        await asyncio.sleep(0.05)
    assert (heard.answered, heard.wrong) == (False, "the call was refused: 503 Service Unavailable")
    invite, ack = server.heard
    assert (ack.method, ack.branch, ack.tag("to"), ack.cseq) == ("ACK", invite.branch, "srv", (1, "ACK"))


@pytest.mark.asyncio
async def test_an_answer_that_comes_again_is_acknowledged_again_and_its_route_is_kept() -> None:
    def script(server: Server, asked: Message) -> list[Message]:
        if asked.method == "INVITE":
            again = answers(asked).encode()
            asyncio.get_running_loop().call_later(0.1, server.way.sendto, again, server.phone)
            return [response(asked, "100 Trying", ""), answers(asked)]
        return final("200 OK")(server, asked)

    told: list[str] = []
    async with served(script) as (server, agent, dialog):
        heard = await call(agent, told, most=0.8).run(dialog)
    assert (heard.ended_by, heard.keys, heard.codec) == ("the phone", "12#", "PCMU")
    assert told == ["answered with PCMU", "nobody speaks", "keys 12# by RFC 4733", "hangs up, after 0.8 s"]
    acks = [one for one in server.heard if one.method == "ACK"]
    assert len(acks) == 2
    bye = server.heard[-1]
    assert (bye.method, bye.entries("route")) == ("BYE", ["<sip:p2;lr>", "<sip:p1;lr>"])
    assert bye.first == "BYE sip:ivr@127.0.0.1 SIP/2.0"


@pytest.mark.asyncio
@pytest.mark.parametrize("body", [b"", ANSWER.replace(b"audio 9", b"audio 0"), ANSWER.replace(b" 101\r", b"\r")])
async def test_an_answer_that_nobody_can_talk_on_is_hung_up(body: bytes) -> None:
    def script(server: Server, asked: Message) -> list[Message]:
        if asked.method == "INVITE":
            return [response(asked, "200 OK", "srv", (), body)]
        return final("200 OK")(server, asked)

    async with served(script) as (server, agent, dialog):
        heard = await call(agent).run(dialog)
    assert (heard.answered, heard.ended_by) == (False, "the phone")
    assert heard.wrong
    assert server.heard[-1].method == "BYE"


@pytest.mark.asyncio
async def test_who_is_interrupted_in_a_call_hangs_up() -> None:
    """Else the server would keep a line, and wait at its own end for somebody who is gone."""

    def script(server: Server, asked: Message) -> list[Message]:
        return [answers(asked)] if asked.method == "INVITE" else final("200 OK")(server, asked)

    async with served(script) as (server, agent, dialog):
        running = asyncio.create_task(call(agent, most=5.0).run(dialog))
        await asyncio.sleep(0.2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.sleep(0.1)
    assert [one.method for one in server.heard].count("BYE") == 1
    assert server.heard[-1].method == "BYE"


async def surprised(asked: Callable[[Dialog], Message], *, times: int = 1) -> tuple[list[Message], Heard]:
    """What the phone answers to a request of the server's in the middle of a call."""

    def script(server: Server, heard: Message) -> list[Message]:
        if heard.method == "INVITE":
            return [answers(heard)]
        return final("200 OK")(server, heard) if not heard.status else []

    async with served(script) as (server, agent, dialog):
        running = asyncio.create_task(call(agent, most=0.8).run(dialog))
        await asyncio.sleep(0.3)
        message = asked(dialog).encode()
        for _ in range(times):
            server.way.sendto(message, server.phone)
        ended = await running
    return [one for one in server.heard if one.status], ended


def from_server(method: str, call_id: str, *more: tuple[str, str]) -> Message:
    headers = [("via", f"SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK{method}"), ("from", "<sip:ivr@a>;tag=srv")]
    headers += [("to", "<sip:ada@a>"), ("call-id", call_id), ("cseq", f"5 {method}"), *more]
    return request(method, "sip:ada@a", headers)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "own", "status"),
    [
        ("BYE", True, 200),
        ("BYE", False, 481),
        ("INVITE", True, 200),
        ("INVITE", False, 486),
        ("OPTIONS", False, 200),
        ("INFO", True, 481),
        ("REFER", True, 405),
    ],
)
async def test_what_the_server_asks_is_answered(method: str, own: bool, status: int) -> None:
    told, heard = await surprised(lambda dialog: from_server(method, dialog.call_id if own else "other"), times=2)
    assert [one.status for one in told] == [status, status]
    assert told[0] == told[1]
    assert heard.ended_by == ("the server" if (method, own) == ("BYE", True) else "the phone")
