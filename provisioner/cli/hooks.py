"""Webhook endpoints on the command line: who is told what happens, what came of it, and sending it again."""

from __future__ import annotations

import shlex

import click

from provisioner.cli.hook_inbox import inbox, source
from provisioner.cli.session import Nouns, with_desk
from provisioner.hooks.hooks import Hooks, HookState, MadeHook
from provisioner.terminal import Shown, moment

_EVENTS = click.option(
    "--event", "events", multiple=True, metavar="TYPE", help="Only these, like binding.created or device.*; repeatable."
)

with_hooks = with_desk(Hooks, vendors=False)


@click.group(cls=Nouns)
def hook() -> None:
    """Webhooks: other systems are told what happens here, and may post what happens there."""


hook.add_command(source)
hook.add_command(inbox)


@hook.command("add")
@click.argument("url")
@click.option("--account", default="", help="Only what happens in this account.  [default: everything]")
@click.option("--name", default="", help="What it is called here.  [default: its host]")
@_EVENTS
@with_hooks
async def hook_add(desk: Hooks, url: str, account: str, name: str, events: tuple[str, ...]) -> object:
    """Tell URL what happens from now on; the secret that signs is printed once."""
    return _made(await desk.add_hook(url, account=account, name=name, events=events))


def _made(made: MadeHook) -> Shown:
    text = (
        f"{made.secret}\nThis is told once: the endpoint {made.about.name} ({made.about.id}) checks signatures with it."
    )
    return Shown({"secret": made.secret, "about": made.about}, text)


@hook.command("list")
@click.option("--account", default="", help="Only those of this account.")
@with_hooks
async def hook_list(desk: Hooks, account: str) -> object:
    """The endpoints: what waits for them, since when they fail, and what to do about it."""
    found = await desk.hooks(account=account)
    return Shown(found, rows=[_row(one) for one in found])


def _row(one: HookState) -> dict[str, object]:
    about = one.about
    return {
        "id": about.id, "name": about.name, "url": about.url, "events": about.events, "account": about.account,
        "enabled": about.enabled, "waiting": one.waiting, "dead": one.dead, "last answer": _answer(one),
        "failing since": about.failing_since, "failures": about.failures, "what to do": _what_to_do(one),
    }  # fmt: skip


def _answer(one: HookState) -> str:
    """Of the last message, and when."""
    about = one.about
    if about.last_at is None:
        return "not called yet"
    return f"{one.last_error or about.last_status or 'none'} at {moment(about.last_at)}"


def _what_to_do(one: HookState) -> str:
    """For an endpoint that is not well; nothing for one that is."""
    about, ref = one.about, shlex.quote(one.about.name)
    said = []
    if not about.enabled:
        why = about.disabled_why or "no reason given"
        said.append(f"disabled ({why}): try it by `provisioner hook test {ref}`, then `provisioner hook enable {ref}`")
    elif about.failures:
        said.append(f"`provisioner hook deliveries {ref}` has each attempt, `provisioner hook test {ref}` tries it now")
    if about.orphaned:
        said.append(f"{about.orphaned}: `provisioner hook enable {ref}` answers for it, `remove` ends it")
    if one.dead:
        said.append(f"`provisioner hook replay {ref}` sends the {one.dead} that were given up again")
    return "; ".join(said)


@hook.command("show")
@click.argument("name")
@with_hooks
async def hook_show(desk: Hooks, name: str) -> object:
    """One endpoint: NAME is its id, name or address; how it is doing, and what to do where that is not well."""
    found = await desk.hook(name)
    return Shown(found, rows=_row(found))


@hook.command("set")
@click.argument("name")
@click.option("--url", help="Another address.")
@click.option("--rename", metavar="NAME", help="Another name.")
@_EVENTS
@with_hooks
async def hook_set(desk: Hooks, name: str, url: str | None, rename: str | None, events: tuple[str, ...]) -> object:
    """Change the address, name or choice of events of an endpoint; '*' is all events."""
    found = await desk.change_hook(name, url=url, name=rename, events=events or None)
    return Shown(found, rows=[_row(found)])


@hook.command("test")
@click.argument("name")
@with_hooks
async def hook_test(desk: Hooks, name: str) -> object:
    """Send a signed ping to the endpoint NAME (id, name or address) from here, and say what it answers."""
    one = await desk.ping_hook(name)
    said = one.error or f"answers {one.status}"
    return Shown(one, f"{said} ({one.ms} ms)", exit_code=0 if one.outcome == "delivered" else 1)


@hook.command("enable")
@click.argument("name")
@with_hooks
async def hook_enable(desk: Hooks, name: str) -> object:
    """Call an endpoint again that was disabled; what waits for it goes out."""
    found = await desk.enable_hook(name)
    return Shown(found, f"endpoint {found.about.name} is called again; {found.waiting} messages wait for it")


@hook.command("disable")
@click.argument("name")
@with_hooks
async def hook_disable(desk: Hooks, name: str) -> object:
    """Call an endpoint no more, and note nothing further for it."""
    found = await desk.disable_hook(name)
    return Shown(found, f"endpoint {found.about.name} is not called any more")


@hook.command("rotate")
@click.argument("name")
@with_hooks
async def hook_rotate(desk: Hooks, name: str) -> object:
    """Make a new secret, printed once; the old one signs as well for webhook.overlap hours."""
    made = await desk.rotate_hook(name)
    shown = _made(made)
    text = f"{shown.text}\nThe old secret signs as well until {moment(made.about.before_until)}."
    return Shown(shown.data, text)


@hook.command("deliveries")
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many attempts.")
@click.option("--message", type=int, default=0, metavar="ID", help="Only those of this message.")
@with_hooks
async def hook_deliveries(desk: Hooks, name: str, limit: int, message: int) -> object:
    """What came of each attempt, the newest first."""
    found = await desk.deliveries(name, limit=limit, message=message)
    rows = [
        {"at": one.at, "message": one.message, "type": one.type, "subject": one.subject, "version": one.version,
         "attempt": one.attempt, "status": one.status or None, "ms": one.ms, "outcome": one.outcome, "error": one.error}
        for one in found
    ]  # fmt: skip
    return Shown(found, rows=rows)


@hook.command("replay")
@click.argument("name")
@click.option("--message", type=click.IntRange(min=1), default=None, metavar="ID", help="Only this one.")
@with_hooks
async def hook_replay(desk: Hooks, name: str, message: int | None) -> object:
    """Send again what was given up."""
    count = await desk.replay_hook(name, message=message or 0)
    return Shown({"messages": count}, f"{count} messages will be sent again")


@hook.command("remove")
@click.argument("name")
@with_hooks
async def hook_remove(desk: Hooks, name: str) -> object:
    """Forget an endpoint, with its log and what waits for it."""
    one = await desk.remove_hook(name)
    return Shown({"removed": one.id}, f"endpoint {one.name} is told nothing any more")
