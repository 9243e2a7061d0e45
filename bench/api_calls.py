"""Calls about one resource, pages of the device list, searches, and an import: what each takes one caller."""

from __future__ import annotations

import itertools
import random
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import make_fleet
from api_server import Caller

Call = Callable[[], tuple[float, int, Any]]
Figures = dict[str, Any]
_WARM = 20
"""Calls that are not counted."""


def told(times: list[float]) -> Figures:
    """In ms."""
    whole = sorted(times)
    rank = max(0, -(-len(whole) * 99 // 100) - 1)
    return {
        "calls": len(whole), "p50_ms": round(statistics.median(whole) * 1000, 2),
        "p99_ms": round(whole[rank] * 1000, 2), "max_ms": round(whole[-1] * 1000, 2),
    }  # fmt: skip


def measured(name: str, calls: int, call: Call, good: int = 200) -> Figures:
    """So many calls, the first few not counted."""
    times = []
    for number in range(calls + _WARM):
        took, status, document = call()
        if status != good:
            raise SystemExit(f"{name}: {status} {document}")
        if number >= _WARM:
            times.append(took)
    found = told(times)
    print(f"{name:44} p50 {found['p50_ms']:8.2f} ms   p99 {found['p99_ms']:8.2f} ms   max {found['max_ms']:8.2f} ms")
    return found


class Singles:
    """Calls about any of so many devices."""

    def __init__(self, caller: Caller, devices: int, seed: int = 1) -> None:
        self._caller, self._devices = caller, devices
        self._dice = random.Random(seed)  # which device is asked about
        self._spare, self._names = itertools.count(devices + seed * 1_000_000), itertools.count()

    def _any(self) -> int:
        return self._dice.randrange(self._devices)

    def read(self, path: str) -> Call:
        """GET it."""
        return lambda: self._caller.ask(
            "GET", path.format(mac=make_fleet.mac_of(self._any()), extension=f"e{self._any()}-1")
        )

    def add(self) -> tuple[float, int, Any]:
        """POST a device."""
        mac = f"0004f3{next(self._spare) % (1 << 24):06x}"
        body = {"mac": mac, "vendor": "poly", "model": "VVX 411", "account": "account1"}
        return self._caller.ask("POST", "/devices", body, Idempotency_Key=f"add{mac}")

    def rebind(self) -> tuple[float, int, Any]:
        """PUT a line: the same extension under another label, with all that follows."""
        n = self._any()
        body = {"extension": f"e{n}-1", "label": f"L{next(self._names)}"}
        return self._caller.ask("PUT", f"/devices/{make_fleet.mac_of(n)}/lines/1", body, If_Match="*")

    def setting(self) -> tuple[float, int, Any]:
        """PATCH a device's layer."""
        values = {"values": {"poll.period": 3600 + next(self._names) % 1000}}
        path = f"/layers/device/{make_fleet.mac_of(self._any())}"
        return self._caller.ask("PATCH", path, values, If_Match="*")

    def page(self) -> tuple[float, int, Any]:
        """A page of an account's devices."""
        return self._caller.ask("GET", f"/devices?limit=100&account=account{self._any() % make_fleet.ACCOUNTS}")


READ = (
    "/devices/{mac}", "/devices/{mac}/status", "/devices/{mac}/lines/1", "/extensions/{extension}",
    "/layers/device/{mac}", "/devices/{mac}/files",
)  # fmt: skip


def single(caller: Caller, devices: int, calls: int) -> Figures:
    """Calls about one resource."""
    on, few = Singles(caller, devices), max(1, calls // 4)
    found = {path: measured(f"GET {path}", calls, on.read(path)) for path in READ}
    return {
        **found,
        "PUT line": measured("PUT /devices/{mac}/lines/1", few, on.rebind),
        "PATCH layer": measured("PATCH /layers/device/{mac}", few, on.setting),
        "POST device": measured("POST /devices", few, on.add, 201),
    }


def pages(caller: Caller, devices: int, calls: int) -> Figures:
    """Pages of the device list, and what is found by a text."""
    dice = random.Random(2)  # which page
    cursors, path = [], "/devices?limit=100"
    for _ in range(min(50, devices // 100 - 1)):
        _, _, page = caller.ask("GET", path)
        cursors.append(page["next"])
        path = f"/devices?limit=100&cursor={page['next']}"

    def any_of(query: str) -> Call:
        def ask() -> tuple[float, int, Any]:
            drawn = {
                "cursor": dice.choice(cursors), "n": dice.randrange(100), "any": dice.randrange(devices),
                "hex": f"{dice.randrange(65536):04x}",
            }  # fmt: skip
            return caller.ask("GET", f"/devices?limit=100&{query.format(**drawn)}")

        return ask

    plain = {
        "first page": "", "next page": "cursor={cursor}", "of an account": "account=account{n}",
        "of an account, unassigned": "account=account{n}&state=unassigned", "revoked": "state=revoked",
        "of a model": "model=VVX%20411", "q = beginning of a MAC": "q=0004f2{hex}", "q = end of a MAC": "q={hex}",
        "q = a number": "q={any}01", "q = a name": "q=User%20{any}", "q = nothing that is there": "q=zz{any}",
    }  # fmt: skip
    few = max(1, calls // 10)
    return {name: measured(name, few, any_of(query)) for name, query in plain.items()}


# --- import -------------------------------------------------------------------------------------------------------


def imported(caller: Caller, devices: int, rows: int) -> Figures:
    """An import of people with phones, begun by one call; meanwhile somebody asks for single devices."""
    table = ["user,extension,secret,mac,model"]
    table += [f"Import {n},im{n},import-secret-{n},0004f1{n:06x},VVX 411" for n in range(rows)]
    began = time.monotonic()
    took, status, job = caller.ask(
        "POST", "/import?account=account1", "\n".join(table).encode(), Content_Type="text/csv"
    )
    if status != 202:
        raise SystemExit(f"import: {status} {job}")
    beside: list[float] = []
    stop = threading.Event()
    asking = threading.Thread(target=_ask_on, args=(Caller(caller.port, caller.key), devices, beside, stop))
    asking.start()
    steps = _watched(caller, job["id"], began)
    stop.set()
    asking.join()
    whole, last = time.monotonic() - began, steps[-1]
    print(
        f"import of {rows:,} rows: {whole:.1f} s, {last['checked_after_s']:.1f} s of it looking; begun in {took:.2f} s;"
        f" {len(steps)} looks saw it go on; calls beside it p99 {told(beside)['p99_ms']:.0f} ms"
    )
    return {
        "rows": rows, "seconds": round(whole, 2), "begun_ms": round(took * 1000, 1),
        "checked_after_s": last["checked_after_s"], "looks": len(steps), "beside": told(beside),
    }  # fmt: skip


def _ask_on(caller: Caller, devices: int, beside: list[float], stop: threading.Event) -> None:
    call = Singles(caller, devices, 3).read("/devices/{mac}")
    while not stop.is_set():
        beside.append(call()[0])
        time.sleep(0.02)


def _watched(caller: Caller, job: str, began: float) -> list[Figures]:
    """Looks at it until it is done; each says more than the one before, or time is up."""
    steps: list[Figures] = []
    checked_after = 0.0
    while time.monotonic() - began < 600:
        _, _, now = caller.ask("GET", f"/jobs/{job}")
        if not checked_after and now["state"] != "checking":
            checked_after = round(time.monotonic() - began, 2)
        if not steps or (now["checked"], now["done"]) != (steps[-1]["checked"], steps[-1]["done"]):
            steps.append({"checked": now["checked"], "done": now["done"], "checked_after_s": checked_after})
        if now["state"] == "done" and not now["failed"]:
            steps[-1]["checked_after_s"] = checked_after
            return steps
        if now["state"] not in ("checking", "applying"):
            raise SystemExit(f"the import is {now}")
        time.sleep(0.2)
    raise SystemExit("the import is not done after 600 s")
