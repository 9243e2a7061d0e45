"""What happened and what lies on disk: events, database, firmware images."""

from __future__ import annotations

from pathlib import Path

import click

from provisioner.cli_output import Shown
from provisioner.cli_session import MAC, OK, REFUSED, Nouns, Verb, session, with_fleet
from provisioner.errors import Invalid
from provisioner.firmware import FirmwareShelf
from provisioner.fleet import Fleet
from provisioner.installation import vendors
from provisioner.model import Mac, Verdict
from provisioner.store import migrations
from provisioner.store.rows import StoredEvent


@click.command("events", cls=Verb)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many, newest last.")
@click.option("--kind", default="", metavar="KIND", help="Only this kind, such as pin_mismatch.")
@click.option("--mac", type=MAC, metavar="MAC", help="Only this device, or who came in its name.")
@with_fleet
async def events(fleet: Fleet, limit: int, kind: str, mac: Mac | None) -> object:
    """What happened: refusals with their reason, pins, and every change an administrator made."""
    found = await fleet.events(limit=limit, kind=kind, mac=mac or "", named=True)
    rows = [
        {
            "at": one.at,
            "severity": one.severity,
            "kind": one.kind,
            "mac": one.mac,
            "by": one.actor,
            "what": _in_short(one),
        }
        for one in found
    ]
    return Shown(found, rows=rows)


def _in_short(event: StoredEvent) -> str:
    """A refusal's reason, verdict and path; of anything else all there is. JSON has every detail."""
    told = event.details
    if "reason" not in told:
        return ", ".join(f"{name}={value}" for name, value in told.items() if value)
    where = ", ".join(told[name] for name in ("verdict", "path", "address") if told.get(name))
    if told.get("issuer") and told.get("verdict") == Verdict.UNTRUSTED:
        where += f", issued by {told['issuer']}"
    return f"{told['reason']} ({where})"


@click.group(cls=Nouns)
def db() -> None:
    """The database."""


@db.command("upgrade")
def db_upgrade() -> object:
    """Bring the database to the version this program needs; every step is one transaction."""
    url = session().settings().database_url
    before = migrations.current(url)
    version = migrations.upgrade(url)
    changed = before != version
    text = f"upgraded from {before or 'nothing'} to {version}" if changed else f"version {version} already"
    return Shown({"version": version, "before": before, "changed": changed}, text)


@db.command("status")
def db_status() -> object:
    """The version the database has, and the one this program needs; exit code 1 when they differ."""
    found, needed = migrations.current(session().settings().database_url), migrations.head()
    return Shown({"version": found, "needed": needed}, exit_code=OK if found == needed else REFUSED)


@click.group(cls=Nouns)
def firmware() -> None:
    """Firmware images that devices may fetch."""


@firmware.command("list")
def firmware_list() -> object:
    """The images with their SHA-256."""
    return Shown(_shelf().listing(), columns=("vendor", "name", "size", "sha256"))


@firmware.command("add")
@click.argument("vendor")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", default="", help="The name phones ask for, where it is not the file's.")
def firmware_add(vendor: str, file: Path, name: str) -> object:
    """Offer the image FILE to devices of VENDOR."""
    if vendor not in vendors():
        raise Invalid("vendor", f"{vendor!r} is none of {', '.join(vendors())}")
    return Shown([_shelf().add(vendor, file, name)], columns=("vendor", "name", "size", "sha256"))


def _shelf() -> FirmwareShelf:
    return FirmwareShelf(session().settings().data / "firmware")
