"""One attempt of one phone: the whole sequence of its persona, and what it would register is compared."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from provisioner.simulator.obi_walk import walk_obi
from provisioner.simulator.persona import Sequence
from provisioner.simulator.phone import Flash, Phone
from provisioner.simulator.poly_walk import walk_ucs
from provisioner.simulator.storm_cards import Cards, persona_of
from provisioner.simulator.storm_plan import StormPhone, StormPlan
from provisioner.simulator.storm_wire import Attempt, StormWire
from provisioner.simulator.walk import GaveUp, Result, Walk
from provisioner.simulator.wire import Origin, TlsSeen
from provisioner.simulator.yealink_walk import walk_yealink

BACK: Final = "back"
WRONG_BODY: Final = "wrong_body"
_WALKS: Final[Mapping[Sequence, Callable[[Walk], Awaitable[Result]]]] = MappingProxyType(
    {Sequence.UCS: walk_ucs, Sequence.OBI: walk_obi, Sequence.YEALINK: walk_yealink}
)


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it."""

    outcome: str
    """``back``, or why not."""
    statuses: tuple[int, ...]
    retry_after: float


async def try_once(phone: StormPhone, plan: StormPlan, cards: Cards) -> Tried:
    """Boot with an empty flash: every file is fetched, read and compared."""
    attempt = Attempt(asyncio.get_running_loop().time() + plan.patience)

    def connect(origin: Origin) -> StormWire:
        address = plan.address or origin.host
        return StormWire(origin, address, phone, cards, attempt, connection_per_file=plan.connection_per_file)

    persona = persona_of(phone)
    # One attempt a file: who is not served comes back as a whole, after the plan's delay.
    played = Phone(persona=persona, mac=phone.mac, attempts=1, upload_log=plan.uploads)
    walk = Walk(played, plan.url, Flash(), TlsSeen(), connect)
    try:
        result = await _WALKS[persona.sequence](walk)
    except GaveUp:
        return Tried(attempt.failure or "no_answer", tuple(attempt.statuses), attempt.retry_after)
    finally:
        await walk.close()
    return Tried(_outcome(phone, attempt, result), tuple(attempt.statuses), attempt.retry_after)


def _outcome(phone: StormPhone, attempt: Attempt, result: Result) -> str:
    users = [line.auth_user for line in result.lines]
    if phone.auth_user and users and users[0] != phone.auth_user:
        return WRONG_BODY
    if result.refused_because:
        # A 404 is part of every boot; that there is nothing else is a refusal.
        refused = [one for one in attempt.statuses if one >= 400 and (one != 404 or 200 not in attempt.statuses)]
        return f"refused_{refused[-1]}" if refused else "unusable"
    return BACK if users else "no_line"
