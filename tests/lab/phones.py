"""What a phone does at its boot, by real programs in its namespace: udhcpc, dhclient, chronyd, tftp, curl, openssl."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from network import Host, Program
from office import NAME

_TAKES: Final = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/${mask:-24}" dev "$interface"
[ -z "$router" ] || ip route replace default via "${router%% *}"
: > /etc/resolv.conf
for one in $dns; do echo "nameserver $one" >> /etc/resolv.conf; done
echo "options timeout:1 attempts:2" >> /etc/resolv.conf
"""
ASKS: Final = (66, 160)
"""Options a phone asks for beside those that everybody does."""


@dataclass
class Phone:
    """The phone of a site."""

    host: Host
    address: str = ""
    """Where it was given one by hand."""

    def lease(self, *more: str, asks: tuple[int, ...] = ASKS, tries: int = 2, vendor: str = "Polycom-VVX411") -> int:
        """Ask for an address and take it; the exit code."""
        return self.host.run(*self._udhcpc(*more, asks=asks, tries=tries, vendor=vendor), "-n").returncode

    @contextmanager
    def leasing(self, *more: str) -> Iterator[Program]:
        """Ask until the block ends."""
        with self.host.program(*self._udhcpc(*more)) as program:
            yield program

    def _udhcpc(
        self, *more: str, asks: tuple[int, ...] = ASKS, tries: int = 2, vendor: str = "Polycom-VVX411"
    ) -> list[str]:
        script = self.host.place / "takes.sh"
        script.write_text(_TAKES)
        script.chmod(0o755)
        asked = [word for number in asks for word in ("-O", str(number))]
        words = ["busybox", "udhcpc", "-f", "-q", "-i", "eth0", "-s", str(script), "-t", str(tries), "-T", "1"]
        return [*words, "-A", "1", "-V", vendor, *asked, *more]

    @contextmanager
    def dhclient(self, rules: str = "") -> Iterator[Program]:
        """A client that remembers: with what stands in dhclient.leases, and with rules of its own."""
        place = self.host.place
        (place / "dhclient.conf").write_text(rules)
        files = ("-cf", place / "dhclient.conf", "-lf", place / "dhclient.leases", "-pf", place / "dhclient.pid")
        with self.host.program("dhclient", "-d", "-v", "-sf", "/bin/true", *files, "eth0") as program:
            yield program

    def fetch(
        self, url: str = f"https://{NAME}/", *more: str, seconds: float = 5.0
    ) -> subprocess.CompletedProcess[str]:
        """Ask for a file as a Poly phone would."""
        agent = "FileTransport PolyVVX-VVX_411-UA/6.4.3.5018 (SN:0004f2aabbcc) Type/Application"
        words = ["curl", "-sS", "-k", "-A", agent, "--max-time", f"{seconds:g}", *more, url]
        return self.host.run(*words, seconds=seconds + 10)

    def tftp(self, server: str, file: str = "0004f2aabbcc.cfg") -> int:
        """Ask for a file as phones do that were told no scheme."""
        return self.host.run("busybox", "tftp", "-g", "-r", file, "-l", "/dev/null", server, seconds=2.5).returncode

    def asks_time(self, server: str) -> None:
        """Ask a time server, twice at most; whatever it says, no clock is set."""
        lines = (f"server {server} iburst maxsamples 1", f"pidfile {self.host.place}/asks.pid")
        self.host.run("chronyd", "-Q", "-u", "root", "-t", "3", *lines, seconds=8)

    def hears_lldp(self) -> None:
        """Wait for its switch to announce itself."""
        words = ("tcpdump", "-c", "1", "-n", "--immediate-mode", "-i", "eth0", "ether", "proto", "0x88cc")
        heard = self.host.run(*words)
        assert heard.returncode == 0, heard.stderr

    def shakes_hands(
        self, server: str, *more: str, clock: float | None = None, name: str = NAME, seconds: float = 20.0
    ) -> str:
        """TLS alone, by a phone that trusts ca.pem and whose clock says that; what it says of the server."""
        believes = ["-attime", str(round(clock))] if clock is not None else []
        words = ["openssl", "s_client", "-connect", f"{server}:443", "-servername", name, "-verify_return_error"]
        trusts = ["-CAfile", self.host.place / "ca.pem"]
        return self.host.run(*words, *trusts, *believes, *more, text="", seconds=seconds).stderr
