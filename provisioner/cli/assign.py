"""Putting people on phones from the command line: one word for what binding, freeing and telling phones are."""

from __future__ import annotations

import asyncio
from typing import Final

import click

from provisioner.cli.session import MAC, Verb, acting, session
from provisioner.fleet.assign import Assigned, Assignment, Released
from provisioner.model import Mac
from provisioner.store.database import Store
from provisioner.terminal import Shown
from provisioner.vendors import drivers


@click.command("assign", cls=Verb)
@click.argument("mac", type=MAC)
@click.argument("line", type=click.IntRange(1, 999))
@click.option("--extension", default="", metavar="EXTENSION", help="Number or id of the extension.")
@click.option("--user", default="", metavar="USER", help="Name, mail address or id of who holds one extension.")
@click.option("--label", default="", metavar="TEXT", help="What stands beside the key, where it is not the number.")
@click.option("--replace", is_flag=True, help="Take the extension from the phone that has had it longest.")
@click.option("--resync/--no-resync", default=True, help="Tell the phones to fetch again.")
def device_assign(mac: Mac, line: int, extension: str, user: str, label: str, replace: bool, resync: bool) -> object:
    """Put an extension, or a user's one, on LINE, whatever is there now, and have the phones fetch again."""

    async def call() -> Assigned:
        async with _store() as store:
            return await _desk(store).assign(
                mac, line, extension=extension, user=user, label=label, replace=replace, resync=resync
            )

    found = asyncio.run(call())
    text = f"extension {found.binding.number} is on line {line} of {mac.colons}"
    freed = [f"extension {one.number} is off line {one.line} of {one.mac.colons}" for one in found.freed]
    return Shown(found, "\n".join([text, *freed, *_told(found.campaign)]))


@click.command("release", cls=Verb)
@click.argument("mac", type=MAC)
@click.argument("line", type=click.IntRange(1, 999))
@click.option("--resync/--no-resync", default=True, help="Tell the phone to fetch again.")
def device_release(mac: Mac, line: int, resync: bool) -> object:
    """Free LINE and have the phone fetch what no longer holds the extension and its password."""

    async def call() -> Released:
        async with _store() as store:
            return await _desk(store).release(mac, line, resync=resync)

    found = asyncio.run(call())
    return Shown(found, "\n".join([f"line {line} of {mac.colons} is free", *_told(found.campaign)]))


ASSIGNING: Final = (device_assign, device_release)
"""Words of `provisioner device`."""


def _store() -> Store:
    return Store.of(session().settings())


def _desk(store: Store) -> Assignment:
    known = {one.manifest.name: one for one in drivers(session().settings().data / "templates")}
    return Assignment(store, known, actor=acting())


def _told(campaign: str) -> list[str]:
    return [f"resync {campaign}: `provisioner resync --status` says how far it is"] if campaign else []
