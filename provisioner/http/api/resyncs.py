"""Telling phones to fetch again, in waves within the campaign's budget."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, model_validator

from provisioner.errors import Conflict, Forbidden
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import (
    AMac,
    Asked,
    Fields,
    Given,
    MaybeMoment,
    MaybeRef,
    Moment,
    Told,
    moment,
)
from provisioner.model import Mac
from provisioner.resync.resync import Draft, Whom
from provisioner.resync_states import Standing, State
from provisioner.rights import Right
from provisioner.shaping import campaign_pace

resyncs = Routes("resyncs", "Campaigns that tell phones to fetch again, in waves, never a whole site at once.")

_ALONE: Final = 1.0
"""Boots a second: one phone needs no measured capacity."""


class ResyncWish(Given):
    """Who is meant: one device, an account's devices, or all."""

    mac: AMac | None = None
    account: MaybeRef = ""
    changed: Annotated[bool, Field(description="Only phones that would get other files than they have")] = False
    reboot: Annotated[bool, Field(description="Restart them, where the model knows the difference")] = False
    capacity: Annotated[
        float | None, Field(gt=0, le=1e6, description="Boots a second of this node; null: as measured by its workers")
    ] = None
    dry_run: Annotated[bool, Field(description="Say who would be told and when; tell nobody")] = False

    @model_validator(mode="after")
    def _meant(self) -> ResyncWish:
        if self.mac and self.account:
            raise ValueError("a MAC is one phone: account has no meaning beside it")
        if not (self.mac or self.account or self.changed):
            raise ValueError("say who is meant: mac, account or changed")
        return self


class Turn(Told):
    """When a phone is told."""

    mac: str
    due: Moment
    wave: int


class Campaign(Told):
    """What was begun, or would be."""

    campaign: Annotated[str, Field(description="Empty where nobody is told")]
    devices: int
    waves: int
    until: MaybeMoment
    left_out: Annotated[dict[str, int], Field(description="How many devices are not told, by why")]
    broken: Annotated[dict[str, str], Field(description="Why some of them would get nothing; the first hundred")]
    turns: Annotated[list[Turn], Field(description="The first hundred")]


class Whose(Fields):
    """Whose turns."""

    campaign: Annotated[str, Field(max_length=40, pattern="^[0-9a-f]*$")] = ""
    mac: Annotated[str, Field(max_length=40)] = ""
    account: MaybeRef = ""
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class Waiting(Asked):
    """Who is told no more."""

    mac: Annotated[str, Field(max_length=40)] = ""
    account: MaybeRef = ""


class Where(Told):
    """A device on its way to its newest configuration."""

    mac: str
    campaign: str
    state: State
    way: str
    wave: int
    due: Moment
    since: Moment
    tries: int
    result: str
    what: Annotated[str, Field(description="What is waited for, in words")]


class Wheres(Told):
    """Devices on their way."""

    items: list[Where]


class Counts(Told):
    """How many devices are in each state."""

    states: dict[str, int]


class Stopped(Told):
    """How many are told no more."""

    stopped: int


async def bounded(call: AnyCall, mac: str, account: str) -> tuple[Mac | None, str]:
    """Who is meant, when the caller reaches all of them."""
    if mac:
        return (await call.desks.fleet.device(Mac.parse(mac))).mac, ""
    reach = call.desks.principal.reach
    if account:
        found = await call.desks.search.account(account)
        if not reach.whole(found.id):
            raise Forbidden(f"only devices one by one are in reach of {call.principal.actor} in this account")
        return None, found.id
    if reach.accounts is not None:
        raise Forbidden("say a MAC or an account: not everything is in reach")
    return None, ""


async def draft(call: AnyCall) -> Draft:
    """Look at who is meant: outside of the transaction, as a whole fleet takes its time."""
    given: ResyncWish = call.body
    mac, account = await bounded(call, given.mac or "", given.account)
    settings = call.means.settings
    capacity = given.capacity
    if capacity is None and mac is None:
        measured = call.means.capacity()
        if measured is None:
            raise Conflict("nobody has measured what this node can serve: give its capacity in boots a second")
        capacity = measured.boots
    rate = campaign_pace(capacity or _ALONE, settings.storm_campaign)
    whom = Whom(mac, account, given.changed, given.reboot)
    return await call.desks.resync.plan(whom, rate, call.means.base_urls())


@resyncs.post("/resyncs", Right.RESYNC, body=ResyncWish, told=Campaign, status=202, prepare=draft)
async def begin_resync(call: AnyCall) -> Campaign:
    """Have a phone, an account's phones, or all whose files have changed, fetch their configuration again."""
    made: Draft = call.ready
    name = "" if call.body.dry_run else await call.desks.resync.begin(made)
    return Campaign(
        campaign=name,
        devices=len(made.turns),
        waves=made.waves,
        until=moment(made.until) if made.until else None,
        left_out={why.value: number for why, number in sorted(made.left_out.items())},
        broken={str(mac): why for mac, why in made.broken.items()},
        turns=[Turn(mac=one.mac, due=moment(one.due), wave=one.wave + 1) for one in made.turns[:100]],
    )


@resyncs.get("/resyncs", Right.DEVICE_READ, Wheres, query=Whose)
async def list_standings(call: AnyCall) -> Wheres:
    """How far those are that were told, or wait for it, in the order of their turns."""
    query: Whose = call.query
    mac, account = await bounded(call, query.mac, query.account)
    found = await call.desks.resync.standings(campaign=query.campaign, account=account, mac=mac, limit=query.limit)
    now = call.means.clock()
    return Wheres(items=[_where(one, now) for one in found])


def _where(one: Standing, now: float) -> Where:
    names = ("mac", "campaign", "state", "due", "since", "tries", "result")
    told = {name: getattr(one, name) for name in names}
    return Where(**told, way=one.way.value, wave=one.wave + 1, what=one.told(now))


@resyncs.get("/resyncs/{campaign}/counts", Right.DEVICE_READ, Counts)
async def count_standings(call: AnyCall) -> Counts:
    """How many devices of a campaign are in each state; for who reaches everything."""
    await bounded(call, "", "")
    found = await call.desks.resync.counts(call.path["campaign"])
    return Counts(states={state.value: found.get(state, 0) for state in State})


@resyncs.delete("/resyncs", Right.RESYNC, told=Stopped, query=Waiting)
async def stop_resync(call: AnyCall) -> Stopped:
    """Tell nobody any more who waits for it; who was told already restarts all the same."""
    mac, account = await bounded(call, call.query.mac, call.query.account)
    return Stopped(stopped=await call.desks.resync.stop(account, mac))
