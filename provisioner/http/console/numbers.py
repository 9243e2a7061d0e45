"""Phone numbers of the accounts' pools: who has them, who keeps them, which are still being ported."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from provisioner.errors import Invalid, NotFound
from provisioner.http.console.choices import accounts, names_of
from provisioner.http.console.pages import ROWS, Answer, Call, Listed, Pages, See, View
from provisioner.numbering import NumberOrigin, NumberState
from provisioner.rights import Right
from provisioner.store.rows import Extension, PhoneNumber

numbers = Pages()

_HERE: Final = "/numbers"
_ORIGINS: Final = [(NumberOrigin.CLAIMED.value, "ours already"), (NumberOrigin.PORTED.value, "ported from elsewhere"),
                   (NumberOrigin.TEMPORARY.value, "only until another has come")]  # fmt: skip


@numbers.get("/numbers", Right.NUMBER_READ)
async def list_numbers(call: Call) -> Answer:
    """As they are now, a page at a time."""
    asked = {name: call.asked(name, 80) for name in ("account", "state")}
    state = NumberState(asked["state"]) if asked["state"] in set(NumberState) else None
    page = await call.desks.search.number_page(
        account=asked["account"], state=state, after=call.after("numbers", str), limit=ROWS
    )
    values = {
        "rows": Listed.of(call, "numbers", page), "asked": asked, "origins": _ORIGINS,
        "names": await names_of(call, [one.account for one in page.items], [one.site for one in page.items]),
        "holders": await _holders(call, list(page.items)), "accounts": await accounts(call),
        "states": [(one.value, one.value) for one in NumberState],
    }  # fmt: skip
    return View("numbers.html.j2", values)


async def _holders(call: Call, found: list[PhoneNumber]) -> dict[str, Extension]:
    """The extensions that have them, as far as they can be seen."""
    told: dict[str, Extension] = {}
    if not call.may(Right.PEOPLE_READ):
        return told
    search = call.at(Right.PEOPLE_READ).search
    for one in {each.extension for each in found} - {""}:
        try:
            told[one] = await search.extension(one)
        except NotFound:
            continue
    return told


@numbers.post("/numbers", Right.NUMBER_WRITE, again=list_numbers)
async def add_numbers(call: Call) -> Answer:
    """All of them or none."""
    form = call.form
    origin = form.text("origin")
    made = await call.desks.fleet.add_numbers(
        form.text("numbers").replace(",", "\n").split("\n"),
        account=form.text("account"),
        origin=NumberOrigin(origin) if origin in set(NumberOrigin) else NumberOrigin.CLAIMED,
        porting=form.flag("porting"),
    )
    return See(f"{_HERE}?account={made[0].account}", f"{len(made)} added.")


async def _done(call: Call, act: Callable[[str], Awaitable[PhoneNumber]], said: str) -> See:
    found = await act(call.place("number"))
    return See(f"{_HERE}?account={found.account}", f"{found.number} {said}")


@numbers.post("/numbers/{number}/assign", Right.NUMBER_WRITE, again=list_numbers)
async def assign_number(call: Call) -> Answer:
    """Give it to an extension of its account."""
    wanted, account = call.form.text("extension"), call.form.text("account")
    if not wanted:
        raise Invalid("extension", "say which extension shall have it")
    found = await call.desks.fleet.assign_number(call.place("number"), extension=wanted, account=account)
    return See(f"{_HERE}?account={found.account}", f"{found.number} is {wanted}'s now.")


@numbers.post("/numbers/{number}/free", Right.NUMBER_WRITE, again=list_numbers)
async def unassign_number(call: Call) -> Answer:
    """Take it from its extension."""
    return await _done(call, call.desks.fleet.unassign_number, "is available again.")


@numbers.post("/numbers/{number}/hold", Right.NUMBER_WRITE, again=list_numbers)
async def hold_number(call: Call) -> Answer:
    """Keep it for a while."""
    return await _done(call, call.desks.fleet.hold_number, "is kept for you for ten minutes.")


@numbers.post("/numbers/{number}/release", Right.NUMBER_WRITE, again=list_numbers)
async def release_number(call: Call) -> Answer:
    """Keep it no longer."""
    return await _done(call, call.desks.fleet.release_number, "is kept no longer.")


@numbers.post("/numbers/{number}/ported", Right.NUMBER_WRITE, again=list_numbers)
async def number_ported(call: Call) -> Answer:
    """It has come."""
    return await _done(call, call.desks.fleet.number_ported, "has come.")


@numbers.post("/numbers/{number}/remove", Right.NUMBER_WRITE, again=list_numbers)
async def remove_number(call: Call) -> Answer:
    """Give it back."""
    await call.desks.fleet.remove_number(call.place("number"))
    return See(_HERE, "The number is given back.")
