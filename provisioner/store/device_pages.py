"""Devices a page at a time, found by anything that people know of them, in the order that an index gives.

Rule: a page costs about the same however large the fleet is. What has an index is read in its order. What has none
(no line, too old a firmware, the end of a Mac) is looked for among so many devices at a time; then the page is given
out as it is, and tells where to look on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, Table, and_, func, literal_column, select, tuple_, union
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import Device, DeviceState
from provisioner.store import devices, schema
from provisioner.store.devices import DeviceFilter

_WINDOW: Final = 4_000
"""Devices looked at in one question where there is no index."""
_WINDOWS: Final = 3
"""Such questions for a page: 7 µs a device, and a page has 150 ms."""
_NAMED: Final = 50
"""Accounts or sites that the beginning of a name may mean."""
_LAST: Final = "\U0010ffff"
"""Behind every other letter."""

_D, _B, _U, _E = schema.device.c, schema.binding.c, schema.user.c, schema.extension.c
_LINED: Final = select(_B.mac).join(schema.extension, _E.id == _B.extension).where(_B.until.is_(None))

IsOld = Callable[[str, str, str], bool]
"""Vendor, model, firmware -> whether that firmware is too old."""


class Order(StrEnum):
    """How a list of devices may be sorted: by what has an index."""

    MAC = "mac"
    MODEL = "model"
    """Vendor, model, firmware."""
    FIRMWARE = "firmware"


_KEYS: Final[Mapping[Order, Sequence[ColumnElement[Any]]]] = {
    Order.MAC: (_D.mac,),
    Order.MODEL: (_D.vendor, _D.model, _D.firmware, _D.mac),
    Order.FIRMWARE: (_D.firmware, _D.mac),
}


class Place(NamedTuple):
    """A device's place in any of these orders; a page begins behind it."""

    mac: str = ""
    vendor: str = ""
    model: str = ""
    firmware: str = ""

    @classmethod
    def of(cls, one: Device) -> Place:
        """Where a device is."""
        return cls(one.mac, one.vendor, one.model, one.firmware)

    @classmethod
    def read(cls, text: str) -> Place:
        """As ``written``; anything else is the beginning."""
        parts = text.split("|", 3)
        return cls(*parts) if len(parts) in {1, 4} else cls()

    @property
    def written(self) -> str:
        """For a cursor."""
        return "|".join(self) if self.vendor else self.mac


@dataclass(frozen=True, slots=True)
class Meant:
    """Which devices a text means, and how they are found."""

    condition: ColumnElement[bool] | None = None
    order: Order = Order.MAC
    sparse: bool = False
    """There is no index for it."""


@dataclass(frozen=True, slots=True)
class Found:
    """Some devices; ``after`` is where to look on, None where no more can be."""

    devices: Sequence[Device]
    after: Place | None


async def find_page(
    connection: AsyncConnection,
    wanted: DeviceFilter,
    meant: Meant,
    order: Order,
    after: Place,
    is_old: IsOld,
) -> Found:
    """At most ``wanted.limit`` devices behind a place; where there is no index they are sorted by Mac."""
    free = wanted.state is DeviceState.UNASSIGNED
    query = devices.device_query(replace(wanted, after="", limit=0, state=None if free else wanted.state))
    query = query if meant.condition is None else query.where(meant.condition)
    if is_sparse(wanted, meant):
        old = is_old if wanted.state is DeviceState.NEEDS_FIRMWARE else None
        return await _looked_for(connection, query, wanted, after, old)
    rows = await _ordered(connection, query, order, after, wanted.limit + 1)
    return _cut(rows, wanted.limit)


def is_sparse(wanted: DeviceFilter, meant: Meant) -> bool:
    """Whether what is asked for may be rare and has no index."""
    return meant.sparse or wanted.state in {DeviceState.UNASSIGNED, DeviceState.NEEDS_FIRMWARE}


def natural(wanted: DeviceFilter, meant: Meant) -> Order:
    """The order in which an index finds it, where nobody asks for another one."""
    if meant.order is not Order.MAC:
        return meant.order
    return Order.MODEL if (wanted.vendor or wanted.model) and meant.condition is None else Order.MAC


async def _ordered(
    connection: AsyncConnection, query: Select[Any], order: Order, after: Place, limit: int
) -> list[Device]:
    keys = _KEYS[order]
    if after.mac:
        there = [getattr(after, key.name) for key in keys]
        query = query.where(tuple_(*keys) > tuple_(*there) if len(keys) > 1 else keys[0] > there[0])
    query = query.order_by(None).order_by(*keys).limit(limit)
    return devices.devices_in(await connection.execute(query))


def _cut(rows: Sequence[Device], limit: int) -> Found:
    """One more row was asked for than a page has: it tells that there is a next one."""
    return Found(rows[:limit], Place.of(rows[limit - 1]) if len(rows) > limit else None)


async def _looked_for(
    connection: AsyncConnection, query: Select[Any], wanted: DeviceFilter, after: Place, is_old: IsOld | None
) -> Found:
    """Window by window, by Mac."""
    found: list[Device] = []
    mac = after.mac
    for _ in range(_WINDOWS):
        end = await _end(connection, wanted, mac)
        here = _between(_D.mac, mac, end)
        kinds = None if is_old is None else await _kinds(connection, here, is_old)
        if kinds is None or kinds:
            fits = query if kinds is None else query.where(tuple_(_D.vendor, _D.model, _D.firmware).in_(kinds))
            fits = fits.where(*_unbound(mac, end)) if wanted.state is DeviceState.UNASSIGNED else fits
            found += await _ordered(connection, fits.where(*here), Order.MAC, Place(), wanted.limit + 1)
        if len(found) > wanted.limit or end is None:
            return _cut(found, wanted.limit)
        mac = end
    return Found(found, Place(mac))


def _between(column: ColumnElement[str], mac: str, end: str | None) -> list[ColumnElement[bool]]:
    return [column > mac] if end is None else [column > mac, column <= end]


def _unbound(mac: str, end: str | None) -> list[ColumnElement[bool]]:
    """Both are read in their order once; asking for each device alone takes six times as long."""
    bound = select(_B.mac).where(_B.until.is_(None), *_between(_B.mac, mac, end))
    return [_D.revoked.is_(False), _D.mac.not_in(bound)]


async def _end(connection: AsyncConnection, wanted: DeviceFilter, mac: str) -> str | None:
    """The last Mac of a window; None where it reaches to the end."""
    query = select(_D.mac).where(_D.mac > mac)
    for name in ("account", "site"):
        query = query.where(_D[name] == value) if (value := getattr(wanted, name)) else query
    return (await connection.execute(query.order_by(_D.mac).offset(_WINDOW - 1).limit(1))).scalar_one_or_none()


async def _kinds(
    connection: AsyncConnection, here: Iterable[ColumnElement[bool]], is_old: IsOld
) -> list[tuple[str, str, str]]:
    """Models with a firmware that is too old, of those that are here."""
    query = select(_D.vendor, _D.model, _D.firmware).where(*here, _D.firmware != "").distinct()
    return [(row.vendor, row.model, row.firmware) for row in await connection.execute(query) if is_old(*row)]


def narrowed(meant: Meant, more: ColumnElement[bool]) -> Meant:
    """The same, of those that fit this as well."""
    return replace(meant, condition=more if meant.condition is None else and_(meant.condition, more))


# --- what a text means ------------------------------------------------------------------------------------


async def exists(connection: AsyncConnection, meant: Meant) -> bool:
    """Whether a text means any device at all in this way."""
    query = devices.device_query(DeviceFilter(limit=1))
    query = query if meant.condition is None else query.where(meant.condition)
    return bool(await _ordered(connection, query, meant.order, Place(), 1))


def by_person(text: str, dialect: str) -> Meant:
    """A number, or the beginning of a user's name or mail address; a question for each, so that each has its index."""
    held = [
        _LINED.join(schema.user, _U.id == _E.user).where(_begins(column, text.lower(), dialect))
        for column in (_U.name, _U.email)
    ]
    return Meant(_D.mac.in_(union(_LINED.where(_E.number == text), *held)))


def _begins(column: ColumnElement[str], beginning: str, dialect: str) -> ColumnElement[bool]:
    """SQLite finds no index for LIKE, and its order is that of the bytes; PostgreSQL's depends on the collation."""
    if dialect != "sqlite":
        return func.lower(column).startswith(beginning, autoescape=True)
    return and_(func.lower(column) >= beginning, func.lower(column) < beginning + _LAST)


def by_mac(digits: str) -> Meant:
    """The beginning of a Mac."""
    return Meant(and_(_D.mac >= digits, _D.mac < digits + "g"))


def by_address(address: str) -> Meant:
    """Where it has proven itself lately, as ``gate.address_key`` has it."""
    seen = schema.sighting.c
    return Meant(_D.mac.in_(select(seen.mac).where(seen.address == address)))


async def named(connection: AsyncConnection, table: Table, text: str) -> list[str]:
    """Accounts or sites whose names begin so."""
    begins = func.lower(table.c.name).startswith(text.lower(), autoescape=True)
    return list((await connection.execute(select(table.c.id).where(begins).limit(_NAMED))).scalars())


def by_place(column: ColumnElement[Any], idents: Sequence[str]) -> Meant:
    """Everything of accounts or sites; of one alone an index has it in order."""
    return Meant(column == idents[0] if len(idents) == 1 else column.in_(idents))


def by_account(idents: Sequence[str]) -> Meant:
    """Of these accounts."""
    return by_place(_D.account, idents)


def by_site(idents: Sequence[str]) -> Meant:
    """At these sites."""
    return by_place(_D.site, idents)


def by_kind(vendor: str, models: Sequence[str]) -> Meant:
    """Models of one vendor, or everything of it."""
    mine = _D.vendor == vendor
    return Meant(and_(mine, _D.model.in_(models)) if models else mine, Order.MODEL)


def by_firmware(text: str) -> Meant:
    """The beginning of a version: digits and dots. The bounds hold in every collation, also where dots do not count."""
    plain = text.rstrip(".")
    behind = plain[:-1] + ("a" if plain[-1] == "9" else str(int(plain[-1]) + 1))
    begins = _D.firmware.startswith(text, autoescape=True)
    return Meant(and_(_D.firmware >= plain, _D.firmware < behind, begins), Order.FIRMWARE)


def by_wipe() -> Meant:
    """Those that may still know what they are to forget."""
    return Meant(and_(_D.wipe_since.is_not(None), _D.wiped_at.is_(None)))


def by_label(text: str) -> Meant:
    """What stands beside one of its keys."""
    active = and_(_B.until.is_(None), _B.label != literal_column("''"))  # the index's own condition
    return Meant(_D.mac.in_(select(_B.mac).where(_B.label == text, active)))


def by_end(digits: str) -> Meant:
    """The end of a Mac: by its last two digits, which have an index."""
    last = func.substr(_D.mac, literal_column("11")) == digits[-2:]
    whole = func.substr(_D.mac, 13 - len(digits)) == digits
    return Meant(and_(last, whole) if len(digits) > 1 else whole, sparse=len(digits) == 1)


def digits_of(text: str) -> str:
    """Part of a Mac, however it is written; empty when it is none."""
    plain = "".join(letter for letter in text.lower() if letter not in ":-. ")
    return plain if len(plain) <= 12 and set(plain) <= set("0123456789abcdef") else ""
