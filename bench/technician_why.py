"""A diagnosis without a capture at a million devices: the first one of a new process from a cold disk, and the rest.

Every hundredth device has records of connections, half of them of trouble, and strangers fill their ring; the phones
that are asked about are spread over all rows, and half of them have records.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import make_fleet

from provisioner import installation, settings
from provisioner.fleet.why import Why
from provisioner.model import Mac
from provisioner.store.database import Store
from provisioner.store.flights import FlightRow, write_flights
from provisioner.vendors import drivers

GOAL = 0.3
"""s, without a capture."""
EVERY = 100
"""Of so many devices one has records."""
EACH = 6
"""Records of such a device."""
STRANGERS = 10_000
BATCH = 2000
FIRSTS = 5
"""New processes, each from a cold disk."""


def measured(args: argparse.Namespace, scratch: Path) -> Mapping[str, object]:
    """Made, then asked."""
    data = scratch / "data"
    installation.init(data)
    began = time.monotonic()
    make_fleet.make_fleet(data, args.devices, "poly", "VVX 411", people=args.devices)
    records = asyncio.run(_recorded(data, args.devices))
    print(f"{args.devices:,} devices and {records:,} records made in {time.monotonic() - began:.0f} s")
    firsts = [_first(data, args.devices, number) for number in range(1 if args.quick else FIRSTS)]
    warm = asyncio.run(_warm(data, args.devices, args.calls))
    found = {
        "devices": args.devices, "records": records, "first_ms": [round(1000 * one, 1) for one in firsts],
        "warm_ms": _spread(warm["why"]), "fleet_ms": _spread(warm["fleet"]),
    }  # fmt: skip
    print(f"why: first {max(firsts) * 1000:.0f} ms at most; warm {found['warm_ms']} (goal {GOAL * 1000:.0f} ms)")
    print(f"why --fleet: {found['fleet_ms']}")
    return found


def _spread(taken: list[float]) -> dict[str, float]:
    ordered = sorted(1000 * one for one in taken)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"median": round(statistics.median(ordered), 2), "p99": round(p99, 2), "longest": round(ordered[-1], 2)}


# --- records -------------------------------------------------------------------------------------------


async def _recorded(data: Path, devices: int) -> int:
    count = 0
    async with Store.of(settings.load(data)) as store:
        batch: list[FlightRow] = []
        for row in _rows(devices):
            batch.append(row)
            if len(batch) == BATCH:
                await write_flights(store, batch, ring=20, strangers=STRANGERS)
                batch = []
            count += 1
        await write_flights(store, batch, ring=20, strangers=STRANGERS)
    return count


def _rows(devices: int) -> Iterator[FlightRow]:
    now = time.time()
    for number in range(0, devices, EVERY):
        mac = make_fleet.mac_of(number)
        for turn in range(EACH):
            bad = turn % 2 == 0
            yield FlightRow(mac, "", now - 3600 + 60 * turn, "", bad, "not_yours" if bad else "ok", "", _told(mac, bad))
    for number in range(STRANGERS):
        told = {"a": _address(number), "p": 4000, "l": "device", "e": 0.1, "h": [[772], "1301", "0804", ""]}
        yield FlightRow("", "", now - number / 10, _address(number), True, "left", "", {**told, "x": "left"})


def _told(mac: Mac, bad: bool) -> dict[str, Any]:
    status, reason = (403, "not_yours") if bad else (200, "")
    asked = [[n / 10, "GET", f"{mac}.cfg", 1, status, 5000, "0123456789abcdef", reason, "p0", 0, 0] for n in range(8)]
    chain = [[f"CN={mac}, O=Polycom", "CN=Polycom Issuing CA", 0, 2e9, "RSA", 2048, "sha256"]]
    return {
        "a": _address(int(mac, 16)), "p": 41_000, "l": "device", "e": 2.0, "u": "FileTransport PolycomVVX/6.4.7.4560",
        "h": [[772, 771], "130213011303c02f", "080404030401", "prov.example.net"],
        "t": ["TLSv1.3", "TLS_AES_256_GCM_SHA384", 0], "i": ["unique", "poly", "", mac], "n": 2, "c": chain, "r": asked,
    }  # fmt: skip


def _address(number: int) -> str:
    return f"10.{number >> 16 & 0xFF}.{number >> 8 & 0xFF}.{number & 0xFF}"


# --- asking --------------------------------------------------------------------------------------------


def _asked(devices: int, number: int) -> Mac:
    """Even ones have records."""
    place = number * 7919 * EVERY % devices
    return make_fleet.mac_of(place if number % 2 == 0 else (place + 1) % devices)


def _first(data: Path, devices: int, number: int) -> float:
    """In a new process, after the kernel has forgotten the database; loading the program is not in it."""
    for path in data.glob("provisioner.db*"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    command = [sys.executable, __file__, str(data), str(_asked(devices, 2 * number))]
    return float(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


async def _one(data: Path, mac: Mac) -> float:
    configured = settings.load(data)
    known = {one.manifest.name: one for one in drivers()}
    began = time.perf_counter()
    async with Store.of(configured) as store:
        await Why(store, known, configured).diagnose_device(mac)
        return time.perf_counter() - began


async def _warm(data: Path, devices: int, calls: int) -> dict[str, list[float]]:
    """One after the other, each of another phone."""
    configured = settings.load(data)
    known = {one.manifest.name: one for one in drivers()}
    taken: dict[str, list[float]] = {"why": [], "fleet": []}
    async with Store.of(configured) as store:
        desk = Why(store, known, configured)
        await desk.diagnose_device(_asked(devices, 1))
        for number in range(calls):
            began = time.perf_counter()
            await desk.diagnose_device(_asked(devices, number))
            taken["why"].append(time.perf_counter() - began)
        for _ in range(5):
            began = time.perf_counter()
            await desk.troubled()
            taken["fleet"].append(time.perf_counter() - began)
    return taken


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_one(Path(sys.argv[1]), Mac.parse(sys.argv[2])))))
