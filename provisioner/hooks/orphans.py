"""An endpoint outlives whoever added it, so by whose right it is there is looked at again and again.

When the key of the API is over, the administrator is gone or has the right no more, that is an alarm and stands with
the endpoint; whether it is still called then is a setting. Who enables it answers for it from then on.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import NotSignedIn
from provisioner.hooks.post import disable
from provisioner.principals import principal_of
from provisioner.rights import Principal, Right
from provisioner.store import api_keys, hooks
from provisioner.store.database import Change, Store
from provisioner.store.hooks import Hook

_SERVER: Final = "server"


def author_in(principal: Principal, actor: str) -> dict[str, str]:
    """Columns of an endpoint that say by whose right it is there."""
    key = principal.credential if principal.is_key else ""
    return {"author": actor, "administrator": principal.ident, "api_key": key, "orphaned": ""}


async def why_orphaned(connection: AsyncConnection, one: Hook, now: float) -> str:
    """Why nobody's right stands behind an endpoint any more; empty while somebody's does."""
    if one.api_key:
        key = await api_keys.key_with(connection, one.api_key)
        if key is None or key.revoked:
            return f"{one.author}, by whose right it is called, is revoked"
        if key.expires is not None and key.expires <= now:
            return f"{one.author}, by whose right it is called, has expired"
    if not one.administrator:  # the machine itself, or a key that was made on it
        return ""
    try:
        principal = await principal_of(connection, one.administrator, now)
    except NotSignedIn:
        return f"{one.author}, by whose right it is called, was removed"
    return "" if _may(principal, one.account) else f"{one.author} may not have endpoints called there any more"


def _may(principal: Principal, account: str) -> bool:
    if account:
        return principal.may_in(Right.HOOK_WRITE, account)
    return any(Right.HOOK_WRITE in part.rights and part.reach.accounts is None for part in principal.parts)


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


async def _noted(change: Change, seen: Hook, *, disables: bool) -> bool:
    """As things are by now: somebody may have removed it, or answer for it."""
    found = [one for one in await hooks.find_hooks(change.connection, seen.id) if one.id == seen.id and one.enabled]
    why = await why_orphaned(change.connection, found[0], change.at) if found else ""
    if not found or why == found[0].orphaned:
        return False
    one = found[0]
    await hooks.write_hook(change.connection, one.id, {"orphaned": why[:200]})
    about = {"hook": one.id, "name": one.name, "account": one.account}
    if not why:
        change.audit("hook_answered_for", **about)
        return True
    change.audit("hook_orphaned", severity="alarm", reason=why[:200], **about)
    if disables:
        await disable(change, one.id, why)
    return True
