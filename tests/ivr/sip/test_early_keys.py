"""Whatever comes before a late ACK, and however often: the conversation hears each key once, in order."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from sip_phone import Line, Phone

from ivr.flow import Caller, Digits, Flow, FlowSettings, Input, Note, Output, Result, Started
from ivr.media.g711 import Codec
from ivr.server_call import Conversation
from ivr.sip.call import Call
from ivr.sip.effects import Acknowledged, Effect, Invited, Keyed

KEYS = "0123456789*#"
PHONE = ("192.0.2.17", 16384)
WAYS = ("info", "event", "both", "sound first")


class Listening(Flow):
    """Says nothing, and remembers what it is told."""

    def __init__(self) -> None:
        super().__init__(FlowSettings(), lambda _code: False)
        self.heard: list[Input] = []

    def feed(self, given: Input, now: float) -> list[Output]:
        del now
        self.heard.append(given)
        return []


@dataclass
class QuietDesk:
    """Lets everybody in."""

    made: Listening = field(default_factory=Listening)

    def flow(self, language: str = "") -> Flow:
        del language
        return self.made

    async def greet(self, caller: Caller) -> Result | None:
        del caller
        return None

    async def attempt(self, caller: Caller, code: str, attempt: int) -> Result:
        raise AssertionError((caller, code, attempt))

    def note(self, caller: Caller, note: Note) -> None:
        raise AssertionError((caller, note))

    def finished(self, caller: Caller, result: Result | None) -> None:
        del caller, result


class Port:
    """A call's port on no network."""

    number = 20_000

    def __init__(self) -> None:
        self.lying: list[bytes] = []

    def arrived(self) -> Iterator[tuple[bytes, tuple[str, int]]]:
        taken, self.lying = self.lying, []
        return iter([(one, PHONE) for one in taken])

    def forget(self) -> None:
        self.lying.clear()

    def send(self, packet: bytes, to: tuple[str, int]) -> None:
        raise AssertionError((len(packet), to))

    def close(self) -> None:
        pass


class Speechless:
    """No words."""

    def prompt(self, language: str, prompts: Sequence[str]) -> dict[Codec, tuple[bytes, ...]]:
        del language, prompts
        return {codec: () for codec in Codec}


class Exchange:
    """A core, its one conversation, and the phone, on a clock that a test moves."""

    voice = Speechless()

    def __init__(self) -> None:
        self.line, self.phone, self.desk, self.port = Line(), Phone(), QuietDesk(), Port()
        self.last = b""
        self.ts = 1000

    # --- what a conversation asks for -------------------------------------------------------------------

    def now(self) -> float:
        return self.line.now

    def accept(self, call: Call, body: bytes) -> None:
        self.line.answer(call, self.phone, body)

    def refuse(self, call: Call, status: int) -> None:
        raise AssertionError((call, status))

    def hang_up(self, call: Call) -> None:
        raise AssertionError(call)

    def over(self, conversation: Conversation) -> None:
        pass

    def contained(self, conversation: Conversation, act: Callable[[], None]) -> None:
        del conversation
        act()

    # --- what the phone does ----------------------------------------------------------------------------

    async def call(self) -> None:
        effects = self.line.ask(self.phone, "INVITE", uri="sip:activate@ivr.example.com", body=_offer())
        (invited,) = (one for one in effects if isinstance(one, Invited))
        self.one = Conversation(self, self.desk, invited, self.port, "198.51.100.7")  # type: ignore[arg-type]  # as much of a port and a voice as it needs
        self.one.begin(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert self.phone.to_tag
        self.invited = self.phone.cseq

    def tell(self, data: bytes) -> None:
        self.take(self.line.feed(data, self.phone.flow))

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Acknowledged):
                self.one.acknowledged(effect.offer)
            elif isinstance(effect, Keyed):
                self.one.keyed(effect.digit)

    def acknowledge(self) -> None:
        self.tell(self.phone.request("ACK", cseq=self.invited))

    def wait(self, seconds: float) -> None:
        self.take(self.line.wait(seconds))
        self.ts += round(seconds * 8000)
        self.one.beat(self.line.now)

    def press(self, key: str, way: str, copies: int) -> None:
        if way in {"event", "both", "sound first"}:
            for end in (0, 0, 0x80, 0x80):
                head = struct.pack("!BBHII", 0x80, 127, 1, self.ts, 7)
                self.port.lying.append(head + struct.pack("!BBH", KEYS.index(key), end, 480))
        if way == "sound first":
            self.one.beat(self.line.now)
        if way in {"info", "both", "sound first"}:
            said = self.phone.request("INFO", body=f"Signal={key}\r\n".encode(), kind="application/dtmf-relay")
            for _ in range(copies):
                self.tell(said)
        self.wait(0.02)
        self.wait(0.28)


def _offer() -> bytes:
    return (
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.17\r\ns=-\r\nc=IN IP4 192.0.2.17\r\nt=0 0\r\n"
        b"m=audio 16384 RTP/AVP 0 127\r\na=rtpmap:127 telephone-event/8000\r\n"
    )


async def heard(keys: str, way: str, acknowledged: set[int], copies: int) -> list[Input]:
    house = Exchange()
    await house.call()
    for number, key in enumerate(keys):
        if number in acknowledged:
            house.acknowledge()
        house.press(key, way, copies)
    house.acknowledge()
    house.wait(0.1)
    return house.desk.made.heard


@settings(max_examples=examples(60), deadline=None)
@given(
    st.text(st.sampled_from(KEYS), max_size=14),
    st.sampled_from(WAYS),
    st.sets(st.integers(0, 13), max_size=3),
    st.integers(1, 3),
)
def test_each_key_is_heard_once_and_after_the_conversation_began(
    keys: str, way: str, acknowledged: set[int], copies: int
) -> None:
    found = asyncio.run(heard(keys, way, acknowledged, copies))
    assert isinstance(found[0], Started)
    assert all(isinstance(one, Digits) for one in found[1:])
    assert "".join(one.text for one in found if isinstance(one, Digits)) == keys
