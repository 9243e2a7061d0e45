"""A firmware image as an answer: whole or one range of it, from disk (RFC 9110 sections 13 and 14)."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from provisioner.errors import RangeNotSatisfiable
from provisioner.firmware import Firmware
from provisioner.http.wire import Slice, Wire

_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,15})-([0-9]{1,15})?|-([0-9]{1,15}))")

_ENDLESS: Final = 10**15
"""Beyond the last byte of any image."""


def names(if_none_match: str, etag: str) -> bool:
    """Whether If-None-Match names this entity tag, compared weakly (RFC 9110 section 13.1.2)."""
    return bool(if_none_match) and (
        if_none_match == "*" or any(one.strip().removeprefix("W/") == etag for one in if_none_match.split(","))
    )


def later_part(text: str) -> tuple[int, int] | None:
    """First and last byte of a Range that does not begin at the first; None for all that may bring the whole."""
    found = _RANGE.fullmatch(text)
    if found is None or not found[1] or not int(found[1]):
        return None
    return int(found[1]), int(found[2] or _ENDLESS)


def image_answer(request: web.BaseRequest, image: Firmware, headers: str) -> Wire:
    """200, 206 or 304; several ranges at once are answered with the whole; RangeNotSatisfiable beyond its end."""
    headers += f"ETag: {image.etag}\r\nAccept-Ranges: bytes\r\n"
    if names(request.headers.get("If-None-Match", ""), image.etag):
        return Wire(304, headers=headers, size=image.size)
    is_head = request.method == "HEAD"
    found = _RANGE.fullmatch(request.headers.get("Range", ""))
    if found is None or request.headers.get("If-Range", image.etag) != image.etag:
        return Wire(200, b"" if is_head else Slice(image.path, 0, image.size), headers, size=image.size)
    first, last, suffix = found.groups()
    start = max(0, image.size - int(suffix)) if suffix else int(first)
    end = min(int(last) if last else image.size - 1, image.size - 1)
    if start > end:
        raise RangeNotSatisfiable(f"{found[0]} of {image.size} bytes", size=image.size)
    size = end - start + 1
    headers += f"Content-Range: bytes {start}-{end}/{image.size}\r\n"
    return Wire(206, b"" if is_head else Slice(image.path, start, size), headers, size=size)
