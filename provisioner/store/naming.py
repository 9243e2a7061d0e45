"""Whose name a stranger used: the Macs in the path and in the certificate's subject of an event of nobody proven."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_MAC: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{0,2}?((?:[0-9a-f]{2}[:-]?){5}[0-9a-f]{2})(?![0-9a-f])")
"""Any usual spelling, also behind a letter or two that look like hex digits: ``spa0004f2000001.xml``."""


def macs_named(details: Mapping[str, str]) -> tuple[str, str]:
    """The Mac that the path names, and the one that the subject claims where that is another; empty for none."""
    path, subject = (_mac_in(details.get(field, "")) for field in ("path", "subject"))
    return path, subject if subject != path else ""


def _mac_in(text: str) -> str:
    found = _MAC.search(text.lower())
    return found[1].replace(":", "").replace("-", "") if found else ""
