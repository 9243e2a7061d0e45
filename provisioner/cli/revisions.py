"""Mistakes taken back from the command line: what a layer or a line was, reverting it, and changes on their way.

A change that many phones get is asked about with their number and what some of them would get; a script says --yes.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Concatenate, Final, ParamSpec

import click

from provisioner.cli.session import MAC, Verb, acting, device_url, session, told_exchanged
from provisioner.desk import counted
from provisioner.effects import Effect, effect_of
from provisioner.errors import WideChange
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.revisions import Revisions
from provisioner.fleet.rollouts import Changed, Progress, Spot
from provisioner.installation import ca_file
from provisioner.model import ConfigLayer, Mac, Scope
from provisioner.preview import Masked, Preview, written
from provisioner.rehearsal import LayerChange
from provisioner.rollout_states import PARTS
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.layer_history import LayerRevision
from provisioner.store.line_history import LineRevision
from provisioner.store.rollouts import Rollout
from provisioner.terminal import Shown
from provisioner.vendor import VendorDriver
from provisioner.vendors import drivers

P = ParamSpec("P")

SCOPES: Final = [scope.value for scope in Scope if scope is not Scope.BUILT_IN]
SCOPE: Final = click.argument("scope", type=click.Choice(SCOPES))
YES: Final = click.option("--yes", is_flag=True, help="However many phones are concerned, ask nothing.")
CANARY: Final = click.option(
    "--canary", type=click.FloatRange(0, 100, min_open=True), metavar="PERCENT",
    help="Of the phones that get it first; 100 for all. Without it a few of many, all of few.",
)  # fmt: skip
_NAMED: Final = 20
"""Phones that are named, of those that a wide change is for."""
_SPOTS: Final = 20
"""Models at sites that are listed."""
_TOLD: Final = 3
"""Phones whose differences are printed."""


@dataclass(frozen=True, slots=True)
class LayersDesk:
    """What these commands work with."""

    layers: Revisions
    store: Store
    known: Mapping[str, VendorDriver]
    configured: Settings

    async def preview(self, mac: Mac) -> Preview:
        """What the device edge would make of the device now."""
        path = ca_file(self.configured.data)
        authority = path.read_text("ascii") if path.is_file() else ""
        return await Preview.load(self.store, self.known, mac, device_url(self.configured), self.configured, authority)

    async def confirmed(self, wanted: LayerChange, yes: bool) -> int:
        """How many phones it concerns, after asking where they are many; WideChange where nobody can be asked."""
        concerned = await self.layers.concerned(wanted.scope, wanted.key)
        phones = sum(one.phones for one in concerned)
        if yes or not self.layers.asks(phones):
            return phones
        effect = await effect_of(wanted, concerned, self.preview)
        if session().as_json:
            raise WideChange(f"{_summary(effect)}: say --yes if that is meant", phones=phones)
        click.echo("\n".join(await self._listed(wanted, phones)), err=True)
        if not sys.stdin.isatty():
            raise WideChange(f"{_summary(effect)}: say --yes if that is meant", phones=phones)
        click.echo(_described(effect), err=True)
        click.confirm(f"{_summary(effect)}. Do it?", abort=True, err=True)
        return phones

    async def _listed(self, wanted: LayerChange, phones: int) -> list[str]:
        """The phones, by site and model; some of them by name, the rest counted."""
        spots = await self.layers.spots(wanted.scope, wanted.key, limit=_NAMED)
        fleet = Fleet(self.store, self.known)
        names = await fleet.names({one.account for one in spots} | {one.site for one in spots})
        lines = []
        for one in spots[:_SPOTS]:
            place = " / ".join(names.get(each, each) for each in (one.account, one.site) if each)
            lines.append(f"{place}: {one.phones} x {one.model}{_some(one)}")
        if left := phones - sum(one.phones for one in spots[:_SPOTS]):
            lines.append(f"and {counted(left, 'phone')} elsewhere")
        return lines


def _some(one: Spot) -> str:
    """Those of them that are named."""
    if not one.first:
        return ""
    left = one.phones - len(one.first)
    return f": {', '.join(mac.colons for mac in one.first)}{f' and {left} more' if left else ''}"


@asynccontextmanager
async def open_layers() -> AsyncIterator[LayersDesk]:
    """The use-cases over this installation's store, in the name of whoever is logged in."""
    configured = session().settings()
    known = {one.manifest.name: one for one in drivers(configured.data / "templates")}
    async with Store.of(configured) as store:
        yield LayersDesk(Revisions(store, known, configured, actor=acting()), store, known, configured)


def with_layers(function: Callable[Concatenate[LayersDesk, P], Awaitable[object]]) -> Callable[P, object]:
    """Let a coroutine that takes them be a command."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> object:
        async def call() -> object:
            async with open_layers() as desk:
                return await function(desk, *args, **kwargs)

        return asyncio.run(call())

    return command


def _summary(effect: Effect) -> str:
    looked, different = len(effect.looked), len(effect.different)
    return f"this concerns {effect.phones} phones; of {looked} that were looked at {different} would get other files"


def _described(effect: Effect) -> str:
    lines = [f"{one.vendor} {one.model}: {one.phones} phones, {one.different} of {len(one.looked)} looked at differ"
             for one in effect.models]  # fmt: skip
    for one in effect.different[:_TOLD]:
        lines += ["", f"{one.mac.colons} {one.model}", *([one.fault] if one.fault else [])]
        lines += [file.diff.rstrip("\n") for file in one.files]
    return "\n".join([*lines, ""])


def told(found: Changed) -> list[str]:
    """How a change reaches its phones, for people."""
    if not found.told:
        return []
    more = f" (rollout {found.rollout.id}; `provisioner layer rollouts` says how far it is)" if found.rollout else ""
    return [f"revision {found.revision}: {found.told}{more}"]


# --- layers ---------------------------------------------------------------------------------------


@click.command("history", cls=Verb)
@SCOPE
@click.argument("key", default="")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, metavar="N", help="So many changes.")
@with_layers
async def layer_history(desk: LayersDesk, scope: str, key: str, limit: int) -> object:
    """What each change of a layer was, the newest first, secrets masked."""
    found = await desk.layers.layer_revisions(Scope(scope), key, limit=limit)
    return Shown([_revision(one) for one in found], rows=[row for one in found for row in _rows(one)])


def _revision(one: LayerRevision) -> dict[str, object]:
    about = {name: getattr(one, name) for name in ("revision", "at", "actor", "reverts")}
    return {**about, "scope": one.scope.value, "key": one.key, "before": _said(one.was), "after": _said(one.now)}


def _said(layer: ConfigLayer) -> dict[str, object]:
    masked = Masked()
    return {name: masked.value(name, value) for name, value in {**layer.values, **layer.raw}.items()}


def _rows(one: LayerRevision) -> list[dict[str, object]]:
    was, now = _said(one.was), _said(one.now)
    return [
        {"revision": one.revision, "at": one.at, "actor": one.actor, "name": name,
         "before": written(was[name]) if name in was else "", "after": written(now[name]) if name in now else ""}
        for name in one.names
    ]  # fmt: skip


@click.command("revert", cls=Verb)
@SCOPE
@click.argument("words", nargs=-1, metavar="[KEY] REVISION")
@YES
@CANARY
@with_layers
async def layer_revert(desk: LayersDesk, scope: str, words: Sequence[str], yes: bool, canary: float | None) -> object:
    """Take one change of a layer back: what it set says again what it said before. The layer's others stay.

    A change that is being rolled out is taken back at once; otherwise all phones get it, told in waves, where they are
    many.
    """
    key, revision = _place(scope, words)
    place = Scope(scope)
    running = await desk.layers.rollout_of(place, key)
    confirm = None
    if running is None or running.rollout.revision != revision or running.rollout.share >= PARTS:
        confirm = await desk.confirmed(await desk.layers.rehearse_revert(place, key, revision), yes)
    found = await desk.layers.revert_layer(place, key, revision, confirm=confirm, canary=canary)
    text = [f"revision {revision} is taken back, as revision {found.revision}", *told(found)]
    data = {"revision": found.revision, "reverted": revision, "phones": found.phones, "rollout": _flat(found.rollout),
            "told": found.told}  # fmt: skip
    return Shown(data, "\n".join(text))


def _place(scope: str, words: Sequence[str]) -> tuple[str, int]:
    """The defaults have no key; everything else has."""
    *keys, number = words or [""]
    if not (number.isascii() and number.isdecimal()) or len(keys) != (0 if scope == Scope.DEFAULTS else 1):
        raise click.UsageError(
            "give the KEY (not for defaults) and the REVISION that `provisioner layer history` tells"
        )
    return "".join(keys), int(number)


# --- changes on their way -------------------------------------------------------------------------


@click.command("rollouts", cls=Verb)
@click.option("--all", "everything", is_flag=True, help="Those that are over, too.")
@with_layers
async def layer_rollouts(desk: LayersDesk, everything: bool) -> object:
    """Changes that reach many phones step by step, and how far they are."""
    found = await desk.layers.rollouts(under_way=not everything)
    known = [await desk.layers.rollout(one.id) for one in found]
    return Shown([_progress(one) for one in known], columns=_COLUMNS)


_COLUMNS: Final = (
    "id", "scope", "key", "revision", "state", "step", "reached", "phones", "back", "waiting", "silent",
    "elsewhere", "missing", "why",
)  # fmt: skip


def _flat(one: Rollout | None) -> dict[str, object] | None:
    if one is None:
        return None
    return {**asdict(one), "scope": one.scope.value, "state": one.state.value, "percent": round(one.percent, 2)}


def _progress(one: Progress) -> dict[str, object]:
    return {**(_flat(one.rollout) or {}), "reached": one.reached, **asdict(one.tally)}


@click.command("promote", cls=Verb)
@click.argument("rollout")
@click.option("--everybody", is_flag=True, help="All phones now, instead of the next step.")
@with_layers
async def layer_promote(desk: LayersDesk, rollout: str, everybody: bool) -> object:
    """Let a change go a step further now, or to all phones; one that was halted goes on."""
    found = await desk.layers.promote_rollout(rollout, everybody=everybody)
    reached = (await desk.layers.rollout(found.id)).reached
    return Shown(_flat(found), f"{reached} of {found.phones} phones get revision {found.revision} now")


@click.command("halt", cls=Verb)
@click.argument("rollout")
@with_layers
async def layer_halt(desk: LayersDesk, rollout: str) -> object:
    """Give a change to no further phone; who has it keeps it until it is reverted."""
    found = await desk.layers.halt_rollout(rollout)
    return Shown(_flat(found), f"no further phone gets revision {found.revision}")


REVERTING: Final = (layer_history, layer_revert, layer_rollouts, layer_promote, layer_halt)
"""Words of `provisioner layer`."""

# --- lines ----------------------------------------------------------------------------------------


@click.command("line-history", cls=Verb)
@click.argument("mac", type=MAC)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, metavar="N", help="So many changes.")
@with_layers
async def device_line_history(desk: LayersDesk, mac: Mac, limit: int) -> object:
    """What each change of a device's lines was, the newest first."""
    found = await desk.layers.line_revisions(mac, limit=limit)
    return Shown(found, rows=[_line(one) for one in found])


def _line(one: LineRevision) -> dict[str, object]:
    before, after = (on.number if on else "" for on in (one.was, one.now))
    return {"revision": one.revision, "at": one.at, "actor": one.actor, "line": one.line, "before": before,
            "after": after}  # fmt: skip


@click.command("revert", cls=Verb)
@click.argument("mac", type=MAC)
@click.argument("revision", type=click.IntRange(1))
@with_layers
async def device_revert(desk: LayersDesk, mac: Mac, revision: int) -> object:
    """Put back what a change has taken off a device's lines or put on them, and what hangs on that.

    An extension that the change has moved from another phone goes back there. The phones are told to fetch.
    """
    found = await desk.layers.revert_lines(mac, revision)
    lines = [f"line {one.line} of {one.mac.colons}: {one.was.number if one.was else 'free'}" for one in found.lines]
    text = [f"revision {revision} is taken back", *lines, *told_exchanged(found.exchanged)]
    if found.campaign:
        text.append(f"resync {found.campaign}: `provisioner resync --status` says how far it is")
    return Shown(found, "\n".join(text))


LINES: Final = (device_line_history, device_revert)
"""Words of `provisioner device`."""
