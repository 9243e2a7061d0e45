"""The demonstration's last scene: a phone that is nobody's calls the prompts, keys its code, and boots as its owner's.

Rule: as with every boot, what the phone tells and what the server has written down are read apart and compared.
"""

from __future__ import annotations

from typing import Final

from provisioner.activation.codes import Codes
from provisioner.codes import CodeState
from provisioner.demo.cast import ACCOUNT, Part
from provisioner.fleet.fleet import Fleet
from provisioner.simulator import Phone
from provisioner.simulator.caller import call_in
from provisioner.simulator.caller_call import Manner
from provisioner.simulator.caller_story import CallStory

_RECENT: Final = 50
"""Events looked through for the one that is meant."""
_WRITTEN: Final = ("activation_offered", "device_activated", "resync_told")
"""What the server writes down of an activation, from the first boot to the NOTIFY."""


async def activate(codes: Codes, part: Part, phone: Phone, url: str) -> CallStory:
    """Its whole way; somebody who knows the prompts keys at once, and hangs up as soon as the last key is answered."""
    code = await _code_for(codes, part)
    return await call_in(phone, url, Manner(keys=code, barge_in=True, hang_up_after_success=True, most=30.0, wait=20.0))


async def _code_for(codes: Codes, part: Part) -> str:
    """Digits for that phone and no other; those of a demonstration that was broken off are taken back."""
    for one in await codes.codes(account=ACCOUNT):
        if one.number == part.number and one.state in {CodeState.ISSUED, CodeState.LOCKED}:
            await codes.revoke(part.number, account=ACCOUNT)
    return (await codes.issue(part.number, account=ACCOUNT, mac=part.mac, replace=True)).code


async def is_written(fleet: Fleet, part: Part, since: float) -> bool:
    """Whether the server has written down that it offered activation, bound the phone and told it to fetch."""
    for kind in _WRITTEN:
        found = await fleet.events(limit=_RECENT, kind=kind, mac=part.mac)
        if not any(one.at >= since and one.severity == "info" for one in found):
            return False
    return True
