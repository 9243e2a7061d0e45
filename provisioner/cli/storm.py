"""`provisioner storm`: what a power cut does to this node, and what its phones are told beforehand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from provisioner.capacity import Capacity, Cores
from provisioner.cli.session import Nouns, session, with_fleet
from provisioner.errors import Invalid
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.shaping import Unshaped
from provisioner.model import DeviceState, Scope
from provisioner.neutral import SETTINGS
from provisioner.node_capacity import capacity_here
from provisioner.settings import Settings
from provisioner.shaping import Advice, Budget, Outage, Standing, advise, campaign_pace
from provisioner.terminal import Shown
from provisioner.vendors import drivers

_MOST = 1e9
"""Of any number that is given: beyond it figures are no help, and far beyond none at all."""


@click.group(cls=Nouns)
def storm() -> None:
    """Get ready for the minute in which the whole fleet comes back."""


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
@click.option("--apply", is_flag=True, help="Set the values, and take back what a smaller fleet needs no more.")
@click.option("--undo", is_flag=True, help="Take back all that --apply has set, whatever the fleet is now.")
@with_fleet
async def plan(
    fleet: Fleet,
    phones: int | None,
    spread: float,
    patience: float | None,
    capacity: float | None,
    boot_cost: float | None,
    apply: bool,
    undo: bool,
) -> object:
    """Capacity, the fleet that is safe, the timers that phones should have, and why.

    Without --apply nothing changes. With it the vendors' layers get the values; every phone has them with its next
    configuration, and uses them from the boot after that. A layer of a model, account, site or device that says
    otherwise still wins. --undo stands alone and puts the layers back as they were before the first --apply.
    """
    configured = session().settings()
    if capacity is not None and boot_cost is not None:
        raise click.UsageError("--capacity and --boot-cost say the same thing: give one of them")
    if undo:
        _require_alone("undo")
        return _undone(await fleet.unshape())
    known = capacity_here(configured, capacity, None if boot_cost is None else boot_cost / 1000)
    outage = Outage(phones or await _devices(fleet), known.boots, spread, patience or configured.gate_patience)
    budget = Budget(Cores.of(configured).number, configured.gate_rejections, configured.storm_campaign)
    advice = await _advice(fleet, configured, outage, budget)
    applied = await _apply(fleet, advice) if apply else []
    return Shown(_data(outage, known, budget, advice, applied), _text(outage, known, budget, advice, applied))


def _require_alone(option: str) -> None:
    """Wrong usage when any other option of this command was given: it would be without effect."""
    ctx = click.get_current_context()
    for one in ctx.command.params:
        name = one.name or ""
        given = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and name not in {option, "data", "as_json", "json"}:
            raise click.UsageError(f"--{option} takes back everything, so {one.opts[0]} has no meaning beside it")


async def _devices(fleet: Fleet) -> int:
    found = sum(one.devices for one in await fleet.census(0.0) if one.state is not DeviceState.REVOKED)
    if not found:
        raise Invalid("phones", "there are no devices yet: say with --phones how many are to come")
    return found


# --- what the phones are told ---------------------------------------------------------------------


async def _advice(fleet: Fleet, configured: Settings, outage: Outage, budget: Budget) -> list[Advice]:
    layers = {(one.scope, one.key): one.values for one in await fleet.layers()}
    built_in: Mapping[str, object] = {name: one.default for name, one in SETTINGS.items()}
    shared = {**built_in, **layers.get((Scope.DEFAULTS, ""), {})}
    shaped = await fleet.shaped()
    found: list[Advice] = []
    for driver in drivers(configured.data / "templates"):
        manifest = driver.manifest
        own = layers.get((Scope.VENDOR, manifest.name), {})
        before = {name: one.before for name, one in shaped.get(manifest.name, {}).items()}
        without = {name: value for name, value in {**own, **before}.items() if value is not None}
        found += advise(manifest, outage, budget, Standing({**shared, **own}, {**shared, **without}))
    return found


async def _apply(fleet: Fleet, advice: Sequence[Advice]) -> list[Advice]:
    """Set or take back what is new, all or nothing: one change of an administrator's, with its events."""
    new = [one for one in advice if one.is_new]
    wanted: dict[str, dict[str, object]] = {}
    for one in new:
        wanted.setdefault(one.vendor, {})[one.setting] = None if one.takes_back else one.value
    if wanted:
        await fleet.shape(wanted)
    return new


# --- shown ----------------------------------------------------------------------------------------


def _data(
    outage: Outage, known: Capacity, budget: Budget, advice: Sequence[Advice], applied: Sequence[Advice]
) -> Mapping[str, object]:
    return {
        "phones": outage.fleet,
        "spread_s": outage.spread,
        "patience_s": outage.patience,
        "capacity": {
            "boots_per_s": round(known.boots, 1),
            "how": known.how,
            "why": known.why,
            "at": round(known.at, 1) or None,
            "caution": known.caution,
        },
        "safe_fleet": int(outage.safe_fleet),
        "safe": outage.is_safe,
        "collapse_after_s": None if outage.collapse_after is None else round(outage.collapse_after, 1),
        "recovery_s": round(outage.recovery, 1),
        "window_s": math.ceil(outage.window),
        "campaign_per_s": round(campaign_pace(outage.capacity, budget.campaign), 1),
        "settings": [{**one._asdict(), "new": one.is_new, "taken_back": one.takes_back} for one in advice],
        "applied": [
            {"vendor": one.vendor, "setting": one.setting, "value": one.value, "taken_back": one.takes_back}
            for one in applied
        ],
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
    beware = [f"Capacity is {known.caution}."] if known.caution else []
    beware += _of_window(advice)
    return "\n".join((*_aligned(figures), *beware, "", *_aligned(rows), "", _end(advice, applied)))


def _of_window(advice: Sequence[Advice]) -> Iterator[str]:
    """A time over which nobody can be told to spread measures the trouble and is no remedy."""
    delays = [one for one in advice if one.setting == "storm.boot_delay"]
    if not any(one.taken_by for one in delays):
        yield (
            f"None of the {sum(one.models for one in delays)} models here can be told to wait after power-on "
            "(storm.boot_delay), so W is reached by no setting: it is how far apart to switch sites or PoE ports on "
            "by hand. What can be set is below."
        )


def _row(one: Advice) -> tuple[str, ...]:
    plan = "-" if one.value is None else f"{one.value}" + (" *" if one.is_new else "")
    why = f"{one.why}; what was applied is taken back" if one.takes_back else one.why
    return one.vendor, one.setting, str(one.current), plan, f"{one.taken_by}/{one.models}", why


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _end(advice: Sequence[Advice], applied: Sequence[Advice]) -> str:
    if applied:
        return f"{'; '.join(_done(applied))}. --undo takes back whatever is set."
    if any(one.is_new for one in advice):
        return "* would change; --apply does it in the vendors' layers, --undo takes it all back. Nothing was changed."
    return "Nothing to change."


def _done(applied: Sequence[Advice]) -> Iterator[str]:
    for word, back in (("applied", False), ("taken back", True)):
        if told := [f"{one.vendor} {one.setting}={one.value}" for one in applied if one.takes_back is back]:
            yield f"{word}: {', '.join(told)}"


def _undone(found: Sequence[Unshaped]) -> Shown:
    text = "\n".join(map(_undone_line, found)) or "No plan is applied: there is nothing to take back."
    return Shown({"undone": [one._asdict() for one in found]}, text)


def _undone_line(one: Unshaped) -> str:
    now = "no longer set" if one.now is None else f"{one.now}"
    if one.taken_back:
        return f"{one.vendor} {one.setting}: {now}, was {one.value}"
    return f"{one.vendor} {one.setting}: {now}; somebody has changed the plan's {one.value} since, so it stays"
