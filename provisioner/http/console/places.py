"""Accounts and their sites, with the ranges in which extensions are suggested."""

from __future__ import annotations

from collections import defaultdict

from provisioner.errors import NotFound
from provisioner.http.console.pages import ROWS, Answer, Call, Listed, Pages, See, View
from provisioner.rights import Right
from provisioner.store.rows import Site

places = Pages()


@places.get("/accounts", Right.ACCOUNT_READ)
async def list_accounts(call: Call) -> Answer:
    """Accounts with their sites, a page at a time."""
    search = call.desks.search
    page = await search.account_page(after=call.after("accounts", str), limit=ROWS, name=call.asked("q", 80))
    sites: dict[str, list[Site]] = defaultdict(list)
    for one in page.items:
        sites[one.id] = list((await search.site_page(account=one.id, limit=20)).items)
    values = {"rows": Listed.of(call, "accounts", page), "sites": sites, "q": call.asked("q", 80)}
    return View("accounts.html.j2", values)


@places.post("/accounts", Right.ACCOUNT_WRITE, again=list_accounts)
async def add_account(call: Call) -> Answer:
    """A new account."""
    made = await call.desks.fleet.add_account(call.form.text("name"))
    return See(f"/accounts/{made.id}", f"{made.name} is added.")


@places.get("/accounts/{account}", Right.ACCOUNT_READ)
async def show_account(call: Call) -> Answer:
    """One of them."""
    search = call.desks.search
    account = await search.account(call.place("account"))
    sites = list((await search.site_page(account=account.id, limit=500)).items)
    values = {
        "account": account,
        "sites": sites,
        "site_pairs": [(one.id, one.name) for one in sites],
        "ranges": await _ranges(call, account.id),
        "licenses": await _licenses(call, account.id),
        "policy": await _policy(call, account.id),
    }
    return View("account.html.j2", values)


async def _ranges(call: Call, account: str) -> dict[str, str]:
    """By site; the account's own under the empty name."""
    if not call.may(Right.NUMBER_READ):
        return {}
    found = await call.at(Right.NUMBER_READ).fleet.ranges(account)
    return {one.site: f"{one.low}-{one.high}" for one in found}


async def _licenses(call: Call, account: str) -> list[object]:
    if not call.may(Right.LICENSE_READ):
        return []
    return list(await call.at(Right.LICENSE_READ).fleet.license_totals(account))


async def _policy(call: Call, account: str) -> object:
    return await call.at(Right.POLICY_READ).fleet.policy(account) if call.may(Right.POLICY_READ) else None


@places.post("/accounts/{account}/sites", Right.SITE_WRITE, again=show_account)
async def add_site(call: Call) -> Answer:
    """A place of it."""
    form, account = call.form, call.place("account")
    made = await call.desks.fleet.add_site(form.text("name"), account=account, time_zone=form.text("time_zone"))
    return See(f"/accounts/{made.account}", f"{made.name} is added.")


@places.post("/accounts/{account}/sites/remove", Right.SITE_WRITE, again=show_account)
async def remove_site(call: Call) -> Answer:
    """A place where nothing stands."""
    await call.desks.fleet.remove_site(call.form.text("site"))
    return See(f"/accounts/{call.place('account')}", "The site is removed.")


@places.post("/accounts/{account}/range", Right.NUMBER_WRITE, again=show_account)
async def set_range(call: Call) -> Answer:
    """Where extensions are suggested; an empty one: nowhere."""
    form, account = call.form, call.place("account")
    span, site = form.text("range"), form.text("site")
    if span:
        await call.desks.fleet.set_range(span, account=account, site=site)
    else:
        try:
            await call.desks.fleet.clear_range(account=account, site=site)
        except NotFound:
            return See(f"/accounts/{account}", "There is no range to take away.")
    return See(f"/accounts/{account}", "The range is saved.")


@places.post("/accounts/{account}/rename", Right.ACCOUNT_WRITE, again=show_account)
async def rename_account(call: Call) -> Answer:
    """Another name."""
    made = await call.desks.fleet.rename_account(call.place("account"), name=call.form.text("name"))
    return See(f"/accounts/{made.id}", "The name is saved.")
