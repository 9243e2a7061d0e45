"""`provisioner keylog`: the TLS secrets of one device, recorded for a while, so that its frames can be read."""

from __future__ import annotations

import time

import click

from provisioner.cli.session import MAC, Nouns, with_desk
from provisioner.desk import counted
from provisioner.fleet.key_recording import KeyRecording
from provisioner.model import Mac
from provisioner.store.key_recordings import Recording
from provisioner.terminal import Shown, moment

with_recording = with_desk(KeyRecording)


@click.group(cls=Nouns)
def keylog() -> None:
    """The TLS secrets of one device: `capture bundle` puts them beside its frames, and Wireshark reads those."""


@keylog.command("open")
@click.argument("mac", type=MAC)
@click.option("--minutes", type=float, default=None, help="For how long.  [default: recorder.key_minutes]")
@with_recording
async def keylog_open(desk: KeyRecording, mac: Mac, minutes: float | None) -> object:
    """Record them from now on; it ends by itself, and what it has deletes itself."""
    return _shown(await desk.open_key_recording(mac, minutes))


@keylog.command("close")
@click.argument("mac", type=MAC)
@with_recording
async def keylog_close(desk: KeyRecording, mac: Mac) -> object:
    """End it before its time; what was recorded is kept for a while."""
    was_open = await desk.close_key_recording(mac)
    return Shown({"closed": was_open}, "closed" if was_open else "it was not open")


@keylog.command("show")
@click.argument("mac", type=MAC, required=False)
@with_recording
async def keylog_show(desk: KeyRecording, mac: Mac | None) -> object:
    """Whose are recorded, until when, and when they are deleted."""
    found = await desk.key_recordings(mac)
    return Shown([_whole(one) for one in found], "\n".join(map(_said, found)) or "no TLS secrets are recorded")


@keylog.command("take")
@click.argument("mac", type=MAC)
@with_recording
async def keylog_take(desk: KeyRecording, mac: Mac) -> object:
    """Print them as lines of a key log; that is an event. For `capture bundle --keys-stdin` on another machine."""
    lines = await desk.take_tls_secrets(mac)
    click.echo("Whoever has these lines and the frames reads all that the phone has got, passwords too.", err=True)
    return Shown({"mac": mac, "lines": lines}, "\n".join(lines))


@keylog.command("delete")
@click.argument("mac", type=MAC)
@with_recording
async def keylog_delete(desk: KeyRecording, mac: Mac) -> object:
    """End it and delete what was recorded, at once."""
    count = await desk.delete_key_recording(mac)
    return Shown({"connections": count}, f"deleted, with the secrets of {counted(count, 'connection')}")


def _shown(one: Recording) -> Shown:
    return Shown(_whole(one), _said(one))


def _said(one: Recording) -> str:
    now, kept = time.time(), counted(one.connections, "connection")
    state = f"recorded until {moment(one.until)}" if one.is_open(now) else f"were recorded until {moment(one.until)}"
    return f"{one.mac.colons}: TLS secrets {state}, by {one.actor}; {kept}; deleted at {moment(one.gone_at)}"


def _whole(one: Recording) -> dict[str, object]:
    names = ("mac", "opened_at", "until", "gone_at", "actor", "connections")
    return {name: getattr(one, name) for name in names} | {"open": one.is_open(time.time())}
