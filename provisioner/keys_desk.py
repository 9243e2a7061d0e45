"""Use-cases: keys of the API. A key never does more than who made it, nor longer than it was made for.

Keys make no keys: what one is limited to, its accounts and its end, would not bind the next.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.desk import HouseDesk, account_of, text_of
from provisioner.errors import Conflict, Forbidden, Invalid, NotFound
from provisioner.roles import Right
from provisioner.store import api_keys
from provisioner.store.api_keys import ApiKey
from provisioner.store.people import new_id

_DAY: Final = 86_400.0
_MOST: Final = 3650.0
"""days"""
_PREFIX: Final = 10
"""Characters that are kept to know a key again: 30 bits of 256 besides the word."""


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key that was made, with the text that nobody gets again."""

    key: str = field(repr=False)
    about: ApiKey


class ApiKeys(HouseDesk):
    """Keys of the API; their table hangs on no account, so each use-case says itself whose it shows."""

    async def make_key(
        self, name: str, *, scopes: Collection[Right], accounts: Sequence[str] = (), days: float | None = None
    ) -> MadeKey:
        """A key for these rights, in these accounts or wherever its maker reaches."""
        name = text_of("name", name)
        life = self._settings.apikey_life if days is None else days
        if not 0 < life <= _MOST:
            raise Invalid("days", f"must be up to {_MOST:.0f}")
        self._check_scopes(scopes)
        async with self._store.reading() as connection:
            owners = [(await account_of(connection, one)).id for one in accounts]
        text = f"prov_{secrets.token_urlsafe(32)}"
        async with self._all.changing(self._actor, self._clock()) as change:
            told = tuple(sorted(one.value for one in scopes))
            one = ApiKey(
                new_id(), name, text[:_PREFIX], told, tuple(sorted(set(owners))), self._principal.ident,
                change.at, change.at + life * _DAY, None, False, self._actor,  # not revoked
            )  # fmt: skip
            await api_keys.insert_key(change.connection, text, one)
            change.audit(
                "apikey_made", severity="warning", scopes=" ".join(told), accounts=" ".join(one.accounts), **_named(one)
            )
        return MadeKey(text, one)

    async def keys(self) -> list[ApiKey]:
        """Keys, the newest first: one's own, or all where every account is within reach."""
        async with self._all.reading() as connection:
            return [one for one in await api_keys.list_keys(connection) if self._sees(one)]

    async def key(self, ref: str) -> ApiKey:
        """One key, by id, name, or how it begins."""
        async with self._all.reading() as connection:
            return await self._meant(connection, ref)

    async def revoke_key(self, ref: str) -> ApiKey:
        """End it at once; by id, name, or how it begins."""
        async with self._all.changing(self._actor, self._clock()) as change:
            one = await self._meant(change.connection, ref)
            if not await api_keys.revoke_key(change.connection, one.id):
                raise Conflict(f"key {one.name!r} is revoked already")
            change.audit("apikey_revoked", severity="warning", **_named(one))
        return one

    async def _meant(self, connection: AsyncConnection, ref: str) -> ApiKey:
        found = [one for one in await api_keys.keys_named(connection, ref) if self._sees(one)]
        usable = [one for one in found if not one.revoked] or found
        if not usable:
            raise NotFound(f"there is no key {ref!r}")
        if len(usable) > 1:
            raise Conflict(
                f"{ref!r} may mean {len(usable)} keys: give the id, one of {', '.join(o.id for o in usable)}"
            )
        return usable[0]

    def _sees(self, one: ApiKey) -> bool:
        return self._principal.reach.accounts is None or (
            bool(one.administrator) and one.administrator == self._principal.ident
        )

    def _check_scopes(self, scopes: Collection[Right]) -> None:
        if self._principal.is_key:
            raise Forbidden("a key makes no keys: sign in", right=Right.APIKEY_WRITE.value)
        if not scopes:
            raise Invalid("scopes", "say at least one right that the key shall have")
        if beyond := sorted(set(scopes) - self._principal.rights):
            raise Forbidden(f"nobody gives a key what they may not do themselves: {', '.join(beyond)}", right=beyond[0])
        if late := sorted(set(scopes) & self._principal.stale):
            raise self._principal.unproven(late[0])


def _named(one: ApiKey) -> dict[str, str]:
    return {"key": one.id, "name": one.name, "prefix": one.prefix}
