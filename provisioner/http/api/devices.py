"""Devices: what administrators say of them, what they are at, and what they may use to prove themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from provisioner.fleet.device_search import DeviceQuery, Found, Page
from provisioner.http.api.cursors import paged, read_cursor, turned
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import (
    AMac,
    Fields,
    Given,
    Id,
    Maybe,
    MaybeMoment,
    MaybeRef,
    MaybeText,
    Moment,
    Paged,
    Ref,
    Told,
    Turning,
)
from provisioner.model import Device as Known
from provisioner.model import DeviceState, Mac
from provisioner.rights import Right
from provisioner.store.device_pages import Order
from provisioner.store.rows import Binding

devices = Routes("devices", "Phones and ATAs, by their MAC.")


class Allowed(Told):
    """What a device may use instead of a good certificate."""

    token: bool
    digest: bool
    expired: bool


class OnLine(Told):
    """An extension on a line."""

    line: int
    extension: Id
    number: str


class Device(Told):
    """One physical phone or ATA, as administrators have it."""

    mac: Annotated[str, Field(description="12 lower-case hex digits")]
    vendor: str
    model: str
    state: DeviceState
    account: Id
    site: Maybe
    firmware: Annotated[Maybe, Field(description="The last version that it told")]
    pinned: Annotated[Maybe, Field(description="SHA-256 of the factory key that it is held to")]
    seen_modern: Annotated[bool, Field(description="It has spoken TLS 1.2 or newer")]
    allowed: Allowed
    lines: list[OnLine]


class DeviceRow(Told):
    """A device in a list."""

    mac: str
    vendor: str
    model: str
    state: DeviceState
    account: Id
    site: Maybe
    firmware: Maybe
    lines: list[OnLine]
    last_fetch: MaybeMoment


class DevicesAsked(Turning):
    """Which devices."""

    account: MaybeRef = ""
    site: MaybeRef = ""
    vendor: MaybeText = ""
    model: MaybeText = ""
    state: DeviceState | None = None
    q: Annotated[
        str,
        Field(
            max_length=80,
            pattern=r"^[^\x00-\x1f\x7f]*$",
            description="Anything people know of it: part of a MAC, a number, a person, an IP address, an account, a "
            "site, a model, a vendor, a firmware, a state, a label",
        ),
    ] = ""
    seen_at: Annotated[MaybeRef, Field(description="A site: only devices that came last from its networks")] = ""
    sort: Annotated[Order | None, Field(description="What has no index is told by MAC all the same")] = None


class NewDevice(Given):
    """A device to add."""

    mac: AMac
    vendor: Ref
    model: Ref
    account: Ref
    site: MaybeRef = ""


class DevicePlace(Given):
    """Where a device belongs."""

    account: Ref
    site: Annotated[MaybeRef, Field(description="Empty for none")] = ""


class DeviceModel(Given):
    """What a device is."""

    model: Ref


class Access(Given):
    """What a device may use; what is left out stays."""

    token: bool | None = None
    digest: bool | None = None
    expired: bool | None = None


class Pinning(Given):
    """Which key is right."""

    key: Annotated[
        str,
        Field(max_length=128, description="Its SHA-256 or the first 16 digits; empty: the only other one that came"),
    ] = ""


class DigestSecret(Told):
    """An HTTP Digest password, told once."""

    username: str
    secret: str


class Sighting(Told):
    """A device with a good certificate that nobody has added."""

    mac: str
    vendor: str
    model: Maybe
    address: str
    first: Moment
    last: Moment
    times: int
    site: Annotated[Maybe, Field(description="The site whose network it came from; null for none, or several")]


class Pin(Told):
    """The factory key that a device is held to."""

    mac: str
    spki: str
    not_after: str
    at: Moment


def told(one: Known, bound: list[Binding]) -> Device:
    """A device with its lines."""
    allowed = {"token": one.allow_token, "digest": one.allow_digest, "expired": one.allow_expired}
    values = {name: getattr(one, name) for name in ("mac", "vendor", "model", "state", "account", "site", "firmware")}
    lines = [OnLine(line=on.line, extension=on.extension, number=on.number) for on in bound]
    return Device(**values, pinned=one.pinned, seen_modern=one.seen_modern, allowed=Allowed(**allowed), lines=lines)


async def _shown(call: AnyCall) -> Device:
    fleet = call.desks.fleet
    return told(await fleet.device(call.mac), await fleet.bindings(call.mac, active=True))


def _row(found: Found) -> dict[str, Any]:
    one, about = found.device, found.about
    names = ("mac", "vendor", "model", "state", "account", "site", "firmware")
    lines = [OnLine.model_validate(on) for on in about.lines]
    return {**{name: getattr(one, name) for name in names}, "lines": lines, "last_fetch": about.last_fetch}


@devices.get("/devices", Right.DEVICE_READ, Paged[DeviceRow], query=DevicesAsked)
async def list_devices(call: AnyCall) -> Paged[DeviceRow]:
    """The devices within reach. A page may be short before the last one: go on until `next` is null."""
    query: DevicesAsked = call.query
    wanted = DeviceQuery(query.account, query.site, query.vendor, query.model, query.state, query.q, query.sort)
    wanted = replace(wanted, seen_at=query.seen_at)
    after = read_cursor("devices", query.cursor, str)
    page = await call.desks.search.device_page(wanted, after=str(after[0]) if after else "", limit=query.limit)
    return paged("devices", page, DeviceRow, _row)


@devices.post("/devices", Right.DEVICE_WRITE, body=NewDevice, told=Device, status=201, made_at="/devices/{mac}")
async def add_device(call: AnyCall) -> Device:
    """Add a device: from now on it may prove itself and fetch."""
    given: NewDevice = call.body
    made = await call.desks.fleet.add_device(
        Mac(given.mac), vendor=given.vendor, model=given.model, account=given.account, site=given.site
    )
    return told(made, [])


@devices.get("/devices/{mac}", Right.DEVICE_READ, Device, query=Fields)
async def show_device(call: AnyCall) -> Device:
    """One device with its lines; what it is at is told by its status."""
    return await _shown(call)


@devices.delete("/devices/{mac}", Right.DEVICE_WRITE, version=show_device, must_match=True)
async def remove_device(call: AnyCall) -> None:
    """Forget a device with its bindings, layer, pin, tokens and uploads."""
    await call.desks.fleet.remove_device(call.mac)


@devices.put(
    "/devices/{mac}/place", Right.DEVICE_WRITE, body=DevicePlace, told=Device, version=show_device, must_match=True
)
async def move_device(call: AnyCall) -> Device:
    """Give a device to another account or site; into another account it goes without its lines, so unbind it first."""
    given: DevicePlace = call.body
    await call.desks.fleet.move_device(call.mac, account=given.account, site=given.site)
    return await _shown(call)


@devices.put(
    "/devices/{mac}/model", Right.DEVICE_WRITE, body=DeviceModel, told=Device, version=show_device, must_match=True
)
async def set_model(call: AnyCall) -> Device:
    """Correct a device's model; refused when what is bound or set does not fit it."""
    await call.desks.fleet.set_model(call.mac, model=call.body.model)
    return await _shown(call)


@devices.post("/devices/{mac}/revoke", Right.DEVICE_ACCESS, told=Device, version=show_device)
async def revoke_device(call: AnyCall) -> Device:
    """Serve a device nothing any more, on every worker within seconds; its lines stay for the day it is restored."""
    await call.desks.fleet.revoke_device(call.mac)
    return await _shown(call)


@devices.post("/devices/{mac}/restore", Right.DEVICE_ACCESS, told=Device, version=show_device)
async def restore_device(call: AnyCall) -> Device:
    """Take a revocation back."""
    await call.desks.fleet.restore_device(call.mac)
    return await _shown(call)


@devices.patch(
    "/devices/{mac}/access", Right.DEVICE_ACCESS, body=Access, told=Device, version=show_device, must_match=True
)
async def allow_device(call: AnyCall) -> Device:
    """Say what a device may use instead of a good certificate."""
    given: Access = call.body
    await call.desks.fleet.allow(call.mac, token=given.token, digest=given.digest, expired=given.expired)
    return await _shown(call)


@devices.post("/devices/{mac}/pin/accept", Right.DEVICE_ACCESS, body=Pinning, told=Device, version=show_device)
async def accept_pin(call: AnyCall) -> Device:
    """Pin a key that came with an alarm of this device instead of the one that is pinned."""
    await call.desks.fleet.accept_pin(call.mac, key=call.body.key)
    return await _shown(call)


@devices.delete("/devices/{mac}/pin", Right.DEVICE_ACCESS, version=show_device)
async def forget_pin(call: AnyCall) -> None:
    """Forget the pinned key: whoever comes next with this MAC and a good certificate is pinned."""
    await call.desks.fleet.forget_pin(call.mac)


@devices.post("/devices/{mac}/digest-secret", Right.SECRET_WRITE, told=DigestSecret, secret=True, version=show_device)
async def set_digest(call: AnyCall) -> DigestSecret:
    """Make a new HTTP Digest password and tell it once; the user name is the MAC."""
    return DigestSecret(username=call.mac, secret=await call.desks.fleet.set_digest(call.mac))


@devices.post("/devices/{mac}/forgive", Right.CODE_ISSUE, status=204, version=show_device)
async def forgive_device(call: AnyCall) -> None:
    """Let a device try activation codes again that was locked out for wrong ones."""
    await call.desks.codes.forgive(call.mac)


@devices.get("/seen-devices", Right.SERVER_READ, Paged[Sighting], query=Turning)
async def list_seen(call: AnyCall) -> Paged[Sighting]:
    """Devices with a good certificate that nobody has added, by MAC."""
    return turned("seen-devices", await call.desks.fleet.seen(), call.query, lambda one: one.mac, Sighting)


@devices.get("/pins", Right.SERVER_READ, Paged[Pin], query=Turning)
async def list_pins(call: AnyCall) -> Paged[Pin]:
    """All pinned factory keys, by MAC."""
    after = read_cursor("pins", call.query.cursor, str)
    found = await call.desks.fleet.pins(after=str(after[0]) if after else "", limit=call.query.limit + 1)
    last = found[call.query.limit - 1].mac if len(found) > call.query.limit else None
    return paged("pins", Page(found[: call.query.limit], None if last is None else (last,)), Pin)
