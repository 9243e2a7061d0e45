"""Putting people on phones from the command line: one word for what binding, freeing and telling phones are."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from typing import Final, ParamSpec

import click

from provisioner.cli.session import MAC, Verb, acting, session, told_anew, told_exchanged
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.rebind import Rebinding, Rebound, Released
from provisioner.fleet.swap import Swap, Swapped
from provisioner.fleet.swap_plan import SwapPlan
from provisioner.model import Mac
from provisioner.store.database import Store
from provisioner.terminal import Shown, as_row
from provisioner.vendor import VendorDriver
from provisioner.vendors import drivers
from provisioner.wiping import Wipe

P = ParamSpec("P")


def whose_line(command: Callable[P, object]) -> Callable[P, object]:
    """Either an extension or whose it is; neither or both is wrong usage."""

    @click.option("--extension", default="", metavar="EXTENSION", help="Number or id of the extension.")
    @click.option("--user", default="", metavar="USER", help="Name, mail address or id of who holds one extension.")
    @functools.wraps(command)
    def asked(*args: P.args, **kwargs: P.kwargs) -> object:
        if bool(kwargs["extension"]) == bool(kwargs["user"]):
            raise click.UsageError("whose line is it? Give either --extension NUMBER or --user NAME")
        return command(*args, **kwargs)

    return asked


@click.command("rebind", cls=Verb)
@click.argument("mac", type=MAC)
@click.argument("line", type=click.IntRange(1, 999))
@whose_line
@click.option("--label", default="", metavar="TEXT", help="What stands beside the key, where it is not the number.")
@click.option("--replace", is_flag=True, help="Take the extension from the phone that has had it longest.")
@click.option("--resync/--no-resync", default=True, help="Tell the phones to fetch again.")
def device_rebind(mac: Mac, line: int, extension: str, user: str, label: str, replace: bool, resync: bool) -> object:
    """Put an extension, or a user's one, on LINE, whatever is there now, and have the phones fetch again."""

    async def call() -> Rebound:
        async with _store() as store:
            return await _desk(store).rebind(
                mac, line, extension=extension, user=user, label=label, replace=replace, resync=resync
            )

    found = asyncio.run(call())
    text = f"extension {found.binding.number} is on line {line} of {mac.colons}"
    freed = [f"extension {one.number} is off line {one.line} of {one.mac.colons}" for one in found.freed]
    return Shown(found, "\n".join([text, *freed, *told_anew(found.exchanged), *_told(found.campaign)]))


@click.command("release", cls=Verb)
@click.argument("mac", type=MAC)
@click.argument("line", type=click.IntRange(1, 999))
@click.option("--resync/--no-resync", default=True, help="Tell the phone to fetch again.")
def device_release(mac: Mac, line: int, resync: bool) -> object:
    """Free LINE and have the phone fetch what empties it; `device show` says when it has."""

    async def call() -> Released:
        async with _store() as store:
            return await _desk(store).release(mac, line, resync=resync)

    found = asyncio.run(call())
    return Shown(found, "\n".join([f"line {line} of {mac.colons} is free", *_told(found.campaign)]))


@click.command("swap", cls=Verb)
@click.argument("old", type=MAC)
@click.argument("new", type=MAC)
@click.option("--dry-run", is_flag=True, help="Only say what would go over and what would be lost.")
@click.option("--yes", is_flag=True, help="Also where something is lost.")
@click.option("--vendor", default="", metavar="VENDOR", help="Of a NEW that nobody has added.")
@click.option("--model", default="", metavar="MODEL", help="Of a NEW that nobody has added.")
def device_swap(old: Mac, new: Mac, dry_run: bool, yes: bool, vendor: str, model: str) -> object:
    """Put the phone NEW in the place of OLD: lines, its own settings and site go over, and OLD is wiped."""
    about = {"vendor": vendor, "model": model}

    async def call() -> SwapPlan | Swapped:
        async with _store() as store:
            desk = Swap(store, _drivers(), actor=acting())
            if dry_run:
                return await desk.plan_swap(old, new, **about)
            token = (await desk.plan_swap(old, new, **about)).token if yes else ""
            return await desk.swap(old, new, plan=token, **about)

    found = asyncio.run(call())
    if isinstance(found, SwapPlan):
        return Shown({**as_row(found), "plan": found.token}, "\n".join(_planned(found)))
    text = f"{new.colons} has taken the place of {old.colons}, which is being wiped"
    return Shown(found, "\n".join([text, *_planned(found.plan), *told_exchanged(found.exchanged)]))


def _planned(plan: SwapPlan) -> list[str]:
    moves = [f"extension {one.number}: line {one.line} -> line {one.to}" for one in plan.moves]
    told = [f"{'lost' if one.lost else 'note'}: {one.what} {one.name}: {one.why}" for one in plan.differences]
    return [f"{plan.old_model} -> {plan.new_model}", *moves, *told]


@click.command("wipe", cls=Verb)
@click.argument("mac", type=MAC)
@click.option("--unbind", is_flag=True, help="Free its lines, too.")
@click.option("--end", is_flag=True, help="Serve the wiped device as any other again.")
def device_wipe(mac: Mac, unbind: bool, end: bool) -> object:
    """Have the device put back all that this server has told it; `device show` says when it has fetched that."""

    async def call() -> Wipe:
        async with _store() as store:
            desk = Fleet(store, _drivers(), actor=acting())
            return await (desk.end_wipe(mac) if end else desk.wipe_device(mac, unbind=unbind))

    found = asyncio.run(call())
    if end:
        return Shown(found, f"{mac.colons} is served as any other again")
    return Shown(found, f"{mac.colons} is wiped: this server waits for it to fetch what resets it")


BINDING: Final = (device_rebind, device_release, device_swap, device_wipe)
"""Words of `provisioner device`."""


def _store() -> Store:
    return Store.of(session().settings())


def _drivers() -> Mapping[str, VendorDriver]:
    return {one.manifest.name: one for one in drivers(session().settings().data / "templates")}


def _desk(store: Store) -> Rebinding:
    return Rebinding(store, _drivers(), actor=acting())


def _told(campaign: str) -> list[str]:
    return [f"resync {campaign}: `provisioner resync --status` says how far it is"] if campaign else []
