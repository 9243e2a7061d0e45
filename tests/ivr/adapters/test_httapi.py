"""mod_httapi: secrets, peers, parameters that are missing or mad."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.adapters import Httapi, HttapiSettings
from ivr.adapters.httapi import keyed
from ivr.flow import Collect, Digits, Timeout
from tests.ivr.adapters.desks import ScriptedDesk
from tests.ivr.adapters.web import SECRET, serving
from tests.ivr.scenarios import GOOD

PATH = f"/activation/httapi/{SECRET}"
ONE = Collect(12, "#", 8.0, 4.0)


def hook(desk: ScriptedDesk, **more: Any) -> Httapi:
    return Httapi(desk, HttapiSettings(**{"recordings": "/sounds", "secret": SECRET, **more}))


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/activation/httapi", "/activation/httapi/", "/activation/httapi/another-secret"])
async def test_without_the_secret_there_is_403_and_nothing_else(path: str) -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk)) as web:
        answer, body = await web.send("GET", f"{path}?session_id=x")
    assert (answer.status, body, desk.callers) == (403, b"", [])


@pytest.mark.asyncio
async def test_a_stranger_with_the_secret_is_a_stranger() -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk, peers=("192.0.2.0/24",))) as web:
        assert (await web.send("GET", f"{PATH}?session_id=x"))[0].status == 403
    assert desk.callers == []


@pytest.mark.asyncio
async def test_user_and_password() -> None:
    desk = ScriptedDesk()
    more = {"secret": "", "user": "fs", "password": "pässword"}
    right = "Basic " + base64.b64encode("fs:pässword".encode()).decode()
    async with serving(hook(desk, **more)) as web:
        statuses = []
        for told in ("", "Basic Zm9v", right[:-1], right):
            headers = {"Authorization": told} if told else {}
            statuses.append((await web.send("GET", "/activation/httapi?session_id=x", headers=headers))[0].status)
    assert statuses == [403, 403, 403, 200]


@pytest.mark.asyncio
async def test_requests_that_make_no_call() -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk)) as web:
        assert (await web.send("GET", PATH))[0].status == 400
        assert (await web.send("GET", f"{PATH}?session_id={'x' * 200}"))[0].status == 400
        assert (await web.send("GET", PATH + "?" + "&".join(f"a{n}=" for n in range(500))))[0].status == 400
        assert (await web.send("DELETE", f"{PATH}?session_id=x"))[0].status == 405
        answer, body = await web.send("GET", f"{PATH}?session_id=x&exiting=true")
        assert (answer.status, list(ET.fromstring(body).iterfind("work/*"))) == (200, [])
    assert desk.callers == []


@pytest.mark.asyncio
async def test_a_profile_without_set_params_tells_no_step() -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk)) as web:
        for key in ("", *GOOD[:2]):
            _, body = await web.send("GET", f"{PATH}?session_id=x" + (f"&code={key}" if key else ""))
        verb = ET.fromstring(body).find("work/pause")
        assert verb is not None
        assert verb.attrib["milliseconds"] == "4000"
        _, body = await web.send("GET", f"{PATH}?session_id=x&code=invalid&input_type=invalid")
    assert b"reenter_typo" in body, "a pause after two keys"
    assert desk.causes == ["started", "mistyped", "gone"]


@pytest.mark.asyncio
async def test_a_step_that_is_not_the_standing_one_is_answered_and_not_acted_on() -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk)) as web:
        first = await web.send("GET", f"{PATH}?session_id=x")
        again = await web.send("GET", f"{PATH}?session_id=x&step=9&code=3")
    assert first[1] == again[1]


@pytest.mark.asyncio
async def test_all_that_freeswitch_knows_may_come_as_a_form() -> None:
    desk = ScriptedDesk()
    form = {
        "session_id": "x",
        "variable_sip_from_user": "0004F2AABBCC",
        "variable_sip_network_ip": "192.0.2.7",
        "mac": "not one",
        **{f"variable_{number}": "y" * 200 for number in range(150)},
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with serving(hook(desk, users_proven=True)) as web:
        assert (await web.send("POST", PATH, urlencode(form).encode(), headers))[0].status == 200
    caller = desk.callers[0]
    assert (caller.mac, caller.source, caller.authenticated) == ("0004f2aabbcc", "192.0.2.7", False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": ""},
        {"secret": "", "user": "fs"},
        {"secret": "short"},
        {"recordings": ""},
        {"recordings": "http://x/!"},
        {"peers": ("nowhere",)},
    ],
    ids=str,
)
def test_settings_that_could_not_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"secret|recordings|nowhere"):
        hook(ScriptedDesk(), **wrong)


def test_secrets_never_print() -> None:
    settings = HttapiSettings("/sounds", secret=SECRET, user="fs", password="hidden-word")
    assert SECRET not in repr(settings)
    assert "hidden-word" not in repr(settings)


@given(st.text())
def test_whatever_is_told_is_keys_or_silence(code: str) -> None:
    (one,) = keyed(code, ONE)
    assert isinstance(one, Timeout) or (isinstance(one, Digits) and set(one.text) <= set("0123456789*#"))
