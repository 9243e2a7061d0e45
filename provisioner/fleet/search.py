"""Use-cases of the administrator: lists a page at a time, and devices found by anything people know of them.

A page tells where the next one begins. Everything here is bounded by what is asked for at once, however large the
fleet is, and by the reach of whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from provisioner.codes import ActivationCode, CodeState
from provisioner.desk import (
    account_id,
    account_of,
    device_of,
    extension_id,
    extension_of,
    site_id,
    site_of,
    user_id,
    user_of,
)
from provisioner.errors import Invalid
from provisioner.fleet.devices import Devices
from provisioner.licensing import LicenseKind, LicenseState
from provisioner.model import ConfigLayer, Device, DeviceState, Mac, Scope
from provisioner.neutral import TIME_ZONE
from provisioner.numbering import NumberState
from provisioner.store import asset_pages, event_pages, layer_rows, pages
from provisioner.store.devices import DeviceFilter, find_pin
from provisioner.store.event_pages import EventFilter
from provisioner.store.journal import list_fetches
from provisioner.store.pages import Key, Span, Whereabouts
from provisioner.store.rows import Account, Extension, Fetch, License, PhoneNumber, Pin, Site, StoredEvent, User

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MOST: Final = 500
"""Rows of a page."""
_SCANS: Final = 8
"""Pages read for one that only the vendors' knowledge can fill; then it is given out as it is."""


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
    """Beginning or end of a Mac, a number, the beginning of a user's name or mail address, a label."""


@dataclass(frozen=True, slots=True)
class Found:
    """A device in a list."""

    device: Device
    about: Whereabouts


@dataclass(frozen=True, slots=True)
class Standing:
    """What a device is at, beside what administrators say of it."""

    device: Device
    served: int | None
    """Up to which change it has its configuration; None before its first."""
    wanted: int
    """The last change that concerns it."""
    fetches: Sequence[Fetch]
    refusal: StoredEvent | None
    """The last time that its certificate was judged, where that came to nothing."""
    pin: Pin | None


class Search(Devices):
    """Lists of everything."""

    async def device_page(self, wanted: DeviceQuery, *, after: str = "", limit: int = 100) -> Page[Found]:
        """Devices by Mac. A page may be short, even empty, before the last one: go on while it tells a next one."""
        _check(limit)
        model = self._model_wanted(wanted.vendor, wanted.model)
        async with self._store.reading() as connection:
            owner = (await account_of(connection, wanted.account)).id if wanted.account else ""
            place = (await site_of(connection, wanted.site, owner)).id if wanted.site else ""
            asked = DeviceFilter(owner, place, wanted.vendor, model, wanted.state, after, limit + 1)
            only = self._outdated() if wanted.state is DeviceState.NEEDS_FIRMWARE else None
            meant = await pages.meaning(connection, wanted.text)
            found: list[Device] = []
            for _ in range(_SCANS):
                rows = await pages.devices_page(connection, asked, meant, only)
                told = [self._told(one) for one in rows]
                found += [one for one in told if wanted.state in {None, one.state}]
                if len(rows) <= limit or len(found) > limit:
                    break
                asked = replace(asked, after=rows[-1].mac)
            behind = len(rows) > limit
            last = found[limit - 1].mac if len(found) > limit else rows[-1].mac if behind else ""
            shown = found[:limit]
            about = await pages.whereabouts(connection, [one.mac for one in shown])
        items = [Found(one, about[one.mac]) for one in shown]
        return Page(items, (last,) if behind or len(found) > limit else None)

    def _outdated(self) -> list[str]:
        """Models that know a firmware which is too old."""
        models = (one for driver in self._drivers.values() for one in driver.manifest.models.values())
        return sorted({one.name for one in models if one.min_firmware})

    async def standing(self, mac: Mac) -> Standing:
        """How new a device's configuration is, what it fetched last and what was wrong with its certificate."""
        async with self._store.reading() as connection:
            device = await device_of(connection, mac)
            served, wanted = await pages.revisions(connection, device)
            return Standing(
                self._told(device),
                served,
                wanted,
                await list_fetches(connection, mac),
                await event_pages.last_refusal(connection, mac),
                await find_pin(connection, mac),
            )

    async def account(self, ref: str) -> Account:
        """One account, by id or name."""
        async with self._store.reading() as connection:
            return await account_of(connection, ref)

    async def site(self, ref: str) -> Site:
        """One site, with the time zone that its layer says."""
        async with self._store.reading() as connection:
            found = await site_of(connection, ref)
            layer = await layer_rows.read_layer(connection, self._store.box, Scope.SITE, found.id)
        return replace(found, time_zone=_zone(layer))

    async def user(self, ref: str) -> User:
        """One user, by id, name or mail address."""
        async with self._store.reading() as connection:
            return await user_of(connection, ref)

    async def extension(self, ref: str) -> Extension:
        """One extension, by id or number."""
        async with self._store.reading() as connection:
            return await extension_of(connection, ref)

    async def account_page(self, *, after: Key = (), limit: int = 100, name: str = "") -> Page[Account]:
        """Accounts by id."""
        _check(limit)
        async with self._store.reading() as connection:
            rows = await pages.accounts_page(connection, Span(after, limit + 1), name)
        return _paged(rows, limit, lambda one: (one.id,))

    async def site_page(self, *, account: str = "", name: str = "", after: Key = (), limit: int = 100) -> Page[Site]:
        """Sites by id, with the time zones that their layers say."""
        _check(limit)
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            rows = await pages.sites_page(connection, Span(after, limit + 1), owner, name)
            page = _paged(rows, limit, lambda one: (one.id,))
            zones = [
                _zone(await layer_rows.read_layer(connection, self._store.box, Scope.SITE, one.id))
                for one in page.items
            ]
        items = [replace(one, time_zone=zone) for one, zone in zip(page.items, zones, strict=True)]
        return replace(page, items=items)

    async def user_page(
        self, *, account: str = "", name: str = "", email: str = "", after: Key = (), limit: int = 100
    ) -> Page[User]:
        """Users by id."""
        _check(limit)
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            span = Span(after, limit + 1)
            rows = await pages.users_page(connection, span, owner, name, email)
        return _paged(rows, limit, lambda one: (one.id,))

    async def extension_page(
        self, *, account: str = "", user: str = "", number: str = "", after: Key = (), limit: int = 100
    ) -> Page[Extension]:
        """Extensions by id."""
        _check(limit)
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            holder = await user_id(connection, user, owner)
            span = Span(after, limit + 1)
            rows = await pages.extensions_page(connection, span, owner, holder, number)
        return _paged(rows, limit, lambda one: (one.id,))

    async def code_page(
        self, *, account: str = "", state: CodeState | None = None, after: Key = (), limit: int = 100
    ) -> Page[ActivationCode]:
        """Activation codes without their digits, the newest first."""
        _check(limit)
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            span = Span(after, limit + 1)
            rows = await pages.codes_page(connection, span, self._clock(), owner, state)
        return _paged(rows, limit, lambda one: (one.created, one.id))

    async def license_page(
        self,
        *,
        account: str = "",
        kind: LicenseKind | None = None,
        state: LicenseState | None = None,
        user: str = "",
        after: Key = (),
        limit: int = 100,
    ) -> Page[License]:
        """Licenses by id."""
        _check(limit)
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            holder = await user_id(connection, user, owner)
            rows = await asset_pages.licenses_page(
                connection, Span(after, limit + 1), account=owner, kind=kind, state=state,
                user=holder,
            )  # fmt: skip
        return _paged(rows, limit, lambda one: (one.id,))

    async def number_page(
        self,
        *,
        account: str = "",
        site: str = "",
        extension: str = "",
        state: NumberState | None = None,
        after: Key = (),
        limit: int = 100,
    ) -> Page[PhoneNumber]:
        """Phone numbers by id, with their states as of now."""
        _check(limit)
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            place = await site_id(connection, site, owner)
            holder = await extension_id(connection, extension, owner)
            rows = await asset_pages.numbers_page(
                connection, Span(after, limit + 1), self._clock(), account=owner, site=place,
                extension=holder, state=state,
            )  # fmt: skip
        return _paged(rows, limit, lambda one: (one.id,))

    async def event_page(
        self, wanted: EventFilter, *, before: int | None = None, limit: int = 100
    ) -> Page[StoredEvent]:
        """Events, the newest first."""
        _check(limit)
        async with self._store.reading() as connection:
            rows = await event_pages.events_page(connection, wanted, before=before, limit=limit + 1)
        return _paged(rows, limit, lambda one: (one.id,))

    async def events_after(self, wanted: EventFilter, *, after: int, limit: int = 100) -> list[StoredEvent]:
        """Events from one on, the oldest first."""
        _check(limit)
        async with self._store.reading() as connection:
            return await event_pages.events_since(connection, wanted, after=after, limit=limit)


def _zone(layer: ConfigLayer | None) -> str:
    return str(layer.values.get(TIME_ZONE.name, "")) if layer else ""


def _check(limit: int) -> None:
    if not 1 <= limit <= MOST:
        raise Invalid("limit", f"must be from 1 to {MOST}")


def _paged(rows: Sequence[T], limit: int, key: Callable[[T], Key]) -> Page[T]:
    """One more row was asked for than a page has: it tells that there is a next one."""
    return Page(rows[:limit], key(rows[limit - 1]) if len(rows) > limit else None)
