"""One attempt in a request: what is refused before any code is looked at, and what a status says."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.adapters import Attempts, AttemptsSettings
from ivr.adapters.rest import Entry, Malformed, read
from ivr.flow import FlowSettings, Result, ResultKind
from tests.ivr.adapters.desks import ScriptedDesk
from tests.ivr.adapters.web import serving
from tests.ivr.scenarios import ACCEPTED, CONFIRMING, GOOD, SHORT

TOKEN = "a-token-of-some-length"
PATH = "/api/v1/activation/attempts"
KNOWN = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
RIGHT: dict[str, Any] = {"code": GOOD, "device": {"mac": "0004f2aabbcc"}}


def hook(desk: ScriptedDesk, **more: Any) -> Attempts:
    return Attempts(desk, AttemptsSettings(("another-systems-token", TOKEN), **more))


@pytest.mark.asyncio
@pytest.mark.parametrize("told", ["", "Bearer", "Bearer x", f"Bearer {TOKEN}x", TOKEN, f"Basic {TOKEN}", "Bearer ü"])
async def test_without_the_token(told: str) -> None:
    desk = ScriptedDesk([ACCEPTED])
    async with serving(hook(desk)) as web:
        headers = {"Authorization": told} if told else {}
        answer, body = await web.send("POST", PATH, json.dumps(RIGHT).encode(), headers)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert json.loads(body)["type"] == "urn:activation:unauthorized"
    assert desk.callers == []


@pytest.mark.asyncio
async def test_another_method_and_a_body_too_large() -> None:
    desk = ScriptedDesk([ACCEPTED])
    async with serving(hook(desk)) as web:
        answer, _ = await web.send("GET", PATH, headers=KNOWN)
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        large = json.dumps({**RIGHT, "channel": "x" * 4096}).encode()
        for chunked in (False, True):
            assert (await web.send("POST", PATH, large, KNOWN, chunked=chunked))[0].status == 413
        assert (await web.send("POST", PATH + "/1", b"{}", KNOWN))[0].status == 404
    assert desk.callers == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "code"),
        ({**RIGHT, "code": 314159265356}, "code"),
        ({**RIGHT, "code": ""}, "code"),
        ({**RIGHT, "code": "31415926535x"}, "code"),
        ({**RIGHT, "code": "٣" * 12}, "code"),
        ({**RIGHT, "code": "1" * 41}, "code"),
        ({"code": GOOD}, "device.mac"),
        ({**RIGHT, "device": "0004f2aabbcc"}, "device.mac"),
        ({**RIGHT, "device": {"mac": "0104f2aabbcc"}}, "device.mac"),
        ({**RIGHT, "channel": "a b"}, "channel"),
        ({**RIGHT, "channel": None}, "channel"),
        ({**RIGHT, "source_ip": "here"}, "source_ip"),
        ({**RIGHT, "authenticated": True}, "not known"),
        ([], "object"),
        ("", "object"),
    ],
    ids=str,
)
async def test_the_wrong_shape(body: object, field: str) -> None:
    desk = ScriptedDesk([ACCEPTED])
    async with serving(hook(desk)) as web:
        answer, content = await web.send("POST", PATH, json.dumps(body).encode(), KNOWN)
    problem = json.loads(content)
    assert (answer.status, answer.content_type) == (422, "application/problem+json")
    assert (problem["type"], problem["status"]) == ("urn:activation:malformed", 422)
    assert field in problem["detail"]
    assert desk.callers == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("result", "status", "kind", "after"),
    [
        (Result(ResultKind.WRONG), 404, "unknown", None),
        (Result(ResultKind.EXPIRED), 410, "expired", None),
        (Result(ResultKind.USED), 410, "used", None),
        (Result(ResultKind.WRONG_MODEL), 409, "wrong_device", None),
        (Result(ResultKind.UNSUPPORTED), 409, "unsupported", None),
        (Result(ResultKind.NOT_READY), 409, "not_ready", None),
        (Result(ResultKind.TYPO), 422, "mistyped", None),
        (Result(ResultKind.LOCKED, retry_after=899.2), 429, "locked", "900"),
        (Result(ResultKind.BUSY, retry_after=5.0), 503, "busy", "5"),
        (Result(ResultKind.BUSY), 503, "busy", "60"),
        (Result(ResultKind.ERROR), 503, "failed", "60"),
    ],
)
@pytest.mark.parametrize("confirm", [False, True])
async def test_what_a_status_says(result: Result, status: int, kind: str, after: str | None, confirm: bool) -> None:
    desk = ScriptedDesk([result], settings=CONFIRMING if confirm else None)
    async with serving(hook(desk, vouched=True)) as web:
        answer, body = await web.send("POST", PATH, json.dumps(RIGHT).encode(), KNOWN)
    assert (answer.status, json.loads(body)["type"]) == (status, f"urn:activation:{kind}")
    assert answer.headers.get("Retry-After") == after
    assert (desk.asked, desk.ended) == ([(GOOD, 1, False)], [result])


@pytest.mark.asyncio
@pytest.mark.parametrize("confirm", [False, True])
async def test_bound(confirm: bool) -> None:
    desk = ScriptedDesk([ACCEPTED], settings=CONFIRMING if confirm else None)
    async with serving(hook(desk)) as web:
        body = {**RIGHT, "code": f"{GOOD[:4]}-{GOOD[4:8]} {GOOD[8:]}"}
        answer, content = await web.send("POST", PATH, json.dumps(body).encode(), KNOWN)
    assert (answer.status, json.loads(content)) == (200, {"outcome": "bound", "extension": "204"})
    assert (desk.asked, desk.ended) == ([(GOOD, 1, False)], [ACCEPTED])
    assert (desk.callers[0].channel, desk.callers[0].source) == ("rest", "")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("told", "channel"), [("lobby", "rest-lobby"), ("rest", "rest"), ("sip", "rest-sip"), ("agi", "rest-agi")]
)
async def test_what_a_request_calls_its_channel_is_no_other_adapters(told: str, channel: str) -> None:
    desk = ScriptedDesk([ACCEPTED])
    async with serving(hook(desk)) as web:
        await web.send("POST", PATH, json.dumps({**RIGHT, "channel": told}).encode(), KNOWN)
    assert [one.channel for one in desk.callers] == [channel]


@pytest.mark.asyncio
async def test_too_short_is_no_attempt() -> None:
    desk = ScriptedDesk()
    async with serving(hook(desk)) as web:
        body = json.dumps({**RIGHT, "code": SHORT}).encode()
        assert (await web.send("POST", PATH, body, KNOWN))[0].status == 422
    assert (desk.asked, desk.ended) == ([], [None])


@pytest.mark.asyncio
async def test_an_answer_that_does_not_come_is_an_error() -> None:
    desk = ScriptedDesk([ACCEPTED], settings=FlowSettings(answer=0.02))
    desk.slow = asyncio.Event()
    async with serving(hook(desk)) as web:
        answer, _ = await web.send("POST", PATH, json.dumps(RIGHT).encode(), KNOWN)
        assert answer.status == 503
        desk.slow.set()
        await asyncio.sleep(0.01)
    assert desk.ended == [ACCEPTED]


@pytest.mark.parametrize("token", ["", "short", "fifteen-letters", "sixteen letters\n", "a-token-with-ümlaut"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="at least 16"):
        AttemptsSettings((TOKEN, token))


def test_without_any_token_nobody_is_let_in() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        AttemptsSettings(())


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [SHORT, GOOD + "0", GOOD + "2718"])
async def test_a_code_is_not_cut_to_the_length_of_another(code: str) -> None:
    desk = ScriptedDesk([ACCEPTED])
    async with serving(hook(desk)) as web:
        answer, body = await web.send("POST", PATH, json.dumps({**RIGHT, "code": code}).encode(), KNOWN)
    assert (answer.status, json.loads(body)["type"]) == (422, "urn:activation:mistyped")
    assert desk.asked == []


def test_secrets_never_print() -> None:
    assert TOKEN not in repr(AttemptsSettings((TOKEN,)))
    assert GOOD not in repr(read(json.dumps(RIGHT).encode(), vouched=False))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["mac", "code", "x"]), inner),
    max_leaves=5,
)
OBJECTS = st.dictionaries(st.sampled_from(["code", "device", "channel", "source_ip", "x"]), VALUES)


@given(st.binary() | OBJECTS.map(lambda found: json.dumps(found).encode()))
def test_whatever_comes_is_an_entry_or_malformed(body: bytes) -> None:
    with suppress(Malformed):
        assert isinstance(read(body, vouched=False), Entry)


def test_a_body_that_is_nothing_but_brackets_is_malformed() -> None:
    with pytest.raises(Malformed):
        read(b"[" * 4096, vouched=False)
