"""A small office in the laboratory: phone, switch, DHCP house, router, a stranger on the wire, and a server beyond.

Rule: addresses are of the ranges for documentation (RFC 5737, RFC 3849), MACs too (RFC 7042) but for the phone's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from network import Host, Laboratory

PHONE: Final = "0004f2aabbcc"
PHONE_IP, ROUTER_IP, HOUSE_IP, STRANGER_IP = "192.0.2.50", "192.0.2.1", "192.0.2.2", "192.0.2.66"
SERVER_IP, DEAD_IP, BEYOND_IP = "198.51.100.10", "198.51.100.20", "198.51.100.1"
NAME: Final = "prov.example.net"
_LAN: Final = {"house": HOUSE_IP, "router": ROUTER_IP, "stranger": STRANGER_IP}


def documented(number: int) -> str:
    """A MAC that nobody has."""
    return f"00:00:5e:00:53:{number:02x}"


def colons(mac: str) -> str:
    return ":".join(mac[at : at + 2] for at in range(0, 12, 2))


@dataclass
class Office:
    """The hosts, and what is often wanted of them."""

    lab: Laboratory
    place: Path
    phone: Host
    switch: Host
    house: Host
    router: Host
    stranger: Host
    server: Host

    def new_phone(self, mac: str = PHONE, address: str = "") -> None:
        """As if another were plugged in: its MAC, no address but this one, nothing remembered of the last."""
        self.phone.ip(
            "addr flush dev eth0", "neigh flush dev eth0", "link set eth0 down",
            f"link set eth0 address {colons(mac)}", "link set eth0 up",
        )  # fmt: skip
        self.router.ip("neigh flush dev eth0")
        if address:
            self.phone.ip(f"addr add {address}/24 dev eth0", f"route replace default via {ROUTER_IP}")

    @contextmanager
    def tape(self, name: str) -> Iterator[Path]:
        """What goes by at the phone's port of the switch."""
        with self.switch.capture("phone", self.place / f"{name}.pcap") as path:
            yield path


@contextmanager
def office(place: Path) -> Iterator[Office]:
    """All of it, cabled and addressed; nothing runs in it yet."""
    with Laboratory(place) as lab:
        hosts = {name: lab.host(name) for name in ("phone", "switch", "house", "router", "stranger", "server")}
        made = Office(lab, place, **hosts)
        made.switch.ip(f"link add bridge address {documented(0xFE)} type bridge", "link set bridge up")
        lab.cable(made.phone, "eth0", made.switch, "phone", mac=colons(PHONE), far=documented(0xFD))
        made.switch.ip("link set phone master bridge")
        for number, (name, address) in enumerate(_LAN.items(), 1):
            lab.cable(hosts[name], "eth0", made.switch, name, mac=documented(number), far=documented(0xF0 + number))
            made.switch.ip(f"link set {name} master bridge")
            hosts[name].ip(f"addr add {address}/24 dev eth0")
        lab.cable(made.router, "eth1", made.server, "eth0", mac=documented(0x11), far=documented(0x10))
        made.router.ip(f"addr add {BEYOND_IP}/24 dev eth1")
        made.router.knob("net.ipv4.ip_forward", 1)
        made.server.ip(f"addr add {SERVER_IP}/24 dev eth0", f"route add default via {BEYOND_IP}")
        for name in ("house", "stranger"):
            hosts[name].ip(f"route add default via {ROUTER_IP}")
        yield made
