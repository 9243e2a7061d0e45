"""Housekeeping of activation: expired codes lose their digits, and what says nothing any more is removed.

Nothing depends on it: whoever looks at a code or a budget reckons with the clock. It keeps the tables small, and it
keeps no digits longer than they are good for.
"""

from __future__ import annotations

import time
from typing import Final

from provisioner.codes import ActivationCode
from provisioner.model import Event
from provisioner.settings import Settings
from provisioner.store.budgets import forget_budgets
from provisioner.store.codes import expire_codes, forget_codes
from provisioner.store.database import Store
from provisioner.store.journal import write_events

_DAY: Final = 86_400.0
"""s"""


async def sweep(store: Store, settings: Settings, now: float | None = None) -> int:
    """Write down what expired, and forget what has been over for long; how many codes expired."""
    at = time.time() if now is None else now
    async with store.writing() as connection:
        found = await expire_codes(connection, at)
        await write_events(connection, [_expired(one, at) for one in found], audit=True)
        await forget_codes(connection, at - settings.activation_keep * _DAY)
    async with store.writing() as connection:  # another one: attempts and issued codes wait for these rows, not both
        await forget_budgets(connection, at, settings.activation_lock_most)
    return len(found)


def _expired(one: ActivationCode, at: float) -> Event:
    told = {"activation": one.id, "extension": one.extension, "number": one.number}
    return Event("code_expired", at, one.mac, actor="server", details=told)
