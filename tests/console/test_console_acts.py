"""What people do in the console, without JavaScript: each form does what it says, all of it or nothing."""

from __future__ import annotations

import pytest
from console_house import OTHER, SECRET, T46S, VVX, Browser, House

from provisioner.licensing import LicenseKind
from provisioner.model import Mac, Scope

GRACE = Mac("0004f200aabb")


# --- one device -----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_person_is_put_on_a_phone_and_it_is_told(house: House, owner: Browser) -> None:
    done = await owner.post(f"/devices/{VVX}/bind", {"extension": "ada@example.net", "line": "1", "label": "Desk"})
    assert done.url == f"{house.url}/devices/{VVX}"
    assert done.said == "1001 is on line 1 now. The phone gets it when it comes."
    (bound,) = await house.fleet.bindings(VVX, active=True)
    assert (bound.number, bound.label, bound.actor) == ("1001", "Desk", "owner@example.net")
    taken = await owner.post(f"/devices/{T46S}/bind", {"extension": "1001", "line": "2"})
    assert taken.status == 409
    assert "1001 is on" in taken.said
    assert taken.tree.xpath('//input[@name="line"]/@value')[-1] == "2"  # what was typed stays
    moved = await owner.post(f"/devices/{T46S}/bind", {"extension": "1001", "line": "2", "replace": "yes"})
    assert "1 made way" in moved.said
    freed = await owner.post(f"/devices/{T46S}/unbind", {"line": "2"})
    assert "off line 2" in freed.said


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("form", "status", "word"),
    [
        ({"extension": "", "line": "1"}, 422, "say a number"),
        ({"extension": "1001", "line": "0"}, 422, "must be a number"),
        ({"extension": "1001", "line": "13"}, 422, "has lines 1 to 12"),
        ({"extension": "1001", "line": "one"}, 422, "must be a number"),
        ({"extension": "7777", "line": "1"}, 404, "no extension"),
        ({"extension": "Nobody", "line": "1"}, 404, "no user"),
        ({"extension": "2001", "line": "1"}, 422, "another account"),
    ],
)
async def test_a_bind_that_cannot_be_says_why(
    house: House, owner: Browser, form: dict[str, str], status: int, word: str
) -> None:
    refused = await owner.post(f"/devices/{VVX}/bind", form)
    assert (refused.status, word in refused.said) == (status, True), refused.said
    assert await house.fleet.bindings(VVX) == []


@pytest.mark.asyncio
async def test_revoke_restore_access_token_and_removal(house: House, owner: Browser) -> None:
    page = f"/devices/{OTHER}"
    assert "served nothing" in (await owner.post(f"{page}/revoke")).said
    assert (await house.fleet.device(OTHER)).state.value == "revoked"
    assert "served again" in (await owner.post(f"{page}/restore")).said
    closed = await owner.post(f"{page}/token")
    assert (closed.status, "Token URLs are off" in closed.said) == (409, True)
    await owner.post(f"{page}/access", {"token": "yes"})
    device = await house.fleet.device(OTHER)
    assert (device.allow_token, device.allow_digest, device.allow_expired) == (True, False, False)
    opened = await owner.post(f"{page}/token")
    url = opened.tree.xpath("//pre")[0].text_content()
    assert url.startswith("https://prov.example.net:8443/t/")
    assert url not in (await owner.get(page)).text
    assert "1 token URL is closed" in (await owner.post(f"{page}/tokens/close")).said
    assert "gets it when it comes" in (await owner.post(f"{page}/resync")).said
    assert "2001" in (await owner.get(f"{page}/remove")).words
    gone = await owner.post(f"{page}/remove")
    assert (gone.url, "is removed" in gone.said) == (f"{house.url}/devices", True)
    assert (await owner.get(page)).status == 404


@pytest.mark.asyncio
async def test_a_device_is_added_and_found_by_anything(house: House, owner: Browser) -> None:
    form = {"mac": "00-04-F2-00-AA-BB", "model": "poly/VVX 411", "account": house.ids["Acme"], "site": ""}
    assert "is added" in (await owner.post("/devices/new", form)).said
    again = await owner.post("/devices/new", form)
    assert (again.status, "is there already" in again.said) == (409, True)
    wrong = await owner.post("/devices/new", form | {"mac": "zz"})
    assert (wrong.status, "is not a MAC" in wrong.oops) == (422, True)
    for text in ("0004f200aabb", "aabb"):
        assert GRACE.colons in (await owner.get(f"/devices?q={text}")).text
    assert OTHER.colons in (await owner.get("/devices?q=Eve")).text
    assert "No device fits" in (await owner.get("/devices?q=%3Cscript%3E")).text
    nowhere = await owner.get("/devices?account=nobody&state=asleep&cursor=rubbish")
    assert (nowhere.status, "there is no account" in nowhere.words) == (200, True)


@pytest.mark.asyncio
async def test_lists_go_on_page_by_page(house: House, owner: Browser) -> None:
    for number in range(60):
        mac = Mac(f"0004f21000{number:02x}")
        await house.fleet.add_device(mac, vendor="poly", model="VVX 411", account=house.ids["Acme"])
    first = await owner.get("/devices?vendor=poly")
    following = first.tree.xpath('//a[@rel="next"]/@href')[0]
    second = await owner.get(following)
    rows = [one.tree.xpath("//tr/@data-mac") for one in (first, second)]
    assert [len(one) for one in rows] == [50, 12]
    assert rows[0][-1] < rows[1][0]
    assert second.tree.xpath('//nav[@class="pager"]/a/@href') == ["/devices?vendor=poly"]


# --- the wizard -----------------------------------------------------------------------------------


async def walked(owner: Browser, first: dict[str, str], *steps: dict[str, str]) -> list[object]:
    """Page by page, each with the hidden fields of the one before."""
    shown = [await owner.post("/users/new", first)]
    for fields in steps:
        shown.append(await owner.post("/users/new", {**shown[-1].fields(), "go": "next", **fields}))
    return shown  # type: ignore[return-value]  # pages


def person(house: House, **about: str) -> dict[str, str]:
    return {"step": "1", "go": "next", "account": house.ids["Acme"], "name": "Grace Hopper",
            "email": "grace@example.net", "site": house.ids["Acme HQ"], **about}  # fmt: skip


@pytest.mark.asyncio
async def test_the_wizard_ends_with_a_phone_that_rings(house: House, owner: Browser) -> None:
    one = await owner.post("/users/new", person(house))
    suggested = await owner.post("/users/new", {**one.fields(), "go": "suggest"})
    assert suggested.tree.xpath('//input[@name="number"]/@value') == ["1000"]
    three = await owner.post("/users/new", {**suggested.fields(), "number": "1000", "go": "next"})
    assert not three.tree.xpath('//input[@name="way"]'), "the two ways appear only after a device is chosen"
    four = await owner.post("/users/new", {**three.fields(), "model": "poly/VVX 411", "go": "next"})
    assert four.tree.xpath('//input[@name="way"]/@value') == ["mac", "code"]
    done = await owner.post("/users/new", {**four.fields(), "way": "mac", "mac": "0004.F200.AABB", "go": "save"})
    assert done.url == f"{house.url}/devices/{GRACE}"
    assert done.said == "Grace Hopper has 1000 on line 1 of this phone."
    device = await house.fleet.device(GRACE)
    assert (device.site, device.state.value) == (house.ids["Acme HQ"], "assigned")
    events = [event for event in await house.fleet.events(limit=8) if event.actor == "owner@example.net"]
    kinds = [event.kind for event in events]
    assert [one for one in kinds if one != "emergency_missing"][-5:] == [
        "extension_held", "user_added", "extension_added", "device_added", "line_bound",
    ]  # fmt: skip


@pytest.mark.asyncio
async def test_where_no_number_can_be_suggested_a_link_leads_to_what_is_missing(house: House, owner: Browser) -> None:
    await house.fleet.clear_range(account="Acme")
    one = await owner.post("/users/new", person(house, site=""))
    refused = await owner.post("/users/new", {**one.fields(), "go": "suggest"})
    assert (refused.status, "has no range of numbers" in refused.said) == (409, True)
    assert "provisioner" not in refused.said, "a command is for another place"
    [there] = refused.tree.xpath('//div[@role="alert"]//a')
    assert (there.text, there.get("href")) == ("Set one", f"/accounts/{house.ids['Acme']}")
    page = await owner.get(there.get("href"))
    assert page.tree.xpath('//input[@name="range"]')


@pytest.mark.asyncio
async def test_a_mistake_in_the_last_step_saves_nothing_and_loses_nothing(house: House, owner: Browser) -> None:
    *_, four = await walked(owner, person(house), {"number": "1050"}, {"model": "poly/VVX 411"})
    for mac, why in (("nonsense", "is not a MAC"), (str(T46S), "is a MAC of Yealink"), (str(OTHER), "elsewhere")):
        refused = await owner.post("/users/new", {**four.fields(), "way": "mac", "mac": mac, "go": "save"})
        assert (refused.status, why in refused.oops) == (422, True), refused.words
        assert refused.fields()["name"] == "Grace Hopper"
    assert "Grace" not in {one.name for one in await house.fleet.users()}
    assert "1050" not in {one.number for one in await house.fleet.extensions()}


@pytest.mark.asyncio
async def test_a_number_that_is_taken_or_reserved_is_refused_where_it_stands(house: House, owner: Browser) -> None:
    one = await owner.post("/users/new", person(house))
    taken = await owner.post("/users/new", {**one.fields(), "number": "1001", "go": "next"})
    assert (taken.status, "1001 already" in taken.oops) == (422, True)
    *_, four = await walked(owner, person(house), {"number": "911"}, {"model": "poly/VVX 411"})
    reserved = await owner.post("/users/new", {**four.fields(), "way": "mac", "mac": str(GRACE), "go": "save"})
    assert (reserved.status, "911 is reserved" in reserved.oops) == (422, True)
    assert reserved.tree.xpath('//input[@name="number"]/@value') == ["911"], "the step in which it was entered"


@pytest.mark.asyncio
async def test_a_code_is_shown_once_with_its_picture(house: House, owner: Browser) -> None:
    *_, four = await walked(owner, person(house), {"number": "1051"}, {"model": "poly/VVX 411"})
    done = await owner.post("/users/new", {**four.fields(), "way": "code", "mac": "", "go": "save"})
    digits = done.tree.find_class("digits")[0].text_content()
    assert len(digits.replace("-", "")) == house.means.settings.activation_digits
    assert done.tree.xpath("//svg")
    listed = await owner.get("/codes")
    assert "1051" in listed.words
    assert digits not in listed.text
    extension = next(one.id for one in await house.fleet.extensions() if one.number == "1051")
    shown = await owner.post(f"/codes/{extension}/reveal")
    assert digits in shown.text
    sheet = await owner.post("/codes/sheet", {"extension": [extension]})
    assert digits in sheet.text
    assert "style-src 'sha256-" in sheet.headers["Content-Security-Policy"]
    kinds = [event.kind for event in await house.fleet.events(limit=3)]
    assert kinds.count("code_revealed") == 2
    assert "worth nothing" in (await owner.post(f"/codes/{extension}/revoke")).said


@pytest.mark.asyncio
async def test_a_model_that_cannot_call_is_offered_its_mac_alone(house: House, owner: Browser) -> None:
    deaf = next(
        f"{name}/{model.name}"
        for name, driver in house.means.drivers.items()
        for model in driver.manifest.models.values()
        if not model.ivr_activation
    )
    *_, four = await walked(owner, person(house), {"number": "1052"}, {"model": deaf})
    assert four.tree.xpath('//input[@name="way"]/@value') == ["mac"]
    forced = await owner.post("/users/new", {**four.fields(), "way": "code", "go": "save"})
    assert (forced.status, "cannot call" in forced.said) == (409, True)


@pytest.mark.asyncio
async def test_only_available_licenses_are_offered(house: House, owner: Browser) -> None:
    account = house.ids["Acme"]
    await house.fleet.set_policy(account, needs_license=True)
    await house.fleet.add_licenses(LicenseKind.LOBBY, account=account)
    offered = await owner.get(f"/users/new?account={account}")
    assert offered.tree.xpath('//select[@name="license"]/option/@value') == ["lobby"]
    steps = ({"number": "1053"}, {"model": "poly/VVX 411"})
    *_, four = await walked(owner, person(house, license="lobby"), *steps)
    done = await owner.post("/users/new", {**four.fields(), "way": "mac", "mac": str(GRACE), "go": "save"})
    assert "1053 on line 1" in done.said
    none_left = await owner.get(f"/users/new?account={account}")
    assert "has no available license" in none_left.words


# --- settings of phones ---------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_change_is_looked_at_before_it_is_saved(house: House, owner: Browser) -> None:
    page = await owner.get(f"/layers/account?key={house.ids['Acme']}")
    form = {**page.fields(), "new-name": "language", "new-value": "de-DE"}
    looked = await owner.post("/layers/account/preview", form)
    assert looked.status == 200
    assert "2 phones may be concerned" in looked.words
    assert "2 would get other files" in looked.words
    added = [one.text_content() for one in looked.tree.find_class("add")]
    assert any("German" in one for one in added), added
    assert (await house.fleet.layer(Scope.ACCOUNT, house.ids["Acme"])).values == {}
    saved = await owner.post("/layers/account/save", looked.fields())
    assert saved.said.startswith("Saved.")
    assert (await house.fleet.layer(Scope.ACCOUNT, house.ids["Acme"])).values == {"language": "de-DE"}
    said = await owner.get(f"/devices/{VVX}/configuration")
    row = next(one for one in said.tree.xpath("//tbody/tr") if "language" in one.text_content())
    assert "account" in row.text_content()


@pytest.mark.asyncio
async def test_of_two_who_edit_one_layer_the_second_sees_both(house: House, owner: Browser) -> None:
    page, second = f"/layers/account?key={house.ids['Acme']}", await house.browser()
    await house.fleet.set_layer(Scope.ACCOUNT, house.ids["Acme"], {"language": "en-US", "sip.expiry": 600})
    mine, theirs = (await owner.get(page)).fields(), (await second.get(page)).fields()
    boxes = {"set:language": "en-US", "set:sip.expiry": "600"}
    assert (await owner.post("/layers/account/save", {**mine, **boxes, "set:language": "fr-FR"})).status == 200
    late = {**theirs, **boxes, "set:sip.expiry": "900"}
    conflict = await second.post("/layers/account/save", late)
    assert conflict.status == 412
    told = [one.text_content() for one in conflict.tree.xpath("//section")]
    assert "fr-FR" in told[0]
    assert "900" in told[1]
    assert "en-US" not in told[1], "what was not touched is nobody's change"
    looked = await second.post("/layers/account/preview", conflict.fields())
    assert looked.status == 200, looked.words
    await second.post("/layers/account/save", looked.fields())
    layer = await house.fleet.layer(Scope.ACCOUNT, house.ids["Acme"])
    assert layer.values == {"language": "fr-FR", "sip.expiry": 900}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"new-name": "nonsense", "new-value": "1"}, "is not a setting"),
        ({"new-name": "sip.expiry", "new-value": "soon"}, "must be a whole number"),
        ({"rawnew-name": "voice.volume", "rawnew-value": "1"}, "say whose parameter"),
        ({}, "nothing is different"),
    ],
)
async def test_a_setting_that_cannot_be_is_marked(
    house: House, owner: Browser, fields: dict[str, str], why: str
) -> None:
    page = await owner.get(f"/layers/account?key={house.ids['Acme']}")
    refused = await owner.post("/layers/account/preview", {**page.fields(), **fields})
    assert (refused.status, why in refused.said) == (422, True), refused.words
    for value in fields.values():
        assert value in refused.tree.xpath("//input/@value")


@pytest.mark.asyncio
async def test_a_secret_setting_is_never_shown_and_stays_when_left_empty(house: House, owner: Browser) -> None:
    await house.fleet.set_layer(Scope.DEFAULTS, "", {"password.admin": SECRET, "language": "en-US"})
    page = await owner.get("/layers/defaults")
    assert SECRET not in page.text
    form = {**page.fields(), "set:password.admin": "", "set:language": "de-DE"}
    looked = await owner.post("/layers/defaults/preview", form)
    assert SECRET not in looked.text
    await owner.post("/layers/defaults/save", looked.fields())
    shown = [one.text for one in (await house.means.renders.of(OTHER)).render_all(_revealed())]
    assert any(SECRET in text for text in shown)


def _revealed() -> object:
    from provisioner.preview import Masked

    return Masked(reveal=True)


# --- people, places, records ----------------------------------------------------------------------


@pytest.mark.asyncio
async def test_accounts_sites_ranges_and_names(house: House, owner: Browser) -> None:
    made = await owner.post("/accounts", {"name": "Third"})
    account = made.url.rpartition("/")[2]
    assert (await owner.post("/accounts", {"name": "Third"})).status == 409
    wrong = await owner.post(f"/accounts/{account}/sites", {"name": "Here", "time_zone": "Europe/Atlantis"})
    assert wrong.status == 422
    assert "is added" in (await owner.post(f"/accounts/{account}/sites", {"name": "Here"})).said
    assert "range is saved" in (await owner.post(f"/accounts/{account}/range", {"range": "200-299", "site": ""})).said
    assert (await owner.post(f"/accounts/{account}/range", {"range": "9-1", "site": ""})).status == 422
    assert "name is saved" in (await owner.post(f"/accounts/{account}/rename", {"name": "Third Ltd"})).said
    assert "Third Ltd" in (await owner.get("/accounts")).words


@pytest.mark.asyncio
async def test_a_password_is_shown_once_and_that_is_written_down(house: House, owner: Browser) -> None:
    page = f"/extensions/{house.ids['1001']}"
    assert SECRET not in (await owner.get(page)).text
    assert SECRET + "1001" in (await owner.post(f"{page}/reveal")).text
    assert [one.kind for one in await house.fleet.events(limit=1)] == ["secret_revealed"]
    await owner.post(f"{page}/secret")
    assert SECRET not in (await owner.post(f"{page}/reveal")).text
    mailed = await owner.post(f"/users/{house.ids['Ada']}/email", {"email": "not an address"})
    assert mailed.status == 422
    assert (await owner.post(f"/users/{house.ids['Ada']}/remove")).status == 409


@pytest.mark.asyncio
async def test_the_audit_log_is_checked_from_the_page(house: House, owner: Browser) -> None:
    good = await owner.post("/audit/verify")
    assert "Nothing was changed" in good.said
    async with house.means.store.writing() as connection:
        await connection.exec_driver_sql("UPDATE event SET actor = 'somebody else' WHERE id = 3")
    bad = await owner.post("/audit/verify")
    assert "not as it was written" in bad.said
