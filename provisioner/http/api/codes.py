"""Activation codes: keyed into a new phone they make it an extension's."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from provisioner.activation.codes import Issued
from provisioner.codes import ActivationCode, CodeState, grouped
from provisioner.http.api.cursors import paged, read_cursor
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import (
    AMac,
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
    Told,
    Turning,
)
from provisioner.model import Mac
from provisioner.progress import Stage
from provisioner.rights import Right

codes = Routes("codes", "Activation codes: digits that a person keys into a new phone to make it theirs.")


class Code(Told):
    """An activation code: everything but its digits."""

    id: Id
    account: Id
    extension: Id
    number: str
    state: CodeState
    created: Moment
    expires: Moment
    actor: str
    vendor: Maybe
    model: Annotated[Maybe, Field(description="Only a phone of this model may use it")]
    mac: Annotated[Maybe, Field(description="Only this phone may use it")]
    site: Annotated[Maybe, Field(description="Only a phone of this site may use it")]
    replaces: bool
    misused: int
    used_by: Maybe
    ended: MaybeMoment


class CodeRow(Code):
    """The same with how far the phone is that used it lately."""

    stage: Stage | None
    hint: Maybe


class CodesAsked(Turning):
    """Which codes."""

    account: MaybeRef = ""
    state: CodeState | None = None


class Ties(Given):
    """What a code shall be tied to."""

    extension: Ref
    account: Annotated[MaybeRef, Field(description="Whose extension, where a number is not enough")] = ""
    model: MaybeRef = ""
    mac: AMac | None = None
    site: MaybeRef = ""
    replace: Annotated[bool, Field(description="It may take the extension from the phone that has it")] = False


class NewCode(Ties):
    """A code to issue."""

    life: Annotated[float | None, Field(ge=3600, le=7_776_000, description="s; null: the setting activation.life")] = (
        None
    )
    mail: Annotated[bool | None, Field(description="Send it to the user; null: as the account's policy says")] = None


class Again(Given):
    """A code to make anew."""

    account: MaybeRef = ""
    life: Annotated[float | None, Field(ge=3600, le=7_776_000)] = None
    mail: bool | None = None


class WhoseCode(Asked):
    """Whose extension, where a number is not enough."""

    account: MaybeRef = ""


class CodeAsked(Fields, WhoseCode):
    """The same, and which fields."""


class Digits(Told):
    """A code with its digits."""

    code: Annotated[str, Field(description="As it is printed")]
    digits: str
    about: Code


class Condition(Told):
    """One precondition of a code."""

    name: str
    met: bool
    reason: Annotated[Maybe, Field(description="The kind of problem that issuing it would be answered with")]
    cause: Maybe


class Conditions(Told):
    """All of them."""

    possible: bool
    items: list[Condition]


def _digits(one: Issued) -> Digits:
    return Digits(code=grouped(one.code), digits=one.code, about=Code.model_validate(one.about))


@codes.get("/codes", Right.CODE_READ, Paged[CodeRow], query=CodesAsked)
async def list_codes(call: AnyCall) -> Paged[CodeRow]:
    """Codes without their digits, the newest first, and how far the phones are that used one within the last day."""
    query: CodesAsked = call.query
    after = read_cursor("codes", query.cursor, float, str)
    page = await call.desks.search.code_page(account=query.account, state=query.state, after=after, limit=query.limit)
    arrivals = await call.desks.codes.arrivals(page.items)

    def shown(one: ActivationCode) -> CodeRow:
        progress = arrivals.get(one.id)
        about = {name: getattr(one, name) for name in Code.model_fields}
        return CodeRow(**about, stage=progress.stage if progress else None, hint=progress.hint if progress else None)

    return paged("codes", page, CodeRow, shown)


@codes.post("/codes", Right.CODE_ISSUE, body=NewCode, told=Digits, status=201, secret=True)
async def issue_code(call: AnyCall) -> Digits:
    """Make a code for an extension that has none, and tell it."""
    given: NewCode = call.body
    made = await call.desks.codes.issue(
        given.extension,
        account=given.account,
        life=given.life,
        model=given.model,
        mac=Mac(given.mac) if given.mac else None,
        site=given.site,
        replace=given.replace,
        mail=given.mail,
    )
    return _digits(made)


@codes.post("/codes/check", Right.CODE_READ, body=Ties, told=Conditions, whole=False)
async def check_code(call: AnyCall) -> Conditions:
    """Say what stands in the way of such a code, if anything does; nothing is changed."""
    given: Ties = call.body
    found = await call.desks.codes.check(
        given.extension,
        account=given.account,
        model=given.model,
        mac=Mac(given.mac) if given.mac else None,
        site=given.site,
        replace=given.replace,
    )
    items = [
        Condition(name=one.name, met=one.error is None, reason=one.error.kind if one.error else None,
                  cause=one.error.cause if one.error else None)
        for one in found
    ]  # fmt: skip
    return Conditions(possible=all(one.met for one in items), items=items)


@codes.get("/extensions/{extension}/code", Right.CODE_READ, Code, query=CodeAsked)
async def show_code(call: AnyCall) -> Code:
    """The last code of an extension, without its digits."""
    return Code.model_validate(await call.desks.codes.code(call.path["extension"], account=call.query.account))


async def code_there(call: AnyCall) -> Code:
    """The same for a call that names the account in its body."""
    return Code.model_validate(await call.desks.codes.code(call.path["extension"], account=call.body.account))


@codes.post("/extensions/{extension}/code/reveal", Right.CODE_REVEAL, told=Digits, query=WhoseCode, secret=True)
async def reveal_code(call: AnyCall) -> Digits:
    """Read the digits again; that they were read is an event, written before they are told."""
    return _digits(await call.desks.codes.reveal(call.path["extension"], account=call.query.account))


@codes.post(
    "/extensions/{extension}/code/reissue",
    Right.CODE_ISSUE,
    body=Again,
    told=Digits,
    status=201,
    secret=True,
    version=code_there,
)
async def reissue_code(call: AnyCall) -> Digits:
    """Replace a code by another with the same ties; the one before is worth nothing from now on."""
    given: Again = call.body
    made = await call.desks.codes.reissue(
        call.path["extension"], account=given.account, life=given.life, mail=given.mail
    )
    return _digits(made)


@codes.delete(
    "/extensions/{extension}/code",
    Right.CODE_ISSUE,
    told=Code,
    query=WhoseCode,
    version=show_code,
    must_match=True,
)
async def revoke_code(call: AnyCall) -> Code:
    """Take a code back."""
    return Code.model_validate(await call.desks.codes.revoke(call.path["extension"], account=call.query.account))
