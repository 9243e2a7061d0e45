"""One device: what it is at, file by file as it boots; its configuration and who set it; its files; its history."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Final, NamedTuple

from provisioner.diagnosis.facts import Kind
from provisioner.errors import Forbidden, NotFound, RenderFailed
from provisioner.flight import Flight
from provisioner.http.api.stream import as_fetch
from provisioner.http.console.choices import names_of
from provisioner.http.console.diagnosis import panel
from provisioner.http.console.key_layout import layout
from provisioner.http.console.layers import address
from provisioner.http.console.pages import ROWS, Answer, Call, Listed, Pages, View
from provisioner.model import Device, Event, FetchRecord, Model, Scope
from provisioner.neutral import KEYS, LineKey
from provisioner.preview import Explained, Masked, Preview, RenderedFile, difference, written
from provisioner.rights import Right
from provisioner.store.event_pages import EventFilter
from provisioner.store.rows import Fetch, StoredEvent

device = Pages()

_RECENT: Final = 12
"""Events beside the live feed."""
_FLIGHTS: Final = 8
"""Connections that are looked through for what was refused."""
_SAME: Final = 2.0
"""s between a fetch as it is put down and the record of its connection."""
_ALARMS: Final = 50
"""The newest of a device, in which keys are looked for."""
_SET: Final = frozenset({"defaults", "vendor", "model", "account", "site", "device", "binding"})
"""Scopes that somebody chose; the rest is what a phone gets anyway."""


@device.get("/devices/{mac}", Right.DEVICE_READ)
async def show_device(call: Call) -> Answer:
    """What it is at, what is on its lines, and what can be done about it."""
    values = await about(call) | await live(call)
    fleet = call.desks.fleet
    found, bound = await fleet.device(call.mac), await fleet.bindings(call.mac, active=True)
    values["wipe"] = await fleet.wipe(call.mac)
    values["tokens"] = [one for one in await fleet.tokens(call.mac) if not one.revoked and one.expires > call.now]
    values |= {"why": await panel(call), "mac": call.mac, "others": await _other_keys(call, found)}
    values["keys"] = layout(model_of(call, found), bound, await _set_keys(call))
    return View("device.html.j2", values)


async def _other_keys(call: Call, found: Device) -> set[str]:
    """Keys that came in alarms of this device and are not the pinned one: one of them may be pinned."""
    alarms = await call.desks.fleet.events(limit=_ALARMS, kind="pin_mismatch", mac=call.mac)
    return {one.details.get("came", "") for one in alarms} - {"", found.pinned}


async def _set_keys(call: Call) -> Sequence[LineKey]:
    """What administrators have put on its keys, for whoever may see settings."""
    if not call.may(Right.LAYER_READ):
        return ()
    with suppress(Forbidden, NotFound):
        await call.at(Right.LAYER_READ).fleet.device(call.mac)
        return (await call.means.renders.of(call.mac)).config.get(KEYS)
    return ()


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
    fetches = _newest(standing.fetches, call.means.onlookers.fetches(call.mac))
    progress = await call.desks.fleet.progress(call.mac, call.means.settings)
    errands = await call.desks.resync.standings(mac=call.mac, limit=1)
    last = fetches[0] if fetches else None
    asked: list[Fetch | Denied] = [*fetches, *_beside(fetches, await _refused(call))]
    asked.sort(key=lambda one: one.at, reverse=True)
    return {
        "standing": standing,
        "seen": await call.desks.fleet.seen_at(call.mac),
        "progress": progress,
        "errand": errands[0] if errands else None,
        "fetches": asked,
        "last": last,
        "verdict": _verdict(standing.refusal, last),
        "feed": f"/api/v1/events/stream?mac={call.mac}" if call.may(Right.EVENT_READ) else "",
        "events": await _lately(call),
        "current": standing.served is not None and standing.served >= standing.wanted,
    }


async def _lately(call: Call) -> list[Event | StoredEvent]:
    """What happened to it, for whoever may see that: as it is written down, or as a worker has just told it."""
    if not call.may(Right.EVENT_READ):
        return []
    desks = call.at(Right.EVENT_READ)
    written = (await desks.search.event_page(EventFilter(mac=call.mac), limit=_RECENT)).items
    told: list[Event] = []
    with suppress(NotFound):  # whoever sees the device may see events of others only
        await desks.fleet.device(call.mac)
        told = call.means.onlookers.events(call.mac)
    known = {(one.kind, one.at): one for one in written}
    both: list[Event | StoredEvent] = [one for one in told if (one.kind, one.at) not in known]
    return sorted([*both, *known.values()], key=lambda one: one.at, reverse=True)[:_RECENT]


def _newest(written: Iterable[Fetch], told: Iterable[FetchRecord]) -> list[Fetch]:
    """The last fetch of each file, the newest first: as it is written down, or as a worker has just told it."""
    found = {one.file: one for one in written}
    for one in map(as_fetch, told):
        if one.file not in found or found[one.file].at < one.at:
            found[one.file] = one
    return sorted(found.values(), key=lambda one: one.at, reverse=True)


class Denied(NamedTuple):
    """A file that it asked for and did not get: nothing is put down of it where its fetches are."""

    at: float
    file: str
    status: int
    size: int
    proof: str
    """Why not, in the place of what proves a fetch."""


async def _refused(call: Call) -> list[Denied]:
    """From the records of its connections, for who may see those; the last refusal of each name."""
    if not call.may(Right.DIAGNOSIS_READ):
        return []
    found: dict[str, Denied] = {}
    with suppress(Forbidden, NotFound):
        flights = await call.at(Right.DIAGNOSIS_READ).flights.flights(call.mac, limit=_FLIGHTS)
        for one in sorted((one for one in flights if one.proven), key=lambda one: one.at):
            found |= {each.file: each for each in _denied(one)}
    return list(found.values())


def _denied(one: Flight) -> Iterator[Denied]:
    asked = ""
    for fact in one.facts():
        if fact.kind is Kind.REQUEST:
            asked = fact["path"] if fact["method"] == "GET" else f"{fact['method']} {fact['path']}"
        elif fact.kind is Kind.ANSWER and fact["reason"] and int(fact["status"] or 0) >= HTTPStatus.BAD_REQUEST:
            yield Denied(fact.at, asked, int(fact["status"]), int(fact["bytes"] or 0), fact["reason"])


def _beside(fetches: Iterable[Fetch], refused: Iterable[Denied]) -> list[Denied]:
    """Without what stands among the fetches, as a 404 does, and what it has got since."""
    known = {one.file: one.at for one in fetches}
    return [one for one in refused if known.get(one.file, 0.0) < one.at - _SAME]


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
    had = {one.file: one for one in await call.desks.fleet.fetches(call.mac) if one.digest}
    files, fault = [], ""
    try:
        files = [await _file(call, one, had.get(one.name), masked) for one in preview.render_all(Masked(reveal=True))]
    except RenderFailed as error:
        fault = error.cause
    chosen = next((one for one in files if one["name"] == call.asked("name")), None)
    return View("device_files.html.j2", {**values, "files": files, "chosen": chosen, "fault": fault})


async def _file(call: Call, one: RenderedFile, had: Fetch | None, masked: Masked) -> dict[str, object]:
    """One file, its secrets hidden; digests are of what is really sent."""
    try:
        before = (await call.desks.fleet.last_body(call.mac, one.name)).decode("utf-8", "replace")
    except NotFound:
        before = None
    diff = "" if before is None else difference(one.name, before, one.text, masked)
    body = one.text.encode()
    wanted = hashlib.sha256(body).hexdigest()
    return {"name": one.name, "kind": one.kind, "size": len(body), "text": masked.text(one.text), "diff": diff,
            "wanted": wanted, "served": had.digest if had else "", "at": had.at if had else None,
            "same": had is not None and had.digest == wanted}  # fmt: skip


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
