"""LLDP and LLDP-MED as they are: two lldpd across a wire, one of them a phone, asked through snmpd by AgentX."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from cabinet import PHONE

from provisioner.model import Mac

POLICY = "configure ports {} med policy application voice vlan 120 priority voice dscp 46"
ASK = """
import asyncio, json
from provisioner.model import Mac
from provisioner.switches.credentials import Community
from provisioner.switches.describe import describe
from provisioner.switches.engine import Pace, Where, close_shared, shared
from provisioner.switches.fence import Fence
from provisioner.switches.locate import by_neighbour, greet
from provisioner.switches.ports import Rule

async def main():
    agent = await (await shared()).agent(Where("127.0.0.1", 1161, Fence(here=True)), Community("public"), Pace(2.0, 2))
    mac = Mac("MAC")
    greeting = await greet(agent, mac)
    place = await by_neighbour(agent, mac)
    port = place and await describe(agent, mac, place, greeting, "sw1", Rule.AUTO, {})
    await close_shared()
    print(json.dumps(port and [
        port.name, port.link, [one.vlan for one in port.offered], port.used and port.used.vlan,
        port.neighbour.mac, sorted(port.neighbour.capabilities), "software" in port.inventory,
    ]))

asyncio.run(main())
""".replace("MAC", PHONE)


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert found, f"{name} is missing: .ci/packages installs it"
    return found


def done(*words: str) -> str:
    made = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
    assert made.returncode == 0, f"{words}: {made.stderr} (namespaces take root)"
    return made.stdout


def has_namespaces() -> bool:
    """Whether this machine lets us have networks of our own; says so where it does not."""
    name = f"try{os.getpid()}"
    made = subprocess.run(("ip", "netns", "add", name), capture_output=True, text=True, check=False)
    subprocess.run(("ip", "netns", "del", name), capture_output=True, check=False)
    if made.returncode:
        print(f"No network namespaces here, so no real lldpd is asked: {made.stderr.strip()}", file=sys.__stderr__)
    return made.returncode == 0


@contextmanager
def wire(switch: str, phone: str) -> Iterator[None]:
    """Two namespaces, and a cable between them; the phone's end has its Mac."""
    with ExitStack() as stack:
        for name in (switch, phone):
            done("ip", "netns", "add", name)
            stack.callback(subprocess.run, ("ip", "netns", "del", name), check=False)
        phones = ("peer", "name", "vb", "netns", phone, "address", Mac(PHONE).colons)
        done("ip", "link", "add", "va", "netns", switch, "type", "veth", *phones)
        for name, one in ((switch, "va"), (switch, "lo"), (phone, "vb")):
            done("ip", "-n", name, "link", "set", one, "up")
        yield


@contextmanager
def daemon(space: str, log: Path, *words: str) -> Iterator[None]:
    with log.open("wb") as told:
        process = subprocess.Popen(["ip", "netns", "exec", space, *words], stdout=told, stderr=told)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.slow  # daemons of others, who tell each other once a second
def test_a_phone_is_found_by_what_a_real_lldpd_says() -> None:
    if not has_namespaces():
        return
    place = Path(tempfile.mkdtemp(prefix="ld", dir="/tmp"))  # a socket's name has 107 bytes
    place.chmod(0o755)  # lldpd gives up its rights
    switch, phone = f"sw{os.getpid()}", f"ph{os.getpid()}"
    agentx, sockets = place / "x", {"va": place / "s", "vb": place / "p"}
    (place / "snmpd.conf").write_text(f"rocommunity public\nmaster agentx\nagentXSocket unix:{agentx}\nsysName sw1\n")
    snmpd = (program("snmpd"), "-f", "-Lo", "-C", "-c", str(place / "snmpd.conf"), f"--persistentDir={place}")
    lldpd = program("lldpd")
    Path("/run/lldpd").mkdir(exist_ok=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        stack.enter_context(wire(switch, phone))
        stack.enter_context(daemon(switch, place / "snmpd.log", *snmpd, "udp:127.0.0.1:1161"))
        until(agentx.exists)
        ours = ("-d", "-x", "-X", f"unix:{agentx}", "-u", str(sockets["va"]), "-I", "va", "-M", "4")
        stack.enter_context(daemon(switch, place / "switch.log", lldpd, *ours))
        theirs = ("-d", "-u", str(sockets["vb"]), "-I", "vb", "-M", "3", "-S", "VVX 411")
        stack.enter_context(daemon(phone, place / "phone.log", lldpd, *theirs))
        for name, one in sockets.items():
            until(one.exists)
            for order in ("configure lldp tx-interval 1", POLICY.format(name)):
                until(lambda one=one, order=order: _orders(one, order))
        command = ["ip", "netns", "exec", switch, sys.executable, "-c", ASK]
        told: list[object] | None = None
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            if told and told[2] and told[3]:
                break
            time.sleep(1.0)
    assert told == ["va", "up", [120], 120, PHONE, ["telephone"], True]


def _orders(socket: Path, order: str) -> bool:
    words = [program("lldpcli"), "-u", str(socket), *order.split()]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def until(is_so: object) -> None:
    assert callable(is_so)
    for _ in range(100):
        if is_so():
            return
        time.sleep(0.1)
    raise AssertionError("it did not become so within 10 s")
