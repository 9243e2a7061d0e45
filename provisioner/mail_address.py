"""Mail addresses that any mail server takes: ASCII, no quoting, no comments, nothing that begins a header (pure)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_ATEXT: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(rf"({_ATEXT}(?:\.{_ATEXT})*)@({_LABEL}(?:\.{_LABEL})*)")
"""RFC 5321 section 4.1.2 without quoted strings and address literals, which nobody's mail address has."""
_LOCAL: Final = 64
_WHOLE: Final = 254
"""Octets: RFC 5321 section 4.5.3.1, and its path of 256 without the angle brackets."""
_MAILBOX: Final = re.compile(r'"?([^"<>\x00-\x1f\x7f-\x9f]*?)"?\s*<([^<>]*)>')


class Mailbox(NamedTuple):
    """Somebody and their address."""

    name: str
    address: str


def parse_address(text: str) -> str:
    """The address; ValueError says what is wrong with it. A name in another script has an ASCII form (punycode).

    ``=?`` begins an encoded word of RFC 2047, which programs that read headers decode in an address, too.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or len(text) > _WHOLE or len(found[1]) > _LOCAL or "=?" in text:
        raise ValueError("must be a mail address such as ann@example.com, in ASCII")
    return text


def parse_mailbox(text: str) -> Mailbox:
    """``Name <address>`` or the address alone; ValueError says what is wrong."""
    if found := _MAILBOX.fullmatch(text.strip()):
        return Mailbox(found[1].strip(), parse_address(found[2].strip()))
    return Mailbox("", parse_address(text.strip()))


def domain_of(address: str) -> str:
    """What stands behind its last @."""
    return address.rpartition("@")[2]
