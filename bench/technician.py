"""The technician's figures: `why` at a million devices, a capture of 100,000 packets and of a gigabyte, live, switches.

Frames and switches are those of the tests, which only ask whether a bound holds; here it is told how far we are.

    python bench/technician.py [--devices 1000000] [--only why|capture|live|switch] [--quick]

Taking frames needs root; without that the rest is measured and the result says so.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import record
import technician_frames
import technician_switches
import technician_why

Part = Callable[[argparse.Namespace, Path], Mapping[str, object]]
PARTS: Mapping[str, Part] = {
    "why": technician_why.measured,
    "capture": technician_frames.read,
    "live": technician_frames.live,
    "switch": technician_switches.measured,
}
GOALS = {
    "why_ms": technician_why.GOAL * 1000, "capture_cpu_s": technician_frames.GOAL_CPU,
    "gigabyte_mib": technician_frames.GOAL_MEMORY >> 20, "live_lost": 0, "find_one_s": technician_switches.GOAL_ONE,
    "find_many_s": technician_switches.GOAL_MANY,
}  # fmt: skip


def versions() -> dict[str, object]:
    """Of everything that has a part in it."""
    found: dict[str, object] = {name: version(name) for name in ("scapy", "pysnmp", "snmpsim", "cryptography")}
    found["sqlite"] = sqlite3.sqlite_version
    for program in ("dumpcap", "tcpdump"):
        try:
            said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            continue
        found[program] = (said.stdout or said.stderr).splitlines()[0]
    return {**record.versions(), **found}


def main() -> None:
    """The parts that are wanted, then the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=1000, help="diagnoses when all is warm")
    parser.add_argument("--rounds", type=int, default=5, help="of each of the others")
    parser.add_argument("--switches", type=int, default=200)
    parser.add_argument("--only", action="append", choices=list(PARTS), help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="a tiny version of all, to see that it runs")
    parser.add_argument("--out", type=Path, help="directory of the result; bench/results")
    args = parser.parse_args()
    if args.quick:
        args.devices, args.calls, args.rounds, args.switches = 2000, 20, 1, 10
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="bench-technician-", dir=os.environ.get("TMPDIR")) as scratch:
        for name in args.only or list(PARTS):
            place = Path(scratch) / name
            place.mkdir()
            found[name] = PARTS[name](args, place)
    kept = "technician-quick" if args.quick else "technician-part" if args.only else "technician"
    command = " ".join(["bench/technician.py", *sys.argv[1:]])
    record.keep(kept, command, {"goals": GOALS, **found}, args.out, versions=versions())


if __name__ == "__main__":
    main()
