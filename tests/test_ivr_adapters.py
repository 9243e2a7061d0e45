"""Phones are activated through other people's telephone systems, by a real server: the scenario table and more."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from adapter_house import (
    SYSTEMS,
    Lived,
    Registry,
    act,
    adapted,
    asking,
    bound,
    build,
    channel,
    livable,
    lived,
    one_phone,
    prompts,
    register,
    tried,
    twiml,
)
from cryptography.hazmat.primitives.asymmetric import ec
from house import House, events, soon
from test_ivr_app import calling, offered

from ivr.flow import Cause, ResultKind
from tests.ivr.adapters.asterisk import Asterisk
from tests.ivr.adapters.person import Person
from tests.ivr.adapters.test_scenarios import STATUS, posted
from tests.ivr.scenarios import CONFIRMING, Scenario, Then, Turn

EACH_KIND = ("asterisk", "twilio", "freeswitch")
"""Telnyx and Kazoo speak as Twilio does."""
SOME = {
    "complete without pound",
    "three wrong codes",
    "used, an authenticated device",
    "used, an unknown device",
    "hangs up right after success",
}


@pytest.fixture(scope="module")
def unstarted(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Keys take their time."""
    return build(tmp_path_factory.mktemp("unstarted"))


@pytest.fixture(scope="module")
def house(unstarted: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """No SIP: the adapters alone make the server answer calls."""
    built = unstarted.copy(tmp_path_factory.mktemp("adapters"), **adapted())
    built.start()
    yield built
    built.stop()


@pytest.fixture(scope="module")
def confirming(unstarted: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """It has callers confirm their extension, those by SIP as well."""
    chosen = adapted(ivr_confirm_extension="true", ivr_port=0, ivr_rate=200)
    built = unstarted.copy(tmp_path_factory.mktemp("confirming"), **chosen)
    built.start()
    yield built
    built.stop()


def prepared(house: House, scenarios: list[Scenario]) -> list[Lived]:
    async def make(registry: Registry) -> list[Lived]:
        return [await lived(registry, one) for one in scenarios]

    made: list[Lived] = register(house, make)
    return made


def acted_out(house: House, system: str, scenarios: list[Scenario]) -> None:
    """Each of them, and afterwards the event log and the bindings say what has to have come of it."""
    calls, wanted = prepared(house, scenarios), {}

    async def life() -> None:
        async with asking(house) as web:
            for one in calls:
                try:
                    over = await act(house, web, system, one)
                except AssertionError as error:
                    error.add_note(f"in the scenario {one.scenario.name!r}")
                    raise
                wanted[one.mac] = [*one.causes, *([] if over else ["gone"])]

    asyncio.run(life())
    macs = [one.mac for one in calls]
    assert prompts(house, macs, {mac: len(causes) for mac, causes in wanted.items()}) == wanted
    assert bound(house, macs) == {one.mac for one in calls if one.bound}
    log = house.log()
    assert [code for one in calls for code in one.codes if code in log] == []
    assert "Traceback" not in log


@pytest.mark.parametrize("system", EACH_KIND)
def test_the_scenario_table(house: House, system: str) -> None:
    acted_out(house, system, livable(confirming=False))


@pytest.mark.parametrize("system", sorted(set(SYSTEMS) - set(EACH_KIND)))
def test_what_differs_by_its_proof_alone(house: House, system: str) -> None:
    """They prove nobody, so what only a proven caller hears is left out."""
    chosen = [one for one in livable(confirming=False) if one.name in SOME - {"used, an authenticated device"}]
    assert len(chosen) == len(SOME) - 1
    acted_out(house, system, [replace(one, authenticated=False) for one in chosen])


@pytest.mark.parametrize("system", EACH_KIND)
def test_the_scenarios_of_who_confirms(confirming: House, system: str) -> None:
    acted_out(confirming, system, livable(confirming=True))


def test_the_scenario_table_by_requests(house: House) -> None:
    calls = prepared(house, [one for one in livable(confirming=False) if one.authenticated])

    async def life() -> None:
        async with asking(house) as web:
            for one in calls:
                for code, heard in posted(one.scenario):
                    status, document = await tried(web, one.mac, code)
                    assert status == STATUS[heard], one.scenario.name
                    assert document.get("outcome", "") == ("bound" if status == 200 else "")

    asyncio.run(life())
    completed = {one.mac for one in calls if one.bound and one.scenario.ends}
    assert bound(house, [one.mac for one in calls]) >= completed


def test_a_phone_gets_its_owners_configuration(house: House) -> None:
    mac, number, code = one_phone(house)

    async def life() -> None:
        async with asking(house) as web:
            assert await tried(web, mac, f"{code[:4]}-{code[4:8]}-{code[8:]}") == (
                200,
                {"outcome": "bound", "extension": number},
            )

    asyncio.run(life())
    certificate = house.certificate("yealink", mac, curve=ec.SECP256R1())

    def line() -> bool:
        body = house.get(f"/{mac}.cfg", certificate, User_Agent=f"Yealink SIP-T46S 66.86.0.15 {mac}")[2].decode()
        found = re.search(r"^account\.1\.user_name ?= ?(.*)$", body, re.MULTILINE)
        return bool(found) and found[1] == number

    assert soon(line)
    assert soon(lambda: [one.details["cause"] for one in events(house, "ivr_prompt", mac)] == ["started", "accepted"])
    told = events(house, "ivr_prompt", mac)
    assert {(one.details["channel"], one.details["source"], one.details["proven"]) for one in told} == {
        ("rest-lobby", "192.0.2.7", "yes")
    }
    assert code not in str([one.details for one in told])


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_phone_that_nobody_has_heard_of_is_sent_to_the_administrator(house: House, system: str) -> None:
    """And the code is as good as before."""
    mac, _, code = one_phone(house)
    nobody = f"001565{SYSTEMS.index(system):06x}"
    turns = (Turn(("welcome", "enter"), code), Turn(("ask_administrator",), then=Then.LISTENS))
    stranger = Lived(Scenario("a stranger", turns, (), Cause.UNSUPPORTED), nobody, False, (code,))

    async def life() -> None:
        async with asking(house) as web:
            await act(house, web, system, stranger)
            assert (await tried(web, mac, code))[0] == 200

    asyncio.run(life())
    assert prompts(house, [nobody], {nobody: 2})[nobody] == ["started", "unsupported"]


def test_too_many_wrong_codes_of_one_phone(house: House) -> None:
    async def make(registry: Registry) -> tuple[str, list[str], str]:
        wrong = [(await registry.for_answer(ResultKind.WRONG, 12)).code for _ in range(5)]
        return await registry.phone(), wrong, (await registry.code()).code

    mac, wrong, right = register(house, make)

    async def life() -> None:
        async with asking(house) as web:
            assert [(await tried(web, mac, code))[0] for code in wrong] == [404] * 5
            assert (await tried(web, mac, right))[0] == 429

    asyncio.run(life())
    assert bound(house, [mac]) == set()


def test_of_two_phones_that_hold_one_code_the_first_to_confirm_has_it(
    confirming: House,
) -> None:
    house = confirming
    mac, number, code = one_phone(house)

    async def second(registry: Registry) -> str:
        return await registry.phone()

    other = register(house, second)
    read = ("confirm_extension", *(f"digit_{digit}" for digit in number), "confirm_keys")
    welcome = Turn(("welcome", "enter"), code)
    won = ("success", "your_extension", *read[1:-1])
    quick = Scenario("quick", (welcome, Turn(read, "1"), Turn(won, then=Then.LISTENS)), (), Cause.ACTIVATED)
    late = (welcome, Turn(read, "1"), Turn(("used", "enter"), then=Then.HANGS_UP))
    slow = Scenario("slow", late, (), None, settings=CONFIRMING)

    async def life() -> None:
        async with asking(house) as web:
            slower = twiml(web, Person(slow), "twilio", other)
            verbs = await slower._act(await slower.post())  # it has keyed the code, and is to hear whose it is
            await act(house, web, "asterisk", Lived(quick, mac, True, (code,)))
            while verbs:
                verbs = await slower._act(verbs)

    asyncio.run(life())
    assert bound(house, [mac, other]) == {mac}


def test_who_hears_whose_it_is_and_hangs_up_leaves_the_code_as_it_was(
    confirming: House,
) -> None:
    house = confirming
    mac, number, code = one_phone(house)
    read = ("confirm_extension", *(f"digit_{digit}" for digit in number), "confirm_keys")
    welcome, leaves = Turn(("welcome", "enter"), code), Turn(read, then=Then.HANGS_UP)
    said = ("success", "your_extension", *read[1:-1])
    again = (welcome, Turn(read, "1"), Turn(said, then=Then.LISTENS))

    def calls(turns: tuple[Turn, ...], ends: object) -> None:
        scenario = Scenario("", turns, (), ends)  # type: ignore[arg-type]  # None, or a Cause

        async def life() -> None:
            asterisk = Asterisk(Person(scenario), variables=channel(mac))
            await asterisk.call(house.ports["agi"])

        asyncio.run(life())

    calls((welcome, leaves), None)
    assert prompts(house, [mac], {mac: 3})[mac] == ["started", "held", "gone"]
    assert bound(house, [mac]) == set()
    calls(again, Cause.ACTIVATED)
    assert soon(lambda: bound(house, [mac]) == {mac})


@pytest.mark.slow
def test_by_sip_nothing_is_bound_before_the_caller_agrees(confirming: House) -> None:
    house = confirming
    mac, _, code = one_phone(house)
    given = offered(house, mac)

    async def life(keys: str) -> None:
        phone = await calling(house, mac, given)
        await phone.key(code)
        await asyncio.sleep(0.7)
        await phone.key(keys)
        await asyncio.sleep(0.7)
        await phone.hang_up()
        phone.close()

    asyncio.run(life("*"))
    assert prompts(house, [mac], {mac: 4})[mac] == ["started", "held", "declined", "gone"]
    assert bound(house, [mac]) == set()
    asyncio.run(life("1"))
    assert prompts(house, [mac], {mac: 8})[mac][4:7] == ["started", "held", "accepted"]
    assert bound(house, [mac]) == {mac}


def test_codes_of_every_open_length_can_be_keyed_in(unstarted: House, tmp_path: Path) -> None:
    """The longest is complete without more, and the others with "#"."""
    house = unstarted.copy(tmp_path, **adapted())

    async def before(registry: Registry) -> list[tuple[str, str]]:
        return [(await registry.phone(), (await registry.code(digits=digits)).code) for digits in (16, 12, 8)]

    calls = register(house, before)
    house.start()

    async def life() -> list[str]:
        return [line for mac, code in calls for line in await keyed(house.ports["agi"], mac, [code])]

    try:
        asked = asyncio.run(life())
    finally:
        house.stop()
    assert [line.split()[-1] for line in asked] == ['"16"'] * 3
    macs = [mac for mac, _ in calls]
    assert bound(house, macs) == set(macs)


async def keyed(port: int, mac: str, keys: list[str]) -> list[str]:
    """A call by an Asterisk that answers GET DATA with these, "#" behind them; the GET DATAs that came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"agi_language: en\n\n")
    known, asked = channel(mac), []
    while line := (await reader.readline()).decode():
        answer = "200 result=0"
        if line.startswith("GET FULL"):
            value = known.get(line.split('"')[1], "")
            answer = f"200 result=1 ({value})" if value else "200 result=0"
        elif line.startswith("GET DATA"):
            asked.append(line)
            answer = f"200 result={keys.pop(0)}"
        writer.write(f"{answer}\n".encode())
    writer.close()
    return asked
