"""Signing in: what a cookie is worth, what a form has to bring, and where nobody is led."""

from __future__ import annotations

import base64
import hmac
import struct
import time

import pytest
from console_house import OWNER, PASSWORD, Browser, House, Shown

from provisioner.http.api.gatekeeper import session_cookie


def shown_by_an_app(seed: str) -> str:
    """RFC 6238: SHA-1, 30 s, six digits."""
    digest = hmac.digest(base64.b32decode(seed), struct.pack(">Q", int(time.time()) // 30), "sha1")
    number = struct.unpack(">I", digest[digest[-1] & 15 :][:4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


@pytest.mark.asyncio
async def test_whoever_signs_in_comes_to_where_they_wanted_to_be(house: House) -> None:
    browser = await house.stranger()
    asked = await browser.get("/devices?state=revoked")
    assert "/login?next=" in asked.url
    shown = await browser.post("/login", {"email": OWNER, "password": PASSWORD, "next": "/devices?state=revoked"})
    assert shown.url == f"{house.url}/devices?state=revoked"
    assert shown.status == 200


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "onward", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "/\tx", ""]
)
async def test_nobody_is_led_to_another_host(house: House, onward: str) -> None:
    browser = await house.stranger()
    shown = await browser.post("/login", {"email": OWNER, "password": PASSWORD, "next": onward})
    assert shown.url == f"{house.url}/"


@pytest.mark.asyncio
async def test_what_was_wrong_is_told_to_nobody(house: House) -> None:
    browser = await house.stranger()
    answers = [
        await browser.post("/login", {"email": email, "password": "wrong wrong wrong"})
        for email in (OWNER, "nobody@example.net")
    ]
    assert [one.status for one in answers] == [401, 401]
    assert answers[0].said == answers[1].said != ""
    assert "wrong wrong" not in answers[0].text


@pytest.mark.asyncio
async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(house: House) -> None:
    browser = await house.stranger()
    form = {"email": OWNER, "password": PASSWORD, "next": "/"}
    async with browser.session.post(house.url + "/login", data=form, allow_redirects=False) as response:
        assert response.status == 303
        cookie = response.headers["Set-Cookie"]
    for word in ("provisioner=", "HttpOnly", "SameSite=Strict", "Path=/"):
        assert word in cookie
    assert "Domain" not in cookie


@pytest.mark.asyncio
async def test_a_change_needs_the_forms_own_token(house: House, owner: Browser) -> None:
    other = await house.browser()
    for csrf in ("", "0" * 64, await other.csrf()):
        refused = await owner.post("/accounts", {"name": "Stolen", "csrf": csrf})
        assert refused.status in {200, 401}
        assert refused.url.startswith(f"{house.url}/login") or "Stolen" not in refused.text
    assert "Stolen" not in (await owner.get("/accounts")).text
    assert (await owner.post("/accounts", {"name": "Mine"})).said == "Mine is added."


@pytest.mark.asyncio
async def test_a_form_from_elsewhere_is_refused(house: House, owner: Browser) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}):
        refused = await owner.post("/accounts", {"name": "Stolen"}, **headers)
        assert refused.status == 403, headers
    own = await owner.post("/accounts", {"name": "Mine"}, Origin=house.url, Sec_Fetch_Site="same-origin")
    assert own.said == "Mine is added."
    stranger = await house.stranger()
    forced = await stranger.post("/login", {"email": OWNER, "password": PASSWORD}, Origin="https://evil.example")
    assert forced.status == 403


@pytest.mark.asyncio
async def test_whoever_signs_out_is_out(house: House, owner: Browser) -> None:
    copied = await house.stranger()
    copied.session.cookie_jar.update_cookies(
        {one.key: one.value for one in owner.session.cookie_jar}, copied.session._build_url(house.url)
    )
    assert (await copied.get("/devices")).url == f"{house.url}/devices"
    assert "signed out" in (await owner.post("/logout")).said
    assert "/login" in (await copied.get("/devices")).url
    part = await copied.get("/devices", HX_Request="true")
    assert (part.status, part.headers["HX-Redirect"]) == (401, "/login")


@pytest.mark.asyncio
async def test_a_link_sets_a_password_once(house: House) -> None:
    link = (await house.roster.invite(OWNER)).link.partition("/login/link")[2]
    browser = await house.stranger()
    token = link.partition("token=")[2]
    different = await browser.post("/login/link", {"token": token, "password": "one two three", "again": "other"})
    assert (different.status, different.oops) == (422, "is not the same as the first")
    short = await browser.post("/login/link", {"token": token, "password": "short", "again": "short"})
    assert short.status == 422
    new = "eleven blue herons"
    done = await browser.post("/login/link", {"token": token, "password": new, "again": new})
    assert (done.url, done.said) == (f"{house.url}/", "The new password is set.")
    assert (await browser.get(f"/login/link{link}")).status == 404


def picture(page: Shown) -> list[str]:
    """What the QR code is drawn with."""
    return [str(one) for one in page.tree.xpath("//main//*[local-name()='svg']//*[local-name()='path']/@d")]


@pytest.mark.asyncio
async def test_a_second_factor_is_set_up_asked_for_and_taken_off(house: House, owner: Browser) -> None:
    shown = await owner.get("/me/second-factor")
    seed = shown.fields()["seed"]
    wrong = await owner.post("/me/second-factor", {"seed": seed, "code": "000000", "password": PASSWORD})
    assert picture(wrong) == picture(shown) != [], "the picture is still there, of the same key"
    forged = await owner.post("/me/second-factor", {"seed": "<b>", "code": "000000", "password": PASSWORD})
    assert picture(forged) == []
    assert (wrong.status, seed in wrong.text) == (422, True)
    done = await owner.post("/me/second-factor", {"seed": seed, "code": shown_by_an_app(seed), "password": PASSWORD})
    spare, other = done.tree.xpath("//pre")[0].text_content().split("\n")[:2]
    assert (await owner.get("/devices")).url == f"{house.url}/devices"  # this session goes on under a new token
    stranger = await house.stranger()
    assert (await stranger.post("/login", {"email": OWNER, "password": PASSWORD})).status == 401
    entered = await stranger.post("/login", {"email": OWNER, "password": PASSWORD, "code": spare})
    assert entered.url == f"{house.url}/"
    assert (await owner.post("/me/second-factor/off", {"password": PASSWORD})).status == 401
    off = await owner.post("/me/second-factor/off", {"password": PASSWORD, "code": other})
    assert "password alone" in off.said
    assert (await (await house.stranger()).post("/login", {"email": OWNER, "password": PASSWORD})).status == 200


@pytest.mark.asyncio
async def test_another_password_ends_the_other_sessions(house: House, owner: Browser) -> None:
    other = await house.browser()
    new = "eleven blue herons"
    wrong = await owner.post("/me/password", {"password": "no", "new": new, "again": new})
    assert wrong.status == 401
    done = await owner.post("/me/password", {"password": PASSWORD, "new": new, "again": new})
    assert "is changed" in done.said
    assert "/login" in (await other.get("/devices")).url


def test_over_https_the_cookie_is_one_that_no_other_host_can_set() -> None:
    assert session_cookie(True) == "__Host-provisioner"
    assert session_cookie(False) == "provisioner"
