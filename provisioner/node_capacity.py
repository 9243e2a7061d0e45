"""The capacity of this node as a command finds it: given, measured by the running workers lately, or estimated here."""

from __future__ import annotations

import time

from provisioner import capacity
from provisioner.capacity import Capacity, Cores, Totals
from provisioner.counters import totals
from provisioner.handshake_cost import handshake_cost
from provisioner.run_directory import RunDirectory, running_pid
from provisioner.settings import Settings


def capacity_here(configured: Settings, given: float | None = None, boot_cost: float | None = None) -> Capacity:
    """What was given, else what was measured within the last week, else an estimate from some handshakes.

    ``given`` in boots/s; ``boot_cost`` in s of CPU a boot, where that is known instead.
    """
    cores = Cores.of(configured)
    if given is not None:
        return capacity.given(given)
    if boot_cost is not None:
        return capacity.given_cost(cores, boot_cost)
    counted, now = _counted(configured), time.time()  # in this order: what was counted is not of the future
    found = None if counted is None else capacity.measured(cores, counted)
    if found is not None and capacity.is_recent(found, now):
        return found
    handshake = handshake_cost([configured.data / name for name in configured.tls_certificates])
    because = capacity.why_not_measured(counted, found)
    return capacity.estimated(cores, handshake, configured.admission_files, now, because)


def _counted(configured: Settings) -> Totals | None:
    """What the running workers have counted; None when no server runs here."""
    return totals(RunDirectory(configured.data).metrics) if running_pid(configured.data) else None
