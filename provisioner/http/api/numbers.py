"""Phone numbers of an account's pool, and the ranges in which extensions are suggested."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from provisioner.http.api.cursors import paged, read_cursor, turned
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import (
    Asked,
    Fields,
    Given,
    Id,
    Maybe,
    MaybeMoment,
    MaybeRef,
    Moment,
    Paged,
    Ref,
    Text,
    Told,
    Turning,
)
from provisioner.numbering import NumberOrigin, NumberState
from provisioner.rights import Right

numbers = Routes("numbers", "Phone numbers: of the world (E.164), each one account's, and internal ones.")


class Number(Told):
    """A number of an account's pool, as it is now."""

    id: Id
    number: str
    account: Id
    site: Maybe
    state: NumberState
    origin: NumberOrigin
    extension: Annotated[Maybe, Field(description="The id of the extension that has it, or will when it has come")]
    held_by: Maybe
    until: MaybeMoment
    since: Moment


class NumbersAsked(Turning):
    """Which numbers."""

    account: MaybeRef = ""
    site: MaybeRef = ""
    extension: MaybeRef = ""
    state: NumberState | None = None


class NewNumbers(Given):
    """Numbers to add, all of them or none."""

    account: Ref
    numbers: Annotated[list[Text], Field(min_length=1, max_length=1000)]
    site: MaybeRef = ""
    origin: NumberOrigin = NumberOrigin.CLAIMED
    porting: Annotated[bool, Field(description="They are still to come, and can be assigned already")] = False


class Numbers(Told):
    """Numbers that were made."""

    items: list[Number]


class Whose(Fields):
    """Whose number, where it is an internal one that several accounts have."""

    account: MaybeRef = ""


class WhoseNumber(Asked):
    """The same of what is changed."""

    account: MaybeRef = ""


class RangesAsked(Turning):
    """Whose ranges."""

    account: MaybeRef = ""


class HoldFor(Given):
    """How long it is kept."""

    seconds: Annotated[float, Field(ge=10, le=86_400)] = 600.0


class Target(Given):
    """Who shall have it."""

    extension: Ref


class Range(Told):
    """Where new extensions are looked for."""

    account: Id
    site: Annotated[Maybe, Field(description="null for the account as a whole")]
    low: str
    high: str


class NewRange(Given):
    """Where to look."""

    range: Annotated[str, Field(max_length=30, pattern="^[0-9]+-[0-9]+$", examples=["1000-1999"])]


class RangePlace(Fields):
    """Of which site; empty for the account as a whole."""

    site: MaybeRef = ""


class RangeOf(Asked):
    """Of which site; empty for the account as a whole."""

    site: MaybeRef = ""


def _number(one: object) -> Number:
    found = {name: getattr(one, name) for name in Number.model_fields}
    return Number(**{**found, "until": found["until"] or None})


@numbers.get("/numbers", Right.NUMBER_READ, Paged[Number], query=NumbersAsked)
async def list_numbers(call: AnyCall) -> Paged[Number]:
    """The numbers within reach, by id, with their states as of now."""
    query: NumbersAsked = call.query
    page = await call.desks.search.number_page(
        account=query.account,
        site=query.site,
        extension=query.extension,
        state=query.state,
        after=read_cursor("numbers", query.cursor, str),
        limit=query.limit,
    )
    return paged("numbers", page, Number, _number)


@numbers.post("/numbers", Right.NUMBER_WRITE, body=NewNumbers, told=Numbers, status=201)
async def add_numbers(call: AnyCall) -> Numbers:
    """Add numbers to an account's pool."""
    given: NewNumbers = call.body
    made = await call.desks.fleet.add_numbers(
        given.numbers, account=given.account, site=given.site, origin=given.origin, porting=given.porting
    )
    return Numbers(items=[_number(one) for one in made])


@numbers.get("/numbers/{number}", Right.NUMBER_READ, Number, query=Whose)
async def show_number(call: AnyCall) -> Number:
    """One number, by id or however it is written, as it is now."""
    return _number(await call.desks.fleet.number(call.path["number"], account=call.query.account))


@numbers.post(
    "/numbers/{number}/hold", Right.NUMBER_WRITE, body=HoldFor, query=WhoseNumber, told=Number, version=show_number
)
async def hold_number(call: AnyCall) -> Number:
    """Keep an available number for the caller, for a while."""
    found = await call.desks.fleet.hold_number(
        call.path["number"], account=call.query.account, seconds=call.body.seconds
    )
    return _number(found)


@numbers.post("/numbers/{number}/release", Right.NUMBER_WRITE, query=WhoseNumber, told=Number, version=show_number)
async def release_number(call: AnyCall) -> Number:
    """End a hold before its time."""
    return _number(await call.desks.fleet.release_number(call.path["number"], account=call.query.account))


@numbers.put(
    "/numbers/{number}/extension", Right.NUMBER_WRITE, body=Target, query=WhoseNumber, told=Number, version=show_number
)
async def assign_number(call: AnyCall) -> Number:
    """Give an extension a number of its own account."""
    found = await call.desks.fleet.assign_number(
        call.path["number"], extension=call.body.extension, account=call.query.account
    )
    return _number(found)


@numbers.delete("/numbers/{number}/extension", Right.NUMBER_WRITE, query=WhoseNumber, told=Number, version=show_number)
async def unassign_number(call: AnyCall) -> Number:
    """Take a number from its extension; its phone goes on."""
    return _number(await call.desks.fleet.unassign_number(call.path["number"], account=call.query.account))


@numbers.post("/numbers/{number}/ported", Right.NUMBER_WRITE, query=WhoseNumber, told=Number, version=show_number)
async def number_ported(call: AnyCall) -> Number:
    """A number that was being ported has come."""
    return _number(await call.desks.fleet.number_ported(call.path["number"], account=call.query.account))


@numbers.delete("/numbers/{number}", Right.NUMBER_WRITE, query=WhoseNumber, version=show_number, must_match=True)
async def remove_number(call: AnyCall) -> None:
    """Give an available number back."""
    await call.desks.fleet.remove_number(call.path["number"], account=call.query.account)


@numbers.get("/ranges", Right.NUMBER_READ, Paged[Range], query=RangesAsked)
async def list_ranges(call: AnyCall) -> Paged[Range]:
    """The ranges in which extensions are suggested."""
    found = await call.desks.fleet.ranges(call.query.account)
    return turned("ranges", found, call.query, lambda one: f"{one.account}/{one.site}", Range)


@numbers.get("/accounts/{account}/range", Right.NUMBER_READ, Range, query=RangePlace)
async def show_range(call: AnyCall) -> Range:
    """The range of an account, or of one of its sites."""
    return Range.model_validate(await call.desks.fleet.range(account=call.path["account"], site=call.query.site))


@numbers.put(
    "/accounts/{account}/range",
    Right.NUMBER_WRITE,
    body=NewRange,
    query=RangeOf,
    told=Range,
    version=show_range,
    must_match=True,
)
async def set_range(call: AnyCall) -> Range:
    """Look for new extensions there; a site's range goes before its account's."""
    found = await call.desks.fleet.set_range(call.body.range, account=call.path["account"], site=call.query.site)
    return Range.model_validate(found)


@numbers.delete("/accounts/{account}/range", Right.NUMBER_WRITE, query=RangeOf, version=show_range, must_match=True)
async def clear_range(call: AnyCall) -> None:
    """Look there no more."""
    await call.desks.fleet.clear_range(account=call.path["account"], site=call.query.site)
