"""What is kept about a device belongs to the account that it is of: it goes when the device comes to another one.

What the device itself is stays: its Mac, model and firmware, the key that it is pinned to and its certificate. What
administrators did to it stands in the audit log, with the account that they did it in.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Table, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import Conflict
from provisioner.model import Mac, Scope
from provisioner.store import layer_history, power_cycles, rollouts, schema
from provisioner.store.hook_queue import UNBOUND

_D: Final = schema.device.c
_FREE: Final = {UNBOUND: True}
"""Whose device it was is asked before; what it leaves is dropped whole, however far whoever moves it can see."""
_CLOSED: Final[dict[str, Any]] = {"allow_token": False, "allow_digest": False, "digest_secret": None}
_STAYS: Final = frozenset({"device", "pin", "leaf", "event", "activation_code", "power_cycle"})
"""Tables of devices whose rows are the device itself, or say themselves whose they are; of all others they go, so that
a table which is added later is none that is forgotten here."""


async def was_served(connection: AsyncConnection, mac: Mac) -> bool:
    """Whether it has ever got a configuration."""
    served = (await connection.execute(select(_D.served).where(_D.mac == mac))).scalar_one_or_none()
    return served is not None


async def forget_former(connection: AsyncConnection, mac: Mac) -> None:
    """Settings of its own, what it has sent and fetched, who was on its lines, what it has done and where it was, and
    how else it gets in; nobody is on its lines any more when this is asked for. Conflict while its port may be off:
    the row of its power cycle is all that is known of how power comes back.
    """
    if (busy := await power_cycles.open_of(connection, mac=mac)) is not None:
        raise Conflict(f"power cycle {busy.id} of {mac.colons} has not ended: wait for it")
    for table in schema.metadata.sorted_tables:
        if "mac" in table.c and table.name not in _STAYS:
            await _drop(connection, table, table.c.mac == mac)
    layer, event = schema.layer.c, schema.event.c
    await _drop(connection, schema.layer, layer.scope == Scope.DEVICE.value, layer.key == mac)
    await layer_history.forget(connection, Scope.DEVICE, mac)
    await rollouts.forget(connection, Scope.DEVICE, mac)
    await _drop(connection, schema.event, event.mac == mac, event.audit.is_(False))
    values = {**_CLOSED, "replaced_by": ""}
    await connection.execute(update(schema.device).where(_D.mac == mac).values(values).execution_options(**_FREE))


async def _drop(connection: AsyncConnection, table: Table, *which: ColumnElement[bool]) -> None:
    await connection.execute(delete(table).where(*which).execution_options(**_FREE))
