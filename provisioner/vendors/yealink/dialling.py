"""Emergency numbers first and untouched, then the dial rules, in the syntax of each firmware.

From firmware 81 on a digit map (RFC 3435 section 2.1.5 with ``<before:after>`` to replace digits); up to 80 lists of
replace and dial-now rules. Only forms that the administrator guides show are written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Final

from provisioner.errors import RenderFailed
from provisioner.neutral import DialRule, HostPort

_FIRST: Final = re.compile(r"\[([0-9-]+)\]|.")
_LONGEST_MAP: Final = 2048
"""Characters, the guides' own limit."""
_LONGEST_TIMER: Final = 14
"""Seconds; phone_setting.inter_digit_time takes 1 to 14 (inferred)."""


@lru_cache(maxsize=512)
def digit_map(rules: tuple[DialRule, ...], emergency: tuple[str, ...], timeout: int) -> dict[str, str]:
    """Firmware 81 and later. A number that matches nothing can still be sent, by key or after the pause."""
    found = {
        "phone_setting.emergency.number": ",".join(emergency),
        "phone_setting.inter_digit_time": str(min(timeout, _LONGEST_TIMER)),
        "dialplan.digitmap.enable": "1" if rules else "0",
        # A phone that waited for activation may have one.
        "dialplan.emergency.server.1.address": "",
    }
    # Numbers listed here go out whatever a digit map says (inferred from the guides' order of dial plans).
    found["dialplan.emergency.enable"] = "1" if emergency else "0"
    found |= {f"dialplan.emergency.{n}.value": number for n, number in enumerate(emergency, 1)}
    if rules:
        found |= _map(rules, emergency, timeout)
    return found


@lru_cache(maxsize=64)
def nothing_else(number: str, emergency: tuple[str, ...], rescue: HostPort) -> dict[str, str]:
    """Firmware 81 and later: this number and emergency numbers, which go to another server, and nothing else.

    All that is written here is written by ``digit_map`` too: phones keep what a later file does not name.
    """
    found = {
        "phone_setting.emergency.number": ",".join(emergency),
        "phone_setting.inter_digit_time": "1",
        "dialplan.digitmap.enable": "1",
        "dialplan.digitmap.string": "|".join((*emergency, number)),
        "dialplan.digitmap.no_match_action": "1",  # refused (inferred, beside 2 for sent by key or pause)
        "dialplan.digitmap.interdigit_short_timer": "1",
        "dialplan.digitmap.interdigit_long_timer": "2",
        "dialplan.emergency.enable": "1" if emergency else "0",
        "dialplan.emergency.server.1.address": rescue.host,
    }
    if emergency:
        found["dialplan.emergency.server.1.port"] = str(rescue.port or 5060)
        found["dialplan.emergency.server.1.transport_type"] = "0"
    return found | {f"dialplan.emergency.{place}.value": one for place, one in enumerate(emergency, 1)}


def _map(rules: Sequence[DialRule], emergency: Sequence[str], timeout: int) -> dict[str, str]:
    alternatives = dict.fromkeys(chain(emergency, *(_alternatives(rule) for rule in rules)))
    text = "|".join(alternatives)
    if len(text) > _LONGEST_MAP:
        raise RenderFailed(f"dialplan.rules become a digit map of {len(text)} characters; a phone takes {_LONGEST_MAP}")
    return {
        "dialplan.digitmap.string": text,
        "dialplan.digitmap.no_match_action": "2",
        # T must end sooner than the pause for an incomplete number, which the guides want greater.
        "dialplan.digitmap.interdigit_short_timer": str(max(1, min(3, timeout - 1))),
        "dialplan.digitmap.interdigit_long_timer": str(max(2, timeout)),
    }


def _alternatives(rule: DialRule) -> list[str]:
    """The rule once for each digit it may begin with, that digit replaced by the prefix and itself."""
    if not rule.prefix:
        return [rule.match]
    first = _FIRST.match(rule.match)
    assert first is not None  # a rule has at least one character
    rest = rule.match[first.end() :]
    return [f"<{digit}:{rule.prefix}{digit}>{rest}" for digit in _digits(first)]


def _digits(first: re.Match[str]) -> list[str]:
    if first[0] == "x":
        return list("0123456789")
    if first[1] is None:
        return [first[0]]
    parts = re.findall(r"([0-9])(?:-([0-9]))?", first[1])
    return [str(digit) for low, high in parts for digit in range(int(low), int(high or low) + 1)]


@lru_cache(maxsize=512)
def replace_rules(rules: tuple[DialRule, ...], emergency: tuple[str, ...], timeout: int) -> dict[str, str]:
    """Firmware up to 80. An emergency number is replaced by itself, so no later rule can lengthen it."""
    found = {
        "phone_setting.emergency.number": ",".join(emergency),
        "phone_setting.inter_digit_time": str(min(timeout, _LONGEST_TIMER)),
    }
    replaced = [(number, number) for number in emergency]
    replaced += [(f"({rule.match.rstrip('T')})", f"{rule.prefix}$1") for rule in rules if rule.prefix]
    for n, (prefix, number) in enumerate(replaced, 1):
        found[f"dialplan.replace.prefix.{n}"] = prefix
        found[f"dialplan.replace.replace.{n}"] = number
    # A final T waits for more digits, so such a rule is not dialled at once.
    for n, match in enumerate([*emergency, *(rule.match for rule in rules if not rule.match.endswith("T"))], 1):
        found[f"dialplan.dialnow.rule.{n}"] = match
    return found
