"""The power of phones: taken for a while where it is certain which port that is, and brought back in every case."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from provisioner.cycle_states import CYCLE_WORDS, CycleState
from provisioner.fleet.device_search import Page
from provisioner.http.api.cursors import paged, read_cursor
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import (
    AMac,
    Fields,
    Given,
    Id,
    Maybe,
    MaybeMoment,
    MaybeRef,
    Moment,
    Paged,
    Told,
    Turning,
)
from provisioner.model import Mac
from provisioner.rights import Right
from provisioner.store.power_cycles import PowerCycle
from provisioner.switches.switches import LONGEST, SHORTEST, USUAL

power = Routes("power", "Taking the power from a phone for a while, by the switch that it is plugged into.")


class PowerWish(Given):
    """How long."""

    seconds: Annotated[float, Field(ge=SHORTEST, le=LONGEST)] = USUAL


class ACycle(Told):
    """A port that is switched off for a while."""

    id: int
    mac: str
    account: Id
    switch: Maybe
    port: str
    poe: str
    seconds: float
    state: CycleState
    words: str
    actor: str
    cause: str
    asked_at: Moment
    off_at: MaybeMoment
    ended: MaybeMoment
    result: str


class CyclesAsked(Turning):
    """Whose."""

    mac: AMac | None = None
    switch: MaybeRef = ""


class PowerPolicy(Told):
    """Whether phones of a site that a resync does not reach may be switched off by themselves."""

    allowed: bool


class PowerPolicyChange(Given):
    """Whether they may."""

    allowed: bool


@power.post("/devices/{mac}/power-cycle", Right.POWER_CYCLE, body=PowerWish, told=ACycle, status=202)
async def begin_power_cycle(call: AnyCall) -> ACycle:
    """Take the power from a phone for a minute; the server looks first whether it may, and brings it back."""
    return _cycle(await call.desks.switches.power_cycle(call.mac, seconds=call.body.seconds))


def _cycle(one: PowerCycle) -> ACycle:
    told: dict[str, Any] = {name: getattr(one, name) for name in ACycle.model_fields if name != "words"}
    return ACycle.model_validate(told | {"words": CYCLE_WORDS[one.state]})


@power.get("/power-cycles", Right.SWITCH_READ, Paged[ACycle], query=CyclesAsked)
async def list_power_cycles(call: AnyCall) -> Paged[ACycle]:
    """Whose power was taken, by whom, and what came of it, the newest first."""
    query: CyclesAsked = call.query
    last = read_cursor("power-cycles", query.cursor, int)
    found = await call.desks.switches.cycles(
        mac=Mac(query.mac) if query.mac else None, switch=query.switch, before=int(last[0]) if last else 0,
        limit=query.limit,
    )  # fmt: skip
    end = (found[-1].id,) if len(found) == query.limit else None
    return paged("power-cycles", Page(found, end), ACycle, _cycle)


@power.get("/power-cycles/{cycle}", Right.SWITCH_READ, ACycle)
async def show_power_cycle(call: AnyCall) -> ACycle:
    """How far one is."""
    return _cycle(await call.desks.switches.cycle(call.number("cycle", 2**53)))


@power.post("/power-cycles/{cycle}/restored", Right.POWER_CYCLE, told=ACycle, version=show_power_cycle)
async def power_restored_by_hand(call: AnyCall) -> ACycle:
    """Say that somebody has switched the port on at the switch, which cannot be asked: nobody tries any more."""
    return _cycle(await call.desks.switches.restored_by_hand(call.number("cycle", 2**53)))


@power.get("/sites/{site}/power-policy", Right.POLICY_READ, PowerPolicy, query=Fields)
async def show_power_policy(call: AnyCall) -> PowerPolicy:
    """Whether phones of a site that a resync does not reach may be switched off for a minute by themselves."""
    return PowerPolicy(allowed=await call.desks.switches.power_allowed(call.path["site"]))


@power.put(
    "/sites/{site}/power-policy", Right.POLICY_WRITE, body=PowerPolicyChange, told=PowerPolicy,
    version=show_power_policy,
)  # fmt: skip
async def change_power_policy(call: AnyCall) -> PowerPolicy:
    """Let them, or do not; they may not unless somebody has said it."""
    return PowerPolicy(allowed=await call.desks.switches.allow_power(call.path["site"], allowed=call.body.allowed))
