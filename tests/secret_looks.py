"""Texts in which a secret stands: whatever hides secrets is tried with the same ones.

The capture program and the server share no code, for their licenses differ; these examples they have in common.
"""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Callable
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from hypothesis import strategies as st

MARK: Final = "Zq"
"""Each piece of a secret begins with it, so what is left of one shows itself."""
_PIECES: Final = st.text("abcdefghijklmnopXYZ0123456789", max_size=4).map(MARK.__add__)
_BETWEEN: Final = ("&", "/", "@", '"', "'", ":", "?", "#", ";", ",", "<", ">", "\\", "=", "%", "$", "!", "ü")


def _secrets(between: tuple[str, ...], most: int = 5) -> st.SearchStrategy[str]:
    joints = st.lists(st.tuples(st.sampled_from(between), _PIECES), max_size=most)
    return st.builds(lambda first, rest: first + "".join(a + b for a, b in rest), _PIECES, joints)


PASSWORDS: Final = _secrets((*_BETWEEN, " ", '" ', "' ", ", "))
"""Whatever people take for one."""
UNBROKEN: Final = _secrets(_BETWEEN)
"""Without blanks: in a URL a blank is its end."""


def _row(secret: str) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="").writerow([secret, "x"])
    return out.getvalue()


Write = Callable[[str], str]
TEXTS: Final[dict[str, Write]] = {
    "setting": lambda one: f"cfg: static.security.user_password = {one}",
    "prefix": lambda one: f"SipPassword={one}",
    "suffix": lambda one: f"user_pass1!: {one}",
    "words": lambda one: f"Password for user 100 is {one}",
    "set to": lambda one: f"the admin password was set to {one}",
    "arrow": lambda one: f"wpa_psk => {one}",
    "camel": lambda one: f"userPin: {one}",
    "capitals": lambda one: f"SIP_KEY={one}",
    "header": lambda one: f"Authorization: Basic {one}",
    "JSON": lambda one: json.dumps({"user": "a", "password": one, "next": 1}),
    "JSON in ASCII, twice": lambda one: json.dumps(json.dumps({"password": one})),
    "Python": lambda one: repr({"secret": one, "next": 1}),
    "attribute": lambda one: f"<account password={quoteattr(one)} next='1'/>",
    "attribute value": lambda one: f'<param name="password" value={quoteattr(one)}/>',
    "element": lambda one: f"<password>{escape(one)}</password>",
    "element with attributes": lambda one: f'<Password_1_ ua="na">{escape(one)}</Password_1_>',
    "shell": lambda one: f"curl --password={shlex.quote(one)} next",
    "spreadsheet": lambda one: f"token={_row(one)}",
    "encoded": lambda one: f"password%3D{quote(one)}",
    "form": lambda one: f"user=a&password={one}",
    "German": lambda one: f"Kennwort: {one}",
    "SNMP": lambda one: f"community: {one}",
}
"""As programs and people write a password; with what it may hold."""
PLACES: Final[dict[str, Write]] = {
    "URL": lambda one: f"http://prov:{one}@host/x.cfg",
    "query": lambda one: f"/x.cfg?{one}=1",
    "query with a name": lambda one: f"/x.cfg?user=a&word={one}",
    "no scheme": lambda one: f"//prov:{one}@host/x.cfg",
}
"""Paths and URLs."""
TOKENS: Final[dict[str, Write]] = {
    "token": lambda one: f"/t/{one}/x.cfg",
    "token below": lambda one: f"/prov/t/{one}/x.cfg",
    "long": lambda one: f"/{one:x<22}/x.cfg",
    "user": lambda one: f"https://{one}@host/x.cfg",
}
"""For letters and digits alone."""
