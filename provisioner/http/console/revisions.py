"""What layers and lines were, each change with a button that takes it back; and changes on their way to phones.

Taking back is one click. Where many phones are concerned the click shows how many and what they would get, and asks.
"""

from __future__ import annotations

from typing import Any, Final

from provisioner.effects import effect_of
from provisioner.errors import Invalid, WideChange
from provisioner.http.api.cursors import written_cursor
from provisioner.http.console.choices import names_of
from provisioner.http.console.device import about
from provisioner.http.console.layers import (
    address,
    canary_of,
    changes,
    confirmed,
    place_of,
    saved,
    shown_of,
    text_of,
    title_of,
)
from provisioner.http.console.pages import ROWS, Answer, Call, Pages, See, View
from provisioner.model import Scope
from provisioner.preview import Masked
from provisioner.rights import Right
from provisioner.store.layer_history import LayerRevision
from provisioner.store.rollouts import Rollout

revisions = Pages()

_LARGEST: Final = 2**53


def _revision(call: Call) -> int:
    text = call.form.text("revision")
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < _LARGEST):
        raise Invalid("revision", "must be the number of a change")
    return int(text)


# --- layers ---------------------------------------------------------------------------------------


@revisions.get("/layers/{scope}/history", Right.LAYER_READ)
async def show_history(call: Call) -> Answer:
    """What a layer was, the newest change first."""
    return await _history(call)


async def _history(call: Call) -> Answer:
    scope, key = place_of(call)
    layer = await call.desks.fleet.layer(scope, key)
    after = call.after("layer-history", int)
    before = int(after[0]) if after else None
    found = await call.desks.layers.layer_revisions(scope, key, before=before, limit=ROWS + 1)
    last = (found[ROWS - 1].revision,) if len(found) > ROWS else None
    cursor = written_cursor("layer-history", last)
    names = await names_of(call, [key] if scope is Scope.ACCOUNT else [], [key] if scope is Scope.SITE else [])
    values = {
        "layer": layer,
        "title": title_of(layer, names),
        "path": address(scope, layer.key),
        "rows": [(one, _entries(one)) for one in found[:ROWS]],
        "next": str(call.request.rel_url.update_query(cursor=cursor)) if cursor else "",
        "may_write": call.may(Right.LAYER_WRITE),
    }
    return View("layer_history.html.j2", values)


def _entries(one: LayerRevision) -> list[dict[str, str]]:
    """What each entry said before and has said since."""
    masked = Masked()
    was, now = {**one.was.values, **one.was.raw}, {**one.now.values, **one.now.raw}
    return [
        {
            "name": name,
            "before": text_of(masked.value(name, was[name])) if name in was else "",
            "after": text_of(masked.value(name, now[name])) if name in now else "",
        }
        for name in one.names
    ]


@revisions.post("/layers/{scope}/revert", Right.LAYER_WRITE, again=_history)
async def revert_layer(call: Call) -> Answer:
    """Take one change of a layer back; where many phones are concerned it is asked about first."""
    scope, key = place_of(call)
    revision = _revision(call)
    try:
        found = await call.desks.layers.revert_layer(
            scope, key, revision, confirm=confirmed(call), canary=canary_of(call)
        )
    except WideChange:
        return await _asked(call, scope, key, revision)
    said = saved(found).replace("Saved", f"Revision {revision} is taken back", 1)
    return See(address(scope, found.layer.key), said)


async def _asked(call: Call, scope: Scope, key: str, revision: int) -> Answer:
    desk = call.desks.layers
    layer = await call.desks.fleet.layer(scope, key)
    wanted = await desk.rehearse_revert(scope, key, revision)
    effect = await effect_of(wanted, await desk.concerned(scope, key), call.means.renders.of)
    names = await names_of(call, [key] if scope is Scope.ACCOUNT else [], [key] if scope is Scope.SITE else [])
    values = {
        "layer": layer, "title": title_of(layer, names), "path": address(scope, layer.key), "revision": revision,
        "changes": changes(wanted, layer), "effect": effect, "shown": shown_of(effect),
    }  # fmt: skip
    return View("layer_revert.html.j2", values)


# --- changes on their way -------------------------------------------------------------------------


@revisions.get("/rollouts", Right.LAYER_READ)
async def list_rollouts(call: Call) -> Answer:
    """Changes that reach phones in steps, and those that did."""
    return await _rollouts(call)


@revisions.get("/live/rollouts", Right.LAYER_READ)
async def live_rollouts(call: Call) -> Answer:
    """The part that changes by itself."""
    return View("rollouts_live.html.j2", await _listed(call))


async def _rollouts(call: Call) -> Answer:
    return View("rollouts.html.j2", await _listed(call))


async def _listed(call: Call) -> dict[str, Any]:
    desk = call.desks.layers
    found = await desk.rollouts(limit=ROWS)
    owners = [one.key for one in found if one.scope is Scope.ACCOUNT]
    names = await names_of(call, owners, [one.key for one in found if one.scope is Scope.SITE])
    return {
        "open": [await desk.rollout(one.id) for one in found if one.ended is None],
        "over": [one for one in found if one.ended is not None],
        "where": {one.id: _where(one, names) for one in found},
        "may_write": call.may(Right.LAYER_WRITE),
    }


def _where(one: Rollout, names: Any) -> tuple[str, str]:
    """Address and title of its layer."""
    title = "Defaults" if one.scope is Scope.DEFAULTS else f"{one.scope.value} {names.get(one.key, one.key)}"
    return address(one.scope, one.key), title


@revisions.post("/rollouts/{rollout}/promote", Right.LAYER_WRITE, again=_rollouts)
async def promote_rollout(call: Call) -> Answer:
    """The next step now, or all phones."""
    everybody = call.form.flag("everybody")
    found = await call.desks.layers.promote_rollout(call.place("rollout"), everybody=everybody)
    reached = (await call.desks.layers.rollout(found.id)).reached
    return See("/rollouts", f"{reached:,} of {found.phones:,} phones get revision {found.revision} now.")


@revisions.post("/rollouts/{rollout}/halt", Right.LAYER_WRITE, again=_rollouts)
async def halt_rollout(call: Call) -> Answer:
    """No further phone gets it."""
    found = await call.desks.layers.halt_rollout(call.place("rollout"))
    return See("/rollouts", f"No further phone gets revision {found.revision}. Promote it, or take it back.")


# --- lines ----------------------------------------------------------------------------------------


@revisions.get("/devices/{mac}/lines", Right.DEVICE_READ)
async def show_line_history(call: Call) -> Answer:
    """What was on a device's lines, the newest change first."""
    return await _line_history(call)


async def _line_history(call: Call) -> Answer:
    values = await about(call)
    cursor = call.after("line-history", int, int)
    after = (int(cursor[0]), int(cursor[1])) if cursor else None
    found = await call.desks.layers.line_revisions(call.mac, after=after, limit=ROWS + 1)
    last = (found[ROWS - 1].revision, found[ROWS - 1].line) if len(found) > ROWS else None
    following = written_cursor("line-history", last)
    more = str(call.request.rel_url.update_query(cursor=following)) if following else ""
    return View("line_history.html.j2", {**values, "rows": found[:ROWS], "next": more})


@revisions.post("/devices/{mac}/lines/revert", Right.DEVICE_BIND, again=_line_history)
async def revert_lines(call: Call) -> Answer:
    """Put back what a change has done to its lines."""
    revision = _revision(call)
    found = await call.desks.layers.revert_lines(call.mac, revision)
    lines = ", ".join(
        f"line {one.line} of {one.mac.colons} has {one.was.number if one.was else 'nothing'}" for one in found.lines
    )
    numbers = ", ".join(found.exchanged)
    secrets = f" The PBX has to read the new SIP password of {numbers}." if numbers else ""
    return See(f"/devices/{call.mac}", f"Revision {revision} is taken back: {lines}.{secrets}")
