"""Users and the extensions they hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from provisioner.http.api.cursors import paged, read_cursor
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import (
    Asked,
    Given,
    Id,
    MaybeRef,
    MaybeText,
    Moment,
    Paged,
    Password,
    Ref,
    Text,
    Told,
    Turning,
)
from provisioner.rights import Right

users = Routes("users", "Persons, and places such as a lobby, that hold extensions.")
extensions = Routes("extensions", "Numbers that the PBX dials, with their SIP credentials.")


class User(Told):
    """A person, or a place such as a lobby."""

    id: Id
    account: Id
    name: str
    email: Annotated[str, Field(description="Empty for none")]


class NewUser(Given):
    """A user to add."""

    name: Text
    account: Ref
    email: MaybeText = ""


class UserEmail(Given):
    """Another mail address."""

    email: Annotated[str, Field(max_length=254, description="Empty for none")]


class UsersAsked(Turning):
    """Which users."""

    account: MaybeRef = ""
    name: MaybeText = ""
    email: MaybeText = ""


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


class ExtensionsAsked(Turning):
    """Which extensions."""

    account: MaybeRef = ""
    user: MaybeRef = ""
    number: MaybeText = ""


class NewSecret(Given):
    """Another SIP password."""

    secret: Annotated[Password, Field(description="Empty: one is made")] = ""


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


class HoldsAsked(Asked):
    """Whose holds."""

    account: MaybeRef = ""


class Holds(Told):
    """Numbers that are kept now."""

    items: list[Hold]


@users.get("/users", Right.PEOPLE_READ, Paged[User], query=UsersAsked)
async def list_users(call: AnyCall) -> Paged[User]:
    """The users within reach, by id."""
    query: UsersAsked = call.query
    after = read_cursor("users", query.cursor, str)
    page = await call.desks.search.user_page(
        account=query.account, name=query.name, email=query.email, after=after, limit=query.limit
    )
    return paged("users", page, User)


@users.get("/users/{user}", Right.PEOPLE_READ, User)
async def show_user(call: AnyCall) -> User:
    """One user, by id, or by a name or mail address that only one has."""
    return User.model_validate(await call.desks.search.user(call.path["user"]))


@users.post("/users", Right.PEOPLE_WRITE, body=NewUser, told=User, status=201, made_at="/users/{id}")
async def add_user(call: AnyCall) -> User:
    """Add a person or a place."""
    given: NewUser = call.body
    return User.model_validate(await call.desks.fleet.add_user(given.name, account=given.account, email=given.email))


@users.patch("/users/{user}", Right.PEOPLE_WRITE, body=UserEmail, told=User, version=show_user, must_match=True)
async def set_email(call: AnyCall) -> User:
    """Give a user another mail address, or none."""
    return User.model_validate(await call.desks.fleet.set_email(call.path["user"], email=call.body.email))


@users.delete("/users/{user}", Right.PEOPLE_WRITE, version=show_user, must_match=True)
async def remove_user(call: AnyCall) -> None:
    """Remove a user who holds no extension, with what their phones have sent."""
    await call.desks.fleet.remove_user(call.path["user"])


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


@extensions.delete("/extensions/{extension}", Right.PEOPLE_WRITE, version=show_extension, must_match=True)
async def remove_extension(call: AnyCall) -> None:
    """Remove a number that is on no line."""
    await call.desks.fleet.remove_extension(call.path["extension"])


@extensions.put("/extensions/{extension}/secret", Right.SECRET_WRITE, body=NewSecret, status=204)
async def set_secret(call: AnyCall) -> None:
    """Give an extension another SIP password; its phones get it with their next fetch."""
    await call.desks.fleet.set_secret(call.path["extension"], secret=call.body.secret)


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


@extensions.get("/extension-holds", Right.PEOPLE_READ, Holds, query=HoldsAsked)
async def list_holds(call: AnyCall) -> Holds:
    """Numbers that are kept for somebody now."""
    found = await call.desks.fleet.extension_holds(call.query.account)
    return Holds(items=[Hold.model_validate(one) for one in found])


@extensions.delete("/accounts/{account}/extension-holds/{number}", Right.PEOPLE_WRITE)
async def release_extension(call: AnyCall) -> None:
    """Keep a suggested number no longer."""
    await call.desks.fleet.release_extension(call.path["number"], account=call.path["account"])
