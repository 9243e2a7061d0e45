"""Use-cases: who may sign in, in which roles, with which rights for a time. The last owner always stays.

Whoever gives a role needs ``role.write`` in the whole of its account. Rights are looked up with every request, so a
role that comes or goes ends no session, but for the last one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from provisioner.administrators import take_off_totp
from provisioner.desk import HouseDesk, account_id, site_id, text_of, user_id
from provisioner.errors import Conflict, Forbidden, Invalid, NotFound
from provisioner.mail.reset import link_url
from provisioner.mail_address import parse_address
from provisioner.rights import Reach
from provisioner.roles import GRANTABLE, MATRIX, Extent, Right, Role
from provisioner.sign_in import new_token
from provisioner.sign_in_rules import check_password, login_of
from provisioner.store import administrators, sign_in
from provisioner.store.administrators import Administrator, Grant, HeldRole
from provisioner.store.database import Change
from provisioner.store.people import new_id

_SHORTEST: Final = 60.0
_LONGEST: Final = 86_400.0
"""s of a grant: whoever needs a right for longer needs a role."""
_NEEDS: Final[Mapping[Role, str]] = {Role.SITE_ADMIN: "site", Role.EMPLOYEE: "user"}
_IN_AN_ACCOUNT: Final = frozenset({Role.SITE_ADMIN, Role.EMPLOYEE, Role.DEALER, Role.PARTNER})


@dataclass(frozen=True, slots=True)
class Known:
    """An administrator with what they may do."""

    administrator: Administrator
    roles: tuple[HeldRole, ...]
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class Invited:
    """A one-time link that was made, told to whoever asked for it and to nobody else."""

    administrator: Administrator
    link: str = field(repr=False)
    expires: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where a role is to be held, looked up."""

    account: str = ""
    site: str = ""
    user: str = ""


class Roster(HouseDesk):
    """Administrators. Their own tables hang on no account, so each use-case says itself who may do it."""

    async def administrators(self) -> list[Known]:
        """Those who hold a role somewhere within reach, and of theirs only what is."""
        async with self._all.reading() as connection:
            everybody = await administrators.list_administrators(connection)
            roles = await administrators.list_roles(connection)
            grants = await administrators.list_grants(connection, self._clock())
        known = []
        for who in everybody:
            held = tuple(one for one in roles if one.administrator == who.id and self._sees(one.account))
            running = tuple(one for one in grants if one.administrator == who.id and self._sees(one.account))
            if held or self._sees(""):
                known.append(Known(who, held, running))
        return known

    async def administrator(self, email: str) -> Known:
        """One of them."""
        found = [
            one
            for one in await self.administrators()
            if email.lower() in {one.administrator.email, one.administrator.id}
        ]
        if not found:
            raise _unknown(email)
        return found[0]

    async def add_administrator(
        self, email: str, *, role: Role, name: str = "", account: str = "", site: str = "", user: str = ""
    ) -> Known:
        """Somebody with a first role; they can sign in once they have set a password by a link."""
        self._require_person()
        login = _login(email)
        name = text_of("name", name, empty=True)
        place = await self._place(role, account, site, user)
        async with self._change() as change:
            if await administrators.find_administrator(change.connection, login) is not None:
                raise Conflict(f"there is an administrator {login} already: give them a role")
            who = await administrators.insert_administrator(change.connection, login, name, change.at)
            change.audit("administrator_added", administrator=who.id, email=login)
            await self._give(change, who, role, place)
        return await self.administrator(login)

    async def give_role(self, email: str, role: Role, *, account: str = "", site: str = "", user: str = "") -> HeldRole:
        """A role more."""
        self._require_person()
        place = await self._place(role, account, site, user)
        async with self._change() as change:
            who = await self._found(change, email)
            for one in await administrators.list_roles(change.connection, who.id):
                if (one.role, one.account, one.site, one.user) == (role, place.account, place.site, place.user):
                    raise Conflict(f"{who.email} is {role.value} there already")
            return await self._give(change, who, role, place)

    async def take_role(self, email: str, role: Role, *, account: str = "", site: str = "", user: str = "") -> None:
        """A role less; the last owner of the whole installation keeps theirs."""
        place = await self._place(role, account, site, user)
        async with self._change() as change:
            who = await self._found(change, email)
            held = [
                one
                for one in await administrators.list_roles(change.connection, who.id)
                if (one.role, one.account, one.site, one.user) == (role, place.account, place.site, place.user)
            ]
            if not held:
                raise NotFound(f"{who.email} is not {role.value} there")
            await administrators.delete_role(change.connection, held[0].id)
            await _keep_an_owner(change)
            if not await administrators.list_roles(change.connection, who.id):
                await sign_in.end_sessions(change.connection, who.id)
            change.audit("role_taken", severity="warning", administrator=who.id, **_named(role, place))

    async def remove_administrator(self, email: str) -> None:
        """With roles, sessions and keys; the last owner of the whole installation stays."""
        async with self._change() as change:
            who = await self._mine(change, email)
            await administrators.delete_administrator(change.connection, who.id)
            await _keep_an_owner(change)
            change.audit("administrator_removed", severity="warning", administrator=who.id, email=who.email)

    async def invite(self, email: str) -> Invited:
        """A one-time link with which somebody sets their password; the one before is worth nothing any more."""
        async with self._change() as change:
            who = await self._mine(change, email)
            self._require_another(who)
            token, until = new_token(), change.at + self._settings.login_link_life
            await sign_in.insert_link(change.connection, token, who.id, until, self._actor)
            change.audit("login_link_made", severity="warning", administrator=who.id)
        return Invited(who, link_url(self._settings, token), until)

    async def set_password(self, email: str, password: str, hashed: str) -> None:
        """A password from the machine itself; ``hashed`` is what ``Passwords.hash`` made of it."""
        if not self._owns(""):
            raise Forbidden("nobody sets another's password: make a link", right=Right.ROLE_WRITE.value)
        check_password(password, login_of(email), self._settings.login_password_least)
        async with self._change() as change:
            who = await self._mine(change, email)
            await administrators.write_administrator(change.connection, who.id, password=hashed)
            await sign_in.end_sessions(change.connection, who.id)
            change.audit("password_set", severity="warning", administrator=who.id, cause="command line")

    async def take_off_totp(self, email: str) -> None:
        """For somebody who has lost their second factor; their sessions end."""
        async with self._change() as change:
            who = await self._mine(change, email)
            self._require_another(who)
            if not who.second_factor:
                raise Conflict(f"{who.email} has no second factor")
            await take_off_totp(change, who)
            await sign_in.end_sessions(change.connection, who.id)

    async def grant(self, email: str, right: Right, *, seconds: float, account: str = "") -> Grant:
        """A right for a time, to somebody whose role can be granted it there."""
        self._require_person()
        if right not in GRANTABLE:
            raise Invalid(
                "right", f"only {', '.join(sorted(GRANTABLE))} can be granted for a time; the rest goes by role"
            )
        if not _SHORTEST <= seconds <= _LONGEST:
            raise Invalid("for", "a grant lasts from 1 min to 24 h")
        place = await self._place(None, account, "", "")
        async with self._change() as change:
            who = await self._found(change, email)
            roles = await administrators.list_roles(change.connection, who.id)
            if not any(_can_have(one, right, place.account) for one in roles):
                raise Conflict(f"{who.email} has no role there that can be granted {right.value}")
            until = change.at + seconds
            one = Grant(new_id(), who.id, right, place.account, until, change.at, self._actor)
            await administrators.insert_grant(change.connection, one)
            told = {"right": right.value, "account": place.account, "seconds": f"{seconds:.0f}"}
            change.audit("right_granted", severity="warning", administrator=who.id, **told)
        return one

    async def end_grants(self, email: str, right: Right | None = None) -> int:
        """End what was granted before its time; how many grants."""
        async with self._change() as change:
            who = await self._found(change, email)
            running = await administrators.list_grants(change.connection, change.at, who.id)
            mine = [one for one in running if right in {None, one.right} and self._owns(one.account)]
            for one in mine:
                await administrators.delete_grant(change.connection, one.id)
                told = {"right": one.right.value, "account": one.account}
                change.audit("grant_ended", administrator=who.id, **told)
        return len(mine)

    # --- parts --------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[Change]:
        """Over tables that hang on no account, so not narrowed."""
        async with self._all.changing(self._actor, self._clock()) as change:
            change.partner = self._principal.partner_for
            yield change

    def _require_person(self) -> None:
        """What a key gave would be more than its own rights, and outlive it."""
        if self._principal.is_key:
            raise Forbidden("a key lets nobody in and gives no rights: sign in", right=Right.ROLE_WRITE.value)

    def _require_another(self, who: Administrator) -> None:
        """Whoever finds a session open must not get by what proves its owner."""
        self._require_person()
        if who.id == self._principal.ident:
            raise Forbidden("one's own password and second factor are changed with the password that one has")

    def _sees(self, account: str) -> bool:
        return _covers(self._principal.reach, account)

    def _owns(self, account: str) -> bool:
        return _covers(self._principal.doing(Right.ROLE_WRITE).reach, account)

    async def _place(self, role: Role | None, account: str, site: str, user: str) -> Place:
        """Looked up within reach; Forbidden where whoever asks does not hold all of it."""
        if role in _IN_AN_ACCOUNT and not account:
            raise Invalid("account", f"a {role.value} is one of an account" if role else "is missing")
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            where = await site_id(connection, site, owner)
            whose = await user_id(connection, user, owner)
        place = Place(owner, where, whose)
        if (needed := _NEEDS.get(role) if role else None) and not getattr(place, needed):
            raise Invalid(needed, f"a {role.value if role else ''} is one of a {needed}")
        if (where or whose) and not owner:
            raise Invalid("account", "is needed where a site or a user is named")
        if not self._owns(owner):
            raise Forbidden("roles are given by who owns the whole account", right=Right.ROLE_WRITE.value)
        return place

    async def _found(self, change: Change, email: str) -> Administrator:
        who = await administrators.find_administrator(change.connection, email)
        if who is None:
            raise _unknown(email)
        return who

    async def _mine(self, change: Change, email: str) -> Administrator:
        """Somebody all of whose roles are within reach: whoever belongs to others as well is theirs, too."""
        who = await self._found(change, email)
        roles = await administrators.list_roles(change.connection, who.id)
        if self._owns("") or (roles and all(self._owns(one.account) for one in roles)):
            return who
        if not any(self._sees(one.account) for one in roles):
            raise _unknown(email)
        raise Forbidden(
            f"{who.email} has roles elsewhere, too: take the roles here from them", right=Right.ROLE_WRITE.value
        )

    async def _give(self, change: Change, who: Administrator, role: Role, place: Place) -> HeldRole:
        one = HeldRole(new_id(), who.id, role, place.account, place.site, place.user, change.at, self._actor)
        await administrators.insert_role(change.connection, one)
        change.audit("role_given", severity="warning", administrator=who.id, **_named(role, place))
        return one


def _covers(reach: Reach, account: str) -> bool:
    return reach.whole(account) if account else reach.accounts is None


def _login(email: str) -> str:
    login = login_of(email)
    try:
        return parse_address(login)
    except ValueError as error:
        raise Invalid("email", str(error)) from error


def _unknown(email: str) -> NotFound:
    return NotFound(f"there is no administrator {email!r}")


def _named(role: Role, place: Place) -> dict[str, str]:
    told = {"role": role.value, "account": place.account, "site": place.site, "user": place.user}
    return {name: value for name, value in told.items() if value}


def _can_have(held: HeldRole, right: Right, account: str) -> bool:
    return MATRIX[held.role].get(right) is Extent.GRANT and (not account or held.account in {"", account})


async def _keep_an_owner(change: Change) -> None:
    if not await administrators.count_owners(change.connection):
        raise Conflict("this is the last owner of the installation: make another one first")
