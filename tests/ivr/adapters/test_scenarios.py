"""Every scenario of the Flow, acted out behind every telephone system."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ivr.adapters import (
    Attempts,
    AttemptsSettings,
    FastAgi,
    FastAgiSettings,
    Httapi,
    HttapiSettings,
    TwilioSignature,
    Twiml,
    TwimlSettings,
)
from ivr.flow import Caller, Confirm, Result
from tests.ivr.adapters.asterisk import Asterisk
from tests.ivr.adapters.desks import ScriptedDesk, asked_of, desk_of, result_of
from tests.ivr.adapters.person import Person
from tests.ivr.adapters.web import CALLER, PUBLIC, SECRET, TOKEN, FreeSwitch, Twilio, serving
from tests.ivr.scenarios import CONFIRMING, GOOD, SCENARIOS, Scenario, Then

pytestmark = pytest.mark.asyncio
each = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)

STATUS = {
    "success": 200,
    "wrong": 404,
    "expired": 410,
    "used": 410,
    "wrong_model": 409,
    "ask_administrator": 409,
    "goodbye": 409,
    "locked": 429,
    "busy": 503,
    "system_error": 503,
    "reenter_typo": 422,
}


def agreed(desk: ScriptedDesk, scenario: Scenario, person: Person, *, over: bool) -> None:
    """What the product was asked and told is the same, whichever way the call came."""
    assert person.content
    assert desk.asked == asked_of(scenario)
    assert desk.answers == []
    assert desk.causes == [*scenario.causes, *(["gone"] if not over else [])]
    assert desk.ended == [result_of(scenario)]


@each
async def test_behind_asterisk(scenario: Scenario) -> None:
    desk, person = desk_of(scenario), Person(scenario)
    vouched = ("127.0.0.0/8",) if scenario.authenticated else ()
    server = FastAgi(desk, FastAgiSettings(vouched=vouched))
    await server.start(port=0)
    asterisk = Asterisk(person)
    await asterisk.call(server.port)
    await server.close()
    agreed(desk, scenario, person, over=scenario.ends is not None)
    assert asterisk.set == ({"ACT_RESULT": scenario.ends} if scenario.ends else {})
    assert asterisk.hung_up is (scenario.ends is not None)
    assert desk.callers == [Caller("0004f2aabbcc", "192.0.2.7", "agi", authenticated=scenario.authenticated)]


@each
@pytest.mark.parametrize("get", [False, True], ids=["POST", "GET"])
async def test_behind_twilio(scenario: Scenario, get: bool) -> None:
    desk, person = desk_of(scenario), Person(scenario)
    settings = TwimlSettings(
        PUBLIC,
        recordings="https://pbx.example.com/recordings/",
        get=get,
        user_field="SipUsername" if scenario.authenticated else "",
        source_field="SipSourceIp",
    )
    caller = {**CALLER, "SipUsername": "0004F2AABBCC", "SipSourceIp": "192.0.2.7"}
    async with serving(Twiml(desk, TwilioSignature(TOKEN, PUBLIC), settings)) as web:
        twilio = Twilio(web, person, get=get, caller=caller)
        await twilio.call()
    agreed(desk, scenario, person, over=twilio.hung_up)
    assert twilio.hung_up or scenario.ends is None
    assert desk.callers == [Caller("0004f2aabbcc", "192.0.2.7", "twiml", authenticated=scenario.authenticated)]


@each
async def test_behind_freeswitch(scenario: Scenario) -> None:
    desk, person = desk_of(scenario), Person(scenario)
    settings = HttapiSettings("/usr/share/sounds/activation", secret=SECRET, users_proven=scenario.authenticated)
    async with serving(Httapi(desk, settings)) as web:
        freeswitch = FreeSwitch(web, person)
        await freeswitch.call()
    agreed(desk, scenario, person, over=freeswitch.hung_up)
    assert freeswitch.hung_up or scenario.ends is None
    assert desk.callers == [Caller("0004f2aabbcc", "192.0.2.7", "httapi", authenticated=scenario.authenticated)]


def posted(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """The codes of a scenario, and what its caller hears of each; a request has no read-back."""
    if scenario.refusal:
        yield GOOD, scenario.turns[0].hears[0]
    for number, turn in enumerate(scenario.turns):
        code = turn.keys.rpartition("*")[2].strip("#")
        if len(code) > 1 and turn.then is not Then.HANGS_UP:
            heard = scenario.turns[number + 1].hears[0]
            if heard == "confirm_extension":
                confirmed = scenario.turns[number + 2 :]
                heard = next((later.hears[0] for later in confirmed if later.hears[0] != heard), "")
            if heard != "enter":
                yield code, heard


def redeemed(scenario: Scenario) -> list[Result]:
    if scenario.settings is not CONFIRMING:
        return list(scenario.answers)
    return [two for one, two in zip(scenario.asked, scenario.answers, strict=True) if isinstance(one, Confirm)]


@each
async def test_behind_a_request(scenario: Scenario) -> None:
    desk = ScriptedDesk(redeemed(scenario), settings=scenario.settings, refusal=scenario.refusal)
    settings = AttemptsSettings(("a-token-of-some-length",), vouched=scenario.authenticated)
    headers = {"Authorization": "Bearer a-token-of-some-length"}
    wanted = list(posted(scenario))
    async with serving(Attempts(desk, settings)) as web:
        for code, heard in wanted:
            body = {"code": code, "device": {"mac": "00:04:f2:aa:bb:cc"}, "channel": "curl", "source_ip": "192.0.2.7"}
            answer, content = await web.send("POST", settings.path, json.dumps(body).encode(), headers)
            assert answer.status == STATUS[heard]
            assert ("Retry-After" in answer.headers) is (answer.status in (429, 503))
            document = json.loads(content)
            assert document.get("status", 200) == answer.status
    assert desk.answers == []
    assert len(desk.ended) == len(wanted)
    caller = Caller("0004f2aabbcc", "192.0.2.7", "rest-curl", authenticated=scenario.authenticated)
    assert desk.callers == [caller] * len(wanted)
    assert "held" not in desk.causes
