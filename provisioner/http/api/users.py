"""Users and the extensions they hold."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from provisioner import places
from provisioner.http.api.accounts import Address, NewAddress
from provisioner.http.api.accounts import Line as TextLine
from provisioner.http.api.cursors import paged, read_cursor, turned
from provisioner.http.api.lines import Line
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import (
    Asked,
    Given,
    Id,
    MaybeMoment,
    MaybeRef,
    MaybeText,
    Moment,
    Paged,
    Password,
    Ref,
    Text,
    Told,
    Turning,
    moment,
)
from provisioner.places import UserKind
from provisioner.rights import Right
from provisioner.store.rows import User as Row

users = Routes("users", "Persons, and places such as a lobby, that hold extensions.")
extensions = Routes("extensions", "Numbers that the PBX dials, with their SIP credentials.")


class User(Told):
    """A person, or a place such as a lobby."""

    id: Id
    account: Id
    name: str
    email: Annotated[str, Field(description="Empty for none")]
    kind: UserKind
    address: Annotated[
        Address | None, Field(description="Where help is sent to from their phones; null: where the phone's site is")
    ]
    location: Annotated[str, Field(description="Where in the building")]


class NewUser(Given):
    """A user to add."""

    name: Text
    account: Ref
    email: MaybeText = ""
    kind: UserKind = Field(default=UserKind.PERSON, strict=False)


class UserChange(Given):
    """What shall be different; what is left out stays."""

    name: Text | None = None
    email: Annotated[MaybeText | None, Field(description="Empty for none")] = None
    kind: UserKind | None = Field(default=None, strict=False)
    address: Annotated[
        NewAddress | None, Field(description="The whole of it; empty lines: where the phone's site is")
    ] = None
    location: Annotated[TextLine | None, Field(description="Where in the building")] = None


class UsersAsked(Turning):
    """Which users."""

    account: MaybeRef = ""
    name: MaybeText = ""
    email: MaybeText = ""
    kind: UserKind | None = None


class RemovalAsked(Asked):
    """What goes with a user."""

    extensions: Annotated[bool, Field(description="Their extensions, too; phones that have them are emptied")] = False


class Extension(Told):
    """A number that the PBX dials, without its SIP password."""

    id: Id
    account: Id
    number: str
    user: Annotated[str, Field(description="The id of the user who holds it")]
    display_name: str
    auth_user: str


class NewExtension(Given):
    """An extension to add."""

    number: Text
    account: Ref
    user: Ref
    display_name: MaybeText = ""
    auth_user: Annotated[MaybeText, Field(description="Empty: the number")] = ""
    secret: Annotated[Password, Field(description="SIP password; empty: one is made")] = ""


class ExtensionChange(Given):
    """What shall be different; what is left out stays."""

    display_name: Annotated[MaybeText | None, Field(description="Empty for none")] = None
    auth_user: Annotated[MaybeText | None, Field(description="Empty: the number")] = None
    user: Annotated[Ref | None, Field(description="Another user of its account; its phones go with it")] = None


class Phones(Told):
    """Where an extension is."""

    items: list[Line]


class ExtensionsAsked(Turning):
    """Which extensions."""

    account: MaybeRef = ""
    user: MaybeRef = ""
    number: MaybeText = ""


class NewSecret(Given):
    """Another SIP password."""

    secret: Annotated[Password, Field(description="Empty: one is made")] = ""


class SecretLife(Told):
    """What is known of a SIP password beside itself."""

    origin: Annotated[str, Field(description="`made` here, or `given` by whoever dictates it")]
    since: Annotated[
        MaybeMoment, Field(description="When it became what it is; null where that was before it was kept")
    ]


class Secret(Told):
    """A SIP password."""

    extension: Id
    number: str
    auth_user: str
    secret: str


class HoldWish(Given):
    """Where a number is looked for."""

    account: Ref
    site: MaybeRef = ""
    seconds: Annotated[float, Field(ge=10, le=86_400, description="How long it is kept")] = 600.0


class Hold(Told):
    """A free number that is kept for whoever asked."""

    account: Id
    number: str
    actor: str
    until: Moment


class HoldsAsked(Turning):
    """Whose holds."""

    account: MaybeRef = ""


@users.get("/users", Right.PEOPLE_READ, Paged[User], query=UsersAsked)
async def list_users(call: AnyCall) -> Paged[User]:
    """The users within reach, by id."""
    query: UsersAsked = call.query
    after = read_cursor("users", query.cursor, str)
    page = await call.desks.search.user_page(
        account=query.account, name=query.name, email=query.email, kind=query.kind, after=after, limit=query.limit
    )
    return paged("users", page, User, _said)


def _said(one: Row) -> dict[str, Any]:
    values = {name: getattr(one, name) for name in ("id", "account", "name", "email", "kind", "location")}
    return {**values, "address": one.address if one.address.known else None}


@users.get("/users/{user}", Right.PEOPLE_READ, User)
async def show_user(call: AnyCall) -> User:
    """One user, by id, or by a name or mail address that only one has."""
    return User(**_said(await call.desks.search.user(call.path["user"])))


@users.post("/users", Right.PEOPLE_WRITE, body=NewUser, told=User, status=201, made_at="/users/{id}")
async def add_user(call: AnyCall) -> User:
    """Add a person or a place."""
    given: NewUser = call.body
    found = await call.desks.fleet.add_user(given.name, account=given.account, email=given.email, kind=given.kind)
    return User(**_said(found))


@users.patch("/users/{user}", Right.PEOPLE_WRITE, body=UserChange, told=User, version=show_user, must_match=True)
async def change_user(call: AnyCall) -> User:
    """Give a user another name, mail address or address for emergencies, or make a place of them; all or nothing."""
    given: UserChange = call.body
    found = await call.desks.search.user(call.path["user"])
    if given.email is not None:
        found = await call.desks.fleet.set_email(found.id, email=given.email)
    address = None if given.address is None else places.Address(**given.address.model_dump())
    asked = (given.name, given.kind, address, given.location)
    if given.email is None or any(one is not None for one in asked):
        found = await call.desks.fleet.change_user(
            found.id, name=given.name, kind=given.kind, address=address, location=given.location
        )
    return User(**_said(found))


@users.delete("/users/{user}", Right.PEOPLE_WRITE, version=show_user, must_match=True, query=RemovalAsked)
async def remove_user(call: AnyCall) -> None:
    """Remove a user, with what their phones have sent; refused while they hold extensions that shall not go, too."""
    await call.desks.fleet.remove_user(call.path["user"], extensions=call.query.extensions)


@extensions.get("/extensions", Right.PEOPLE_READ, Paged[Extension], query=ExtensionsAsked)
async def list_extensions(call: AnyCall) -> Paged[Extension]:
    """The extensions within reach, by id."""
    query: ExtensionsAsked = call.query
    after = read_cursor("extensions", query.cursor, str)
    page = await call.desks.search.extension_page(
        account=query.account, user=query.user, number=query.number, after=after, limit=query.limit
    )
    return paged("extensions", page, Extension)


@extensions.get("/extensions/{extension}", Right.PEOPLE_READ, Extension)
async def show_extension(call: AnyCall) -> Extension:
    """One extension, by id, or by a number that only one has."""
    return Extension.model_validate(await call.desks.search.extension(call.path["extension"]))


@extensions.post(
    "/extensions", Right.PEOPLE_WRITE, body=NewExtension, told=Extension, status=201, made_at="/extensions/{id}"
)
async def add_extension(call: AnyCall) -> Extension:
    """Add a number with its SIP credentials to a user; a number that is kept for the caller is used up."""
    given: NewExtension = call.body
    found = await call.desks.fleet.add_extension(
        given.number,
        account=given.account,
        user=given.user,
        display_name=given.display_name,
        auth_user=given.auth_user,
        secret=given.secret,
    )
    return Extension.model_validate(found)


@extensions.patch(
    "/extensions/{extension}",
    Right.PEOPLE_WRITE,
    body=ExtensionChange,
    told=Extension,
    version=show_extension,
    must_match=True,
)
async def change_extension(call: AnyCall) -> Extension:
    """Another name that phones show, SIP user name, or user; its phones get it with their next fetch."""
    given: ExtensionChange = call.body
    found = await call.desks.fleet.change_extension(
        call.path["extension"], display_name=given.display_name, auth_user=given.auth_user, user=given.user
    )
    return Extension.model_validate(found)


@extensions.get("/extensions/{extension}/lines", Right.DEVICE_READ, Phones)
async def list_phones(call: AnyCall) -> Phones:
    """On which lines of which devices an extension is now; the phone that has had it longest comes first."""
    found = await call.desks.fleet.lines_of(call.path["extension"])
    return Phones(items=[Line.model_validate(one) for one in found])


@extensions.delete("/extensions/{extension}", Right.PEOPLE_WRITE, version=show_extension, must_match=True)
async def remove_extension(call: AnyCall) -> None:
    """Remove a number; phones that have it on a line are told to fetch what empties that."""
    await call.desks.fleet.remove_extension(call.path["extension"])


@extensions.put(
    "/extensions/{extension}/secret", Right.SECRET_WRITE, body=NewSecret, status=204, version=show_extension
)
async def set_secret(call: AnyCall) -> None:
    """Give an extension another SIP password; its phones get it with their next fetch."""
    await call.desks.fleet.set_secret(call.path["extension"], secret=call.body.secret)


@extensions.get("/extensions/{extension}/secret", Right.PEOPLE_READ, SecretLife)
async def show_secret_life(call: AnyCall) -> SecretLife:
    """Whether an extension's SIP password was made here or given, and since when it is what it is; not the password."""
    found = await call.desks.fleet.secret_life(call.path["extension"])
    return SecretLife(origin=found.origin, since=None if found.at is None else moment(found.at))


@extensions.post("/extensions/{extension}/secret/reveal", Right.SECRET_REVEAL, told=Secret, secret=True)
async def reveal_secret(call: AnyCall) -> Secret:
    """Read a SIP password; that it was read is an event, written before it is told."""
    found = await call.desks.search.extension(call.path["extension"])
    secret = await call.desks.fleet.reveal_secret(found.id)
    return Secret(extension=found.id, number=found.number, auth_user=found.auth_user, secret=secret)


@extensions.post("/extension-holds", Right.PEOPLE_WRITE, body=HoldWish, told=Hold, status=201)
async def suggest_extension(call: AnyCall) -> Hold:
    """Suggest the lowest free number of the site's or account's range, and keep it for the caller for a while."""
    given: HoldWish = call.body
    found = await call.desks.fleet.suggest_extension(account=given.account, site=given.site, seconds=given.seconds)
    return Hold.model_validate(found)


@extensions.get("/extension-holds", Right.PEOPLE_READ, Paged[Hold], query=HoldsAsked)
async def list_holds(call: AnyCall) -> Paged[Hold]:
    """Numbers that are kept for somebody now."""
    found = await call.desks.fleet.extension_holds(call.query.account)
    return turned("extension-holds", found, call.query, lambda one: f"{one.account}/{one.number}", Hold)


@extensions.delete("/accounts/{account}/extension-holds/{number}", Right.PEOPLE_WRITE)
async def release_extension(call: AnyCall) -> None:
    """Keep a suggested number no longer."""
    await call.desks.fleet.release_extension(call.path["number"], account=call.path["account"])
