"""Resync on the command line: who shall fetch again, when each one's turn is, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import click

from provisioner.ami import Ami
from provisioner.capacity import Capacity, given
from provisioner.cli.session import MAC, OK, REFUSED, Verb, acting, device_url, session
from provisioner.model import ListenerKind, Mac
from provisioner.node_capacity import capacity_here
from provisioner.resync.compare import Verdict
from provisioner.resync.errands import Errands
from provisioner.resync.pbx import Pbx, ami_of
from provisioner.resync.resync import BaseUrls, Draft, Resync, Whom
from provisioner.resync_states import UNDER_WAY, Standing, State, span
from provisioner.run_directory import read_addresses, running_pid
from provisioner.settings import Settings
from provisioner.shaping import campaign_pace
from provisioner.store.database import Store
from provisioner.terminal import Shown, moment
from provisioner.vendor import VendorDriver
from provisioner.vendors import drivers

_TICK: Final = 0.5
"""s between two looks while somebody waits."""
_ALONE: Final = 1.0
"""Boots a second: one phone needs no measured capacity."""
_ARRIVED: Final = frozenset({State.FETCHED, State.REGISTERED})


@dataclass(frozen=True, slots=True)
class _Desk:
    """What the command works with."""

    configured: Settings
    store: Store
    known: Mapping[str, VendorDriver]

    @property
    def resync(self) -> Resync:
        return Resync(self.store, self.known, self.configured, actor=acting())

    @property
    def errands(self) -> Errands:
        return Errands(self.store, self.known, self.configured)


@click.command("resync", cls=Verb)
@click.argument("mac", type=MAC, required=False)
@click.option("--account", default="", metavar="ACCOUNT", help="All phones of this account (name or id).")
@click.option("--changed", is_flag=True, help="Only phones that would get other files than they have.")
@click.option("--reboot", is_flag=True, help="Restart them, where the model knows the difference.")
@click.option("--dry-run", is_flag=True, help="Say who would be told and when; tell nobody.")
@click.option("--capacity", type=click.FloatRange(0.1), metavar="C", help="Boots a second, instead of the measured.")
@click.option("--wait", type=click.FloatRange(0), metavar="S", help="Stay until all have fetched, at most so long.")
@click.option("--status", is_flag=True, help="Only say how far those are that were told, or wait for it.")
@click.option("--stop", is_flag=True, help="Tell nobody any more who waits for it.")
def resync(
    mac: Mac | None,
    account: str,
    changed: bool,
    reboot: bool,
    dry_run: bool,
    capacity: float | None,
    wait: float | None,
    status: bool,
    stop: bool,
) -> object:
    """Have a phone, an account's phones, or all whose files have changed, fetch their configuration again.

    Phones are told in waves, no faster than storm.campaign of the capacity and never a whole site at once; the running
    server tells them, or this command while it waits. Exit code 1 when somebody has not fetched in that time.
    """
    whom = Whom(mac, account, changed, reboot)
    _require_one_wish(whom, dry_run, wait, status, stop)
    return asyncio.run(_run(whom, dry_run, capacity, wait, status, stop))


def _require_one_wish(whom: Whom, dry_run: bool, wait: float | None, status: bool, stop: bool) -> None:
    if status and stop:
        raise click.UsageError("--status and --stop: give one of them")
    if (status or stop) and (whom.changed or whom.reboot or dry_run or wait is not None):
        raise click.UsageError("--status and --stop take a MAC or --account, and nothing else")
    if whom.mac is not None and whom.account:
        raise click.UsageError("a MAC is one phone: --account has no meaning beside it")
    if not (status or stop or whom.mac or whom.account or whom.changed):
        raise click.UsageError("say who is meant: a MAC, --account or --changed")
    if dry_run and wait is not None:
        raise click.UsageError("--dry-run tells nobody, so there is nothing to --wait for")


async def _run(
    whom: Whom, dry_run: bool, capacity: float | None, wait: float | None, status: bool, stop: bool
) -> object:
    configured = session().settings()
    known = {one.manifest.name: one for one in drivers(configured.data / "templates")}
    async with Store.of(configured) as store:
        desk = _Desk(configured, store, known)
        if stop:
            return _stopped(await desk.resync.stop(whom.account, whom.mac))
        if status:
            return await _status(desk, whom)
        ami = ami_of(configured) if wait is not None else None  # what it lacks is told before anybody is asked
        budget = given(_ALONE) if whom.mac and not capacity else capacity_here(configured, capacity)
        rate = campaign_pace(budget.boots, configured.storm_campaign)
        draft = await desk.resync.plan(whom, rate, _base_urls(configured))
        if dry_run:
            return _planned(draft, rate, budget)
        name = await desk.resync.begin(draft)
        if wait is None or not name:
            return _begun(name, draft, configured)
        await _waited(desk, name, wait, ami)
        return await _became(desk, name)


def _base_urls(configured: Settings) -> BaseUrls:
    """As the device edge writes them into files, for each listener that serves configurations."""
    url = device_url(configured)
    _, legacy = read_addresses(configured.data).get(ListenerKind.LEGACY, ("", configured.legacy_port))
    head = url.rstrip("/").rpartition(":")[0]
    return {ListenerKind.DEVICE: url, ListenerKind.LEGACY: f"{head}:{legacy}/"}


async def _waited(desk: _Desk, name: str, seconds: float, ami: Ami | None) -> None:
    """Take part in the telling until nobody is under way any more, or the time is over."""
    errands = desk.errands
    pbx = Pbx(desk.store, errands, desk.configured, ami, clock=time.time) if ami else None
    until = time.monotonic() + seconds
    try:
        while True:
            await (pbx.send() if pbx else errands.turn())
            counts = await desk.resync.counts(name)
            if not any(counts.get(one) for one in UNDER_WAY) or time.monotonic() >= until:
                return
            await asyncio.sleep(_TICK)
    finally:
        if ami:
            await ami.close()


async def _status(desk: _Desk, whom: Whom) -> Shown:
    await desk.errands.settle()
    return _table(await desk.resync.standings(account=whom.account, mac=whom.mac))


async def _became(desk: _Desk, name: str) -> Shown:
    found = await desk.resync.standings(campaign=name)
    counts = await desk.resync.counts(name)
    missing = sum(number for state, number in counts.items() if state not in _ARRIVED)
    return _table(found, exit_code=REFUSED if missing else OK)


def _table(found: list[Standing], exit_code: int = OK) -> Shown:
    now = time.time()
    data: list[Mapping[str, object]] = [
        {
            "mac": one.mac, "campaign": one.campaign, "state": one.state.value, "way": one.way.value,
            "wave": one.wave + 1, "due": one.due, "since": one.since, "tries": one.tries, "result": one.result,
            "what": one.told(now),
        }
        for one in found
    ]  # fmt: skip
    if not data:
        return Shown(data, "nobody was told, and nobody waits for it", exit_code=exit_code)
    return Shown(data, columns=("mac", "state", "since", "wave", "way", "result", "what"), exit_code=exit_code)


# --- shown ----------------------------------------------------------------------------------------


def _stopped(number: int) -> Shown:
    return Shown({"stopped": number}, f"{_phones(number)} that waited will not be told")


def _planned(draft: Draft, rate: float, budget: Capacity) -> Shown:
    now = time.time()
    data = _data(draft) | {
        "rate_per_s": round(rate, 2),
        "capacity": {"boots_per_s": round(budget.boots, 1), "how": budget.how, "why": budget.why},
        "turns": [{"mac": one.mac, "place": one.place, "due": one.due, "wave": one.wave + 1} for one in draft.turns],
    }
    if not draft.turns:
        return Shown(data, _nobody(draft))
    head = f"{_phones(len(draft.turns))} would be told, {_course(draft, now)}, at most {rate:,.1f} a second"
    first = [f"  {one.mac.colons}  wave {one.wave + 1}  in {span(one.due - now)}" for one in draft.turns[:10]]
    more = [f"  and {len(draft.turns) - 10} more"] if len(draft.turns) > 10 else []
    return Shown(data, "\n".join([head, *first, *more, *_others(draft)]))


def _begun(name: str, draft: Draft, configured: Settings) -> Shown:
    data = _data(draft) | {"campaign": name}
    if not name:
        return Shown(data, _nobody(draft))
    head = f"{_phones(len(draft.turns))} will be told, {_course(draft, time.time())}"
    watch = "`provisioner resync --status` says how far they are, `--stop` ends it"
    if not running_pid(configured.data):
        watch = "no server runs here to tell them: start it, or use --wait"
    return Shown(data, "\n".join([head, *_others(draft), watch]))


def _data(draft: Draft) -> dict[str, object]:
    return {
        "devices": len(draft.turns),
        "waves": draft.waves,
        "until": draft.until or None,
        "left_out": {why.value: number for why, number in sorted(draft.left_out.items())},
        "broken": draft.broken,
    }


def _course(draft: Draft, now: float) -> str:
    number = f"{draft.waves} waves" if draft.waves > 1 else "one wave"
    return f"in {number}, the last in {span(draft.until - now)} ({moment(draft.until)})"


def _nobody(draft: Draft) -> str:
    return "\n".join(["0 phones need to fetch again", *_others(draft)])


_WHY: Final[Mapping[Verdict, str]] = {
    Verdict.SAME: "would get the files they have",
    Verdict.WAITING: "wait for activation and ask every few minutes anyway",
    Verdict.BROKEN: "would get nothing",
}


def _others(draft: Draft) -> list[str]:
    told = [f"{_phones(number)} {_WHY[why]}" for why, number in sorted(draft.left_out.items()) if number]
    return told + [f"  {mac.colons}: {why}" for mac, why in list(draft.broken.items())[:5]]


def _phones(number: int) -> str:
    return "1 phone" if number == 1 else f"{number:,} phones"
