"""Raw vendor parameters: the syntax of their names and values, checked at entry and again before they are laid out.

The two dialects are told apart by the first letter: UC Software parameters begin with a small one (``reg.1.label``),
OBi objects with a capital (``VoiceService.1...``). A name of the other dialect is left out, for layers are shared;
so is one that names another vendor, as layers of several vendors write them: ``poly:reg.1.label``.
"""

from __future__ import annotations

import re
from typing import Final

from provisioner.errors import Invalid, RenderFailed
from provisioner.model import ResolvedConfig, Scope
from provisioner.neutral import check_text

_UCS: Final = re.compile(r"[a-z][A-Za-z0-9_-]{0,40}(?:\.[A-Za-z0-9_-]{1,60}){1,10}")
_OBI: Final = re.compile(r"[A-Z][A-Za-z0-9_-]{0,40}(?:\.[A-Za-z0-9_-]{1,60}){1,12}")
_RANK: Final = {scope: rank for rank, scope in enumerate(Scope)}
_LONGEST: Final = 8192
"""Characters of one value: a PEM certificate fits."""


def check(name: str, value: str) -> None:
    """Invalid when the name is no parameter of either dialect or the value cannot stand in a file."""
    if not (_UCS.fullmatch(name) or _OBI.fullmatch(name)):
        raise Invalid(
            name[:80], "is not a Poly parameter: reg.1.label, or an OBi object and parameter with dots between"
        )
    try:
        check_text(value, _LONGEST)
    except ValueError as error:
        raise Invalid(name, str(error)) from error


def raw_of(config: ResolvedConfig) -> dict[str, str]:
    """The raw parameters of this model's dialect; the nearer scope wins, whichever way each of them is written."""
    is_obi = config.model.dialect == "obi"
    found: dict[str, str] = {}
    for given, sourced in sorted(config.raw.items(), key=lambda entry: _RANK[entry[1].scope]):
        vendor, _, name = given.rpartition(":")
        if vendor not in ("", "poly") or name[:1].isupper() is not is_obi:
            continue
        if not (_OBI if is_obi else _UCS).fullmatch(name) or not isinstance(sourced.value, str):
            raise RenderFailed(f"{name[:80]!r}, from scope {sourced.scope}, is not a Poly parameter")
        found[name] = sourced.value
    return found
