"""The paths a phone may ask for: a short list of characters, no escapes, nothing that climbs; all else is BadPath."""

from __future__ import annotations

import re
from typing import Final

from provisioner.errors import BadPath

_CLEAN: Final = re.compile(r"/[A-Za-z0-9._+=@,()\[\]~-]+(?:/[A-Za-z0-9._+=@,()\[\]~-]+){0,5}")
_LONGEST: Final = 255
"""Poly: list entries have at most 255 characters (admin guide SIP 1.4)."""


def clean(target: str) -> str:
    """The relative path of a request target, query taken off; BadPath for whatever no phone sends.

    Percent escapes are refused as a whole: no vendor's file name needs one, and each is a way round a check.
    """
    path = target.partition("?")[0]
    if len(path) > _LONGEST:
        raise BadPath(f"a path of {len(path)} characters")
    if not _CLEAN.fullmatch(path):
        raise BadPath("characters, escapes or slashes that no phone sends")
    if "/." in path and any(segment.strip(".") == "" for segment in path[1:].split("/")):
        raise BadPath("a segment of dots")
    return path[1:]
