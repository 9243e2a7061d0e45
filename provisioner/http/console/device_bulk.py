"""What is done to many devices at once: those that were ticked, or all that a filter finds; as a job.

First a page says how many they are and asks; then the job checks every row before it applies the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from provisioner.errors import Invalid
from provisioner.fleet.device_search import Found
from provisioner.http.api.bulk import KINDS
from provisioner.http.api.desks import Desks
from provisioner.http.console.choices import sites
from provisioner.http.console.device_filter import query_of, sent_of
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.model import Mac
from provisioner.rights import Right
from provisioner.store.pages import OnLine, Whereabouts

bulk = Pages()

MOST: Final = 10_000
"""Devices of one job."""
_PAGE: Final = 500
_PAGES: Final = 200
"""Looked through for so many."""
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be done to many."""

    kind: str
    """Of the job."""
    label: str
    says: str
    danger: bool = False

    @property
    def right(self) -> Right:
        """What it takes."""
        return KINDS[self.kind].right


ACTS: Final[Mapping[str, Act]] = {
    "site": Act("moves", "Put at a site", "They belong to another site of their account from then on."),
    "resync": Act("resyncs", "Fetch again", "Those that have been here before are told to fetch their files again."),
    "codes": Act("codes", "Issue codes", "Each extension gets an activation code that works on another phone, too."),
    "revoke": Act("revocations", "Revoke", "They are served nothing any more; their lines stay.", danger=True),
    "wipe": Act("wipes", "Wipe", "They lose their lines and forget everything when they next fetch.", danger=True),
    "remove": Act("removals", "Remove", "They go with all that belongs to them. It cannot be undone.", danger=True),
}


@bulk.post("/devices/bulk", Right.DEVICE_READ, whole=False)
async def ask_bulk(call: Call) -> Answer:
    """How many they are, and whether that is meant."""
    name, act = _act(call)
    found = await _chosen(call)
    if not found:
        raise Invalid("mac", "tick the devices that are meant, or choose all that the filter finds")
    owners = {one.device.account for one in found}
    values = {
        "name": name,
        "act": act,
        "number": len(found),
        "meant": _digest(found),
        "shown": found[:_SHOWN],
        "macs": [one.device.mac for one in found] if not call.form.flag("all") else [],
        "asked": sent_of(call),
        "sites": await sites(call, owners.pop()) if name == "site" and len(owners) == 1 else [],
        "several": len(owners) > 1,
    }
    return View("devices_bulk.html.j2", values)


@bulk.post("/devices/bulk/begin", Right.JOB_WRITE, again=ask_bulk, whole=False)
async def begin_bulk(call: Call) -> Answer:
    """Write the job down; it goes on by itself."""
    name, act = _act(call)
    found = await _chosen(call)
    if call.form.text("meant") != _digest(found):
        raise Invalid("meant", f"they are others than you were shown, {len(found)} of them now: look again")
    call.who.doing(act.right)
    rows = [row for one in found if (row := _row(call, name, one)) is not None]
    if not rows:
        raise Invalid("mac", "none of them has an extension on its first line")
    owners = {one.device.account for one in found}
    job = await call.at(Right.JOB_WRITE).jobs.begin_job(
        act.kind, [_checked(act, row) for row in rows], account=owners.pop() if len(owners) == 1 else ""
    )
    return See(f"/jobs/{job.id}", f"{act.label}: {len(rows)} devices are looked at, and then it is done.")


def _digest(found: Sequence[Found]) -> str:
    """Which devices were shown, in few letters."""
    return hashlib.sha256("".join(one.device.mac for one in found).encode()).hexdigest()[:32]


def _act(call: Call) -> tuple[str, Act]:
    name = call.form.text("act")
    act = ACTS.get(name)
    if act is None:
        raise Invalid("act", f"must be one of {', '.join(ACTS)}")
    call.who.doing(act.right)
    return name, act


async def _chosen(call: Call) -> list[Found]:
    """Those that were ticked and are within reach, or all that the filter finds."""
    desks = call.at(_act(call)[1].right)
    if not call.form.flag("all"):
        ticked = dict.fromkeys(Mac.parse(text) for text in call.form.many("mac"))
        return [await _ticked(desks, mac) for mac in ticked]
    query = query_of(sent_of(call))
    found: list[Found] = []
    after: str = ""
    for _ in range(_PAGES):
        page = await desks.search.device_page(query, after=after, limit=_PAGE)
        found += page.items
        if len(found) > MOST:
            raise Invalid("all", f"the filter finds more than {MOST:,} devices: narrow it")
        if page.next is None:
            return found
        after = str(page.next[0])
    raise Invalid("all", "the filter looks through more devices than can be done at once: narrow it")


async def _ticked(desks: Desks, mac: Mac) -> Found:
    """NotFound for one that is out of reach."""
    device, bound = await desks.fleet.device(mac), await desks.fleet.bindings(mac, active=True)
    return Found(device, Whereabouts(tuple(OnLine(one.line, one.extension, one.number) for one in bound)))


def _row(call: Call, name: str, one: Found) -> dict[str, Any] | None:
    """What the job is given of a device; None where it has nothing that this could be done to."""
    device = one.device
    match name:
        case "site":
            return {"mac": device.mac, "account": device.account, "site": call.form.text("site")}
        case "codes":
            lines: Sequence[Any] = one.about.lines
            return {"extension": lines[0].extension, "replace": True} if lines else None
        case "wipe":
            return {"mac": device.mac, "unbind": True}
        case _:
            return {"mac": device.mac}


def _checked(act: Act, row: Mapping[str, Any]) -> bytes:
    try:
        return KINDS[act.kind].row.model_validate(row).model_dump_json().encode()
    except ValidationError as error:
        raise Invalid("site", "say which site") from error
