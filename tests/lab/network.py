"""A network of the tests' own: namespaces inside one holder, which takes all of them and all their programs with it.

Rule: nothing here has a name outside. The holder is the first process of its PID namespace and reads a pipe of ours:
when that closes, also because the test was killed, the kernel ends every program in it and takes every interface away.
So no name need be unique, no program is looked for by its name, and nothing is left on the machine.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from namespaces import PATIENCE, UNSHARE, done, environment, refused

_HOLD: Final = "mount -t tmpfs none /run && mkdir /run/netns /run/lldpd && echo ready && exec cat"
"""With a /run of its own: there `ip netns` keeps its names, and daemons their sockets."""
_TURN: Final = 0.02
_COUNTED: Final = re.compile(r"(\d+) packets? captured, (\d+) packets? received by filter")


def until(true: Callable[[], object], what: Callable[[], str], seconds: float = PATIENCE) -> None:
    """Wait for a condition; AssertionError with `what` when it does not come."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what()}"
        time.sleep(_TURN)


@dataclass
class Program:
    """A program that runs in the laboratory; what it says goes to a file."""

    name: str
    entered: subprocess.Popen[bytes]
    path: Path

    @property
    def pid(self) -> int:
        """As this side counts: the child of the one that entered; 0 when it has ended."""
        try:
            children = Path(f"/proc/{self.entered.pid}/task/{self.entered.pid}/children").read_text()
        except OSError:
            return 0
        return int(children.split()[0]) if children.split() else 0

    @property
    def lives(self) -> bool:
        return self.entered.poll() is None

    def log(self) -> str:
        """What it has said so far."""
        return self.path.read_text(errors="replace")

    def says(self, text: str, seconds: float = PATIENCE) -> None:
        """Wait until it has said that; AssertionError when it ends first."""

        def said() -> bool:
            there = text in self.log()
            assert there or self.lives, f"{self.name} has ended: {self.log()}"
            return there

        until(said, lambda: f"{self.name} did not say {text!r}: {self.log()}", seconds)

    def tell(self, number: signal.Signals) -> None:
        """Tell it something; whoever has ended hears nothing."""
        until(lambda: self.pid or not self.lives, lambda: f"{self.name} did not begin")
        for pid in filter(None, (self.pid, self.entered.pid if number == signal.SIGCONT else 0)):
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(pid, number)  # who entered stops with its child, and would not see its end

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 5.0) -> int:
        """Ask it to end, and make it; its exit code."""
        self.tell(number)
        self.tell(signal.SIGCONT)
        try:
            return self.entered.wait(seconds)
        except subprocess.TimeoutExpired:
            self.tell(signal.SIGKILL)
            return self.entered.wait(PATIENCE)


@dataclass
class Host:
    """One namespace: a phone, a switch, a router, a server."""

    name: str
    holder: int
    place: Path
    _begun: int = field(default=0, repr=False)

    def _inside(self, words: tuple[str | Path, ...]) -> list[str]:
        net = f"/proc/{self.holder}/root/run/netns/{self.name}"
        enter = ["nsenter", f"--target={self.holder}", "--mount", "--pid", f"--net={net}", "--"]
        return [*enter, *map(str, words)]

    def run(
        self, *words: str | Path, seconds: float = 20.0, text: str | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A program to its end; whoever takes longer is killed, which is exit code 137."""
        bounded = ("timeout", "--signal=KILL", f"{seconds:g}", *words)
        return subprocess.run(
            self._inside(bounded), input=text, capture_output=True, text=True, errors="replace",
            env=environment(env), timeout=seconds + PATIENCE, check=False,
            stdin=subprocess.DEVNULL if text is None else None,
        )  # fmt: skip

    def must(self, *words: str | Path, text: str | None = None) -> str:
        """A program that cannot fail; what it said."""
        made = self.run(*words, text=text)
        assert made.returncode == 0, f"{self.name}: {shlex.join(map(str, words))}: {made.stderr or made.stdout}"
        return made.stdout

    def ip(self, *lines: str) -> None:
        """Several lines of ip(8) at once."""
        self.must("ip", "-batch", "-", text="\n".join(lines) + "\n")

    def filter(self, hook: str = "", *rules: str) -> None:
        """Rules of nft(8) at one hook (input, forward, output), in place of all that there were."""
        chain = ["table ip lab {", "chain one {", f"type filter hook {hook} priority 0", *rules, "}", "}"]
        self.must("nft", "-f", "-", text="\n".join(["flush ruleset", *(chain if hook else [])]) + "\n")

    def knob(self, name: str, value: object) -> None:
        """As sysctl(8) does it."""
        self.must("sh", "-c", f"echo {value} > /proc/sys/{name.replace('.', '/')}")

    @contextmanager
    def program(
        self,
        *words: str | Path,
        until: str = "",
        env: Mapping[str, str] | None = None,
        end: signal.Signals = signal.SIGTERM,
    ) -> Iterator[Program]:
        """A program until the block ends; it is there when it has said `until`."""
        self._begun += 1
        name = Path(words[0]).name
        log = self.place / f"{self.name}-{self._begun}-{name}.log"
        with log.open("wb") as told:
            entered = subprocess.Popen(
                self._inside(words),
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                env=environment(env),
            )
        made = Program(name, entered, log)
        try:
            if until:
                made.says(until)
            yield made
        finally:
            made.end(end)

    @contextmanager
    def capture(self, interface: str, path: Path, only: str = "") -> Iterator[Path]:
        """Every frame of an interface, until the block ends: then what has come is waited for."""
        take = ("tcpdump", "-i", interface, "-n", "-s", "0", "--immediate-mode", "-U", "-Z", "root", "-w", path)
        with self.program(*take, *([only] if only else []), until="listening on", end=signal.SIGINT) as tcpdump:
            yield path
            _caught_up(tcpdump)


def _caught_up(tcpdump: Program) -> None:
    """It has written what the kernel had for it: it says so when it is asked, by SIGUSR1."""

    def both() -> bool:
        before = len(_COUNTED.findall(tcpdump.log()))
        tcpdump.tell(signal.SIGUSR1)
        until(lambda: len(_COUNTED.findall(tcpdump.log())) > before, tcpdump.log)
        taken, come = _COUNTED.findall(tcpdump.log())[-1]
        return int(taken) >= int(come)

    until(both, tcpdump.log)


class Laboratory:
    """The holder, and what is in it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._hosts: dict[str, Host] = {}

    def __enter__(self) -> Self:
        self.place.mkdir(parents=True, exist_ok=True)
        self._unshare = subprocess.Popen(
            [*UNSHARE, "sh", "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
        )
        assert self._unshare.stdout is not None
        assert self._unshare.stdout.readline() == b"ready\n", refused()
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text()
        self.holder = int(children.split()[0])
        self._resolv = self.place / "resolv.conf"
        self._resolv.write_text("")
        self._hold("mount", "--bind", self._resolv, "/etc/resolv.conf")
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        for pipe in (self._unshare.stdin, self._unshare.stdout):
            assert pipe is not None
            pipe.close()
        self._unshare.wait(PATIENCE)

    def _hold(self, *words: str | Path, text: str | None = None) -> None:
        enter = ["nsenter", f"--target={self.holder}", "--mount", "--pid", "--net", "--", *map(str, words)]
        made = done(enter, text)
        assert made.returncode == 0, f"{shlex.join(enter)}: {made.stderr}"

    def host(self, name: str) -> Host:
        """A namespace of that name, without IPv6; made when it is first asked for."""
        if name not in self._hosts:
            self._hold("ip", "netns", "add", name)
            self._hosts[name] = Host(name, self.holder, self.place)
            self._hosts[name].ip("link set lo up")
            self._hosts[name].knob("net.ipv6.conf.default.disable_ipv6", 1)
        return self._hosts[name]

    def cable(self, one: Host, port: str, other: Host, end: str, *, mac: str = "", far: str = "") -> None:
        """A wire between two hosts. Without offload: lengths and checksums on it are as on a real one."""
        near, beyond = (f"address {address}" if address else "" for address in (mac, far))
        line = f"link add {port} netns {one.name} {near} type veth peer name {end} netns {other.name} {beyond}"
        self._hold("ip", "-batch", "-", text=f"{line}\n")
        for host, interface in ((one, port), (other, end)):
            host.must("ethtool", "-K", interface, "tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off")
            host.ip(f"link set {interface} up")

    def resolves(self, *servers: str) -> None:
        """Whom the programs in here ask for names."""
        lines = [*(f"nameserver {one}" for one in servers), "options timeout:1 attempts:2"]
        self._resolv.write_text("\n".join(lines) + "\n")
