"""What an idle connection costs in memory, and how phones boot while very many of them are held.

The client opens a connection with a phone's certificate, fetches one file, and then forgets TLS but keeps the socket:
to the server nothing has changed, and ten thousand cost the client ten thousand descriptors only.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import statistics
import tempfile
import time
from pathlib import Path

import fleet_of
import phones
import record
import servers
from boot import Meter

GOAL_KIB = 48
MODES = ("RSA TLS 1.2, one kept connection", "TLS 1.3, one kept connection")
ADDRESSES = 16
"""Loopback addresses to come from: an address has 28,000 ports for one destination."""
SETTLE = 3.0
"""s until a connection that has become idle has given its buffers back (1 s, looked at twice a second)."""
WARM = 200
"""Connections opened and closed first, so that what the first ones load and compile is not called theirs."""


def raise_files(wanted: int) -> None:
    """As many descriptors as that; the worker inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, OSError) as error:
        raise SystemExit(f"{wanted} open files are needed and {hard} allowed: ulimit -n {wanted}") from error


def hold(port: int, number: int, mode: phones.Mode, fleet: fleet_of.Installation) -> list[socket.socket]:
    """Open ``number`` connections, one file fetched over each."""
    everybody = [(phone, phones.context(mode, phone, fleet.ca)) for phone in fleet.phones]
    held = []
    for index in range(number):
        phone, context = everybody[index % len(everybody)]
        raw = socket.socket()
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.bind((f"127.0.{1 + index % ADDRESSES}.1", 0))
        raw.settimeout(10)
        raw.connect(("127.0.0.1", port))
        connection = context.wrap_socket(raw, server_hostname="localhost")
        # The second file is one that is there, for both vendors.
        status, _ = phones.exchange(connection, phone.files[1][0], phone.user_agent)
        if status != 200:
            raise SystemExit(f"{phone.files[1][0]}: {status} instead of 200")
        held.append(socket.socket(fileno=connection.detach()))
    return held


def alive(held: list[socket.socket]) -> int:
    """How many the server has not closed."""
    living = 0
    for one in held:
        one.setblocking(False)
        try:
            living += bool(one.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            living += 1
        except OSError:
            continue
    return living


def boots(meter: Meter, made: phones.Boots, number: int) -> dict[str, float]:
    """CPU and time of boots; every file of every boot came with its status, or the program has ended."""
    made.seconds.clear()
    cpu = meter.cpu_us(lambda: made.run(number), writes=True) / number
    times = sorted(made.seconds)
    return {
        "boots": number,
        "cpu_us": round(cpu),
        "median_ms": round(statistics.median(times) * 1000, 1),
        "p99_ms": round(times[min(len(times) - 1, int(len(times) * 0.99))] * 1000, 1),
        "longest_ms": round(times[-1] * 1000, 1),
    }


def measure(fleet: fleet_of.Installation, mode: phones.Mode, args: argparse.Namespace) -> dict[str, object]:
    """One way of connecting, on a server that has just started."""
    client_core, server_core = servers.cores()
    os.sched_setaffinity(0, {client_core})
    environment = {"PROVISIONER_HTTP_IDLE_TIMEOUT": "600"}
    with servers.ours(fleet.data, **environment) as server:
        server.pin(server_core)
        for one in hold(server.port, min(WARM, args.connections), mode, fleet):
            one.close()
        made = phones.Boots(server.port, mode, fleet.of("poly"), fleet.ca)
        made.meet()
        time.sleep(SETTLE)
        meter = Meter(server)
        before, without = server.memory(), boots(meter, made, args.boots)
        begun = time.perf_counter()
        held = hold(server.port, args.connections, mode, fleet)
        opened = time.perf_counter() - begun
        time.sleep(SETTLE)
        after, busy = server.memory(), Meter(server)
        during = boots(busy, made, args.boots)
        living = alive(held)
        for one in held:
            one.close()
    per = {name: round((after[name] - before[name]) / args.connections / 1024, 1) for name in before}
    return {
        "mode": mode.name,
        "connections": args.connections,
        "alive_at_the_end": living,
        "kib_per_connection": per,
        "goal_kib": GOAL_KIB,
        "worker_mib": {"before": round(before["pss"] / 2**20, 1), "after": round(after["pss"] / 2**20, 1)},
        "opened_per_s": round(args.connections / opened),
        "idle_us_per_s": {"without": round(meter.idle_us_per_s), "holding": round(busy.idle_us_per_s)},
        "boots_without": without,
        "boots_while_holding": during,
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--boots", type=int, default=200)
    parser.add_argument("--phones", type=int, default=40, help="of each vendor")
    parser.add_argument("--output", type=Path, default=None)
    args = parser.parse_args()
    raise_files(args.connections + 1000)
    modes = [mode for mode in phones.MODES if mode.name in MODES]
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-idle-") as scratch:
        fleet = fleet_of.make(Path(scratch) / "data", args.phones, devices=1000)
        for mode in modes:
            rows.append(measure(fleet, mode, args))
            show(rows[-1])
    record.keep(
        "idle", f"bench/idle.py --connections {args.connections} --boots {args.boots}", {"rows": rows}, args.output
    )


def show(row: dict[str, object]) -> None:
    """One way of connecting, in four lines."""
    print(f"{row['mode']}: {row['connections']} idle connections ({row['opened_per_s']} opened a second), "
          f"{row['alive_at_the_end']} alive at the end")  # fmt: skip
    print(f"  KiB a connection: {row['kib_per_connection']} (goal {GOAL_KIB}); worker MiB {row['worker_mib']}")
    print(f"  boots without: {row['boots_without']}\n  boots while holding: {row['boots_while_holding']}")
    print(f"  CPU while nothing happens, µs a second: {row['idle_us_per_s']}", flush=True)


if __name__ == "__main__":
    main()
