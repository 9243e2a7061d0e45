"""Webhooks in: systems that may post to this server, the rules they are read by, and their secrets."""

from __future__ import annotations

from typing import Final

from provisioner.hooks.mapping import Asked
from provisioner.hooks.signing import Scheme
from provisioner.hooks.sources import MadeSource
from provisioner.http.console.choices import Choices, accounts, names_of
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.http.console.versions import require_version, version_of
from provisioner.rights import Right
from provisioner.store.hook_inbox import InboxState, Source

inbound = Pages()

_SCHEMES: Final[Choices] = [
    (Scheme.STANDARD.value, "Standard Webhooks: id, time and body are signed"),
    (Scheme.HMAC.value, "HMAC: X-Signature-256 over the body"),
    (Scheme.BEARER.value, "Bearer: the secret itself, for what can sign nothing"),
]
_EXAMPLE: Final = """id = "$.id"
occurred_at = "$.at"

[[rules]]
action = "extension.assign"
when = { "$.type" = "assigned" }
fields = { mac = "$.mac", extension = "$.number" }
"""


def _at(source: Source) -> str:
    return f"/inbound/{source.id}"


@inbound.get("/inbound", Right.HOOK_READ)
async def list_sources(call: Call) -> Answer:
    """Systems by name, and how many of their messages need a look."""
    account, desks = call.asked("account"), call.desks
    found = await desks.sources.sources(account=account)
    parked = await desks.inbox.posted(state=InboxState.PARKED, account=account)
    values = {
        "rows": found,
        "parked": {one.id: sum(each.source == one.id for each in parked) for one in found},
        "names": await names_of(call, [one.account for one in found]),
        "accounts": await accounts(call),
        "account": account,
    }
    return View("inbound.html.j2", values)


@inbound.get("/inbound/new", Right.HOOK_WRITE)
async def new_source(call: Call) -> Answer:
    """Its name, its account, how it proves itself, and what its documents mean."""
    values = {"accounts": await accounts(call), "schemes": _SCHEMES, "example": _EXAMPLE}
    return View("inbound_new.html.j2", values)


@inbound.post("/inbound/new", Right.HOOK_WRITE, again=new_source)
async def add_source(call: Call) -> Answer:
    """It may post from now on; its secret is shown here, once."""
    form = call.form
    chosen = form.text("scheme")
    made = await call.desks.sources.add_source(
        form.text("name"),
        account=form.text("account"),
        scheme=Scheme(chosen) if chosen in set(Scheme) else Scheme.STANDARD,
        rules=form.raw("rules"),
        secret=form.text("secret"),
    )
    return _told(made, f"It posts to {_address(call, made.about)} from now on.")


def _address(call: Call, source: Source) -> str:
    """Where it posts to, as administrators reach this server."""
    base = call.means.settings.login_url.rstrip("/") or f"{call.request.scheme}://{call.request.host}"
    return f"{base}/hooks/in/{source.name}"


def _told(made: MadeSource, said: str) -> View:
    return View("told_once.html.j2", {
        "title": made.about.name, "what": "Secret", "secret": made.secret, "back": _at(made.about),
        "onward": "Go to the system", "about": [said, "The secret is shown this once. Enter it over there."],
    })  # fmt: skip


@inbound.get("/inbound/{source}", Right.HOOK_READ)
async def show_source(call: Call) -> Answer:
    """How it proves itself, the rules that it is read by, and what it has posted lately."""
    return View("inbound_one.html.j2", await _about(call, None))


async def _about(call: Call, asked: Asked | None) -> dict[str, object]:
    desks = call.desks
    found = await desks.sources.source(call.place("source"))
    return {
        "source": found, "base": _at(found), "address": _address(call, found), "asked": asked,
        "scheme": dict(_SCHEMES).get(found.scheme, found.scheme), "names": await names_of(call, [found.account]),
        "version": version_of({"rules": found.rules}), "posted": await desks.inbox.posted(source=found.id, limit=10),
    }  # fmt: skip


@inbound.post("/inbound/{source}/rules", Right.HOOK_WRITE, again=show_source)
async def change_rules(call: Call) -> Answer:
    """What its documents mean from now on."""
    sources = call.desks.sources
    found = await sources.source(call.place("source"))
    require_version(call, {"rules": found.rules}, "system")
    await sources.change_source(found.id, rules=call.form.raw("rules"))
    return See(_at(found), "Saved. What is parked can be tried again by these rules.")


@inbound.post("/inbound/{source}/try", Right.HOOK_WRITE, again=show_source, whole=False)
async def try_rules(call: Call) -> Answer:
    """What the rules that are saved make of a document; nothing is done."""
    found = await call.desks.sources.try_source(call.place("source"), call.form.raw("body").encode())
    return View("inbound_one.html.j2", await _about(call, found))


@inbound.post("/inbound/{source}/enable", Right.HOOK_WRITE, again=show_source)
async def enable_source(call: Call) -> Answer:
    """It may post."""
    found = await call.desks.sources.change_source(call.place("source"), enabled=True)
    return See(_at(found), "It may post again.")


@inbound.post("/inbound/{source}/disable", Right.HOOK_WRITE, again=show_source)
async def disable_source(call: Call) -> Answer:
    """It may not."""
    found = await call.desks.sources.change_source(call.place("source"), enabled=False)
    return See(_at(found), "It may not post any more; whatever it sends is refused.")


@inbound.post("/inbound/{source}/secret", Right.HOOK_WRITE, again=show_source)
async def rotate_source(call: Call) -> Answer:
    """A new secret, shown once."""
    made = await call.desks.sources.rotate_source(call.place("source"))
    hours = call.means.settings.webhook_overlap
    return _told(made, f"For {hours:g} h the secret before is taken as well: change it over there until then.")


@inbound.get("/inbound/{source}/remove", Right.HOOK_WRITE)
async def ask_remove_source(call: Call) -> Answer:
    """What would go with it."""
    found = await call.desks.sources.source(call.place("source"))
    about = "It may not post any more, and all that it has posted is forgotten."
    values = {"title": found.name, "about": about, "action": f"{_at(found)}/remove", "back": _at(found),
              "what": "system"}  # fmt: skip
    return View("remove.html.j2", values)


@inbound.post("/inbound/{source}/remove", Right.HOOK_WRITE, again=ask_remove_source)
async def remove_source(call: Call) -> Answer:
    """Forget it."""
    gone = await call.desks.sources.remove_source(call.place("source"))
    return See("/inbound", f"{gone.name} is removed.")
