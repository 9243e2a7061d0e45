"""Where a page begins, as callers carry it: opaque to them, and worth nothing for another list.

A cursor is the sort key of the last row before the page. It opens nothing: filters and reach apply to each page anew.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from provisioner.errors import Invalid
from provisioner.fleet.device_search import Page
from provisioner.http.api.words import Paged, Turning
from provisioner.store.pages import Key

T = TypeVar("T")

_LONGEST: Final = 300


def written_cursor(of: str, key: Key | None) -> str | None:
    """``of``: the list that it belongs to."""
    if key is None:
        return None
    text = json.dumps([of, *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def read_cursor(of: str, text: str, *kinds: type) -> Key:
    """The key, empty for the first page; Invalid for what this list never gave out."""
    if not text:
        return ()
    try:
        padded = text + "=" * (-len(text) % 4)
        found = json.loads(base64.b64decode(padded.encode(), altchars=b"-_", validate=True).decode())
        name, *key = found
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise Invalid("cursor", "is none of this server's") from None
    if name != of or len(key) != len(kinds) or not all(map(_fits, key, kinds)):
        raise Invalid("cursor", "belongs to another list: begin without one")
    return tuple(kind(one) for one, kind in zip(key, kinds, strict=True))


def _fits(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return isinstance(value, str) and len(value) <= _LONGEST and "\x00" not in value and value.isprintable()


def turned(
    of: str, rows: Iterable[T], query: Turning, key: Callable[[T], str], model: type[BaseModel],
    shown: Callable[[T], Any] = lambda one: one, *, down: bool = False,
) -> Paged[Any]:  # fmt: skip
    """A page of a list that is short enough to be read whole; ``key`` orders it and tells its rows apart."""
    after = read_cursor(of, query.cursor, str)
    ordered = sorted(rows, key=key, reverse=down)
    if after:
        ordered = [one for one in ordered if (key(one) < str(after[0]) if down else key(one) > str(after[0]))]
    last = ordered[query.limit - 1] if len(ordered) > query.limit else None
    return paged(of, Page(ordered[: query.limit], None if last is None else (key(last),)), model, shown)


def paged(of: str, page: Page[T], model: type[BaseModel], shown: Callable[[T], Any] = lambda one: one) -> Paged[Any]:
    """A page as it is answered; ``shown`` makes of a row what the model reads."""
    items = [model.model_validate(shown(one)) for one in page.items]
    return Paged[model](items=items, next=written_cursor(of, page.next))  # type: ignore[valid-type]  # made at run time
