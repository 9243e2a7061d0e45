"""Capacity C is boots a second that this node's cores give: one word and one formula, c·u/S.

S, the cost of a boot, is given, measured by the running workers, or estimated. Whoever shows a capacity says which of
the three, and of when; the plan, the storm view and the metrics take it from here, so they show the same figure.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple, Self

from provisioner.settings import Settings

ENOUGH: Final = 200
"""Boots from which on their measured cost is trusted."""
RECENT: Final = 7 * 86_400.0
"""s for which a measurement goes before an estimate: what else runs on the cores changes from week to week."""
_FILE_COST: Final = 0.00035
"""CPU seconds a file (assumed)."""
_CONNECTION_COST: Final = 0.0005
"""CPU seconds of a connection beside its handshake (assumed)."""
CAUTION: Final = (
    "an estimate: other work on these cores, phones with a connection for each file and larger files make a boot"
    " dearer, and half or a third of it is no surprise. It is measured while phones boot, simulated ones too"
)

Totals = Mapping[tuple[str, str], float]
"""What the workers have counted, by name and labels."""


class Source(StrEnum):
    """How the cost of a boot is known."""

    GIVEN = "given"
    MEASURED = "measured"
    """From the CPU time of the running workers."""
    ESTIMATED = "estimated"
    """From handshakes tried on this machine, and assumptions."""


class Cores(NamedTuple):
    """What phones may use of this machine."""

    number: int
    utilization: float
    """Share of them (``storm.utilization``)."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the settings have it; more workers than cores only take turns."""
        return cls(min(settings.worker_count, os.cpu_count() or 1), settings.storm_utilization)


@dataclass(frozen=True, slots=True)
class Capacity:
    """Boots a second, and where the figure comes from."""

    boots: float
    how: Source
    why: str
    """The sum, what it was made from and when."""
    at: float = 0.0
    """Unix time of the newest boot, or trial, in it; 0 where that is not known."""
    counted: int = 0
    """Boots that it was measured with."""

    @property
    def caution(self) -> str:
        """How it may be wrong; empty where it is what was seen."""
        return CAUTION if self.how is Source.ESTIMATED else ""


def capacity_of(cores: float, utilization: float, boot_cost: float) -> float:
    """Boots a second of a node; ``boot_cost`` is CPU seconds a boot."""
    return cores * utilization / boot_cost


def given(boots: float) -> Capacity:
    """Somebody knows it."""
    return Capacity(boots, Source.GIVEN, "--capacity")


def given_cost(cores: Cores, boot_cost: float) -> Capacity:
    """Somebody knows what a boot costs."""
    return _of_cost(cores, boot_cost, Source.GIVEN, "--boot-cost")


def measured(cores: Cores, totals: Totals) -> Capacity | None:
    """Of the half seconds in which the running workers were busy with boots; None before there were enough of them."""
    boots, cpu = totals.get(("busy_boots_total", ""), 0.0), totals.get(("busy_cpu_seconds_total", ""), 0.0)
    if boots < ENOUGH or cpu <= 0:
        return None
    at = totals.get(("busy_timestamp_seconds", ""), 0.0)
    why = f"CPU of the running workers over {boots:,.0f} boots, the last one {moment(at)}"
    return _of_cost(cores, cpu / boots, Source.MEASURED, why, at, int(boots))


def is_recent(found: Capacity, now: float) -> bool:
    """Whether a measurement is to be preferred to an estimate; one of the future is of a clock that was wrong."""
    return 0 <= now - found.at <= RECENT


def why_not_measured(totals: Totals | None, old: Capacity | None) -> str:
    """What keeps a measurement from being used: no server, too few boots, or too long ago."""
    if totals is None:
        return "no server runs here that could have measured it"
    if old is not None:
        told = f"what the running workers measured, {old.boots:,.0f} boots/s, is from {moment(old.at)}"
        return f"{told}, which is not within the last 7 days"
    boots = totals.get(("busy_boots_total", ""), 0.0)
    return f"the running workers have served {boots:,.0f} boots at speed, and it takes {ENOUGH} to measure one"


def estimated(cores: Cores, handshake: float, files: int, at: float, because: str) -> Capacity:
    """Of a handshake that was tried ``at`` this moment, and of assumptions for the rest of a boot."""
    rest = _CONNECTION_COST + files * _FILE_COST
    why = (
        f"a handshake takes {handshake * 1000:.2f} ms of a core of this machine (RSA, TLS 1.2, tried {moment(at)}),"
        f" connection and {files} files (admission.files) are assumed to take {rest * 1000:.2f} ms more; {because}"
    )
    return _of_cost(cores, handshake + rest, Source.ESTIMATED, why, at)


def moment(at: float) -> str:
    """Unix time for people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else "at a time not known"


def _of_cost(cores: Cores, cost: float, how: Source, why: str, at: float = 0.0, counted: int = 0) -> Capacity:
    formula = f"{cores.number} cores x {cores.utilization:g} (storm.utilization) / {cost * 1000:.2f} ms a boot"
    return Capacity(capacity_of(*cores, cost), how, f"{formula}; {why}", at, counted)
