"""Systems that post to this server, on the command line: their secrets and rules, and what they have posted."""

from __future__ import annotations

from typing import BinaryIO, TextIO

import click

from provisioner.cli.session import Nouns, with_desk
from provisioner.hooks.inbox import Inbox
from provisioner.hooks.signing import Scheme
from provisioner.hooks.sources import MadeSource, Sources
from provisioner.store.hook_inbox import InboxState, Received, Source
from provisioner.terminal import Shown, moment

with_inbox = with_desk(Inbox)

_IDENT = click.argument("ident", metavar="ID", type=click.IntRange(min=1))
_RULES = click.option(
    "--rules", type=click.File("r", encoding="utf-8"), metavar="FILE", help="TOML or JSON; - is stdin."
)

with_sources = with_desk(Sources, vendors=False)


@click.group(cls=Nouns)
def source() -> None:
    """Systems that may post to /hooks/in/NAME."""


@source.command("add")
@click.argument("name")
@click.option("--account", required=True, help="Whose people and phones it may change; nothing beyond.")
@click.option(
    "--scheme", type=click.Choice([one.value for one in Scheme]), default=Scheme.STANDARD.value, show_default=True,
    help="How it proves itself: Standard Webhooks, an HMAC of the body in X-Signature-256, or a bearer secret.",
)  # fmt: skip
@click.option("--rules", type=click.File("r", encoding="utf-8"), required=True, metavar="FILE", help="TOML or JSON.")
@click.option("--secret-file", type=click.File("r"), metavar="FILE", help="Its own secret; - is stdin.")
@with_sources
async def source_add(
    desk: Sources, name: str, account: str, scheme: str, rules: TextIO, secret_file: TextIO | None
) -> object:
    """Let a system post as NAME; its secret is printed once."""
    secret = secret_file.read().strip() if secret_file else ""
    made = await desk.add_source(name, account=account, scheme=Scheme(scheme), rules=rules.read(), secret=secret)
    return _made(made)


def _made(made: MadeSource) -> Shown:
    text = f"{made.secret}\nThis is told once. {made.about.name} posts to /hooks/in/{made.about.name} with it."
    return Shown({"secret": made.secret, "about": made.about}, text)


@source.command("list")
@click.option("--account", default="", help="Only those of this account.")
@with_sources
async def source_list(desk: Sources, account: str) -> object:
    """The sources."""
    found = await desk.sources(account=account)
    rows = [
        {"id": one.id, "name": one.name, "account": one.account, "scheme": one.scheme, "enabled": one.enabled,
         "used": one.last_at or 0.0, "author": one.author, "what to do": _what_to_do(one)}
        for one in found
    ]  # fmt: skip
    return Shown(found, rows=rows)


def _what_to_do(one: Source) -> str:
    if not one.orphaned:
        return ""
    return f"{one.orphaned}: `provisioner hook source set {one.name} --enable` answers for it, `remove` ends it"


@source.command("show")
@click.argument("name")
@with_sources
async def source_show(desk: Sources, name: str) -> object:
    """One source and its rules."""
    return await desk.source(name)


@source.command("set")
@click.argument("name")
@_RULES
@click.option("--enable/--disable", "enabled", default=None, help="Whether it may post.")
@with_sources
async def source_set(desk: Sources, name: str, rules: TextIO | None, enabled: bool | None) -> object:
    """Give a source other rules, or say whether it may post; whoever does that answers for it from then on."""
    found = await desk.change_source(name, rules=rules.read() if rules else None, enabled=enabled)
    return Shown(found, f"source {found.name} is {'on' if found.enabled else 'off'}")


@source.command("try")
@click.argument("name")
@click.argument("document", type=click.File("rb"))
@with_sources
async def source_try(desk: Sources, name: str, document: BinaryIO) -> object:
    """Say what the rules of a source make of DOCUMENT (a file, - is stdin); nothing is done."""
    asked = await desk.try_source(name, document.read())
    rows = [
        {"action": asked.action.value, "fields": asked.fields, "subject": asked.subject, "id": asked.ident,
         "occurred at": moment(asked.at) if asked.at else None}
    ]  # fmt: skip
    return Shown(asked, rows=rows)


@source.command("rotate")
@click.argument("name")
@click.option("--secret-file", type=click.File("r"), metavar="FILE", help="Its own secret; - is stdin.")
@with_sources
async def source_rotate(desk: Sources, name: str, secret_file: TextIO | None) -> object:
    """Make a new secret, printed once; the old one is taken as well for webhook.overlap hours."""
    made = await desk.rotate_source(name, secret=secret_file.read().strip() if secret_file else "")
    shown = _made(made)
    return Shown(shown.data, f"{shown.text}\nThe old secret is taken until {moment(made.about.before_until)}.")


@source.command("remove")
@click.argument("name")
@with_sources
async def source_remove(desk: Sources, name: str) -> object:
    """Forget a source with all that it has posted."""
    one = await desk.remove_source(name)
    return Shown({"removed": one.id}, f"source {one.name} may not post any more")


@click.group(cls=Nouns)
def inbox() -> None:
    """What other systems have posted; what is parked needs a look."""


@inbox.command("list")
@click.option("--source", "name", default="", help="Only of this source.")
@click.option("--state", type=click.Choice([one.value for one in InboxState]), help="Only in this state.")
@click.option("--account", default="", help="Only of this account.")
@with_inbox
async def inbox_list(desk: Inbox, name: str, state: str | None, account: str) -> object:
    """The messages, the newest first."""
    found = await desk.posted(source=name, state=InboxState(state) if state else None, account=account)
    rows = [
        {"id": str(one.id), "source": one.source, "state": one.state.value, "action": one.action,
         "subject": one.subject, "received": moment(one.received), "why": one.why}
        for one in found
    ]  # fmt: skip
    return Shown(found, rows=rows)


@inbox.command("show")
@_IDENT
@with_inbox
async def inbox_show(desk: Inbox, ident: int) -> object:
    """One message, as it came."""
    found = await desk.posted_message(ident)
    said = (await desk.posted_body(ident)).decode("utf-8", "backslashreplace")
    text = "".join(one if one.isprintable() or one == "\n" else "?" for one in said)
    head = f"{found.state.value} {found.action or '-'} {found.subject or '-'}: {found.why or '-'}"
    return Shown({"about": found, "body": said}, f"{head}\n{text}")


@inbox.command("replay")
@_IDENT
@with_inbox
async def inbox_replay(desk: Inbox, ident: int) -> object:
    """Try a parked message again, by the rules of today."""
    return _settled(await desk.replay_posted(ident))


@inbox.command("drop")
@_IDENT
@with_inbox
async def inbox_drop(desk: Inbox, ident: int) -> object:
    """Put a parked message aside."""
    return _settled(await desk.drop_posted(ident))


def _settled(one: Received) -> Shown:
    parked = one.state is InboxState.PARKED
    return Shown(one, f"message {one.id} is {one.state.value}: {one.why or '-'}", exit_code=1 if parked else 0)
