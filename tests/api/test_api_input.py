"""What is sent is what is meant, or it is refused with the field's name; what is asked is bounded."""

from __future__ import annotations

import json

import pytest
from api_house import VVX, House, serving
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import Invalid, Malformed, ProvisionerError, Throttled
from provisioner.http.api.accounts import NewAccount
from provisioner.http.api.cursors import read_cursor, written_cursor
from provisioner.http.api.devices import NewDevice
from provisioner.http.api.documents import parsed
from provisioner.http.api.etags import etag_of
from provisioner.http.api.rates import Rates


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("raw", "status", "word"),
    [
        (b"{", 400, "malformed"),
        (b'{"name":"A","name":"B"}', 400, "malformed"),
        (b'{"name":NaN}', 400, "malformed"),
        (b'{"name":"\xff"}', 400, "malformed"),
        (b"[" * 5000, 400, "malformed"),
        (b'{"name":"A","colour":"red"}', 422, "invalid"),
        (b'{"name":7}', 422, "invalid"),
        (b'{"name":""}', 422, "invalid"),
        (b'{"name":"a\\u0000b"}', 422, "invalid"),
        (b'{"name":"\\ud800"}', 422, "invalid"),
        (b"[]", 422, "invalid"),
        (b"", 400, "malformed"),
    ],
)
async def test_json_without_surprises(house: House, raw: bytes, status: int, word: str) -> None:
    answer = await house.ask("POST", "/accounts", raw=raw, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.json["type"]) == (status, f"/api/v1/problems/{word}"), answer.body
    assert {"type", "title", "status", "cause", "cure"} <= set(answer.json)


@pytest.mark.asyncio
async def test_a_body_may_be_left_out_where_nothing_in_it_is_needed(house: House) -> None:
    assert (await house.ask("POST", "/users/Ada/licenses")).json["type"] == "/api/v1/problems/no_license"
    nothing = await house.ask("POST", "/resyncs")
    assert (nothing.status, nothing.json["type"]) == (422, "/api/v1/problems/invalid")


@pytest.mark.asyncio
async def test_every_wrong_field_is_named_at_once(house: House) -> None:
    answer = await house.ask("POST", "/devices", {"mac": "nonsense", "vendor": 5, "account": "Acme", "extra": 1})
    assert answer.status == 422
    assert {one["field"] for one in answer.json["errors"]} == {"mac", "vendor", "model", "extra"}
    assert "nonsense" not in answer.json["cure"]


@pytest.mark.asyncio
async def test_a_password_that_is_refused_is_not_repeated(house: House) -> None:
    body = {"number": "1", "account": "Acme", "user": "Ada", "secret": "geheim\u0007" * 20}
    answer = await house.ask("POST", "/extensions", body)
    assert answer.status == 422
    assert b"geheim" not in answer.body


@pytest.mark.asyncio
async def test_questions_are_strict_too(house: House) -> None:
    for query in ("colour=red", "limit=0", "limit=501", "limit=x", "limit=1&limit=2", "state=asleep", "q=%00"):
        assert (await house.ask("GET", f"/devices?{query}")).status == 422, query
    assert (await house.ask("GET", "/devices?fields=mac,password")).status == 422
    assert (await house.ask("GET", "/devices/zz")).status == 422
    assert (await house.ask("GET", f"/devices/{VVX}/lines/0")).status == 422
    assert (await house.ask("GET", "/events?since=2026-01-01T00:00:00")).status == 422
    assert (await house.ask("GET", "/devices", raw=b"{}")).status == 400


@pytest.mark.asyncio
async def test_other_media_and_large_bodies(installed: object) -> None:
    async with serving(installed, api_body=2000) as house:  # type: ignore[arg-type]  # a Path
        text = await house.ask("POST", "/accounts", raw=b"name=A", headers={"Content-Type": "text/plain"})
        assert text.status == 415
        large = await house.ask("POST", "/accounts", {"name": "A" * 3000})
        assert (large.status, large.json["type"]) == (413, "/api/v1/problems/body_too_large")


@pytest.mark.asyncio
async def test_who_asks_too_often_is_told_when_to_come_again(installed: object) -> None:
    async with serving(installed, api_rate=1.0, api_burst=3) as house:  # type: ignore[arg-type]  # a Path
        found = [await house.ask("GET", "/accounts") for _ in range(5)]
        assert [one.status for one in found] == [200, 200, 200, 429, 429]
        assert [one.headers["RateLimit"].split(";")[1] for one in found[:3]] == ["r=2", "r=1", "r=0"]
        assert found[0].headers["RateLimit-Policy"] == '"default";q=3;w=3'
        assert int(found[3].headers["Retry-After"]) >= 1
        assert "RateLimit" in found[3].headers


@pytest.mark.asyncio
async def test_strangers_are_counted_by_where_they_come_from(house: House) -> None:
    found = [await house.ask("GET", "/accounts", who="nobody") for _ in range(70)]
    assert {one.status for one in found} == {401, 429}
    assert (await house.ask("GET", "/accounts")).status == 200


@pytest.mark.asyncio
async def test_what_is_nowhere_and_what_cannot_be_done_there(house: House) -> None:
    nowhere = await house.ask("GET", "/nonsense")
    assert (nowhere.status, nowhere.headers["Content-Type"].partition(";")[0]) == (404, "application/problem+json")
    wrong = await house.ask("PATCH", "/devices", {})
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, HEAD, POST")
    assert (await house.ask("HEAD", f"/devices/{VVX}")).body == b""
    options = await house.ask("OPTIONS", "/accounts")
    assert options.status == 405


def test_a_rate_is_a_burst_and_a_pace() -> None:
    now = [0.0]
    rates = Rates(2.0, 4, lambda: now[0])
    for _ in range(4):
        rates.admit("a")
    with pytest.raises(Throttled) as told:
        rates.admit("a")
    assert told.value.retry_after == 1
    assert rates.headers("a")["RateLimit"] == '"default";r=0;t=1'
    assert rates.headers("b")["RateLimit"] == '"default";r=4;t=0'
    now[0] = 1.0
    assert rates.headers("a")["RateLimit"] == '"default";r=2;t=0'


@given(st.lists(st.text(max_size=20)), st.text(max_size=60))
def test_a_cursor_is_its_own_lists_or_nothing(key: list[str], text: str) -> None:
    for made in (written_cursor("devices", tuple(key)) or "", text):
        for kinds in ((str,), (int,), (float, str)):
            try:
                found = read_cursor("devices", made, *kinds)
            except Invalid as error:
                assert error.field == "cursor"
            else:
                assert all(isinstance(one, kind) for one, kind in zip(found, kinds, strict=bool(made)))
    with pytest.raises(Invalid):
        read_cursor("users", written_cursor("devices", ("x",)) or "", str)


_SCALARS = st.none() | st.booleans() | st.floats() | st.text()


@given(st.recursive(_SCALARS, lambda one: st.lists(one) | st.dictionaries(st.text(), one), max_leaves=20))
def test_any_document_is_taken_or_refused(document: object) -> None:
    for model in (NewAccount, NewDevice):
        try:
            parsed(json.dumps(document).encode(), model)
        except ProvisionerError as error:
            assert error.status in (400, 422)


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(raw: bytes) -> None:
    with pytest.raises((Malformed, ProvisionerError)):
        parsed(raw, NewDevice)


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)))
def test_a_version_is_what_it_says(document: dict[str, object]) -> None:
    assert etag_of(document) == etag_of(dict(reversed(document.items())))
    assert etag_of(document) != etag_of({**document, "more": 1})
