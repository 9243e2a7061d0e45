"""Lines of devices: which extension is where, and putting it there."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import (
    Asked,
    Fields,
    Given,
    Id,
    MaybeMoment,
    MaybeRef,
    MaybeText,
    Moment,
    Told,
)
from provisioner.rights import Right

lines = Routes(
    "lines",
    "An extension on a line key or port of a device. `PUT` says who shall be there; everything that follows happens by "
    "itself.",
)


class Line(Told):
    """An extension on a line."""

    mac: str
    line: int
    extension: Id
    number: str
    label: str
    since: Moment
    actor: str
    cause: str
    slot: Annotated[int, Field(description="Which of the phones it is that the extension may have at the same time")]


class PastLine(Line):
    """The same with its end."""

    until: MaybeMoment


class Lines(Told):
    """Lines of a device."""

    items: list[PastLine]


class LinesAsked(Fields):
    """Which of them."""

    past: Annotated[bool, Field(description="Those that are over, too")] = False


class LineWanted(Given):
    """Who shall be on the line: an extension, or a user whose only extension is meant."""

    extension: Annotated[MaybeRef, Field(description="Number or id")] = ""
    user: Annotated[MaybeRef, Field(description="Name, mail address or id")] = ""
    label: Annotated[MaybeText, Field(description="What stands beside the key, where it is not the number")] = ""
    replace: Annotated[
        bool, Field(description="Take the extension from the phone that has had it longest, where it may have no more")
    ] = False
    resync: Annotated[bool, Field(description="Tell the phones to fetch again")] = True

    @model_validator(mode="after")
    def _either(self) -> LineWanted:
        if bool(self.extension) == bool(self.user):
            raise ValueError("give either an extension or a user")
        return self


class Freed(Told):
    """What made way."""

    mac: str
    line: int
    extension: Id
    number: str


class Exchanged(Told):
    """An extension whose SIP password was made anew, and who gets it; the password is revealed by a call of its own."""

    extension: Id
    number: str
    account: Id
    account_name: str
    user: Annotated[str, Field(description="The name of who holds it")]
    phones: Annotated[list[str], Field(description="They have it with their next fetch")]


class Rebound(Told):
    """What has come of it."""

    line: Line
    freed: list[Freed]
    campaign: Annotated[str, Field(description="The resync that tells the phones; empty where nobody had to be told")]
    exchanged: Annotated[
        Exchanged | None, Field(description="Where a SIP password was made anew: who keeps it in a PBX has to read it")
    ]


class Released(Told):
    """A line that was freed, and the resync by which the phone loses what it had."""

    freed: Freed
    campaign: str


class UnbindAsked(Asked):
    """How it is freed."""

    resync: Annotated[bool, Field(description="Tell the phone to fetch again")] = True


@lines.get("/devices/{mac}/lines", Right.DEVICE_READ, Lines, query=LinesAsked)
async def list_lines(call: AnyCall) -> Lines:
    """Which extension is, and where asked for was, on which line."""
    found = await call.desks.fleet.bindings(call.mac, active=not call.query.past)
    return Lines(items=[PastLine.model_validate(one) for one in found])


@lines.get("/devices/{mac}/lines/{line}", Right.DEVICE_READ, Line)
async def show_line(call: AnyCall) -> Line:
    """What is on one line."""
    return Line.model_validate(await call.desks.lines.line(call.mac, call.number("line")))


@lines.put(
    "/devices/{mac}/lines/{line}",
    Right.DEVICE_BIND,
    body=LineWanted,
    told=Rebound,
    version=show_line,
    must_match=True,
    tags=False,
)
async def bind_line(call: AnyCall) -> Rebound:
    """Put an extension, or the one of a user, on a line. What was there, and where the extension was, makes way;
    license, number and uniqueness are checked, a SIP password that another phone knows is exchanged where the account's
    policy says so, and every phone concerned is told to fetch again. All of it or nothing.
    """
    given: LineWanted = call.body
    found = await call.desks.lines.rebind(
        call.mac,
        call.number("line"),
        extension=given.extension,
        user=given.user,
        label=given.label,
        replace=given.replace,
        resync=given.resync,
    )
    return Rebound(
        line=Line.model_validate(found.binding),
        freed=[Freed.model_validate(one) for one in found.freed],
        campaign=found.campaign,
        exchanged=Exchanged.model_validate(found.exchanged) if found.exchanged else None,
    )


@lines.delete(
    "/devices/{mac}/lines/{line}",
    Right.DEVICE_BIND,
    version=show_line,
    must_match=True,
    query=UnbindAsked,
    told=Released,
    tags=False,
)
async def release_line(call: AnyCall) -> Released:
    """Free a line; the phone is told to fetch what empties it, and its wipe says when it has."""
    found = await call.desks.lines.release(call.mac, call.number("line"), resync=call.query.resync)
    return Released(freed=Freed.model_validate(found.binding), campaign=found.campaign)
