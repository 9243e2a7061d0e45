# SPDX-License-Identifier: GPL-2.0-only
"""What a password, a token or a credential looks like in text: one table, for facts and for frames alike.

Rule: too much goes rather than too little. A value ends at its closing quote, in XML at the next tag, or else with the
line: blanks, &, /, @ and quotes may stand in a password. What is no text, a control character, ends it, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

RANDOM: Final = (
    r"(?:Polycom[A-Za-z]{1,20}-[A-Za-z]{1,6}_[A-Za-z0-9]{1,6}-UA|(?<![A-Za-z0-9_-])[0-9A-Fa-f]{12}-[a-z]{3,16})"
    r"(?![A-Za-z0-9_-])|(?P<secret>[A-Za-z0-9_-]{22,})"
)
"""128 bits are 22 characters of base64url. Polycom's names for its phones and 0004f2aabbcc-directory are no secret."""
_LONG: Final = (
    r"(?i:passwor[dt]|passw(?!o)|passphrase|passcode|pwd|kennwort|secret|token|credentials?|authorization|cookie|community"
    r"|api[ _-]?key|activation[ _-]?code)"
)
_SHORT: Final = "|".join(
    # As a word of its own, or one of several that are written together: userPin, SIP_PASS; not ping, mapping, Keypad.
    f"(?<![A-Za-z]){one}s?(?![a-z])|{one.title()}s?(?![a-z])|(?<![A-Z]){one.upper()}S?(?![A-Za-z])"
    for one in ("pass", "pin", "key", "psk")
)
_NAMED: Final = (
    rf"(?:{_LONG}|{_SHORT})(?:[\w.\[\]!$\"'\\-]|%(?!3[aAdD])){{0,24}}"
    r"(?: (?:for|of)(?: [\w.@-]{1,40}){1,3}?)?"
    r"(?:[ \t]{1,3}[\w:-]{1,20}=\"[^\"\n<>]{0,40}\"){0,4}"
)
"""The name of a setting, to whom it belongs, and attributes of an XML element."""
_SAYS: Final = (
    r"(?:[ \t]{0,8}(?:(?:[\"'][ \t]{1,8}|[ \t])value[ \t]{0,3}=|[=-]>|[=:]|%3[aAdD]|(?P<element>>))[ \t]{0,8}"
    r"|[ \t]{1,8}(?:is|was|to)[ \t]{1,8})"
)
_TEXT: Final = r"[^\x00-\x08\x0a-\x1f\x7f]"
_VALUE: Final = (
    r"(?P<quote>(?(element)(?!)|[\"']))?(?P<secret>(?(element)"
    rf"(?:(?!</){_TEXT})*"
    r"|(?(quote)"
    rf"(?:'(?:\"'\"|\\')'|\\{_TEXT}|(?P=quote){{2}}|(?!(?P=quote)(?:[\s,;:)\]}}>/?&]|\Z)){_TEXT})*"
    rf"|{_TEXT}*)))"
)
"""A quote that a letter follows ends nothing, nor does one that is doubled, behind a backslash, or a shell's."""
_RUN: Final = r"[^\x00-\x20\x7f]"
_URL: Final = r"(?<![\w./~-])//"
_WHO: Final = r"[^\x00-\x20\x7f/?#@:\[]{0,200}"
_NO_USER: Final = "(?i:sips?|tel|mailto|im|pres|xmpp|acct)"
"""What stands before a colon and an address without being a user."""
_PATTERNS: Final = tuple(
    re.compile(one, re.ASCII | re.MULTILINE)
    for one in (
        RANDOM,
        r"(?i:/t/)(?P<secret>[^/\x00-\x20\x7f\"<>]+)",
        # Who asks and his password, up to the last @: behind a colon / and @ may belong to it. Without the @, where the
        # text is cut off, a colon that no port's number follows is enough.
        rf"{_URL}(?P<secret>{_WHO}:{_RUN}{{0,1000}}|[^\x00-\x20\x7f/?#]{{1,1000}})@",
        rf"{_URL}(?P<secret>{_WHO}:(?!\d{{1,5}}(?:[/?#,;.)>\"'\x00-\x20\x7f]|\Z)|[/?#\x00-\x20]|\Z){_RUN}*)",
        rf"(?i:\bsips?:)[^\s:@<>;\"]{{1,100}}:(?P<secret>{_RUN}{{0,1000}})@",
        rf"(?<![\w.:/@<+-])(?!{_NO_USER}:)[\w.%+-]{{1,64}}:(?!//)(?P<secret>{_RUN}{{1,200}})@(?=[\w\[])",
        rf"(?<=[\w./~%)}}$-])\?(?P<secret>{_RUN}{{3,}})",
        rf"</[\w:.-]{{1,80}}>|{_NAMED}{_SAYS}{_VALUE}",
        r"\b(?i:pin|code)s?[ \t]{1,3}(?P<secret>\d(?:[ -]?\d){3,})",
        r"\b(?i:bearer)[ \t]{1,3}(?P<secret>[\w.~+/=-]{6,})",
        r"\b(?i:basic)[ \t]{1,3}(?P<secret>[A-Za-z0-9+/](?=[a-z]*[A-Z0-9+/=])[A-Za-z0-9+/]{3,}={0,2})",
        # SIP INFO: a digit, perhaps of an activation code; keys of SRTP and ICE in SDP (RFC 4568, 4566, 8839).
        r"(?i:signal)\s{0,3}=\s{0,3}(?P<secret>[0-9*#A-Da-d]+)",
        rf"(?:\b(?i:inline:)|^(?i:k=)|\b(?i:ice-pwd:))(?P<secret>{_RUN}+)",
    )
)
_END: Final = re.compile(r"(?P<secret>\S+)\Z")


def hidden(words: str, cross: Callable[[str], str], *, whole: bool = True) -> str:
    """The text with `cross` of each secret in its place; what is cut off may end in half a secret."""
    for pattern in _PATTERNS if whole else (*_PATTERNS, _END):
        words = pattern.sub(lambda found: _crossed(found, cross), words)
    return words


def _crossed(found: re.Match[str], cross: Callable[[str], str]) -> str:
    if not found["secret"]:
        return found[0]
    begin, end = (one - found.start() for one in found.span("secret"))
    return found[0][:begin] + cross(found["secret"]) + found[0][end:]
