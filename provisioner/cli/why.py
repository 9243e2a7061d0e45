"""`provisioner why`: the diagnosis of one phone, or of all, from every witness that can be asked.

A laptop with nothing but a capture is enough: without an installation only what was handed in is looked at.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from provisioner.cli.cures import typed
from provisioner.cli.session import WHOM, Verb, acting, mac_in, said, session
from provisioner.diagnosis.case import Subject
from provisioner.diagnosis.facts import Fact
from provisioner.diagnosis.ladder import Diagnosis, diagnose
from provisioner.diagnosis.words import as_document, screen, when
from provisioner.errors import Invalid, Unusable
from provisioner.model import Mac
from provisioner.settings import Settings
from provisioner.terminal import Shown, some_of

if TYPE_CHECKING:
    from provisioner.evidence.program import Read
    from provisioner.store.database import Store
    from provisioner.vendor import VendorDriver

_HOUR: Final = 3600.0
_PLACES: Final = 8
"""Addresses of a phone: so many the kernel's filter takes."""


@click.command("why", cls=Verb)
@click.argument("whom", metavar="[MAC|ADDRESS]", type=WHOM, default="")
@click.option(
    "--pcap",
    "captures",
    multiple=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Look into a capture, too (pcap or pcapng); may be given more than once.",
)
@click.option("--live", metavar="IFACE", default="", help="Capture on this interface first.")
@click.option(
    "--seconds", type=click.FloatRange(1, 3600), default=60.0, show_default=True, help="How long --live captures."
)
@click.option("--switch", "ask_switch", is_flag=True, help="Ask the switches where it is plugged in.")
@click.option("--fleet", "everybody", is_flag=True, help="What all phones suffer from, instead of one.")
@click.option("--hours", type=click.FloatRange(0.01, 8760), default=None, help="How far back --fleet looks.")
def why(
    whom: str,
    captures: tuple[Path, ...],
    live: str,
    seconds: float,
    ask_switch: bool,
    everybody: bool,
    hours: float | None,
) -> object:
    """Why does this phone not come up?

    Says the last good rung of the ladder and the first broken one, who refused whom, by whose witness, and what helps.
    The exit code is 0 when it comes up, 20 when a witness is missing, and otherwise tells the rung: 10 power and link,
    11 VLAN and 802.1X, 12 address, 13 name and time, 14 the way to the server, 15 the phone refuses the server, 16 the
    server refuses the phone, 17 files, 18 reboot loop, 19 line.
    """
    _refuse_idle(live, everybody=everybody)
    if everybody:
        if whom or captures or live or ask_switch:
            raise click.UsageError("--fleet is about all phones: give neither a MAC nor another witness")
        return asyncio.run(_fleet(hours))
    if not (whom or captures):
        raise click.UsageError("whose? Give a MAC, an address, a capture, or --fleet")
    mac, extra = _captured(captures, live, seconds, whom)
    found, now = asyncio.run(_one(whom, mac, extra, ask_switch=ask_switch, offline=bool(captures or live)))
    return Shown(as_document(found, typed), screen(found, now, typed), exit_code=found.exit)


def _refuse_idle(live: str, *, everybody: bool) -> None:
    """An option that would change nothing was meant for something else."""
    if said("hours") and not everybody:
        raise click.UsageError("--hours is how far back --fleet looks; of one phone all that is kept is looked at")
    if said("seconds") and not live:
        raise click.UsageError("--seconds is how long --live captures: give --live IFACE, too")


# --- witnesses -----------------------------------------------------------------------------------------


def _captured(files: Sequence[Path], live: str, seconds: float, whom: str) -> tuple[Mac | None, list[Fact]]:
    """Who is meant, as far as captures say that, and what was seen of it."""
    mac = mac_in(whom)
    if not (files or live):
        return mac, []
    try:
        from provisioner.evidence import program  # only where a capture is to be read
    except ImportError as error:
        raise Unusable(
            "captures are read by a program of its own: `pip install 'provisioner[capture]'` installs it"
        ) from error
    facts: list[Fact] = []
    if files:
        found = program.read(files, mac)
        if mac is None:
            mac = found.mac or _meant(found, whom)
            found = program.read(files, mac, address="" if mac else whom) if mac != found.mac or not mac else found
        facts += found.facts
    if live:
        places = asyncio.run(_places(mac, whom))
        click.echo(f"taking frames at {live} for {seconds:g} s: restart the phone now", err=True)
        facts += program.live_facts(live, mac, seconds, addresses=places)
    return mac, facts


async def _places(mac: Mac | None, whom: str) -> list[str]:
    """Where it is known to be: behind a router its MAC is in no frame."""
    if mac is None:
        return [whom] if whom else []
    configured = _configured(may_lack=True)
    if configured is None:
        return []
    from provisioner.store.database import Store  # nor is the store's weight a laptop's
    from provisioner.store.flights import addresses_of

    async with Store.of(configured) as store, store.reading() as connection:
        return (await addresses_of(connection, mac))[:_PLACES]


def _meant(found: Read, whom: str) -> Mac | None:
    """The phone with this address; without one there has to be one phone only."""
    if mac := next((one.mac for one in found.phones if whom in one.addresses), None):
        return mac
    if whom:
        return None
    if not found.phones:
        why = "; ".join(f"{one.witness.ref}: {one['why']}" for one in found.facts if one["why"])
        raise Invalid(
            "mac", f"no phone shows itself in the capture{f' ({why})' if why else ''}; say which one is meant"
        )
    there = ", ".join(one.mac.colons for one in found.phones[:10])
    raise Invalid("mac", f"say which phone is meant; in the capture there are: {there}")


async def _switched(store: Store, known: Mapping[str, VendorDriver], configured: Settings, mac: Mac) -> list[Fact]:
    from provisioner.switches.engine import close_shared  # pysnmp is loaded only here
    from provisioner.switches.switches import Switches
    from provisioner.switches.witness import find_facts

    try:
        return await find_facts(Switches(store, known, configured, actor=acting()), mac)
    finally:
        await close_shared()


# --- one phone -----------------------------------------------------------------------------------------


async def _one(
    whom: str, mac: Mac | None, extra: Sequence[Fact], *, ask_switch: bool, offline: bool
) -> tuple[Diagnosis, float]:
    """With the server's own records where there is an installation; a capture alone is judged by its own clock."""
    configured = _configured(offline)
    if configured is None:
        if ask_switch:
            raise Unusable("--switch needs the installation that knows the switches: --data names it")
        now = max((one.at for one in extra), default=0.0)
        return diagnose(extra, Subject(mac, where="" if mac else whom), now), now
    from provisioner.fleet.why import Why  # nor is the store's weight a laptop's
    from provisioner.store.database import Store
    from provisioner.vendors import drivers

    known = {one.manifest.name: one for one in drivers(configured.data / "templates")}
    async with Store.of(configured) as store:
        desk = Why(store, known, configured, actor=acting())
        if mac is None:
            if ask_switch:
                raise click.UsageError("--switch finds a MAC: give that instead of an address")
            return await desk.diagnose_address(whom, extra=extra), time.time()
        facts = [*extra, *(await _switched(store, known, configured, mac) if ask_switch else [])]
        return await desk.diagnose_device(mac, extra=facts), time.time()


def _configured(may_lack: bool) -> Settings | None:
    """None where there is no installation, and none is needed."""
    here = session()
    if may_lack and not (here.data / "provisioner.toml").is_file():
        return None
    return here.settings()


# --- all of them ---------------------------------------------------------------------------------------


async def _fleet(hours: float | None) -> Shown:
    from provisioner.fleet.why import Why  # as above
    from provisioner.store.database import Store
    from provisioner.vendors import drivers

    configured = session().settings()
    known = {one.manifest.name: one for one in drivers(configured.data / "templates")}
    now = time.time()
    async with Store.of(configured) as store:
        since = None if hours is None else now - hours * _HOUR
        found = await Why(store, known, configured, actor=acting()).troubled(since=since)
    rows: list[Mapping[str, object]] = [
        {
            "phones": one.phones, "known": one.known, "row": one.row.id if one.row else None,
            "rung": one.row.rung.value if one.row else None, "title": one.title, "says": one.says,
            "models": [{"model": name, "phones": phones} for name, phones in one.models],
            "first": one.first, "last": one.last, "label": one.label, "who": one.who,
        }
        for one in found
    ]  # fmt: skip
    lines = [
        f"{one.says}; since {when(one.first, now)}, last {when(one.last, now)}\n    {some_of(one.who)}" for one in found
    ]
    return Shown(rows, "\n".join(lines) or "no phone is in trouble, as far as is recorded")
