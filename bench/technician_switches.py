"""Where is this phone plugged in? One 48-port switch, and hundreds of them at once, of which half may be dead.

The switch with the phone is snmpsim's; each kind of the others is one snmpd, which is as quick as they are together.
All of them share the machine with whoever asks, and what is told is the time from the question to the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from cabinet import HP, PHONE, Cabinet  # the switches of the tests, and where they lie
from snmp_lab import READ, real, simulated

from provisioner import installation, settings
from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac
from provisioner.store.database import Store
from provisioner.switches.credentials import Community
from provisioner.switches.engine import close_shared
from provisioner.switches.search import Found
from provisioner.switches.switches import Switches
from provisioner.vendors import drivers

GOAL_ONE = 1.0
"""s for one 48-port switch."""
GOAL_MANY = 10.0
"""s for 200 at once."""
WAY = 20
"""Switches that see the phone behind their uplink; one snmpd cannot play many more of them in time."""
LOOPBACK = ("127.0.0.0/8",)


@dataclass(frozen=True, slots=True)
class Agents:
    """UDP ports of this machine."""

    phone: int
    """Has the phone at its port 7."""
    elsewhere: int
    """Has never seen it."""
    way: int
    """Sees it behind its uplink, as where all of them are one network."""
    silent: int


@contextmanager
def agents(scratch: Path) -> Iterator[Agents]:
    """All of them, until the block ends."""
    with ExitStack() as stack:
        elsewhere = Cabinet("elsewhere", phone="0004f2ffffff", crowd=20)
        yield Agents(
            stack.enter_context(simulated(scratch / "phone", {"public": Cabinet(maker=HP).rows()})),
            stack.enter_context(real(scratch / "elsewhere", elsewhere)).port,
            stack.enter_context(real(scratch / "way", Cabinet("way", port=48, others=()))).port,
            stack.enter_context(_silent()),
        )


@contextmanager
def _silent() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        yield int(one.getsockname()[1])


def measured(args: argparse.Namespace, scratch: Path) -> Mapping[str, object]:
    """All four."""
    with agents(scratch) as ports:
        return asyncio.run(_measured(args, scratch, ports))


async def _measured(args: argparse.Namespace, scratch: Path, ports: Agents) -> Mapping[str, object]:
    """Each site of an account is one case."""
    installation.init(scratch / "data")
    configured = settings.load(scratch / "data", {}, switch_allow=LOOPBACK)
    known = {one.manifest.name: one for one in drivers()}
    others = args.switches - 1
    cases = {
        "one": [], "elsewhere": [ports.elsewhere] * others,
        "on_the_way": [ports.way] * min(WAY, others) + [ports.elsewhere] * max(others - WAY, 0),
        "half_dead": [ports.elsewhere] * (others // 2) + [ports.silent] * (others - others // 2),
    }  # fmt: skip
    found: dict[str, object] = {}
    async with Store.of(configured) as store:
        fleet, desk = Fleet(store, known, actor="bench"), Switches(store, known, configured, actor="bench")
        await fleet.add_account("Bench")
        for site, rest in cases.items():
            await fleet.add_site(site, account="Bench")
            where = {"account": "Bench", "site": site, "address": "127.0.0.1"}
            await desk.add_switch(f"{site} 0", port=ports.phone, read=Community("public"), **where)
            for number, port in enumerate(rest, 1):
                await desk.add_switch(f"{site} {number}", port=port, read=Community(READ), **where)
        await fleet.add_device(Mac(PHONE), vendor="poly", model="VVX 411", account="Bench", site="one")
        for site in cases:
            await fleet.move_device(Mac(PHONE), account="Bench", site=site)
            found[site] = await _found(desk, site, args.rounds)
    await close_shared()
    return {"switches": args.switches, **found}


async def _found(desk: Switches, site: str, rounds: int) -> dict[str, object]:
    """Once to wake everybody up, as snmpsim indexes its files; then so often."""
    await _timed(desk)
    runs = [await _timed(desk) for _ in range(max(rounds, 1))]
    told, seconds, cpu = runs[-1][0], [took for _, took, _ in runs], [used for _, _, used in runs]
    shown = {
        "asked": told.asked, "silent": len(told.failed), "on_the_way": len(told.on_the_way),
        "at": f"{told.port.switch} {told.port.name}" if told.port else "",
        "seconds": round(statistics.median(seconds), 2), "longest_s": round(max(seconds), 2),
        "our_cpu_s": round(statistics.median(cpu), 2),
    }  # fmt: skip
    print(f"switch find, {site}: {shown} (goal {GOAL_ONE if site == 'one' else GOAL_MANY:g} s)")
    return shown


async def _timed(desk: Switches) -> tuple[Found, float, float]:
    began, used = time.monotonic(), time.process_time()
    found = await desk.find_port(Mac(PHONE))
    return found, time.monotonic() - began, time.process_time() - used
