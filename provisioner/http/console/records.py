"""What happened, what administrators did, and the settings of the server that are in use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING

from provisioner.errors import Forbidden, Invalid
from provisioner.events import KINDS
from provisioner.http.api.house import used
from provisioner.http.api.status import plain
from provisioner.http.console.choices import names_of
from provisioner.http.console.pages import ROWS, Answer, Call, Listed, Pages, View
from provisioner.model import Mac
from provisioner.rights import Right
from provisioner.settings import knobs
from provisioner.store.event_pages import EventFilter
from provisioner.store.rows import StoredEvent

records = Pages()


@records.get("/events", Right.EVENT_READ)
async def list_events(call: Call) -> Answer:
    """Events, the newest first."""
    return View("events.html.j2", await _listed(call, audit=None))


@records.get("/audit", Right.AUDIT_READ)
async def list_audit(call: Call) -> Answer:
    """What people did, the newest first."""
    return View("events.html.j2", await _listed(call, audit=True))


@records.post("/audit/verify", Right.AUDIT_READ, again=list_audit, whole=False)
async def verify_audit(call: Call) -> Answer:
    """Follow the whole chain."""
    if not call.desks.principal.reach.everything:
        raise Forbidden("the log as a whole is for who reaches every account", right=Right.AUDIT_READ.value)
    found = await call.desks.audit.verify()
    return View("events.html.j2", {**await _listed(call, audit=True), "verified": found})


async def _listed(call: Call, *, audit: bool | None) -> dict[str, object]:
    asked = {name: call.asked(name, 80) for name in ("kind", "mac", "severity", "actor")}
    why, mac = "", ""
    try:
        mac = Mac.parse(asked["mac"]) if asked["mac"] else ""
    except Invalid as error:
        why = error.cause
    severity = asked["severity"] if asked["severity"] in {"info", "warning", "alarm"} else ""
    wanted = EventFilter(asked["kind"], mac, severity, asked["actor"], audit)
    after = call.after("events", int)
    page = await call.desks.search.event_page(wanted, before=int(after[0]) if after else None, limit=ROWS)
    return {"rows": Listed.of(call, "events", page), "asked": asked, "why": why,
            "names": await _names(call, page.items),
            "kinds": [(kind, kind.replace("_", " ")) for kind in KINDS], "audit": bool(audit),
            "verified": None, "whole": call.desks.principal.reach.everything}  # fmt: skip


async def _names(call: Call, events: Iterable[StoredEvent]) -> Mapping[str, str]:
    """Of the accounts and sites that events tell by their ids."""
    told = [one.details for one in events]
    return await names_of(call, (one.get("account", "") for one in told), (one.get("site", "") for one in told))


@records.get("/server", Right.SERVER_READ)
async def show_server(call: Call) -> Answer:
    """Every setting as it is in use, and its default."""
    settings, wanted = call.means.settings, call.asked("q", 60).lower()
    rows = [
        {"name": name, "value": used(name, getattr(settings, one.name)),
         "default": None if one.default is MISSING else plain(one.default), "unit": one.metadata["unit"],
         "why": one.metadata["why"]}
        for name, one in knobs()
        if wanted in f"{name} {one.metadata['why']}".lower()
    ]  # fmt: skip
    return View("server.html.j2", {"rows": rows, "q": wanted})
