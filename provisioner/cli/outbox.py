"""The outbox on the command line: what waits to be sent, what was given up, and sending that again."""

from __future__ import annotations

from typing import Final

import click

from provisioner.cli.session import Nouns, with_desk, without_settings
from provisioner.desk import counted
from provisioner.outbox_desk import OutboxDesk
from provisioner.outbox_states import MessageState
from provisioner.terminal import Shown

_IDENT: Final = click.argument("ident", metavar="ID", type=click.IntRange(min=1))

with_outbox = with_desk(without_settings(OutboxDesk), vendors=False)


@click.group(cls=Nouns)
def outbox() -> None:
    """Messages that leave this server: what waits, what was given up."""


@outbox.command("list")
@click.option("--state", type=click.Choice([one.value for one in MessageState]), help="Only in this state.")
@click.option("--account", default="", metavar="ACCOUNT", help="Only those of this account (name or id).")
@with_outbox
async def outbox_list(desk: OutboxDesk, state: str | None, account: str) -> object:
    """The messages, the newest first, without what they say."""
    found = await desk.messages(state=MessageState(state) if state else None, account=account)
    rows = [
        {"id": str(one.id), "title": one.title, "kind": one.kind, "state": one.state.value, "attempts": one.attempts,
         "created": one.created, "until": one.until, "last error": one.last_error}
        for one in found
    ]  # fmt: skip
    return Shown(found, rows=rows)


@outbox.command("show")
@_IDENT
@with_outbox
async def outbox_show(desk: OutboxDesk, ident: int) -> object:
    """One message: when it is due, how often it was tried, what went wrong last."""
    return await desk.message(ident)


@outbox.command("replay")
@_IDENT
@with_outbox
async def outbox_replay(desk: OutboxDesk, ident: int) -> object:
    """Send a message again that was given up, with all its attempts anew."""
    return Shown(await desk.replay(ident), f"message {ident} will be sent")


@outbox.command("replay-all")
@click.option("--kind", required=True, metavar="KIND", help="As `outbox list` shows it: mail.code, mail.emergency, ...")
@click.option("--account", default="", metavar="ACCOUNT", help="Only those of this account (name or id).")
@with_outbox
async def outbox_replay_all(desk: OutboxDesk, kind: str, account: str) -> object:
    """Send all messages of a kind again that were given up, once the cause is mended."""
    count = await desk.replay_all(kind, account=account)
    return Shown({"messages": count}, f"{counted(count, 'message')} will be sent")


@outbox.command("drop")
@_IDENT
@with_outbox
async def outbox_drop(desk: OutboxDesk, ident: int) -> object:
    """Take a message out that has not been sent, and erase what it says."""
    return Shown(await desk.drop(ident), f"message {ident} will not be sent")
