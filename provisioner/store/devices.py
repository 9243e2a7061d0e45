"""Rows of devices, pins and bindings; whether a device is assigned is read from its bindings, so they cannot differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import Device, DeviceState, Mac, Scope
from provisioner.store import layer_history, line_history, schema
from provisioner.store.rows import Binding, Pin

_D: Final = schema.device.c
_B: Final = schema.binding.c
_ACTIVE: Final = _B.until.is_(None)
_BOUND: Final = select(_B.line).where(_B.mac == _D.mac, _ACTIVE).correlate(schema.device).exists()
MOMENT: Final = 0.001
"""s in which a line may change hands more than once: one transaction has one time."""
_COLUMNS: Final = (
    _D.mac, _D.vendor, _D.model, _D.account, _D.site, _D.revoked, _BOUND.label("bound"), schema.pin.c.spki,
    _D.firmware, _D.seen_modern, _D.allow_token, _D.allow_digest, _D.allow_expired,
)  # fmt: skip
_FROM: Final = schema.device.outerjoin(schema.pin, schema.pin.c.mac == _D.mac)
_DEVICE: Final = select(*_COLUMNS).select_from(_FROM).where(_D.mac == bindparam("of"))
"""Made once, as those below: one change asks them several times, and making takes as long as asking."""


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices are meant; an empty field does not restrict."""

    account: str = ""
    site: str = ""
    vendor: str = ""
    model: str = ""
    state: DeviceState | None = None
    after: str = ""
    """Only Macs behind this one, for the next page."""
    limit: int = 1000


def state_of(revoked: bool, bound: bool) -> DeviceState:
    """What a row says; whether the firmware is too old is the vendor's knowledge, not the store's."""
    if revoked:
        return DeviceState.REVOKED
    return DeviceState.ASSIGNED if bound else DeviceState.UNASSIGNED


async def find_device(connection: AsyncConnection, mac: Mac) -> Device | None:
    """One device without its digest secret."""
    found = (await connection.execute(_DEVICE, {"of": mac})).one_or_none()
    return None if found is None else _device(found)


async def mistyped(connection: AsyncConnection, mac: Mac, limit: int) -> list[Mac]:
    """Devices whose Mac is another by one digit, or by two neighbours in each other's place."""
    swapped = (mac[:at] + mac[at + 1] + mac[at] + mac[at + 2 :] for at in range(len(mac) - 1))
    others = {mac[:at] + digit + mac[at + 1 :] for at in range(len(mac)) for digit in "0123456789abcdef"}
    query = select(_D.mac).where(_D.mac.in_(sorted({*others, *swapped} - {mac}))).order_by(_D.mac).limit(limit)
    return [Mac(one) for one in (await connection.execute(query)).scalars()]


async def list_devices(connection: AsyncConnection, wanted: DeviceFilter) -> list[Device]:
    """A page of devices by Mac."""
    return devices_in(await connection.execute(device_query(wanted)))


def device_query(wanted: DeviceFilter) -> Select[Any]:
    """The same as a question that more can be asked of."""
    query = select(*_COLUMNS).select_from(_FROM)
    query = query.where(_D.mac > wanted.after) if wanted.after else query
    for name in ("account", "site", "vendor", "model"):
        if value := getattr(wanted, name):
            query = query.where(_D[name] == value)
    return _of_state(query, wanted.state).order_by(_D.mac).limit(wanted.limit)


def devices_in(rows: Iterable[Row[Any]]) -> list[Device]:
    """What it is answered with."""
    return [_device(row) for row in rows]


def _of_state(query: Select[Any], state: DeviceState | None) -> Select[Any]:
    """NEEDS_FIRMWARE is not known here: its devices are among those that are not revoked."""
    if state is None:
        return query
    query = query.where(_D.revoked if state is DeviceState.REVOKED else _D.revoked.is_(False))  # its index says so
    if state is DeviceState.ASSIGNED:
        return query.where(_BOUND)
    return query.where(~_BOUND) if state is DeviceState.UNASSIGNED else query


def _device(row: Row[Any]) -> Device:
    return Device(
        mac=Mac(row.mac),
        vendor=row.vendor,
        model=row.model,
        state=state_of(row.revoked, row.bound),
        account=row.account,
        site=row.site or "",
        pinned=row.spki or "",
        firmware=row.firmware,
        seen_modern=row.seen_modern,
        allow_token=row.allow_token,
        allow_digest=row.allow_digest,
        allow_expired=row.allow_expired,
    )


async def insert_device(connection: AsyncConnection, one: Device, at: float) -> None:
    """A new device; it is no longer merely seen."""
    values = {"mac": one.mac, "vendor": one.vendor, "model": one.model, "account": one.account, "created": at}
    await connection.execute(insert(schema.device).values(**values, site=one.site or None))
    await connection.execute(delete(schema.seen).where(schema.seen.c.mac == one.mac))


async def write_device(connection: AsyncConnection, mac: Mac, values: Mapping[str, object]) -> None:
    """Change columns of one device."""
    await connection.execute(update(schema.device).where(_D.mac == mac).values(values))


async def delete_device(connection: AsyncConnection, mac: Mac) -> None:
    """The device, its bindings, pin, tokens and uploads by foreign key, the rest by name."""
    layer = schema.layer.c
    await connection.execute(delete(schema.layer).where(layer.scope == Scope.DEVICE.value, layer.key == mac))
    await layer_history.forget(connection, Scope.DEVICE, mac)
    lossy = (schema.last_fetch, schema.last_body, schema.sighting, schema.leaf, schema.flight, schema.flight_head)
    for table in (*lossy, schema.tls_secret, schema.key_recording, schema.device):
        await connection.execute(delete(table).where(table.c.mac == mac))


async def find_pin(connection: AsyncConnection, mac: Mac) -> Pin | None:
    """The key the device is held to."""
    found = (await connection.execute(select(schema.pin).where(schema.pin.c.mac == mac))).one_or_none()
    return None if found is None else Pin(Mac(found.mac), found.spki, found.not_after, found.at)


async def list_pins(connection: AsyncConnection, *, after: str = "", limit: int = 0) -> list[Pin]:
    """All pins, soonest expiry first; ``not_after`` is ISO 8601, so text order is time order. A page goes by Mac."""
    query = select(schema.pin)
    if limit:
        query = query.where(schema.pin.c.mac > after).order_by(schema.pin.c.mac).limit(limit)
    else:
        query = query.order_by(schema.pin.c.not_after)
    rows = await connection.execute(query)
    return [Pin(Mac(row.mac), row.spki, row.not_after, row.at) for row in rows]


async def write_pin(connection: AsyncConnection, one: Pin) -> None:
    """Hold the device to this key, whatever it was held to before."""
    values = {"spki": one.spki, "not_after": one.not_after, "at": one.at}
    done = await connection.execute(update(schema.pin).where(schema.pin.c.mac == one.mac).values(values))
    if not done.rowcount:
        await connection.execute(insert(schema.pin).values({**values, "mac": one.mac}))


async def delete_pin(connection: AsyncConnection, mac: Mac) -> None:
    """Forget it."""
    await connection.execute(delete(schema.pin).where(schema.pin.c.mac == mac))


_BINDINGS: Final = select(
    _B.mac, _B.line, _B.extension, schema.extension.c.number, _B.label, _B.since, _B.until, _B.actor, _B.cause, _B.slot
).join(schema.extension, schema.extension.c.id == _B.extension)  # fmt: skip
_OF_DEVICE: Final = _BINDINGS.where(_B.mac == bindparam("of")).order_by(_B.line, _B.since)
_ON_DEVICE: Final = _OF_DEVICE.where(_ACTIVE)
_OF_EXTENSION: Final = _BINDINGS.where(_B.extension == bindparam("of"), _ACTIVE).order_by(_B.since, _B.slot)


def _binding(row: Sequence[Any]) -> Binding:
    return Binding(Mac(row[0]), *row[1:])


async def bindings_of(connection: AsyncConnection, mac: Mac, *, active: bool) -> list[Binding]:
    """What is on the device's lines; with ``active=False`` also what was."""
    rows = await connection.execute(_ON_DEVICE if active else _OF_DEVICE, {"of": mac})
    return [_binding(row) for row in rows]


async def bindings_of_extension(connection: AsyncConnection, extension: str) -> list[Binding]:
    """Where an extension is now; the phone that has had it longest comes first."""
    return [_binding(row) for row in await connection.execute(_OF_EXTENSION, {"of": extension})]


async def bindings_of_user(connection: AsyncConnection, user: str) -> list[Binding]:
    """Where all extensions of a user are now."""
    query = _BINDINGS.where(schema.extension.c.user == user, _ACTIVE).order_by(_B.since, _B.slot)
    return [_binding(row) for row in await connection.execute(query)]


async def bindings_beyond(connection: AsyncConnection, account: str, slot: int) -> list[Binding]:
    """Those of an account's extensions that have a higher slot."""
    query = _BINDINGS.where(schema.extension.c.account == account, _ACTIVE, _B.slot > slot)
    return [_binding(row) for row in await connection.execute(query.order_by(_B.since, _B.slot))]


async def move_slot(connection: AsyncConnection, one: Binding, slot: int) -> None:
    """Let an active binding be another of its extension's phones."""
    query = update(schema.binding).where(_B.mac == one.mac, _B.line == one.line, _ACTIVE)
    await connection.execute(query.values(slot=slot))


async def insert_binding(connection: AsyncConnection, one: Binding) -> None:
    """Begin a binding."""
    values = {name: getattr(one, name) for name in Binding.__dataclass_fields__ if name != "number"}
    values["since"] = await _since(connection, one)
    await connection.execute(insert(schema.binding).values(values))
    await line_history.begun(connection, [one])


async def _since(connection: AsyncConnection, one: Binding) -> float:
    """The line may have had another at this very moment, in one transaction: then it is the float after that."""
    same = select(func.max(_B.since)).where(_B.mac == one.mac, _B.line == one.line)
    last = (await connection.execute(same.where(_B.since.between(one.since, one.since + MOMENT)))).scalar_one()
    return one.since if last is None else math.nextafter(last, math.inf)


async def end_binding(connection: AsyncConnection, mac: Mac, line: int, at: float) -> None:
    """End the active binding of a line."""
    ending = [one for one in await bindings_of(connection, mac, active=True) if one.line == line]
    query = update(schema.binding).where(_B.mac == mac, _B.line == line, _ACTIVE)
    await connection.execute(query.values(until=at))
    await line_history.ended(connection, ending)
