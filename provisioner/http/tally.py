"""What became of each file that was asked for, and which answer completes a boot."""

from __future__ import annotations

from typing import Final

from provisioner.counters import BOOTS
from provisioner.model import Count, FileKind
from provisioner.visit import Visit

_ARRIVED: Final = frozenset({200, 304})


def tally(count: Count, visit: Visit, status: int) -> bool:
    """Count the file of the request just answered, if it got as far as being a known one; whether that was a boot.

    A device asks once a boot for the file that is its own configuration, so that one stands for the boot.
    """
    file, visit.file = visit.file, None
    if file is None:
        return False
    count("files", f"{file.vendor}_{file.kind}_{status}")
    boots = file.kind is FileKind.DEVICE and status in _ARRIVED
    if boots:
        count(BOOTS, file.vendor)
    return boots
