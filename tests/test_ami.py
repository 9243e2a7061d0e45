"""The manager interface: golden transcripts, a peer that misbehaves, arguments that would be more than one."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from effort import examples
from fake_ami import BANNER, SECRET, FakeAmi
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.ami import Ami, Packets, variable, written
from provisioner.errors import AmiError


def client(fake: FakeAmi, secret: str = SECRET, **more: float) -> Ami:
    return Ami("127.0.0.1", fake.port, "provisioner", secret, **more)


# --- transcripts ----------------------------------------------------------------------------------


def test_actions_are_written_as_the_interface_reads_them() -> None:
    sent = written("PJSIPNotify", "7", [("Endpoint", "1001"), variable("Event", "check-sync;reboot=true")])
    assert sent == (
        b"Action: PJSIPNotify\r\nActionID: 7\r\nEndpoint: 1001\r\nVariable: Event=check-sync;reboot=true\r\n\r\n"
    )


@pytest.mark.asyncio
@pytest.mark.parametrize("offers", [True, False])
async def test_log_in_then_notify(offers: bool) -> None:
    async with FakeAmi({"1001": "NOT_INUSE"}, offers=offers).running() as fake, contextlib.AsyncExitStack() as stack:
        ami = client(fake)
        stack.push_async_callback(ami.close)
        await ami.notify("1001", "check-sync;reboot=true")
        assert await ami.state("1001") == "NOT_INUSE"
    names = [(one["Action"], sorted(set(one) - {"Action", "ActionID"})) for one in fake.actions]
    proof = ["AuthType", "Events", "Key", "Username"] if offers else ["Events", "Secret", "Username"]
    assert names == [
        ("Challenge", ["AuthType"]),
        ("Login", proof),
        ("PJSIPNotify", ["Endpoint", "Variable"]),
        ("Getvar", ["Variable"]),
    ]
    assert fake.notified == [("1001", "Event=check-sync;reboot=true")]
    assert fake.connections == 1
    assert len({one["ActionID"] for one in fake.actions}) == 4
    assert not offers or not any(SECRET in value for one in fake.actions for value in one.values())


@pytest.mark.asyncio
async def test_a_uri_is_sent_as_one() -> None:
    async with FakeAmi().running() as fake:
        ami = client(fake)
        with pytest.raises(AmiError, match="Unable to retrieve endpoint"):
            await ami.notify("sip:1001@192.0.2.7", "check-sync")
        await ami.close()
    assert fake.actions[-1]["URI"] == "sip:1001@192.0.2.7" and "Endpoint" not in fake.actions[-1]


@pytest.mark.asyncio
async def test_a_wrong_secret_is_told_without_it() -> None:
    async with FakeAmi(secret="another").running() as fake:
        ami = client(fake)
        with pytest.raises(AmiError, match="does not let 'provisioner' in") as told:
            await ami.state("1001")
        assert SECRET not in told.value.cause and SECRET not in repr(ami) and not ami.connected
        await ami.close()


# --- a connection that comes and goes -------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_connection_that_was_closed_meanwhile_is_made_again() -> None:
    async with FakeAmi({"1001": "INUSE"}).running() as fake:
        ami = client(fake)
        assert await ami.state("1001") == "INUSE"
        fake.hang_up()
        await asyncio.sleep(0.05)
        assert await ami.state("1001") == "INUSE"
        assert fake.connections == 2
        await ami.close()


@pytest.mark.asyncio
async def test_actions_of_many_take_turns_on_one_connection() -> None:
    states = {str(number): "NOT_INUSE" if number % 2 else "BUSY" for number in range(40)}
    async with FakeAmi(states).running() as fake:
        ami = client(fake)
        found = await asyncio.gather(*(ami.state(name) for name in states))
        await ami.close()
    assert found == list(states.values()) and fake.connections == 1


@pytest.mark.asyncio
async def test_nobody_there_is_told_with_the_address() -> None:
    async with FakeAmi().running() as fake:
        port = fake.port
    with pytest.raises(AmiError, match=f"127.0.0.1:{port} is not there"):
        await Ami("127.0.0.1", port, "provisioner", SECRET).state("1001")


@pytest.mark.asyncio
async def test_a_peer_that_says_nothing_is_given_up() -> None:
    async with FakeAmi(raw=None).running() as fake:
        fake._talk = _silence  # type: ignore[method-assign]  # this one peer hears and never answers
        ami = client(fake, timeout=0.1)
        with pytest.raises(AmiError, match=r"within 0\.1 s"):
            await ami.state("1001")
        assert not ami.connected


async def _silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(BANNER)
    await reader.read()


# --- hostile --------------------------------------------------------------------------------------

LINE = st.sampled_from(
    [BANNER, b"Response: Success\r\n", b"ActionID: provisioner-2\r\n", b"Challenge: 1\r\n", b"\r\n", b"\n", b":\r\n"]
)
HOSTILE = st.lists(LINE | st.binary(max_size=60) | st.just(b"x" * 9000), max_size=30).map(b"".join)


@given(HOSTILE, st.integers(1, 5000))
def test_any_bytes_are_packets_or_an_error_however_they_are_cut(data: bytes, size: int) -> None:
    def read(cut: int) -> list[object]:
        packets, found = Packets(), list[object]()
        with contextlib.suppress(AmiError):
            for start in range(0, len(data), cut):
                found += packets.feed(data[start : start + cut])
        return found

    whole = read(len(data) + 1)
    assert all(isinstance(one, dict) and one for one in whole)
    assert read(size)[: len(whole)] == whole[: len(read(size))]


@settings(max_examples=examples(60), deadline=None)
@given(HOSTILE)
def test_whatever_a_peer_sends_the_client_raises_its_own_error(data: bytes) -> None:
    async def ask() -> None:
        async with FakeAmi(raw=lambda _: BANNER + data).running() as fake:
            ami = client(fake, timeout=2.0)
            with contextlib.suppress(AmiError):
                await ami.notify("1001", "check-sync")
            await ami.close()

    asyncio.run(ask())


def test_memory_is_bounded() -> None:
    for flood in (b"x" * 10_000, b"a: b\r\n" * 600, b"Asterisk Call Manager/1\r\n" + b"a: " + b"y" * 8000 + b"\r\n"):
        packets = Packets()
        with pytest.raises(AmiError):
            for _ in range(20):
                list(packets.feed(flood))


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_argument_is_more_than_one(endpoint: str, event: str) -> None:
    try:
        sent = written("PJSIPNotify", "1", [("Endpoint", endpoint), variable("Event", event)])
    except AmiError:
        return
    assert sent.count(b"\r\n") == 5 and sent.count(b"\n") == 5 and sent.count(b"\r") == 5
    assert sent.decode().split("\r\n")[2:4] == [f"Endpoint: {endpoint}", f"Variable: Event={event}"]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["1001)", "a\r\nAction: Originate", "${SHELL(id)}", "a,b", "x" * 500, "\x00"])
async def test_names_that_are_more_than_a_name_never_leave(name: str) -> None:
    async with FakeAmi().running() as fake:
        ami = client(fake)
        with pytest.raises(AmiError):
            await ami.state(name)
        await ami.close()
    assert fake.connections == 0
