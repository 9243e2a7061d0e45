"""FastAGI over real connections: strangers, nonsense, callers who leave, and what is believed of whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from ivr.adapters import FastAgi, FastAgiSettings, fastagi
from ivr.flow import FlowSettings, Result, ResultKind
from tests.ivr.adapters.asterisk import VARIABLES, Asterisk, words
from tests.ivr.adapters.desks import ScriptedDesk
from tests.ivr.adapters.person import Person
from tests.ivr.scenarios import ACCEPTED, GOOD, SCENARIOS, WRONG, Then, Turn
from tests.ivr.scenarios import Scenario as Told

pytestmark = pytest.mark.asyncio
Answer = Callable[[list[str]], str]
LEAVING = Told("leaves", (Turn(("welcome", "enter"), then=Then.HANGS_UP),), ("started",), None)
LOOPBACK = ("127.0.0.0/8",)


@asynccontextmanager
async def listening(desk: ScriptedDesk, settings: FastAgiSettings | None = None) -> AsyncIterator[FastAgi]:
    server = FastAgi(desk, settings)
    await server.start(port=0)
    yield server
    await server.close()


async def peer(port: int, answer: Answer, environment: bytes = b"agi_language: en\n\n") -> list[list[str]]:
    """Answers each command with what ``answer`` says; returns the commands."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    commands = []
    try:
        writer.write(environment)
        while line := await reader.readline():
            commands.append(words(line.decode()))
            writer.write(answer(commands[-1]).encode())
    except ConnectionError:
        pass
    writer.close()
    return commands


def plain(command: list[str]) -> str:
    """An old Asterisk that knows none of the variables."""
    return "200 result=0\n" if command[0] != "GET" or command[1] == "FULL" else "200 result= (timeout)\n"


async def test_silence_and_functions_that_it_does_not_have() -> None:
    desk = ScriptedDesk()
    async with listening(desk) as server:
        commands = await peer(server.port, lambda asked: "510 Invalid\n" if "FULL" in asked else plain(asked))
    assert desk.causes == ["started", "silent", "silent", "silent"]
    assert commands[-2:] == [["SET", "VARIABLE", "ACT_RESULT", "no code"], ["HANGUP"]]
    assert (desk.callers[0].mac, desk.callers[0].source) == ("", "")


@pytest.mark.parametrize(
    "answered",
    [
        "510 Invalid or unknown command\n",
        "520-Invalid command syntax.  Proper usage follows:\nUsage: GET DATA\n520 End of proper usage.\n",
        "nonsense\n",
        "200 result=" + "1" * 9000 + "\n",
        "HANGUP\n511 Command Not Permitted on a dead channel\n",
        "HANGUP\n200 result=0\n",
        "200 result=-1\n",
        "",
    ],
    ids=["510", "520", "nonsense", "a long line", "511", "hangup before the answer", "-1", "closed"],
)
async def test_a_call_that_goes_wrong_is_over_and_told_so(answered: str) -> None:
    desk = ScriptedDesk()
    async with listening(desk) as server:
        if answered:
            await peer(server.port, lambda asked: answered if "DATA" in asked else plain(asked))
        else:
            await closing(server.port)
        await asyncio.wait_for(desk.was_over.wait(), 5)
        assert (desk.causes, desk.ended) == (["started", "gone"], [None])


async def closing(port: int) -> None:
    """Cut in the middle of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"agi_language: en\n\n")
    while words((await reader.readline()).decode())[1] != "DATA":
        writer.write(b"200 result=0\n")
    writer.write(b"200 resu")
    writer.close()


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n", b"agi_x" * 2000, b"\x16\x03\x01\x02\n", b"agi_a: b\n" * 200])
async def test_what_is_no_asterisk_is_closed(sent: bytes) -> None:
    desk = ScriptedDesk()
    async with listening(desk) as server:
        assert await peer(server.port, plain, sent) == []
    assert desk.callers == []


async def test_a_stranger_is_closed_unheard(caplog: pytest.LogCaptureFixture) -> None:
    desk = ScriptedDesk()
    async with listening(desk, FastAgiSettings(peers=("192.0.2.0/24",))) as server:
        assert await peer(server.port, plain) == []
    assert desk.callers == []
    assert "127.0.0.1 is none of the peers" in caplog.text


async def test_no_more_calls_than_there_is_room_for(caplog: pytest.LogCaptureFixture) -> None:
    desk = ScriptedDesk([WRONG])
    desk.slow = asyncio.Event()
    async with listening(desk, FastAgiSettings(calls=1)) as server:
        first = asyncio.create_task(peer(server.port, keyed(GOOD)))
        await desk.was_asked.wait()
        assert await peer(server.port, plain) == []
        desk.slow.set()
        await asyncio.wait_for(first, 5)
        assert await peer(server.port, plain) != [], "room again"
    assert "finds as many calls as there may be" in caplog.text


async def test_what_became_of_connections_is_counted_and_logged_once_in_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counted: list[tuple[str, str]] = []
    turns = iter([True, False, False])
    server = FastAgi(
        ScriptedDesk(),
        FastAgiSettings(peers=LOOPBACK),
        count=lambda metric, label: counted.append((metric, label)),
        admits=lambda _: next(turns),
    )
    await server.start(port=0)
    assert await peer(server.port, plain) != []
    for _ in range(2):
        assert await peer(server.port, plain) == []
    await server.close()
    assert counted == [("ivr_calls", "no_code"), ("agi_connections", "served"), *[("agi_connections", "rate")] * 2]
    assert caplog.text.count("connects too often") == 1


def keyed(code: str) -> Answer:
    """Keys the code once, then nothing."""
    keys = [code]
    return lambda asked: f"200 result={keys.pop()}\n" if "DATA" in asked and keys else plain(asked)


async def test_who_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastagi, "_PATIENCE", 0.05)
    async with listening(ScriptedDesk()) as server:
        assert await asyncio.wait_for(peer(server.port, plain, b"agi_language: en\n"), 5) == []


async def test_a_call_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastagi, "_GRACE", 0.0)
    desk = ScriptedDesk(settings=FlowSettings(longest=0.3, farewell=0.05))
    async with listening(desk) as server:
        commands = await asyncio.wait_for(peer(server.port, lambda asked: "" if "DATA" in asked else plain(asked)), 5)
    assert commands[-1][:2] == ["GET", "DATA"]
    assert desk.ended == [None]


async def test_close_ends_the_calls_that_stand() -> None:
    desk = ScriptedDesk()
    async with listening(desk) as server:
        call = asyncio.create_task(peer(server.port, lambda asked: "" if "DATA" in asked else plain(asked)))
        await desk.was_told.wait()
    await asyncio.wait_for(call, 5)
    assert desk.causes == ["started", "gone"]


async def called(variables: Mapping[str, str], settings: FastAgiSettings, **environment: str) -> ScriptedDesk:
    desk = ScriptedDesk()
    async with listening(desk, settings) as server:
        asterisk = Asterisk(Person(LEAVING), variables=variables, environment={"language": "en", **environment})
        await asterisk.call(server.port)
    return desk


CHALLENGED = "${PJSIP_ENDPOINT(${CHANNEL(endpoint)},auth)}"
HEADER = "${PJSIP_HEADER(read,MAC)}"


@pytest.mark.parametrize(
    ("variables", "vouched"),
    [
        (VARIABLES, ()),
        (VARIABLES, ("192.0.2.0/24",)),
        ({**VARIABLES, CHALLENGED: ""}, LOOPBACK),
        ({HEADER: "00:04:f2:aa:bb:cc", "${CHANNEL(endpoint)}": "lobby", CHALLENGED: "lobby-auth"}, LOOPBACK),
        ({HEADER: "00:04:f2:aa:bb:cc"}, LOOPBACK),
    ],
    ids=["not vouched for", "another is", "not challenged", "an endpoint that is no Mac", "a header alone"],
)
async def test_who_is_not_authenticated(variables: Mapping[str, str], vouched: tuple[str, ...]) -> None:
    desk = await called(variables, FastAgiSettings(vouched=vouched))
    assert (desk.callers[0].mac, desk.callers[0].authenticated) == ("0004f2aabbcc", False)


async def test_an_endpoint_that_proves_itself_outweighs_a_header(caplog: pytest.LogCaptureFixture) -> None:
    variables = {**VARIABLES, HEADER: "00:04:f2:00:00:01"}
    desk = await called(variables, FastAgiSettings(vouched=LOOPBACK))
    assert (desk.callers[0].mac, desk.callers[0].authenticated) == ("0004f2aabbcc", True)
    assert "name different phones; taken: 0004f2aabbcc" in caplog.text


async def test_the_dialplan_may_tell_the_mac() -> None:
    desk = await called({}, FastAgiSettings(), arg_1="activate", arg_2="00-04-F2-AA-BB-CC")
    assert (desk.callers[0].mac, desk.callers[0].authenticated) == ("0004f2aabbcc", False)


async def test_a_code_may_begin_within_the_first_prompt() -> None:
    desk = ScriptedDesk([ACCEPTED])
    keys = iter(["200 result=51 endpos=800\n"])
    rest = keyed(GOOD[1:])
    async with listening(desk) as server:
        commands = await peer(
            server.port, lambda asked: next(keys, plain(asked)) if asked[0] == "STREAM" else rest(asked)
        )
    assert desk.asked == [(GOOD, 1, False)]
    assert [command[2:] for command in commands if "DATA" in command] == [["", "4000", "11"]]


async def test_a_file_that_is_missing_is_told_from_a_caller_who_left(caplog: pytest.LogCaptureFixture) -> None:
    desk = ScriptedDesk()
    states = {"STREAM": "200 result=-1 endpos=0\n", "CHANNEL": "200 result=6\n"}
    async with listening(desk) as server:
        await peer(server.port, lambda asked: states.get(asked[0], plain(asked)))
    assert "STREAM FILE activation/welcome 0123456789* 0 failed: is this file" in caplog.text
    assert desk.causes == ["started", "gone"]


async def test_a_key_too_early_does_not_cut_the_last_prompt_short() -> None:
    desk = ScriptedDesk([Result(ResultKind.ACCEPTED)])
    keys = iter(["200 result=0 endpos=9600\n", "200 result=55 endpos=4000\n", "200 result=0 endpos=9600\n"])
    code = keyed(GOOD)
    async with listening(desk) as server:
        commands = await peer(server.port, lambda asked: next(keys) if asked[0] == "STREAM" else code(asked))
    streamed = [command[2:] for command in commands if command[0] == "STREAM"][1:]
    assert streamed == [["activation/success", "0123456789*", "0"], ["activation/success", "0123456789*", "4000"]]


@pytest.mark.parametrize("wrong", [{"folder": "a&b"}, {"folder": "../x"}, {"header": "a)}"}, {"folder": ""}], ids=str)
async def test_names_that_would_mean_something_else_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="letters"):
        FastAgiSettings(**wrong)  # type: ignore[arg-type]  # names only


async def test_digits_are_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    scenario = next(one for one in SCENARIOS if one.name == "complete without pound")
    desk = ScriptedDesk([ACCEPTED])
    async with listening(desk) as server:
        await Asterisk(Person(scenario)).call(server.port)
        await peer(server.port, lambda asked: f"{GOOD}\n" if "DATA" in asked else plain(asked))
    assert desk.asked
    assert GOOD[:4] not in caplog.text
