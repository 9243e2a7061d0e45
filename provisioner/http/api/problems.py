"""What went wrong, as RFC 9457 has it: a type that stays the same, what happened here, and what to do about it.

The causes are the use-cases' own. Of faults of the server itself no more is told than that they are written down.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from provisioner import errors
from provisioner.errors import Forbidden, Invalid, NotSignedIn, ProvisionerError, StoreFailed, Throttled, WideChange
from provisioner.http.api.cures import call_of
from provisioner.http.api.words import Told

MEDIA: Final = "application/problem+json"
PROBLEMS: Final = "/api/v1/problems/"
"""Each type is an address under which it is explained."""

CURES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "internal": "try again later; the server's log says what happened",
        "store_failed": "try again later; on the server its doctor says what is wrong with the database",
        "render_failed": "correct the setting or template that the cause names",
        "invalid": "correct the fields that are named and send it again",
        "malformed": "send one JSON document in UTF-8, each field once, no NaN and no Infinity",
        "wrong_media": "send the body as application/json",
        "body_too_large": "send less at once; rows of bulk work can be split into several jobs",
        "not_found": "list what there is and take an id from there; what is out of reach is not found either",
        "method_not_allowed": "use one of the methods that the header Allow names",
        "conflict": "change what the cause names first, then send it again",
        "not_signed_in": "send `Authorization: Bearer KEY` with a key that is not over, or sign in",
        "login_refused": "send the right name, password and code",
        "forbidden": "ask an owner of the account for a role that carries this right, or for a key that has it",
        "proof_needed": "give the password again at the console's /confirm, or sign in again",
        "throttled": "wait as long as the header Retry-After says",
        "crowded": "close what you do not need, or come back later",
        "stale": "read it again, look at what has changed, and send If-Match with its new ETag",
        "unconditional": "read it first and send its ETag as If-Match; `If-Match: *` takes whatever is there",
        "key_reused": "make a new Idempotency-Key for each different request",
        "no_license": "give the user a license, or let the account's policy ask for none",
        "no_number": "give the extension a phone number, or let the account's policy ask for none",
        "wide_change": "look at what phones would get (preview), then send it with `confirm`: the number of phones",
        "extension_has_code": "reveal or reissue the code that there is, or revoke it first",
        "extension_has_phone": "unbind the extension where it is, or let the new phone replace that one",
        "model_unsupported": "take a model from the list of models",
        "ivr_unsupported_model": "bind the device by its MAC instead",
        "mail_off": "set mail.host, or tell the user yourself",
        "no_address": "give the user a mail address",
        "switch_failed": "test the switch: that says which of address, community, user, auth and privacy is wrong",
    }
)
"""What to do, by the kind of problem."""


class Fault(Told):
    """What is wrong with one field."""

    field: Annotated[str, Field(description="Its name, with dots and numbers into what it holds: `rows.3.mac`")]
    cause: str


class Problem(Told):
    """A request that was not done: nothing has changed."""

    type: Annotated[str, Field(json_schema_extra={"format": "uri-reference"})]
    title: Annotated[str, Field(description="The kind of problem, always the same for a type")]
    status: int
    cause: Annotated[str, Field(description="What happened here, and why")]
    cure: Annotated[str, Field(description="What to do")]
    errors: Annotated[list[Fault], Field(description="Field by field, where fields are wrong")] = []  # noqa: RUF012  # pydantic copies it
    right: Annotated[str | None, Field(description="The right that is missing")] = None
    phones: Annotated[int | None, Field(description="How many it concerns, where `confirm` has to say it")] = None


class Unfit(ProvisionerError):
    """Fields that are refused before anything is looked up; all of them at once."""

    status = 422
    kind = "invalid"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{one.field}: {one.cause}" for one in faults[:3]))
        self.faults = tuple(faults)


def titles() -> Mapping[str, tuple[str, int]]:
    """Every kind of problem that a call can be answered with, its title and its status."""
    found = {one.kind: one for one in _kinds(ProvisionerError) if one.kind in CURES}
    told = {kind: ((one.__doc__ or "").splitlines()[0].rstrip("."), one.status) for kind, one in found.items()}
    return told | {"internal": ("A fault of the server", 500)}


def _kinds(root: type[ProvisionerError]) -> Iterator[type[ProvisionerError]]:
    """The tree of errors, nearest to the root last, so that a kind is told by the class that first has it."""
    for one in root.__subclasses__():
        yield from _kinds(one)
    if root.__module__ == errors.__name__:
        yield root


def unfit(error: ValidationError, where: str = "") -> Unfit:
    """What pydantic found, in this API's words; no value is repeated, it may be a secret."""
    return Unfit([_fault(one, where) for one in error.errors(include_url=False, include_input=False)[:100]])


def _fault(one: ErrorDetails, where: str) -> Fault:
    path = ".".join([*([where] if where else []), *(str(part) for part in one["loc"])]) or "body"
    words = {"extra_forbidden": "is no field of this call", "missing": "is required"}
    return Fault(field=path, cause=words.get(one["type"], one["msg"].removeprefix("Value error, ")))


def problem_of(error: ProvisionerError) -> Problem:
    """The document for an error."""
    kind = error.kind if error.kind in CURES else "conflict" if error.status == 409 else "internal"
    title, status = titles()[kind]
    faults = [Fault(field=error.field, cause=error.why)] if isinstance(error, Invalid) else []
    faults = list(error.faults) if isinstance(error, Unfit) else faults
    told = error.cause if error.status < 500 or isinstance(error, StoreFailed) else "the server has a fault"
    return Problem(
        type=PROBLEMS + kind,
        title=title,
        status=error.status if error.kind in CURES else status,
        cause=told,
        cure=CURES[kind] if error.cure is None else call_of(error.cure),
        errors=faults,
        right=error.right or None if isinstance(error, Forbidden) else None,
        phones=error.phones if isinstance(error, WideChange) else None,
    )


def refused(error: ProvisionerError, headers: Mapping[str, str] | None = None) -> web.Response:
    """The answer to a call that was not done."""
    problem = problem_of(error)
    sent = {"Cache-Control": "no-store", **(headers or {})}
    if isinstance(error, Throttled):
        sent["Retry-After"] = str(error.retry_after)
    if isinstance(error, NotSignedIn):
        sent["WWW-Authenticate"] = 'Bearer realm="provisioner"'
    body = problem.model_dump_json(exclude_none=True).encode()
    return web.Response(status=problem.status, body=body, headers=sent, content_type=MEDIA)


def refused_status(status: int, allow: Sequence[str] = ()) -> web.Response:
    """The same for what the router refuses."""
    kind = "method_not_allowed" if status == HTTPStatus.METHOD_NOT_ALLOWED else "not_found"
    title, _ = titles()[kind]
    cause = f"this address takes {', '.join(sorted(allow))}" if allow else "there is nothing under this address"
    told: dict[str, Any] = {
        "type": PROBLEMS + kind, "title": title, "status": status, "cause": cause, "cure": CURES[kind],
        "errors": [],
    }  # fmt: skip
    headers = {"Cache-Control": "no-store", **({"Allow": ", ".join(sorted(allow))} if allow else {})}
    return web.Response(status=status, body=json.dumps(told).encode(), headers=headers, content_type=MEDIA)
