"""Use-cases of the administrator: devices found by anything people know of them, a page at a time.

A text is taken for the first thing of which it finds any device: a number or a person, a Mac, an address, an account,
a site, a model, a version, a state, a label, the end of a Mac.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from sqlalchemy import ColumnElement, and_
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.desk import account_id, site_id, site_of
from provisioner.errors import Invalid
from provisioner.fleet.devices import Devices
from provisioner.gate import address_key
from provisioner.model import Device, DeviceState
from provisioner.store import device_pages, pages, schema, sources
from provisioner.store.device_pages import Meant, Order, Place
from provisioner.store.devices import DeviceFilter
from provisioner.store.pages import Key, Whereabouts
from provisioner.vendor import older

T_co = TypeVar("T_co", covariant=True)

MOST: Final = 500
"""Rows of a page."""
WIPING: Final = "wiping"
"""The word for devices that have not fetched yet what makes them forget."""
_VERSION: Final = re.compile(r"[0-9]+(\.[0-9]+)+\.?")
_LEAST: Final = 2
"""Letters of a model's name, below which half of all models would be meant."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T_co]):
    """Some rows, and where the next page begins; None after the last one."""

    items: Sequence[T_co]
    next: Key | None = None


@dataclass(frozen=True, slots=True)
class DeviceQuery:
    """Which devices are meant; an empty field does not restrict."""

    account: str = ""
    """Name or id."""
    site: str = ""
    vendor: str = ""
    model: str = ""
    state: DeviceState | None = None
    text: str = ""
    """Anything people know of a device."""
    sort: Order | None = None
    """None: the order in which they are found soonest."""
    seen_at: str = ""
    """A site: only devices that came last from its networks, wherever they stand."""


@dataclass(frozen=True, slots=True)
class Found:
    """A device in a list."""

    device: Device
    about: Whereabouts


class DeviceSearch(Devices):
    """Lists of devices."""

    async def device_page(self, wanted: DeviceQuery, *, after: str = "", limit: int = 100) -> Page[Found]:
        """Devices in an order that has an index; ``after`` is what the page before told.

        A page may be short, even empty, before the last one: go on while it tells a next one.
        """
        check_limit(limit)
        vendor, model = wanted.vendor, self._model_wanted(wanted.vendor, wanted.model)
        if model and not vendor:  # an index begins with it
            vendor = next(name for name, one in self._drivers.items() if model in one.manifest.models)
        async with self._store.reading() as connection:
            owner = await account_id(connection, wanted.account)
            place = await site_id(connection, wanted.site, owner)
            asked = DeviceFilter(owner, place, vendor, model, wanted.state, limit=limit)
            asked, meant = await self._meant(connection, asked, wanted.text.strip())
            if wanted.seen_at:
                meant = device_pages.narrowed(meant, await _came_from(connection, wanted.seen_at, owner))
            order = wanted.sort or device_pages.natural(asked, meant)
            found = await device_pages.find_page(connection, asked, meant, order, Place.read(after), self._is_old)
            shown = [self._told(one) for one in found.devices]
            about = await pages.whereabouts(connection, [one.mac for one in shown])
        items = [Found(one, about[one.mac]) for one in shown if asked.state in {None, one.state}]
        return Page(items, (found.after.written,) if found.after else None)

    def _is_old(self, vendor: str, model: str, firmware: str) -> bool:
        driver = self._drivers.get(vendor)
        known = driver.manifest.models.get(model) if driver else None
        return known is not None and bool(known.min_firmware) and older(firmware, known.min_firmware)

    async def _meant(self, connection: AsyncConnection, asked: DeviceFilter, text: str) -> tuple[DeviceFilter, Meant]:
        """What a text means: the first meaning that finds any."""
        if not text:
            return asked, Meant()
        if (state := _state(text)) is not None and asked.state in {None, state}:
            return replace(asked, state=state), Meant()
        if text.lower() == WIPING:
            return asked, device_pages.by_wipe()
        accounts = await device_pages.named(connection, schema.account, text)
        sites = await device_pages.named(connection, schema.site, text)
        *meanings, last = self._meanings(text, accounts, sites, connection.dialect.name)
        for one in meanings:
            if await device_pages.exists(connection, one):
                return asked, one
        return asked, last

    def _meanings(self, text: str, accounts: Sequence[str], sites: Sequence[str], dialect: str) -> Iterator[Meant]:
        digits = device_pages.digits_of(text)
        yield device_pages.by_person(text, dialect)
        if digits:
            yield device_pages.by_mac(digits)
        if address := _address(text):
            yield device_pages.by_address(address)
        if network := _network(text):
            yield device_pages.Meant(sources.came_from([network]))
        if accounts:
            yield device_pages.by_account(accounts)
        if sites:
            yield device_pages.by_site(sites)
        yield from self._kinds(text)
        if _VERSION.fullmatch(text):
            yield device_pages.by_firmware(text)
        yield device_pages.by_label(text)
        if digits:
            yield device_pages.by_end(digits)

    def _kinds(self, text: str) -> Iterator[Meant]:
        """Vendors, and models whose names hold the text."""
        plain = _plain(text)
        if len(plain) < _LEAST:
            return
        for name, driver in sorted(self._drivers.items()):
            if plain in {_plain(name), _plain(driver.manifest.title)}:
                yield device_pages.by_kind(name, ())
            elif models := sorted(one for one in driver.manifest.models if plain in _plain(one)):
                yield device_pages.by_kind(name, models)


async def _came_from(connection: AsyncConnection, site: str, account: str) -> ColumnElement[bool]:
    found = await site_of(connection, site, account)
    return and_(schema.device.c.account == found.account, sources.came_from(found.networks))


def check_limit(limit: int) -> None:
    """Invalid beyond what a page may have."""
    if not 1 <= limit <= MOST:
        raise Invalid("limit", f"must be from 1 to {MOST}")


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", "", text).lower()


def _state(text: str) -> DeviceState | None:
    word = text.lower().replace(" ", "_")
    return DeviceState(word) if word in set(DeviceState) else None


def _address(text: str) -> str:
    """As sightings have it; empty where it is no address."""
    try:
        return address_key(str(ipaddress.ip_address(text)))
    except ValueError:
        return ""


def _network(text: str) -> str:
    """In its one spelling; empty where it is none."""
    try:
        return str(ipaddress.ip_network(text, strict=False)) if "/" in text else ""
    except ValueError:
        return ""
