"""Keys of the API on the command line: made, listed, revoked. The key itself is printed once."""

from __future__ import annotations

import click

from provisioner.cli.session import Nouns, with_desk
from provisioner.keys_desk import ApiKeys
from provisioner.roles import Right
from provisioner.terminal import Shown, moment

with_keys = with_desk(ApiKeys, vendors=False)


@click.group(cls=Nouns)
def apikey() -> None:
    """Keys of the API, for programs: each with its rights, its accounts and an end."""


@apikey.command("create")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, metavar="RIGHT", help="A right; may be repeated.")
@click.option("--account", "accounts", multiple=True, metavar="ACCOUNT", help="Only there; may be repeated.")
@click.option(
    "--days", type=click.FloatRange(0, 3650, min_open=True), help="How long it works.  [default: apikey.life]"
)
@with_keys
async def apikey_create(
    desk: ApiKeys, name: str, scopes: tuple[str, ...], accounts: tuple[str, ...], days: float | None
) -> object:
    """Make a key called NAME; it is shown once."""
    made = await desk.make_key(name, scopes=[_right(one) for one in scopes], accounts=accounts, days=days)
    text = f"{made.key}\nThis is told once. It works until {moment(made.about.expires or 0.0)}."
    return Shown({"key": made.key, "about": made.about}, text)


def _right(name: str) -> Right:
    try:
        return Right(name)
    except ValueError:
        raise click.BadParameter(f"{name!r} is no right; they are {', '.join(Right)}", param_hint="--scope") from None


@apikey.command("list")
@with_keys
async def apikey_list(desk: ApiKeys) -> object:
    """The keys, the newest first, without what they are used with."""
    found = await desk.keys()
    rows = [
        {"name": one.name, "begins": one.prefix, "scopes": " ".join(one.scopes), "accounts": " ".join(one.accounts),
         "expires": one.expires or 0.0, "used": one.used or 0.0, "revoked": one.revoked, "by": one.actor}
        for one in found
    ]  # fmt: skip
    return Shown(found, rows=rows)


@apikey.command("revoke")
@click.argument("key")
@with_keys
async def apikey_revoke(desk: ApiKeys, key: str) -> object:
    """End KEY (id, name, or how it begins) at once."""
    one = await desk.revoke_key(key)
    return Shown({"revoked": one.id}, f"key {one.name} ({one.prefix}) is worth nothing any more")
