"""Versions of what can be changed: a strong ETag of what it says, and what If-Match and If-None-Match ask of it.

RFC 9110 section 13: If-Match compares strongly, ``*`` is whatever is there; a change that says neither is refused with
428 where there is something that could be overwritten (RFC 6585 section 3).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from provisioner.errors import Malformed, Stale, Unconditional

_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e]{0,128})"')
_LIST: Final = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e]{0,128}"\s*(?:,\s*(?:W/)?"[\x21\x23-\x7e]{0,128}"\s*){0,31}')
ANY: Final = "*"


def etag_of(document: Mapping[str, Any], beside: frozenset[str] = frozenset()) -> str:
    """Of the whole resource, whichever of its fields are sent; ``beside``: fields that are none of it."""
    resource = {name: value for name, value in document.items() if name not in beside}
    text = json.dumps(resource, sort_keys=True, separators=(",", ":"))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def require_match(request: web.Request, current: str | None, *, must: bool) -> None:
    """``current``: the ETag of what is there, None where there is nothing yet."""
    wanted, unwanted = _tags(request, "If-Match"), _tags(request, "If-None-Match")
    if wanted is not None and not _matches(wanted, current, strong=True):
        raise Stale(
            "it is not there" if current is None else "it has been changed since the version that If-Match names"
        )
    if unwanted is not None and _matches(unwanted, current, strong=False):
        raise Stale("there is something already, and If-None-Match asks for that not to be so")
    if must and current is not None and wanted is None:
        raise Unconditional("this changes what is there already, and no If-Match says which version is meant")


def is_known(request: web.Request, current: str) -> bool:
    """Whether the caller has this version already (304)."""
    tags = _tags(request, "If-None-Match")
    return tags is not None and _matches(tags, current, strong=False)


def _matches(tags: frozenset[str], current: str | None, *, strong: bool) -> bool:
    if current is None:
        return False
    if ANY in tags or current in tags:
        return True
    return not strong and f"W/{current}" in tags


def _tags(request: web.Request, header: str) -> frozenset[str] | None:
    """The tags of a header, weak ones with their ``W/``; None without the header."""
    lines = request.headers.getall(header, [])
    if not lines:
        return None
    text = ",".join(lines).strip()
    if text == ANY:
        return frozenset({ANY})
    if not _LIST.fullmatch(text):
        raise Malformed(f"{header} is neither * nor a list of ETags in quotes")
    return frozenset(f'{weak}"{tag}"' for weak, tag in _TAG.findall(text))
