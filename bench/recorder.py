"""What the flight recorder costs: server CPU per whole boot with it and without it, side by side.

Two servers of ours, alike but for ``recorder.enabled``, each with a copy of the same data, one worker, on one core; the
client on the other core boots phones against each in turn, the ratio of each round is taken before the median of the
ratios, and the recorder's batches are written, and counted, within their round. ``full speed`` boots as fast as the
server lets it, as in a storm: good boots are kept at their pace and the rest is left out. ``paced`` stays below that
pace, so that every single boot is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
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
MODES = ("TLS 1.3, one kept connection", "RSA TLS 1.2, a connection per file, resumed")


def paced(boots: phones.Boots, number: int) -> Callable[[], None]:
    """So many boots at the pace."""

    def run() -> None:
        begun = time.monotonic()
        for index in range(number):
            boots.run(1)
            time.sleep(max(0.0, begun + (index + 1) / PACE - time.monotonic()))

    return run


def cost(meter: Meter, server: servers.Server, work: Callable[[], None], number: int) -> float:
    """µs a boot, what is written after the last one included and what the worker takes while idle not."""
    before, begun = server.cpu_us(), time.monotonic()
    work()
    busy = time.monotonic() - begun
    time.sleep(SETTLES)
    idle = (SETTLES + busy) * meter.idle_us_per_s
    return (server.cpu_us() - before - idle) / number


def case(
    name: str, args: argparse.Namespace, both: tuple[servers.Server, servers.Server], work: Callable[[int], object],
    number: int,
) -> dict[str, object]:  # fmt: skip
    """One row: alternating rounds, and whoever went first goes second in the next; ``work`` makes that of one port."""
    meters = tuple(Meter(one) for one in both)
    found: tuple[list[float], list[float]] = ([], [])
    waited = 0.0
    for turn in range(args.rounds):
        for index in (0, 1) if turn % 2 == 0 else (1, 0):
            run = work(both[index].port)
            assert callable(run)
            run_waited, run_cpu = both[index].waited_us(), both[index].cpu_us()
            found[index].append(cost(meters[index], both[index], run, number))
            waited = max(waited, (both[index].waited_us() - run_waited) / max(both[index].cpu_us() - run_cpu, 1))
    ratios = [on / off for on, off in zip(*found, strict=True)]
    on, off = (statistics.median(one) for one in found)
    row: dict[str, object] = {
        "case": name, "ratio": round(statistics.median(ratios), 4), "ratios": [round(one, 3) for one in ratios],
        "on_us": round(on), "off_us": round(off), "waited": round(waited, 3),
    }  # fmt: skip
    busy = "  BUSY MACHINE" if waited > BUSY else ""
    print(f"{name:62} on {on:7.0f} µs  off {off:7.0f} µs  ratio {row['ratio']:6}{busy}", flush=True)
    return row


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


def _rows(
    args: argparse.Namespace, fleet: fleet_of.Installation, both: tuple[servers.Server, servers.Server]
) -> list[dict[str, object]]:
    modes = {mode.name: mode for mode in phones.MODES}
    rows = []
    for vendor in ("poly", "yealink"):
        for name in MODES:

            def full(port: int, vendor: str = vendor, mode: phones.Mode = modes[name]) -> Callable[[], None]:
                boots = phones.Boots(port, mode, fleet.of(vendor), fleet.ca)
                boots.meet() if mode.resume else boots.run(3)
                return lambda: boots.run(args.boots)

            rows.append(case(f"{vendor}, full speed, {name}", args, both, full, args.boots))

    def calm(port: int) -> Callable[[], None]:
        boots = phones.Boots(port, modes[MODES[0]], fleet.of("poly"), fleet.ca)
        boots.run(3)
        time.sleep(SETTLES)
        return paced(boots, args.paced)

    rows.append(case(f"poly, paced, {MODES[0]}", args, both, calm, args.paced))
    return rows


def main() -> None:
    """Run, print, keep the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--boots", type=int, default=150, help="boots a round at full speed")
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
