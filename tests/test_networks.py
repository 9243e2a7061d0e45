"""Which site an address belongs to, against the plainest way to find it; and text that is in the order of addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.networks import address_in, ordered, site_of, span

BERLIN, PARIS = "berlin", "paris"
SITES: Mapping[str, tuple[str, ...]] = {
    BERLIN: ("192.0.2.0/24", "2001:db8:1::/48"),
    PARIS: ("192.0.2.128/25", "198.51.100.0/24"),
}


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.0.2.7", BERLIN),
        ("192.0.2.200", PARIS),
        ("::ffff:192.0.2.200", PARIS),
        ("2001:db8:1::9", BERLIN),
        ("2001:db8:1::9%eth0", BERLIN),
        ("203.0.113.1", ""),
        ("2001:db8:2::9", ""),
        ("", ""),
        ("nowhere", ""),
    ],
)
def test_the_longest_prefix_wins(address: str, site: str) -> None:
    assert site_of(address, SITES) == site


def test_a_network_that_two_sites_claim_is_neither_s() -> None:
    shared = {BERLIN: ("10.0.0.0/8",), PARIS: ("10.0.0.0/8", "10.1.0.0/16")}
    assert site_of("10.9.0.1", shared) == ""
    assert site_of("10.1.0.1", shared) == PARIS, "what one of them claims more closely is its own"
    assert site_of("10.9.0.1", {BERLIN: ("10.0.0.0/8", "10.0.0.0/8", "nonsense")}) == BERLIN


FEW = st.integers(0, 0xFFF).map(lambda low: ipaddress.ip_address(0x0A000000 + low))
NETWORKS = st.tuples(FEW, st.integers(20, 32)).map(lambda one: str(ipaddress.ip_network(one, strict=False)))
MANY = st.dictionaries(st.sampled_from("abcd"), st.lists(NETWORKS, max_size=4).map(tuple), max_size=4)


@given(FEW, MANY)
def test_it_is_the_site_of_the_smallest_network_around(
    address: ipaddress.IPv4Address, sites: Mapping[str, tuple[str, ...]]
) -> None:
    around = [
        (ipaddress.ip_network(one).num_addresses, site)
        for site, networks in sites.items()
        for one in networks
        if address in ipaddress.ip_network(one)
    ]
    closest = {site for size, site in around if size == min(around)[0]}
    assert site_of(str(address), sites) == (closest.pop() if len(closest) == 1 else "")


@given(st.text(max_size=40), MANY)
def test_no_text_is_too_strange(address: str, sites: Mapping[str, tuple[str, ...]]) -> None:
    assert site_of(address, sites) in {"", *sites}


ANY = st.ip_addresses()


@given(ANY, ANY)
def test_text_is_in_the_order_of_addresses(
    one: ipaddress.IPv4Address | ipaddress.IPv6Address, other: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    plain = [ordered(str(it)) for it in (one, other)]
    if all(text.startswith(f"{it.version}:") for text, it in zip(plain, (one, other), strict=True)):  # not 4 in 6
        assert (plain[0] < plain[1]) == ((one.version, int(one)) < (other.version, int(other)))
    assert ordered(address_in(ordered(str(one)))) == ordered(str(one)) != ""


@given(ANY, st.integers(0, 32))
def test_a_network_is_what_lies_between_its_ends(
    one: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int
) -> None:
    network = ipaddress.ip_network((one, length), strict=False)
    low, high = span(str(network))
    outside = ipaddress.ip_address((int(network.broadcast_address) + 1) % (1 << network.max_prefixlen))
    assert low <= high and f"{one.version}:" == low[:2]
    if not getattr(one, "ipv4_mapped", None):
        assert low <= ordered(str(one)) <= high
    if outside not in network and not getattr(outside, "ipv4_mapped", None):
        assert not low <= ordered(str(outside)) <= high


def test_what_is_no_address_has_no_place() -> None:
    assert (ordered("nobody"), address_in("")) == ("", "")
    with pytest.raises(ValueError, match="does not appear"):
        span("home")
