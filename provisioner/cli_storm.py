"""`provisioner storm`: what a power cut does to this node, and what its phones are told beforehand."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from provisioner.cli_output import Shown
from provisioner.cli_session import Nouns, session, with_fleet
from provisioner.counters import totals
from provisioner.errors import Invalid
from provisioner.fleet import Fleet
from provisioner.handshake_cost import handshake_cost
from provisioner.model import DeviceState, Scope
from provisioner.neutral import SETTINGS
from provisioner.run_directory import RunDirectory, running_pid
from provisioner.settings import Settings
from provisioner.shaping import Advice, Budget, Outage, advise, campaign_pace, capacity_of
from provisioner.vendors import drivers

_ENOUGH = 200
"""Boots from which on the measured cost of one is trusted."""
_FILES = 5
_FILE_COST = 0.00035
"""CPU seconds a file (assumed)."""
_ACCEPT_COST = 0.0005
"""CPU seconds of a connection beside its handshake (assumed)."""

_MOST = 1e9
"""Of any number that is given: beyond it figures are no help, and far beyond none at all."""


@click.group(cls=Nouns)
def storm() -> None:
    """Get ready for the minute in which the whole fleet comes back."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Boots a second of this node, and how that is known: given, measured or estimated."""

    boots: float
    how: str
    why: str


class _Number(click.FloatRange):
    """More than nothing, and no more than can be reckoned with; nan is in no range."""

    def __init__(self, least: float) -> None:
        super().__init__(least, _MOST)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As click has it, without what is not a number."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


@storm.command("plan")
@click.option(
    "--phones", type=click.IntRange(1, int(_MOST)), metavar="N", help="How many come back.  [default: all devices]"
)
@click.option("--spread", type=_Number(0.1), default=60.0, show_default=True, metavar="S",
              help="Seconds between the first and the last that has started.")  # fmt: skip
@click.option("--patience", type=_Number(0.1), metavar="S", help="How long one waits.  [default: gate.patience]")
@click.option("--capacity", type=_Number(0.01), metavar="C", help="Boots a second, where you know better.")
@click.option("--boot-cost", type=_Number(0.001), metavar="MS", help="CPU of one boot in ms, instead.")
@click.option("--apply", is_flag=True, help="Set the values in the vendors' layers.")
@with_fleet
async def plan(
    fleet: Fleet,
    phones: int | None,
    spread: float,
    patience: float | None,
    capacity: float | None,
    boot_cost: float | None,
    apply: bool,
) -> object:
    """Capacity, the fleet that is safe, the timers that phones should have, and why.

    Without --apply nothing changes. With it every phone gets the values with its next configuration, and uses them
    from the boot after that. A layer of a model, account, site or device that says otherwise still wins.
    """
    configured = session().settings()
    if capacity is not None and boot_cost is not None:
        raise click.UsageError("--capacity and --boot-cost say the same thing: give one of them")
    known = _capacity(configured, capacity, boot_cost)
    outage = Outage(phones or await _devices(fleet), known.boots, spread, patience or configured.gate_patience)
    budget = Budget(_cores(configured), configured.gate_rejections, configured.storm_campaign)
    advice = await _advice(fleet, configured, outage, budget)
    applied = await _apply(fleet, advice) if apply else []
    return Shown(_data(outage, known, budget, advice, applied), _text(outage, known, budget, advice, applied))


async def _devices(fleet: Fleet) -> int:
    found = sum(one.devices for one in await fleet.census(0.0) if one.state is not DeviceState.REVOKED)
    if not found:
        raise Invalid("phones", "there are no devices yet: say with --phones how many are to come")
    return found


# --- capacity -------------------------------------------------------------------------------------


def _cores(configured: Settings) -> int:
    return min(configured.worker_count, os.cpu_count() or 1)


def _capacity(configured: Settings, capacity: float | None, boot_cost: float | None) -> Capacity:
    """What was given, else what the running server has measured, else an estimate from a second of handshakes."""
    if capacity is not None:
        return Capacity(capacity, "given", "--capacity")
    if boot_cost is not None:
        return _of_cost(configured, boot_cost / 1000, "given", "--boot-cost")
    if (measured := _measured(configured)) is not None:
        return measured
    handshake = handshake_cost([configured.data / name for name in configured.tls_certificates])
    cost = handshake + _ACCEPT_COST + _FILES * _FILE_COST
    why = (
        f"no server that runs here has served {_ENOUGH} boots at speed. A handshake takes {handshake * 1000:.2f} ms "
        f"of this machine (RSA, TLS 1.2, measured now); connection and {_FILES} files are assumed to take "
        f"{(cost - handshake) * 1000:.2f} ms more"
    )
    return _of_cost(configured, cost, "estimated", why)


def _measured(configured: Settings) -> Capacity | None:
    """The cost of a boot in the half seconds in which the running server was busy with boots."""
    if not running_pid(configured.data):
        return None
    found = totals(RunDirectory(configured.data).metrics)
    boots, cpu = found.get(("busy_boots_total", ""), 0.0), found.get(("busy_cpu_seconds_total", ""), 0.0)
    if boots < _ENOUGH or cpu <= 0:
        return None
    return _of_cost(configured, cpu / boots, "measured", f"the running server's CPU over {boots:,.0f} boots")


def _of_cost(configured: Settings, cost: float, how: str, why: str) -> Capacity:
    cores, share = _cores(configured), configured.storm_utilization
    formula = f"{cores} cores x {share:g} (storm.utilization) / {cost * 1000:.2f} ms"
    return Capacity(capacity_of(cores, share, cost), how, f"{formula}; {why}")


# --- what the phones are told ---------------------------------------------------------------------


async def _advice(fleet: Fleet, configured: Settings, outage: Outage, budget: Budget) -> list[Advice]:
    layers = {(one.scope, one.key): one.values for one in await fleet.layers()}
    built_in: Mapping[str, object] = {name: one.default for name, one in SETTINGS.items()}
    shared = {**built_in, **layers.get((Scope.DEFAULTS, ""), {})}
    found: list[Advice] = []
    for driver in drivers(configured.data / "templates"):
        manifest = driver.manifest
        found += advise(manifest, outage, budget, {**shared, **layers.get((Scope.VENDOR, manifest.name), {})})
    return found


async def _apply(fleet: Fleet, advice: Sequence[Advice]) -> list[Advice]:
    """Set what is new, a vendor at a time; each is one change of an administrator's, with its event."""
    new = [one for one in advice if one.is_new]
    for vendor in dict.fromkeys(one.vendor for one in new):
        values = {one.setting: one.value for one in new if one.vendor == vendor}
        await fleet.set_layer(Scope.VENDOR, vendor, values)
    return new


# --- shown ----------------------------------------------------------------------------------------


def _data(
    outage: Outage, known: Capacity, budget: Budget, advice: Sequence[Advice], applied: Sequence[Advice]
) -> Mapping[str, object]:
    return {
        "phones": outage.fleet,
        "spread_s": outage.spread,
        "patience_s": outage.patience,
        "capacity": {"boots_per_s": round(known.boots, 1), "how": known.how, "why": known.why},
        "safe_fleet": int(outage.safe_fleet),
        "safe": outage.is_safe,
        "collapse_after_s": None if outage.collapse_after is None else round(outage.collapse_after, 1),
        "recovery_s": round(outage.recovery, 1),
        "window_s": math.ceil(outage.window),
        "campaign_per_s": round(campaign_pace(outage.capacity, budget.campaign), 1),
        "settings": [{**one._asdict(), "new": one.is_new} for one in advice],
        "applied": [{"vendor": one.vendor, "setting": one.setting, "value": one.value} for one in applied],
    }


def _text(outage: Outage, known: Capacity, budget: Budget, advice: Sequence[Advice], applied: Sequence[Advice]) -> str:
    after = outage.collapse_after
    collapse = (
        ("never", "the fleet is safe")
        if after is None
        else (f"{after:.1f} s", "of a first-come queue, which the gate prevents")
    )
    figures = [
        ("capacity C", f"{known.boots:,.0f} boots/s", f"{known.how}: {known.why}"),
        (
            "phones N",
            f"{outage.fleet:,}",
            f"back within J = {outage.spread:g} s, each waits Tc = {outage.patience:g} s",
        ),
        ("safe fleet", f"{int(outage.safe_fleet):,}", "C·(J+Tc): so many need no protection at all"),
        ("collapse after", *collapse),
        ("all are back in", f"{outage.recovery:,.0f} s", "max(J, N/C), at best"),
        ("shaping window", f"{math.ceil(outage.window):,} s", "W = 1.2·N/C"),
        (
            "own campaigns",
            f"{campaign_pace(outage.capacity, budget.campaign):,.1f} /s",
            f"{budget.campaign:g}·C (storm.campaign)",
        ),
    ]
    rows = [("vendor", "setting", "now", "plan", "models", "why"), *map(_row, advice)]
    return "\n".join((*_aligned(figures), "", *_aligned(rows), "", _end(advice, applied)))


def _row(one: Advice) -> tuple[str, ...]:
    plan = "-" if one.value is None else f"{one.value}" + (" *" if one.is_new else "")
    return one.vendor, one.setting, str(one.current), plan, f"{one.taken_by}/{one.models}", one.why


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _end(advice: Sequence[Advice], applied: Sequence[Advice]) -> str:
    if applied:
        return f"applied: {', '.join(f'{one.vendor} {one.setting}={one.value}' for one in applied)}"
    if any(one.is_new for one in advice):
        return "* would change; --apply sets it in the vendor's layer. Nothing was changed."
    return "Nothing to change."
