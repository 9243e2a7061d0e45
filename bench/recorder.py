"""What the flight recorder costs: server CPU per whole boot with it and without it, side by side.

Two servers of ours, alike but for ``recorder.enabled``, each with a copy of the same data, one worker, on one core; the
client on the other core boots a few phones against the one, then the same ones against the other, and so on: what
the machine does meanwhile meets both. After each round the recorder's batches are written and counted; the ratio of
each round is taken before the median of the ratios. ``full speed`` boots as fast as the servers let it, as in a storm:
good boots are kept at their pace and the rest is left out. ``paced`` stays below that pace, so that every single boot
is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import fleet_of
import phones
import record
import servers
from boot import BUSY, Meter

GOAL = 1.03
PACE = 15.0
"""Boots a second, below recorder.good."""
SETTLES = 6.0
"""s: a good boot is written five after its last connection."""
SLICE = 4
"""Boots against one server before it is the other's turn."""
MODES = ("TLS 1.3, one kept connection", "RSA TLS 1.2, a connection per file, resumed")


Both = tuple[servers.Server, servers.Server]
"""With the recorder, and without."""


def case(name: str, args: argparse.Namespace, both: Both, boots: Sequence[phones.Boots], number: int, pace: float = 0.0,
) -> dict[str, object]:  # fmt: skip
    """One row: so many boots against each a round; ``pace``: a second against each, 0 as fast as may be."""
    meters = tuple(Meter(one) for one in both)
    found: tuple[list[float], list[float]] = ([], [])
    waited = 0.0
    for _ in range(args.rounds):
        before = [(one.cpu_us(), one.waited_us()) for one in both]
        begun = time.monotonic()
        alternating(boots, number, pace)
        waited_now = [one.waited_us() - was[1] for one, was in zip(both, before, strict=True)]
        time.sleep(SETTLES)
        seconds = time.monotonic() - begun
        for index, one in enumerate(both):
            busy = one.cpu_us() - before[index][0]
            found[index].append((busy - seconds * meters[index].idle_us_per_s) / number)
            waited = max(waited, waited_now[index] / max(busy, 1))
    ratios = [on / off for on, off in zip(*found, strict=True)]
    on, off = (statistics.median(one) for one in found)
    row: dict[str, object] = {
        "case": name, "ratio": round(statistics.median(ratios), 4), "ratios": [round(one, 3) for one in ratios],
        "on_us": round(on), "off_us": round(off), "waited": round(waited, 3),
    }  # fmt: skip
    busy_machine = "  BUSY MACHINE" if waited > BUSY else ""
    print(f"{name:62} on {on:7.0f} µs  off {off:7.0f} µs  ratio {row['ratio']:6}{busy_machine}", flush=True)
    return row


def alternating(boots: Sequence[phones.Boots], number: int, pace: float) -> None:
    """Whoever is first in one slice is second in the next."""
    begun = time.monotonic()
    for turn, first in enumerate(range(0, number, SLICE)):
        for index in (0, 1) if turn % 2 == 0 else (1, 0):
            boots[index].run(min(SLICE, number - first), first)
        if pace:
            time.sleep(max(0.0, begun + (first + SLICE) / pace - time.monotonic()))


def compare(args: argparse.Namespace, scratch: Path) -> list[dict[str, object]]:
    """All cases."""
    fleet = fleet_of.make(scratch / "on", args.phones, devices=args.devices)
    shutil.copytree(scratch / "on", scratch / "off", symlinks=True)
    client_core, server_core = servers.cores()
    with contextlib.ExitStack() as stack:
        on = stack.enter_context(servers.ours(fleet.data))
        other = scratch / "off" / fleet.data.relative_to(scratch / "on")
        off = stack.enter_context(servers.ours(other, PROVISIONER_RECORDER_ENABLED="false"))
        for one in (on, off):
            one.pin(server_core)
        os.sched_setaffinity(0, {client_core})
        return list(_rows(args, fleet, (on, off)))


def _rows(args: argparse.Namespace, fleet: fleet_of.Installation, both: Both) -> Iterator[dict[str, object]]:
    modes = {mode.name: mode for mode in phones.MODES}

    def ready(vendor: str, name: str) -> list[phones.Boots]:
        made = [phones.Boots(one.port, modes[name], fleet.of(vendor), fleet.ca) for one in both]
        for one in made:
            one.meet()
        time.sleep(SETTLES)
        return made

    for vendor in ("poly", "yealink"):
        for name in MODES:
            yield case(f"{vendor}, full speed, {name}", args, both, ready(vendor, name), args.boots)
    yield case(f"poly, paced, {MODES[0]}", args, both, ready("poly", MODES[0]), args.paced, PACE)


def main() -> None:
    """Run, print, keep the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--boots", type=int, default=400, help="boots a round at full speed")
    parser.add_argument("--paced", type=int, default=60, help="boots a round at a pace")
    parser.add_argument("--phones", type=int, default=80, help="phones of each vendor that take turns")
    parser.add_argument("--devices", type=int, default=1000, help="rows in the database")
    parser.add_argument("--quick", action="store_true", help="one round of 20 boots: to see that it runs")
    parser.add_argument("--output", type=Path, default=None, help="directory of the result; bench/results")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.boots, args.paced, args.phones = 1, 20, 20, 20
    with tempfile.TemporaryDirectory(prefix="bench-recorder-") as scratch:
        rows = compare(args, Path(scratch))
    median = round(statistics.median(float(str(one["ratio"])) for one in rows if "full speed" in str(one["case"])), 4)
    print(f"median at full speed: {median} × without (goal {GOAL})")
    command = f"bench/recorder.py --rounds {args.rounds} --boots {args.boots} --paced {args.paced}"
    command += f" --phones {args.phones} --devices {args.devices}"
    name = "recorder-quick" if args.quick else "recorder"
    record.keep(name, command, {"median_ratio": median, "goal": GOAL, "rows": rows}, args.output)


if __name__ == "__main__":
    main()
