"""A thousand devices against a million in SQLite: CPU of a Poly boot, and a change of a default that all of them share.

Two servers on two databases take turns with the same phones, which in the large one are spread over all its rows.
Then an administrator changes a default through the same use-case as the command line's, again and again, while phones
boot in a process of their own: how long until it is acknowledged, until a phone gets it, and did any boot stall?
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import fleet_of
import phones
import record
import servers
from boot import Meter

from provisioner import settings
from provisioner.fleet.fleet import Fleet
from provisioner.model import Scope
from provisioner.store.database import Store
from provisioner.vendors import drivers

MODE = next(mode for mode in phones.MODES if mode.name == "RSA TLS 1.2, one kept connection")
GOAL_RATIO = 1.10
GOAL_ACKNOWLEDGED = 1.0
PAUSE = 0.5
"""s between an administrator's changes."""
QUIET = 5.0
"""s of boots before the first change, to compare with."""


# --- boots ---------------------------------------------------------------------------------------------


def compare(args: argparse.Namespace, small: fleet_of.Installation, large: fleet_of.Installation) -> dict[str, object]:
    """CPU a boot on each, in turns."""
    client_core, server_core = servers.cores()
    os.sched_setaffinity(0, {client_core})
    with servers.ours(small.data) as few, servers.ours(large.data) as many:
        both = []
        for server, fleet in ((few, small), (many, large)):
            server.pin(server_core)
            boots = phones.Boots(server.port, MODE, fleet.of("poly"), fleet.ca)
            boots.meet()
            both.append((Meter(server), boots))
        rounds: list[list[float]] = [[], []]
        for number in range(args.rounds):
            for index in (0, 1) if number % 2 == 0 else (1, 0):
                meter, boots = both[index]
                rounds[index].append(meter.cpu_us(lambda: boots.run(args.boots), writes=True) / args.boots)  # noqa: B023  # called at once
        changed = change(args, many, large)
    ratios = [b / a for a, b in zip(*rounds, strict=True)]
    return {
        "small_us": round(statistics.median(rounds[0])),
        "large_us": round(statistics.median(rounds[1])),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(one, 3) for one in ratios],
        "goal_ratio": GOAL_RATIO,
        "change": changed,
    }


# --- the change ------------------------------------------------------------------------------------------


def boot_without_end(port: int, fleet: fleet_of.Installation, line: Connection) -> None:
    """The process of its own: boots until told to stop, then sends when each began and how long it took."""
    boots = phones.Boots(port, MODE, fleet.of("poly"), fleet.ca)
    taken = []
    while not line.poll():
        begun = time.monotonic()
        boots.run(1)
        taken.append((begun, time.monotonic() - begun))
    line.send(taken)


@contextmanager
def booting(port: int, fleet: fleet_of.Installation) -> Iterator[Connection]:
    """Phones boot meanwhile; say anything over the line to stop them and hear how it went."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=boot_without_end, args=(port, fleet, there), daemon=True)
    process.start()
    there.close()  # if the process dies, reading from here tells
    try:
        yield here
    finally:
        process.join(30)


def change(args: argparse.Namespace, server: servers.Server, fleet: fleet_of.Installation) -> dict[str, object]:
    """Change a default that every device has, several times, while phones boot."""
    with booting(server.port, fleet) as line:
        time.sleep(QUIET)
        begun = time.monotonic()
        acknowledged, served = asyncio.run(_change(args.changes, server, fleet))
        ended = time.monotonic()
        line.send("stop")
        taken: list[tuple[float, float]] = line.recv()
    before = [seconds for at, seconds in taken if at + seconds < begun]
    during = [seconds for at, seconds in taken if at + seconds >= begun and at < ended]
    return {
        "changes": args.changes,
        "acknowledged_ms": {"median": ms(statistics.median(acknowledged)), "longest": ms(max(acknowledged))},
        "goal_acknowledged_ms": ms(GOAL_ACKNOWLEDGED),
        "served_ms_after": {"median": ms(statistics.median(served)), "longest": ms(max(served))},
        "boots_before": latencies(before),
        "boots_meanwhile": latencies(during),
    }


async def _change(number: int, server: servers.Server, fleet: fleet_of.Installation) -> tuple[list[float], list[float]]:
    """Seconds until each change was acknowledged, and from then until a phone's file said so."""
    acknowledged, served = [], []
    async with Store.of(settings.load(fleet.data)) as store:
        admin = Fleet(store, {one.manifest.name: one for one in drivers()}, actor="bench")
        for index in range(number):
            value = f"*{7000 + index}"
            begun = time.monotonic()
            await admin.set_layer(Scope.DEFAULTS, "", {"voicemail.number": value}, {})
            acknowledged.append(time.monotonic() - begun)
            served.append(_until_served(server, fleet, value.encode()))
            await asyncio.sleep(PAUSE)
    return acknowledged, served


def _until_served(server: servers.Server, fleet: fleet_of.Installation, value: bytes) -> float:
    """Another phone asks until its own file holds the value."""
    begun = time.monotonic()
    phone = fleet.of("poly")[0]
    asking = replace(phone, files=((f"{phone.mac}-user.cfg", 200),))
    context = phones.context(MODE, asking, fleet.ca)
    connection = phones.Boots(server.port, MODE, [asking], fleet.ca).connect(context)
    try:
        while time.monotonic() - begun < 10:
            _, body = phones.exchange(connection, asking.files[0][0], phone.user_agent)
            if value in body:
                return time.monotonic() - begun
            time.sleep(0.01)
    finally:
        phones.leave(connection)
    raise SystemExit("a change was acknowledged and not served within 10 s")


def latencies(seconds: list[float]) -> dict[str, object]:
    """How long boots took."""
    ordered = sorted(seconds)
    return {
        "boots": len(ordered),
        "median_ms": ms(statistics.median(ordered)),
        "p99_ms": ms(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]),
        "longest_ms": ms(ordered[-1]),
    }


def ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


# --- all of it -------------------------------------------------------------------------------------------


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", type=int, default=1000, help="devices in the small database")
    parser.add_argument("--large", type=int, default=1_000_000, help="devices in the large one")
    parser.add_argument("--phones", type=int, default=200, help="of them, that boot")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--boots", type=int, default=200, help="a round")
    parser.add_argument("--changes", type=int, default=20, help="of the shared default")
    parser.add_argument("--output", type=Path, default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-million-", dir=os.environ.get("TMPDIR")) as scratch:
        both = []
        for name in ("small", "large"):
            begun = time.monotonic()
            directory = Path(scratch) / name
            directory.mkdir()
            both.append(fleet_of.make(directory / "data", args.phones, devices=getattr(args, name), vendors=["poly"]))
            size = (directory / "data" / "provisioner.db").stat().st_size / 2**20
            print(f"{name}: {getattr(args, name)} devices, {size:.0f} MiB, made in {time.monotonic() - begun:.0f} s")
        figures = compare(args, *both)
    show(args, figures)
    command = f"bench/million.py --small {args.small} --large {args.large} --rounds {args.rounds} --boots {args.boots}"
    record.keep("million", command, {"small": args.small, "large": args.large, **figures}, args.output)


def show(args: argparse.Namespace, figures: dict[str, object]) -> None:
    """For the reader at the terminal."""
    print(f"CPU a Poly boot: {figures['small_us']} µs among {args.small}, {figures['large_us']} µs among {args.large}: "
          f"ratio {figures['ratio']} (goal {GOAL_RATIO})")  # fmt: skip
    changed = figures["change"]
    assert isinstance(changed, dict)
    for name, value in changed.items():
        print(f"  {name}: {value}")


if __name__ == "__main__":
    main()
