"""Policies and licenses on the command line: each command is one use-case of the Fleet."""

from __future__ import annotations

from typing import Any, Final

import click

from provisioner.cli.session import Nouns, names_in, with_fleet
from provisioner.fleet.fleet import Fleet
from provisioner.licensing import (
    MOST_PHONES,
    CodeMails,
    CodeNetworks,
    EmergencyRule,
    LicenseKind,
    LicenseState,
    Rotation,
)
from provisioner.terminal import Shown

_KINDS: Final = [one.value for one in LicenseKind]
_ACCOUNT: Final = click.option("--account", required=True, metavar="ACCOUNT", help="Name or id of the account.")
_IN_ACCOUNT: Final = click.option("--account", default="", metavar="ACCOUNT", help="Where several have such a user.")
_OF_ACCOUNT: Final = click.option("--account", default="", metavar="ACCOUNT", help="Only those of this account.")
_KIND: Final = click.option(
    "--kind", type=click.Choice(_KINDS), default=LicenseKind.USER.value, show_default=True, help="What it is for."
)
_COUNT: Final = click.option("--count", type=int, default=1, metavar="NUMBER", help="How many.  [default: 1]")
_WHICH: Final = click.argument("license", metavar="LICENSE|USER")


@click.group(cls=Nouns)
def policy() -> None:
    """What an account asks for before a phone is somebody's, and how many phones an extension may have."""


@policy.command("show")
@click.argument("account")
@with_fleet
async def policy_show(fleet: Fleet, account: str) -> object:
    """The policy of ACCOUNT."""
    return await _shown(fleet, await fleet.policy(account))


@policy.command("set")
@click.argument("account")
@click.option("--license/--no-license", "needs_license", default=None, help="Its users need one for a phone.")
@click.option("--number/--no-number", "needs_number", default=None, help="Its extensions need one for a phone.")
@click.option("--phones", type=int, metavar="NUMBER", help=f"Phones of one extension, 1 to {MOST_PHONES}.")
@click.option("--reserved", metavar="LIST", help="Numbers that no extension may have, with commas; '' for none.")
@click.option(
    "--rotation",
    type=click.Choice([one.value for one in Rotation]),
    help="Which SIP passwords change when an extension comes to another phone: those made here, all, none.",
)
@click.option(
    "--emergency",
    type=click.Choice([one.value for one in EmergencyRule]),
    help="A line without an address for emergency calls: warn tells of it, block refuses it.",
)
@click.option(
    "--networks",
    type=click.Choice([one.value for one in CodeNetworks]),
    help="From where activation codes may be used: anywhere, or the networks of the phone's site.",
)
@click.option(
    "--mails",
    type=click.Choice([one.value for one in CodeMails]),
    help="Activation codes that are mailed when issued: all, those asked for, or as the house's mail.on_issue says.",
)
@with_fleet
async def policy_set(fleet: Fleet, /, account: str, reserved: str | None, **asked: Any) -> object:
    """Change the policy of ACCOUNT; what is not named stays as it is."""
    listed = None if reserved is None else [one.strip() for one in reserved.split(",") if one.strip()]
    words = {"rotation": Rotation, "emergency": EmergencyRule, "networks": CodeNetworks, "mails": CodeMails}
    chosen = {name: kind(asked.pop(name)) for name, kind in words.items() if asked.get(name)}
    found = await fleet.set_policy(account, reserved=listed, **{**asked, **chosen})
    return await _shown(fleet, found)


@click.group(cls=Nouns)
def license() -> None:
    """Licenses that an account has bought, one row each."""


@license.command("add")
@_ACCOUNT
@_KIND
@_COUNT
@with_fleet
async def license_add(fleet: Fleet, account: str, kind: str, count: int) -> object:
    """Say that so many more were bought."""
    return await _shown(fleet, await fleet.add_licenses(LicenseKind(kind), account=account, count=count))


@license.command("remove")
@_ACCOUNT
@_KIND
@_COUNT
@with_fleet
async def license_remove(fleet: Fleet, account: str, kind: str, count: int) -> object:
    """Say that so many were given back; refused where fewer are available."""
    done = await fleet.remove_licenses(LicenseKind(kind), account=account, count=count)
    return Shown({"removed": done, "kind": kind}, f"removed {done} of kind {kind}")


@license.command("list")
@_OF_ACCOUNT
@click.option("--kind", type=click.Choice(_KINDS), help="Only of this kind.")
@click.option("--state", type=click.Choice([one.value for one in LicenseState]), help="Only in this state.")
@click.option("--user", default="", metavar="USER", help="Only those of this user.")
@with_fleet
async def license_list(fleet: Fleet, account: str, kind: str | None, state: str | None, user: str) -> object:
    """The licenses and who has them."""
    found = await fleet.licenses(
        account, kind=LicenseKind(kind) if kind else None, state=LicenseState(state) if state else None, user=user
    )
    return await _shown(fleet, found)


@license.command("totals")
@_OF_ACCOUNT
@with_fleet
async def license_totals(fleet: Fleet, account: str) -> object:
    """How many of each kind were bought, and what became of them."""
    return await _shown(fleet, await fleet.license_totals(account))


@license.command("assign")
@click.argument("user")
@_IN_ACCOUNT
@_KIND
@with_fleet
async def license_assign(fleet: Fleet, user: str, account: str, kind: str) -> object:
    """Give USER an available license of their account."""
    return await _shown(fleet, await fleet.assign_license(user, account=account, kind=LicenseKind(kind)))


@license.command("unassign")
@_WHICH
@_IN_ACCOUNT
@with_fleet
async def license_unassign(fleet: Fleet, license: str, account: str) -> object:
    """Take a license from its user; refused while they have a phone that needs it."""
    return await _shown(fleet, await fleet.unassign_license(license, account=account))


@license.command("suspend")
@_WHICH
@_IN_ACCOUNT
@with_fleet
async def license_suspend(fleet: Fleet, license: str, account: str) -> object:
    """Let a license count for nothing: the user's phones go on, and nothing further is activated."""
    return await _shown(fleet, await fleet.suspend_license(license, account=account))


@license.command("resume")
@_WHICH
@_IN_ACCOUNT
@with_fleet
async def license_resume(fleet: Fleet, license: str, account: str) -> object:
    """Let a suspended license count again."""
    return await _shown(fleet, await fleet.resume_license(license, account=account))


async def _shown(fleet: Fleet, found: object) -> Shown:
    """With the names of the users and accounts."""
    return Shown(found, names=await names_in(fleet, found))
