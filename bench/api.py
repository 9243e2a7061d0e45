"""The API over a large fleet: single resources, an import and boots beside it at 100,000 devices, lists at a million.

The real server serves it in its admin process on one core; one caller asks over a kept connection from another, each
call after the answer to the one before, as a script does. What is told is the caller's time: the server's and the way
there and back.

    python bench/api.py [--devices 100000] [--many 1000000] [--calls 2000] [--only single|pages|import|boots]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import api_boots
import api_calls
import api_server
import make_fleet
import record
import servers

from provisioner import installation

GOAL_SINGLE = 0.050
"""s, p99 of a call about one resource."""
GOAL_PAGE = 0.150
"""s of a page of the device list."""
GOAL_IMPORT = 60.0
"""s of an import of 10,000 rows."""
PARTS = ("single", "import", "pages", "boots")


def fleet(directory: Path, devices: int) -> Path:
    """An installation with so many devices, each on an extension of a user of its own."""
    data = directory / f"data{devices}"
    if not data.exists():
        installation.init(data)
        make_fleet.make_fleet(data, devices, "poly", "VVX 411", people=devices)
    return data


def placed(stack: ExitStack, data: Path) -> api_server.Caller:
    """A server on a core of its own."""
    caller_core, server_core = servers.cores()
    os.sched_setaffinity(0, {caller_core})
    server = stack.enter_context(api_server.served(data))
    server.place(admin=server_core, worker=server_core)
    return server.caller


def run(args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """The parts that are wanted."""
    found: dict[str, Any] = {}
    if {"single", "import"} & set(args.only):
        with ExitStack() as stack:
            caller = placed(stack, fleet(scratch, args.devices))
            print(f"{args.devices:,} devices")
            if "single" in args.only:
                found["single"] = api_calls.single(caller, args.devices, args.calls)
            if "import" in args.only:
                found["import"] = api_calls.imported(caller, args.devices, args.rows)
    if "pages" in args.only:
        with ExitStack() as stack:
            caller = placed(stack, fleet(scratch, args.many))
            print(f"{args.many:,} devices")
            found["pages"] = api_calls.pages(caller, args.many, args.calls)
    if "boots" in args.only:
        found["boots"] = api_boots.beside(scratch, args.devices, args.rounds, args.boots, args.callers)
    return found


def judged(found: dict[str, Any]) -> None:
    """Beside the goals."""
    for part, goal in (("single", GOAL_SINGLE), ("pages", GOAL_PAGE)):
        if part in found:
            name, worst = max(found[part].items(), key=lambda one: one[1]["p99_ms"])
            print(f"{part}: p99 at most {worst['p99_ms']:.1f} ms ({name}); the goal is {goal * 1000:.0f} ms")


def main() -> None:
    """All parts, then the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=10_000, help="of the import")
    parser.add_argument("--rounds", type=int, default=12, help="pairs of rounds of boots")
    parser.add_argument("--boots", type=int, default=150, help="a round")
    parser.add_argument("--callers", type=int, default=2, help="processes that call the API meanwhile")
    parser.add_argument("--only", action="append", choices=PARTS, help="may be repeated")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    whole = args.only is None
    args.only = args.only or list(PARTS)
    with tempfile.TemporaryDirectory(prefix="bench-api-", dir=os.environ.get("TMPDIR")) as scratch:
        found = run(args, Path(scratch))
    judged(found)
    goals = {
        "single_p99_ms": GOAL_SINGLE * 1000, "page_ms": GOAL_PAGE * 1000, "import_s": GOAL_IMPORT,
        "boots_ratio": api_boots.GOAL,
    }  # fmt: skip
    figures = {"devices": args.devices, "many": args.many, **found, "goals": goals}
    record.keep("api" if whole else "api-part", " ".join(["bench/api.py", *sys.argv[1:]]), figures, args.out)


if __name__ == "__main__":
    main()
