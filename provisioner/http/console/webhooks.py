"""Webhooks out: endpoints that are told what happens, what came of each delivery, and what was given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from provisioner.fleet.device_search import Page as Rows
from provisioner.hook_events import TYPES
from provisioner.hooks.hooks import MadeHook
from provisioner.http.api.words import LARGEST
from provisioner.http.console.choices import accounts, names_of
from provisioner.http.console.pages import ROWS, Answer, Call, Listed, Pages, See, View
from provisioner.http.console.versions import require_version, version_of
from provisioner.outbox_states import MessageState
from provisioner.rights import Right
from provisioner.store.hook_queue import kind_of
from provisioner.store.hooks import Hook
from provisioner.store.outbox import Message

webhooks = Pages()

FAMILIES: Final = tuple(sorted({f"{one.partition('.')[0]}.*" for one in TYPES}))
_WAITING: Final = (MessageState.DEAD, MessageState.SENDING, MessageState.QUEUED)
_LONGEST: Final = 40
"""Messages of a state that are listed; the log has every attempt."""


def _at(hook: Hook) -> str:
    return f"/webhooks/{hook.id}"


@webhooks.get("/webhooks", Right.HOOK_READ)
async def list_webhooks(call: Call) -> Answer:
    """Endpoints by name, and what waits for each."""
    account = call.asked("account")
    found = await call.desks.hooks.hooks(account=account)
    names = await names_of(call, [one.about.account for one in found])
    values = {"rows": found, "names": names, "accounts": await accounts(call), "account": account}
    return View("webhooks.html.j2", values)


# --- a new one ------------------------------------------------------------------------------------


@webhooks.get("/webhooks/new", Right.HOOK_WRITE)
async def new_webhook(call: Call) -> Answer:
    """Where to, what of, in which account."""
    everything = call.desks.principal.reach.everything
    values = {"accounts": await accounts(call), "everything": everything, **_chosen(call, "*")}
    return View("webhook_new.html.j2", values)


@webhooks.post("/webhooks/new", Right.HOOK_WRITE, again=new_webhook)
async def add_webhook(call: Call) -> Answer:
    """Told what happens from now on; its secret is shown here, once."""
    form = call.form
    made = await call.desks.hooks.add_hook(
        form.text("url"), account=form.text("account"), name=form.text("name"), events=_wanted(call)
    )
    return _told(made, "It is told what happens from now on.")


def _chosen(call: Call, now: str) -> dict[str, object]:
    """The choice of events as it stands in the form: families to tick, single types to type."""
    sent = call.form.fields
    wanted = _wanted(call) if {"family", "events"} & sent.keys() else [one for one in now.split() if one != "*"]
    return {
        "families": [(one, one in wanted) for one in FAMILIES],
        "events": " ".join(one for one in wanted if one not in FAMILIES),
        "types": sorted(TYPES),
    }


def _wanted(call: Call) -> Sequence[str]:
    return [*call.form.many("family"), *call.form.text("events").replace(",", " ").split()]


def _told(made: MadeHook, said: str) -> View:
    about = [said, "Its secret is shown this once. The endpoint checks with it that a message is from here."]
    return View("told_once.html.j2", {
        "title": made.about.name, "what": "Secret", "secret": made.secret, "about": about, "back": _at(made.about),
        "onward": "Go to the endpoint",
    })  # fmt: skip


# --- one of them ----------------------------------------------------------------------------------


@webhooks.get("/webhooks/{webhook}", Right.HOOK_READ)
async def show_webhook(call: Call) -> Answer:
    """Where it is, what waits for it, and what came of each attempt."""
    hooks = call.desks.hooks
    state = await hooks.hook(call.place("webhook"))
    hook = state.about
    cursor, message = call.after("deliveries", int), call.asked("message", 15)
    found = await hooks.deliveries(
        hook.id, before=int(cursor[0]) if cursor else 0, limit=ROWS + 1, message=int(message) if _counts(message) else 0
    )
    page = Rows(found[:ROWS], (found[ROWS - 1].id,) if len(found) > ROWS else None)
    values = {
        "hook": hook, "standing": state, "log": Listed.of(call, "deliveries", page),
        "messages": await _messages(call, hook),
        "names": await names_of(call, [hook.account]), "version": version_of(_said(hook)), "base": _at(hook),
        "tries": call.means.settings.webhook_tries, **_chosen(call, hook.events),
    }  # fmt: skip
    return View("webhook.html.j2", values)


def _counts(text: str) -> bool:
    return text.isascii() and text.isdecimal()


async def _messages(call: Call, hook: Hook) -> list[Message]:
    """What was given up and what waits, with when it is tried next; for who may see what leaves this server."""
    if not call.may(Right.MAIL_READ):
        return []
    outbox, kind = call.at(Right.MAIL_READ).outbox, kind_of(hook.id)
    found = []
    for state in _WAITING:
        mine = [one for one in await outbox.messages(state=state, account=hook.account) if one.kind == kind]
        found += mine[:_LONGEST]
    return found


def _said(hook: Hook) -> dict[str, object]:
    return {"url": hook.url, "name": hook.name, "events": hook.events}


@webhooks.post("/webhooks/{webhook}/change", Right.HOOK_WRITE, again=show_webhook)
async def change_webhook(call: Call) -> Answer:
    """Another address, name or choice of events."""
    hooks, form = call.desks.hooks, call.form
    before = (await hooks.hook(call.place("webhook"))).about
    require_version(call, _said(before), "endpoint")
    await hooks.change_hook(before.id, url=form.text("url"), name=form.text("name"), events=_wanted(call))
    return See(_at(before), "Saved. What waits goes to the address that it has now.")


@webhooks.post("/webhooks/{webhook}/enable", Right.HOOK_WRITE, again=show_webhook)
async def enable_webhook(call: Call) -> Answer:
    """Call it again, and answer for it."""
    found = await call.desks.hooks.enable_hook(call.place("webhook"))
    return See(_at(found.about), "It is called, and you answer for it. What has waited goes out now.")


@webhooks.post("/webhooks/{webhook}/disable", Right.HOOK_WRITE, again=show_webhook)
async def disable_webhook(call: Call) -> Answer:
    """Do not call it."""
    found = await call.desks.hooks.disable_hook(call.place("webhook"))
    return See(_at(found.about), "It is not called any more. What waits for it stays for two weeks.")


@webhooks.post("/webhooks/{webhook}/secret", Right.HOOK_WRITE, again=show_webhook)
async def rotate_webhook(call: Call) -> Answer:
    """A new secret, shown once."""
    made = await call.desks.hooks.rotate_hook(call.place("webhook"))
    hours = call.means.settings.webhook_overlap
    return _told(made, f"For {hours:g} h the secret before signs as well: change it over there until then.")


@webhooks.post("/webhooks/{webhook}/test", Right.HOOK_WRITE, again=show_webhook)
async def test_webhook(call: Call) -> Answer:
    """A signed ping, sent as everything else is."""
    found = await call.desks.hooks.queue_ping(call.place("webhook"))
    return See(_at(found.about), "A ping is on its way. What came of it stands in the log below in a moment.")


@webhooks.post("/webhooks/{webhook}/replay", Right.HOOK_WRITE, again=show_webhook)
async def replay_webhook(call: Call) -> Answer:
    """What was given up is sent again: one message, or all of it."""
    hooks = call.desks.hooks
    found = (await hooks.hook(call.place("webhook"))).about
    count = await hooks.replay_hook(found.id, message=call.form.number("message", 0, LARGEST, empty=0))
    told = f"{count} message{' is' if count == 1 else 's are'} sent again, with all attempts anew."
    return See(_at(found), told if count else "Nothing was given up, so nothing is sent again.")


@webhooks.get("/webhooks/{webhook}/remove", Right.HOOK_WRITE)
async def ask_remove_webhook(call: Call) -> Answer:
    """What would go with it."""
    state = await call.desks.hooks.hook(call.place("webhook"))
    about = "Its delivery log goes with it, and what waits for it is told to nobody."
    if state.waiting or state.dead:
        about += f" {state.waiting + state.dead} messages wait for it now."
    here = _at(state.about)
    values = {"title": state.about.name, "about": about, "action": f"{here}/remove", "back": here, "what": "endpoint"}
    return View("remove.html.j2", values)


@webhooks.post("/webhooks/{webhook}/remove", Right.HOOK_WRITE, again=ask_remove_webhook)
async def remove_webhook(call: Call) -> Answer:
    """Forget it."""
    gone = await call.desks.hooks.remove_hook(call.place("webhook"))
    return See("/webhooks", f"{gone.name} is removed.")
