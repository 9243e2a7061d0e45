"""Accounts and their sites."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from provisioner.http.api.cursors import paged, read_cursor
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import (
    Fields,
    Given,
    Id,
    Maybe,
    MaybeRef,
    MaybeText,
    Moment,
    Paged,
    Ref,
    Text,
    Told,
    Turning,
)
from provisioner.rights import Right

accounts = Routes("accounts", "Customers: each has its own sites, users, extensions and devices.")
sites = Routes("sites", "Places of an account; a device stands at one of them or at none.")


class Account(Told):
    """A customer."""

    id: Id
    name: str
    created: Moment
    parent: Annotated[Maybe, Field(description="The partner whose customer it is")]


class AccountName(Given):
    """Another name."""

    name: Text


class NewAccount(AccountName):
    """A customer to add."""

    parent: Annotated[MaybeRef, Field(description="The partner whose customer it shall be; empty for nobody's")] = ""


class AccountParent(Given):
    """Whose customer it shall be."""

    parent: Annotated[MaybeRef, Field(description="Empty for nobody's")]


class Customers(Told):
    """Accounts below one."""

    items: list[Account]


class AccountsAsked(Turning):
    """Which accounts."""

    name: MaybeText = ""


class Site(Told):
    """A place of an account."""

    id: Id
    account: Id
    name: str
    time_zone: Annotated[str, Field(description="As its layer says; empty where it says nothing")]


class NewSite(Given):
    """A place to add."""

    name: Text
    account: Ref
    time_zone: Annotated[str, Field(max_length=64, description="IANA name, `Europe/Berlin`; goes into its layer")] = ""


class SitesAsked(Turning):
    """Which sites."""

    account: MaybeRef = ""
    name: MaybeText = ""


@accounts.get("/accounts", Right.ACCOUNT_READ, Paged[Account], query=AccountsAsked)
async def list_accounts(call: AnyCall) -> Paged[Account]:
    """The accounts within reach, by id."""
    query: AccountsAsked = call.query
    after = read_cursor("accounts", query.cursor, str)
    page = await call.desks.search.account_page(after=after, limit=query.limit, name=query.name)
    return paged("accounts", page, Account)


@accounts.get("/accounts/{account}", Right.ACCOUNT_READ, Account, query=Fields)
async def show_account(call: AnyCall) -> Account:
    """One account, by id or name."""
    return Account.model_validate(await call.desks.search.account(call.path["account"]))


@accounts.post("/accounts", Right.ACCOUNT_WRITE, body=NewAccount, told=Account, status=201, made_at="/accounts/{id}")
async def add_account(call: AnyCall) -> Account:
    """Add a customer, of this installation or of a partner; its name is its own."""
    given: NewAccount = call.body
    if given.parent:
        return Account.model_validate(await call.desks.fleet.add_customer(given.name, parent=given.parent))
    return Account.model_validate(await call.desks.fleet.add_account(given.name))


@accounts.patch(
    "/accounts/{account}", Right.ACCOUNT_WRITE, body=AccountName, told=Account, version=show_account, must_match=True
)
async def rename_account(call: AnyCall) -> Account:
    """Give an account another name; its id stays."""
    return Account.model_validate(await call.desks.fleet.rename_account(call.path["account"], name=call.body.name))


@accounts.put(
    "/accounts/{account}/parent",
    Right.ACCOUNT_WRITE,
    body=AccountParent,
    told=Account,
    version=show_account,
    must_match=True,
)
async def set_parent(call: AnyCall) -> Account:
    """Make an account a partner's customer, or nobody's; for who reaches every account."""
    return Account.model_validate(await call.desks.fleet.set_parent(call.path["account"], parent=call.body.parent))


@accounts.get("/accounts/{account}/customers", Right.ACCOUNT_READ, Customers)
async def list_customers(call: AnyCall) -> Customers:
    """All accounts below one, however deep."""
    found = await call.desks.fleet.customers(call.path["account"])
    return Customers(items=[Account.model_validate(one) for one in found])


@accounts.delete("/accounts/{account}", Right.ACCOUNT_WRITE, version=show_account, must_match=True)
async def remove_account(call: AnyCall) -> None:
    """Remove an account that has nothing any more."""
    await call.desks.fleet.remove_account(call.path["account"])


@sites.get("/sites", Right.ACCOUNT_READ, Paged[Site], query=SitesAsked)
async def list_sites(call: AnyCall) -> Paged[Site]:
    """The sites within reach, by id."""
    query: SitesAsked = call.query
    page = await call.desks.search.site_page(
        account=query.account, name=query.name, after=read_cursor("sites", query.cursor, str), limit=query.limit
    )
    return paged("sites", page, Site)


@sites.get("/sites/{site}", Right.ACCOUNT_READ, Site)
async def show_site(call: AnyCall) -> Site:
    """One site, by id, or by a name that only one has."""
    return Site.model_validate(await call.desks.search.site(call.path["site"]))


@sites.post("/sites", Right.SITE_WRITE, body=NewSite, told=Site, status=201, made_at="/sites/{id}")
async def add_site(call: AnyCall) -> Site:
    """Add a place to an account."""
    given: NewSite = call.body
    found = await call.desks.fleet.add_site(given.name, account=given.account, time_zone=given.time_zone)
    return Site.model_validate(found)


@sites.delete("/sites/{site}", Right.SITE_WRITE, version=show_site, must_match=True)
async def remove_site(call: AnyCall) -> None:
    """Remove a place where nothing stands."""
    await call.desks.fleet.remove_site(call.path["site"])
