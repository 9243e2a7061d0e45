"""What a Yealink User-Agent claims: ``Yealink SIP-T46G 28.72.0.1 00:15:65:4a:a9:37`` and its many spellings.

The maker's name may be missing (W52P), joined by a dash (T46G of old) or lower-case; the third word is the Mac with or
without colons, or a hardware version, or missing where ``user_agent_mac`` is off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from provisioner.errors import Invalid
from provisioner.model import NO_CLAIM, AgentClaim, Mac, Model

_AGENT: Final = re.compile(
    r"(?P<maker>yealink[ -]+)?(?:SIP[ -]?)?(?:VP-)?(?P<token>\w[\w-]{1,20})"
    r"[ ]+(?P<firmware>[0-9]{1,5}(?:\.[0-9]{1,5}){2,4})(?:[ ]+(?P<rest>[0-9A-Fa-f:.]{1,40}))?[ ]*",
    re.IGNORECASE,
)
_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}(?::?[0-9A-Fa-f]{2}){5}")


def tokens(models: Mapping[str, Model]) -> dict[str, str]:
    """Upper-case token of a User-Agent -> the model's name."""
    return {token.upper(): model.name for model in models.values() for token in model.agents}


def claim(user_agent: str, known: Mapping[str, str]) -> AgentClaim:
    """The claim, or NO_CLAIM when the text is not a Yealink's: no maker's name and no known token."""
    found = _AGENT.fullmatch(user_agent) if len(user_agent) <= 128 else None
    if found is None:
        return NO_CLAIM
    model = known.get(found["token"].upper(), "")
    if not model and not found["maker"]:
        return NO_CLAIM
    return AgentClaim(model, found["firmware"], _mac(found["rest"] or ""))


def _mac(text: str) -> Mac | None:
    if not _MAC.fullmatch(text):
        return None
    try:
        return Mac.parse(text)
    except Invalid:  # all zeros
        return None
