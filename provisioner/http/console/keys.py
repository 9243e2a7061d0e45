"""Keys of the API: for programs, each with its rights, its accounts and an end."""

from __future__ import annotations

from typing import Final

from provisioner.http.console.choices import accounts, names_of
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.rights import Right
from provisioner.roles import RIGHT_WORDS

keys = Pages()

_MOST: Final = 3650
"""days"""


@keys.get("/keys", Right.APIKEY_WRITE)
async def list_keys(call: Call) -> Answer:
    """The newest first: one's own, or all where every account is within reach."""
    found = await call.desks.keys.keys()
    values = {"rows": found, "names": await names_of(call, {each for one in found for each in one.accounts})}
    return View("keys.html.j2", values)


@keys.get("/keys/new", Right.APIKEY_WRITE)
async def new_key(call: Call) -> Answer:
    """What it may do, where, and how long; no more than whoever makes it."""
    ticked, offered = set(call.form.many("scope")), call.desks.principal.rights
    values = {
        "scopes": [(one.value, RIGHT_WORDS[one], one.value in ticked) for one in Right if one in offered],
        "accounts": [(ident, name, ident in call.form.many("account")) for ident, name in await accounts(call)],
        "days": f"{call.means.settings.apikey_life:g}",
        "most": _MOST,
    }
    return View("key_new.html.j2", values)


@keys.post("/keys/new", Right.APIKEY_WRITE, again=new_key)
async def make_key(call: Call) -> Answer:
    """Its text is shown here, once."""
    form = call.form
    known = set(Right)
    made = await call.desks.keys.make_key(
        form.text("name"),
        scopes=[Right(one) for one in form.many("scope") if one in known],
        accounts=form.many("account"),
        days=form.number("days", 1, _MOST),
    )
    about = ["Send it as Authorization: Bearer KEY.", "It is shown this once, and it opens what it may until it ends."]
    return View("told_once.html.j2", {
        "title": made.about.name, "what": "Key", "secret": made.key, "about": about, "back": "/keys",
        "onward": "I have it",
    })  # fmt: skip


@keys.post("/keys/{key}/revoke", Right.APIKEY_WRITE, again=list_keys)
async def revoke_key(call: Call) -> Answer:
    """End it at once."""
    found = await call.desks.keys.revoke_key(call.place("key"))
    return See("/keys", f"{found.name} opens nothing any more.")
