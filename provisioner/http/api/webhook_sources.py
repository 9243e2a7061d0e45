"""Webhooks in: systems that may post, the rules they are read by, and what they have posted."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from provisioner.errors import Invalid
from provisioner.fleet.device_search import Page
from provisioner.hooks.mapping import Action
from provisioner.hooks.signing import Scheme
from provisioner.http.api.cursors import paged, read_cursor, turned
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.webhooks import AccountAsked
from provisioner.http.api.words import (
    LARGEST,
    Given,
    Id,
    MaybeMoment,
    MaybeRef,
    Moment,
    Paged,
    Ref,
    Told,
    Turning,
    moment,
)
from provisioner.rights import Right
from provisioner.store.hook_inbox import InboxState

sources = Routes("webhook-sources", "Systems that may post what happens there, and the rules they are read by.")
inbox = Routes("webhook-inbox", "What those systems have posted; what is parked needs a look.")

RulesText = Annotated[str, Field(min_length=1, max_length=32_768, description="TOML or JSON")]


class Source(Told):
    """A system that may post."""

    id: Id
    name: Annotated[str, Field(description="It posts to /hooks/in/NAME")]
    account: Id
    scheme: Scheme
    rules: str
    enabled: bool
    old_secret_until: MaybeMoment
    created: Moment
    author: Annotated[str, Field(description="Who answers for it: it acts with their rights, in its account alone")]
    orphaned: Annotated[str, Field(description="Why nobody answers for it any more: its posts are refused; else empty")]


class MadeSource(Told):
    """A source with its secret, which is told this once."""

    secret: str
    about: Source


class NewSource(Given):
    """A source to be."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    account: Ref
    scheme: Scheme = Field(default=Scheme.STANDARD, strict=False)
    rules: RulesText
    secret: Annotated[
        str, Field(max_length=200, pattern=r"^[!-~]*$", description="Its own; empty: one is made",
                   json_schema_extra={"format": "password"}, repr=False),
    ] = ""  # fmt: skip


class SourceChange(Given):
    """What shall be different; what is left out stays."""

    rules: RulesText | None = None
    enabled: bool | None = None


class NewSourceSecret(Given):
    """Its own secret; empty: one is made."""

    secret: Annotated[
        str, Field(max_length=200, pattern=r"^[!-~]*$", json_schema_extra={"format": "password"}, repr=False)
    ] = ""


class Trial(Given):
    """A document as the source would post it."""

    document: Annotated[str, Field(max_length=65_536, description="JSON, as text")]


class Understood(Told):
    """What the rules make of a document."""

    action: Action
    fields: dict[str, str]
    id: str
    occurred_at: MaybeMoment
    subject: str


def _source(one: Any) -> Source:
    names = ("id", "name", "account", "scheme", "rules", "enabled", "created", "author", "orphaned")
    values = {name: getattr(one, name) for name in names}
    return Source.model_validate(values | {"old_secret_until": one.before_until or None})


@sources.get("/webhook-sources", Right.HOOK_READ, Paged[Source], query=AccountAsked)
async def list_sources(call: AnyCall) -> Paged[Source]:
    """The sources within reach, by name."""
    found = await call.desks.sources.sources(account=call.query.account)
    return turned("webhook-sources", found, call.query, lambda one: one.name, Source, _source)


@sources.post("/webhook-sources", Right.HOOK_WRITE, body=NewSource, told=MadeSource, status=201, secret=True)
async def add_source(call: AnyCall) -> MadeSource:
    """Let a system post; a name is one source's in the whole installation."""
    given: NewSource = call.body
    made = await call.desks.sources.add_source(
        given.name, account=given.account, scheme=given.scheme, rules=given.rules, secret=given.secret
    )
    return MadeSource(secret=made.secret, about=_source(made.about))


@sources.get("/webhook-sources/{source}", Right.HOOK_READ, Source)
async def show_source(call: AnyCall) -> Source:
    """One source and its rules."""
    return _source(await call.desks.sources.source(call.path["source"]))


@sources.patch(
    "/webhook-sources/{source}",
    Right.HOOK_WRITE,
    body=SourceChange,
    told=Source,
    version=show_source,
    must_match=True,
)
async def change_source(call: AnyCall) -> Source:
    """Other rules, or no more posting for now; who gives it rules or enables it answers for it from then on."""
    given: SourceChange = call.body
    return _source(
        await call.desks.sources.change_source(call.path["source"], rules=given.rules, enabled=given.enabled)
    )


@sources.delete("/webhook-sources/{source}", Right.HOOK_WRITE, version=show_source, must_match=True)
async def remove_source(call: AnyCall) -> None:
    """Forget a source with all that it has posted."""
    await call.desks.sources.remove_source(call.path["source"])


@sources.post(
    "/webhook-sources/{source}/secret",
    Right.HOOK_WRITE,
    body=NewSourceSecret,
    told=MadeSource,
    secret=True,
    version=show_source,
)
async def rotate_source(call: AnyCall) -> MadeSource:
    """A new secret, told once; for a while the old one is taken as well. The caller answers for it from then on."""
    made = await call.desks.sources.rotate_source(call.path["source"], secret=call.body.secret)
    return MadeSource(secret=made.secret, about=_source(made.about))


@sources.post("/webhook-sources/{source}/try", Right.HOOK_WRITE, body=Trial, told=Understood, whole=False)
async def try_source(call: AnyCall) -> Understood:
    """Say what the rules make of a document; nothing is done."""
    text: str = call.body.document
    try:
        asked = await call.desks.sources.try_source(call.path["source"], text.encode())
    except UnicodeEncodeError:
        raise Invalid("document", "is no JSON in UTF-8") from None
    return Understood(
        action=asked.action, fields=dict(asked.fields), id=asked.ident,
        occurred_at=moment(asked.at) if asked.at else None, subject=asked.subject,
    )  # fmt: skip


# --- inbox -------------------------------------------------------------------------------------------------------


class Posted(Told):
    """A message of a source, without what it says."""

    id: int
    source: Id
    account: Id
    ident: Annotated[str, Field(description="The sender's own id of it, or a digest of what it says")]
    state: InboxState
    action: str
    subject: str
    received: Moment
    occurred: Moment
    ended: MaybeMoment
    why: str


class PostedAsked(Turning):
    """Which messages."""

    source: MaybeRef = ""
    account: MaybeRef = ""
    state: InboxState | None = None


class PostedBody(Told):
    """What it says, as it came; what is no UTF-8 is escaped."""

    body: str


def _ident(call: AnyCall) -> int:
    return call.number("posted", LARGEST)


@inbox.get("/webhook-inbox", Right.HOOK_READ, Paged[Posted], query=PostedAsked)
async def list_posted(call: AnyCall) -> Paged[Posted]:
    """What sources have posted, the newest first."""
    asked: PostedAsked = call.query
    after = read_cursor("webhook-inbox", asked.cursor, int)
    found = await call.desks.inbox.posted(
        source=asked.source, state=asked.state, account=asked.account, limit=asked.limit,
        before=int(after[0]) if after else 0,
    )  # fmt: skip
    last = found[-1].id if len(found) == asked.limit else None
    return paged("webhook-inbox", Page(found, None if last is None else (last,)), Posted)


@inbox.get("/webhook-inbox/{posted}", Right.HOOK_READ, Posted)
async def show_posted(call: AnyCall) -> Posted:
    """One message."""
    return Posted.model_validate(await call.desks.inbox.posted_message(_ident(call)))


@inbox.get("/webhook-inbox/{posted}/body", Right.HOOK_WRITE, PostedBody, secret=True)
async def show_posted_body(call: AnyCall) -> PostedBody:
    """What a message says."""
    said = await call.desks.inbox.posted_body(_ident(call))
    return PostedBody(body=said.decode("utf-8", "backslashreplace"))


@inbox.post("/webhook-inbox/{posted}/replay", Right.HOOK_WRITE, told=Posted, version=show_posted)
async def replay_posted(call: AnyCall) -> Posted:
    """Try a parked message again, by the rules of today."""
    return Posted.model_validate(await call.desks.inbox.replay_posted(_ident(call)))


@inbox.post("/webhook-inbox/{posted}/drop", Right.HOOK_WRITE, told=Posted, version=show_posted)
async def drop_posted(call: AnyCall) -> Posted:
    """Put a parked message aside."""
    return Posted.model_validate(await call.desks.inbox.drop_posted(_ident(call)))
