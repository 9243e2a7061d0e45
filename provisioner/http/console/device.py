"""One device: what it is at, file by file as it boots; its configuration and who set it; its files; its history."""

from __future__ import annotations

from typing import Final

from provisioner.errors import NotFound, RenderFailed
from provisioner.http.console.choices import names_of
from provisioner.http.console.layers import address
from provisioner.http.console.pages import ROWS, Answer, Call, Listed, Pages, View
from provisioner.model import Device, Model, Scope
from provisioner.preview import Explained, Masked, Preview, difference, written
from provisioner.rights import Right
from provisioner.store.event_pages import EventFilter
from provisioner.store.rows import Binding

device = Pages()

_RECENT: Final = 12
"""Events beside the live feed."""
_SET: Final = frozenset({"defaults", "vendor", "model", "account", "site", "device", "binding"})
"""Scopes that somebody chose; the rest is what a phone gets anyway."""


@device.get("/devices/{mac}", Right.DEVICE_READ)
async def show_device(call: Call) -> Answer:
    """What it is at, what is on its lines, and what can be done about it."""
    values = await about(call) | await live(call)
    fleet = call.desks.fleet
    values["tokens"] = [one for one in await fleet.tokens(call.mac) if not one.revoked and one.expires > call.now]
    keys = _keys(values["model"], values["bound"])
    free = next((number for number, on in keys if on is None), 1)
    values |= {"keys": keys, "next_free": free}
    return View("device.html.j2", values)


@device.get("/devices/{mac}/live", Right.DEVICE_READ)
async def live_device(call: Call) -> Answer:
    """The part that changes by itself."""
    found = await call.desks.fleet.device(call.mac)
    return View("device_live.html.j2", {"device": found, **await live(call)})


async def about(call: Call) -> dict[str, object]:
    """What each of its pages begins with."""
    fleet = call.desks.fleet
    found = await fleet.device(call.mac)
    return {
        "device": found,
        "model": model_of(call, found),
        "bound": await fleet.bindings(call.mac, active=True),
        "names": await names_of(call, [found.account], [found.site]),
        "tab": call.request.path.removeprefix(f"/devices/{call.place('mac')}"),
    }


async def live(call: Call) -> dict[str, object]:
    """How far it is, what it fetched and what was told of it lately."""
    standing = await call.desks.search.standing(call.mac)
    progress = await call.desks.fleet.progress(call.mac, call.means.settings)
    errands = await call.desks.resync.standings(mac=call.mac, limit=1)
    events = []
    if call.may(Right.EVENT_READ):
        page = await call.at(Right.EVENT_READ).search.event_page(EventFilter(mac=call.mac), limit=_RECENT)
        events = list(page.items)
    last = max(standing.fetches, key=lambda one: one.at, default=None)
    return {
        "standing": standing,
        "progress": progress,
        "errand": errands[0] if errands else None,
        "fetches": sorted(standing.fetches, key=lambda one: one.at, reverse=True),
        "last": last,
        "verdict": _verdict(standing.refusal, last),
        "events": events,
        "current": standing.served is not None and standing.served >= standing.wanted,
    }


def _verdict(refusal: object, last: object) -> str:
    """Whether the last that is known of its proof is a refusal, or a fetch that came after it."""
    at, fetched = getattr(refusal, "at", 0.0), getattr(last, "at", 0.0)
    if not at and not fetched:
        return "unknown"
    return "refused" if at > fetched else "proven"


def model_of(call: Call, found: Device) -> Model | None:
    """Its row of models.toml; None where that is there no more."""
    driver = call.means.drivers.get(found.vendor)
    return driver.manifest.models.get(found.model) if driver else None


def _keys(model: object, bound: object) -> list[tuple[int, Binding | None]]:
    """Each of its lines, and what is on it."""
    assert isinstance(bound, list)
    on = {one.line: one for one in bound}
    last = max([model.lines if isinstance(model, Model) else 1, *on])
    shown = min(last, max([8, *on]))
    return [(number, on.get(number)) for number in range(1, shown + 1)]


# --- configuration ------------------------------------------------------------------------------------


@device.get("/devices/{mac}/configuration", Right.LAYER_READ)
async def show_configuration(call: Call) -> Answer:
    """Every value that it gets, and who set it."""
    values = await about(call)
    preview = await _preview(call)
    wanted = call.asked("find", 60).lower()
    everything = call.asked("all") == "yes"
    rows = [
        _row(one)
        for one in preview.explain(Masked())
        if (everything or one.scope in _SET) and wanted in f"{one.name} {one.scope} {one.key}".lower()
    ]
    names = values["names"]
    return View(
        "device_configuration.html.j2", {**values, "rows": rows, "all": everything, "find": wanted, "names": names}
    )


def _row(one: Explained) -> dict[str, object]:
    link = ""
    if one.scope in _SET - {"binding"}:
        link = address(Scope(one.scope), one.key)
    return {"name": one.name, "value": written(one.value), "scope": one.scope, "key": one.key, "link": link,
            "overrode": one.overrode, "note": one.note}  # fmt: skip


async def _preview(call: Call) -> Preview:
    await call.desks.fleet.device(call.mac)  # whoever cannot reach it is told nothing else
    return await call.means.renders.of(call.mac)


@device.get("/devices/{mac}/files", Right.LAYER_READ)
async def show_files(call: Call) -> Answer:
    """What it would get now, file by file, and how that differs from what it got last."""
    values = await about(call)
    preview = await _preview(call)
    masked = Masked()
    files, fault = [], ""
    try:
        files = [
            await _file(call, one.name, one.kind, one.text, masked) for one in preview.render_all(Masked(reveal=True))
        ]
    except RenderFailed as error:
        fault = error.cause
    chosen = next((one for one in files if one["name"] == call.asked("name")), None)
    return View("device_files.html.j2", {**values, "files": files, "chosen": chosen, "fault": fault})


async def _file(call: Call, name: str, kind: str, text: str, masked: Masked) -> dict[str, object]:
    """One file, its secrets hidden."""
    try:
        before = (await call.desks.fleet.last_body(call.mac, name)).decode("utf-8", "replace")
    except NotFound:
        before = None
    diff = "" if before is None else difference(name, before, text, masked)
    return {"name": name, "kind": kind, "size": len(text.encode()), "text": masked.text(text), "diff": diff,
            "served": before is not None}  # fmt: skip


# --- history ------------------------------------------------------------------------------------------


@device.get("/devices/{mac}/history", Right.DEVICE_READ)
async def show_history(call: Call) -> Answer:
    """All that happened to it, who was on its lines, and what it has sent."""
    values = await about(call)
    events: Listed[object] | None = None
    if call.may(Right.EVENT_READ):
        after = call.after("events", int)
        search = call.at(Right.EVENT_READ).search
        page = await search.event_page(EventFilter(mac=call.mac), before=int(after[0]) if after else None, limit=ROWS)
        events = Listed.of(call, "events", page)
    uploads = await call.at(Right.UPLOAD_READ).fleet.uploads(call.mac) if call.may(Right.UPLOAD_READ) else None
    past = [one for one in await call.desks.fleet.bindings(call.mac) if one.until is not None]
    return View("device_history.html.j2", {**values, "events": events, "uploads": uploads, "past": past})
