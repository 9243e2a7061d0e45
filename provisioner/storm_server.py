"""What the server in a simulated storm says of itself: read from its metrics, as whoever scrapes them would."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Final

from provisioner.counters import totals
from provisioner.run_directory import RunDirectory
from provisioner.simulator.storm_report import ServerReport
from provisioner.store.crowds import WEIGHTS_AGE

LEARNT: Final = WEIGHTS_AGE + 10.0
"""s after a phone's boot until every worker knows where it lives: the count, the look whether one is due, the batch."""
_LOOK: Final = 1.0
"""s between two looks at the metrics, which take some ms."""
_TOLD: Final = 1.2
"""s until the workers have told of what has just been: two of their beats."""


class ServerSide:
    """The server that runs on this DATA, from now on."""

    def __init__(self, data: Path) -> None:
        self._metrics = RunDirectory(data).metrics
        self._before = _begun(self._read())
        self._zero = time.monotonic()
        self._next = -inf
        self._storm_mode: float | None = None

    def look(self, elapsed: float) -> None:
        """Whether it is in storm mode, and since when; ``elapsed`` is s since the power's return."""
        if elapsed < self._next:
            return
        self._next = elapsed + _LOOK
        self._zero = time.monotonic() - elapsed
        self._note(elapsed, self._read())

    def report(self) -> ServerReport:
        """What has been until now; waits a moment for what is not yet told."""
        time.sleep(_TOLD)
        now = self._read()
        self._note(time.monotonic() - self._zero, now)
        begun = {kind: number - self._before.get(kind, 0.0) for kind, number in _begun(now).items()}
        whole = sum(begun.values())
        return ServerReport(self._storm_mode, begun.get("known", 0.0) / whole if whole > 0 else None)

    def _note(self, elapsed: float, now: Mapping[tuple[str, str], float]) -> None:
        if now.get(("storm_mode", ""), 0.0) > 0:
            since = max(0.0, elapsed - now.get(("storm_seconds", ""), 0.0))
            self._storm_mode = since if self._storm_mode is None else min(since, self._storm_mode)

    def _read(self) -> Mapping[tuple[str, str], float]:
        try:
            return totals(self._metrics)
        except (OSError, ValueError):  # it is just being started or stopped
            return {}


def _begun(read: Mapping[tuple[str, str], float]) -> Mapping[str, float]:
    """Handshakes by how well their address was known."""
    return {kind: number for (name, kind), number in read.items() if name == "gate_begun_total"}
