"""Devices and token URLs on the command line: each command is one use-case of the Fleet."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import click

from provisioner.certificates import stamp
from provisioner.cli.rebind import BINDING, whose_line
from provisioner.cli.revisions import LINES
from provisioner.cli.session import MAC, Nouns, device_url, names_in, session, told_anew, with_fleet, writing
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.sightings import SeenAt
from provisioner.model import DeviceState, Mac
from provisioner.terminal import Shown, as_row
from provisioner.vendors import drivers
from provisioner.wiping import Wipe

THE_MAC = click.argument("mac", type=MAC)


@click.group(cls=Nouns)
def device() -> None:
    """Phones and ATAs, by MAC address."""


for _word in (*BINDING, *LINES):
    device.add_command(_word)


@device.command("add")
@THE_MAC
@click.option("--vendor", required=True, metavar="VENDOR", help="poly or yealink.")
@click.option("--model", required=True, metavar="MODEL", help="As in docs/reference/models.md or `device models`.")
@click.option("--account", required=True, metavar="ACCOUNT", help="Name or id of the account.")
@click.option("--site", default="", metavar="SITE", help="Name or id of the site it stands at.")
@with_fleet
async def device_add(fleet: Fleet, mac: Mac, vendor: str, model: str, account: str, site: str) -> object:
    """Add the device with this MAC."""
    return await _named(fleet, await fleet.add_device(mac, vendor=vendor, model=model, account=account, site=site))


async def _named(fleet: Fleet, found: object) -> Shown:
    """With what people call the accounts, sites and extensions in it."""
    return Shown(found, names=await names_in(fleet, found))


@device.command("list")
@click.option("--account", default="", metavar="ACCOUNT", help="Only those of this account (name or id).")
@click.option("--site", default="", metavar="SITE", help="Only those at this site (name or id).")
@click.option("--vendor", default="", metavar="VENDOR", help="Only this vendor's.")
@click.option("--model", default="", metavar="MODEL", help="Only this model.")
@click.option("--state", type=click.Choice([one.value for one in DeviceState]), help="Only in this state.")
@click.option("--after", default="", metavar="MAC", help="Only MACs behind this one: the next page.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="How many.")
@with_fleet
async def device_list(fleet: Fleet, /, state: str | None, **wanted: Any) -> object:
    """The devices, by MAC."""
    found = await fleet.devices(state=DeviceState(state) if state else None, **wanted)
    columns = ("mac", "vendor", "model", "state", "account", "site", "firmware")
    return Shown(found, columns=columns, names=await names_in(fleet, found))


@device.command("models")
@click.option("--vendor", default="", metavar="VENDOR", help="Only this vendor's.")
def device_models(vendor: str) -> object:
    """The models that a device may be of."""
    models = [one for driver in drivers() for one in driver.manifest.models.values() if vendor in {"", one.vendor}]
    return Shown(models, columns=("vendor", "name", "family", "lines", "line_keys", "ports", "min_firmware", "note"))


@device.command("show")
@THE_MAC
@with_fleet
async def device_show(fleet: Fleet, mac: Mac) -> object:
    """One device, and how far it is after it was bound."""
    found, progress = await fleet.device(mac), await fleet.progress(mac, session().settings())
    told = as_row(found) | {"activation": progress.stage} | ({"what_to_do": progress.hint} if progress.hint else {})
    told |= _whereabouts(await fleet.seen_at(mac)) | _forgets(await fleet.wipe(mac))
    return Shown(told, names=await names_in(fleet, found))


def _whereabouts(seen: SeenAt) -> dict[str, object]:
    """From where it came last, and whether it is away, as far as that is known."""
    told: dict[str, object] = {"seen_from": seen.address, "seen_at": seen.site_name}
    if seen.away:
        told |= {"away": seen.away.state, "heard_of": seen.away.seen}
    return {name: value for name, value in told.items() if value}


def _forgets(wipe: Wipe) -> dict[str, object]:
    """What it is to forget, where that is anything."""
    if not (wipe.everything or wipe.lines):
        return {}
    told: dict[str, object] = {
        "forgets": "everything" if wipe.everything else f"line {', '.join(map(str, wipe.lines))}"
    }
    if wipe.since is not None:
        told["wipe_pending_since" if wipe.pending else "wipe_asked_at"] = wipe.since
        told |= {"wipe_fetched_at": wipe.fetched} if wipe.fetched else {}
    return told | ({"replaced_by": wipe.replaced_by} if wipe.replaced_by else {})


@device.command("move")
@THE_MAC
@click.option("--account", required=True, metavar="ACCOUNT", help="Name or id of the new account.")
@click.option("--site", default="", metavar="SITE", help="Name or id of the new site.")
@with_fleet
async def device_move(fleet: Fleet, mac: Mac, account: str, site: str) -> object:
    """Give the device to another account or site."""
    return await _named(fleet, await fleet.move_device(mac, account=account, site=site))


@device.command("set-model")
@THE_MAC
@click.option("--model", required=True, metavar="MODEL", help="As in docs/reference/models.md.")
@with_fleet
async def device_set_model(fleet: Fleet, mac: Mac, model: str) -> object:
    """Correct the device's model."""
    return await _named(fleet, await fleet.set_model(mac, model=model))


@device.command("remove")
@THE_MAC
@with_fleet
async def device_remove(fleet: Fleet, mac: Mac) -> object:
    """Remove the device with its bindings and layer; it keeps what it has, so `device wipe` it first."""
    await fleet.remove_device(mac)
    return Shown({"removed": mac}, f"removed device {mac.colons}")


@device.command("revoke")
@THE_MAC
@with_fleet
async def device_revoke(fleet: Fleet, mac: Mac) -> object:
    """Serve the device nothing any more, on every worker within seconds."""
    return await _named(fleet, await fleet.revoke_device(mac))


@device.command("restore")
@THE_MAC
@with_fleet
async def device_restore(fleet: Fleet, mac: Mac) -> object:
    """Take a revocation back."""
    return await _named(fleet, await fleet.restore_device(mac))


@device.command("bind")
@THE_MAC
@click.argument("line", type=click.IntRange(1, 999))
@whose_line
@click.option("--label", default="", metavar="TEXT", help="What stands beside the key, where it is not the number.")
@click.option("--replace", is_flag=True, help="Take it away from the phone that has had it longest.")
@with_fleet
async def device_bind(fleet: Fleet, /, mac: Mac, line: int, **wanted: Any) -> object:
    """Bind an extension, or a person's one, to the device's line key or port LINE."""
    found, begun = await fleet.bound(mac, line, **wanted)
    data = {**as_row(found), "exchanged": begun.exchanged}
    shown = {**as_row(found), "SIP password": "; ".join(told_anew(begun.exchanged)) or "as before"}
    return Shown(data, rows=shown, names=await names_in(fleet, found))


@device.command("unbind")
@THE_MAC
@click.argument("line", type=click.IntRange(1, 999))
@with_fleet
async def device_unbind(fleet: Fleet, mac: Mac, line: int) -> object:
    """Free the device's LINE; `device show` says when it has fetched what empties that."""
    await fleet.unbind(mac, line)
    return Shown({"unbound": mac, "line": line}, f"line {line} of {mac.colons} is free")


@device.command("bindings")
@THE_MAC
@with_fleet
async def device_bindings(fleet: Fleet, mac: Mac) -> object:
    """Which extension is, and was, on which line."""
    return await _named(fleet, await fleet.bindings(mac))


@device.command("allow")
@THE_MAC
@click.option("--token/--no-token", default=None, help="Token URLs.")
@click.option("--digest/--no-digest", default=None, help="HTTP Digest.")
@click.option("--expired/--no-expired", default=None, help="An expired certificate while it is the pinned one.")
@with_fleet
async def device_allow(fleet: Fleet, mac: Mac, token: bool | None, digest: bool | None, expired: bool | None) -> object:
    """Say what the device may use instead of a good certificate."""
    device = await fleet.allow(mac, token=token, digest=digest, expired=expired)
    if digest:
        _warn_digest_is_off()
    return await _named(fleet, device)


@device.command("accept-pin")
@THE_MAC
@click.option("--key", default="", metavar="SHA256", help="The key that came, as its alarm names it; 16 digits do.")
@with_fleet
async def device_accept_pin(fleet: Fleet, mac: Mac, key: str) -> object:
    """Pin the key of a `pin_mismatch` alarm instead of the pinned one; without --key the only one that came."""
    return await _named(fleet, await fleet.accept_pin(mac, key=key))


@device.command("forget-pin")
@THE_MAC
@with_fleet
async def device_forget_pin(fleet: Fleet, mac: Mac) -> object:
    """Forget the pinned key: whoever comes next with this MAC is pinned. Weaker than accept-pin."""
    return await _named(fleet, await fleet.forget_pin(mac))


@device.command("digest-secret")
@THE_MAC
@with_fleet
async def device_digest_secret(fleet: Fleet, mac: Mac) -> object:
    """Make a new HTTP Digest password and print it once; the user name is the MAC."""
    secret = await fleet.set_digest(mac)
    _warn_digest_is_off()
    return Shown({"mac": mac, "secret": secret}, secret)


@device.command("fetches")
@THE_MAC
@with_fleet
async def device_fetches(fleet: Fleet, mac: Mac) -> object:
    """The files it fetched last, with status, size and proof."""
    columns = ("at", "file", "status", "size", "proof", "listener", "tls_version", "firmware")
    return Shown(await fleet.fetches(mac), columns=columns)


@device.command("uploads")
@THE_MAC
@with_fleet
async def device_uploads(fleet: Fleet, mac: Mac) -> object:
    """The files it has sent, and for whom; those of former users are kept for them and not served."""
    columns = ("name", "kind", "size", "at", "owner", "served", "digest")
    return Shown(await fleet.uploads(mac), columns=columns)


@device.command("upload")
@THE_MAC
@click.argument("sha256", metavar="SHA256")
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@with_fleet
async def device_upload(fleet: Fleet, mac: Mac, sha256: str, file: Path) -> object:
    """Write a file that it has sent to FILE; `device uploads` lists them with their SHA-256."""
    found, body = await fleet.upload(mac, sha256)
    with writing(file):
        await asyncio.to_thread(file.write_bytes, body)
    return Shown({"name": found.name, "size": len(body), "file": str(file)}, f"{found.name} is in {file}")


@device.command("certificates")
@THE_MAC
@with_fleet
async def device_certificates(fleet: Fleet, mac: Mac) -> object:
    """The last certificates that it came with, each with the CAs above it, down from its own."""
    found = await fleet.certificates(mac)
    rows = [
        {"came": one.at, "subject": cert.subject, "not_after": stamp(cert.not_after), "key": f"{cert.key} {cert.bits}",
         "sha256": cert.fingerprint[:16], "pinned": one.pinned if cert is one.chain[0] else ""}
        for one in found
        for cert in one.chain
    ]  # fmt: skip
    return Shown(found, rows=rows)


@device.command("seen")
@with_fleet
async def device_seen(fleet: Fleet) -> object:
    """Devices with a good certificate that nobody has added."""
    return await fleet.seen()


def _warn_digest_is_off() -> None:
    if not session().settings().digest_enabled:
        click.echo(
            "Warning: this server asks nobody for HTTP Digest: set digest.enabled = true and restart it.", err=True
        )


@click.group(cls=Nouns)
def token() -> None:
    """Token URLs for devices without a usable certificate."""


@token.command("open")
@THE_MAC
@click.option("--window", type=click.IntRange(60, 2_592_000), help="How long it works, s.  [default: token.window]")
@click.option("--fetches", type=click.IntRange(1, 10_000), help="How many files.  [default: token.fetches]")
@with_fleet
async def token_open(fleet: Fleet, mac: Mac, window: int | None, fetches: int | None) -> object:
    """Open a token URL for the device and print it once."""
    settings = session().settings()
    _, path = await fleet.open_token(
        mac, now=time.time(), window=window or settings.token_window, fetches=fetches or settings.token_fetches
    )
    url = device_url(settings) + path.lstrip("/")
    return Shown({"mac": mac, "url": url}, url)


@token.command("list")
@THE_MAC
@with_fleet
async def token_list(fleet: Fleet, mac: Mac) -> object:
    """The device's tokens, without their secret part."""
    return await fleet.tokens(mac)


@token.command("revoke")
@THE_MAC
@with_fleet
async def token_revoke(fleet: Fleet, mac: Mac) -> object:
    """Close all token URLs of the device."""
    await fleet.revoke_tokens(mac)
    return Shown({"revoked": mac}, f"revoked the tokens of {mac.colons}")
