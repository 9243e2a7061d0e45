"""Devices: found by anything people know of them, sorted by what has an index, saved as a table, and added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from provisioner.errors import Invalid, NotFound
from provisioner.http.console.choices import accounts, model_choices, names_of, sites
from provisioner.http.console.device_bulk import ACTS
from provisioner.http.console.device_filter import asked_of, query_of, wanted_by
from provisioner.http.console.pages import ROWS, Answer, Call, Listed, Pages, See, View
from provisioner.model import DeviceState, Mac
from provisioner.rights import Right
from provisioner.store.device_pages import Order

devices = Pages()

_SORTS: Final = ((Order.MAC, "MAC"), (Order.MODEL, "Model"), (Order.FIRMWARE, "Firmware"))
_UNSORTED: Final = frozenset({DeviceState.UNASSIGNED, DeviceState.NEEDS_FIRMWARE})
"""States without an index: they are looked for by MAC."""


@devices.get("/devices", Right.DEVICE_READ)
async def list_devices(call: Call) -> Answer:
    """Devices, a page at a time."""
    asked = asked_of(call)
    values: dict[str, object] = {"asked": asked, "why": "", "acts": _acts(call)}
    values["state_pairs"] = [(one.value, one.value.replace("_", " ")) for one in DeviceState]
    values["vendor_pairs"] = [(name, call.means.drivers[name].manifest.title) for name in sorted(call.means.drivers)]
    values["sorts"] = _sorts(call, asked)
    values["table"] = str(call.request.rel_url.with_path("/devices.csv").with_query(wanted_by(asked)))
    values |= await _choices(call, asked["account"])
    try:
        values |= await _rows(call, asked)
    except (Invalid, NotFound) as error:  # a filter that fits nothing is no fault of the page
        values |= {"rows": Listed([], "", ""), "stages": {}, "names": {}, "why": error.cause}
    part = call.request.headers.get("HX-Request") == "true"
    return View("devices_rows.html.j2" if part else "devices.html.j2", values)


def _sorts(call: Call, asked: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    """Name, address and whether it is in use; none where the list has one order only."""
    if asked["state"] in _UNSORTED:
        return []
    here = call.request.rel_url.without_query_params("cursor")
    return [(label, str(here.update_query(sort=order.value)), asked["sort"] == order) for order, label in _SORTS]


def _acts(call: Call) -> list[tuple[str, str]]:
    """What can be done to many at once, as far as whoever asks may."""
    return [(name, one.label) for name, one in ACTS.items() if call.may(one.right) and call.may(Right.JOB_WRITE)]


async def _choices(call: Call, account: str) -> dict[str, object]:
    """What the filters offer; of all accounts together there would be too many sites to choose from."""
    if call.request.headers.get("HX-Request") == "true":
        return {"accounts": [], "sites": []}
    owners = await accounts(call)
    known = {ident for ident, _ in owners}
    chosen = account if account in known else owners[0][0] if len(owners) == 1 else ""
    return {"accounts": owners, "sites": await sites(call, chosen) if chosen else []}


async def _rows(call: Call, asked: Mapping[str, str]) -> dict[str, object]:
    after = call.after("devices", str)
    page = await call.desks.search.device_page(query_of(asked), after=str(after[0]) if after else "", limit=ROWS)
    macs = [one.device.mac for one in page.items]
    names = await names_of(call, [one.device.account for one in page.items], [one.device.site for one in page.items])
    stages = await call.desks.fleet.stages(macs, call.means.settings)
    return {"rows": Listed.of(call, "devices", page), "stages": stages, "names": names}


@devices.get("/devices/new", Right.DEVICE_WRITE)
async def new_device(call: Call) -> Answer:
    """What is known of a device before it comes; beside it those that came before they were known."""
    account = call.form.text("account") or call.asked("account")
    mac = call.form.text("mac") or call.asked("mac")
    seen = await call.at(Right.SERVER_READ).fleet.seen() if call.may(Right.SERVER_READ) else []
    given = next((one for one in seen if one.mac == mac), None)
    model = f"{given.vendor}/{given.model}" if given and given.model else ""
    if given and given.site and not account:
        account = (await call.desks.search.site(given.site)).account
    values = {
        "accounts": await accounts(call),
        "account": account,
        "sites": await sites(call, account),
        "models": model_choices(call),
        "mac": mac,
        "model": call.form.text("model") or model,
        "seen": seen[:ROWS],
        "site": call.form.text("site") or (given.site if given else ""),
    }
    return View("device_new.html.j2", values)


@devices.post("/devices/new", Right.DEVICE_WRITE, again=new_device)
async def add_device(call: Call) -> Answer:
    """From now on it may prove itself and fetch."""
    form = call.form
    vendor, _, model = form.text("model").partition("/")
    mac = Mac.parse(form.text("mac"))
    made = await call.desks.fleet.add_device(
        mac, vendor=vendor, model=model, account=form.text("account"), site=form.text("site")
    )
    return See(f"/devices/{made.mac}", f"{made.mac.colons} is added. It gets its configuration when it asks.")
