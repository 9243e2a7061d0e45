"""Server CPU per whole boot, live rendering, against Debian's nginx serving the same bytes from disk.

Both have one worker on one core, the same certificates, ciphers and CAs; the same client on the other core boots
phones against each in turn, and the ratio of each round is taken before the median of the ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import fleet_of
import phones
import record
import servers

GOAL = 0.85
FLUSH = 1.2
"""s: longer than store.flush, so that what a round left to be written is written, and counted, in that round."""
BUSY = 0.05
"""Share of its time that a worker may have waited for its core; above it the figures are not to be trusted."""


@dataclass
class Measured:
    """One round of one server, µs a boot."""

    boot: float
    handshakes: float
    """The same number of connections opened and closed without a request."""
    waited: float


class Meter:
    """Reads one server's CPU around a piece of work."""

    def __init__(self, server: servers.Server) -> None:
        self._server = server
        self._lossy = server.name == "ours"
        self._idle = self._rate(2.0)

    @property
    def idle_us_per_s(self) -> float:
        """What it takes while nobody asks for anything: beats and looks at the database."""
        return self._idle

    def _rate(self, seconds: float) -> float:
        before = self._server.cpu_us()
        time.sleep(seconds)
        return (self._server.cpu_us() - before) / seconds

    def cpu_us(self, work: Callable[[], None], *, writes: bool = False) -> float:
        """CPU of the work; with ``writes`` until the recorder's batch is written too."""
        before = self._server.cpu_us()
        work()
        if not (writes and self._lossy):
            return self._server.cpu_us() - before
        time.sleep(FLUSH)
        return self._server.cpu_us() - before - FLUSH * self._idle

    def round(self, boots: phones.Boots, number: int, mode: phones.Mode) -> Measured:
        """Boots, then the connections they need without their requests."""
        waited, begun = self._server.waited_us(), self._server.cpu_us()
        boot = self.cpu_us(lambda: boots.run(number), writes=True) / number
        per_boot = len(fleet_of.boot_of(boots.vendor, "")) if mode.per_file else 1
        full = 0 if mode.resume and not mode.per_file else 1 if mode.resume else per_boot
        handshakes = self._handshakes(boots, number, full, per_boot - full)
        waited = (self._server.waited_us() - waited) / max(self._server.cpu_us() - begun, 1)
        return Measured(boot, handshakes, waited)

    def _handshakes(self, boots: phones.Boots, number: int, full: int, resumed: int) -> float:
        cost = 0.0
        if full:
            cost += full * self.cpu_us(lambda: boots.handshakes(number)) / number
        if resumed:
            cost += resumed * self.cpu_us(lambda: boots.handshakes(number, resumed=True)) / number
        return cost


def compare(args: argparse.Namespace, scratch: Path) -> dict[str, object]:
    """Every vendor and mode that was asked for."""
    fleet = fleet_of.make(scratch / "data", args.phones, devices=args.devices)
    client_core, server_core = servers.cores()
    with servers.ours(fleet.data) as ours:
        ours.pin(server_core)
        os.sched_setaffinity(0, {client_core})
        first = first_boots(ours, fleet)
        files = phones.bodies(ours.port, fleet)
        with servers.nginx(scratch, fleet, files) as theirs:
            theirs.pin(server_core)
            meters = Meter(ours), Meter(theirs)
            rows = [
                case(args, vendor, mode, fleet, (ours, theirs), meters)
                for vendor in ("poly", "yealink")
                for mode in phones.MODES
                if args.only in f"{vendor}, {mode.name}"
            ]
    return {
        "first_boot_us": first,
        "idle_us_per_s": {"ours": round(meters[0].idle_us_per_s), "nginx": round(meters[1].idle_us_per_s)},
        "rows": rows,
    }


def first_boots(ours: servers.Server, fleet: fleet_of.Installation) -> dict[str, int]:
    """CPU of the very first boots after a start, when no certificate has been judged yet and no pin is set."""
    meter, found = Meter(ours), {}
    mode = next(mode for mode in phones.MODES if not mode.per_file and not mode.resume)
    for vendor in ("poly", "yealink"):
        boots = phones.Boots(ours.port, mode, fleet.of(vendor), fleet.ca)
        number = len(fleet.of(vendor))
        found[f"{vendor}, first"] = round(meter.cpu_us(lambda: boots.run(number), writes=True) / number)  # noqa: B023  # called at once
        found[f"{vendor}, second"] = round(meter.cpu_us(lambda: boots.run(number), writes=True) / number)  # noqa: B023  # called at once
    return found


def case(
    args: argparse.Namespace,
    vendor: str,
    mode: phones.Mode,
    fleet: fleet_of.Installation,
    both: Sequence[servers.Server],
    meters: Sequence[Meter],
) -> dict[str, object]:
    """One row: alternating rounds, and whoever went first goes second in the next."""
    found: tuple[list[Measured], list[Measured]] = [], []
    agreed = []
    for number in range(args.rounds):
        agreed = []
        for index in (0, 1) if number % 2 == 0 else (1, 0):
            boots = phones.Boots(both[index].port, mode, fleet.of(vendor), fleet.ca)
            boots.meet() if mode.resume else boots.run(3)
            found[index].append(meters[index].round(boots, args.boots, mode))
            agreed.append(boots.negotiated)
        if agreed[0] != agreed[1]:
            raise SystemExit(f"{mode.name}: the servers agreed on different things: {agreed}")
    return row(vendor, mode, *found, negotiated=agreed[0])


def row(
    vendor: str, mode: phones.Mode, us: list[Measured], them: list[Measured], negotiated: set[tuple[str, str, int]]
) -> dict[str, object]:
    """The figures of one case, printed too."""
    ratios = [our.boot / their.boot for our, their in zip(us, them, strict=True)]
    spread = [round(one, 3) for one in ratios]
    figures: dict[str, object] = {
        "vendor": vendor,
        "requests": len(fleet_of.boot_of(vendor, "")),
        "mode": mode.name,
        "ratio": round(statistics.median(ratios), 3),
        "ratios": spread,
    }
    for name, rounds in (("ours", us), ("nginx", them)):
        boot = statistics.median(one.boot for one in rounds)
        bare = statistics.median(one.handshakes for one in rounds)
        figures |= {
            f"{name}_us": round(boot),
            f"{name}_handshakes_us": round(bare),
            f"{name}_rest_share": round(1 - bare / boot, 3),
            f"{name}_waited": round(max(one.waited for one in rounds), 3),
        }
    figures["negotiated"] = sorted(f"{version} {cipher}" for version, cipher, _ in negotiated)
    busy = any(float(str(figures[f"{name}_waited"])) > BUSY for name in ("ours", "nginx"))
    print(
        f"{vendor:8}{figures['requests']} files  {mode.name:40} ours {figures['ours_us']:>6} µs  nginx "
        f"{figures['nginx_us']:>6} µs  ratio {figures['ratio']:5}  beside handshakes {figures['ours_rest_share']:.0%}"
        f"{'  BUSY MACHINE' if busy else ''}",
        flush=True,
    )
    return figures


def main() -> None:
    """Run, print, keep the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--boots", type=int, default=80, help="boots a round")
    parser.add_argument("--phones", type=int, default=80, help="phones of each vendor that take turns")
    parser.add_argument("--devices", type=int, default=1000, help="rows in the database")
    parser.add_argument("--only", default="", metavar="TEXT", help='cases whose name holds it: "poly, RSA TLS 1.2"')
    parser.add_argument("--quick", action="store_true", help="one round of 20 boots: to see that it runs")
    parser.add_argument("--output", type=Path, default=None, help="directory of the result; bench/results")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.boots, args.phones = 1, 20, 20
    with tempfile.TemporaryDirectory(prefix="bench-boot-") as scratch:
        figures = compare(args, Path(scratch))
    rows = figures["rows"]
    assert isinstance(rows, list)
    if not rows:
        raise SystemExit(f"no case is named {args.only!r}: " + "; ".join(mode.name for mode in phones.MODES))
    median = round(statistics.median(one["ratio"] for one in rows), 3)
    print(f"median of {len(rows)} cases: {median} × nginx (goal {GOAL})")
    command = f"bench/boot.py --rounds {args.rounds} --boots {args.boots} --phones {args.phones}"
    command += f" --devices {args.devices}" + (f" --only {args.only!r}" if args.only else "")
    name = "boot-quick" if args.quick else "boot-part" if args.only else "boot"
    figures = {"median_ratio": median, "goal": GOAL, **figures}
    record.keep(name, command, figures, args.output, versions=record.versions(nginx=True))


if __name__ == "__main__":
    main()
