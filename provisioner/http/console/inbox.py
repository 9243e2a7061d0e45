"""What other systems have posted: what became of each message, and what needs a look."""

from __future__ import annotations

from provisioner.errors import NotFound
from provisioner.http.console.choices import names_of
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.rights import Right
from provisioner.store.hook_inbox import InboxState

inbox = Pages()

_LONGEST = 15
"""Digits of a message's number."""


@inbox.get("/inbound/messages", Right.HOOK_READ)
async def list_posted(call: Call) -> Answer:
    """The newest first, of one system or of all."""
    source, text, desks = call.asked("source"), call.asked("state", 20), call.desks
    state = InboxState(text) if text in set(InboxState) else None
    found = await desks.inbox.posted(source=source, state=state)
    known = await desks.sources.sources()
    values = {
        "rows": found,
        "sources": [(one.id, one.name) for one in known],
        "names": {one.id: one.name for one in known},
        "asked": {"source": source, "state": text},
        "states": [(one.value, one.value) for one in InboxState],
    }
    return View("inbox.html.j2", values)


def _ident(call: Call) -> int:
    text = call.place("posted")
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST):
        raise NotFound(f"there is no message {text!r} in the inbox")
    return int(text)


@inbox.get("/inbound/messages/{posted}", Right.HOOK_READ)
async def show_posted(call: Call) -> Answer:
    """What became of it; what it says is for who may change how it is read."""
    desks = call.desks
    found = await desks.inbox.posted_message(_ident(call))
    body = None
    stale = Right.HOOK_WRITE in call.who.stale
    if call.may(Right.HOOK_WRITE) and not stale:
        said = await call.at(Right.HOOK_WRITE).inbox.posted_body(found.id)
        body = said.decode("utf-8", "backslashreplace")
    values = {"one": found, "source": await desks.sources.source(found.source), "body": body,
              "stale": stale and call.may(Right.HOOK_WRITE),
              "names": await names_of(call, [found.account])}  # fmt: skip
    return View("inbox_one.html.j2", values)


@inbox.post("/inbound/messages/{posted}/replay", Right.HOOK_WRITE, again=show_posted, whole=False)
async def replay_posted(call: Call) -> Answer:
    """Try it again, by the rules of today."""
    found = await call.desks.inbox.replay_posted(_ident(call))
    told = {InboxState.APPLIED: "It is applied.", InboxState.IGNORED: "It is read, and nothing is to come of it."}
    return See(f"/inbound/messages/{found.id}", told.get(found.state, f"It is {found.state.value}: {found.why}"))


@inbox.post("/inbound/messages/{posted}/drop", Right.HOOK_WRITE, again=show_posted)
async def drop_posted(call: Call) -> Answer:
    """Put it aside."""
    found = await call.desks.inbox.drop_posted(_ident(call))
    return See(f"/inbound/messages/{found.id}", "It is put aside: nothing is to come of it.")
