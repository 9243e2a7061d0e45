"""Webhooks out: endpoints that are told what happens, and what came of each delivery."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from provisioner.fleet.device_search import Page
from provisioner.hook_events import OUTWARD, TYPES
from provisioner.hooks.hooks import HookState
from provisioner.http.api.cursors import paged, read_cursor, turned
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import (
    LARGEST,
    Given,
    Id,
    Maybe,
    MaybeMoment,
    MaybeRef,
    MaybeText,
    Moment,
    Paged,
    Text,
    Told,
    Turning,
)
from provisioner.rights import Right

webhooks = Routes("webhooks", "Endpoints of other systems that are told what happens here.")

Url = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^[!-~]+$")]
Filters = Annotated[list[Annotated[str, Field(max_length=60, pattern=r"^[a-z_.*]+$")]], Field(max_length=60)]


class Webhook(Told):
    """An endpoint."""

    id: Id
    account: Annotated[Maybe, Field(description="Whose events it hears; null: everything that happens")]
    name: str
    url: str
    events: Annotated[list[str], Field(description="Types of events, device.* for a family, * for all")]
    enabled: bool
    disabled_why: str
    old_secret_until: Annotated[MaybeMoment, Field(description="Until then the secret before signs as well")]
    created: Moment
    failing_since: MaybeMoment
    failures: Annotated[int, Field(description="In a row")]
    last_at: MaybeMoment
    last_status: Annotated[int, Field(description="Of the last answer; 0 where there was none")]
    author: Annotated[str, Field(description="Who answers for it: who added or enabled it last; empty: not known")]
    orphaned: Annotated[str, Field(description="Why nobody's right stands behind it any more; empty while one does")]


class WebhookState(Webhook):
    """An endpoint, and what waits for it."""

    waiting: int
    dead: Annotated[int, Field(description="Messages that were given up")]
    last_error: Annotated[str, Field(description="Why its last message was not delivered; empty where it was")]


class MadeWebhook(Told):
    """An endpoint with its secret, which is told this once."""

    secret: str
    about: Webhook


class NewWebhook(Given):
    """An endpoint to be."""

    url: Url
    account: Annotated[MaybeRef, Field(description="Empty: everything that happens")] = ""
    name: MaybeText = ""
    events: Filters = Field(default_factory=list)


class WebhookChange(Given):
    """What shall be different; what is left out stays."""

    url: Url | None = None
    name: Text | None = None
    events: Filters | None = None


class Delivery(Told):
    """One attempt."""

    id: int
    message: Annotated[int, Field(description="Of the outbox; 0 for a test")]
    type: str
    subject: str
    version: int
    attempt: int
    at: Moment
    status: int
    ms: int
    outcome: str
    error: str


class AccountAsked(Turning):
    """Whose."""

    account: MaybeRef = ""


class DeliveriesAsked(Turning):
    """Which attempts."""

    message: Annotated[int, Field(ge=0, le=LARGEST, description="Of this message only")] = 0


class EventType(Told):
    """A type of event that endpoints hear of."""

    type: str
    kinds: Annotated[list[str], Field(description="Kinds of events here that are told by it")]


class Replay(Given):
    """Which message; all that were given up where none is named."""

    message: Annotated[int, Field(ge=0, le=LARGEST)] = 0


class Replayed(Told):
    """How many messages will be sent again."""

    messages: int


def _about(one: Any) -> dict[str, Any]:
    return {
        "id": one.id, "account": one.account, "name": one.name, "url": one.url, "events": one.events.split(),
        "enabled": one.enabled, "disabled_why": one.disabled_why, "old_secret_until": one.before_until or None,
        "created": one.created, "failing_since": one.failing_since, "failures": one.failures, "last_at": one.last_at,
        "last_status": one.last_status, "author": one.author, "orphaned": one.orphaned,
    }  # fmt: skip


def _state(one: HookState) -> WebhookState:
    counts = {"waiting": one.waiting, "dead": one.dead, "last_error": one.last_error}
    return WebhookState.model_validate(_about(one.about) | counts)


def _hook(call: AnyCall) -> str:
    return call.path["webhook"]


@webhooks.get("/webhooks", Right.HOOK_READ, Paged[WebhookState], query=AccountAsked)
async def list_webhooks(call: AnyCall) -> Paged[WebhookState]:
    """The endpoints within reach, by name."""
    found = await call.desks.hooks.hooks(account=call.query.account)
    return turned("webhooks", found, call.query, lambda one: f"{one.about.name}/{one.about.id}", WebhookState, _state)


@webhooks.get("/webhook-events", Right.HOOK_READ, Paged[EventType], query=Turning)
async def list_types(call: AnyCall) -> Paged[EventType]:
    """Every type of event that an endpoint can ask for; `device.*` asks for a family, `*` for all."""
    kinds = {kind: sorted(inside for inside, told in OUTWARD.items() if told == kind) for kind in TYPES}
    types = [EventType(type=kind, kinds=inside) for kind, inside in kinds.items()]
    return turned("webhook-events", types, call.query, lambda one: one.type, EventType)


@webhooks.post("/webhooks", Right.HOOK_WRITE, body=NewWebhook, told=MadeWebhook, status=201, secret=True)
async def add_webhook(call: AnyCall) -> MadeWebhook:
    """Tell an address what happens from now on."""
    given: NewWebhook = call.body
    made = await call.desks.hooks.add_hook(given.url, account=given.account, name=given.name, events=given.events)
    return MadeWebhook(secret=made.secret, about=Webhook.model_validate(_about(made.about)))


@webhooks.get("/webhooks/{webhook}", Right.HOOK_READ, Webhook)
async def show_webhook(call: AnyCall) -> Webhook:
    """One endpoint."""
    return Webhook.model_validate(_about((await call.desks.hooks.hook(_hook(call))).about))


@webhooks.patch(
    "/webhooks/{webhook}", Right.HOOK_WRITE, body=WebhookChange, told=Webhook, version=show_webhook, must_match=True
)
async def change_webhook(call: AnyCall) -> Webhook:
    """Another address, name or choice of events; what waits goes to the new address."""
    given: WebhookChange = call.body
    found = await call.desks.hooks.change_hook(_hook(call), url=given.url, name=given.name, events=given.events)
    return Webhook.model_validate(_about(found.about))


@webhooks.delete("/webhooks/{webhook}", Right.HOOK_WRITE, version=show_webhook, must_match=True)
async def remove_webhook(call: AnyCall) -> None:
    """Forget an endpoint, with its log and what waits for it."""
    await call.desks.hooks.remove_hook(_hook(call))


@webhooks.post("/webhooks/{webhook}/enable", Right.HOOK_WRITE, told=WebhookState, version=show_webhook, tags=False)
async def enable_webhook(call: AnyCall) -> WebhookState:
    """Call an endpoint again; what has waited goes out. Who does so answers for it from now on."""
    return _state(await call.desks.hooks.enable_hook(_hook(call)))


@webhooks.post("/webhooks/{webhook}/disable", Right.HOOK_WRITE, told=WebhookState, version=show_webhook, tags=False)
async def disable_webhook(call: AnyCall) -> WebhookState:
    """Call an endpoint no more, and note nothing further for it."""
    return _state(await call.desks.hooks.disable_hook(_hook(call)))


@webhooks.post("/webhooks/{webhook}/secret", Right.HOOK_WRITE, told=MadeWebhook, secret=True, version=show_webhook)
async def rotate_webhook(call: AnyCall) -> MadeWebhook:
    """A new secret, told once; for a while the old one signs as well."""
    made = await call.desks.hooks.rotate_hook(_hook(call))
    return MadeWebhook(secret=made.secret, about=Webhook.model_validate(_about(made.about)))


@webhooks.post("/webhooks/{webhook}/test", Right.HOOK_WRITE, told=WebhookState, version=show_webhook, tags=False)
async def test_webhook(call: AnyCall) -> WebhookState:
    """Queue a signed ping; the deliveries say what came of it."""
    return _state(await call.desks.hooks.queue_ping(_hook(call)))


@webhooks.get("/webhooks/{webhook}/deliveries", Right.HOOK_READ, Paged[Delivery], query=DeliveriesAsked)
async def list_deliveries(call: AnyCall) -> Paged[Delivery]:
    """What came of each attempt, the newest first."""
    asked: DeliveriesAsked = call.query
    after = read_cursor("deliveries", asked.cursor, int)
    found = await call.desks.hooks.deliveries(
        _hook(call), before=int(after[0]) if after else 0, limit=asked.limit, message=asked.message
    )
    last = found[-1].id if len(found) == asked.limit else None
    return paged("deliveries", Page(found, None if last is None else (last,)), Delivery, _without_hook)


def _without_hook(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Delivery.model_fields}


@webhooks.post(
    "/webhooks/{webhook}/replay",
    Right.HOOK_WRITE,
    body=Replay,
    told=Replayed,
    version=show_webhook,
    tags=False,
)
async def replay_webhook(call: AnyCall) -> Replayed:
    """Send again what was given up, with all attempts anew."""
    return Replayed(messages=await call.desks.hooks.replay_hook(_hook(call), message=call.body.message))
