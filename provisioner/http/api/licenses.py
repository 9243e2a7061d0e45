"""Licenses and policies of accounts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from provisioner.http.api.cursors import paged, read_cursor, turned
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import Fields, Given, Id, Maybe, MaybeRef, Moment, Paged, Ref, Told, Turning
from provisioner.licensing import (
    MOST_PHONES,
    CodeMails,
    CodeNetworks,
    EmergencyRule,
    LicenseKind,
    LicenseState,
    Rotation,
)
from provisioner.rights import Right

licenses = Routes("licenses", "What an account has bought for its users, one row each.")
policies = Routes("policies", "What an account asks of its users and extensions before they have a phone.")


class License(Told):
    """One that was bought."""

    id: Id
    account: Id
    kind: LicenseKind
    state: LicenseState
    user: Annotated[Maybe, Field(description="The id of the user who has it, also while it is suspended")]
    since: Moment


class LicensesAsked(Turning):
    """Which licenses."""

    account: MaybeRef = ""
    kind: LicenseKind | None = None
    state: LicenseState | None = None
    user: MaybeRef = ""


class Licenses(Told):
    """Licenses that were made."""

    items: list[License]


class Purchase(Given):
    """So many of a kind."""

    account: Ref
    kind: LicenseKind = LicenseKind.USER
    count: Annotated[int, Field(ge=1, le=10_000)] = 1


class Returned(Told):
    """How many were given back."""

    returned: int


class Total(Told):
    """How many an account has bought of a kind, and what became of them."""

    account: Id
    kind: LicenseKind
    total: int
    available: int
    assigned: int
    suspended: int


class TotalsAsked(Turning):
    """Whose totals."""

    account: MaybeRef = ""


class LicenseWish(Given):
    """Which kind of license."""

    kind: LicenseKind = LicenseKind.USER


class Policy(Told):
    """What an account asks for."""

    account: Id
    needs_license: Annotated[bool, Field(description="Whoever holds the extension needs a license of a seat")]
    needs_number: Annotated[bool, Field(description="The extension needs a phone number that has come")]
    phones: Annotated[int, Field(description="Physical phones of one extension at the same time")]
    reserved: Annotated[list[str], Field(description="Numbers that no extension may have")]
    rotation: Annotated[
        Rotation, Field(description="Which SIP passwords change when an extension comes to another phone")
    ]
    emergency: Annotated[
        EmergencyRule, Field(description="What becomes of a line that has no address for emergency calls")
    ]
    networks: Annotated[CodeNetworks, Field(description="From where activation codes may be used")]
    mails: Annotated[
        CodeMails, Field(description="Which codes are mailed when issued; house: as the setting mail.on_issue says")
    ]


class PolicyChange(Given):
    """What shall be different; what is left out stays."""

    needs_license: bool | None = None
    needs_number: bool | None = None
    phones: Annotated[int | None, Field(ge=1, le=MOST_PHONES)] = None
    reserved: Annotated[list[Annotated[str, Field(max_length=15)]] | None, Field(max_length=200)] = None
    rotation: Rotation | None = None
    emergency: EmergencyRule | None = None
    networks: CodeNetworks | None = None
    mails: CodeMails | None = None


@licenses.get("/licenses", Right.LICENSE_READ, Paged[License], query=LicensesAsked)
async def list_licenses(call: AnyCall) -> Paged[License]:
    """The licenses within reach, by id."""
    query: LicensesAsked = call.query
    page = await call.desks.search.license_page(
        account=query.account,
        kind=query.kind,
        state=query.state,
        user=query.user,
        after=read_cursor("licenses", query.cursor, str),
        limit=query.limit,
    )
    return paged("licenses", page, License)


@licenses.get("/licenses/{license}", Right.LICENSE_READ, License)
async def show_license(call: AnyCall) -> License:
    """One license, by id."""
    return License.model_validate(await call.desks.fleet.license(call.path["license"]))


@licenses.get("/license-totals", Right.LICENSE_READ, Paged[Total], query=TotalsAsked)
async def list_totals(call: AnyCall) -> Paged[Total]:
    """How many of each kind were bought, and what became of them."""
    found = await call.desks.fleet.license_totals(call.query.account)
    return turned("license-totals", found, call.query, lambda one: f"{one.account}/{one.kind}", Total)


@licenses.post("/licenses", Right.LICENSE_WRITE, body=Purchase, told=Licenses, status=201)
async def add_licenses(call: AnyCall) -> Licenses:
    """So many more were bought."""
    given: Purchase = call.body
    made = await call.desks.fleet.add_licenses(given.kind, account=given.account, count=given.count)
    return Licenses(items=[License.model_validate(one) for one in made])


@licenses.post("/licenses/return", Right.LICENSE_WRITE, body=Purchase, told=Returned)
async def return_licenses(call: AnyCall) -> Returned:
    """So many were given back: only those that nobody has and that are not suspended."""
    given: Purchase = call.body
    done = await call.desks.fleet.remove_licenses(given.kind, account=given.account, count=given.count)
    return Returned(returned=done)


@licenses.post("/users/{user}/licenses", Right.LICENSE_WRITE, body=LicenseWish, told=License, status=201)
async def assign_license(call: AnyCall) -> License:
    """Give a user a license of their account."""
    return License.model_validate(await call.desks.fleet.assign_license(call.path["user"], kind=call.body.kind))


@licenses.delete("/licenses/{license}/user", Right.LICENSE_WRITE, told=License, version=show_license)
async def unassign_license(call: AnyCall) -> License:
    """Take a license from its user."""
    return License.model_validate(await call.desks.fleet.unassign_license(call.path["license"]))


@licenses.post("/licenses/{license}/suspend", Right.LICENSE_WRITE, told=License, version=show_license)
async def suspend_license(call: AnyCall) -> License:
    """Let a license count for nothing; phones go on, but nothing further can be bound with it."""
    return License.model_validate(await call.desks.fleet.suspend_license(call.path["license"]))


@licenses.post("/licenses/{license}/resume", Right.LICENSE_WRITE, told=License, version=show_license)
async def resume_license(call: AnyCall) -> License:
    """Let a license count again, for the user who has it."""
    return License.model_validate(await call.desks.fleet.resume_license(call.path["license"]))


@policies.get("/accounts/{account}/policy", Right.POLICY_READ, Policy, query=Fields)
async def show_policy(call: AnyCall) -> Policy:
    """An account's policy; the default where it has none of its own."""
    return Policy.model_validate(await call.desks.fleet.policy(call.path["account"]))


@policies.patch(
    "/accounts/{account}/policy",
    Right.POLICY_WRITE,
    body=PolicyChange,
    told=Policy,
    version=show_policy,
    must_match=True,
)
async def set_policy(call: AnyCall) -> Policy:
    """Change an account's policy; phones that are bound already go on as they are."""
    given: PolicyChange = call.body
    found = await call.desks.fleet.set_policy(
        call.path["account"],
        needs_license=given.needs_license,
        needs_number=given.needs_number,
        phones=given.phones,
        reserved=given.reserved,
        rotation=given.rotation,
        emergency=given.emergency,
        networks=given.networks,
        mails=given.mails,
    )
    return Policy.model_validate(found)
