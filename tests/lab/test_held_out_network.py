"""Cases that no rule was written by: other programs, other makers' phones, another order. They run last.

When one fails, the rule is mended for all such cases, and the case stays as it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from chain_maker import certificate
from expecting import HELD_OUT, Expected, shown
from office import HOUSE_IP, NAME, PHONE_IP, ROUTER_IP, SERVER_IP, Office, office
from phones import Phone
from services import dnsmasq, files_server, ntp, tls_server

pytestmark = pytest.mark.slow
GRANDSTREAM, SNOM, YEALINK = "000b82aabb01", "000413aabb02", "001565aabb03"
MITEL, FANVIL = "00085daabb04", "0c383eaabb05"
_YEAR = 31_556_952


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("apart")) as made:
        yield made


def test_a_grandstream_meets_a_second_dhcp_server(here: Office) -> None:
    """Which offers an older way to boot, and is the quicker; the client is ISC's."""
    here.new_phone(GRANDSTREAM)
    ours = dnsmasq(here.house, "--dhcp-reply-delay=1", f"--dhcp-option=66,https://{NAME}/gs", url="")
    theirs = dnsmasq(
        here.stranger, "--dhcp-option=150,192.0.2.66", pool="--dhcp-range=192.0.2.200,192.0.2.210,12h", url=""
    )
    (here.place / "dhclient.leases").write_text("")
    rules = 'send vendor-class-identifier "Grandstream GXP GXP2170"; also request tftp-server-name;'
    with here.tape("second_dhcp") as tape, ours as server, theirs, Phone(here.phone).dhclient(rules) as client:
        client.says("bound to")
        server.says("DHCPOFFER")
    shown("second_dhcp", Expected(12, "network", mac=GRANDSTREAM), tape, into=HELD_OUT)


def test_somebody_takes_the_address_of_a_phone_that_is_up(here: Office) -> None:
    here.new_phone(SNOM, PHONE_IP)
    with here.tape("address_taken_later") as tape, files_server(here.server, 100) as url:
        assert Phone(here.phone).fetch(url, "-A", "Mozilla/4.0 (compatible; snomD785-SIP 10.1.159.12)").returncode == 0
        here.stranger.ip(f"addr add {PHONE_IP}/24 dev eth0")
        here.stranger.run("busybox", "arping", "-A", "-c", "2", "-w", "2", "-I", "eth0", "-s", PHONE_IP, PHONE_IP)
        here.phone.run("busybox", "arping", "-c", "1", "-w", "1", "-I", "eth0", ROUTER_IP)
    here.stranger.ip(f"addr del {PHONE_IP}/24 dev eth0")
    shown("address_taken_later", Expected(11, "network", mac=SNOM), tape, into=HELD_OUT)


def test_a_filter_forbids_dns(here: Office) -> None:
    here.new_phone(MITEL)
    here.router.filter("forward", "udp dport 53 reject with icmp type admin-prohibited")
    with here.tape("dns_is_forbidden") as tape, dnsmasq(here.house, "--dhcp-option=6,198.51.100.53"):
        assert Phone(here.phone).lease(vendor="AastraIPPhone6867i", asks=(43, 66, 159, 160)) == 0
        here.phone.run("busybox", "nslookup", NAME, seconds=5)
    here.router.filter()
    shown("dns_is_forbidden", Expected(21, "network", mac=MITEL), tape, into=HELD_OUT)


def test_a_time_server_in_the_future(here: Office) -> None:
    """So the phone takes the server's certificate for one that has ended."""
    root = certificate("Example Root", ca=True, days=(-10, 36_500))
    shown_one = certificate(NAME, root, names=[NAME])
    (here.place / "ca.pem").write_bytes(root.pem)
    chain = here.place / "server.pem"
    chain.write_bytes(shown_one.key_pem + shown_one.pem + root.pem)
    here.new_phone(FANVIL, "192.0.2.70")
    phone, then = Phone(here.phone), time.time() + 40 * _YEAR
    with here.tape("time_of_tomorrow") as tape, ntp(here.house, years=40), tls_server(here.server, chain, "-tls1_2"):
        phone.asks_time(HOUSE_IP)
        phone.shakes_hands(SERVER_IP, clock=then)
    shown("time_of_tomorrow", Expected(26, "phone", mac=FANVIL), tape, into=HELD_OUT)


def test_big_packets_of_the_phone_do_not_get_through(here: Office) -> None:
    """The other way round: what it sends is too big, as a client's certificates are."""
    here.new_phone(YEALINK, "192.0.2.71")
    here.router.ip("link set eth1 mtu 1300")
    here.router.filter("output", "icmp type destination-unreachable drop")
    agent = ("-A", "Yealink SIP-T46S 66.86.0.15 00:15:65:aa:bb:03")
    with here.tape("narrow_upwards") as tape, files_server(here.server, 100) as url:
        big = [word for number in range(4) for word in ("-H", f"X-Part-{number}: {'x' * 700}")]
        Phone(here.phone).fetch(url, *agent, *big, seconds=2.5)
    here.router.filter()
    here.router.ip("link set eth1 mtu 1500")
    shown("narrow_upwards", Expected(31, "network", mac=YEALINK), tape, into=HELD_OUT)


def test_the_servers_own_filter_says_no(here: Office) -> None:
    here.new_phone(YEALINK, "192.0.2.72")
    here.server.filter("input", "tcp dport 8443 reject")
    with here.tape("server_filters") as tape:
        here.phone.run("busybox", "nc", "-w", "2", SERVER_IP, "8443", seconds=4)
    here.server.filter()
    shown("server_filters", Expected(29, "network", mac=YEALINK), tape, into=HELD_OUT)


def test_nothing_answers_at_another_port(here: Office) -> None:
    """A phone that tries TLS 1.0 at a port where nobody is, again and again."""
    here.new_phone(GRANDSTREAM, "192.0.2.73")
    with here.tape("wrong_port") as tape:
        for _ in range(3):
            here.phone.run("openssl", "s_client", "-tls1", "-connect", f"{SERVER_IP}:18443", text="", seconds=4)
    shown("wrong_port", Expected(28, "network", mac=GRANDSTREAM), tape, into=HELD_OUT)
