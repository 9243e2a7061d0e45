"""Alarms by SNMP on the command line: each receiver is sent a test, and said to have taken it or not."""

from __future__ import annotations

import asyncio
import time

import click

from provisioner.cli.session import OK, REFUSED, Nouns, session
from provisioner.errors import NotFound, ProvisionerError
from provisioner.settings import Settings
from provisioner.terminal import Shown


@click.group(cls=Nouns)
def trap() -> None:
    """Alarms by SNMP: who is told of them stands in trap.receivers."""


@trap.command("test")
@click.argument("name", metavar="[RECEIVER]", default="")
def trap_test(name: str) -> object:
    """Send a test to RECEIVER, as trap.receivers has it, or to all of them; exit code 1 where one is not told."""
    configured = session().settings()
    wanted = [one for one in configured.trap_receivers if name in {"", one}]
    if not wanted:
        there = ", ".join(configured.trap_receivers)
        raise NotFound(
            f"{name!r} is not in trap.receivers: {there}" if there else "nobody is told: trap.receivers is empty"
        )
    rows = asyncio.run(_tested(configured, wanted))
    return Shown(rows, exit_code=OK if all(one["told"] for one in rows) else REFUSED)


async def _tested(configured: Settings, wanted: list[str]) -> list[dict[str, object]]:
    from provisioner.switches.engine import close_shared  # pysnmp is loaded only where it is used

    try:
        return [await _row(configured, one) for one in wanted]
    finally:
        await close_shared()


async def _row(configured: Settings, name: str) -> dict[str, object]:
    from provisioner.switches.trap_words import receiver
    from provisioner.switches.traps import send_test

    try:
        who = receiver(name)
        await send_test(configured, who, time.time())
    except ProvisionerError as error:
        return {"receiver": name, "told": False, "says": error.cause}
    says = "confirmed" if who.confirmed else "sent; nobody confirms a trap of SNMPv2c: look whether it is there"
    return {"receiver": name, "told": True, "says": says}
