"""Phones that leave somebody: the swap of an old one for a new one, and the wipe of all that a device was told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from provisioner.fleet import swap_plan
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import AMac, Asked, Fields, Given, Id, Maybe, MaybeMoment, MaybeText, Told
from provisioner.model import Mac
from provisioner.rights import Right

swaps = Routes(
    "swap and wipe",
    "A new phone for an old one, in one transaction; and devices that are to forget what this server told them.",
)


class Wipe(Told):
    """What a device is to forget, and how far it is."""

    lines: Annotated[list[int], Field(description="Lines that had an extension: they are emptied by name")]
    everything: Annotated[
        bool, Field(description="All goes back to the maker's; it is served nothing else until it has a line again")
    ]
    pending: Annotated[bool, Field(description="It has not fetched that yet, so it may still know it")]
    since: Annotated[MaybeMoment, Field(description="When it was asked for; null where nothing is")]
    fetched: MaybeMoment
    replaced_by: Annotated[Maybe, Field(description="The device that took its place")]


class WipeAsked(Asked):
    """How much of it."""

    unbind: Annotated[bool, Field(description="Free its lines, too; otherwise a device with lines is refused")] = False


class SwapWanted(Given):
    """Which phone comes."""

    new: AMac
    dry_run: Annotated[bool, Field(description="Only say what would come of it")] = False
    plan: Annotated[MaybeText, Field(description="`plan` of a dry run: needed where something is lost")] = ""
    vendor: Annotated[MaybeText, Field(description="Of a phone that nobody has added")] = ""
    model: Annotated[MaybeText, Field(description="Of a phone that nobody has added")] = ""


class Move(Told):
    """A line that the new phone takes over."""

    extension: Id
    number: str
    label: str
    line: int
    to: int


class SwapDifference(Told):
    """Something that is otherwise afterwards."""

    what: swap_plan.What
    name: str
    why: str
    lost: Annotated[bool, Field(description="Somebody will miss it")]


class Swap(Told):
    """What comes of it, or would."""

    plan: Annotated[str, Field(description="Names exactly this, for whoever goes on")]
    done: bool
    old: str
    new: str
    old_model: str
    new_model: str
    moves: list[Move]
    differences: list[SwapDifference]
    exchanged: Annotated[list[str], Field(description="Numbers that get another SIP password: the PBX has to read it")]
    told: Annotated[list[str], Field(description="Phones that are told to fetch; the others get it when they come")]


async def _wipe(call: AnyCall) -> Wipe:
    return Wipe.model_validate(await call.desks.fleet.wipe(call.mac))


@swaps.get("/devices/{mac}/wipe", Right.DEVICE_READ, Wipe, query=Fields)
async def show_wipe(call: AnyCall) -> Wipe:
    """What a device is to forget, since when, and when it fetched what empties it."""
    return await _wipe(call)


@swaps.post("/devices/{mac}/wipe", Right.DEVICE_WIPE, told=Wipe, query=WipeAsked)
async def wipe_device(call: AnyCall) -> Wipe:
    """Have a device put back all that this server has told it, and restart; where it fetches from stays."""
    return Wipe.model_validate(await call.desks.fleet.wipe_device(call.mac, unbind=call.query.unbind))


@swaps.delete("/devices/{mac}/wipe", Right.DEVICE_WIPE, told=Wipe)
async def end_wipe(call: AnyCall) -> Wipe:
    """Serve a wiped device as any other again."""
    return Wipe.model_validate(await call.desks.fleet.end_wipe(call.mac))


@swaps.post("/devices/{mac}/swap", Right.DEVICE_BIND, body=SwapWanted, told=Swap)
async def swap_device(call: AnyCall) -> Swap:
    """Put a new phone in a device's place: lines, settings of its own and site go over, and the old one is wiped.
    What the new one lacks is a loss; a swap with losses names the `plan` of a dry run.
    """
    given: SwapWanted = call.body
    new, about = Mac(given.new), {"vendor": given.vendor, "model": given.model}
    if given.dry_run:
        return _told(await call.desks.swaps.plan_swap(call.mac, new, **about), [], done=False)
    made = await call.desks.swaps.swap(call.mac, new, plan=given.plan, **about)
    return _told(made.plan, [str(one) for one in made.told], done=True)


def _told(plan: swap_plan.SwapPlan, told: list[str], *, done: bool) -> Swap:
    return Swap(
        plan=plan.token,
        done=done,
        old=plan.old,
        new=plan.new,
        old_model=plan.old_model,
        new_model=plan.new_model,
        moves=[Move.model_validate(one) for one in plan.moves],
        differences=[SwapDifference.model_validate(one) for one in plan.differences],
        exchanged=list(plan.exchanged),
        told=told,
    )
