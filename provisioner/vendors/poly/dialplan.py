"""Digit maps: emergency numbers stand first, bare, so that nothing waits for them or changes them.

UC Software and OBi share the MGCP digit map of RFC 3435 section 2.1.5 and differ in how a prefix is written.
"""

from __future__ import annotations

from provisioner.neutral import DialRule

_ANY = ("*x.T", "x.T")
"""What no rule names may still be dialled, after the pause; a map that ends before it would cut numbers short."""


def ucs_map(emergency: tuple[str, ...], rules: tuple[DialRule, ...]) -> str:
    """``112|911|RR0Rxxxx|*x.T|x.T``: ``RR0R`` puts 0 before what follows."""
    patterns = [f"RR{rule.prefix}R{_more(rule.match)}" if rule.prefix else _more(rule.match) for rule in rules]
    return "|".join([*emergency, *patterns, *_ANY])


def ucs_only(numbers: tuple[str, ...]) -> str:
    """``112|2288``: whatever else is keyed in fits nowhere."""
    return "|".join(numbers)


def ucs_pauses(digit_map: str, seconds: int) -> str:
    """One pause for each alternative of the map, in its order."""
    return "|".join([str(seconds)] * (digit_map.count("|") + 1))


def obi_map(emergency: tuple[str, ...], rules: tuple[DialRule, ...], seconds: int) -> str:
    """``(112|911|<0>xxxx|*x.S4|x.S4)``: ``<0>`` is put before what follows, ``S4`` is a pause of four seconds."""
    patterns = [(f"<{rule.prefix}>" if rule.prefix else "") + _more(rule.match) for rule in rules]
    timed = [one[:-1] + f"S{seconds}" if one.endswith("T") else one for one in [*patterns, *_ANY]]
    return f"({'|'.join([*emergency, *timed])})"


def obi_only(numbers: tuple[str, ...]) -> str:
    """``(112|2288)``: whatever else is keyed in fits nowhere."""
    return f"({'|'.join(numbers)})"


def _more(match: str) -> str:
    """The dot repeats what stands before it, here always any digit: ``0.`` becomes ``0x.``."""
    body, timer = (match[:-1], "T") if match.endswith("T") else (match, "")
    if body.endswith(".") and not body.endswith("x."):
        body = body[:-1] + "x."
    return body + timer
