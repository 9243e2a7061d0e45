"""A simulated phone calls the real IVR: whose it is afterwards, by every way of keying and hanging up."""

from __future__ import annotations

import io
import wave

import pytest
from activation_house import MAC, House
from scripted_server import Certificates, ScriptedServer

from ivr.flow import FlowSettings, Result, ResultKind
from ivr.server_media import Voice
from provisioner.simulator import Phone, load_persona
from provisioner.simulator.caller import call_in
from provisioner.simulator.caller_call import Manner
from provisioner.simulator.caller_sdp import PCMA
from provisioner.simulator.caller_story import CallStory, as_json, as_text
from tests.ivr.answering import LIFE, NUMBER, OneCodeDesk, answering, short_voice
from tests.ivr.scenarios import GOOD, MISTYPED, OTHER


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    return short_voice(tmp_path_factory.mktemp("voice"))


@pytest.fixture
def phone(certificates: Certificates) -> Phone:
    return Phone(
        persona=load_persona("yealink", "T46S"),
        mac=MAC,
        certificate=certificates.certificate,
        key=certificates.key,
        trust=certificates.server_ca,
        retry_delay=0.0,
    )


def manner(keys: str = f"{GOOD}#", **more: object) -> Manner:
    quick: dict[str, object] = {"pause": 0.2, "wait": 2.0, "most": 20.0, "deaf": 2.0}
    return Manner(keys, **{**quick, **more})  # type: ignore[arg-type]  # each test names its own


async def told(house: House, desk: OneCodeDesk, voice: Voice, phone: Phone, how: Manner, **server: object) -> CallStory:
    async with (
        ScriptedServer(house.serve) as files,
        answering(desk, voice, **server) as ivr,  # type: ignore[arg-type]  # each test names its own
    ):
        house.sip = ivr.at
        return await call_in(phone, files.url, how)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("transport", "info", "algorithm"), [("udp", False, "MD5"), ("tcp", True, "SHA-256"), ("tcp", False, "MD5")]
)
async def test_a_right_code_makes_the_phone_somebodys(
    voice: Voice, phone: Phone, transport: str, info: bool, algorithm: str
) -> None:
    house = House(transport)
    desk = OneCodeDesk(bound=house.bind)
    story = await told(house, desk, voice, phone, manner(info=info), algorithms=(algorithm,))
    assert (story.reason, story.good) == ("", True), as_text(story)
    assert desk.keyed == [GOOD]
    assert (story.registered_as, story.dialled, story.codec) == (MAC, NUMBER, "PCMU")
    assert story.by == ("INFO" if info else "RFC 4733")
    assert (story.ended_by, story.check_sync) == ("the server", "check-sync;reboot=true")
    assert desk.statuses == [200]
    assert story.second is not None
    assert [one.user for one in story.second.lines] == ["1001"]
    assert story.spoken > 0.5


@pytest.mark.asyncio
@pytest.mark.parametrize("events", [96, 127])
async def test_any_payload_type_and_a_law_do(voice: Voice, phone: Phone, events: int) -> None:
    house = House()
    story = await told(house, OneCodeDesk(house.bind), voice, phone, manner(events=events, codecs=(PCMA,)))
    assert (story.good, story.codec) == (True, "PCMA")


@pytest.mark.asyncio
async def test_a_wrong_code_leaves_it_nobodys_and_says_so(voice: Voice, phone: Phone) -> None:
    house = House()
    desk = OneCodeDesk(house.bind, settings=FlowSettings(tries=1))
    story = await told(house, desk, voice, phone, manner(f"{OTHER}#", wait=0.3))
    assert (story.good, story.ended_by, story.check_sync) == (False, "the server", "")
    assert story.reason == f"after the call the phone still registers as {MAC}: the code was not accepted"
    assert desk.keyed == [OTHER]


@pytest.mark.asyncio
async def test_a_second_try_in_the_same_call(voice: Voice, phone: Phone) -> None:
    house = House()
    desk = OneCodeDesk(house.bind)
    story = await told(house, desk, voice, phone, manner(f"{MISTYPED}#", then=(f"{GOOD}#",)))
    assert story.good, as_text(story)
    assert desk.keyed == [GOOD]  # a mistyped one is not asked about


@pytest.mark.asyncio
async def test_barging_in_hears_less_of_the_prompt(voice: Voice, phone: Phone) -> None:
    house = House()
    story = await told(house, OneCodeDesk(house.bind), voice, phone, manner(barge_in=True))
    assert story.good


@pytest.mark.asyncio
async def test_who_hangs_up_right_after_success_still_has_the_phone(voice: Voice, phone: Phone) -> None:
    house = House()
    desk = OneCodeDesk(house.bind)
    story = await told(house, desk, voice, phone, manner(hang_up_after_success=True))
    assert (story.good, story.ended_by) == (True, "the phone")
    assert story.check_sync


@pytest.mark.asyncio
async def test_without_a_check_sync_it_asks_again_by_itself(voice: Voice, phone: Phone) -> None:
    house = House()
    story = await told(house, OneCodeDesk(house.bind, event=""), voice, phone, manner(wait=0.3))
    assert (story.good, story.check_sync) == (True, "")
    assert "boots again by itself, nobody told it to" in [one.text for one in story.steps]


@pytest.mark.asyncio
async def test_a_busy_server_speaks_and_hangs_up(voice: Voice, phone: Phone) -> None:
    house = House()
    desk = OneCodeDesk(house.bind, refusal=Result(ResultKind.BUSY))
    story = await told(house, desk, voice, phone, manner(pause=5.0, wait=0.3))
    assert (story.good, story.ended_by, story.keys) == (False, "the server", "")
    assert story.spoken > 0.2
    assert desk.keyed == []


@pytest.mark.asyncio
async def test_a_secret_of_yesterday_is_not_let_in(voice: Voice, phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    monkeypatch.setattr("activation_house.login", lambda mac: (f"{mac}-{LIFE:08x}", "wrong"))
    story = await told(house, OneCodeDesk(house.bind), voice, phone, manner())
    assert (story.good, story.registered_as, story.codec) == (False, "", "")
    assert "does not let it register" in story.reason
    assert "the secret is not right" in story.reason


@pytest.mark.asyncio
async def test_what_it_heard_is_what_was_said_and_what_it_keyed_is_hidden(voice: Voice, phone: Phone) -> None:
    house = House()
    story = await told(house, OneCodeDesk(house.bind), voice, phone, manner())
    with wave.open(io.BytesIO(story.wav)) as heard:
        assert (heard.getframerate(), heard.getnchannels(), heard.getsampwidth()) == (8000, 1, 2)
        assert heard.getnframes() / 8000 == pytest.approx(story.heard)
    assert story.keys == f"{'*' * 10}{GOOD[-2:]}#"
    for text in (repr(story), as_text(story), as_json(story), repr(manner())):
        assert GOOD not in text
    assert "keyed" in as_text(story)
