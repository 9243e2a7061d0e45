"""Use-cases of the administrator: phone numbers of an account's pool, and numbers that are free for an extension."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.deeds import Cure, Deed
from provisioner.desk import Desk, account_id, account_of, extension_id, extension_of, only, site_id
from provisioner.errors import Conflict, Invalid, NotFound
from provisioner.numbering import NumberOrigin, NumberRange, NumberState, is_public, parse_number
from provisioner.store import numbers, people, policies
from provisioner.store.database import Change
from provisioner.store.rows import Account, Extension, ExtensionHold, ExtensionRange, PhoneNumber

HOLD: Final = 600.0
"""s that a suggestion is kept: a form is filled in by then."""
_SHORTEST: Final = 10.0
_LONGEST: Final = 86_400.0
_MOST: Final = 1000
"""Numbers added at once."""


class Numbers(Desk):
    """The pool: a number of the world (E.164) is one account's, an internal one is one of its account."""

    async def add_numbers(
        self,
        given: Sequence[str],
        *,
        account: str,
        site: str = "",
        origin: NumberOrigin = NumberOrigin.CLAIMED,
        porting: bool = False,
    ) -> list[PhoneNumber]:
        """All of them or none; with ``porting`` they are still to come and can be assigned already."""
        if not 1 <= len(given) <= _MOST:
            raise Invalid("numbers", f"must be 1 to {_MOST} of them")
        parsed = list(dict.fromkeys(parse_number(one) for one in given))
        state = NumberState.PORTING if porting else NumberState.AVAILABLE
        async with self._change() as change:
            owner = await account_of(change.connection, account)
            place = await site_id(change.connection, site, owner.id)
            made = []
            for number in parsed:
                await _refuse_known(change, owner, number)
                one = PhoneNumber(people.new_id(), number, owner.id, place, state, origin, "", "", 0.0, change.at)
                await numbers.insert_number(change.connection, one)
                change.audit("number_added", number=number, account=owner.id, origin=origin.value, state=state.value)
                made.append(one)
        return made

    async def numbers(
        self, account: str = "", *, site: str = "", extension: str = "", state: NumberState | None = None
    ) -> list[PhoneNumber]:
        """Numbers with their states as of now."""
        now = self._clock()
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            place = await site_id(connection, site, owner)
            holder = await extension_id(connection, extension, owner)
            found = await numbers.list_numbers(connection, now, owner, site=place, extension=holder)
        return [one for one in found if state in {None, one.state}]

    async def number(self, number: str, *, account: str = "") -> PhoneNumber:
        """One number, as it is now."""
        async with self._store.reading() as connection:
            return await _number(connection, self._clock(), number, account)

    async def hold_number(self, number: str, *, account: str = "", seconds: float = HOLD) -> PhoneNumber:
        """Keep an available number for whoever asks, for a while."""
        _check_hold(seconds)
        async with self._change() as change:
            found = await _number(change.connection, change.at, number, account)
            until = change.at + seconds
            if not await numbers.hold_number(change.connection, found.id, change.actor, until, change.at):
                raise _taken(found)
            change.audit("number_held", seconds=f"{seconds:.0f}", **_named(found))
            return await _number(change.connection, change.at, found.id, found.account)

    async def release_number(self, number: str, *, account: str = "") -> PhoneNumber:
        """End a hold before its time."""
        async with self._change() as change:
            found = await _number(change.connection, change.at, number, account)
            if not await numbers.release_number(change.connection, found.id, change.at):
                raise Conflict(f"nobody holds {found.number}")
            change.audit("number_released", held_by=found.held_by, **_named(found))
            return await _number(change.connection, change.at, found.id, found.account)

    async def assign_number(self, number: str, *, extension: str, account: str = "") -> PhoneNumber:
        """Give an extension a number of its own account; one that is still being ported counts when it has come."""
        async with self._change() as change:
            owner = await account_id(change.connection, account)
            target = await extension_of(change.connection, extension, owner)
            found = await _number(change.connection, change.at, number, target.account)
            now = change.at
            if not await numbers.assign_number(change.connection, found.id, target.id, change.actor, now):
                raise _taken(found)
            change.audit("number_assigned", extension=target.id, **_named(found))
            return await _number(change.connection, change.at, found.id, found.account)

    async def unassign_number(self, number: str, *, account: str = "") -> PhoneNumber:
        """Take a number from its extension; its phone goes on."""
        async with self._change() as change:
            found = await _number(change.connection, change.at, number, account)
            if not await numbers.free_number(change.connection, found.id, change.at):
                raise Conflict(f"no extension has {found.number}")
            change.audit("number_unassigned", extension=found.extension, **_named(found))
            return await _number(change.connection, change.at, found.id, found.account)

    async def number_ported(self, number: str, *, account: str = "") -> PhoneNumber:
        """It has come: from now on it counts for the extension that it was given to."""
        async with self._change() as change:
            found = await _number(change.connection, change.at, number, account)
            if not await numbers.end_porting(change.connection, found.id, change.at):
                raise Conflict(f"{found.number} is not being ported, it is {found.state.value}")
            change.audit("number_ported", extension=found.extension, **_named(found))
            return await _number(change.connection, change.at, found.id, found.account)

    async def remove_number(self, number: str, *, account: str = "") -> None:
        """Give an available number back."""
        async with self._change() as change:
            found = await _number(change.connection, change.at, number, account)
            if found.extension or found.state is NumberState.HELD:
                raise _taken(found)
            await numbers.delete_number(change.connection, found.id)
            change.audit("number_removed", **_named(found))


class Ranges(Desk):
    """Where new extensions are looked for, and the free ones that are kept for somebody."""

    async def set_range(self, span: str, *, account: str, site: str = "") -> ExtensionRange:
        """Look for new extensions there; a site's range goes before its account's."""
        wanted = NumberRange.parse(span)
        async with self._change() as change:
            owner = await account_of(change.connection, account)
            place = await site_id(change.connection, site, owner.id)
            one = ExtensionRange(owner.id, place, wanted.low, wanted.high)
            await numbers.write_range(change.connection, one)
            change.audit("range_set", account=owner.id, site=place, range=str(wanted))
        return one

    async def clear_range(self, *, account: str, site: str = "") -> None:
        """Look there no more."""
        async with self._change() as change:
            owner = await account_of(change.connection, account)
            place = await site_id(change.connection, site, owner.id)
            if not await numbers.delete_range(change.connection, owner.id, place):
                raise NotFound(f"there is no range of {'that site' if place else f'account {owner.name!r}'}")
            change.audit("range_set", account=owner.id, site=place, range="none")

    async def range(self, *, account: str, site: str = "") -> ExtensionRange:
        """That of a site, or of the account as a whole; NotFound where there is none."""
        async with self._store.reading() as connection:
            owner = await account_of(connection, account)
            place = await site_id(connection, site, owner.id)
            for one in await numbers.list_ranges(connection, owner.id):
                if one.site == place:
                    return one
        raise NotFound(f"there is no range of {'that site' if place else f'account {owner.name!r}'}")

    async def ranges(self, account: str = "") -> list[ExtensionRange]:
        """The ranges, of one account or of all."""
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            return await numbers.list_ranges(connection, owner)

    async def suggest_extension(self, *, account: str, site: str = "", seconds: float = HOLD) -> ExtensionHold:
        """The lowest free number of the range, kept for whoever asked until it is an extension or time is up."""
        _check_hold(seconds)
        async with self._change() as change:
            owner = await account_of(change.connection, account)
            place = await site_id(change.connection, site, owner.id)
            span = await _range_of(change.connection, owner, place)
            await numbers.forget_holds(change.connection, change.at)
            taken = await numbers.taken_of(change.connection, owner.id, span, change.at)
            taken.update((await policies.policy_of(change.connection, owner.id)).reserved)
            if (number := span.lowest_free(taken)) is None:
                raise Conflict(f"no number of {span} is free: set a wider range, or remove extensions")
            hold = ExtensionHold(owner.id, number, change.actor, change.at + seconds)
            if not await numbers.take_hold(change.connection, hold, change.at):
                raise Conflict(f"{number} was taken at the same moment: ask again")
            change.audit("extension_held", number=number, account=owner.id, seconds=f"{seconds:.0f}")
        return hold

    async def release_extension(self, number: str, *, account: str) -> None:
        """Keep a suggested number no longer."""
        async with self._change() as change:
            owner = await account_of(change.connection, account)
            held = await numbers.end_hold(change.connection, owner.id, number)
            if held is None or held.until <= change.at:
                raise NotFound(f"nobody holds {number}")
            change.audit("extension_released", number=number, account=owner.id, held_by=held.actor)

    async def extension_holds(self, account: str = "") -> list[ExtensionHold]:
        """Numbers that are kept for somebody now."""
        now = self._clock()
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            return await numbers.list_holds(connection, now, owner)


async def claim_extension(change: Change, owner: Account, number: str) -> None:
    """Refuse a reserved number and one that is kept for somebody else; who it was kept for uses it up."""
    if number in (await policies.policy_of(change.connection, owner.id)).reserved:
        why = f"{number} is reserved for calls to others, by the policy of the account"
        raise Invalid("number", why, cure=Cure(Deed.RESERVE_NUMBERS, account=owner.id))
    held = await numbers.end_hold(change.connection, owner.id, number)
    if held is not None and held.until > change.at and held.actor != change.actor:
        left = math.ceil(held.until - change.at)
        raise Conflict(f"{number} is kept for {held.actor} for {left} s more: take another, or release it")


async def free_numbers_of(change: Change, extension: Extension) -> None:
    """What an extension that goes away had is available again."""
    for one in await numbers.list_numbers(change.connection, change.at, extension.account, extension=extension.id):
        await numbers.free_number(change.connection, one.id, change.at)
        change.audit("number_unassigned", extension=extension.id, **_named(one))


async def _range_of(connection: AsyncConnection, owner: Account, site: str) -> NumberRange:
    found = {one.site: one for one in await numbers.list_ranges(connection, owner.id)}
    one = found.get(site) or found.get("")
    if one is None:
        cure = Cure(Deed.SET_RANGE, owner.name, owner.id)
        raise Conflict(f"account {owner.name!r} has no range of numbers in which extensions are looked for", cure=cure)
    return NumberRange(one.low, one.high)


async def _number(connection: AsyncConnection, now: float, ref: str, account: str) -> PhoneNumber:
    """By its id, or however it is written."""
    owner = await account_id(connection, account)
    found = await numbers.find_numbers(connection, ref, owner, now)
    if not found and (spelled := _spelled(ref)):
        found = await numbers.find_numbers(connection, spelled, owner, now)
    return only(found, "number", ref)


def _spelled(ref: str) -> str:
    """As numbers are written inside; empty when it is none."""
    try:
        return parse_number(ref)
    except Invalid:
        return ""


async def _refuse_known(change: Change, owner: Account, number: str) -> None:
    """Of another account no more is told than that it is taken."""
    scope = "" if is_public(number) else owner.id
    for one in await numbers.find_numbers(change.connection, number, scope, change.at):
        whose = f"account {owner.name!r} has it already" if one.account == owner.id else "another account has it"
        raise Conflict(f"{number}: {whose}")


def _check_hold(seconds: float) -> None:
    if not _SHORTEST <= seconds <= _LONGEST:
        raise Invalid("seconds", f"a hold lasts from {_SHORTEST:.0f} s to {_LONGEST:.0f} s")


def _named(one: PhoneNumber) -> dict[str, str]:
    return {"phone_number": one.id, "number": one.number, "account": one.account}


def _taken(one: PhoneNumber) -> Conflict:
    if one.extension:
        return Conflict(
            f"{one.number} has its extension: take it from that first", cure=Cure(Deed.UNASSIGN_NUMBER, one.number)
        )
    if one.state is NumberState.HELD:
        cure = Cure(Deed.RELEASE_NUMBER, one.number)
        return Conflict(f"{one.number} is held by {one.held_by}: wait, or end that", cure=cure)
    return Conflict(f"{one.number} is {one.state.value}")
