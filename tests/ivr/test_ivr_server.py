"""The IVR over real sockets: a phone registers, calls, hears, keys and is told; and what strangers may do to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from call_phone import CallPhone, correlation, heard

from ivr.flow import Caller, Flow, FlowSettings, Note, Result, ResultKind
from ivr.media.g711 import Codec
from ivr.prompts import Prompts
from ivr.server import Server, ServerConfig, Sockets
from ivr.server_media import MediaPorts, Voice
from ivr.sip.config import CoreConfig
from ivr.sip.effects import Credential

pytestmark = pytest.mark.asyncio

MAC = "0004f2aabbcc"
SECRET = "s3cret-of-aabbcc"
GOOD, WRONG = "314159265356", "271828182849"
PROMPTS = Prompts()
VOICE = Voice({"en": PROMPTS})
ACCEPTED = Result(ResultKind.ACCEPTED, "204")


def samples(*prompts: str) -> list[int]:
    loaded = [PROMPTS.load(one) for one in prompts]
    pcm = b"".join(one + bytes(-len(one) % 320) for one in loaded)  # each ends with a whole packet
    return list(struct.unpack(f"<{len(pcm) // 2}h", pcm))


@dataclass
class Desk:
    """A desk that knows two codes, and remembers what it was asked."""

    settings: FlowSettings = field(default_factory=FlowSettings)
    codes: list[tuple[Caller, str, int]] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    ended: asyncio.Queue[Result | None] = field(default_factory=asyncio.Queue)
    refusal: Result | None = None
    slow: asyncio.Event | None = None
    cancelled: int = 0

    def flow(self, language: str = "") -> Flow:
        return Flow(self.settings, lambda code: sum(map(int, code)) % 10 == 0, language or "en")

    async def greet(self, caller: Caller) -> Result | None:
        del caller
        return self.refusal

    async def attempt(self, caller: Caller, code: str, attempt: int) -> Result:
        self.codes.append((caller, code, attempt))
        if self.slow is not None:
            try:
                await self.slow.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return ACCEPTED if code == GOOD else Result(ResultKind.WRONG)

    def note(self, caller: Caller, note: Note) -> None:
        del caller
        self.causes.append(note.cause)

    def finished(self, caller: Caller, result: Result | None) -> None:
        del caller
        self.ended.put_nowait(result)

    async def end(self) -> Result | None:
        async with asyncio.timeout(30):
            return await self.ended.get()


@dataclass
class House:
    desk: Desk
    server: Server
    counts: Counter[tuple[str, str]]
    ports: dict[str, int]
    phones: list[CallPhone] = field(default_factory=list)

    async def phone(self, transport: str = "udp", mac: str = MAC, secret: str = SECRET, **more: Any) -> CallPhone:
        made = await CallPhone.open(mac, mac, secret, ("127.0.0.1", self.ports[transport]), transport, **more)
        self.phones.append(made)
        return made

    async def talking(self, transport: str = "udp", **call: Any) -> CallPhone:
        made = await self.phone(transport)
        assert await made.register() == 200
        assert await made.call(**call) == 200
        return made


def _socket(kind: socket.SocketKind, host: str = "127.0.0.1") -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    if ":" in host:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind((host, 0))
    if kind is socket.SOCK_STREAM:
        made.listen()
    return made


@contextlib.asynccontextmanager
async def served(
    desk: Desk | None = None,
    calls: int = 4,
    connections: int = 8,
    host: str = "127.0.0.1",
    secure: ssl.SSLContext | None = None,
    **core: Any,
) -> AsyncIterator[House]:
    desk = desk or Desk()
    udp, tcp, tls = (_socket(kind, host) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_STREAM))
    counts: Counter[tuple[str, str]] = Counter()
    config = ServerConfig(
        CoreConfig(b"k" * 32, calls=calls + 1, **{"calls_of_mac": 10, **core}), calls, (24_000, 25_999), connections
    )
    server = Server(
        config,
        desk,
        lambda user: Credential(user, SECRET) if user.startswith("0004f2") else None,
        VOICE,
        lambda metric, label: counts.update([(metric, label)]),
    )
    await server.start(Sockets(udp, tcp, (tls, secure) if secure else None))
    ports = {name: sock.getsockname()[1] for name, sock in (("udp", udp), ("tcp", tcp), ("tls", tls))}
    house = House(desk, server, counts, ports)
    try:
        yield house
    finally:
        for phone in house.phones:
            phone.close()
        await server.close()
        for sock in (udp, tcp, tls):
            sock.close()


async def until(condition: Any, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.01)


async def closes(phone: CallPhone) -> None:
    """The last prompt is cut short by a key, once it has been heard for a moment."""
    await asyncio.sleep(1.2)
    await phone.key("1")
    async with asyncio.timeout(10):
        await phone.left.wait()


async def test_a_phone_registers_calls_hears_keys_is_bound_and_told() -> None:
    async with served() as house:
        phone = await house.talking()
        assert MAC not in house.server, "not during a call"
        await until(lambda: len(phone.frames) >= 75)
        assert correlation(heard(phone.frames[:75], Codec.PCMU.decode), samples("welcome")) > 0.99
        await phone.key(GOOD[:1])
        before = len(phone.frames)
        await phone.key(GOOD[1:])
        async with asyncio.timeout(30):
            await phone.left.wait()
        said = samples("success", "your_extension", "digit_2", "digit_0", "digit_4")
        success = heard(phone.frames[before:], Codec.PCMU.decode)
        assert correlation(success, said) > 0.99
        assert len(said) - 5 * 160 <= len(success) <= len(said) + 5 * 160, "it was heard to its end"
        assert await house.desk.end() == ACCEPTED
        assert house.desk.codes == [(Caller(MAC, "127.0.0.1", "sip", authenticated=True), GOOD, 1)]
        assert house.desk.causes == ["started", "accepted"]
        assert house.counts["ivr_calls", "activated"] == 1
        assert MAC in house.server
        assert await house.server.notify(MAC, "check-sync;reboot=true") == 200
        assert phone.notified.get_nowait() == "check-sync;reboot=true"


@pytest.mark.parametrize(
    ("transport", "way", "codec"), [("tcp", "event", 0), ("udp", "info", 0), ("tcp", "info", 8), ("udp", "event", 8)]
)
async def test_by_every_way_the_same(transport: str, way: str, codec: int) -> None:
    async with served() as house:
        phone = await house.talking(transport, codec=codec)
        await until(lambda: len(phone.frames) >= 50)
        assert correlation(heard(phone.frames[:50], Codec(codec).decode), samples("welcome")) > 0.99
        await phone.key(GOOD, way)
        await closes(phone)
        assert [code for _, code, _ in house.desk.codes] == [GOOD]
        assert await house.desk.end() == ACCEPTED


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_the_wildcard_answers_from_the_address_that_was_reached(host: str, transport: str) -> None:
    async with served(host=host) as house:
        there = ("127.0.0.2", house.ports[transport])
        phone = await CallPhone.open(MAC, MAC, SECRET, there, transport)
        house.phones.append(phone)
        assert await phone.register() == 200
        assert await phone.call() == 200
        assert phone.media_to[0] == "127.0.0.2"
        assert "@127.0.0.2:" in phone.uri
        await until(lambda: len(phone.frames) > 10)
        assert phone.senders == {there[0]}
        assert await phone.hang_up() == 200
        assert house.desk.causes == ["started", "gone"]


async def test_the_answer_comes_soon_after_the_last_digit() -> None:
    async with served() as house:
        phone = await house.talking()
        await until(lambda: phone.frames)
        await phone.key(GOOD[:-1])
        before, keyed = len(phone.frames), asyncio.get_running_loop().time()
        await phone.key(GOOD[-1])
        await until(lambda: len(phone.frames) > before)
        assert phone.arrivals[before] - keyed < 0.3


async def test_wrong_codes_and_the_last_word() -> None:
    async with served() as house:
        phone = await house.talking()
        await until(lambda: phone.frames)
        for _ in range(3):
            await phone.key(WRONG)
            await until(lambda: len(house.desk.causes) == len(house.desk.codes) + 1)
        await closes(phone)
        assert house.desk.causes == ["started", "wrong", "wrong", "wrong"]
        assert [attempt for _, _, attempt in house.desk.codes] == [1, 2, 3]
        assert await house.desk.end() == Result(ResultKind.WRONG)
        assert house.counts["ivr_calls", "no_code"] == 1


async def test_who_hangs_up_while_a_code_is_looked_at_takes_it_back() -> None:
    async with served(Desk(slow=asyncio.Event())) as house:
        phone = await house.talking()
        await until(lambda: phone.frames)
        await phone.key(GOOD)
        await until(lambda: house.desk.codes)
        assert await phone.hang_up() == 200
        assert await house.desk.end() is None
        assert house.desk.cancelled == 1
        assert house.counts["ivr_calls", "caller"] == 1
        assert house.server.calls == 0


async def test_a_refusal_is_spoken_and_the_call_ends_by_itself() -> None:
    async with served(Desk(refusal=Result(ResultKind.UNSUPPORTED))) as house:
        phone = await house.talking()
        async with asyncio.timeout(30):
            await phone.left.wait()
        assert correlation(heard(phone.frames, Codec.PCMU.decode), samples("ask_administrator")) > 0.99
        assert house.counts["ivr_calls", "unsupported"] == 1


async def test_beyond_the_calls_there_are_busy_is_spoken_and_then_503() -> None:
    async with served(calls=1) as house:
        first = await house.talking()
        second = await house.phone(mac="0004f2000002")
        third = await house.phone(mac="0004f2000003")
        assert await second.call() == 200
        assert await third.call() == 503
        assert third.agreed is not None
        assert third.agreed.get("Retry-After") == "60"
        await until(lambda: len(second.frames) > 60)
        assert correlation(heard(second.frames[:60], Codec.PCMU.decode), samples("busy")) > 0.99
        assert await second.hang_up() == 200
        assert house.desk.codes == []
        assert house.desk.causes == ["started", "busy", "gone"]
        assert await first.hang_up() == 200


async def test_a_stop_lets_calls_finish_turns_away_new_ones_and_then_hangs_up() -> None:
    async with served() as house:
        phone, late = await house.talking(), await house.phone(mac="0004f2000002")
        ending = asyncio.create_task(house.server.drain(1.0))
        await asyncio.sleep(0.1)
        assert await late.call() == 503
        assert late.agreed is not None
        assert late.agreed.get("Retry-After") == "5"
        assert not phone.left.is_set()
        await ending
        assert phone.left.is_set()
        assert await house.desk.end() is None


async def test_a_stop_waits_no_longer_than_for_the_last_call() -> None:
    async with served() as house:
        phone = await house.talking()
        ending = asyncio.create_task(house.server.drain(30.0))
        await phone.hang_up()
        await asyncio.wait_for(ending, 3)


async def test_a_loop_that_stood_still_sends_no_burst_and_loses_no_word() -> None:
    async with served() as house:
        phone = await house.talking()
        await until(lambda: len(phone.frames) >= 20)
        before = len(phone.frames)
        time.sleep(0.5)  # noqa: ASYNC251  # the point of it
        stalled = asyncio.get_running_loop().time()
        await until(lambda: len(phone.frames) >= before + 40)
        at_once = [at for at in phone.arrivals[before:] if at < stalled + 0.03]
        assert len(at_once) <= 7
        assert correlation(heard(phone.frames[:60], Codec.PCMU.decode), samples("welcome")) > 0.99


async def test_frames_keep_the_pace_of_speech() -> None:
    async with served() as house:
        phone = await house.talking()
        await until(lambda: len(phone.frames) >= 150)
        took = phone.arrivals[149] - phone.arrivals[0]
        assert took == pytest.approx(149 * 0.02, abs=0.06)


async def test_a_silent_phone_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr.media.session.DEAD_AFTER", 0.3)
    async with served() as house:
        phone = await house.talking()
        assert phone._talking is not None
        phone._talking.cancel()
        async with asyncio.timeout(5):
            await phone.left.wait()
        assert house.counts["ivr_calls", "silent"] == 1


async def test_a_lost_connection_ends_its_calls() -> None:
    async with served() as house:
        phone = await house.talking("tcp")
        await until(lambda: phone.frames)
        phone._wire.abort()
        assert await house.desk.end() is None
        assert house.counts["ivr_calls", "connection"] == 1
        assert house.server.registrations == 0
        assert house.server.connections == 0


async def test_no_digit_is_written_anywhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    asyncio.get_running_loop().slow_callback_duration = 0.0
    async with served() as house:
        phone = await house.talking()
        await until(lambda: phone.frames)
        await phone.key(GOOD[:6], "info")
        await phone.key(GOOD[6:])
        await until(lambda: len(house.desk.causes) == 2)
    asyncio.get_running_loop().set_debug(False)
    server = [one.getMessage() for one in caplog.records if "call_phone" not in one.getMessage()]
    assert not [one for one in server if re.search(r"Signal=|\\bdigit=[0-9]|314159", one)]


# --- who is no phone ------------------------------------------------------------------------------------


async def test_a_port_that_nobody_has_left_is_503() -> None:
    taken = MediaPorts(26_000, 26_001)
    port = taken.open("127.0.0.1")
    assert port is not None
    assert taken.open("127.0.0.1") is None
    another = MediaPorts(26_000, 26_003)
    other = another.open("127.0.0.1")
    assert other is not None
    assert {port.number, other.number} == {26_000, 26_002}
    port.close()
    port.close()
    again = taken.open("127.0.0.1")
    assert again is not None
    again.close()
    other.close()


async def test_datagrams_of_any_size_and_kind_cost_nothing() -> None:
    async with served(rate=1000.0, burst=2000) as house:
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        stranger.setblocking(False)
        stranger.connect(("127.0.0.1", house.ports["udp"]))
        for data in (b"\0" * 65_507, b"A" * 60_000, b"INVITE sip:x SIP/2.0\r\n" + b"X: y\r\n" * 5000, b"", b"\r\n\r\n"):
            stranger.send(data)
        await asyncio.sleep(0.2)
        with pytest.raises(BlockingIOError):
            stranger.recv(100)
        stranger.close()  # answers to it would come back as ICMP errors
        phone = await house.talking()
        assert await phone.hang_up() == 200
        assert house.server.dropped()["garbage"] >= 3


async def test_connections_are_bounded_and_those_that_say_nothing_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr.server_net._FIRST", 0.3)
    monkeypatch.setattr("ivr.server_net._SWEEP", 0.1)
    async with served(connections=8) as house:
        found = [await asyncio.open_connection("127.0.0.1", house.ports["tcp"]) for _ in range(12)]
        await until(lambda: house.server.dropped()["over_cap"] == 8)
        assert house.server.connections == 4, "half of them for one address"
        for reader, writer in found:
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
        assert house.server.connections == 0


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00", b"A" * 100_000])
async def test_what_is_no_sip_is_closed_without_a_word(said: bytes) -> None:
    async with served() as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.ports["tcp"])
        writer.write(said)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await until(lambda: house.server.connections == 0)


async def test_a_wrong_secret_is_told_without_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with served() as house:
        phone = await house.phone(secret="not-it")
        assert await phone.register() == 401
        assert "sip refused wrong-secret over udp, as if from 127.0.0.1" in caplog.text
        assert await house.server.notify(MAC, "check-sync") == 0
