"""Administrators with their roles and grants, keys of the API, and the audit log as a whole."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field

from provisioner.audit_log import AuditLog
from provisioner.http.api.cursors import turned
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import (
    Asked,
    Given,
    Id,
    Maybe,
    MaybeMoment,
    MaybeRef,
    MaybeText,
    Moment,
    Paged,
    Ref,
    Text,
    Told,
    Turning,
    moment,
)
from provisioner.keys_desk import ApiKeys
from provisioner.rights import Right
from provisioner.roles import Role
from provisioner.roster import Known, Roster
from provisioner.store.api_keys import ApiKey as KnownKey

administrators = Routes("administrators", "Who may sign in, in which roles, and what they were granted for a time.")
keys = Routes("keys", "Keys of the API, for programs: each with its rights, its accounts and an end.")
audit = Routes("audit", "The audit log as a whole: a chain in which no row can be changed unseen.")


class HeldRole(Told):
    """A role that somebody holds; null does not restrict it."""

    role: Role
    account: Maybe
    site: Maybe
    user: Maybe
    since: Moment
    actor: str


class Grant(Told):
    """A right for a time."""

    right: Right
    account: Maybe
    since: Moment
    until: Moment
    actor: str


class Administrator(Told):
    """Somebody who may sign in."""

    id: Id
    email: str
    name: str
    created: Moment
    second_factor: bool
    roles: list[HeldRole]
    grants: list[Grant]


class RoleAt(Given):
    """A role, and where; empty does not restrict it."""

    role: Role
    account: MaybeRef = ""
    site: MaybeRef = ""
    user: MaybeRef = ""


class NewAdministrator(RoleAt):
    """Somebody with a first role."""

    email: Text
    name: MaybeText = ""


class RoleAsked(Asked):
    """Which role, and where."""

    role: Role
    account: MaybeRef = ""
    site: MaybeRef = ""
    user: MaybeRef = ""


class Invitation(Told):
    """A one-time link to set a password, told once."""

    email: str
    link: str
    expires: Moment


class GrantWish(Given):
    """A right to give for a time."""

    right: Right
    seconds: Annotated[float, Field(ge=60, le=86_400)]
    account: MaybeRef = ""


class GrantAsked(Asked):
    """Which right; empty for all that were granted."""

    right: Right | None = None


class GrantsEnded(Told):
    """How many grants were ended."""

    ended: int


class ApiKey(Told):
    """A key: everything but what opens with it."""

    id: Id
    name: str
    prefix: Annotated[str, Field(description="How it begins, to know it again")]
    scopes: list[str]
    accounts: Annotated[list[str], Field(description="Empty: wherever its maker reaches")]
    administrator: Maybe
    created: Moment
    expires: MaybeMoment
    used: MaybeMoment
    revoked: bool
    actor: str


class NewKey(Given):
    """A key to make."""

    name: Text
    scopes: Annotated[list[Right], Field(min_length=1, max_length=100)]
    accounts: Annotated[list[Ref], Field(max_length=1000, description="Empty: wherever the caller reaches")] = []  # noqa: RUF012  # pydantic copies it
    days: Annotated[float | None, Field(gt=0, le=3650, description="null: the setting apikey.life")] = None


class MadeKey(Told):
    """A key with what opens with it, told once."""

    key: str
    about: ApiKey


class Verified(Told):
    """What came of checking the audit log."""

    good: bool
    rows: int
    hash: Annotated[str, Field(description="Of the last row: keep it somewhere else")]
    sealed: int
    faults: list[str]


class ExportAsked(Asked):
    """From where on."""

    after: Annotated[int, Field(ge=0, le=2**53 - 1, description="The last row that was exported before")] = 0


def _roster(call: AnyCall) -> Roster:
    return call.desks.roster


def _keys(call: AnyCall) -> ApiKeys:
    return call.desks.keys


def _audit(call: AnyCall) -> AuditLog:
    return call.desks.audit


def _known(one: Known) -> Administrator:
    who = one.administrator
    return Administrator(
        id=who.id,
        email=who.email,
        name=who.name,
        created=moment(who.created),
        second_factor=who.second_factor,
        roles=[HeldRole.model_validate(held) for held in one.roles],
        grants=[Grant.model_validate(held) for held in one.grants],
    )


def _key(one: KnownKey) -> ApiKey:
    values = {name: getattr(one, name) for name in ApiKey.model_fields}
    return ApiKey(**{**values, "scopes": list(one.scopes), "accounts": list(one.accounts)})


@administrators.get("/administrators", Right.ROLE_READ, Paged[Administrator], query=Turning)
async def list_administrators(call: AnyCall) -> Paged[Administrator]:
    """Those who hold a role somewhere within reach, by mail address, and of theirs only what is."""
    found = await _roster(call).administrators()
    return turned("administrators", found, call.query, lambda one: one.administrator.email, Administrator, _known)


@administrators.get("/administrators/{administrator}", Right.ROLE_READ, Administrator)
async def show_administrator(call: AnyCall) -> Administrator:
    """One of them, by id or mail address."""
    return _known(await _roster(call).administrator(call.path["administrator"]))


@administrators.post(
    "/administrators",
    Right.ROLE_WRITE,
    body=NewAdministrator,
    told=Administrator,
    status=201,
    made_at="/administrators/{id}",
)
async def add_administrator(call: AnyCall) -> Administrator:
    """Add somebody with a first role; they can sign in once they have set a password by a link."""
    given: NewAdministrator = call.body
    found = await _roster(call).add_administrator(
        given.email, role=given.role, name=given.name, account=given.account, site=given.site, user=given.user
    )
    return _known(found)


@administrators.delete("/administrators/{administrator}", Right.ROLE_WRITE, version=show_administrator, must_match=True)
async def remove_administrator(call: AnyCall) -> None:
    """Remove somebody with roles, sessions and keys; the last owner of the whole installation stays."""
    await _roster(call).remove_administrator(call.path["administrator"])


@administrators.post(
    "/administrators/{administrator}/roles",
    Right.ROLE_WRITE,
    body=RoleAt,
    told=Administrator,
    status=201,
    version=show_administrator,
)
async def give_role(call: AnyCall) -> Administrator:
    """Give somebody a role more."""
    given: RoleAt = call.body
    who = call.path["administrator"]
    await _roster(call).give_role(who, given.role, account=given.account, site=given.site, user=given.user)
    return await _shown(call)


@administrators.delete(
    "/administrators/{administrator}/roles",
    Right.ROLE_WRITE,
    query=RoleAsked,
    told=Administrator,
    version=show_administrator,
)
async def take_role(call: AnyCall) -> Administrator:
    """Take a role from somebody, who signs in again; the last owner of the whole installation keeps theirs."""
    asked: RoleAsked = call.query
    who = call.path["administrator"]
    await _roster(call).take_role(who, asked.role, account=asked.account, site=asked.site, user=asked.user)
    return await _shown(call)


async def _shown(call: AnyCall) -> Administrator:
    return _known(await _roster(call).administrator(call.path["administrator"]))


@administrators.post(
    "/administrators/{administrator}/invite",
    Right.ROLE_WRITE,
    told=Invitation,
    secret=True,
    version=show_administrator,
)
async def invite_administrator(call: AnyCall) -> Invitation:
    """Make a one-time link with which somebody sets their password; the one before is worth nothing any more."""
    made = await _roster(call).invite(call.path["administrator"])
    return Invitation(email=made.administrator.email, link=made.link, expires=moment(made.expires))


@administrators.delete("/administrators/{administrator}/second-factor", Right.ROLE_WRITE, version=show_administrator)
async def take_off_second_factor(call: AnyCall) -> None:
    """For somebody who has lost their second factor; their sessions end."""
    await _roster(call).take_off_totp(call.path["administrator"])


@administrators.post(
    "/administrators/{administrator}/grants",
    Right.ROLE_WRITE,
    body=GrantWish,
    told=Grant,
    status=201,
    version=show_administrator,
    tags=False,
)
async def grant_right(call: AnyCall) -> Grant:
    """Give somebody a right for a time, whose role can be granted it there."""
    given: GrantWish = call.body
    made = await _roster(call).grant(
        call.path["administrator"], given.right, seconds=given.seconds, account=given.account
    )
    return Grant.model_validate(made)


@administrators.delete(
    "/administrators/{administrator}/grants",
    Right.ROLE_WRITE,
    query=GrantAsked,
    told=GrantsEnded,
    version=show_administrator,
    tags=False,
)
async def end_grants(call: AnyCall) -> GrantsEnded:
    """End what was granted before its time."""
    return GrantsEnded(ended=await _roster(call).end_grants(call.path["administrator"], call.query.right))


@keys.get("/keys", Right.APIKEY_WRITE, Paged[ApiKey], query=Turning)
async def list_keys(call: AnyCall) -> Paged[ApiKey]:
    """Keys by id: one's own, or all where every account is within reach."""
    return turned("keys", await _keys(call).keys(), call.query, lambda one: one.id, ApiKey, _key)


@keys.get("/keys/{key}", Right.APIKEY_WRITE, ApiKey)
async def show_key(call: AnyCall) -> ApiKey:
    """One key, by id, name, or how it begins."""
    return _key(await _keys(call).key(call.path["key"]))


@keys.post("/keys", Right.APIKEY_WRITE, body=NewKey, told=MadeKey, status=201, secret=True)
async def make_key(call: AnyCall) -> MadeKey:
    """Make a key and tell it once; it never does more than who made it."""
    given: NewKey = call.body
    made = await _keys(call).make_key(given.name, scopes=given.scopes, accounts=given.accounts, days=given.days)
    return MadeKey(key=made.key, about=_key(made.about))


@keys.delete("/keys/{key}", Right.APIKEY_WRITE, told=ApiKey, version=show_key, must_match=True)
async def revoke_key(call: AnyCall) -> ApiKey:
    """End a key at once; by id, name, or how it begins."""
    return _key(await _keys(call).revoke_key(call.path["key"]))


@audit.get("/audit/verify", Right.AUDIT_READ, Verified)
async def verify_audit(call: AnyCall) -> Verified:
    """Follow the whole chain and compare its end with the seal; for who reaches every account."""
    found = await _audit(call).verify()
    return Verified(good=found.good, rows=found.rows, hash=found.hash, sealed=found.sealed, faults=list(found.faults))


@audit.get("/audit/export", Right.AUDIT_READ, None, query=ExportAsked, media="application/x-ndjson")
async def export_audit(call: AnyCall) -> web.StreamResponse:
    """The whole audit log, a line a row, and the head at the end; for who reaches every account."""
    lines = _audit(call).export(after=call.query.after)
    first = await anext(lines)
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
    await response.prepare(call.request)
    await response.write(first.encode() + b"\n")
    async for line in lines:
        await response.write(line.encode() + b"\n")
    await response.write_eof()
    return response
