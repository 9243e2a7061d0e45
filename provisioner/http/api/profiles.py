"""The profile listener: open it for a while, and read what phones that came can do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from provisioner.capability import Card
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import Fields, Given, Id, Maybe, MaybeMoment, Moment, Told, moment
from provisioner.model import Mac
from provisioner.rights import Right
from provisioner.store.cards import Window

profiles = Routes(
    "profile",
    "What phones can do: a listener of weak TLS that serves nothing, opened for a while, and a card of each phone that "
    "came.",
)


class ProfileWindow(Told):
    """When the profile listener is open."""

    open: bool
    until: MaybeMoment
    actor: Annotated[Maybe, Field(description="Who opened it last")]
    ask: Annotated[Maybe, Field(description="Which scheme callers are asked for; null: none")]
    listening: Annotated[Maybe, Field(description="Address and port; null while no server listens")]
    trouble: Annotated[Maybe, Field(description="Why none can")]


class ProfileOpening(Given):
    """For how long, and whether callers are asked for credentials."""

    minutes: Annotated[float, Field(gt=0, le=1440)] = 30.0
    ask: Literal["", "digest"] = ""


class Ability(Told):
    """One thing that a phone has shown."""

    name: str
    value: str


class CapabilityCard(Told):
    """What one phone has shown."""

    id: Id
    mac: Annotated[Maybe, Field(description="Proven, or what the caller says; null where they say nothing")]
    proven: Annotated[bool, Field(description="A certificate of a trusted maker has proven it")]
    vendor: Maybe
    model: Maybe
    address: str
    first: Moment
    last: Moment
    times: Annotated[int, Field(description="Connections")]
    abilities: list[Ability]


class CapabilityCards(Told):
    """The one seen last first."""

    items: list[CapabilityCard]


class CardsAsked(Fields):
    """Whose."""

    mac: Annotated[str, Field(default="", max_length=40, description="Only this one's")]
    address: Annotated[str, Field(default="", max_length=60, description="Only of who came from this IP address")]
    limit: Annotated[int, Field(default=100, ge=1, le=500, description="Cards at most")]


def _window(found: Window, now: float) -> ProfileWindow:
    is_open = found.is_open(now)
    return ProfileWindow(
        open=is_open,
        until=moment(found.until) if found.number else None,
        actor=found.actor,
        ask=found.ask,
        listening=found.listening if is_open else "",
        trouble=found.trouble if is_open else "",
    )


def told_card(one: Card) -> CapabilityCard:
    """As it is answered."""
    names = ("id", "mac", "proven", "vendor", "model", "address", "first", "last", "times")
    abilities = [Ability(name=name, value=value) for name, value in one.lines()]
    return CapabilityCard(**{name: getattr(one, name) for name in names}, abilities=abilities)


@profiles.get("/profile", Right.PROFILE, ProfileWindow, query=Fields)
async def show_profile(call: AnyCall) -> ProfileWindow:
    """Whether the profile listener is open, until when, and where."""
    return _window(await call.desks.profiling.profile_window(), call.means.clock())


@profiles.post("/profile/open", Right.PROFILE, body=ProfileOpening, told=ProfileWindow)
async def open_profile(call: AnyCall) -> ProfileWindow:
    """Open it for so long; a running server listens within a second."""
    given: ProfileOpening = call.body
    return _window(await call.desks.profiling.open_profile(given.minutes, ask=given.ask), call.means.clock())


@profiles.post("/profile/close", Right.PROFILE, told=ProfileWindow)
async def close_profile(call: AnyCall) -> ProfileWindow:
    """Close it before its time; closed it stays closed."""
    await call.desks.profiling.close_profile()
    return _window(await call.desks.profiling.profile_window(), call.means.clock())


@profiles.get("/profile/cards", Right.PROFILE, CapabilityCards, query=CardsAsked)
async def list_cards(call: AnyCall) -> CapabilityCards:
    """What phones have shown, all or one's."""
    query: CardsAsked = call.query
    mac = Mac.parse(query.mac) if query.mac else None
    found = await call.desks.profiling.capability_cards(mac=mac, address=query.address, limit=query.limit)
    return CapabilityCards(items=[told_card(one) for one in found])
