"""An endpoint and a source outlive whoever added them, so by whose right they are there is looked at again and again.

When the key of the API is over, the administrator is gone or has the right no more, that is an alarm and stands with
them. Whether an endpoint is still called then is a setting; a source may post nothing from that moment on. Who enables
them answers for them from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import Forbidden, NobodyAnswers, NotSignedIn
from provisioner.hooks.mapping import Action
from provisioner.hooks.post import disable
from provisioner.principals import principal_of
from provisioner.rights import OPERATOR, Principal, Right
from provisioner.store import api_keys, hook_inbox, hooks
from provisioner.store.database import Change, Store
from provisioner.store.hook_inbox import Source
from provisioner.store.hooks import Hook

_SERVER: Final = "server"
_WHY: Final = 200
_SEES: Final = frozenset({Right.DEVICE_READ, Right.PEOPLE_READ})
_TAKES: Final[Mapping[Action, frozenset[Right]]] = MappingProxyType(
    {
        Action.ASSIGN: _SEES | {Right.DEVICE_BIND},
        Action.LEFT: _SEES | {Right.DEVICE_BIND, Right.CODE_ISSUE},
        Action.REGISTERED: _SEES,
        Action.SHIPPED: frozenset({Right.DEVICE_READ, Right.DEVICE_WRITE}),
        Action.IGNORE: frozenset(),
    }
)
"""Whoever answers for a source has to have all of them in one place, as for the same by any other door."""


def author_in(principal: Principal, actor: str) -> dict[str, str]:
    """Columns of an endpoint or a source that say by whose right it is there."""
    key = principal.credential if principal.is_key else ""
    return {"author": actor, "administrator": principal.ident, "api_key": key, "orphaned": ""}


async def why_orphaned(connection: AsyncConnection, one: Hook | Source, now: float) -> str:
    """Why nobody's right stands behind it any more; empty while somebody's does."""
    does, may = (
        ("posts", "let no system post") if isinstance(one, Source) else ("is called", "not have endpoints called")
    )
    if one.api_key:
        key = await api_keys.key_with(connection, one.api_key)
        if key is None or key.revoked:
            return f"{one.author}, by whose right it {does}, is revoked"
        if key.expires is not None and key.expires <= now:
            return f"{one.author}, by whose right it {does}, has expired"
    try:
        principal = await _author(connection, one, now)
    except NotSignedIn:
        return f"{one.author}, by whose right it {does}, was removed"
    return "" if _may(principal, one.account) else f"{one.author} may {may} there any more"


async def _author(connection: AsyncConnection, one: Hook | Source, now: float) -> Principal:
    """What whoever answers for it may do by now; the machine itself, or a key that was made on it, everything."""
    return await principal_of(connection, one.administrator, now) if one.administrator else OPERATOR


def _may(principal: Principal, account: str) -> bool:
    if account:
        return principal.may_in(Right.HOOK_WRITE, account)
    return any(Right.HOOK_WRITE in part.rights and part.reach.accounts is None for part in principal.parts)


async def acting_as(connection: AsyncConnection, one: Source, action: Action, now: float) -> Principal:
    """The source, with what whoever answers for it has of what the action takes, in its account alone.

    NobodyAnswers where nobody does any more, Forbidden where they have less than that.
    """
    if why := await why_orphaned(connection, one, now):
        raise NobodyAnswers(why)
    author, takes = await _author(connection, one, now), _TAKES[action]
    narrowed = author.narrowed(takes, frozenset({one.account}))
    parts = tuple(part for part in narrowed.parts if part.rights >= takes)
    if takes and not parts:
        lacking = sorted(takes - narrowed.rights) or sorted(takes)
        raise Forbidden(f"{one.author} has no right {lacking[0]} there any more, and the source acts by theirs")
    return replace(name_of(one), parts=parts)


def name_of(one: Source) -> Principal:
    """As whom a source stands in the audit log; it may do nothing by itself."""
    return Principal(f"hook/{one.name}", credential=one.id)


async def look_for_orphans(store: Store, now: float, *, disables: bool) -> int:
    """Note which endpoints nobody answers for since, or somebody again; how many that are."""
    async with store.reading() as connection:
        found = await hooks.list_hooks(connection)
        whys = {one.id: await why_orphaned(connection, one, now) for one in found if one.enabled}
    turned = [one for one in found if one.enabled and whys[one.id] != one.orphaned]
    if not turned:
        return 0
    async with store.changing(_SERVER, now) as change:
        return sum([await _noted(change, one, disables=disables) for one in turned])


async def look_at_sources(store: Store, now: float) -> int:
    """Note for which sources nobody answers since, or somebody again; how many that are."""
    async with store.reading() as connection:
        found = await hook_inbox.list_sources(connection)
        turned = [one for one in found if one.enabled and await why_orphaned(connection, one, now) != one.orphaned]
    return sum([bool(await note_source(store, one, now)) for one in turned])


async def note_source(store: Store, seen: Source, now: float) -> bool:
    """As things are by now: note why nobody answers for a source, or that somebody does again; whether that is news."""
    async with store.changing(_SERVER, now) as change:
        one = await hook_inbox.find_source(change.connection, seen.id)
        why = (await why_orphaned(change.connection, one, now))[:_WHY] if one else ""
        if one is None or why == one.orphaned:
            return False
        await hook_inbox.write_source(change.connection, one.id, {"orphaned": why})
        about = {"source": one.id, "name": one.name, "account": one.account}
        if why:
            change.audit("hook_source_orphaned", severity="alarm", reason=why, **about)
        else:
            change.audit("hook_source_answered_for", **about)
    return True


async def _noted(change: Change, seen: Hook, *, disables: bool) -> bool:
    """As things are by now: somebody may have removed it, or answer for it."""
    found = [one for one in await hooks.find_hooks(change.connection, seen.id) if one.id == seen.id and one.enabled]
    why = await why_orphaned(change.connection, found[0], change.at) if found else ""
    if not found or why == found[0].orphaned:
        return False
    one = found[0]
    await hooks.write_hook(change.connection, one.id, {"orphaned": why[:_WHY]})
    about = {"hook": one.id, "name": one.name, "account": one.account}
    if not why:
        change.audit("hook_answered_for", **about)
        return True
    change.audit("hook_orphaned", severity="alarm", reason=why[:_WHY], **about)
    if disables:
        await disable(change, one.id, why)
    return True
