"""The way to the server and back: closed, forbidden, lost in one direction, narrow; each must be named first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import trustme
from expecting import Expected, shown
from office import DEAD_IP, HOUSE_IP, NAME, PHONE, ROUTER_IP, SERVER_IP, Office, office
from phones import Phone
from services import URL, dnsmasq, files_server, tftp_server, tls_server

pytestmark = pytest.mark.slow
ADDRESSES = count(100)
BY_IP = f"https://{SERVER_IP}/"
V6_PHONE, V6_ROUTER, V6_SERVER = "2001:db8:1::50", "2001:db8:1::1", "2001:db8:2::10"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("paths")) as made:
        made.phone.knob("net.ipv4.tcp_syn_retries", 2)
        yield made


@pytest.fixture
def phone(here: Office) -> Phone:
    """It has an address of its own, for a server may go on sending to the last one; and nothing is in its way."""
    address = f"192.0.2.{next(ADDRESSES)}"
    here.new_phone(address=address)
    here.router.filter()
    return Phone(here.phone, address)


@pytest.fixture(scope="module")
def shows(here: Office) -> Path:
    """A chain that does not fit into one segment, and its key."""
    ca = trustme.CA(key_type=trustme.KeyType.RSA)
    ca.cert_pem.write_to_path(here.place / "ca.pem")
    made = ca.create_child_ca(key_type=trustme.KeyType.RSA).issue_cert(NAME, key_type=trustme.KeyType.RSA)
    path = here.place / "server.pem"
    path.write_bytes(made.private_key_and_cert_chain_pem.bytes())
    return path


def test_a_filter_drops_it(here: Office, phone: Phone) -> None:
    here.router.filter("forward", "tcp dport 443 drop")
    with here.tape("dropped_on_the_way") as tape:
        phone.fetch(BY_IP, seconds=2)
    shown("dropped_on_the_way", Expected(27, "network"), tape)


def test_nothing_listens(here: Office, phone: Phone) -> None:
    with here.tape("nothing_listens") as tape:
        phone.fetch(BY_IP)
    shown("nothing_listens", Expected(28, "network"), tape)


@pytest.mark.parametrize(
    ("name", "word"), [("forbidden", "admin-prohibited"), ("host_unreachable", "host-unreachable")]
)
def test_a_filter_says_no(here: Office, phone: Phone, name: str, word: str) -> None:
    here.router.filter("forward", f"tcp dport 443 reject with icmp type {word}")
    with here.tape(name) as tape:
        phone.fetch(BY_IP)
    shown(name, Expected(29, "network"), tape)


@pytest.mark.parametrize("route", ["prohibit", "unreachable"])
def test_a_route_says_no(here: Office, phone: Phone, route: str) -> None:
    here.router.ip(f"route add {route} {SERVER_IP}/32")
    with here.tape(f"route_{route}") as tape:
        phone.fetch(BY_IP)
    here.router.ip(f"route del {route} {SERVER_IP}/32")
    shown(f"route_{route}", Expected(29, "network"), tape)


def test_the_way_back_is_lost(here: Office, phone: Phone, shows: Path) -> None:
    """At the phone nothing answers; frames at the server tell that it does."""
    here.router.filter("forward", f"ip daddr {phone.address} drop")
    far = here.place / "far.pcap"
    with here.tape("way_back_is_lost") as tape, here.server.capture("eth0", far), tls_server(here.server, shows):
        phone.fetch(BY_IP, seconds=2)
    shown("way_back_is_lost", Expected(30, "network"), tape, server=far)
    shown("way_back_unseen", Expected(27, "network", sure=False), tape)


def test_a_narrow_way_that_says_nothing(here: Office, phone: Phone, shows: Path) -> None:
    here.router.ip("link set eth0 mtu 1400")
    here.router.filter("output", "icmp type destination-unreachable drop")
    with here.tape("narrow_way") as tape, tls_server(here.server, shows):
        phone.shakes_hands(SERVER_IP, seconds=2.5)
    here.router.ip("link set eth0 mtu 1500")
    shown("narrow_way", Expected(31, "network"), tape)


def test_a_narrow_way_that_says_so_is_none(here: Office, phone: Phone) -> None:
    here.router.ip("link set eth0 mtu 1400")
    far = here.place / "narrow_far.pcap"
    with here.tape("narrow_and_said") as tape, here.server.capture("eth0", far), files_server(here.server, 3000) as url:
        assert phone.fetch(url).returncode == 0
    here.router.ip("link set eth0 mtu 1500")
    shown("narrow_and_said", Expected(None), tape, server=far)


def test_packets_are_lost(here: Office, phone: Phone) -> None:
    """As on a bad cable: what the switch sends is not what arrives."""
    here.phone.ip(f"route replace default via {ROUTER_IP} advmss 300")
    here.phone.filter("input", f"ip saddr {SERVER_IP} meta length > 100 numgen inc mod 10 < 7 drop")
    with here.tape("packets_are_lost") as tape, files_server(here.server, 9000) as url:
        phone.fetch(url, seconds=3)
    here.phone.filter()
    shown("packets_are_lost", Expected(32, "network"), tape)


def test_something_between_cuts_it(here: Office, phone: Phone, shows: Path) -> None:
    here.router.filter("forward", "tcp dport 443 meta length > 150 reject with tcp reset")
    with here.tape("cut_behind_the_hello") as tape, tls_server(here.server, shows):
        phone.shakes_hands(SERVER_IP)
    shown("cut_behind_the_hello", Expected(33, "network", "something between", sure=True), tape)


def test_the_server_takes_it_and_says_nothing(here: Office, phone: Phone, shows: Path) -> None:
    with here.tape("server_has_no_time") as tape, tls_server(here.server, shows) as server:
        server.tell(signal.SIGSTOP)
        phone.fetch(BY_IP, seconds=2)
        server.tell(signal.SIGCONT)
    shown("server_has_no_time", Expected(37, "server"), tape)


def test_one_of_two_addresses_is_dead(here: Office, phone: Phone, shows: Path) -> None:
    """At one boot it takes the one, and at the next the other."""
    here.router.filter("forward", f"ip daddr {DEAD_IP} drop")
    dead = dnsmasq(here.house, f"--host-record={NAME},{DEAD_IP}")
    with here.tape("one_address_is_dead") as tape, dead, tls_server(here.server, shows):
        here.lab.resolves(HOUSE_IP)
        for address in (SERVER_IP, DEAD_IP):
            here.phone.run("busybox", "nslookup", NAME)
            phone.fetch(URL, "--resolve", f"{NAME}:443:{address}", seconds=2)
    shown("one_address_is_dead", Expected(23, "network"), tape)


def test_its_maker_sends_it_elsewhere(here: Office, phone: Phone, shows: Path) -> None:
    service, other = "rps.yealink.com", "prov.former-provider.example"
    addresses = {service: "198.51.100.31", other: "198.51.100.32"}
    here.server.ip(*(f"addr add {one}/24 dev eth0" for one in addresses.values()))
    known = [f"--host-record={name},{one}" for name, one in addresses.items()]
    with here.tape("sent_elsewhere") as tape, dnsmasq(here.house, *known), tls_server(here.server, shows):
        here.lab.resolves(HOUSE_IP)
        for name, address in addresses.items():
            here.phone.run("busybox", "nslookup", name)
            phone.shakes_hands(address, name=name)
    here.server.ip(*(f"addr del {one}/24 dev eth0" for one in addresses.values()))
    shown("sent_elsewhere", Expected(69, names=(NAME,), addresses=(SERVER_IP,)), tape)


def test_ipv6_leads_nowhere(here: Office, phone: Phone) -> None:
    for host, lines in (
        (here.phone, (f"addr add {V6_PHONE}/64 dev eth0 nodad", f"route add default via {V6_ROUTER}")),
        (here.router, (f"addr add {V6_ROUTER}/64 dev eth0 nodad", f"route add blackhole {V6_SERVER}/128")),
    ):
        host.knob("net.ipv6.conf.eth0.disable_ipv6", 0)
        host.ip(*lines)
    here.router.knob("net.ipv6.conf.all.forwarding", 1)
    with here.tape("ipv6_leads_nowhere") as tape:
        phone.fetch(f"https://[{V6_SERVER}]/", seconds=2)
    for host in (here.phone, here.router):
        host.knob("net.ipv6.conf.eth0.disable_ipv6", 1)
    shown("ipv6_leads_nowhere", Expected(24, "network"), tape)


def test_tftp_has_no_such_file(here: Office, phone: Phone) -> None:
    with here.tape("tftp_no_such_file") as tape, tftp_server(here.server):
        phone.tftp(SERVER_IP)
    shown("tftp_no_such_file", Expected(75, "network", "error 1"), tape)


def test_tftp_data_comes_from_another_port(here: Office, phone: Phone) -> None:
    """And a filter that knows port 69 alone drops it."""
    here.router.filter("forward", f"ip saddr {SERVER_IP} udp sport != 69 drop")
    with here.tape("tftp_data_dropped") as tape, tftp_server(here.server, f"{PHONE}.cfg"):
        phone.tftp(SERVER_IP)
    shown("tftp_data_dropped", Expected(75, "network", "no data"), tape)
