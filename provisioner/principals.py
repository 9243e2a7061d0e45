"""Who asks: a session's cookie or a key of the API becomes a Principal, from what the database says at this moment.

Nothing about rights is kept in a cookie or a key: a role that was taken away is gone with the next request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import NotFound, NotSignedIn
from provisioner.rights import OPERATOR, Holding, Part, Principal, granted_part, parts_of
from provisioner.roles import LASTING, REVEALS, Right, Role
from provisioner.settings import Settings
from provisioner.store import administrators, api_keys, sign_in
from provisioner.store.administrators import Administrator, Grant, HeldRole
from provisioner.store.api_keys import ApiKey
from provisioner.store.database import Store

_HOUR: Final = 3600.0


class Principals:
    """What the admin edge asks with each request."""

    def __init__(self, store: Store, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._used: dict[str, float] = {}
        """Keys of the API that were used, and when last; written in batches."""

    async def by_session(self, token: str) -> Principal:
        """Whoever is signed in with this cookie; NotSignedIn when nobody is any more."""
        now, idle = self._clock(), self._settings.session_idle
        async with self._store.reading() as connection:
            found = await sign_in.find_session(connection, token, now, idle) if token else None
            if found is None:
                raise NotSignedIn("nobody is signed in here any more: sign in again")
            principal = await principal_of(connection, found.administrator, now)
        if now - found.seen >= self._settings.session_touch:
            async with self._store.writing() as connection:
                await sign_in.touch_session(connection, found.id, now)
        stale = self._stale(now - found.proved)
        return replace(principal, credential=found.id, throttle=f"session/{found.id}", stale=stale)

    async def by_token(self, text: str) -> Principal:
        """Whoever asks with this key of the API, within its scopes; NotSignedIn when it is none, or over."""
        now = self._clock()
        async with self._store.reading() as connection:
            found = await api_keys.find_key(connection, text)
            if found is None or found.revoked or (found.expires is not None and found.expires <= now):
                raise NotSignedIn("this is no key of the API that can be used: it is unknown, revoked or has expired")
            base = OPERATOR
            if found.administrator:
                base = await principal_of(connection, found.administrator, now)
        self._used[found.id] = now
        stale = now - found.created > self._settings.apikey_reveal * _HOUR
        return replace(_limited_to(found, base), stale=REVEALS if stale else frozenset())

    def _stale(self, age: float) -> frozenset[Right]:
        """What a session that was proven so many seconds ago cannot be used for any more."""
        reveals = REVEALS if age > self._settings.login_reveal else frozenset()
        return reveals | (LASTING if age > self._settings.login_lasting else frozenset())

    async def principal(self, administrator: str) -> Principal:
        """What an administrator (id or login) may do now; NotFound when there is no such."""
        async with self._store.reading() as connection:
            found = await administrators.find_administrator(connection, administrator)
            if found is None:
                raise NotFound(f"there is no administrator {administrator!r}")
            return await principal_of(connection, found.id, self._clock())

    async def flush(self) -> int:
        """Write down when keys were used last; how many keys. Call it every apikey.flush s, and at the end."""
        used, self._used = self._used, {}
        if used:
            async with self._store.writing() as connection:
                await api_keys.note_used(connection, used)
        return len(used)


async def principal_of(connection: AsyncConnection, ident: str, now: float) -> Principal:
    """What an administrator may do by all their roles and grants; NotSignedIn when there is no such any more."""
    found = await administrators.find_administrator(connection, ident)
    if found is None:
        raise NotSignedIn("this administrator was removed")
    roles = await administrators.list_roles(connection, found.id)
    grants = await administrators.list_grants(connection, now, found.id)
    partners = sorted({one.account for one in roles if one.role is Role.PARTNER and one.account})
    children = await administrators.children_of(connection, partners) if partners else {}
    return principal_with(found, roles, grants, children)


def principal_with(
    who: Administrator, roles: Iterable[HeldRole], grants: Iterable[Grant], children: dict[str, frozenset[str]]
) -> Principal:
    """The same from values."""
    holdings = [holding for one in roles for holding in _holdings(one, children)]
    parts: list[Part] = [part for one in holdings for part in parts_of(one, who.email)]
    granted = (granted_part(one, grant.right, grant.account) for grant in grants for one in holdings)
    parts += [part for part in granted if part is not None]
    return Principal(who.email, tuple(dict.fromkeys(parts)), ident=who.id, throttle=f"administrator/{who.id}")


def _holdings(one: HeldRole, children: dict[str, frozenset[str]]) -> Iterator[Holding]:
    """A partner's role is one in each account below theirs, and lets them add further ones."""
    if one.role is not Role.PARTNER:
        yield Holding(one.role, one.account, one.site, one.user)
        return
    if one.account:
        yield Holding(one.role, one.account, through=one.account)
        for child in sorted(children.get(one.account, ())):
            yield Holding(one.role, child, through=one.account)


def _limited_to(key: ApiKey, base: Principal) -> Principal:
    maker = f", {base.actor}" if base.ident else ""
    accounts = frozenset(key.accounts) if key.accounts else None
    narrowed = base.narrowed([Right(one) for one in key.scopes], accounts)
    name, throttle = f"key {key.name} ({key.prefix}{maker})", f"key/{key.id}"
    return replace(narrowed, actor=name, credential=key.id, throttle=throttle, is_key=True)
