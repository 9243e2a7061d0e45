"""What a job may do now: what its author could do when they began it, as far as they still can.

Rights that were taken away since are gone for the rows that are left; what the author was given since is not added.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import Forbidden, NotSignedIn
from provisioner.fleet.jobs import read_principal
from provisioner.principals import principal_of
from provisioner.rights import Part, Principal, Reach
from provisioner.store import api_keys, jobs


async def author_of(connection: AsyncConnection, job: str, now: float) -> Principal:
    """Whoever began the job, as they are now; Forbidden when they are gone, or their key is."""
    written = read_principal(await jobs.principal_of(connection, job))
    if written.is_key:
        await _require_key(connection, written.credential, now)
    if not written.ident:
        return written  # the machine itself, or a key that was made on it
    try:
        return common(written, await principal_of(connection, written.ident, now))
    except NotSignedIn as error:
        raise Forbidden(f"{written.actor} is no administrator any more") from error


async def _require_key(connection: AsyncConnection, ident: str, now: float) -> None:
    key = await api_keys.key_with(connection, ident)
    if key is None or key.revoked or (key.expires is not None and key.expires <= now):
        raise Forbidden("the key of the API that it was begun with is revoked or has expired")


def common(before: Principal, now: Principal) -> Principal:
    """The first, with what the second can do, too."""
    found = [
        Part(one.rights & other.rights, reach, one.role, one.through)
        for one in before.parts
        for other in now.parts
        if one.rights & other.rights and (reach := meeting(one.reach, other.reach)) != Reach(actor=reach.actor)
    ]
    parts = tuple(dict.fromkeys(found))
    return Principal(before.actor, parts, before.ident, before.credential, is_key=before.is_key)


def meeting(one: Reach, other: Reach) -> Reach:
    """What both reach; single sites and users where both name them, or the other has all of their accounts."""
    if one == other:
        return one
    sites, users, audited = _places(one, other), _users(one, other), one.audited_sites & other.audited_sites
    return Reach(
        accounts=_both(one.accounts, other.accounts),
        sites=sites,
        users=users,
        partly=_named(one, other) if sites or users else frozenset(),
        actor=one.actor if one.actor == other.actor else "",
        parents=one.parents & other.parents,
        audits=_both(one.audits, other.audits),
        audited_sites=audited,
    )


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _holds(whole: Reach, part: Reach) -> bool:
    """Whether one reaches all accounts that single sites and users of the other are of."""
    return whole.accounts is None or (bool(part.partly) and part.partly <= whole.accounts)


def _places(one: Reach, other: Reach) -> frozenset[str]:
    found = one.sites & other.sites
    return found | (one.sites if _holds(other, one) else frozenset()) | (other.sites if _holds(one, other) else found)


def _users(one: Reach, other: Reach) -> frozenset[str]:
    found = one.users & other.users
    return found | (one.users if _holds(other, one) else frozenset()) | (other.users if _holds(one, other) else found)


def _named(one: Reach, other: Reach) -> frozenset[str]:
    """Accounts that both can name."""
    return frozenset(account for account in one.partly | other.partly if one.names(account) and other.names(account))
