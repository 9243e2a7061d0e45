"""Use-cases of the administrator: lists a page at a time, and devices found by anything people know of them.

A page tells where the next one begins. Everything here is bounded by what is asked for at once, however large the
fleet is, and by the reach of whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

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
from provisioner.errors import NotFound
from provisioner.fleet.device_search import DeviceSearch, Page, check_limit
from provisioner.licensing import LicenseKind, LicenseState
from provisioner.model import ConfigLayer, Device, Mac, Scope
from provisioner.neutral import TIME_ZONE
from provisioner.numbering import NumberState
from provisioner.places import UserKind
from provisioner.store import asset_pages, event_pages, layer_rows, pages
from provisioner.store.devices import find_pin
from provisioner.store.event_pages import EventFilter
from provisioner.store.journal import list_fetches
from provisioner.store.numbers import ranges_of
from provisioner.store.pages import Key, Span
from provisioner.store.rows import Account, Extension, Fetch, License, PhoneNumber, Pin, Site, StoredEvent, User

T = TypeVar("T")


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


class Search(DeviceSearch):
    """Lists of everything."""

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
            spans = await ranges_of(connection, [found.id])
        return replace(found, time_zone=_zone(layer), range=spans.get(found.id, ""))

    async def user(self, ref: str) -> User:
        """One user, by id, name or mail address."""
        async with self._store.reading() as connection:
            return await user_of(connection, ref)

    async def extension(self, ref: str) -> Extension:
        """One extension, by id or number."""
        async with self._store.reading() as connection:
            return await extension_of(connection, ref)

    async def account_page(
        self, *, after: Key = (), limit: int = 100, name: str = "", parent: str = ""
    ) -> Page[Account]:
        """Accounts by id; ``parent`` is the account that they are right below."""
        check_limit(limit)
        async with self._store.reading() as connection:
            partner = await account_id(connection, parent)
            rows = await pages.accounts_page(connection, Span(after, limit + 1), name, partner)
        return _paged(rows, limit, lambda one: (one.id,))

    async def site_page(self, *, account: str = "", name: str = "", after: Key = (), limit: int = 100) -> Page[Site]:
        """Sites by id, with the time zones that their layers say."""
        check_limit(limit)
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            rows = await pages.sites_page(connection, Span(after, limit + 1), owner, name)
            page = _paged(rows, limit, lambda one: (one.id,))
            zones = [
                _zone(await layer_rows.read_layer(connection, self._store.box, Scope.SITE, one.id))
                for one in page.items
            ]
            spans = await ranges_of(connection, [one.id for one in page.items])
        items = [
            replace(one, time_zone=zone, range=spans.get(one.id, ""))
            for one, zone in zip(page.items, zones, strict=True)
        ]
        return replace(page, items=items)

    async def user_page(
        self,
        *,
        account: str = "",
        name: str = "",
        email: str = "",
        kind: UserKind | None = None,
        after: Key = (),
        limit: int = 100,
    ) -> Page[User]:
        """Users by id."""
        check_limit(limit)
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            span = Span(after, limit + 1)
            rows = await pages.users_page(connection, span, owner, name, email, kind.value if kind else "")
        return _paged(rows, limit, lambda one: (one.id,))

    async def extension_page(
        self, *, account: str = "", user: str = "", number: str = "", after: Key = (), limit: int = 100
    ) -> Page[Extension]:
        """Extensions by id."""
        check_limit(limit)
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
        check_limit(limit)
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
        check_limit(limit)
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
        check_limit(limit)
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
        check_limit(limit)
        async with self._store.reading() as connection:
            rows = await event_pages.events_page(connection, wanted, before=before, limit=limit + 1)
        return _paged(rows, limit, lambda one: (one.id,))

    async def event(self, ident: int) -> StoredEvent:
        """One event, by its number."""
        async with self._store.reading() as connection:
            found = await event_pages.events_page(connection, EventFilter(), before=ident + 1, limit=1)
        if not found or found[0].id != ident:
            raise NotFound(f"there is no event {ident}")
        return found[0]

    async def events_after(self, wanted: EventFilter, *, after: int, limit: int = 100) -> list[StoredEvent]:
        """Events from one on, the oldest first."""
        check_limit(limit)
        async with self._store.reading() as connection:
            return await event_pages.events_since(connection, wanted, after=after, limit=limit)


def _zone(layer: ConfigLayer | None) -> str:
    return str(layer.values.get(TIME_ZONE.name, "")) if layer else ""


def _paged(rows: Sequence[T], limit: int, key: Callable[[T], Key]) -> Page[T]:
    """One more row was asked for than a page has: it tells that there is a next one."""
    return Page(rows[:limit], key(rows[limit - 1]) if len(rows) > limit else None)
