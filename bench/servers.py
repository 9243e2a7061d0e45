"""The two servers: ours with one worker, and Debian's nginx with one worker and static files, set up alike."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import fleet_of

PATIENCE = 30.0
"""s for a server to come up or to leave."""
RSA_CIPHER = "ECDHE-RSA-AES128-GCM-SHA256"
_USABLE = sorted(os.sched_getaffinity(0))
"""Before anything was placed anywhere."""
EC_CIPHER = "ECDHE-ECDSA-AES128-GCM-SHA256"
TLS13_CIPHER = "TLS_AES_128_GCM_SHA256"


@dataclass(frozen=True)
class Server:
    """One that is up: where, and the process that serves."""

    name: str
    port: int
    worker: int

    def cpu_us(self) -> float:
        """CPU of all the worker's threads so far, those that have ended included.

        The kernel's CPU clock of a process (clock_getcpuclockid(3)): the sum of what schedstat says of each thread.
        """
        return time.clock_gettime_ns((~self.worker << 3) | 2) / 1000

    def waited_us(self) -> float:
        """How long its threads were ready and had no core: far above nothing, the machine was not ours alone."""
        return sum(int(path.read_text().split()[1]) for path in self._tasks("schedstat")) / 1000

    def memory(self) -> dict[str, int]:
        """Bytes: Rss, Pss and what is private."""
        lines = Path(f"/proc/{self.worker}/smaps_rollup").read_text().splitlines()[1:]
        found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return {
            "rss": found["Rss"],
            "pss": found["Pss"],
            "private": found["Private_Dirty"] + found["Private_Clean"],
        }

    def pin(self, core: int) -> None:
        """Keep it on one core; the client takes another."""
        for task in Path(f"/proc/{self.worker}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})

    def _tasks(self, name: str) -> Iterator[Path]:
        return Path(f"/proc/{self.worker}/task").glob(f"*/{name}")


def cores() -> tuple[int, int]:
    """One for the client, one for the servers; the same one when there is no other."""
    return _USABLE[0], _USABLE[1 % len(_USABLE)]


@contextlib.contextmanager
def ours(data: Path, program: tuple[str, ...] = ("-m", "provisioner"), **environment: str) -> Iterator[Server]:
    """`provisioner serve` with one worker and nothing beside it: no administration, no outbox; the rest as it ships."""
    process = subprocess.Popen(
        [sys.executable, *program, "--data", str(data), "serve"],
        env={
            **os.environ,
            "PROVISIONER_SERVER_WORKERS": "1",
            "PROVISIONER_DEVICE_PORT": "0",
            "PROVISIONER_ADMIN_PORT": "-1",
            "PROVISIONER_BOOTSTRAP_PORT": "-1",
            "PROVISIONER_WEBHOOK_ON": "false",
            "PROVISIONER_LOG_LEVEL": "warning",
            "PYTHONWARNINGS": "ignore",
            **environment,
        },
    )
    with stopping(process):
        addresses = data / "run" / "addresses.json"
        until(process, addresses.exists)  # written once every worker serves, removed at the end
        port = int(json.loads(addresses.read_text())["device"]["port"])
        until(process, lambda: answers(port))
        yield Server("ours", port, _only_child(process))


@contextlib.contextmanager
def nginx(
    scratch: Path,
    fleet: fleet_of.Installation,
    files: Mapping[str, bytes],
    port: int = 0,
    **more: str,
) -> Iterator[Server]:
    """nginx at its best: files known and open, 404s remembered, no log of any kind; ``more`` lines for http, server."""
    root = scratch / "root"
    for name, body in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(body)
    if not port:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    (scratch / "trusted.pem").write_bytes(fleet.trusted)
    (scratch / "named.pem").write_bytes(fleet.roots)
    (scratch / "nginx.conf").write_text(_configuration(scratch, root, port, fleet, more))
    process = subprocess.Popen(["nginx", "-c", str(scratch / "nginx.conf"), "-p", str(scratch)])
    with stopping(process):
        until(process, lambda: bool(children(process.pid)) and answers(port))
        yield Server("nginx", port, _only_child(process))


def _configuration(scratch: Path, root: Path, port: int, fleet: fleet_of.Installation, more: Mapping[str, str]) -> str:
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = " ".join(
        f"{kind}_temp_path {scratch}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
{user} worker_processes 1; daemon off; master_process on; pid {scratch}/nginx.pid; error_log {scratch}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; log_not_found off; sendfile on; tcp_nodelay on; keepalive_requests 1000000;
  keepalive_timeout 60s; default_type application/xml; {temporary}
  open_file_cache max=10000 inactive=1h; open_file_cache_valid 1h; open_file_cache_errors on;
  {more.get("http", "")}
  server {{
    listen 127.0.0.1:{port} ssl backlog=512; root {root}; {more.get("server", "")}
    ssl_certificate {fleet.rsa}; ssl_certificate_key {fleet.rsa};
    ssl_certificate {fleet.ec}; ssl_certificate_key {fleet.ec};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_ciphers {EC_CIPHER}:{RSA_CIPHER}; ssl_prefer_server_ciphers on;
    ssl_conf_command Ciphersuites {TLS13_CIPHER};
    ssl_session_tickets on; ssl_session_cache none; ssl_session_timeout 1h;
    ssl_verify_client on; ssl_verify_depth 5;
    ssl_client_certificate {scratch}/named.pem; ssl_trusted_certificate {scratch}/trusted.pem;
  }}
}}
"""


def children(pid: int) -> list[int]:
    """Direct children."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def _only_child(process: subprocess.Popen[bytes]) -> int:
    (worker,) = children(process.pid)
    return worker


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def until(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    """Wait for it to be ready; SystemExit when it has left or takes too long."""
    name = " ".join(str(one) for one in process.args)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{name} has left with code {process.returncode}")
        if ready():
            return
        time.sleep(0.05)
    raise SystemExit(f"{name} did not come up within {PATIENCE:g} s")


@contextlib.contextmanager
def stopping(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End it at the end, by its pid."""
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
