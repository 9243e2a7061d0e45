"""The installation itself: its settings in use, its devices counted, what a storm plan has set, what leaves it."""

from __future__ import annotations

from dataclasses import MISSING
from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import make_url

from provisioner.fleet.device_search import Page
from provisioner.http.api.cursors import paged, read_cursor
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.status import plain
from provisioner.http.api.words import Given, MaybeMoment, MaybeRef, Moment, Paged, Text, Told, Turning
from provisioner.outbox_states import MessageState
from provisioner.rights import Right
from provisioner.settings import knobs

house = Routes("server", "The installation itself.")
messages = Routes("messages", "What waits to leave this server, and what was given up; never what it says.")

_DAY: Final = 86_400.0


class Knob(Told):
    """A setting of the server, as it is in use."""

    name: str
    value: Any
    default: Any
    unit: str
    why: str


class Knobs(Told):
    """All settings in use."""

    items: list[Knob]


class DeviceCount(Told):
    """Devices of one vendor in one state."""

    vendor: str
    state: str
    devices: int
    active: Annotated[int, Field(description="Those that have fetched anything within the last day")]


class Census(Told):
    """How many devices there are."""

    items: list[DeviceCount]


class Shaped(Told):
    """A value that a storm plan has set in a vendor's layer."""

    vendor: str
    setting: str
    value: Any
    before: Annotated[Any, Field(description="What the layer said before; null where it said nothing")]


class Shapes(Told):
    """All values that plans have set and nobody has changed since."""

    items: list[Shaped]


class Shape(Given):
    """Values to set, by vendor and setting; null takes back what a plan had set there."""

    vendors: Annotated[dict[Text, dict[Text, Any]], Field(min_length=1, max_length=20)]


class Message(Told):
    """A message of the outbox."""

    id: int
    kind: str
    account: str
    subject: str
    title: str
    state: MessageState
    attempts: int
    created: Moment
    next_at: Moment
    until: Moment
    ended: MaybeMoment
    last_error: str


class ReplayWish(Given):
    """Which messages that were given up are to be sent again."""

    kind: Text
    account: MaybeRef = ""


class MessagesReplayed(Told):
    """How many are sent again."""

    replayed: int


class MessagesAsked(Turning):
    """Which messages."""

    account: MaybeRef = ""
    state: MessageState | None = None


@house.get("/settings", Right.SERVER_READ, Knobs)
async def list_knobs(call: AnyCall) -> Knobs:
    """Every setting of the server as it is in use, its default, its unit and why it is there."""
    settings = call.means.settings
    return Knobs(
        items=[
            Knob(name=name, value=used(name, getattr(settings, one.name)),
                 default=None if one.default is MISSING else plain(one.default), unit=one.metadata["unit"],
                 why=one.metadata["why"])
            for name, one in knobs()
        ]
    )  # fmt: skip


def used(name: str, value: object) -> Any:
    """The database's address may have a password in it."""
    if name == "store.url" and value:
        return make_url(str(value)).render_as_string(hide_password=True)
    return plain(value)


@house.get("/census", Right.SERVER_READ, Census)
async def show_census(call: AnyCall) -> Census:
    """Devices by vendor and state; it takes time in proportion to the fleet."""
    found = await call.desks.fleet.census(call.means.clock() - _DAY)
    return Census(
        items=[
            DeviceCount(vendor=one.vendor, state=one.state.value, devices=one.devices, active=one.active)
            for one in found
        ]
    )


@house.get("/storm-values", Right.SERVER_READ, Shapes)
async def list_shaped(call: AnyCall) -> Shapes:
    """What storm plans have set in the vendors' layers and nobody has changed since."""
    return await _shapes(call)


async def _shapes(call: AnyCall) -> Shapes:
    found = await call.desks.fleet.shaped()
    return Shapes(
        items=[
            Shaped(vendor=vendor, setting=setting, value=plain(one.value), before=plain(one.before))
            for vendor, ours in found.items()
            for setting, one in ours.items()
        ]
    )


@house.put("/storm-values", Right.SERVER_WRITE, body=Shape, told=Shapes, version=list_shaped)
async def shape(call: AnyCall) -> Shapes:
    """Set the values of a storm plan, all or none; each can be taken back exactly."""
    await call.desks.fleet.shape(call.body.vendors)
    return await _shapes(call)


@house.delete("/storm-values", Right.SERVER_WRITE, told=Shapes, version=list_shaped)
async def unshape(call: AnyCall) -> Shapes:
    """Take back what storm plans have set; what somebody has changed since stays."""
    await call.desks.fleet.unshape()
    return await _shapes(call)


@messages.get("/messages", Right.MAIL_READ, Paged[Message], query=MessagesAsked)
async def list_messages(call: AnyCall) -> Paged[Message]:
    """What waits to leave this server, what has left and what was given up, the newest first."""
    query: MessagesAsked = call.query
    after = read_cursor("messages", query.cursor, int)
    before = int(after[0]) if after else 0
    found = await call.desks.outbox.messages(
        state=query.state, account=query.account, before=before, limit=query.limit + 1
    )
    last = found[query.limit - 1].id if len(found) > query.limit else None
    return paged("messages", Page(found[: query.limit], None if last is None else (last,)), Message)


@messages.get("/messages/{message}", Right.MAIL_READ, Message)
async def show_message(call: AnyCall) -> Message:
    """One message."""
    return Message.model_validate(await call.desks.outbox.message(_ident(call)))


@messages.post("/messages/replay", Right.MAIL_WRITE, body=ReplayWish, told=MessagesReplayed)
async def replay_messages(call: AnyCall) -> MessagesReplayed:
    """Send all of a kind that were given up, as after a template or a mail server was mended."""
    given: ReplayWish = call.body
    return MessagesReplayed(replayed=await call.desks.outbox.replay_all(given.kind, account=given.account))


@messages.post("/messages/{message}/replay", Right.MAIL_WRITE, told=Message, version=show_message)
async def replay_message(call: AnyCall) -> Message:
    """Send one that was given up, at once and with all its attempts anew."""
    return Message.model_validate(await call.desks.outbox.replay(_ident(call)))


@messages.post("/messages/{message}/drop", Right.MAIL_WRITE, told=Message, version=show_message)
async def drop_message(call: AnyCall) -> Message:
    """Take one out that has not been sent; what it says is erased."""
    return Message.model_validate(await call.desks.outbox.drop(_ident(call)))


def _ident(call: AnyCall) -> int:
    return call.number("message", 2**53 - 1)
