"""A simulated phone calls the real IVR: whose it is afterwards, by every way of keying and hanging up."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import Mapping
from dataclasses import dataclass

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


@pytest.fixture(scope="module")
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


@dataclass(frozen=True)
class Lived:
    """A call that is over."""

    story: CallStory
    desk: OneCodeDesk


async def told(house: House, desk: OneCodeDesk, voice: Voice, phone: Phone, how: Manner, **server: object) -> CallStory:
    async with (
        ScriptedServer(house.serve) as files,
        answering(desk, voice, **server) as ivr,  # type: ignore[arg-type]  # each test names its own
    ):
        house.sip = ivr.at
        return await call_in(phone, files.url, how)


def ways() -> dict[str, tuple[Manner, dict[str, object]]]:
    """How each calls, by name, and what is special about whom it calls."""
    right = {
        "udp": (manner(), {"algorithms": ("MD5",)}),
        "tcp, INFO": (manner(info=True), {"transport": "tcp", "algorithms": ("SHA-256",)}),
        "tcp": (manner(), {"transport": "tcp", "algorithms": ("MD5",)}),
    }
    payloads = {f"payload {one}": (manner(events=one, codecs=(PCMA,)), {}) for one in (96, 127)}
    return {
        **right,
        **payloads,
        "wrong": (manner(f"{OTHER}#", wait=0.3), {"settings": FlowSettings(tries=1)}),
        "second try": (manner(f"{MISTYPED}#", then=(f"{GOOD}#",)), {}),
        "barges in": (manner(barge_in=True), {}),
        "hangs up": (manner(hang_up_after_success=True), {}),
        "nobody tells": (manner(wait=0.3), {"event": ""}),
        "busy": (manner(pause=5.0, wait=0.3), {"refusal": Result(ResultKind.BUSY)}),
    }


@pytest.fixture(scope="module")
def lived(voice: Voice, phone: Phone) -> Mapping[str, Lived]:
    """All of them at once, each at a server of its own: a call is mostly waiting for what the other side says."""

    async def one(how: Manner, special: dict[str, object]) -> Lived:
        house = House(str(special.pop("transport", "udp")))
        core = {"algorithms": special.pop("algorithms")} if "algorithms" in special else {}
        desk = OneCodeDesk(bound=house.bind, **special)  # type: ignore[arg-type]  # as each names it
        return Lived(await told(house, desk, voice, phone, how, **core), desk)

    async def everybody() -> list[Lived]:
        return await asyncio.gather(*(one(*way) for way in ways().values()))

    return dict(zip(ways(), asyncio.run(everybody()), strict=True))


@pytest.mark.parametrize("name", ["udp", "tcp, INFO", "tcp"])
def test_a_right_code_makes_the_phone_somebodys(lived: Mapping[str, Lived], name: str) -> None:
    story, desk = lived[name].story, lived[name].desk
    assert (story.reason, story.good) == ("", True), as_text(story)
    assert desk.keyed == [GOOD]
    assert (story.registered_as, story.dialled, story.codec) == (MAC, NUMBER, "PCMU")
    assert story.by == ("INFO" if "INFO" in name else "RFC 4733")
    assert (story.ended_by, story.check_sync) == ("the server", "check-sync;reboot=true")
    assert desk.statuses == [200]
    assert story.second is not None
    assert [one.user for one in story.second.lines] == ["1001"]
    assert story.spoken > 0.5


@pytest.mark.parametrize("events", [96, 127])
def test_any_payload_type_and_a_law_do(lived: Mapping[str, Lived], events: int) -> None:
    story = lived[f"payload {events}"].story
    assert (story.good, story.codec) == (True, "PCMA")


def test_a_wrong_code_leaves_it_nobodys_and_says_so(lived: Mapping[str, Lived]) -> None:
    story = lived["wrong"].story
    assert (story.good, story.ended_by, story.check_sync) == (False, "the server", "")
    assert story.reason == f"after the call the phone still registers as {MAC}: the code was not accepted"
    assert lived["wrong"].desk.keyed == [OTHER]


def test_a_second_try_in_the_same_call(lived: Mapping[str, Lived]) -> None:
    assert lived["second try"].story.good, as_text(lived["second try"].story)
    assert lived["second try"].desk.keyed == [GOOD]  # a mistyped one is not asked about


def test_barging_in_hears_less_of_the_prompt(lived: Mapping[str, Lived]) -> None:
    assert lived["barges in"].story.good


def test_who_hangs_up_right_after_success_still_has_the_phone(lived: Mapping[str, Lived]) -> None:
    story = lived["hangs up"].story
    assert (story.good, story.ended_by) == (True, "the phone")
    assert story.check_sync


def test_without_a_check_sync_it_asks_again_by_itself(lived: Mapping[str, Lived]) -> None:
    story = lived["nobody tells"].story
    assert (story.good, story.check_sync) == (True, "")
    assert "boots again by itself, nobody told it to" in [one.text for one in story.steps]


def test_a_busy_server_speaks_and_hangs_up(lived: Mapping[str, Lived]) -> None:
    story = lived["busy"].story
    assert (story.good, story.ended_by, story.keys) == (False, "the server", "")
    assert story.spoken > 0.2
    assert story.reason.endswith("the call was cut: the server hung up before all was keyed")
    assert lived["busy"].desk.keyed == []


@pytest.mark.asyncio
async def test_a_secret_of_yesterday_is_not_let_in(voice: Voice, phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    monkeypatch.setattr("activation_house.login", lambda mac: (f"{mac}-{LIFE:08x}", "wrong"))
    story = await told(house, OneCodeDesk(house.bind), voice, phone, manner())
    assert (story.good, story.registered_as, story.codec) == (False, "", "")
    assert "does not let it register" in story.reason
    assert "the secret is not right" in story.reason


def test_what_it_heard_is_what_was_said_and_what_it_keyed_is_hidden(lived: Mapping[str, Lived]) -> None:
    story = lived["udp"].story
    with wave.open(io.BytesIO(story.wav)) as heard:
        assert (heard.getframerate(), heard.getnchannels(), heard.getsampwidth()) == (8000, 1, 2)
        assert heard.getnframes() / 8000 == pytest.approx(story.heard)
    assert story.keys == f"{'*' * 10}{GOOD[-2:]}#"
    for text in (repr(story), as_text(story), as_json(story), repr(manner())):
        assert GOOD not in text
    assert "keyed" in as_text(story)
