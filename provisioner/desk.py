"""What all use-cases of the administrator stand on: the store, the drivers, who is acting, and how names are read."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.deeds import Cure, Deed
from provisioner.errors import Conflict, Forbidden, Invalid, NotFound
from provisioner.model import Device, Mac
from provisioner.neutral import check_name
from provisioner.rights import OPERATOR, Principal, Right
from provisioner.settings import Settings
from provisioner.store import devices, people
from provisioner.store.database import Change, Store
from provisioner.store.reach import Limited
from provisioner.store.rows import Account, Extension, PhoneNumber, Site, User
from provisioner.vendor import VendorDriver

_Row = TypeVar("_Row", Account, Site, User, Extension, PhoneNumber)
_NAME: Final = 80
"""Characters: what a screen or a list can show."""


class Desk:
    """Where an administrator's use-cases find their tools."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, VendorDriver],
        *,
        actor: str = "",
        clock: Callable[[], float] = time.time,
        principal: Principal = OPERATOR,
    ) -> None:
        """``principal`` says what is within reach, ``actor`` who stands in the audit log where it is not the same."""
        self._store = store if principal.reach.everything else Limited(store, principal)
        self._drivers = drivers
        self._principal = principal
        self._actor = actor or principal.actor
        self._clock = clock

    def _require_all(self, right: Right) -> None:
        """Forbidden for whoever reaches only some accounts: what is done concerns all of them."""
        if self._principal.reach.accounts is not None:
            raise Forbidden("this is for who reaches every account", right=right.value)

    def _change(self) -> AbstractAsyncContextManager[Change]:
        return self._store.changing(self._actor, self._clock())


class SettingsDesk(Desk):
    """Use-cases that go by the server's settings, too."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, VendorDriver],
        settings: Settings,
        *,
        actor: str = "",
        clock: Callable[[], float] = time.time,
        principal: Principal = OPERATOR,
    ) -> None:
        super().__init__(store, drivers, actor=actor, clock=clock, principal=principal)
        self._settings = settings


class HouseDesk(SettingsDesk):
    """Use-cases over tables that hang on no account, read from the whole store: each says itself whose it shows."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, VendorDriver],
        settings: Settings,
        *,
        actor: str = "",
        clock: Callable[[], float] = time.time,
        principal: Principal = OPERATOR,
    ) -> None:
        super().__init__(store, drivers, settings, actor=actor, clock=clock, principal=principal)
        self._all = store


def text_of(field: str, value: str, longest: int = _NAME, *, empty: bool = False) -> str:
    """Text a phone or a list can show, without blanks around it; Invalid names the field."""
    try:
        text = check_name(value, longest)
    except ValueError as error:
        raise Invalid(field, str(error)) from error
    if not text and not empty:
        raise Invalid(field, "must not be empty")
    return text


def matching(field: str, value: str, pattern: re.Pattern[str], what: str) -> str:
    """The value when it has the right form; Invalid names the field and the form."""
    if not pattern.fullmatch(value):
        raise Invalid(field, f"must be {what}")
    return value


def counted(count: int, word: str) -> str:
    """``1 site``, ``2 sites``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def only(found: Sequence[_Row], word: str, ref: str) -> _Row:
    """The one row that a reference means; an id goes before a name."""
    exact = [row for row in found if row.id == ref]
    rows = exact or found
    if not rows:
        raise NotFound(f"there is no {word} {ref!r}")
    if len(rows) > 1:
        raise Conflict(f"{ref!r} may mean {len(rows)} {word}s: give the id, one of {', '.join(row.id for row in rows)}")
    return rows[0]


async def account_of(connection: AsyncConnection, ref: str) -> Account:
    """The account with this id or name."""
    return only(await people.find_accounts(connection, ref), "account", ref)


async def account_id(connection: AsyncConnection, ref: str) -> str:
    """The id of the account meant; empty where none is named."""
    return (await account_of(connection, ref)).id if ref else ""


async def site_of(connection: AsyncConnection, ref: str, account: str = "") -> Site:
    """The site with this id or name."""
    return only(await people.find_sites(connection, ref, account), "site", ref)


async def site_id(connection: AsyncConnection, ref: str, account: str = "") -> str:
    """The id of the site meant; empty where none is named."""
    return (await site_of(connection, ref, account)).id if ref else ""


async def user_of(connection: AsyncConnection, ref: str, account: str = "") -> User:
    """The user with this id, name or e-mail address."""
    return only(await people.find_users(connection, ref, account), "user", ref)


async def user_id(connection: AsyncConnection, ref: str, account: str = "") -> str:
    """The id of the user meant; empty where none is named."""
    return (await user_of(connection, ref, account)).id if ref else ""


async def extension_of(connection: AsyncConnection, ref: str, account: str = "") -> Extension:
    """The extension with this id or number."""
    return only(await people.find_extensions(connection, ref, account), "extension", ref)


async def extension_id(connection: AsyncConnection, ref: str, account: str = "") -> str:
    """The id of the extension meant; empty where none is named."""
    return (await extension_of(connection, ref, account)).id if ref else ""


async def extension_for(connection: AsyncConnection, device: Device, ref: str, user: str = "") -> Extension:
    """The extension of the device's own account, or the one that its user holds; Invalid when it is only elsewhere."""
    if bool(ref) == bool(user):
        raise Invalid("extension", "give either an extension or a user")
    if user:
        return await _held(connection, await user_of(connection, user, device.account))
    if own := await people.find_extensions(connection, ref, device.account):
        return only(own, "extension", ref)
    elsewhere = await extension_of(connection, ref)
    raise Invalid("extension", f"{elsewhere.number} belongs to another account than the device")


async def _held(connection: AsyncConnection, holder: User) -> Extension:
    held = await people.list_extensions(connection, user=holder.id)
    if len(held) == 1:
        return held[0]
    if not held:
        raise Conflict(f"user {holder.name!r} holds no extension: add one first")
    numbers = ", ".join(one.number for one in held)
    raise Conflict(f"user {holder.name!r} holds {len(held)} extensions, {numbers}: say which one")


async def extension_in(connection: AsyncConnection, ref: str, account: str) -> Extension:
    """The same, of the account with this id or name where one is given."""
    return await extension_of(connection, ref, await account_id(connection, account))


async def device_of(connection: AsyncConnection, mac: Mac) -> Device:
    """The device with this Mac."""
    found = await devices.find_device(connection, mac)
    if found is None:
        raise NotFound(f"there is no device {mac.colons}", cure=Cure(Deed.ADD_DEVICE, mac))
    return found
