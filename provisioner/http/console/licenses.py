"""Licenses: how many of each kind an account has, who has them, and what is suspended."""

from __future__ import annotations

from typing import Final

from provisioner.errors import NotFound
from provisioner.http.console.choices import Choices, accounts, names_of
from provisioner.http.console.pages import ROWS, Answer, Call, Listed, Pages, See, View
from provisioner.licensing import LicenseKind, LicenseState
from provisioner.rights import Right
from provisioner.store.rows import License, LicenseTotal

licenses = Pages()

_KINDS: Final[Choices] = [(one.value, one.value.replace("_", " ")) for one in LicenseKind]
_MOST: Final = 10_000
_HERE: Final = "/licenses"


@licenses.get("/licenses", Right.LICENSE_READ)
async def list_licenses(call: Call) -> Answer:
    """Totals by account and kind; below them each one, a page at a time."""
    asked = {name: call.asked(name, 80) for name in ("account", "kind", "state")}
    page = await call.desks.search.license_page(
        account=asked["account"], kind=_kind(asked["kind"]), after=call.after("licenses", str), limit=ROWS,
        state=LicenseState(asked["state"]) if asked["state"] in set(LicenseState) else None,
    )  # fmt: skip
    totals = await call.desks.fleet.license_totals(asked["account"])
    values = {
        "rows": Listed.of(call, "licenses", page), "totals": sorted(totals, key=_by_kind), "asked": asked,
        "names": await names_of(call, [*(one.account for one in page.items), *(one.account for one in totals)]),
        "holders": await _holders(call, list(page.items)), "accounts": await accounts(call), "kinds": _KINDS,
        "states": [(one.value, one.value) for one in LicenseState], "most": _MOST,
    }  # fmt: skip
    return View("licenses.html.j2", values)


def _kind(text: str) -> LicenseKind | None:
    return LicenseKind(text) if text in set(LicenseKind) else None


def _by_kind(one: LicenseTotal) -> tuple[str, str]:
    return one.account, one.kind.value


async def _holders(call: Call, found: list[License]) -> dict[str, str]:
    """Who has which; a user who cannot be seen keeps their id."""
    told = {}
    for one in {each.user for each in found} - {""}:
        try:
            told[one] = (await call.at(Right.PEOPLE_READ).search.user(one)).name if call.may(Right.PEOPLE_READ) else one
        except NotFound:
            told[one] = one
    return told


@licenses.post("/licenses/bought", Right.LICENSE_WRITE, again=list_licenses)
async def add_licenses(call: Call) -> Answer:
    """So many more."""
    form = call.form
    count = form.number("count", 1, _MOST)
    made = await call.desks.fleet.add_licenses(_wanted(call), account=form.text("account"), count=count)
    return See(f"{_HERE}?account={made[0].account}", f"{_told(count)} more.")


@licenses.post("/licenses/returned", Right.LICENSE_WRITE, again=list_licenses)
async def return_licenses(call: Call) -> Answer:
    """So many less: only those that nobody has."""
    form = call.form
    count = form.number("count", 1, _MOST)
    await call.desks.fleet.remove_licenses(_wanted(call), account=form.text("account"), count=count)
    return See(_HERE, f"{_told(count)} given back.")


def _wanted(call: Call) -> LicenseKind:
    return _kind(call.form.text("kind")) or LicenseKind.USER


def _told(count: int) -> str:
    return f"{count:,} license{'' if count == 1 else 's'}"


@licenses.post("/licenses/assign", Right.LICENSE_WRITE, again=list_licenses)
async def assign_license(call: Call) -> Answer:
    """To somebody of the account, by name or mail address."""
    form = call.form
    made = await call.desks.fleet.assign_license(form.text("user"), account=form.text("account"), kind=_wanted(call))
    return See(f"{_HERE}?account={made.account}", f"{form.text('user')} has a license now.")


@licenses.post("/licenses/{license}/free", Right.LICENSE_WRITE, again=list_licenses)
async def unassign_license(call: Call) -> Answer:
    """Take it from its user."""
    found = await call.desks.fleet.unassign_license(call.place("license"))
    return See(f"{_HERE}?account={found.account}", "The license is available again.")


@licenses.post("/licenses/{license}/suspend", Right.LICENSE_WRITE, again=list_licenses)
async def suspend_license(call: Call) -> Answer:
    """Let it count for nothing."""
    found = await call.desks.fleet.suspend_license(call.place("license"))
    return See(f"{_HERE}?account={found.account}", "It is suspended: phones go on, nothing further is bound with it.")


@licenses.post("/licenses/{license}/resume", Right.LICENSE_WRITE, again=list_licenses)
async def resume_license(call: Call) -> Answer:
    """Let it count again."""
    found = await call.desks.fleet.resume_license(call.place("license"))
    return See(f"{_HERE}?account={found.account}", "It counts again.")
