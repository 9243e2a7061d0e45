"""Accounts, sites, users and extensions on the command line: each command is one use-case of the Fleet."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from provisioner.cli.session import Nouns, names_in, with_fleet
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.numbers import HOLD
from provisioner.places import UserKind
from provisioner.store.rows import Binding
from provisioner.terminal import Shown

ACCOUNT = click.option("--account", required=True, metavar="ACCOUNT", help="Name or id of the account.")
IN_ACCOUNT = click.option("--account", default="", metavar="ACCOUNT", help="Where several accounts have that number.")
OF_ACCOUNT = click.option("--account", default="", metavar="ACCOUNT", help="Only those of this account (name or id).")


@click.group(cls=Nouns)
def account() -> None:
    """Accounts; each has sites, users, extensions and devices of its own."""


@account.command("add")
@click.argument("name")
@click.option("--partner", default="", metavar="ACCOUNT", help="The partner's account that it is below.")
@with_fleet
async def account_add(fleet: Fleet, name: str, partner: str) -> object:
    """Add an account called NAME."""
    return await (fleet.add_child(name, parent=partner) if partner else fleet.add_account(name))


@account.command("list")
@with_fleet
async def account_list(fleet: Fleet) -> object:
    """All accounts."""
    return await fleet.accounts()


@account.command("set-partner")
@click.argument("account")
@click.argument("partner", default="")
@with_fleet
async def account_set_partner(fleet: Fleet, account: str, partner: str) -> object:
    """Put ACCOUNT below PARTNER, or below none: those with the partner role there then act on it."""
    return await fleet.set_parent(account, parent=partner)


@account.command("children")
@click.argument("account")
@with_fleet
async def account_children(fleet: Fleet, account: str) -> object:
    """The accounts below ACCOUNT, however deep."""
    return await fleet.children(account)


@account.command("rename")
@click.argument("account")
@click.argument("name")
@with_fleet
async def account_rename(fleet: Fleet, account: str, name: str) -> object:
    """Call ACCOUNT by a new NAME; its id stays."""
    return await fleet.rename_account(account, name=name)


@account.command("remove")
@click.argument("account")
@with_fleet
async def account_remove(fleet: Fleet, account: str) -> object:
    """Remove ACCOUNT; refused while anything is left in it."""
    await fleet.remove_account(account)
    return Shown({"removed": account}, f"removed account {account}")


@click.group(cls=Nouns)
def site() -> None:
    """Places of an account, each with its time zone."""


@site.command("add")
@click.argument("name")
@ACCOUNT
@click.option("--time-zone", default="", metavar="ZONE", help="IANA name such as Europe/Berlin.")
@with_fleet
async def site_add(fleet: Fleet, name: str, account: str, time_zone: str) -> object:
    """Add a site called NAME."""
    return await fleet.add_site(name, account=account, time_zone=time_zone)


@site.command("list")
@OF_ACCOUNT
@with_fleet
async def site_list(fleet: Fleet, account: str) -> object:
    """The sites."""
    found = await fleet.sites(account)
    return Shown(found, names=await names_in(fleet, found))


@site.command("remove")
@click.argument("site")
@with_fleet
async def site_remove(fleet: Fleet, site: str) -> object:
    """Remove SITE; refused while devices stand there."""
    await fleet.remove_site(site)
    return Shown({"removed": site}, f"removed site {site}")


@click.group(cls=Nouns)
def user() -> None:
    """People, and places such as a lobby, that have extensions."""


@user.command("add")
@click.argument("name")
@ACCOUNT
@click.option("--email", default="", metavar="ADDRESS", help="Where the person is written to.")
@click.option("--place", is_flag=True, help="It is a place such as a lobby, not a person.")
@with_fleet
async def user_add(fleet: Fleet, name: str, account: str, email: str, place: bool) -> object:
    """Add a user called NAME."""
    kind = UserKind.PLACE if place else UserKind.PERSON
    return await fleet.add_user(name, account=account, email=email, kind=kind)


@user.command("list")
@OF_ACCOUNT
@with_fleet
async def user_list(fleet: Fleet, account: str) -> object:
    """The users."""
    found = await fleet.users(account)
    return Shown(found, names=await names_in(fleet, found))


@user.command("set-email")
@click.argument("user")
@click.argument("address")
@with_fleet
async def user_set_email(fleet: Fleet, user: str, address: str) -> object:
    """Write to USER at ADDRESS from now on; "" takes the address away."""
    return await fleet.set_email(user, email=address)


@user.command("remove")
@click.argument("user")
@click.option("--extensions", is_flag=True, help="Their extensions go, too, and phones that have them are emptied.")
@with_fleet
async def user_remove(fleet: Fleet, user: str, extensions: bool) -> object:
    """Remove USER; refused while they hold extensions that shall not go, too."""
    freed = await fleet.remove_user(user, extensions=extensions)
    return Shown({"removed": user, "freed": freed}, "\n".join([f"removed user {user}", *_freed(freed)]))


def _freed(freed: Sequence[Binding]) -> list[str]:
    return [f"line {one.line} of {one.mac.colons} is free" for one in freed]


@click.group(cls=Nouns)
def extension() -> None:
    """Numbers the PBX dials, with their SIP credentials."""


@extension.command("add")
@click.argument("number")
@ACCOUNT
@click.option("--user", required=True, metavar="USER", help="Name or id of the user who has it.")
@click.option("--display-name", default="", metavar="TEXT", help="What the phone shows and sends.")
@click.option("--auth-user", default="", metavar="NAME", help="SIP user name where it is not NUMBER.")
@click.option(
    "--secret", default="", metavar="SECRET", help="SIP password; generated when left out, - reads it from stdin."
)
@with_fleet
async def extension_add(
    fleet: Fleet, number: str, account: str, user: str, display_name: str, auth_user: str, secret: str
) -> object:
    """Add the extension NUMBER."""
    return await fleet.add_extension(
        number, account=account, user=user, display_name=display_name, auth_user=auth_user, secret=typed(secret)
    )


@extension.command("list")
@OF_ACCOUNT
@with_fleet
async def extension_list(fleet: Fleet, account: str) -> object:
    """The extensions, without their secrets."""
    found = await fleet.extensions(account)
    return Shown(found, names=await names_in(fleet, found))


@extension.command("suggest")
@ACCOUNT
@click.option("--site", default="", metavar="SITE", help="Look in the range of this site, where it has one.")
@click.option(
    "--hold", type=float, default=HOLD, metavar="SECONDS", help="How long it is kept for you.  [default: 600]"
)
@with_fleet
async def extension_suggest(fleet: Fleet, account: str, site: str, hold: float) -> object:
    """Print the lowest free number of the range and keep it for you until you add it."""
    found = await fleet.suggest_extension(account=account, site=site, seconds=hold)
    return Shown(found, found.number)


@extension.command("release")
@click.argument("number")
@ACCOUNT
@with_fleet
async def extension_release(fleet: Fleet, number: str, account: str) -> object:
    """Keep the suggested NUMBER no longer."""
    await fleet.release_extension(number, account=account)
    return Shown({"released": number}, f"{number} is free")


@extension.command("held")
@OF_ACCOUNT
@with_fleet
async def extension_held(fleet: Fleet, account: str) -> object:
    """Numbers that are kept for somebody."""
    found = await fleet.extension_holds(account)
    return Shown(found, names=await names_in(fleet, found))


@extension.command("range")
@click.argument("span", metavar="LOW-HIGH")
@ACCOUNT
@click.option("--site", default="", metavar="SITE", help="For this site; it goes before the account's.")
@with_fleet
async def extension_range(fleet: Fleet, span: str, account: str, site: str) -> object:
    """Suggest extensions from LOW-HIGH, such as 1000-1999; `none` suggests none any more."""
    if span == "none":
        await fleet.clear_range(account=account, site=site)
        return Shown({"cleared": site or account}, f"no range for {site or account} any more")
    return await fleet.set_range(span, account=account, site=site)


@extension.command("ranges")
@OF_ACCOUNT
@with_fleet
async def extension_ranges(fleet: Fleet, account: str) -> object:
    """Where extensions are suggested from."""
    found = await fleet.ranges(account)
    return Shown(found, names=await names_in(fleet, found))


@extension.command("set-secret")
@click.argument("extension")
@IN_ACCOUNT
@click.option("--secret", default="", metavar="SECRET", help="The new one; generated when left out, - reads stdin.")
@with_fleet
async def extension_set_secret(fleet: Fleet, extension: str, account: str, secret: str) -> object:
    """Give EXTENSION another SIP password."""
    await fleet.set_secret(extension, secret=typed(secret), account=account)
    return Shown({"changed": extension}, f"changed the secret of {extension}")


@extension.command("secret")
@click.argument("extension")
@IN_ACCOUNT
@with_fleet
async def extension_secret(fleet: Fleet, extension: str, account: str) -> object:
    """Since when the SIP password of EXTENSION is what it is, and whether it was made here or given."""
    found = await fleet.secret_life(extension, account=account)
    return Shown({"extension": extension, "origin": found.origin, "since": found.at})


@extension.command("reveal")
@click.argument("extension")
@IN_ACCOUNT
@with_fleet
async def extension_reveal(fleet: Fleet, extension: str, account: str) -> object:
    """Print the SIP password of EXTENSION; that it was revealed is an event."""
    secret = await fleet.reveal_secret(extension, account=account)
    return Shown({"extension": extension, "secret": secret}, secret)


@extension.command("remove")
@click.argument("extension")
@IN_ACCOUNT
@with_fleet
async def extension_remove(fleet: Fleet, extension: str, account: str) -> object:
    """Remove EXTENSION; phones that have it are told to fetch what empties their lines."""
    freed = await fleet.remove_extension(extension, account=account)
    return Shown({"removed": extension, "freed": freed}, "\n".join([f"removed extension {extension}", *_freed(freed)]))


def typed(secret: str) -> str:
    """A secret from the option, or from stdin where it stays out of the process list."""
    return sys.stdin.readline().rstrip("\n") if secret == "-" else secret  # noqa: S105  # the word for stdin
