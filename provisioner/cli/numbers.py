"""Phone numbers on the command line: each command is one use-case of the Fleet."""

from __future__ import annotations

from typing import Final

import click

from provisioner.cli.session import Nouns, names_in, with_fleet
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.numbers import HOLD
from provisioner.numbering import NumberOrigin, NumberState
from provisioner.terminal import Shown

_NUMBER: Final = click.argument("number")
_ACCOUNT: Final = click.option("--account", required=True, metavar="ACCOUNT", help="Name or id of the account.")
_IN_ACCOUNT: Final = click.option("--account", default="", metavar="ACCOUNT", help="Where several have that number.")


@click.group(cls=Nouns)
def number() -> None:
    """Phone numbers of an account's pool, and which extension has each of them."""


@number.command("add")
@click.argument("numbers", nargs=-1, required=True, metavar="NUMBER...")
@_ACCOUNT
@click.option("--site", default="", metavar="SITE", help="Where it belongs to one site (name or id).")
@click.option(
    "--origin",
    type=click.Choice([one.value for one in NumberOrigin]),
    default=NumberOrigin.CLAIMED.value,
    show_default=True,
    help="How the account came by it.",
)
@click.option("--porting", is_flag=True, help="It is still to come; it can be assigned already.")
@with_fleet
async def number_add(
    fleet: Fleet, numbers: tuple[str, ...], account: str, site: str, origin: str, porting: bool
) -> object:
    """Add numbers to the pool: +COUNTRY and number, or internal ones; all of them or none."""
    made = await fleet.add_numbers(numbers, account=account, site=site, origin=NumberOrigin(origin), porting=porting)
    return await _shown(fleet, made)


@number.command("list")
@click.option("--account", default="", metavar="ACCOUNT", help="Only those of this account (name or id).")
@click.option("--site", default="", metavar="SITE", help="Only those of this site.")
@click.option("--extension", default="", metavar="EXTENSION", help="Only those of this extension.")
@click.option("--state", type=click.Choice([one.value for one in NumberState]), help="Only in this state.")
@with_fleet
async def number_list(fleet: Fleet, account: str, site: str, extension: str, state: str | None) -> object:
    """The numbers, their states and their extensions."""
    wanted = NumberState(state) if state else None
    return await _shown(fleet, await fleet.numbers(account, site=site, extension=extension, state=wanted))


@number.command("assign")
@_NUMBER
@click.option("--extension", required=True, metavar="EXTENSION", help="Number or id of the extension.")
@_IN_ACCOUNT
@with_fleet
async def number_assign(fleet: Fleet, number: str, extension: str, account: str) -> object:
    """Give NUMBER to an extension of the same account."""
    return await _shown(fleet, await fleet.assign_number(number, extension=extension, account=account))


@number.command("unassign")
@_NUMBER
@_IN_ACCOUNT
@with_fleet
async def number_unassign(fleet: Fleet, number: str, account: str) -> object:
    """Take NUMBER from its extension; the phone goes on."""
    return await _shown(fleet, await fleet.unassign_number(number, account=account))


@number.command("hold")
@_NUMBER
@_IN_ACCOUNT
@click.option("--hold", type=float, default=HOLD, metavar="SECONDS", help="How long.  [default: 600]")
@with_fleet
async def number_hold(fleet: Fleet, number: str, account: str, hold: float) -> object:
    """Keep NUMBER for you for a while."""
    return await _shown(fleet, await fleet.hold_number(number, account=account, seconds=hold))


@number.command("release")
@_NUMBER
@_IN_ACCOUNT
@with_fleet
async def number_release(fleet: Fleet, number: str, account: str) -> object:
    """Keep NUMBER no longer, whoever holds it."""
    return await _shown(fleet, await fleet.release_number(number, account=account))


@number.command("ported")
@_NUMBER
@_IN_ACCOUNT
@with_fleet
async def number_ported(fleet: Fleet, number: str, account: str) -> object:
    """Say that NUMBER has come: it counts for its extension from now on."""
    return await _shown(fleet, await fleet.number_ported(number, account=account))


@number.command("remove")
@_NUMBER
@_IN_ACCOUNT
@with_fleet
async def number_remove(fleet: Fleet, number: str, account: str) -> object:
    """Remove an available NUMBER from the pool."""
    await fleet.remove_number(number, account=account)
    return Shown({"removed": number}, f"removed {number}")


async def _shown(fleet: Fleet, found: object) -> Shown:
    """With the names of places and the numbers of extensions."""
    return Shown(found, names=await names_in(fleet, found))
