"""What happened and what lies on disk: events, database, firmware images."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from provisioner.cli.session import MAC, OK, REFUSED, Nouns, Verb, session, with_fleet
from provisioner.errors import Invalid
from provisioner.events import require_kind
from provisioner.firmware import FirmwareShelf
from provisioner.fleet.fleet import Fleet
from provisioner.installation import vendors
from provisioner.model import Mac, Verdict
from provisioner.store import migrations
from provisioner.store.rotation import Rotated
from provisioner.store.rows import StoredEvent
from provisioner.terminal import Shown

_NAMED: Final = 10
"""Damaged values told to people."""
_FOR_PROGRAMS: Final[Mapping[str, Collection[str]]] = {"storm_shaped": ("standing",)}
"""Details of a kind that are JSON, and which the others say in words."""


@click.command("events", cls=Verb)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many, newest last.")
@click.option(
    "--kind", default="", metavar="KIND", help="Only this kind, such as pin_mismatch; any other word lists them."
)
@click.option("--mac", type=MAC, metavar="MAC", help="Only this device, or who came in its name.")
@with_fleet
async def events(fleet: Fleet, limit: int, kind: str, mac: Mac | None) -> object:
    """What happened: refusals with their reason, pins, and every change an administrator made."""
    found = await fleet.events(limit=limit, kind=kind, mac=mac or "", named=True)
    if kind and not found:  # kinds of an older version are found, though no longer known
        _require(kind)
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


def _require(kind: str) -> None:
    try:
        require_kind(kind)
    except Invalid as error:
        raise click.BadParameter(error.why, param_hint="--kind") from error


def _in_short(event: StoredEvent) -> str:
    """A refusal's reason, verdict and path; of anything else all there is. JSON has every detail."""
    told = {name: value for name, value in event.details.items() if name not in _FOR_PROGRAMS.get(event.kind, ())}
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


@db.command("rotate-key")
@click.option("--revoke-tokens", is_flag=True, help="Close token URLs that only the old key finds.")
@with_fleet
async def db_rotate_key(fleet: Fleet, revoke_tokens: bool) -> object:
    """Make a new master key and seal every secret with it, while the server runs; goes on where a crash ended it.

    The old key leaves the file when nothing needs it any more: at the end, or once the token URLs opened under it are
    over. Exit code 1 when it stays, or when something was found that no key opens.
    """
    told = await fleet.rotate_key(revoke_tokens=revoke_tokens)
    done = told.finished and not told.unreadable
    return Shown(told, _of_rotation(told), exit_code=OK if done else REFUSED)


def _of_rotation(told: Rotated) -> str:
    begun = "made a new key" if told.new_key else "went on with the rotation that had begun"
    lines = [f"{begun}; {told.resealed} values and files are sealed with it now"]
    if told.finished:
        lines.append("the old key is gone: back master.key up; keep the old copy as long as backups of the database")
    else:
        until = datetime.fromtimestamp(told.tokens_until, UTC)
        lines.append(
            f"token URLs opened before still work: {told.tokens}, the last until {until:%Y-%m-%d %H:%M} UTC. Only the "
            "old key finds them, so it stays: run this again then, or now with --revoke-tokens"
        )
    lines += [f"cannot be opened by any key, and was left as it is: {one}" for one in told.unreadable[:_NAMED]]
    if (more := len(told.unreadable) - _NAMED) > 0:
        lines.append(f"and {more} more; --json names them all")
    return "\n".join(lines)


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
