"""How many devices there are, by vendor and state, for the admin edge: asked seldom, and never in a storm.

A census costs in proportion to the fleet, so the next one waits a hundred times as long as the last one took.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from provisioner.model import DeviceState
from provisioner.store.census import Group

_LEAST: Final = 10.0
"""s between two censuses."""
_SHARE: Final = 100
"""A census may take one part in so many of the time."""
_DAY: Final = 86400.0

Census = Callable[[float], Awaitable[Sequence[Group]]]
"""Count the fleet: all devices, and those active since a time."""
FLEET: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "devices": ("Devices by vendor and state", ("vendor", "state")),
    "devices_active": ("Devices that have fetched something within the last day", ("vendor", "state")),
    "census_seconds": ("What the last count of the devices took", ()),
}
"""Gauges that the admin process adds to those of the workers."""


class FleetState(Collector):
    """The last census; a Collector for the metrics."""

    def __init__(self, census: Census, clock: Callable[[], float] = time.monotonic) -> None:
        self._census = census
        self._clock = clock
        self._due = 0.0
        self._taken = False
        self._seconds = 0.0
        self.groups: Sequence[Group] = ()

    @property
    def size(self) -> int | None:
        """Devices that may come back after a power cut; None before they were counted."""
        alive = sum(one.devices for one in self.groups if one.state is not DeviceState.REVOKED)
        return alive if self._taken else None

    async def refresh(self, *, storm: bool) -> None:
        """Count again when it is time; in a storm the last figures stand."""
        if self._clock() < self._due or (storm and self._taken):
            return
        begun = self._clock()
        self._due = begun + _LEAST  # also when it fails
        self.groups = await self._census(time.time() - _DAY)
        self._seconds = self._clock() - begun
        self._taken, self._due = True, self._clock() + max(_LEAST, _SHARE * self._seconds)

    def collect(self) -> Iterable[Metric]:
        """For the exposition."""
        if not self._taken:
            return
        devices, active, cost = (
            GaugeMetricFamily(f"provisioner_{name}", text, labels=labels) for name, (text, labels) in FLEET.items()
        )
        for one in self.groups:
            devices.add_metric([one.vendor, one.state], one.devices)
            active.add_metric([one.vendor, one.state], one.active)
        cost.add_metric([], self._seconds)
        yield from (devices, active, cost)
