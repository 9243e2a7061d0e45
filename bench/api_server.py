"""`provisioner serve` as it ships, with an API to ask: the admin process on one core, whoever asks it on another.

Which of the children is the admin process shows in what CPU a few calls cost: nothing else tells them apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import servers

from provisioner import settings
from provisioner.keys_desk import ApiKeys
from provisioner.rights import Right
from provisioner.store.database import Store

_ASKED = 150
"""Calls by which the admin process is found."""


@dataclass
class Caller:
    """One kept connection and one key."""

    port: int
    key: str

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[float, int, Any]:
        """Seconds, status and document; bytes are sent as a file."""
        sent = {"Authorization": f"Bearer {self.key}", **{name.replace("_", "-"): one for name, one in headers.items()}}
        data = body
        if body is not None and not isinstance(body, bytes):
            data, sent["Content-Type"] = json.dumps(body), "application/json"
        began = time.perf_counter()
        self.connection.request(method, f"/api/v1{path}", data, sent)
        answer = self.connection.getresponse()
        text = answer.read()
        took = time.perf_counter() - began
        return took, answer.status, json.loads(text) if text else None


@dataclass(frozen=True)
class Served:
    """A server that is up."""

    caller: Caller
    device_port: int
    control: int
    admin: int
    worker: int

    def place(self, *, admin: int, worker: int) -> None:
        """Each on its core; the control process goes with the administration."""
        for pid, core in ((self.control, admin), (self.admin, admin), (self.worker, worker)):
            pin(pid, core)


def pin(pid: int, core: int) -> None:
    """All threads of a process on one core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {core})


@contextlib.contextmanager
def served(data: Path) -> Iterator[Served]:
    """One worker, the administration, and a rate that lets one caller ask all day; nothing leaves the server."""
    environment = {
        **os.environ, "PROVISIONER_SERVER_WORKERS": "1", "PROVISIONER_DEVICE_PORT": "0", "PROVISIONER_ADMIN_PORT": "0",
        "PROVISIONER_BOOTSTRAP_PORT": "-1", "PROVISIONER_API_RATE": "10000", "PROVISIONER_API_BURST": "100000",
        "PROVISIONER_WEBHOOK_ON": "false", "PROVISIONER_LOG_LEVEL": "warning", "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "provisioner", "--data", str(data), "serve"], env=environment)
    addresses = data / "run" / "addresses.json"
    with servers.stopping(process):
        servers.until(process, addresses.exists)
        bound = json.loads(addresses.read_text())
        port = int(bound["admin"]["port"])
        servers.until(process, lambda: servers.answers(port))
        caller = Caller(port, asyncio.run(_key(data)))
        admin, worker = _which(caller, servers.children(process.pid))
        yield Served(caller, int(bound["device"]["port"]), process.pid, admin, worker)


async def _key(data: Path) -> str:
    configured = settings.load(data)
    async with Store.of(configured) as store:
        return (await ApiKeys(store, {}, configured).make_key("bench", scopes=list(Right))).key


def _which(caller: Caller, pids: list[int]) -> tuple[int, int]:
    """The admin process, and the worker."""
    if len(pids) != 2:
        raise SystemExit(f"expected a worker and the administration, not {len(pids)} processes")
    before = {pid: _cpu(pid) for pid in pids}
    for _ in range(_ASKED):
        caller.ask("GET", "/accounts?limit=1")
    admin = max(pids, key=lambda pid: _cpu(pid) - before[pid])
    return admin, next(pid for pid in pids if pid != admin)


def _cpu(pid: int) -> float:
    return time.clock_gettime((~pid << 3) | 2)
