"""What a storm is played on: phones with certificates, and the servers, one at a time on one port and core."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import fleet_of
import servers
import storm_share

from provisioner import settings, storm_cast, trust
from provisioner.demo import demo
from provisioner.simulator.phone import Flash, Phone
from provisioner.simulator.storm_boot import _WALKS
from provisioner.simulator.storm_cards import Cards, persona_of
from provisioner.simulator.storm_plan import StormPhone, StormPlan
from provisioner.simulator.storm_wire import Attempt, StormWire
from provisioner.simulator.walk import GaveUp, Walk
from provisioner.simulator.wire import Answer, TlsSeen

TOGETHER = 16
"""Calm boots at a time."""
LIMIT_CONN = 8
"""What an operator would write: as many requests of one address at a time."""


@dataclass(frozen=True)
class Stage:
    """Everything that does not change from run to run."""

    scratch: Path
    data: Path
    fresh: Path
    """The same installation before any phone has ever booted."""
    phones: tuple[StormPhone, ...]
    nat: str
    port: int
    share: storm_share.Share
    client_core: int
    server_core: int
    files: Mapping[str, bytes]

    @property
    def url(self) -> str:
        """What all phones are told."""
        return f"https://localhost:{self.port}/"

    def plan(self, **more: object) -> StormPlan:
        """A storm on this stage."""
        given: dict[str, object] = {
            "phones": self.phones,
            "url": self.url,
            "address": "127.0.0.1",
            "trust": self.data / "tls" / "ca.pem",
            "nat": self.nat,
            "uploads": False,
            **more,
        }
        return StormPlan(**given)  # type: ignore[arg-type]  # each caller names fields of StormPlan


@contextlib.contextmanager
def build(
    scratch: Path, call: storm_cast.Call, share: storm_share.Share, say: Callable[[str], None]
) -> Iterator[Stage]:
    """Install, sign, enlist, boot everybody once in calm; the client then has one core and the server the other."""
    client_core, server_core = servers.cores()
    data, fresh, port = scratch / "data", scratch / "fresh", _free_port()
    demo.prepare(data)
    with servers.ours(data, PROVISIONER_DEVICE_PORT=str(port)):
        cast = asyncio.run(storm_cast.prepare(settings.load(data), call, say))
    shutil.copytree(data, fresh)
    phones = tuple(cast.phones)
    stage = Stage(
        scratch, data, fresh, phones, phones[0].site if call.nat else "", port, share, client_core, server_core, {}
    )
    say(f"booting {call.phones} phones in calm ...")
    with servers.ours(data, PROVISIONER_DEVICE_PORT=str(port)):
        files = asyncio.run(_calm(stage))
        time.sleep(servers.PATIENCE / 10)  # the recorder's last batches
    root = scratch / "root"
    for name, body in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(body)
    os.sched_setaffinity(0, {client_core})
    yield replace(stage, files=files)


def _free_port() -> int:
    """Below the ports that the system gives to clients, thousands of which come and go here."""
    for port in random.sample(range(20_000, 30_000), 100):
        with contextlib.suppress(OSError), socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(("127.0.0.1", port))
            return port
    raise SystemExit("no port from 20000 to 30000 is free")


# --- calm ---------------------------------------------------------------------------------------------------


class _Watched(StormWire):
    """Notes what it is given."""

    files: dict[str, bytes]

    async def exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        answer = await super().exchange(method, target, headers, body)
        if method == "GET" and answer.status == 200:
            self.files[unquote(urlsplit(target).path).lstrip("/")] = answer.body
        return answer


async def _calm(stage: Stage) -> dict[str, bytes]:
    """Every phone boots once, a few at a time; every file that any of them got."""
    plan, files = stage.plan(patience=30.0), {}
    cards, few = Cards(plan.trust), asyncio.Semaphore(TOGETHER)

    async def boot(phone: StormPhone) -> None:
        async with few:
            attempt = Attempt(asyncio.get_running_loop().time() + plan.patience)

            def connect(origin: object) -> StormWire:
                made = _Watched(origin, "127.0.0.1", phone, cards, attempt)  # type: ignore[arg-type]  # an Origin
                made.files = files
                return made

            persona = persona_of(phone)
            played = Phone(persona=persona, mac=phone.mac, attempts=1, upload_log=False)
            walk = Walk(played, plan.url, Flash(), TlsSeen(), connect)
            try:
                result = await _WALKS[persona.sequence](walk)
            except GaveUp as error:
                raise SystemExit(f"{phone.mac} did not boot in calm: {attempt.failure}") from error
            finally:
                await walk.close()
            if not result.lines:
                raise SystemExit(f"{phone.mac} has no line: {result.refused_because or result.no_line_because}")

    await asyncio.gather(*(boot(one) for one in stage.phones))
    return files


# --- servers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """One of the servers that are compared. ``settings`` are ours only, as ``gate_order=fifo``."""

    name: str
    settings: Mapping[str, str]
    program: str = "ours"


def ours(name: str = "ours", **changed: str) -> Kind:
    """Ours, with settings changed."""
    return Kind(name, changed)


OURS = ours()
COMPARED = (
    Kind("nginx", {}, "nginx"),
    Kind(f"nginx, limit_conn {LIMIT_CONN}", {}, "nginx-limit"),
    Kind("aiohttp run_app", {}, "aiohttp"),
)
NGINX_RICH = Kind("nginx, with as much CPU as ours", {}, "nginx")
"""It takes less CPU a boot, so the same share of a core is less of an overload to it."""
BASES = {"nginx": COMPARED[0], "nginx-limit": COMPARED[0], "aiohttp": COMPARED[2]}
"""Whose calibration is taken for which program."""
PARTS_OFF = (
    ours("ours, no dead check", gate_dead_check="false"),
    ours("ours, first in first out", gate_order="fifo"),
    ours("ours, no fairness", gate_fair="false"),
)
ALL_OFF = ours(
    "ours, a plain queue",
    gate_dead_check="false", gate_order="fifo", gate_fair="false", gate_patience="120", gate_deadline="60",
)  # fmt: skip
"""All of the gate off. Its queue holds what can be begun before the deadline, so that must be far away too."""


@contextlib.contextmanager
def serving(stage: Stage, kind: Kind, share: float, *, data: Path | None = None) -> Iterator[servers.Server]:
    """That server, newly started, on its core with its share of it."""
    with _started(stage, kind, data or stage.data) as server:
        server.pin(stage.server_core)
        stage.share.set(server.worker, share)
        try:
            yield server
        finally:
            stage.share.free(server.worker)  # it shall not take minutes to leave


@contextlib.contextmanager
def _started(stage: Stage, kind: Kind, data: Path) -> Iterator[servers.Server]:
    with contextlib.ExitStack() as stack:
        if kind.program == "ours":
            given = {f"PROVISIONER_{name.upper()}": text for name, text in kind.settings.items()}
            given |= {"PROVISIONER_LOG_LEVEL": "error", "PROVISIONER_SERVER_STALL": "60"}  # starved is not hung
            yield stack.enter_context(servers.ours(data, PROVISIONER_DEVICE_PORT=str(stage.port), **given))
        elif kind.program == "aiohttp":
            yield stack.enter_context(_aiohttp(stage))
        else:
            limited = kind.program == "nginx-limit"
            http = "limit_conn_zone $binary_remote_addr zone=site:10m;" if limited else ""
            own = f"limit_conn site {LIMIT_CONN};" if limited else ""
            tls = stage.data / "tls"
            bundle = trust.load(stage.data).pem_bundle
            house = fleet_of.Installation(
                stage.data, (), bundle, _roots(stage), tls / "server-rsa.pem", tls / "server-ec.pem", tls / "ca.pem"
            )
            made = servers.nginx(stage.scratch, house, {}, port=stage.port, http=http, server=own)
            yield stack.enter_context(made)


def _roots(stage: Stage) -> bytes:
    """Only those above the phones: nginx names them all in each handshake."""
    return b"".join((stage.data / "demo" / one / "cas.pem").read_bytes() for one in ("poly", "yealink"))


@contextlib.contextmanager
def _aiohttp(stage: Stage) -> Iterator[servers.Server]:
    tls, trusted = stage.data / "tls", stage.scratch / "trusted.pem"
    trusted.write_bytes(trust.load(stage.data).pem_bundle)
    program = str(Path(__file__).parent / "storm_aiohttp.py")
    certificates = [str(tls / "server-rsa.pem"), str(tls / "server-ec.pem")]
    process = subprocess.Popen(
        [sys.executable, program, str(stage.port), str(stage.scratch / "root"), str(trusted), *certificates],
        stderr=subprocess.DEVNULL,  # asyncio tells of every handshake that fails
    )
    with servers.stopping(process):
        servers.until(process, lambda: servers.answers(stage.port))
        yield servers.Server("aiohttp", stage.port, process.pid)
