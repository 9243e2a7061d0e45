"""Use-cases of the administrator: licenses are bought, given to users, suspended and given back."""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.deeds import Cure, Deed
from provisioner.desk import Desk, account_id, account_of, counted, user_id, user_of
from provisioner.errors import Conflict, Invalid, NoLicense, NotFound
from provisioner.licensing import SEATS, LicenseKind, LicenseState
from provisioner.store import devices, licenses, people, policies
from provisioner.store.database import Change
from provisioner.store.rows import License, LicenseTotal, User

_MOST: Final = 10_000
"""Licenses of one purchase."""


class Licenses(Desk):
    """Licenses of accounts: one row each, so the total that was bought is how many there are."""

    async def add_licenses(self, kind: LicenseKind, *, account: str, count: int = 1) -> list[License]:
        """So many more were bought."""
        _check_count(count)
        async with self._change() as change:
            owner = await account_of(change.connection, account)
            made = await licenses.insert_licenses(change.connection, owner.id, kind, count, change.at)
            change.audit("license_added", account=owner.id, license_kind=kind.value, count=str(count))
        return made

    async def remove_licenses(self, kind: LicenseKind, *, account: str, count: int = 1) -> int:
        """So many were given back: only those that nobody has and that are not suspended."""
        _check_count(count)
        async with self._change() as change:
            owner = await account_of(change.connection, account)
            if (done := await licenses.delete_licenses(change.connection, owner.id, kind, count)) < count:
                raise Conflict(
                    f"account {owner.name!r} has {counted(done, f'available {kind.value} license')}, not {count}: "
                    "take them from their users first"
                )
            change.audit("license_removed", account=owner.id, license_kind=kind.value, count=str(count))
        return count

    async def licenses(
        self,
        account: str = "",
        *,
        kind: LicenseKind | None = None,
        state: LicenseState | None = None,
        user: str = "",
    ) -> list[License]:
        """Licenses, of one account or of all."""
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            holder = await user_id(connection, user, owner)
            return await licenses.list_licenses(connection, owner, kind=kind, state=state, user=holder)

    async def license_totals(self, account: str = "") -> list[LicenseTotal]:
        """How many of each kind were bought, and what became of them."""
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            return await licenses.license_totals(connection, owner)

    async def license(self, license: str, *, account: str = "") -> License:
        """One license, by its id, or by the user who has no other one."""
        async with self._store.reading() as connection:
            return await _license(connection, license, account)

    async def assign_license(self, user: str, *, account: str = "", kind: LicenseKind = LicenseKind.USER) -> License:
        """Give a user a license of the account; NoLicense when the last one is taken."""
        async with self._change() as change:
            holder = await _user(change.connection, user, account)
            if kind in SEATS and (held := await licenses.seats_of(change.connection, holder.id)):
                raise Conflict(f"user {holder.name!r} has {held[0].kind.value} license {held[0].id} already")
            ident = await licenses.take_license(change.connection, holder.account, kind, holder.id, change.at)
            if ident is None:
                cure = Cure(Deed.ADD_LICENSES, kind.value, holder.account)
                raise NoLicense(await _none_left(change.connection, holder.account, kind), cure=cure)
            given = License(ident, holder.account, kind, LicenseState.ASSIGNED, holder.id, change.at)
            change.audit("license_assigned", **_named(given))
        return given

    async def unassign_license(self, license: str, *, account: str = "") -> License:
        """Take a license from its user; ``license`` is its id, or the user who has no other one."""
        async with self._change() as change:
            found = await _license(change.connection, license, account)
            if not found.user:
                raise Conflict(f"nobody has license {found.id}")
            await _refuse_needed(change.connection, found)
            await licenses.free_license(change.connection, found.id, change.at)
            change.audit("license_unassigned", **_named(found))
            return await _license(change.connection, found.id, found.account)

    async def suspend_license(self, license: str, *, account: str = "") -> License:
        """Let it count for nothing: phones go on, but nothing further can be activated or bound with it."""
        return await self._suspended(license, account, True)

    async def resume_license(self, license: str, *, account: str = "") -> License:
        """Let it count again, for the user who has it."""
        return await self._suspended(license, account, False)

    async def _suspended(self, license: str, account: str, suspended: bool) -> License:
        async with self._change() as change:
            found = await _license(change.connection, license, account)
            if not await licenses.suspend_license(change.connection, found.id, suspended=suspended, at=change.at):
                raise Conflict(f"license {found.id} is {'suspended already' if suspended else 'not suspended'}")
            kind = "license_suspended" if suspended else "license_resumed"
            change.audit(kind, severity="warning" if suspended else "info", **_named(found))
            return await _license(change.connection, found.id, found.account)


async def free_licenses_of(change: Change, user: User) -> None:
    """What a user who goes away had is available again."""
    for one in await licenses.list_licenses(change.connection, user.account, user=user.id):
        await licenses.free_license(change.connection, one.id, change.at)
        change.audit("license_unassigned", **_named(one))


def _check_count(count: int) -> None:
    if not 1 <= count <= _MOST:
        raise Invalid("count", f"must be from 1 to {_MOST}")


def _named(one: License) -> dict[str, str]:
    return {"license": one.id, "account": one.account, "license_kind": one.kind.value, "user": one.user}


async def _user(connection: AsyncConnection, ref: str, account: str) -> User:
    owner = await account_id(connection, account)
    return await user_of(connection, ref, owner)


async def _none_left(connection: AsyncConnection, account: str, kind: LicenseKind) -> str:
    """How it comes that there is none."""
    totals = {one.kind: one for one in await licenses.license_totals(connection, account)}
    found = totals.get(kind)
    told = f"of {found.total}: {found.assigned} assigned, {found.suspended} suspended" if found else "none was bought"
    return f"no {kind.value} license is left ({told}): add those that were bought since, or take one from a user"


async def _license(connection: AsyncConnection, ref: str, account: str) -> License:
    """By its id, or the only one of a user."""
    owner = await account_id(connection, account)
    if found := await licenses.find_licenses(connection, ref, owner):
        return found[0]
    if not await people.find_users(connection, ref, owner):
        raise NotFound(f"there is no license, and no user, {ref!r}")
    holder = await user_of(connection, ref, owner)
    held = await licenses.list_licenses(connection, holder.account, user=holder.id)
    if len(held) != 1:
        listed = f": give the id, one of {', '.join(one.id for one in held)}" if held else ""
        raise (Conflict if held else NotFound)(f"user {holder.name!r} has {counted(len(held), 'license')}{listed}")
    return held[0]


async def _refuse_needed(connection: AsyncConnection, one: License) -> None:
    """Who has a phone keeps the license that it needs, or one license would do for everybody."""
    if one.kind not in SEATS or not (await policies.policy_of(connection, one.account)).needs_license:
        return
    if bound := await devices.bindings_of_user(connection, one.user):
        lines = ", ".join(f"{held.number} on line {held.line} of {held.mac.colons}" for held in bound)
        raise Conflict(f"the user of license {one.id} has {lines}: unbind that first, or suspend the license")
