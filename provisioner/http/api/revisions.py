"""Revisions: what each change of a layer or of a device's lines was, and taking one back."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from provisioner.fleet.device_search import Page
from provisioner.http.api.cursors import paged, read_cursor
from provisioner.http.api.devices import show_device
from provisioner.http.api.layers import Canary, Confirm, Effect, place, show_layer, shown_effect
from provisioner.http.api.rollouts import Rollout, told
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.status import plain
from provisioner.http.api.words import LARGEST, Fields, Given, Id, Moment, Paged, Told, Turning
from provisioner.model import ConfigLayer, Scope
from provisioner.preview import Masked
from provisioner.rights import Right
from provisioner.store.layer_history import LayerRevision
from provisioner.store.line_history import LineRevision

revisions = Routes(
    "revisions",
    "Every change of a layer or of a line is kept with who, when, before and after, and can be taken back. That is a "
    "change of its own; it is refused where what was changed has been changed again.",
)


class Said(Told):
    """Entries of a layer, secrets hidden."""

    values: dict[str, Any]
    raw: dict[str, str]


class Revision(Told):
    """One change of a layer."""

    revision: int
    scope: Scope
    key: str
    at: Moment
    actor: str
    reverts: Annotated[int | None, Field(description="The revision that it took back")]
    before: Annotated[Said, Field(description="What the entries that changed said; a missing one was not set")]
    after: Annotated[Said, Field(description="What they have said since")]


class Placed(Told):
    """An extension on a line."""

    extension: Id
    number: str
    label: str


class LineRevisionRow(Told):
    """One change of a line."""

    revision: int
    mac: str
    line: int
    at: Moment
    actor: str
    before: Annotated[Placed | None, Field(description="null: nothing was on it")]
    after: Placed | None


class RevertWish(Given):
    """How a change of a layer is taken back."""

    confirm: Confirm = None
    canary: Canary = None


class Reverted(Told):
    """What has come of it."""

    revision: Annotated[int, Field(description="By which this can be taken back in its turn")]
    phones: Annotated[int, Field(description="For how many phones the layer is")]
    rollout: Annotated[Rollout | None, Field(description="How it reaches them, where they are told")]
    how: Annotated[str, Field(description="The same in words; empty where all get it with their next fetch")]


class RevertedLines(Told):
    """Lines that have what they had before."""

    lines: list[LineRevisionRow]
    campaign: Annotated[str, Field(description="The resync that tells the phones; empty where nobody had to be told")]
    exchanged: Annotated[list[str], Field(description="Numbers that have another SIP password: the PBX has to read it")]


def _said(layer: ConfigLayer) -> Said:
    masked = Masked()
    values = {name: plain(value) for name, value in sorted(layer.values.items())}
    return Said(values=values, raw={name: str(masked.value(name, one)) for name, one in sorted(layer.raw.items())})


def _revision(one: LayerRevision) -> Revision:
    return Revision(
        revision=one.revision, scope=one.scope, key=one.key, at=one.at, actor=one.actor, reverts=one.reverts,  # type: ignore[arg-type]  # Unix time becomes a Moment
        before=_said(one.was), after=_said(one.now),
    )  # fmt: skip


def _line(one: LineRevision) -> LineRevisionRow:
    row = {name: getattr(one, name) for name in ("revision", "mac", "line", "at", "actor")}
    before = Placed.model_validate(one.was) if one.was else None
    return LineRevisionRow(**row, before=before, after=Placed.model_validate(one.now) if one.now else None)


@revisions.get("/layers/{scope}/{key}/revisions", Right.LAYER_READ, Paged[Revision], query=Turning)
async def list_layer_revisions(call: AnyCall) -> Paged[Revision]:
    """What each change of a layer was, the newest first; of a layer that one may change."""
    limit = call.query.limit
    cursor = read_cursor("layer", call.query.cursor, int)
    before = int(cursor[0]) if cursor else None
    found = await call.desks.layers.layer_revisions(*place(call), before=before, limit=limit + 1)
    key = (found[limit - 1].revision,) if len(found) > limit else None
    return paged("layer", Page(found[:limit], key), Revision, _revision)


@revisions.get("/layers/{scope}/{key}/revisions/{revision}", Right.LAYER_READ, Revision, query=Fields)
async def show_layer_revision(call: AnyCall) -> Revision:
    """One change of a layer."""
    return _revision(await call.desks.layers.layer_revision(*place(call), call.number("revision", LARGEST)))


@revisions.post(
    "/layers/{scope}/{key}/revisions/{revision}/preview",
    Right.LAYER_WRITE,
    told=Effect,
    version=show_layer,
    tags=False,
    whole=False,
)
async def preview_revert(call: AnyCall) -> Effect:
    """How many phones taking it back would concern, and what some of each model would get; nothing is kept."""
    wanted = await call.desks.layers.rehearse_revert(*place(call), call.number("revision", LARGEST))
    return await shown_effect(call, wanted)


@revisions.post(
    "/layers/{scope}/{key}/revisions/{revision}/revert",
    Right.LAYER_WRITE,
    body=RevertWish,
    told=Reverted,
    version=show_layer,
    tags=False,
)
async def revert_layer(call: AnyCall) -> Reverted:
    """Let the entries that it touched say what they said before it; the layer's others stay.

    A change that is being rolled out is taken back at once. 409 names what stands in the way, or how many phones are
    concerned.
    """
    given: RevertWish = call.body
    found = await call.desks.layers.revert_layer(
        *place(call), call.number("revision", LARGEST), confirm=given.confirm, canary=given.canary
    )
    rollout = told(found.rollout) if found.rollout else None
    return Reverted(revision=found.revision, phones=found.phones, rollout=rollout, how=found.told)


@revisions.get("/devices/{mac}/line-revisions", Right.DEVICE_READ, Paged[LineRevisionRow], query=Turning)
async def list_line_revisions(call: AnyCall) -> Paged[LineRevisionRow]:
    """What each change of a device's lines was, the newest first."""
    limit = call.query.limit
    cursor = read_cursor("line", call.query.cursor, int, int)
    after = (int(cursor[0]), int(cursor[1])) if cursor else None
    found = await call.desks.layers.line_revisions(call.mac, after=after, limit=limit + 1)
    key = (found[limit - 1].revision, found[limit - 1].line) if len(found) > limit else None
    return paged("line", Page(found[:limit], key), LineRevisionRow, _line)


@revisions.post(
    "/devices/{mac}/line-revisions/{revision}/revert",
    Right.DEVICE_BIND,
    told=RevertedLines,
    version=show_device,
    tags=False,
)
async def revert_lines(call: AnyCall) -> RevertedLines:
    """Put back what a change has taken off this device's lines or put on them, and what hangs on that: an extension
    that it moved from another phone goes back there. All of it or nothing, and the phones are told.
    """
    found = await call.desks.layers.revert_lines(call.mac, call.number("revision", LARGEST))
    lines = [_line(one) for one in found.lines]
    return RevertedLines(lines=lines, campaign=found.campaign, exchanged=list(found.exchanged))
