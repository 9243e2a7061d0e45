"""What forms let people choose from: accounts, sites and models within reach, and the names of ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from provisioner.errors import NotFound
from provisioner.http.console.pages import Call
from provisioner.rights import Right

Choices = list[tuple[str, str]]
"""Value and what people read."""
_MOST = 500


async def accounts(call: Call) -> Choices:
    """The accounts that the page's right reaches, by name; none where accounts cannot be seen."""
    if not call.may(Right.ACCOUNT_READ):
        return []
    page = await call.at(Right.ACCOUNT_READ).search.account_page(limit=_MOST)
    reach = call.desks.principal.reach
    found = [(one.id, one.name) for one in page.items if reach.names(one.id)]
    return sorted(found, key=lambda one: one[1].lower())


async def sites(call: Call, account: str = "") -> Choices:
    """The sites of an account, or of all; a name that two accounts have is told with its account."""
    if not call.may(Right.ACCOUNT_READ):
        return []
    page = await call.at(Right.ACCOUNT_READ).search.site_page(account=account, limit=_MOST)
    owners = dict(await accounts(call))
    told = [
        (one.id, one.name if account else f"{one.name} ({owners.get(one.account, one.account)})") for one in page.items
    ]
    return sorted(told, key=lambda one: one[1].lower())


async def names_of(call: Call, owners: Iterable[str], where: Iterable[str] = ()) -> Mapping[str, str]:
    """What people call the accounts and sites whose ids stand on a page; what cannot be seen keeps its id."""
    if not call.may(Right.ACCOUNT_READ):
        return {}
    search = call.at(Right.ACCOUNT_READ).search
    found = {}
    for one in {*owners} - {""}:
        with suppress(NotFound):
            found[one] = (await search.account(one)).name
    for one in {*where} - {""}:
        with suppress(NotFound):
            found[one] = (await search.site(one)).name
    return found


def model_choices(call: Call) -> Choices:
    """All models, by vendor."""
    drivers = call.means.drivers
    return [
        (f"{name}/{model.name}", f"{drivers[name].manifest.title} {model.name}")
        for name in sorted(drivers)
        for model in drivers[name].manifest.models.values()
    ]
