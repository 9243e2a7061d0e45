"""What sites, users and extensions that are there already say of themselves, on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import click

from provisioner.cli.people import IN_ACCOUNT, extension, site, user
from provisioner.cli.session import names_in, with_fleet
from provisioner.fleet.fleet import Fleet
from provisioner.places import Address, UserKind
from provisioner.terminal import Shown

__all__ = ["extension", "site", "user"]
"""The groups with these commands in them."""


@site.command("change")
@click.argument("site")
@click.option("--name", metavar="NAME", help="Another name.")
@click.option("--time-zone", metavar="ZONE", help="IANA name; '' for its account's.")
@click.option("--street", metavar="TEXT", help="Of its address; with --city and --country.")
@click.option("--city", metavar="TEXT", help="Of its address.")
@click.option("--region", metavar="TEXT", help="State or county.")
@click.option("--postal-code", metavar="TEXT", help="Of its address.")
@click.option("--country", metavar="CC", help="Two letters, ISO 3166-1.")
@click.option("--location", metavar="TEXT", help="Where in the building, for who comes in an emergency.")
@click.option("--notify", multiple=True, metavar="ADDRESS", help="Hears of missing addresses; repeated; '' for nobody.")
@click.option("--network", "networks", multiple=True, metavar="CIDR", help="Of its phones; repeated; '' for none.")
@with_fleet
async def site_change(
    fleet: Fleet,
    /,
    site: str,
    name: str | None,
    time_zone: str | None,
    location: str | None,
    notify: tuple[str, ...],
    networks: tuple[str, ...],
    **lines: str | None,
) -> object:
    """Say something else of SITE; what is not named stays. An address changes as a whole; '' for each line: none."""
    found = await fleet.change_site(
        site, name=name, time_zone=time_zone, address=_address(lines), location=location,
        notify=_listed(notify), networks=_listed(networks),
    )  # fmt: skip
    return Shown(found, names=await names_in(fleet, found))


def _address(lines: Mapping[str, str | None]) -> Address | None:
    """None where no line of it is named."""
    given = {key: value for key, value in lines.items() if value is not None}
    return replace(Address(), **given) if given else None


def _listed(given: tuple[str, ...]) -> list[str] | None:
    """None where nothing is named; an empty word takes all away."""
    return [one for one in given if one] if given else None


@user.command("change")
@click.argument("user")
@click.option("--name", metavar="NAME", help="Another name.")
@click.option("--kind", type=click.Choice([one.value for one in UserKind]), help="A place is a lobby or the like.")
@click.option("--street", metavar="TEXT", help="Where help is sent to; with --city and --country.")
@click.option("--city", metavar="TEXT", help="Of that address.")
@click.option("--region", metavar="TEXT", help="State or county.")
@click.option("--postal-code", metavar="TEXT", help="Of that address.")
@click.option("--country", metavar="CC", help="Two letters, ISO 3166-1.")
@click.option("--location", metavar="TEXT", help="Where in the building.")
@with_fleet
async def user_change(
    fleet: Fleet, /, user: str, name: str | None, kind: str | None, location: str | None, **lines: str | None
) -> object:
    """Call USER otherwise, make a place of them, or say where help is sent to from their phones.

    An address changes as a whole; '' for each line: where the phone's site is.
    """
    chosen = UserKind(kind) if kind else None
    found = await fleet.change_user(user, name=name, kind=chosen, address=_address(lines), location=location)
    return Shown(found, names=await names_in(fleet, found))


@extension.command("change")
@click.argument("extension")
@IN_ACCOUNT
@click.option("--display-name", metavar="TEXT", help="What the phone shows and sends; '' for none.")
@click.option("--auth-user", metavar="NAME", help="SIP user name; '' for the number.")
@click.option("--user", metavar="USER", help="Hand it with its phones to another user of its account.")
@with_fleet
async def extension_change(
    fleet: Fleet, extension: str, account: str, display_name: str | None, auth_user: str | None, user: str | None
) -> object:
    """Let phones show or send something else for EXTENSION, or hand it over; they get it with their next fetch."""
    found = await fleet.change_extension(
        extension, account=account, display_name=display_name, auth_user=auth_user, user=user
    )
    return Shown(found, names=await names_in(fleet, found))


@extension.command("lines")
@click.argument("extension")
@IN_ACCOUNT
@with_fleet
async def extension_lines(fleet: Fleet, extension: str, account: str) -> object:
    """On which lines EXTENSION is; the phone that has had it longest comes first."""
    return await fleet.lines_of(extension, account=account)
