"""The audit log on the command line: checked, and exported to where nobody here can change it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TextIO

import click

from provisioner.audit_log import AuditLog, Verified, verify_file
from provisioner.cli.session import MAC, OK, REFUSED, Nouns, acting, session, with_desk, without_settings, writing
from provisioner.fleet.search import Search
from provisioner.model import Mac
from provisioner.store.database import Store
from provisioner.store.event_pages import EventFilter
from provisioner.terminal import Shown


@click.group(cls=Nouns)
def audit() -> None:
    """The audit log: every change with who made it, each row bound to the one before."""


@audit.command("list")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many, newest last.")
@click.option("--by", "actor", default="", metavar="WHO", help="Only what this administrator, key or user did.")
@click.option("--mac", type=MAC, metavar="MAC", help="Only of this device.")
@with_desk(without_settings(Search), vendors=False)
async def audit_list(desk: Search, limit: int, actor: str, mac: Mac | None) -> object:
    """Who changed what."""
    page = await desk.event_page(EventFilter(audit=True, actor=actor, mac=mac or ""), limit=limit)
    rows = [
        {"at": one.at, "by": one.actor, "kind": one.kind, "mac": one.mac, "what": one.details}
        for one in reversed(page.items)
    ]
    return Shown(list(reversed(page.items)), rows=rows)


@audit.command("verify")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check an export instead of the database.",
)
def audit_verify(file: Path | None) -> object:
    """Find rows that were edited, removed, reordered or cut off; exit code 1 when there are any."""
    told = verify_file(file) if file else asyncio.run(_verified())
    return Shown(told, _said(told), exit_code=OK if told.good else REFUSED)


async def _verified() -> Verified:
    async with Store.of(session().settings()) as store:
        return await AuditLog(store, {}, actor=acting()).verify()


def _said(told: Verified) -> str:
    if told.good:
        return f"{told.rows} rows, each in its place; the last one's hash is {told.hash}"
    return "\n".join(
        [f"the audit log of {told.rows} rows is not what was written:", *(f"- {one}" for one in told.faults)]
    )


@audit.command("export")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only rows behind this one.")
@click.option(
    "--output", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="A file instead of stdout."
)
def audit_export(after: int, output: Path | None) -> object:
    """JSON, a line a row, and the head in the last line."""
    if output is None:
        asyncio.run(_export(after, sys.stdout))
        return None
    with writing(output, "--output"), output.open("w", encoding="utf-8") as file:
        asyncio.run(_export(after, file))
    return Shown({"exported": str(output)}, f"exported to {output}")


async def _export(after: int, file: TextIO) -> None:
    async with Store.of(session().settings()) as store:
        async for line in AuditLog(store, {}, actor=acting()).export(after=after):
            file.write(line + "\n")
