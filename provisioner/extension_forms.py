"""What an extension's number, SIP user name and secret may be made of: whoever takes them in asks the same. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Form(NamedTuple):
    """A pattern that the whole value has to match, and the same in words, after "must be"."""

    pattern: re.Pattern[str]
    words: str


NUMBER: Final = Form(re.compile(r"[A-Za-z0-9*#+._-]{1,40}"), "1 to 40 letters, digits or * # + . _ -")
AUTH_USER: Final = Form(
    re.compile(r"[A-Za-z0-9*#+._@~!$&=%-]{1,64}"), "1 to 64 characters that a SIP user name may have"
)
SECRET: Final = Form(re.compile(r"[!-~]{6,64}"), "6 to 64 visible ASCII characters without blanks")
