"""TwiML and TeXML hooks: who may speak to them, what a document may hold, and requests that come twice."""

from __future__ import annotations

import asyncio
import base64
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.adapters import SharedSecret, TelnyxSignature, TwilioSignature, Twiml, TwimlSettings
from ivr.adapters.hooks import Heard
from ivr.adapters.signatures import FirstSteps
from ivr.adapters.twiml import keyed
from ivr.flow import Collect, Digits, Timeout
from ivr.prompts import PromptError
from tests.ivr.adapters.desks import ScriptedDesk
from tests.ivr.adapters.person import Person
from tests.ivr.adapters.test_signatures import KEY
from tests.ivr.adapters.test_signatures import PUBLIC as TELNYX
from tests.ivr.adapters.web import PUBLIC, TOKEN, Twilio, Web, serving
from tests.ivr.scenarios import ACCEPTED, GOOD, SCENARIOS, WRONG

RECORDINGS = "https://pbx.example.com/recordings"
PATH = "/activation/twiml"
START = {"CallSid": "CA1", "From": "sip:0004f2aabbcc@example.sip.twilio.com", "CallStatus": "ringing"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TWELVE = Collect(12, "#", 8.0, 4.0)


def hook(desk: ScriptedDesk, **more: Any) -> Twiml:
    return Twiml(desk, TwilioSignature(TOKEN, PUBLIC), TwimlSettings(PUBLIC, **{"recordings": RECORDINGS, **more}))


def client(web: Web, call: str = "CA1") -> Twilio:
    return Twilio(web, Person(SCENARIOS[0]), call)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("POST", PATH, FORM),
        ("POST", PATH, {**FORM, "X-Twilio-Signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8="}),
        ("POST", PATH, {**FORM, "X-Twilio-Signature": "ü"}),
        ("GET", f"{PATH}?{urlencode(START)}", {}),
        ("PUT", PATH, FORM),
        ("POST", f"{PATH}/anything", FORM),
        ("POST", f"{PATH}?x={'y' * 8000}", FORM),
    ],
)
async def test_who_does_not_sign_gets_403_and_nothing_else(
    method: str, target: str, headers: Mapping[str, str]
) -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk)) as web:
        answer, body = await web.send(method, target, urlencode(START).encode() if method != "GET" else b"", headers)
        assert (answer.status, body) == (403, b"")
    assert desk.callers == []


@pytest.mark.asyncio
async def test_a_body_too_large_is_not_read_for_its_signature() -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk)) as web:
        assert (await client(web).raw({**START, "x": "y" * 20_000}))[0] == 403
    assert desk.callers == []


@pytest.mark.asyncio
async def test_signed_and_wrong() -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk)) as web:
        assert (await client(web).raw({"From": "x"}))[0] == 400
        assert (await client(web).raw({"CallSid": "x" * 500}))[0] == 400
        get = Twilio(web, Person(SCENARIOS[0]), get=True)
        assert (await get.raw(START))[0] == 405
    assert desk.callers == []


@pytest.mark.asyncio
async def test_a_request_sent_twice_tries_no_code_twice() -> None:
    desk = ScriptedDesk([WRONG, ACCEPTED])
    async with serving(hook(desk)) as web:
        first = await client(web).raw(START)
        assert await client(web).raw(START) == first
        keyed_in = {"CallSid": "CA1", "Digits": GOOD}
        twice = await asyncio.gather(*(client(web).raw(keyed_in, "step=1") for _ in range(2)))
        assert twice[0] == twice[1]
        assert b"step=2" in twice[0][1]
        assert await client(web).raw(keyed_in, "step=77777777777") == twice[0]
        last = await client(web).raw(keyed_in, "step=2")
        assert await client(web).raw(keyed_in, "step=2") == last
    assert desk.asked == [(GOOD, 1, False), (GOOD, 2, False)]
    assert desk.ended == [ACCEPTED]


@pytest.mark.asyncio
async def test_calls_do_not_mix_and_have_a_limit(caplog: pytest.LogCaptureFixture) -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk, calls=2)) as web:
        for call in ("CA1", "CA2"):
            assert (await client(web, call).post())[0].tag == "Gather"
        busy = await client(web, "CA3").post()
        assert [verb.tag for verb in busy] == ["Play", "Hangup"]
        assert (busy[0].text or "").endswith("/en/busy.wav")
        await client(web, "CA2").post(CallStatus="completed")
        assert (await client(web, "CA3").post())[0].tag == "Gather", "a call that is over makes room"
    assert desk.causes.count("busy") == 1
    assert len(desk.ended) == 4


@pytest.mark.asyncio
async def test_a_status_of_a_call_nobody_knows_is_nothing() -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk)) as web:
        assert await client(web).post(CallStatus="no-answer") == []
    assert desk.callers == []


@pytest.mark.asyncio
async def test_a_call_from_before_a_restart_begins_anew() -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk)) as web:
        verbs = await client(web).post("step=4", Digits=GOOD)
        assert (verbs[0][0].text or "").endswith("/en/welcome.wav")
    assert desk.asked == []


@pytest.mark.asyncio
async def test_the_texts_are_spoken_where_no_recordings_are_to_be_had(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "catalogue.toml").write_text('[prompts]\nwelcome = "<Hang/> & \\u0001 \\"up\\""\n')
    more = {"recordings": "", "own_prompts": tmp_path, "voice_language": "en-GB"}
    async with serving(hook(ScriptedDesk(), **more)) as web:
        gather, redirect = await client(web).post()
        status, body = await client(web).raw(START)
    assert [(verb.tag, verb.attrib) for verb in gather] == [("Say", {"language": "en-GB"})] * 2
    assert gather[0].text == '<Hang/> &  "up"'
    assert (redirect.tag, redirect.text) == ("Redirect", f"{PUBLIC}?step=1")
    assert status == 200
    assert b"<Hang/>" not in body


@pytest.mark.asyncio
async def test_headers_of_the_phone_are_hints() -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk, user_field="SipUsername")) as web:
        await client(web).post(**{"From": "+441711234567", "SipHeader_X-MAC-Address": "00:04:f2:aa:bb:cc"})
    assert (desk.callers[0].mac, desk.callers[0].authenticated) == ("0004f2aabbcc", False)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("told", "mac", "source", "proven"),
    [
        ({"SipUsername": "0004f2ffff00"}, "0004f2ffff00", "", True),  # whatever From says
        ({"SipUsername": "0004f2aabbcc", "SipSourceIp": "203.0.113.9"}, "0004f2aabbcc", "203.0.113.9", True),
        ({"SipUsername": "reception"}, "0004f2aabbcc", "", False),
        ({"SipUsername": ""}, "0004f2aabbcc", "", False),
        ({"SipSourceIp": "2001:db8::9"}, "0004f2aabbcc", "2001:db8::9", False),  # let in by its address alone
        ({"From": "442071234566"}, "442071234566", "", False),  # a number of the telephone network
        ({"From": "sip:442071234566@carrier.example", "SipSourceIp": "nowhere"}, "442071234566", "", False),
    ],
)
async def test_only_the_user_whose_password_was_checked_is_proven(
    told: Mapping[str, str], mac: str, source: str, proven: bool
) -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk, user_field="SipUsername", source_field="SipSourceIp")) as web:
        await client(web).post(**told)
    assert [(one.mac, one.source, one.authenticated) for one in desk.callers] == [(mac, source, proven)]


@pytest.mark.asyncio
async def test_who_is_not_vouched_for_proves_nothing_by_any_field() -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk)) as web:
        await client(web).post(SipUsername="0004f2ffff00")
    assert [(one.mac, one.authenticated) for one in desk.callers] == [("0004f2aabbcc", False)]


def test_an_address_with_a_secret_in_it_is_in_no_message() -> None:
    secret = "a-secret-Of-Kazoo-4711"
    assert secret not in repr(TwimlSettings(f"{PUBLIC}/{secret}"))
    with pytest.raises(ValueError, match="public_url") as told:
        TwimlSettings(f"pbx.example.com/{secret}")
    assert secret not in str(told.value)


def telnyx(body: bytes) -> dict[str, str]:
    return telnyx_at(body, time.time())


def telnyx_at(body: bytes, at: float) -> dict[str, str]:
    stamp = f"{at:.0f}"
    signature = base64.b64encode(KEY.sign(f"{stamp}|".encode() + body)).decode()
    return {**FORM, "telnyx-timestamp": stamp, "telnyx-signature-ed25519": signature}


@pytest.mark.asyncio
async def test_telnyx() -> None:
    desk = ScriptedDesk([ACCEPTED])
    settings = TwimlSettings(PUBLIC, recordings=RECORDINGS)
    body = urlencode({"CallSid": "v2:abc", "From": "0004f2aabbcc@sip.telnyx.com"}).encode()
    code = urlencode({"CallSid": "v2:abc", "Digits": GOOD}).encode()
    async with serving(Twiml(desk, TelnyxSignature(TELNYX), settings)) as web:
        assert (await web.send("POST", PATH, body, {**telnyx(b"other"), **FORM}))[0].status == 403
        assert (await web.send("POST", PATH, body, telnyx(body)))[0].status == 200
        answer, document = await web.send("POST", f"{PATH}?step=1", code, telnyx(code))
    assert answer.status == 200
    assert [verb.tag for verb in ET.fromstring(document)] == ["Play"] * 5 + ["Hangup"]
    assert (desk.callers[0].mac, desk.asked) == ("0004f2aabbcc", [(GOOD, 1, False)])


@pytest.mark.asyncio
async def test_what_telnyx_has_not_signed_is_not_keyed() -> None:
    desk = ScriptedDesk([ACCEPTED])
    body = urlencode({"CallSid": "v2:abc", "From": "0004f2aabbcc@sip.telnyx.com"}).encode()
    async with serving(Twiml(desk, TelnyxSignature(TELNYX), TwimlSettings(PUBLIC, recordings=RECORDINGS))) as web:
        await web.send("POST", PATH, body, telnyx(body))
        await web.send("POST", f"{PATH}?step=1&Digits={GOOD}", body, telnyx_at(body, time.time() + 1))
    assert (desk.asked, desk.causes) == ([], ["started", "silent", "gone"])


@pytest.mark.asyncio
async def test_what_telnyx_has_signed_counts_at_one_step_only() -> None:
    """The step is not signed: a recorded body is tried again at no other, also where its answer tells which is next."""
    desk = ScriptedDesk([WRONG, ACCEPTED])
    body = urlencode({"CallSid": "v2:abc", "From": "0004f2aabbcc@sip.telnyx.com"}).encode()
    keys = urlencode({"CallSid": "v2:abc", "Digits": GOOD}).encode()
    recorded = telnyx(keys)
    async with serving(Twiml(desk, TelnyxSignature(TELNYX), TwimlSettings(PUBLIC, recordings=RECORDINGS))) as web:
        await web.send("POST", PATH, body, telnyx(body))
        _, first = await web.send("POST", f"{PATH}?step=1", keys, recorded)
        assert b"step=2" in first
        for query in ("", "?step=1", "?step=2", "?step=2&step=3", "?step=x"):
            answer, again = await web.send("POST", f"{PATH}{query}", keys, recorded)
            assert (answer.status, again) == (200, first)
        assert desk.asked == [(GOOD, 1, False)]
        later = {**recorded, **telnyx_at(keys, time.time() + 1)}
        await web.send("POST", f"{PATH}?step=2", keys, later)
    assert desk.asked == [(GOOD, 1, False), (GOOD, 2, False)], "the caller keyed the same in the next second"


def test_how_many_bodies_are_remembered() -> None:
    steps = FirstSteps(most=2)

    def heard(body: bytes) -> Heard:
        return Heard("POST", PATH, "", body, lambda _: "1790000000")

    assert [steps.first(heard(one), step) for one, step in ((b"a", "1"), (b"b", "2"), (b"a", "3"))] == ["1", "2", "1"]
    assert (steps.first(heard(b"c"), "x" * 99), steps.first(heard(b"a"), "4")) == ("x" * 8, "4")


@pytest.mark.asyncio
async def test_kazoo_signs_nothing_and_gets() -> None:
    secret = "0123456789abcdef"
    desk = ScriptedDesk()
    settings = TwimlSettings(f"{PUBLIC}/{secret}", recordings=RECORDINGS, get=True)
    async with serving(Twiml(desk, SharedSecret(secret), settings)) as web:
        assert (await web.send("GET", f"{PATH}/{secret[:-1]}?CallSid=x"))[0].status == 403
        answer, document = await web.send("GET", f"{PATH}/{secret}?CallSid=x")
        many = "&".join(f"a{number}=" for number in range(500))
        assert (await web.send("GET", f"{PATH}/{secret}?CallSid=y&{many}"))[0].status == 400
    gather = ET.fromstring(document)[0]
    assert (answer.status, gather.attrib["method"]) == (200, "GET")
    assert gather.attrib["action"] == f"{PUBLIC}/{secret}?step=1"


def test_get_is_refused_where_the_signature_leaves_the_url_out() -> None:
    with pytest.raises(ValueError, match="body only"):
        Twiml(ScriptedDesk(), TelnyxSignature(TELNYX), TwimlSettings(PUBLIC, get=True))


def test_a_language_that_nobody_has_is_refused() -> None:
    with pytest.raises(PromptError, match="no prompts in 'xx'"):
        hook(ScriptedDesk(), language="xx")


@pytest.mark.parametrize("url", ["", "pbx.example.com/x", "ftp://x/y", "https://x/y?z=1", "https://x/y#z", "https://"])
def test_an_address_that_takes_no_step_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="public_url"):
        TwimlSettings(url)


@pytest.mark.parametrize(
    ("digits", "inputs"),
    [
        (GOOD, (Digits(GOOD),)),
        ("314", (Digits("314"), Timeout())),
        ("", (Timeout(),)),
        ("#", (Digits("#"),)),
        ("hangup", (Timeout(),)),
        ("12*", (Digits("12*"), Timeout())),
    ],
)
def test_what_gather_tells(digits: str, inputs: tuple[Digits | Timeout, ...]) -> None:
    assert keyed(digits, TWELVE) == inputs


@given(st.text())
def test_whatever_gather_tells_is_keys_or_silence(digits: str) -> None:
    for one in keyed(digits, TWELVE):
        assert isinstance(one, Timeout) or set(one.text) <= set("0123456789*#")  # type: ignore[union-attr]  # Digits
