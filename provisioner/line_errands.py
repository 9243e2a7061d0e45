"""When a line changes, the phones concerned are asked to fetch again, in the transaction that changes it.

So neither is kept without the other, whatever is killed. Who has never been served anything is left out: it fetches
when it is plugged in. When each one's turn comes is decided by whoever tells phones (``resync_errands``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from provisioner.model import DeviceState, Mac
from provisioner.neutral import POLL_PERIOD
from provisioner.store import devices, line_turns, resync
from provisioner.store.database import Change
from provisioner.store.line_turns import APART, UNPLANNED
from provisioner.store.resync import Request
from provisioner.vendor import VendorDriver

LINES: Final = "lines"
"""The campaign of all devices whose lines an administrator has changed."""
SETTLE: Final = 2.0
"""s without a further change of its lines before a phone is told; by then all workers serve what it shall fetch."""
_WAITS: Final = 86_400.0
"""s; a phone that waits for activation is offered it once an hour or more often, and that is on record."""
_NIGHT: Final = 86_400.0
"""s: the longest that a phone waits beside its poll period for the window in which it asks."""


async def have_fetch(
    change: Change,
    drivers: Mapping[str, VendorDriver],
    macs: Iterable[Mac],
    campaign: str = LINES,
    *,
    restart: bool = False,
) -> list[Mac]:
    """Ask for each of them once; those that will be told, or come by themselves where nobody can tell them.

    ``restart``: so that nothing of before goes on in their memory.
    """
    found = [await _request(change, drivers, mac, restart=restart) for mac in dict.fromkeys(macs)]
    requests = [one for one in found if one is not None]
    await resync.ask(change.connection, campaign, requests, change.at)
    return [one.mac for one in requests]


async def _request(change: Change, drivers: Mapping[str, VendorDriver], mac: Mac, *, restart: bool) -> Request | None:
    """None for whom there is nothing to tell, or nobody to tell: revoked, of a model unknown, never been here."""
    device = await devices.find_device(change.connection, mac)
    driver = drivers.get(device.vendor) if device else None
    model = driver.manifest.models.get(device.model) if driver and device else None
    if device is None or driver is None or model is None or device.state is DeviceState.REVOKED:
        return None
    if not await line_turns.has_been_served(change.connection, mac, change.at - _WAITS):
        return None
    # One that waits for activation is in nobody's use, so it restarts as after a code; others only where they have to.
    event = driver.resync_event(model, restart or not await line_turns.runs_lines(change.connection, mac))
    patience = float(POLL_PERIOD.default) + _NIGHT
    runs = " ".join([f"{user}/{number}" for user, number in await resync.lines(change.connection, mac)])
    return Request(
        mac, event, change.revision, change.at + SETTLE, wave=APART, patience=patience, lease=UNPLANNED, runs=runs
    )
