"""Macs and addresses, in every spelling that telephone systems use, and in none that they do not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.adapters.callers import Peers, first_mac, read_mac, read_source


@pytest.mark.parametrize(
    "text",
    [
        "00:04:F2:AA:BB:CC",
        "00-04-f2-aa-bb-cc",
        "0004.f2aa.bbcc",
        "0004F2AABBCC",
        " 0004f2aabbcc ",
        "sip:0004f2aabbcc@pbx.example.com:5060;transport=tls",
        "sips:0004F2AABBCC@x",
        "0004f2aabbcc@sip.telnyx.com",
        "0004f2aabbcc_1",
        "MAC%3a00%3a04%3af2%3aaa%3abb%3acc",
        "mac=0004f2aabbcc",
        "MAC: 00:04:f2:aa:bb:cc",
    ],
)
def test_spellings_of_one_mac(text: str) -> None:
    assert read_mac(text) == "0004f2aabbcc"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown",
        "+441711234567",
        "0004f2aabbc",
        "0004f2aabbccd",
        "000000000000",
        "0104f2aabbcc",
        "ffffffffffff",
        "0004f2aabbcc0" * 99,
        "００04f2aabbcc",
    ],
)
def test_what_is_no_mac_of_a_phone(text: str) -> None:
    assert read_mac(text) == ""


@given(st.text(max_size=300))
def test_any_text_is_a_mac_or_none(text: str) -> None:
    assert re.fullmatch("([0-9a-f]{12})?", read_mac(text), re.ASCII)


def test_the_first_that_is_one() -> None:
    assert first_mac(["", "x", "0004f2aabbcc", "0004f2000001"]) == "0004f2aabbcc"
    assert first_mac([]) == ""


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7:5060", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7"),
        ("[2001:db8::1]:5060", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("pbx.example.com:5060", ""),
        ("192.0.2.999", ""),
        ("fe80::1%eth0\nx", ""),
        ("1" * 5000, ""),
    ],
)
def test_addresses(text: str, address: str) -> None:
    assert read_source(text) == address


@given(st.text(max_size=300))
def test_any_text_is_an_address_or_none(text: str) -> None:
    assert re.fullmatch(r"[0-9a-f.:]*", read_source(text), re.ASCII)


def test_peers() -> None:
    peers = Peers(["192.0.2.0/24", "2001:db8::/32"])
    told = ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::9", "198.51.100.1", "::1", "", "x"]
    assert [peers.allows(one) for one in told] == [True, True, True, False, False, False, False]
    assert not Peers([]).allows("127.0.0.1")


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="192"):
        Peers(["192.0.2.1/33"])
