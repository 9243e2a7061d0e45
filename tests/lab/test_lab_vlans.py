"""Cable, LLDP and VLANs, by a real lldpd as the switch and tags of our own: each failure must be named first."""

from __future__ import annotations

import shlex
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from expecting import Expected, shown
from network import Host, Laboratory, Program, until
from office import HOUSE_IP, PHONE, PHONE_IP, SERVER_IP, colons, documented, office
from phones import Phone
from services import dnsmasq, files_server

pytestmark = pytest.mark.slow
TAGS, SAYS = (Path(__file__).with_name(name) for name in ("tags.py", "says.py"))
PORT = "Gi1/0/7"


@dataclass
class Desk:
    """A phone whose network card tags, at a port of a switch with a network for computers and one for phones."""

    lab: Laboratory
    phone: Host
    card: Host
    switch: Host
    data: Host
    voice: Host
    _number: int = field(default=0, repr=False)

    @contextmanager
    def tape(self, name: str) -> Iterator[Path]:
        with self.switch.capture("port", self.lab.place / f"{name}.pcap") as path:
            yield path

    @contextmanager
    def used(self, vlan: int) -> Iterator[None]:
        """The phone sends with that tag, the switch knows VLAN 120; 0: without one."""
        with (
            self.card.program(sys.executable, TAGS, "wire", f"{vlan}=inside", until="passes on"),
            self.switch.program(sys.executable, TAGS, "port", "0=data", "120=voice", until="passes on"),
        ):
            yield

    @contextmanager
    def lldpd(self, *orders: str, speaks: str = "lldp", more: tuple[str, ...] = ()) -> Iterator[Program]:
        """A switch that tells its neighbour who it is, each second, and what else it is ordered to tell."""
        for _ in range(_STARTS):
            self._number += 1
            socket = f"/run/lldpd/{self._number}"
            with self.switch.program("lldpd", "-d", "-u", socket, "-I", "port", "-M", "4", *more) as program:
                pace = f"configure {speaks} tx-interval 1"  # again at the end: a port may be seen only after the first
                for order in (*_SWITCH, pace, *orders, pace, "update"):
                    self._ordered(program, "lldpcli", "-u", socket, *shlex.split(order))
                if self._is_heard():
                    yield program
                    return
        raise AssertionError(f"lldpd says nothing: {program.log()}")

    def _is_heard(self) -> bool:
        """On a busy machine it may come up mute, and stays so."""
        words = ("tcpdump", "-c", "1", "-n", "--immediate-mode", "-i", "port", "-Q", "out", _NEIGHBOURLY)
        return self.switch.run(*words, seconds=6).returncode == 0

    def _ordered(self, lldpd: Program, *words: str) -> None:
        """As soon as it listens."""
        until(lambda: not self.switch.run(*words).returncode, lldpd.log)


_STARTS: Final = 5
_NEIGHBOURLY: Final = "ether proto 0x88cc or ether dst 01:00:0c:cc:cc:cc"
_SWITCH: Final = (
    "configure system hostname sw-3",
    "configure system chassisid sw-3",
    "configure system description 'Switch of the office'",
    "configure inventory software-revision 1.0",
    f"configure ports port lldp portidsubtype local {PORT} description 'desk 7'",
)
POLICY = "configure ports port med policy application voice tagged vlan 120 priority voice dscp 46"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with Laboratory(tmp_path_factory.mktemp("desk")) as lab:
        made = Desk(lab, *(lab.host(name) for name in ("phone", "card", "switch", "data", "voice")))
        lab.cable(made.phone, "eth0", made.card, "inside", mac=colons(PHONE), far=documented(0xA0))
        lab.cable(made.card, "wire", made.switch, "port", mac=documented(0xA1), far=documented(0xFD))
        for number, house in enumerate((made.data, made.voice)):
            lab.cable(house, "eth0", made.switch, house.name, mac=documented(number + 1), far=documented(0xF0 + number))
            house.ip(f"addr add {HOUSE_IP}/24 dev eth0", f"addr add {SERVER_IP}/32 dev eth0")
        made.switch.knob("net.ipv4.ip_forward", 1)  # lldpd says of itself only then that it passes frames on
        yield made


@pytest.fixture
def phone(desk: Desk) -> Phone:
    desk.phone.ip("addr flush dev eth0")
    return Phone(desk.phone)


def test_no_voice_vlan_is_offered(desk: Desk, phone: Phone) -> None:
    with desk.lldpd(), desk.tape("no_voice_vlan") as tape, desk.used(0), dnsmasq(desk.data, router=HOUSE_IP):
        assert phone.lease() == 0
        phone.hears_lldp()
        desk.data.filter("input", "tcp dport 443 drop")
        phone.fetch(f"https://{SERVER_IP}/", seconds=2)
        desk.data.filter()
    shown("no_voice_vlan", Expected(3, "network"), tape)


def test_the_voice_vlan_leads_nowhere(desk: Desk, phone: Phone) -> None:
    with desk.lldpd(POLICY), desk.tape("vlan_leads_nowhere") as tape, desk.used(120), dnsmasq(desk.data):
        phone.hears_lldp()
        assert phone.lease()
    shown("vlan_leads_nowhere", Expected(4, "network", "VLAN 120"), tape)


def test_the_phone_does_not_follow_the_policy(desk: Desk, phone: Phone) -> None:
    with desk.lldpd(POLICY), desk.tape("policy_not_followed") as tape, desk.used(0), dnsmasq(desk.data):
        phone.hears_lldp()
        assert phone.lease() == 0
    shown("policy_not_followed", Expected(5, "network", "without a tag"), tape)


def test_lldp_and_cdp_name_different_vlans(desk: Desk, phone: Phone) -> None:
    """CDP by a frame of our own: lldpd tells no voice VLAN in it."""
    with desk.lldpd(POLICY), desk.tape("lldp_against_cdp") as tape, desk.used(120), dnsmasq(desk.voice):
        phone.hears_lldp()
        desk.switch.must(sys.executable, SAYS, "port", cdp(130).hex())
        assert phone.lease() == 0
    shown("lldp_against_cdp", Expected(6, "network"), tape)


def cdp(vlan: int) -> bytes:
    """Version 2: who it is, the port, and the VLAN of telephones (type 14)."""
    told = b"".join(
        struct.pack("!HH", kind, len(value) + 4) + value
        for kind, value in ((1, b"sw-3"), (3, PORT.encode()), (14, struct.pack("!BH", 1, vlan)))
    )
    body = b"\xaa\xaa\x03\x00\x00\x0c\x20\x00" + b"\x02\xb4\x00\x00" + told
    source = bytes.fromhex(documented(0xFD).replace(":", ""))
    return b"\x01\x00\x0c\xcc\xcc\xcc" + source + struct.pack("!H", len(body)) + body


def test_dhcp_names_another_vlan(desk: Desk, phone: Phone) -> None:
    with desk.lldpd(POLICY), desk.tape("vlan_of_dhcp") as tape, dnsmasq(desk.data, "--dhcp-option-force=132,130"):
        with desk.used(0):
            phone.hears_lldp()
            assert phone.lease(asks=(66, 132, 160)) == 0
        with desk.used(130):
            assert phone.lease(asks=(66, 132, 160))
    shown("vlan_of_dhcp", Expected(7, "network"), tape)


def test_a_phone_in_its_voice_vlan_comes_up(desk: Desk, phone: Phone) -> None:
    with ExitStack() as stack:
        stack.enter_context(desk.lldpd(POLICY))
        tape = stack.enter_context(desk.tape("voice_vlan_used"))
        for one in (desk.used(120), dnsmasq(desk.voice, router=HOUSE_IP)):
            stack.enter_context(one)
        url = stack.enter_context(files_server(desk.voice, 100))
        phone.hears_lldp()
        assert phone.lease() == 0
        assert phone.fetch(url).returncode == 0
    shown("voice_vlan_used", Expected(None), tape)


def test_the_phone_is_not_there(tmp_path: Path) -> None:
    with office(tmp_path) as here:
        here.phone.ip("link set eth0 down")
        with here.switch.capture("bridge", tmp_path / "silent.pcap") as tape:
            here.stranger.run("busybox", "arping", "-c", "1", "-w", "1", "-I", "eth0", HOUSE_IP)
            here.stranger.run("busybox", "arping", "-c", "1", "-w", "1", "-I", "eth0", PHONE_IP)
        shown("phone_is_silent", Expected(2, in_the_body=True), tape)  # of its own frames there is none to cut out
