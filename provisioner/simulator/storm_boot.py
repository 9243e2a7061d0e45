"""One attempt of one phone: the whole sequence of its persona, and all that it got is compared with what is its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from provisioner.simulator.obi_walk import walk_obi
from provisioner.simulator.persona import Sequence
from provisioner.simulator.phone import Flash, Phone
from provisioner.simulator.poly_walk import walk_ucs
from provisioner.simulator.report import RegisteredLine, Step
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


class Bodies:
    """What the phones of this process got first, by name: so a file is seen to be wrong that names no line, too."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        """Hash of phone and name → the first 60 bits of the SHA-256; a storm has hundreds of thousands of them."""

    def changed(self, phone: StormPhone, steps: Iterable[Step]) -> bool:
        """Whether one of these files is not what the same phone got before."""
        found = False
        for step in steps:
            if step.method == "GET" and step.status == 200 and step.sha256 and not step.fault:
                digest = int(step.sha256[:15], 16)
                found |= self._seen.setdefault(hash((phone.mac, step.path)), digest) != digest
        return found


async def try_once(phone: StormPhone, plan: StormPlan, cards: Cards, bodies: Bodies) -> Tried:
    """Boot with an empty flash: every file is fetched, read and compared, also when the phone then gives up."""
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
        outcome = _outcome(phone, attempt, result)
    except GaveUp:
        foreign = any(_is_foreign(phone, line) for line in walk.lines_read())
        outcome = WRONG_BODY if foreign else attempt.failure or "no_answer"
    finally:
        await walk.close()
    if bodies.changed(phone, walk.steps):
        outcome = WRONG_BODY
    return Tried(outcome, tuple(attempt.statuses), attempt.retry_after)


def _outcome(phone: StormPhone, attempt: Attempt, result: Result) -> str:
    if any(_is_foreign(phone, line) for line in result.lines):
        return WRONG_BODY
    if result.refused_because:
        # A 404 is part of every boot; that there is nothing else is a refusal.
        refused = [one for one in attempt.statuses if one >= 400 and (one != 404 or 200 not in attempt.statuses)]
        return f"refused_{refused[-1]}" if refused else "unusable"
    if any(phone.secret and not line.secret for line in result.lines):
        return WRONG_BODY
    return BACK if result.lines else "no_line"


def _is_foreign(phone: StormPhone, line: RegisteredLine) -> bool:
    """Whether a line is not the phone's one own; a password may be in a file that has not come."""
    if not phone.auth_user:
        return False
    own = (line.number, line.auth_user) == (1, phone.auth_user)
    return not own or (bool(phone.secret and line.secret) and line.secret != phone.secret)
