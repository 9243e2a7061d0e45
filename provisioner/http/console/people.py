"""Users and the extensions they hold."""

from __future__ import annotations

from provisioner.fleet.device_search import DeviceQuery
from provisioner.http.console.choices import accounts, names_of
from provisioner.http.console.pages import ROWS, Answer, Call, Listed, Pages, See, View
from provisioner.http.console.sites import address_given, address_lines
from provisioner.places import UserKind
from provisioner.rights import Right
from provisioner.store.rows import User

people = Pages()


@people.get("/users", Right.PEOPLE_READ)
async def list_users(call: Call) -> Answer:
    """Persons and places, a page at a time; found by a whole name or mail address."""
    account, text = call.asked("account"), call.asked("q", 80)
    after = call.after("users", str)
    search = call.desks.search
    name, email = ("", text) if "@" in text else (text, "")
    page = await search.user_page(account=account, after=after, limit=ROWS, name=name, email=email)
    held = {one.id: await search.extension_page(user=one.id, limit=10) for one in page.items}
    values = {
        "rows": Listed.of(call, "users", page),
        "held": {ident: list(one.items) for ident, one in held.items()},
        "accounts": await accounts(call),
        "names": await names_of(call, [one.account for one in page.items]),
        "account": account,
        "q": text,
    }
    return View("users.html.j2", values)


@people.get("/users/{user}", Right.PEOPLE_READ)
async def show_user(call: Call) -> Answer:
    """One of them, with extensions, phones and licenses."""
    user = await call.desks.search.user(call.place("user"))
    extensions = list((await call.desks.search.extension_page(user=user.id, limit=100)).items)
    phones = {one.id: await _phones(call, one.number, one.id) for one in extensions}
    values = {"user": user, "extensions": extensions, "phones": phones, "names": await names_of(call, [user.account]),
              "licenses": await _licenses(call, user), "lines_of": address_lines(user.address)}  # fmt: skip
    return View("user.html.j2", values)


async def _licenses(call: Call, user: User) -> list[object]:
    if not call.may(Right.LICENSE_READ):
        return []
    page = await call.at(Right.LICENSE_READ).search.license_page(user=user.id, limit=20)
    return list(page.items)


async def _phones(call: Call, number: str, ident: str) -> list[tuple[str, int]]:
    """MAC and line of the phones that an extension is on."""
    if not call.may(Right.DEVICE_READ):
        return []
    page = await call.at(Right.DEVICE_READ).search.device_page(DeviceQuery(text=number), limit=20)
    return [(one.device.mac, line.line) for one in page.items for line in one.about.lines if line.extension == ident]


@people.post("/users/{user}/change", Right.PEOPLE_WRITE, again=show_user)
async def change_user(call: Call) -> Answer:
    """Another name; a person or a place."""
    kind = UserKind.PLACE if call.form.flag("place") else UserKind.PERSON
    found = await call.desks.fleet.change_user(call.place("user"), name=call.form.text("name"), kind=kind)
    return See(f"/users/{found.id}", "Saved.")


@people.post("/users/{user}/address", Right.PEOPLE_WRITE, again=show_user)
async def set_address(call: Call) -> Answer:
    """Where help is sent to from their phones; empty: where the site is."""
    location = call.form.text("location")
    found = await call.desks.fleet.change_user(call.place("user"), address=address_given(call), location=location)
    return See(f"/users/{found.id}", "The address is saved.")


@people.post("/users/{user}/email", Right.PEOPLE_WRITE, again=show_user)
async def set_email(call: Call) -> Answer:
    """Another mail address, or none."""
    found = await call.desks.fleet.set_email(call.place("user"), email=call.form.text("email"))
    return See(f"/users/{found.id}", "The mail address is saved.")


@people.post("/users/{user}/remove", Right.PEOPLE_WRITE, again=show_user)
async def remove_user(call: Call) -> Answer:
    """Somebody who holds no extension."""
    await call.desks.fleet.remove_user(call.place("user"))
    return See("/users", "The user is removed.")


# --- extensions -----------------------------------------------------------------------------------


@people.get("/extensions", Right.PEOPLE_READ)
async def list_extensions(call: Call) -> Answer:
    """Numbers that the PBX dials, a page at a time; found by their number."""
    account, number = call.asked("account"), call.asked("q", 40)
    search = call.desks.search
    page = await search.extension_page(account=account, number=number, after=call.after("extensions", str), limit=ROWS)
    holders = {one.user: (await search.user(one.user)).name for one in page.items}
    names = await names_of(call, [one.account for one in page.items])
    values = {"rows": Listed.of(call, "extensions", page), "holders": holders, "accounts": await accounts(call),
              "names": names, "account": account, "q": number}  # fmt: skip
    return View("extensions.html.j2", values)


@people.get("/extensions/{extension}", Right.PEOPLE_READ)
async def show_extension(call: Call) -> Answer:
    """One of them: who holds it, where it is, its code."""
    return View("extension.html.j2", await _extension(call))


async def _extension(call: Call, secret: str = "") -> dict[str, object]:
    search = call.desks.search
    found = await search.extension(call.place("extension"))
    names = await names_of(call, [found.account])
    return {"extension": found, "user": await search.user(found.user), "names": names,
            "phones": await _phones(call, found.number, found.id), "secret": secret}  # fmt: skip


@people.post("/extensions/{extension}/change", Right.PEOPLE_WRITE, again=show_extension)
async def change_extension(call: Call) -> Answer:
    """What phones show and send for it; an empty SIP user is its number."""
    form = call.form
    found = await call.desks.fleet.change_extension(
        call.place("extension"), display_name=form.text("display_name"), auth_user=form.text("auth_user")
    )
    return See(f"/extensions/{found.id}", "Saved. Its phones get it with their next fetch.")


@people.post("/extensions/{extension}/secret", Right.SECRET_WRITE, again=show_extension)
async def set_secret(call: Call) -> Answer:
    """Another SIP password, made here; its phones get it with their next fetch."""
    found = await call.desks.search.extension(call.place("extension"))
    await call.desks.fleet.set_secret(found.id)
    return See(f"/extensions/{found.id}", "It has a new SIP password. Its phones get it with their next fetch.")


@people.post("/extensions/{extension}/reveal", Right.SECRET_REVEAL, again=show_extension)
async def reveal_secret(call: Call) -> Answer:
    """The SIP password, once; that it was read is written down before it is shown."""
    found = await call.desks.search.extension(call.place("extension"))
    secret = await call.desks.fleet.reveal_secret(found.id)
    return View("extension.html.j2", await _extension(call, secret))


@people.post("/extensions/{extension}/remove", Right.PEOPLE_WRITE, again=show_extension)
async def remove_extension(call: Call) -> Answer:
    """Its phones are told to fetch what empties the line."""
    freed = await call.desks.fleet.remove_extension(call.place("extension"))
    lines = " and ".join(f"line {one.line} of {one.mac.colons}" for one in freed)
    return See("/extensions", f"The extension is removed.{f' {lines} is free.' if freed else ''}")
