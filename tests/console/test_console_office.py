"""Accounts and what they have, administrators and keys: each form does what it says, all of it or nothing."""

from __future__ import annotations

import pytest
from console_house import OWNER, PASSWORD, Browser, House, Shown

from provisioner.errors import LoginRefused
from provisioner.http.console.partners import tree_of
from provisioner.licensing import RESERVED, LicenseKind
from provisioner.roles import Role
from provisioner.store.rows import Account


def row_of(shown: Shown, word: str) -> str:
    """The text of the table row in which a word stands."""
    rows = (" ".join(" ".join(row.xpath("./td//text()")).split()) for row in shown.tree.xpath("//tbody/tr"))
    return next((one for one in rows if word in one), "")


# --- policies, licenses, numbers ------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_policy_is_changed_and_counts(house: House, owner: Browser) -> None:
    acme = house.ids["Acme"]
    page = await owner.get(f"/policies/{acme}")
    form = {**page.fields(), "needs_license": "yes", "phones": "2", "reserved": "112, 911"}
    saved = await owner.post(f"/policies/{acme}", form)
    assert saved.url == f"{house.url}/policies/{acme}"
    policy = await house.fleet.policy(acme)
    assert (policy.needs_license, policy.needs_number, policy.phones, policy.reserved) == (
        True,
        False,
        2,
        ("112", "911"),
    )
    assert "112 911" in row_of(await owner.get("/policies"), "Acme")
    assert "the usual ones" in row_of(await owner.get("/policies"), "Other")
    stale = await owner.post(f"/policies/{acme}", form | {"phones": "3"})
    assert (stale.status, "Somebody has changed this policy" in stale.said) == (412, True)
    assert stale.tree.xpath('//input[@name="phones"]/@value') == ["3"]
    fresh = stale.fields()
    for field, value, why in (("phones", "11", "from 1 to 10"), ("phones", "x", "from 1 to 10"),
                              ("reserved", "1x1", "1 to 15 digits")):  # fmt: skip
        wrong = await owner.post(f"/policies/{acme}", {**fresh, "phones": "2", "reserved": "", field: value})
        assert (wrong.status, why in wrong.oops) == (422, True), wrong.words
    assert (await house.fleet.policy(acme)).phones == 2
    assert (await house.fleet.policy(house.ids["Other"])).reserved == RESERVED


@pytest.mark.asyncio
async def test_licenses_are_bought_given_suspended_and_taken_back(house: House, owner: Browser) -> None:
    acme = house.ids["Acme"]
    place = {"account": acme, "kind": "user"}
    assert "2 licenses more" in (await owner.post("/licenses/bought", place | {"count": "2"})).said
    given = await owner.post("/licenses/assign", place | {"user": "Ada"})
    assert "Ada has a license now" in given.said
    assert "Ada" in row_of(given, "assigned")
    assert (await owner.post("/licenses/assign", place | {"user": "Ada"})).status == 409
    (one,) = await house.fleet.licenses(acme, user="Ada")
    assert "suspended" in (await owner.post(f"/licenses/{one.id}/suspend")).said
    assert [(t.available, t.assigned, t.suspended) for t in await house.fleet.license_totals(acme)] == [(1, 0, 1)]
    await owner.post(f"/licenses/{one.id}/resume")
    assert "available again" in (await owner.post(f"/licenses/{one.id}/free")).said
    many = await owner.post("/licenses/returned", place | {"count": "3"})
    assert (many.status, "has 2 available" in many.said) == (409, True)
    assert "given back" in (await owner.post("/licenses/returned", place | {"count": "2"})).said
    assert await house.fleet.licenses(acme) == []
    for count in ("0", "10001", "1e3", "9" * 400):
        assert (await owner.post("/licenses/bought", place | {"count": count})).status == 422
    assert (await owner.post("/licenses/bought", {"account": "nobody", "count": "1"})).status == 404


@pytest.mark.asyncio
async def test_numbers_are_added_given_held_and_given_up(house: House, owner: Browser) -> None:
    acme = house.ids["Acme"]
    added = await owner.post("/numbers", {"account": acme, "numbers": "+49 30 1234567\n+49 30 1234568"})
    assert "2 added" in added.said
    wrong = await owner.post("/numbers", {"account": acme, "numbers": "+49 30 1234569\nnonsense"})
    assert (wrong.status, "nonsense" in wrong.oops, len(await house.fleet.numbers(acme))) == (422, True, 2)
    assert wrong.tree.xpath("//textarea")[0].text_content().strip() == "+49 30 1234569\nnonsense"
    one, two = await house.fleet.numbers(acme)
    given = await owner.post(f"/numbers/{one.id}/assign", {"account": acme, "extension": "1001"})
    assert "+49301234567 is 1001's now" in given.said
    assert "1001" in row_of(given, "+49301234567")
    assert (await owner.post(f"/numbers/{one.id}/remove")).status == 409
    assert "kept for you" in (await owner.post(f"/numbers/{two.id}/hold")).said
    assert OWNER in row_of(await owner.get("/numbers?state=held"), two.number)
    assert "kept no longer" in (await owner.post(f"/numbers/{two.id}/release")).said
    assert "available again" in (await owner.post(f"/numbers/{one.id}/free")).said
    for each in (one, two):
        await owner.post(f"/numbers/{each.id}/remove")
    coming = await owner.post("/numbers", {"account": acme, "numbers": "+49301111111", "porting": "yes"})
    assert "porting" in row_of(coming, "+49301111111")
    (third,) = await house.fleet.numbers(acme)
    assert "has come" in (await owner.post(f"/numbers/{third.id}/ported")).said


# --- sites and people -----------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_site_says_where_it_is_and_whom_an_emergency_concerns(house: House, owner: Browser) -> None:
    page = f"/sites/{house.ids['Acme HQ']}"
    where = {"address.street": "Unter den Linden 1", "address.city": "Berlin", "address.country": "DE",
             "address.postal_code": "10117", "address.region": ""}  # fmt: skip
    form = {
        **(await owner.get(page)).fields(), **where, "name": "Berlin", "time_zone": "Europe/Berlin",
        "range": "1200-1299", "location": "2nd floor", "networks": "192.0.2.0/24\n198.51.100.0/24",
        "notify": "help@example.net",
    }  # fmt: skip
    assert "Saved" in (await owner.post(page, form)).said
    (site,) = await house.fleet.sites(house.ids["Acme"])
    assert (site.name, site.time_zone, site.location, site.notify) == (
        "Berlin", "Europe/Berlin", "2nd floor", ("help@example.net",),
    )  # fmt: skip
    assert (str(site.address), site.networks) == (
        "Unter den Linden 1, 10117 Berlin, DE", ("192.0.2.0/24", "198.51.100.0/24"),
    )  # fmt: skip
    assert [one.low for one in await house.fleet.ranges(house.ids["Acme"]) if one.site == site.id] == ["1200"]
    assert (await owner.post(page, form)).status == 412
    fresh = form | {"version": (await owner.get(page)).fields()["version"]}
    for field, value, why in (("address.city", "", "other lines of the address"), ("address.country", "de", "capital"),
                              ("networks", "192.0.2.1/24", "is no network"), ("notify", "x", "is no mail address"),
                              ("time_zone", "Moon", "")):  # fmt: skip
        wrong = await owner.post(page, fresh | {field: value})
        assert (wrong.status, why in wrong.oops or why in wrong.said) == (422, True), field
    auditor = await house.browser(await house.add("a@example.net", Role.AUDITOR, account=house.ids["Acme"]))
    seen = await auditor.get(page)
    assert "Unter den Linden 1" in seen.words and seen.tree.xpath("//main//form") == []


@pytest.mark.asyncio
async def test_a_user_and_an_extension_are_corrected(house: House, owner: Browser) -> None:
    ada, number = house.ids["Ada"], house.ids["1001"]
    assert "Saved" in (await owner.post(f"/users/{ada}/change", {"name": "Lobby", "place": "yes"})).said
    assert (await owner.get(f"/users/{ada}")).tree.xpath('//input[@name="place"]/@checked')
    assert (await owner.post(f"/users/{ada}/change", {"name": ""})).status == 422
    changed = await owner.post(f"/extensions/{number}/change", {"display_name": "Front", "auth_user": "u1001"})
    assert "Saved" in changed.said
    assert (
        await owner.post(f"/extensions/{number}/change", {"display_name": "", "auth_user": "no blanks"})
    ).status == 422
    (one,) = [each for each in await house.fleet.extensions() if each.id == number]
    assert (one.display_name, one.auth_user) == ("Front", "u1001")


# --- the tree of accounts -------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_accounts_stand_in_a_tree(house: House, owner: Browser) -> None:
    acme, other = house.ids["Acme"], house.ids["Other"]
    added = await owner.post("/accounts/tree", {"name": "Small shop", "parent": acme})
    assert "Small shop is added" in added.said
    assert "Small shop Acme" in row_of(added, "Small shop")
    moved = await owner.post("/accounts/tree/move", {"account": acme, "parent": other})
    order = [one.text_content() for one in moved.tree.xpath("//tbody/tr/td[1]")]
    assert order == ["Other", "Acme", "Small shop"]
    around = await owner.post("/accounts/tree/move", {"account": other, "parent": acme})
    assert (around.status, "below an account that is below it" in around.said) == (409, True)
    browser = await house.browser(await house.add("p@example.net", Role.PARTNER, account=other))
    seen = await browser.get("/accounts/tree")
    assert [one.text_content() for one in seen.tree.xpath("//tbody/tr/td[1]")] == ["Other", "Acme", "Small shop"]
    assert seen.tree.xpath('//form[contains(@action, "move")]') == []
    mine = await browser.post("/accounts/tree", {"name": "Smaller", "parent": other})
    assert "Smaller is added" in mine.said
    assert (await browser.post("/accounts/tree/move", {"account": acme, "parent": ""})).status == 403


def test_a_tree_has_each_account_once_however_deep() -> None:
    chain = [Account(str(number), f"a{number:04}", 0.0, str(number - 1)) for number in range(3000)]
    found = tree_of(chain)
    assert [one.account.id for one in found] == [str(number) for number in range(3000)]
    assert [one.depth for one in found[:3]] == [0, 1, 2]
    assert found[1].parent == chain[0] and found[0].parent is None and found[0].children == 1


# --- administrators and keys ----------------------------------------------------------------------


@pytest.mark.asyncio
async def test_an_administrator_comes_signs_in_changes_and_goes(house: House, owner: Browser) -> None:
    site = house.ids["Acme HQ"]
    form = {"email": "Sue@Example.net", "name": "Sue", "role": "site-admin", "site": site, "account": "", "user": ""}
    made = await owner.post("/administrators/new", form)
    link = made.tree.xpath("//pre")[0].text_content()
    assert "/login/link?token=" in link
    assert link not in (await owner.get("/administrators")).text
    again = await owner.post("/administrators/new", form)
    assert (again.status, "give them a role" in again.said) == (409, True)
    assert again.tree.xpath('//input[@name="email"]/@value') == ["Sue@Example.net"]
    lacking = await owner.post("/administrators/new", form | {"email": "b@example.net", "site": "", "account": ""})
    assert lacking.status == 422
    await house.people.set_password(link.partition("token=")[2], PASSWORD)
    sue = await house.browser("sue@example.net")
    assert (await sue.get("/devices")).status == 200
    who = (await house.roster.administrator("sue@example.net")).administrator.id
    page = f"/administrators/{who}"
    role = {"role": "auditor", "account": house.ids["Acme"], "site": "", "user": ""}
    assert "auditor from now on" in (await owner.post(f"{page}/roles", role)).said
    assert (await owner.post(f"{page}/roles", role)).status == 409
    shown = await owner.get(page)
    assert "Acme, Acme HQ" in row_of(shown, "site-admin")
    assert "Not auditor" in (await owner.post(f"{page}/roles/take", role)).said
    link = (await owner.post(f"{page}/link")).tree.xpath("//pre")[0].text_content()
    assert link.partition("token=")[2]
    assert "This cannot be taken back" in (await owner.get(f"{page}/remove")).words
    gone = await owner.post(f"{page}/remove")
    assert (gone.url, "may not sign in" in gone.said) == (f"{house.url}/administrators", True)
    with pytest.raises(LoginRefused):
        await house.people.login("sue@example.net", PASSWORD)
    me = (await house.roster.administrator(OWNER)).administrator.id
    last = await owner.post(f"/administrators/{me}/remove")
    assert (last.status, "last owner" in last.said) == (409, True)


@pytest.mark.asyncio
async def test_a_right_is_granted_for_a_time_and_a_second_factor_taken_off(house: House, owner: Browser) -> None:
    tech = await house.add("tech@example.net", Role.TECHNICIAN, account=house.ids["Acme"])
    who = (await house.roster.administrator(tech)).administrator.id
    page = f"/administrators/{who}"
    browser = await house.browser(tech)
    assert (await browser.post(f"/extensions/{house.ids['1001']}/reveal")).status == 403
    wish = {"right": "secret.reveal", "account": house.ids["Acme"], "seconds": "3600"}
    assert "ends by itself" in (await owner.post(f"{page}/grants", wish)).said
    assert "canary-Secret" in (await browser.post(f"/extensions/{house.ids['1001']}/reveal")).text
    assert "1 grant ended" in (await owner.post(f"{page}/grants/end")).said
    assert (await browser.post(f"/extensions/{house.ids['1001']}/reveal")).status == 403
    assert (await owner.post(f"{page}/grants", wish | {"right": "role.write"})).status == 422
    assert (await owner.post(f"{page}/grants", wish | {"seconds": "86401"})).status == 422
    none = await owner.post(f"{page}/second-factor/off")
    assert (none.status, "no second factor" in none.said) == (409, True)


@pytest.mark.asyncio
async def test_a_key_is_shown_once_opens_what_it_may_and_is_revoked(house: House, owner: Browser) -> None:
    form = {"name": "reporting", "days": "30", "scope": ["device.read", "event.read"], "account": [house.ids["Acme"]]}
    made = await owner.post("/keys/new", form)
    key = made.tree.xpath("//pre")[0].text_content()
    principal = await house.people.by_token(key)
    assert {one.value for one in principal.rights} == {"device.read", "event.read"}
    assert principal.reach.accounts == frozenset({house.ids["Acme"]})
    listed = await owner.get("/keys")
    assert key not in listed.text
    assert "Acme" in row_of(listed, "reporting")
    assert (await owner.post("/keys/new", form | {"scope": []})).status == 422
    assert (await owner.post("/keys/new", form | {"days": "0"})).status == 422
    partner = await house.browser(await house.add("p@example.net", Role.PARTNER, account=house.ids["Other"]))
    offered = (await partner.get("/keys/new")).tree.xpath('//input[@name="scope"]/@value')
    assert "device.bind" in offered and "server.read" not in offered
    beyond = await partner.post("/keys/new", {"name": "x", "days": "1", "scope": ["server.read"]})
    assert beyond.status == 403
    assert "reporting" not in (await partner.get("/keys")).words
    ident = next(one.get("action") for one in listed.tree.xpath('//form[contains(@action, "/keys/")]'))
    assert (await partner.post(ident)).status == 404
    assert "opens nothing any more" in (await owner.post(ident)).said
    assert "revoked" in row_of(await owner.get("/keys"), "reporting")


# --- certificates ---------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_certificates_are_told_as_they_are_on_disk(house: House, owner: Browser) -> None:
    shown = await owner.get("/certificates")
    assert "tls/server-rsa.pem" in row_of(shown, "server-rsa.pem")
    assert "trusted" in row_of(shown, "poly root")
    yealink = await owner.get("/certificates?vendor=yealink")
    assert row_of(yealink, "poly root") == ""
    (house.means.settings.data / "tls" / "server-ec.pem").write_text("nothing of use")
    broken = await owner.get("/certificates")
    assert "cannot be read" in row_of(broken, "server-ec.pem")
    trusted = house.means.settings.data / "trust"
    trusted.mkdir(exist_ok=True)
    (trusted / "trust.toml").write_text("this is = = no toml")
    faulty = await owner.get("/certificates")
    assert (faulty.status, "cannot be read" in faulty.said) == (200, True)


@pytest.mark.asyncio
async def test_the_policy_page_of_a_partner_shows_no_account_beyond(house: House) -> None:
    await house.fleet.add_licenses(LicenseKind.USER, account=house.ids["Acme"], count=3)
    browser = await house.browser(await house.add("d@example.net", Role.DEVICE_ADMIN, account=house.ids["Other"]))
    for path in ("/policies", "/licenses", "/numbers", "/accounts/tree", "/jobs", "/webhooks"):
        assert "Acme" not in (await browser.get(path)).words, path
    assert (await browser.get(f"/policies/{house.ids['Acme']}")).status == 404
