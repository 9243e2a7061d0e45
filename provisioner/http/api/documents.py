"""What is read from a request and written into an answer: JSON without surprises, within its limits.

A field that stands twice, NaN, a number as text or a field nobody knows is refused: who sends it means something else
than what would be done.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Never

from aiohttp import web
from pydantic import BaseModel, ValidationError

from provisioner.errors import BodyTooLarge, Invalid, Malformed, WrongMedia
from provisioner.http.api.problems import unfit

_DEEPEST: Final = 64
_TYPES: Final = frozenset({"application/json"})


async def read_body(request: web.Request, model: type[BaseModel] | None, limit: int) -> tuple[bytes, BaseModel | None]:
    """The body as it came and as it is meant; a call that takes none is sent none."""
    raw = await _read(request, limit)
    if model is None:
        if raw.strip():
            raise Malformed("this call takes no body")
        return raw, None
    if not raw and not any(one.is_required() for one in model.model_fields.values()):
        return raw, parsed(b"{}", model)
    if request.content_type not in _TYPES or (request.charset or "utf-8").lower() != "utf-8":
        raise WrongMedia("the body must be application/json in UTF-8")
    return raw, parsed(raw, model)


async def read_raw(request: web.Request, media: Iterable[str], limit: int) -> bytes:
    """A body that is no document of the API; WrongMedia names what it may be."""
    if request.content_type not in media:
        raise WrongMedia(f"the body must be {' or '.join(media)}")
    return await _read(request, limit)


async def _read(request: web.Request, limit: int) -> bytes:
    if request.content_length is not None and request.content_length > limit:
        raise BodyTooLarge(f"a body has at most {limit} bytes")
    whole = bytearray()
    async for chunk in request.content.iter_chunked(64 * 1024):
        whole += chunk
        if len(whole) > limit:
            raise BodyTooLarge(f"a body has at most {limit} bytes")
    return bytes(whole)


def parsed(raw: bytes, model: type[BaseModel], where: str = "") -> BaseModel:
    """JSON as the model has it; Malformed when it is no JSON, Unfit names each field that is wrong."""
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, _Twice) else "it is no JSON document in UTF-8"
        raise Malformed(f"the body cannot be read: {why}") from error
    if _depth(document) > _DEEPEST:
        raise Malformed(f"the body is nested more than {_DEEPEST} deep")
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise unfit(error, where) from error


class _Twice(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Twice(f"the field {twice[:40]!r} stands twice")
    return found


def _no_constant(name: str) -> Never:
    raise _Twice(f"{name} is no number of JSON")


def _depth(document: object) -> int:
    deepest, level = 0, [document]
    while level and deepest <= _DEEPEST:
        deepest += 1
        level = [child for one in level for child in _children(one)]
    return deepest


def _children(one: object) -> Iterable[object]:
    if isinstance(one, dict):
        return one.values()
    return one if isinstance(one, list) else ()


def read_query(request: web.Request, model: type[BaseModel]) -> BaseModel:
    """What stands behind the question mark; each name once."""
    found: dict[str, str] = {}
    for name, value in request.query.items():
        if name in found:
            raise Invalid(name[:40], "must be given once")
        found[name] = value
    try:
        return model.model_validate_strings(found)
    except ValidationError as error:
        raise unfit(error) from error


def written(answer: BaseModel) -> Mapping[str, Any]:
    """An answer as JSON's own types."""
    return answer.model_dump(mode="json")


def sparse(document: Mapping[str, Any], wanted: str, *, page: bool) -> Mapping[str, Any]:
    """Only the fields that were asked for; of a page, of each of its rows."""
    if not wanted:
        return document
    names = wanted.split(",")
    if page:
        return {**document, "items": [_only(one, names) for one in document["items"]]}
    return _only(document, names)


def _only(document: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
    return {name: document[name] for name in names if name in document}


def check_fields(told: Any, wanted: str, *, page: bool) -> None:
    """Invalid names a field that the answer does not have."""
    if not wanted or told is None:
        return  # a file has no fields
    model = told.model_fields["items"].annotation.__args__[0] if page else told
    known = set(model.model_fields)
    if unknown := [name for name in wanted.split(",") if name not in known]:
        raise Invalid("fields", f"{unknown[0]!r} is none of {', '.join(sorted(known))}")
