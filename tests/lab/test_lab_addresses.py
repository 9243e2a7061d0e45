"""DHCP and what it tells of the server, by dnsmasq and real clients: each failure is made, and must be named first."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from expecting import Expected, shown
from namespaces import PATIENCE
from network import until
from office import HOUSE_IP, NAME, PHONE, PHONE_IP, SERVER_IP, STRANGER_IP, Office, office
from phones import Phone
from services import URL, dnsmasq

from provisioner.cli.main import cli

pytestmark = pytest.mark.slow
_MAGIC = b"\x63\x82\x53\x63"
"""Of a DHCP message: RFC 2131 section 3."""
VENDORS_OWN = "--dhcp-option-force=43,f1:04:c0:00:02:05"
"""As access points are told their controller."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("addresses")) as made:
        yield made


@pytest.fixture
def phone(here: Office) -> Phone:
    here.new_phone()
    return Phone(here.phone)


def test_the_pool_is_used_up(here: Office, phone: Phone) -> None:
    with here.tape("pool_is_empty") as tape, dnsmasq(here.house, pool="--dhcp-range=192.0.2.40,static,1h") as server:
        assert phone.lease()
        assert "no address available" in server.log()
    shown("pool_is_empty", Expected(10), tape)


def test_somebody_has_its_address(here: Office, phone: Phone) -> None:
    here.stranger.ip(f"addr add {PHONE_IP}/24 dev eth0")
    one_alone = dnsmasq(here.house, pool=f"--dhcp-range={PHONE_IP},{PHONE_IP},1h")
    with here.tape("address_is_a_strangers") as tape, one_alone as server, phone.leasing("-a500"):
        server.says("DHCPDECLINE")
    here.stranger.ip(f"addr del {PHONE_IP}/24 dev eth0")
    shown("address_is_a_strangers", Expected(11), tape)


def test_two_dhcp_servers(here: Office, phone: Phone) -> None:
    with (
        here.tape("home_router") as tape,
        dnsmasq(here.house),
        dnsmasq(here.stranger, url="http://192.0.2.66/", router=STRANGER_IP),
    ):
        assert phone.lease() == 0
    shown("home_router", Expected(12), tape)


def test_boot_options_contradict(here: Office, phone: Phone) -> None:
    with here.tape("options_contradict") as tape, dnsmasq(here.house, "--dhcp-option=66,http://old.example.net/prov"):
        assert phone.lease() == 0
    shown("options_contradict", Expected(13), tape)


def test_no_boot_option(here: Office, phone: Phone) -> None:
    with here.tape("no_boot_option") as tape, dnsmasq(here.house, url=""):
        assert phone.lease() == 0
    shown("no_boot_option", Expected(14), tape)


def test_a_phone_that_asks_for_none(here: Office, phone: Phone) -> None:
    with here.tape("asks_for_no_option") as tape, dnsmasq(here.house):
        assert phone.lease("-o", "-O", "subnet", "-O", "router", "-O", "dns", asks=()) == 0
    shown("asks_for_no_option", Expected(14), tape)


def test_option_43_of_access_points(here: Office, phone: Phone) -> None:
    with here.tape("option_43_of_others") as tape, dnsmasq(here.house, VENDORS_OWN, url=""):
        assert phone.lease() == 0
    shown("option_43_of_others", Expected(15), tape)


def test_a_bare_name_means_tftp(here: Office, phone: Phone) -> None:
    with (
        here.tape("bare_name") as tape,
        dnsmasq(here.house, f"--dhcp-option=66,{HOUSE_IP}", "--enable-tftp", "--tftp-root=/run", url=""),
    ):
        assert phone.lease() == 0
        phone.tftp(HOUSE_IP)
    shown("bare_name", Expected(17), tape)


def test_a_url_longer_than_an_option(here: Office, phone: Phone) -> None:
    long = f"https://{NAME}/" + "customer-of-a-long-name/" * 10
    with here.tape("url_is_too_long") as tape, dnsmasq(here.house, url=long[:252]):
        assert phone.lease() == 0
    shown("url_is_too_long", Expected(18), tape)


def test_the_url_stands_in_another_field(here: Office, phone: Phone) -> None:
    with here.tape("url_in_file") as tape, dnsmasq(here.house, f"--dhcp-boot={URL}", url=""):
        assert phone.lease() == 0
    shown("url_in_file", Expected(18), tape)


def test_no_router(here: Office, phone: Phone) -> None:
    with here.tape("no_router") as tape, dnsmasq(here.house, router=""):
        assert phone.lease() == 0
        phone.fetch(f"https://{SERVER_IP}/")
    shown("no_router", Expected(19), tape)


def test_an_address_of_its_former_network(here: Office, phone: Phone) -> None:
    """As after it was carried to another house: it asks for what it had, and is told no."""
    (here.place / "dhclient.leases").write_text(
        'lease { interface "eth0"; fixed-address 203.0.113.9; option subnet-mask 255.255.255.0;'
        " option dhcp-server-identifier 203.0.113.1; renew 2 2037/1/6 00:00:00; rebind 2 2037/1/6 00:00:00;"
        " expire 2 2037/1/6 00:00:00; }\n"
    )
    static = "--dhcp-range=192.0.2.0,static,1h"
    with (
        here.tape("moved_house") as tape,
        dnsmasq(here.house, "--dhcp-authoritative", pool=static),
        phone.dhclient() as client,
    ):
        client.says("DHCPNAK")
    shown("moved_house", Expected(19), tape)


def test_the_phone_turns_offers_down(here: Office, phone: Phone) -> None:
    """It takes no offer without its maker's own option."""
    (here.place / "dhclient.leases").write_text("")
    rule = "require vendor-encapsulated-options; initial-interval 1; backoff-cutoff 2;"
    with here.tape("offers_turned_down") as tape, dnsmasq(here.house), phone.dhclient(rule) as client:
        until(lambda: client.log().count("DHCPDISCOVER") > 2, client.log)
    shown("offers_turned_down", Expected(16), tape)


def test_by_the_technicians_own_programs(here: Office, phone: Phone, tmp_path: Path) -> None:
    """Taken by `provisioner-capture live`, read as a technician reads it: the first line, and the exit code."""
    into = tmp_path / "ring"
    take = ("-m", "provisioner.capture", "live", "-i", "phone", "--into", into, "--mac", PHONE, "--by", "tcpdump")
    watch = here.switch.program(sys.executable, *take, until='"live"')
    with dnsmasq(here.house, url=""), watch as live:
        until(lambda: any(into.glob("ring*")), live.log)
        assert phone.lease() == 0
        until(lambda: b"".join(one.read_bytes() for one in into.glob("ring*")).count(_MAGIC) == 4, live.log)
        assert live.end(signal.SIGINT, PATIENCE) == 0
    assert '"dropped":0' in live.log()
    read = CliRunner().invoke(cli, ["capture", "read", *map(str, into.glob("ring*")), "--mac", PHONE])
    assert (read.exit_code, read.stdout.splitlines()[1]) == (12, "No boot option [14]"), read.output
