"""Accounts and their sites."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from provisioner import places
from provisioner.http.api.cursors import paged, read_cursor, turned
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import (
    CLEAN,
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
from provisioner.store.rows import Site as Row

accounts = Routes("accounts", "Whose phones there are: each account has its own sites, users, extensions and devices.")
sites = Routes("sites", "Places of an account; a device stands at one of them or at none.")


class Account(Told):
    """Whose sites, users, extensions and devices there are."""

    id: Id
    name: str
    created: Moment
    parent: Annotated[Maybe, Field(description="The partner's account that it is below")]


class AccountName(Given):
    """Another name."""

    name: Text


class NewAccount(AccountName):
    """An account to add."""

    parent: Annotated[MaybeRef, Field(description="The partner's account below which it shall be; empty for none")] = ""


class AccountParent(Given):
    """Below which partner's account it shall be."""

    parent: Annotated[MaybeRef, Field(description="Empty for nobody's")]


class AccountsAsked(Turning):
    """Which accounts."""

    name: MaybeText = ""
    parent: Annotated[MaybeRef, Field(description="Accounts right below this partner's")] = ""


class Address(Told):
    """A postal address; what is not known of it is empty."""

    street: str
    city: str
    region: str
    postal_code: str
    country: Annotated[str, Field(description="ISO 3166-1 alpha-2")]


class Site(Told):
    """A place of an account."""

    id: Id
    account: Id
    name: str
    time_zone: Annotated[str, Field(description="As its layer says; empty where it says nothing")]
    address: Annotated[Address | None, Field(description="Where an ambulance drives to; null where none is known")]
    location: Annotated[str, Field(description="Where in the building, in words that help to find it")]
    notify: Annotated[list[str], Field(description="Mail addresses that hear of missing and changed addresses")]
    networks: Annotated[list[str], Field(description="From where its phones come, as CIDR")]
    range: Annotated[Maybe, Field(description="In which its extensions are suggested; null: in its account's")]


Line = Annotated[str, Field(max_length=120, pattern=CLEAN)]


class NewAddress(Given):
    """A postal address; where there is any of it, street, city and country are needed."""

    street: Line = ""
    city: Line = ""
    region: Line = ""
    postal_code: Line = ""
    country: Annotated[str, Field(pattern="^([A-Z]{2})?$", description="ISO 3166-1 alpha-2")] = ""


class SiteChange(Given):
    """What a site shall say of itself; what is left out stays."""

    name: Text | None = None
    time_zone: Annotated[
        str | None, Field(max_length=64, description="IANA name; goes into its layer; empty: its account's")
    ] = None
    address: Annotated[NewAddress | None, Field(description="The whole of it; empty lines: none is known")] = None
    location: Annotated[Line | None, Field(description="Where in the building")] = None
    notify: Annotated[list[MaybeText] | None, Field(max_length=50, description="Mail addresses")] = None
    networks: Annotated[
        list[Annotated[str, Field(max_length=60, pattern=CLEAN)]] | None,
        Field(max_length=50, examples=[["192.0.2.0/24"]]),
    ] = None
    range: Annotated[
        str | None, Field(max_length=30, pattern="^([0-9]+-[0-9]+)?$", description="1000-1999; empty: none of its own")
    ] = None


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
    page = await call.desks.search.account_page(after=after, limit=query.limit, name=query.name, parent=query.parent)
    return paged("accounts", page, Account)


@accounts.get("/accounts/{account}", Right.ACCOUNT_READ, Account, query=Fields)
async def show_account(call: AnyCall) -> Account:
    """One account, by id or name."""
    return Account.model_validate(await call.desks.search.account(call.path["account"]))


@accounts.post("/accounts", Right.ACCOUNT_WRITE, body=NewAccount, told=Account, status=201, made_at="/accounts/{id}")
async def add_account(call: AnyCall) -> Account:
    """Add an account, of this installation or below a partner's; its name is its own."""
    given: NewAccount = call.body
    if given.parent:
        return Account.model_validate(await call.desks.fleet.add_child(given.name, parent=given.parent))
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
    """Put an account below a partner's, or below none; for who reaches every account."""
    return Account.model_validate(await call.desks.fleet.set_parent(call.path["account"], parent=call.body.parent))


@accounts.get("/accounts/{account}/children", Right.ACCOUNT_READ, Paged[Account], query=Turning)
async def list_children(call: AnyCall) -> Paged[Account]:
    """All accounts below one, however deep; `parent` says how they hang together."""
    found = await call.desks.fleet.children(call.path["account"])
    return turned("children", found, call.query, lambda one: one.id, Account)


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
    return paged("sites", page, Site, _site)


@sites.get("/sites/{site}", Right.ACCOUNT_READ, Site)
async def show_site(call: AnyCall) -> Site:
    """One site, by id, or by a name that only one has."""
    return Site.model_validate(_site(await call.desks.search.site(call.path["site"])))


@sites.post("/sites", Right.SITE_WRITE, body=NewSite, told=Site, status=201, made_at="/sites/{id}")
async def add_site(call: AnyCall) -> Site:
    """Add a place to an account."""
    given: NewSite = call.body
    found = await call.desks.fleet.add_site(given.name, account=given.account, time_zone=given.time_zone)
    return Site.model_validate(_site(found))


@sites.patch("/sites/{site}", Right.SITE_WRITE, body=SiteChange, told=Site, version=show_site, must_match=True)
async def change_site(call: AnyCall) -> Site:
    """Another name, time zone, address, emergency location or networks; all of it or nothing. Another range takes the
    right to numbers as well.
    """
    given: SiteChange = call.body
    address = None if given.address is None else places.Address(**given.address.model_dump())
    site = (await call.desks.search.site(call.path["site"])).id
    if given.range is not None:
        await _set_range(call, site, given.range)
    await call.desks.fleet.change_site(
        site, name=given.name, time_zone=given.time_zone, address=address, location=given.location,
        notify=given.notify, networks=given.networks,
    )  # fmt: skip
    return Site.model_validate(_site(await call.desks.search.site(site)))


async def _set_range(call: AnyCall, ident: str, span: str) -> None:
    site = await call.desks.search.site(ident)
    fleet = replace(call.desks, principal=call.principal.doing(Right.NUMBER_WRITE)).fleet
    if span:
        await fleet.set_range(span, account=site.account, site=site.id)
    elif site.range:
        await fleet.clear_range(account=site.account, site=site.id)


def _site(one: Row) -> dict[str, object]:
    values = {name: getattr(one, name) for name in Site.model_fields}
    return values | {"address": one.address if one.address.known else None, "notify": list(one.notify),
                     "networks": list(one.networks)}  # fmt: skip


@sites.delete("/sites/{site}", Right.SITE_WRITE, version=show_site, must_match=True)
async def remove_site(call: AnyCall) -> None:
    """Remove a place where nothing stands."""
    await call.desks.fleet.remove_site(call.path["site"])
