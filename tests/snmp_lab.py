"""Agents of others to be asked: snmpsim with switches out of ``cabinet``, and snmpd with one that has a state."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cabinet import Cabinet, recorded

from provisioner.switches import oids
from provisioner.switches.discovery import engine_in, request
from provisioner.switches.oids import Oid, Value, dotted

HERE = Path(__file__).resolve().parent
READ, WRITE, USER = "reads-only", "may-write", "technician"
AUTH_KEY, PRIVACY_KEY = "an-auth-key-1", "a-privacy-key-2"
_SIMULATOR = (
    "import sys, types; sys.modules['pysmi'] = types.SimpleNamespace(__version__='0')\n"
    "from snmpsim.commands.responder import main; sys.exit(main())"
)
"""It names the version of pysmi in its heading, and has no other use for it."""


def free_port() -> int:
    """A UDP port of this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, place: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A daemon until the block ends; it is there when it answers an engine's discovery."""
    log = place / "daemon.log"
    with log.open("wb") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told, cwd=place, env={**os.environ, **environment})
    try:
        _await(port, process, log)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.1)
        asking.connect(("127.0.0.1", port))
        for _ in range(300):
            assert process.poll() is None, log.read_text()
            try:
                asking.send(request(1))
                if engine_in(asking.recv(4096), 1):
                    return
            except OSError:
                time.sleep(0.05)
    raise AssertionError(f"no agent within 30 s: {log.read_text()}")


@contextmanager
def simulated(
    place: Path,
    switches: Mapping[str, dict[Oid, Value]],
    *,
    v3: bool = False,
    algorithms: tuple[str, str] = ("SHA256", "AES"),
) -> Iterator[int]:
    """snmpsim with one switch a community (or SNMPv3 context; ``self`` is the one without a name); its port."""
    records = place / "records"
    records.mkdir(parents=True, exist_ok=True)
    (place / "cache").mkdir(exist_ok=True)
    for name, rows in switches.items():
        (records / f"{name}.snmprec").write_text(recorded(rows))
    port = free_port()
    command = [sys.executable, "-c", _SIMULATOR, "--log-level=error", f"--cache-dir={place / 'cache'}"]
    command += ["--v3-engine-id=auto"]
    if v3:
        command += [f"--v3-user={USER}", f"--v3-auth-key={AUTH_KEY}", f"--v3-auth-proto={algorithms[0]}"]
        command += [f"--v3-priv-key={PRIVACY_KEY}", f"--v3-priv-proto={algorithms[1]}"]
    command += [f"--data-dir={records}", f"--agent-udpv4-endpoint=127.0.0.1:{port}"]
    with running(command, port, place, {"SNMPSIM_ALLOW_ROOT": "true"}):
        yield port


@dataclass
class RealSwitch:
    """snmpd, with a switch behind it that has a state."""

    port: int
    state: Path

    @property
    def said(self) -> dict[str, object]:
        return dict(json.loads(self.state.read_text()))

    def mood(self, **mood: bool) -> None:
        """What it does wrong from now on."""
        said = json.loads(self.state.read_text())
        said["mood"] = {name.replace("_", " "): one for name, one in mood.items()}
        self.state.write_text(json.dumps(said))

    def value(self, oid: Oid) -> str:
        """What it would say."""
        return str(json.loads(self.state.read_text())["rows"][dotted(oid)][1])

    def put(self, oid: Oid, value: int) -> None:
        said = json.loads(self.state.read_text())
        said["rows"][dotted(oid)][1] = str(value)
        self.state.write_text(json.dumps(said))


_OWN = (
    "1.3.6.1.2.1.2.2",
    "1.3.6.1.2.1.31.1.1",
    "1.3.6.1.2.1.17",
    "1.0.8802",
    "1.3.6.1.2.1.105",
    "1.3.6.1.2.1.47",
    "1.3.6.1.4.1.9",
)
_SPARE = ("interfaces", "ifTable", "ifXTable", "ifx", "entity", "snmpNotifyTable")


@contextmanager
def real(place: Path, switch: Cabinet, *, users: tuple[str, ...] = ()) -> Iterator[RealSwitch]:
    """net-snmp's snmpd; ``users``: lines of createUser, each with rights to read and to write."""
    place.mkdir(parents=True, exist_ok=True)
    program = shutil.which("snmpd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert program, "apt-get install snmpd"
    port, state, config = free_port(), place / "state.json", place / "snmpd.conf"
    table = {dotted(oid): _cell(value) for oid, value in switch.rows().items() if oid[:7] != (1, 3, 6, 1, 2, 1, 1)}
    state.write_text(json.dumps({"rows": table, "mood": {}}))
    lines = [f"rocommunity {READ} 127.0.0.1", f"rwcommunity {WRITE} 127.0.0.1", f"sysName {switch.name}"]
    lines += [f"sysObjectID .{dotted(switch.maker)}"]
    lines += [f"pass_persist -p 1 .{root} {sys.executable} {HERE / 'pass_agent.py'} {state}" for root in _OWN]
    for one in users:
        name = one.split()[0]
        lines += [f"createUser {one}", f"rwuser {name} noauth"]
    config.write_text("\n".join(lines) + "\n")
    command = [program, "-f", "-Lo", "-C", "-c", str(config), "-I", ",".join(f"-{name}" for name in _SPARE)]
    command += [f"udp:127.0.0.1:{port}"]
    with running(command, port, place, {"SNMP_PERSISTENT_DIR": str(place), "MIBS": ""}):
        yield RealSwitch(port, state)


def _cell(value: Value) -> list[str]:
    if isinstance(value, int):
        return ["integer", str(value)]
    if isinstance(value, bytes):
        return ["octet", value.hex(" ")]
    return ["objectid", "." + oids.dotted(value)]
