"""Names and time, by dnsmasq, chronyd and real clients: each failure is made, and must be named first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from expecting import Expected, shown
from office import DEAD_IP, HOUSE_IP, NAME, SERVER_IP, Office, office
from phones import Phone
from services import dnsmasq, ntp, tls_server

pytestmark = pytest.mark.slow
DNS_BEYOND = "--dhcp-option=6,198.51.100.53"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("names")) as made:
        yield made


@pytest.fixture
def phone(here: Office) -> Phone:
    here.new_phone()
    here.router.filter()
    return Phone(here.phone)


@pytest.mark.parametrize(
    ("name", "row", "names", "more"),
    [
        ("name_is_unknown", 20, "", [f"--local=/{NAME}/"]),
        ("name_has_only_ipv6", 20, f"--host-record={NAME},2001:db8::10", [f"--local=/{NAME}/"]),
        ("dns_refuses", 21, "", []),
        ("dns_is_not_there", 21, "", ["--port=0", "--dhcp-option=6,192.0.2.2"]),
    ],
)
def test_names_that_become_no_address(
    here: Office, phone: Phone, name: str, row: int, names: str, more: list[str]
) -> None:
    with here.tape(name) as tape, dnsmasq(here.house, *more, names=names):
        assert phone.lease() == 0
        assert phone.fetch().returncode
    shown(name, Expected(row), tape)


def test_dns_is_blocked_on_the_way(here: Office, phone: Phone) -> None:
    here.router.filter("forward", "udp dport 53 drop")
    with here.tape("dns_is_blocked") as tape, dnsmasq(here.house, DNS_BEYOND):
        assert phone.lease() == 0
        assert phone.fetch().returncode
    shown("dns_is_blocked", Expected(21), tape)


def test_the_name_leads_to_an_old_server(here: Office, phone: Phone) -> None:
    with here.tape("name_is_stale") as tape, dnsmasq(here.house, names=f"--host-record={NAME},{DEAD_IP}"):
        assert phone.lease() == 0
        phone.fetch(seconds=2)
    shown("name_is_stale", Expected(22, names=(NAME,), addresses=(SERVER_IP,)), tape)


# --- time --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shows(here: Office) -> Path:
    """The certificate that the server shows, with its key."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(here.place / "ca.pem")
    made = ca.create_child_ca().issue_cert(NAME)
    path = here.place / "server.pem"
    path.write_bytes(made.private_key_and_cert_chain_pem.bytes())
    return path


def test_no_time_before_tls(here: Office, phone: Phone, shows: Path) -> None:
    here.router.filter("forward", "udp dport 123 drop")
    with (
        here.tape("no_time") as tape,
        dnsmasq(here.house, f"--dhcp-option=42,{DEAD_IP}"),
        tls_server(here.server, shows),
    ):
        assert phone.lease() == 0
        phone.asks_time(DEAD_IP)
        phone.shakes_hands(SERVER_IP, clock=0)
    shown("no_time", Expected(25, "phone"), tape)


def test_the_time_server_has_no_time(here: Office, phone: Phone, shows: Path) -> None:
    with (
        here.tape("time_server_lost") as tape, dnsmasq(here.house, f"--dhcp-option=42,{HOUSE_IP}"),
        ntp(here.house), tls_server(here.server, shows),
    ):  # fmt: skip
        assert phone.lease() == 0
        phone.asks_time(HOUSE_IP)
        phone.shakes_hands(SERVER_IP, clock=0)
    shown("time_server_lost", Expected(26, "phone"), tape)


def test_the_time_server_lives_in_another_year(here: Office, phone: Phone, shows: Path) -> None:
    with (
        here.tape("time_server_wrong") as tape, dnsmasq(here.house, f"--dhcp-option=42,{HOUSE_IP}"),
        ntp(here.house, years=-40), tls_server(here.server, shows),
    ):  # fmt: skip
        assert phone.lease() == 0
        phone.asks_time(HOUSE_IP)
        phone.shakes_hands(SERVER_IP, clock=time.time() - 40 * 31_556_952)
    shown("time_server_wrong", Expected(26, "phone"), tape)
