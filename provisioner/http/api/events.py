"""What happened, a page at a time and as it happens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from provisioner.errors import Invalid
from provisioner.events import KINDS
from provisioner.hook_events import OUTWARD
from provisioner.http.api.cursors import paged, read_cursor, turned
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import LARGEST, Asked, Maybe, MaybeText, Moment, Paged, Told, Turning
from provisioner.model import Mac
from provisioner.rights import Right
from provisioner.store.event_pages import EventFilter

events = Routes("events", "What happened: refusals with their reasons, changes with who made them, alarms.")


class Event(Told):
    """Something that happened."""

    id: int
    at: Moment
    kind: str
    mac: Annotated[str, Field(description="The device; empty where it is about none")]
    severity: Annotated[str, Field(description="info, warning or alarm")]
    actor: Annotated[str, Field(description="Who caused it: `device`, `server` or somebody's name")]
    details: dict[str, str]


class EventsWish(Asked):
    """Which events."""

    kind: MaybeText = ""
    mac: Annotated[str, Field(max_length=40, description="Of this device")] = ""
    severity: Annotated[str, Field(pattern="^(|info|warning|alarm)$", description="info, warning or alarm")] = ""


class EventsAsked(EventsWish, Turning):
    """Which events, and from when to when."""

    actor: MaybeText = ""
    since: datetime | None = None
    until: datetime | None = None


class Kind(Told):
    """A kind of event."""

    kind: str
    says: str
    told_as: Annotated[Maybe, Field(description="The type by which webhooks hear of it; null: they do not")]


def wanted(query: EventsWish) -> EventFilter:
    """The same as the store has it."""
    mac = Mac.parse(query.mac) if query.mac else ""
    return EventFilter(kind=query.kind, mac=mac, severity=query.severity)


@events.get("/events", Right.EVENT_READ, Paged[Event], query=EventsAsked)
async def list_events(call: AnyCall) -> Paged[Event]:
    """Events within reach, the newest first."""
    query: EventsAsked = call.query
    plain = wanted(query)
    chosen = EventFilter(
        plain.kind,
        plain.mac,
        plain.severity,
        query.actor,
        None,
        _unix("since", query.since),
        _unix("until", query.until),
    )
    after = read_cursor("events", query.cursor, int)
    page = await call.desks.search.event_page(chosen, before=int(after[0]) if after else None, limit=query.limit)
    return paged("events", page, Event)


def _unix(name: str, value: datetime | None) -> float | None:
    if value is not None and value.tzinfo is None:
        raise Invalid(name, "must say its time zone: 2026-11-22T06:00:00Z")
    return None if value is None else value.timestamp()


@events.get("/event-kinds", Right.EVENT_READ, Paged[Kind], query=Turning)
async def list_kinds(call: AnyCall) -> Paged[Kind]:
    """Every kind of event, what it says, and what webhooks call it."""
    found = [Kind(kind=kind, says=says, told_as=OUTWARD.get(kind)) for kind, says in KINDS.items()]
    return turned("event-kinds", found, call.query, lambda one: one.kind, Kind)


@events.get("/events/{event}", Right.EVENT_READ, Event)
async def show_event(call: AnyCall) -> Event:
    """One event, by its number."""
    return Event.model_validate(await call.desks.search.event(call.number("event", LARGEST)))


@events.get("/events/stream", Right.EVENT_READ, None, query=EventsWish, media="text/event-stream")
async def stream_events(call: AnyCall) -> object:
    """Events as they happen, as server-sent events. `Last-Event-ID` takes up where a connection ended; with `mac`, what
    the device fetches is told too, file by file, as events of the kind `fetch`.
    """
    return await call.means.feed.serve(call, wanted(call.query))
