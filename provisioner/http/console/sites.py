"""One site: where it is, where in the building, from where its phones come, and who hears of addresses."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from provisioner.http.console.choices import names_of
from provisioner.http.console.pages import Answer, Call, Pages, See, View
from provisioner.http.console.versions import require_version, version_of
from provisioner.places import Address
from provisioner.rights import Right
from provisioner.store.rows import Site

sites = Pages()

_LINES: Final = {
    "street": "Street and number", "city": "City", "region": "Region or state", "postal_code": "Postal code",
    "country": "Country",
}  # fmt: skip


@sites.get("/sites/{site}", Right.ACCOUNT_READ)
async def show_site(call: Call) -> Answer:
    """What it says of itself; for who may change it, as a form."""
    found = await call.desks.search.site(call.place("site"))
    values = {"site": found, "lines_of": address_lines(found.address), "names": await names_of(call, [found.account]),
              "version": version_of(_said(found))}  # fmt: skip
    return View("site.html.j2", values)


def address_lines(address: Address) -> list[tuple[str, str, str]]:
    """Field, label and text of each line of an address, for a form."""
    return [(f"address.{one.name}", _LINES[one.name], getattr(address, one.name)) for one in fields(Address)]


def address_given(call: Call) -> Address:
    """The address that such a form brings."""
    return Address(**{one.name: call.form.text(f"address.{one.name}") for one in fields(Address)})


def _said(site: Site) -> dict[str, object]:
    names = ("name", "time_zone", "address", "location", "notify", "networks", "range")
    return {name: getattr(site, name) for name in names}


@sites.post("/sites/{site}", Right.SITE_WRITE, again=show_site)
async def change_site(call: Call) -> Answer:
    """All of it or nothing; another range takes the right to numbers as well."""
    desks, form = call.desks, call.form
    site = await desks.search.site(call.place("site"))
    require_version(call, _said(site), "site")
    if "range" in form.fields and form.text("range") != site.range:
        await _set_range(call, site, form.text("range"))
    zone = form.text("time_zone")
    await desks.fleet.change_site(
        site.id,
        name=form.text("name"),
        time_zone=None if zone == site.time_zone else zone,
        address=address_given(call),
        location=form.text("location"),
        notify=form.text("notify").replace(",", " ").split(),
        networks=form.text("networks").replace(",", " ").split(),
    )
    return See(f"/sites/{site.id}", "Saved.")


async def _set_range(call: Call, site: Site, span: str) -> None:
    fleet = call.at(Right.NUMBER_WRITE).fleet
    if span:
        await fleet.set_range(span, account=site.account, site=site.id)
    else:
        await fleet.clear_range(account=site.account, site=site.id)
