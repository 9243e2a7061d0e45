"""Where the CPU of a boot goes: µs a boot of each part of the server, by sampling the worker by CPU time.

Each sample belongs to the innermost part that its stack shows. The sum is what the kernel charged to the worker
(measured without the sampler), so the parts add up to the boot; the sampler's error is about 1/sqrt(samples).
"""

from __future__ import annotations

import argparse
import collections
import os
import pickle
import re
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import fleet_of
import phones
import record
import sampled
import servers
from boot import Meter

PARTS: tuple[tuple[str, str], ...] = (
    ("TLS handshake", r"http/machine\.py:\d+:Machine\.(handshake|__init__)"),
    ("TLS handshake", r"http/contexts\.py:\d+:_(note|choose)|OpenSSL/SSL"),
    ("peer certificate out of TLS", r"http/contexts\.py|OpenSSL/crypto"),
    ("TLS records", r"http/machine\.py"),
    ("send, receive, accept, close, poll", r"SocketTransport\.(_flush|_receive|_release|_watch)$"),
    ("send, receive, accept, close, poll", r"/socket\.py|selectors\.py|Listener\.(_accept|_dispatch)$"),
    ("our transport and listener", r"http/(transport|tls|listener|shared)\.py"),
    ("identity", r"provisioner/(identity|certificates|factory_names)\.py|/leaf\.py"),
    ("match the path", r"vendors/.*/(names|agents)\.py|driver\.py:\d+:\w+\.match|:Mac\.parse$"),
    ("render", r"provisioner/(vendors/|rendering\.py|layers\.py|zones\.py|vendor\.py|neutral\.py)"),
    ("render", r"jinja2|markupsafe|templates/"),
    ("read the store", r"store/(views|secretbox|values|devices)\.py"),
    ("recorder", r"provisioner/store/|sqlalchemy|aiosqlite"),
    ("counters", r"provisioner/counters\.py|prometheus_client"),
    ("delivery and device edge", r"provisioner/(delivery|events|model|errors)\.py|http/(device|wire|paths)\.py"),
    ("aiohttp", r"aiohttp/|yarl/|multidict|propcache|http/server\.py"),
    ("asyncio", r"/asyncio/"),
)
_PARTS = tuple((name, re.compile(pattern)) for name, pattern in PARTS)


def part_of(stack: tuple[str, ...]) -> str:
    """The innermost frame that belongs to a part."""
    for frame in stack:
        for name, pattern in _PARTS:
            if pattern.search(frame):
                return name
    return "the rest"


def short(frame: str) -> str:
    """A frame as file:line function."""
    path, line, name = frame.rsplit(":", 2)
    return f"{'/'.join(Path(path).parts[-3:])}:{line} {name}"


def boots_of(server: servers.Server, fleet: fleet_of.Installation, mode: phones.Mode, vendor: str) -> phones.Boots:
    """Boots that have begun: nothing is compiled or judged for the first time any more."""
    boots = phones.Boots(server.port, mode, fleet.of(vendor), fleet.ca)
    boots.meet()
    return boots


def total_us(fleet: fleet_of.Installation, mode: phones.Mode, vendor: str, number: int) -> float:
    """µs a boot, without the sampler."""
    with servers.ours(fleet.data) as server:
        server.pin(servers.cores()[1])
        meter, boots = Meter(server), boots_of(server, fleet, mode, vendor)
        return meter.cpu_us(lambda: boots.run(number), writes=True) / number


def samples_of(
    fleet: fleet_of.Installation, mode: phones.Mode, vendor: str, number: int, output: Path
) -> Mapping[tuple[str, ...], int]:
    """Stacks and how often each was seen."""
    program = (str(Path(sampled.__file__)),)
    with servers.ours(fleet.data, program, **{sampled.OUTPUT: str(output)}) as server:
        server.pin(servers.cores()[1])
        boots = boots_of(server, fleet, mode, vendor)
        _written(server, output)
        boots.run(number)
        time.sleep(1.2)
        return _written(server, output)


def _written(server: servers.Server, output: Path) -> Mapping[tuple[str, ...], int]:
    output.unlink(missing_ok=True)
    os.kill(server.worker, signal.SIGUSR2)
    while not output.exists():
        time.sleep(0.05)
    found: Mapping[tuple[str, ...], int] = pickle.loads(output.read_bytes())
    return found


def ranked(samples: Mapping[tuple[str, ...], int], total: float) -> dict[str, object]:
    """µs a boot by part, and the lines that cost most."""
    number = sum(samples.values())
    parts: collections.Counter[str] = collections.Counter()
    lines: collections.Counter[str] = collections.Counter()
    for stack, times in samples.items():
        parts[part_of(stack)] += times
        lines[short(stack[0])] += times
    return {
        "samples": number,
        "us": round(total),
        "parts_us": {name: round(times / number * total) for name, times in parts.most_common()},
        "lines_us": {name: round(times / number * total) for name, times in lines.most_common(40)},
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--boots", type=int, default=1500)
    parser.add_argument("--phones", type=int, default=80)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--only", default="RSA TLS 1.2, one kept connection", help="the mode, by its whole name")
    parser.add_argument("--lines", action="store_true", help="print the costliest lines too")
    parser.add_argument("--output", type=Path, default=None)
    args = parser.parse_args()
    mode = next((one for one in phones.MODES if one.name == args.only), None)
    if mode is None:
        raise SystemExit("--only is one of " + "; ".join(one.name for one in phones.MODES))
    found = {}
    os.sched_setaffinity(0, {servers.cores()[0]})
    with tempfile.TemporaryDirectory(prefix="bench-parts-") as scratch:
        fleet = fleet_of.make(Path(scratch) / "data", args.phones, devices=args.devices)
        for vendor in ("poly", "yealink"):
            total = total_us(fleet, mode, vendor, args.boots // 4)
            found[vendor] = ranked(samples_of(fleet, mode, vendor, args.boots, Path(scratch) / "samples"), total)
            show(vendor, mode.name, found[vendor], lines=args.lines)
    record.keep("parts", f"bench/parts.py --only {mode.name!r}", {"mode": mode.name, "vendors": found}, args.output)


def show(vendor: str, mode: str, figures: Mapping[str, object], *, lines: bool) -> None:
    """Print one vendor's ranking."""
    print(f"{vendor}, {mode}: {figures['us']} µs a boot ({figures['samples']} samples)")
    for key in ("parts_us", "lines_us") if lines else ("parts_us",):
        for name, us in dict(figures[key]).items():
            print(f"  {us:>6} µs  {name}")


if __name__ == "__main__":
    main()
