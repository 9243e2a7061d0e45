"""The API over a large fleet: single resources at 100,000 devices, pages of the device list at a million.

The real server serves it in its admin process; one caller asks over a kept connection, each call after the answer to
the one before, as a script does. What is told is the caller's time: the server's and the way there and back.

    python bench/api.py [--devices 100000] [--many 1000000] [--calls 2000]
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import make_fleet
import record

from provisioner import installation, settings
from provisioner.keys_desk import ApiKeys
from provisioner.rights import Right
from provisioner.store.database import Store

GOAL_SINGLE = 0.050
"""s, p99 of a call about one resource."""
GOAL_PAGE = 0.150
"""s of a page of the device list."""


@dataclass
class Caller:
    """One kept connection and one key."""

    connection: http.client.HTTPConnection
    key: str

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[float, int, Any]:
        """Seconds, status and document."""
        sent = {"Authorization": f"Bearer {self.key}", **{name.replace("_", "-"): one for name, one in headers.items()}}
        data = None
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body), "application/json"
        began = time.perf_counter()
        self.connection.request(method, f"/api/v1{path}", data, sent)
        answer = self.connection.getresponse()
        text = answer.read()
        took = time.perf_counter() - began
        return took, answer.status, json.loads(text) if text else None


@contextmanager
def served(data: Path) -> Iterator[Caller]:
    """`provisioner serve` as it ships, with a rate that lets one caller ask all day."""
    environment = {
        **os.environ, "PROVISIONER_SERVER_WORKERS": "1", "PROVISIONER_DEVICE_PORT": "0", "PROVISIONER_ADMIN_PORT": "0",
        "PROVISIONER_BOOTSTRAP_PORT": "-1", "PROVISIONER_API_RATE": "10000", "PROVISIONER_API_BURST": "100000",
    }  # fmt: skip
    words = [sys.executable, "-m", "provisioner", "--data", str(data), "serve"]
    process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    try:
        port = _port(data, process)
        yield Caller(http.client.HTTPConnection("127.0.0.1", port, timeout=120), asyncio.run(_key(data)))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _port(data: Path, process: subprocess.Popen[bytes]) -> int:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        try:
            return int(json.loads((data / "run" / "addresses.json").read_text())["admin"]["port"])
        except (OSError, ValueError, KeyError):
            time.sleep(0.1)
    raise SystemExit("the server did not come up")


async def _key(data: Path) -> str:
    configured = settings.load(data)
    async with Store.of(configured) as store:
        return (await ApiKeys(store, {}, configured).make_key("bench", scopes=list(Right))).key


def fleet(directory: Path, devices: int) -> Path:
    """An installation with so many devices, each on an extension of its own."""
    data = directory / f"data{devices}"
    installation.init(data)
    make_fleet.make_fleet(data, devices, "poly", "VVX 411")
    return data


def told(times: list[float]) -> dict[str, float]:
    """In ms."""
    whole = sorted(times)
    rank = max(0, -(-len(whole) * 99 // 100) - 1)
    return {
        "calls": len(whole), "p50_ms": round(statistics.median(whole) * 1000, 2),
        "p99_ms": round(whole[rank] * 1000, 2), "max_ms": round(whole[-1] * 1000, 2),
    }  # fmt: skip


def measured(name: str, calls: int, call: Callable[[], tuple[float, int, Any]], good: int = 200) -> dict[str, float]:
    """So many calls, the first few not counted."""
    times = []
    for number in range(calls + 20):
        took, status, document = call()
        if status != good:
            raise SystemExit(f"{name}: {status} {document}")
        if number >= 20:
            times.append(took)
    found = told(times)
    print(f"{name:44} p50 {found['p50_ms']:8.2f} ms   p99 {found['p99_ms']:8.2f} ms   max {found['max_ms']:8.2f} ms")
    return found


def single(caller: Caller, devices: int, calls: int) -> dict[str, dict[str, float]]:
    """Calls about one resource."""
    random.seed(1)
    any_mac, anyone = (lambda: make_fleet.mac_of(random.randrange(devices))), (lambda: random.randrange(devices))
    spare, names = itertools.count(devices), itertools.count()

    def add() -> tuple[float, int, Any]:
        body = {"mac": make_fleet.mac_of(next(spare)), "vendor": "poly", "model": "VVX 411", "account": "account1"}
        return caller.ask("POST", "/devices", body, Idempotency_Key=f"add{next(names)}")

    def rebind() -> tuple[float, int, Any]:
        n = anyone()
        return caller.ask(
            "PUT",
            f"/devices/{make_fleet.mac_of(n)}/lines/1",
            {"extension": f"e{n}-1", "label": f"L{next(names)}"},
            If_Match="*",
        )

    def setting() -> tuple[float, int, Any]:
        values = {"values": {"poll.period": 3600 + next(names) % 1000}}
        return caller.ask("PATCH", f"/layers/device/{any_mac()}", values, If_Match="*")

    def about(path: str) -> Callable[[], tuple[float, int, Any]]:
        return lambda: caller.ask("GET", path.format(mac=any_mac(), extension=f"e{anyone()}-1"))

    few = max(1, calls // 4)
    read = {
        path: measured(f"GET {path}", calls, about(path))
        for path in (
            "/devices/{mac}", "/devices/{mac}/status", "/devices/{mac}/lines/1", "/extensions/{extension}",
            "/layers/device/{mac}", "/devices/{mac}/files",
        )
    }  # fmt: skip
    return {
        **read,
        "PUT line": measured("PUT /devices/{mac}/lines/1", few, rebind),
        "PATCH layer": measured("PATCH /layers/device/{mac}", few, setting),
        "POST device": measured("POST /devices", few, add, 201),
    }  # fmt: skip


def pages(caller: Caller, devices: int, calls: int) -> dict[str, dict[str, float]]:
    """Pages of the device list."""
    random.seed(2)
    cursors = []
    path = "/devices?limit=100"
    for _ in range(50):
        _, _, page = caller.ask("GET", path)
        cursors.append(page["next"])
        path = f"/devices?limit=100&cursor={page['next']}"
    few = max(1, calls // 10)

    def number() -> tuple[float, int, Any]:
        return caller.ask("GET", f"/devices?limit=100&q={random.randrange(devices)}01")

    def any_query(query: str) -> Callable[[], tuple[float, int, Any]]:
        def ask() -> tuple[float, int, Any]:
            drawn = {
                "cursor": random.choice(cursors),
                "n": random.randrange(100),
                "hex": f"{random.randrange(65536):04x}",
            }
            return caller.ask("GET", f"/devices?limit=100&{query.format(**drawn)}")

        return ask

    plain = (
        "",
        "cursor={cursor}",
        "account=account{n}",
        "account=account{n}&state=unassigned",
        "model=VVX%20411",
        "q=0004f2{hex}",
    )
    found = {query or "first page": measured(query or "first page", few, any_query(query)) for query in plain}
    found["q=a number"] = measured("q=a number", max(1, few // 10), number)
    found["q=the end of a MAC"] = measured("q=the end of a MAC", max(1, few // 10), any_query("q={hex}"))
    return found


def main() -> None:
    """Both fleets, then the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        with served(fleet(Path(directory), args.devices)) as caller:
            print(f"{args.devices:,} devices")
            one = single(caller, args.devices, args.calls)
        with served(fleet(Path(directory), args.many)) as caller:
            print(f"{args.many:,} devices")
            many = pages(caller, args.many, args.calls)
    worst = max(found["p99_ms"] for found in one.values())
    print(f"p99 of single calls: at most {worst:.1f} ms; the goal is {GOAL_SINGLE * 1000:.0f} ms")
    figures = {
        "devices": args.devices, "many": args.many, "single": one, "pages": many,
        "goals": {"single_p99_ms": GOAL_SINGLE * 1000, "page_ms": GOAL_PAGE * 1000},
    }  # fmt: skip
    record.keep("api", " ".join(["bench/api.py", *sys.argv[1:]]), figures, args.out)


if __name__ == "__main__":
    main()
