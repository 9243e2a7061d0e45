"""Rollouts: changes of layers that reach many phones step by step, watched, and halted when phones stop coming back."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from provisioner.errors import NotFound
from provisioner.fleet.device_search import Page
from provisioner.fleet.rollouts import Progress
from provisioner.http.api.cursors import paged, read_cursor
from provisioner.http.api.layers import place
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import Fields, Given, Id, MaybeMoment, Moment, Paged, Told, Turning
from provisioner.model import Scope
from provisioner.rights import Right
from provisioner.rollout_states import RolloutState
from provisioner.store import rollouts as rows

rollouts = Routes(
    "rollouts",
    "A change of a layer that many phones get reaches a few of them first. The server tells these to fetch, looks "
    "whether they come back, and goes a step further or halts by itself. It is reverted by its revision.",
)


class Rollout(Told):
    """A change on its way to phones."""

    id: Id
    scope: Scope
    key: str
    revision: Annotated[int, Field(description="The change of the layer")]
    state: RolloutState
    percent: Annotated[
        float, Field(description="The share that it has come to; of few phones not what was asked: one at least begins")
    ]
    step: int
    phones: Annotated[int, Field(description="For how many the layer was when it began")]
    actor: str
    begun: Moment
    since: Annotated[Moment, Field(description="When its step, or its state, began")]
    campaign: Annotated[str, Field(description="The resync of its step; empty before that")]
    why: Annotated[str, Field(description="Why it was halted; else empty")]
    ended: MaybeMoment


class RolloutProgress(Rollout):
    """The same with its phones: those of its step that were told, or wait for it."""

    reached: Annotated[int, Field(description="Phones that get the new value by now; of more than 10,000 reckoned")]
    back: Annotated[int, Field(description="Have fetched it")]
    missing: Annotated[int, Field(description="Were told and have not come back in time")]
    waiting: Annotated[int, Field(description="Their turn, or their time, is not over")]
    silent: Annotated[int, Field(description="Not told: they ask by themselves, or are off")]
    elsewhere: Annotated[int, Field(description="Asked by others as well: they say nothing for or against it")]


class RolloutsAsked(Turning):
    """Which of them."""

    under_way: Annotated[bool, Field(description="Only those that are not over")] = False


class Promotion(Given):
    """How far."""

    everybody: Annotated[bool, Field(description="All phones now, instead of the next step")] = False


def told(one: rows.Rollout) -> Rollout:
    """As it is answered."""
    return Rollout.model_validate(one)


def _progress(one: Progress) -> RolloutProgress:
    counts = {name: getattr(one.tally, name) for name in ("back", "missing", "waiting", "silent", "elsewhere")}
    return RolloutProgress(**told(one.rollout).model_dump(), reached=one.reached, **counts)


@rollouts.get("/rollouts", Right.LAYER_READ, Paged[Rollout], query=RolloutsAsked)
async def list_rollouts(call: AnyCall) -> Paged[Rollout]:
    """Rollouts of layers that one may change, the newest first."""
    query: RolloutsAsked = call.query
    after = read_cursor("rollouts", query.cursor, float, str)
    found = await call.desks.layers.rollouts(
        under_way=query.under_way, after=(float(after[0]), str(after[1])) if after else None, limit=query.limit + 1
    )
    last = found[query.limit - 1] if len(found) > query.limit else None
    return paged("rollouts", Page(found[: query.limit], (last.begun, last.id) if last else None), Rollout, told)


@rollouts.get("/rollouts/{rollout}", Right.LAYER_READ, RolloutProgress, query=Fields)
async def show_rollout(call: AnyCall) -> RolloutProgress:
    """One rollout, and where the phones of its step are."""
    return _progress(await call.desks.layers.rollout(call.path["rollout"]))


@rollouts.get("/layers/{scope}/{key}/rollout", Right.LAYER_READ, RolloutProgress, query=Fields)
async def show_layer_rollout(call: AnyCall) -> RolloutProgress:
    """The change of a layer that is on its way to phones; 404 where none is."""
    found = await call.desks.layers.rollout_of(*place(call))
    if found is None:
        raise NotFound("no change of this layer is on its way")
    return _progress(found)


@rollouts.post(
    "/rollouts/{rollout}/promote", Right.LAYER_WRITE, body=Promotion, told=Rollout, version=show_rollout, tags=False
)
async def promote_rollout(call: AnyCall) -> Rollout:
    """Go a step further now, or to all phones; one that was halted goes on."""
    return told(await call.desks.layers.promote_rollout(call.path["rollout"], everybody=call.body.everybody))


@rollouts.post("/rollouts/{rollout}/halt", Right.LAYER_WRITE, told=Rollout, version=show_rollout, tags=False)
async def halt_rollout(call: AnyCall) -> Rollout:
    """Tell no further phone, and give the new value to none; who has it keeps it."""
    return told(await call.desks.layers.halt_rollout(call.path["rollout"]))
