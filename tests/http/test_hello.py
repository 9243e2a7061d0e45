"""What is read out of a ClientHello: real ones of OpenSSL, and whatever else may come."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.http.hello import HelloFacts, Offer, read_hello, read_offer
from tests.http.conftest import Pki, client_context, client_hello, edge, get


def _hello(context: ssl.SSLContext, name: str | None, session: ssl.SSLSession | None = None) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context.check_hostname = name is not None
    client = context.wrap_bio(incoming, outgoing, server_hostname=name, session=session)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_the_name_asked_for_is_read(pki: Pki) -> None:
    assert read_hello(_hello(client_context(pki), "Prov.Example.NET")).name == "prov.example.net"
    assert read_hello(_hello(client_context(pki), None)).name == ""


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.asyncio
async def test_a_resumed_session_is_told_from_a_first_one(pki: Pki, version: str) -> None:
    context = client_context(pki, pki.good, version)
    assert not read_hello(_hello(context, "localhost")).resumes
    async with edge(pki.context()) as server:
        _, session, _ = await get(context, server.port)
    assert read_hello(_hello(context, "localhost", session)).resumes


def test_a_fingerprint_belongs_to_the_kind_of_client_and_not_to_the_connection(pki: Pki) -> None:
    def print_of(context: ssl.SSLContext, name: str) -> str:
        return read_hello(_hello(context, name), fingerprint=True).fingerprint

    one, other = client_context(pki), client_context(pki)
    other.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    assert print_of(one, "a.example") == print_of(one, "other.example")
    assert print_of(one, "a.example") != print_of(other, "a.example")
    assert len(print_of(one, "a.example")) == 16
    assert read_hello(_hello(one, "a.example")).fingerprint == ""


@given(st.binary(max_size=200))
def test_nothing_that_comes_in_is_an_error(data: bytes) -> None:
    read_hello(b"\x16\x03\x01\x00\xff\x01\x00\x00" + data, fingerprint=True)


@given(data=st.data())
def test_a_damaged_hello_says_nothing_or_what_it_says(pki: Pki, data: st.DataObject) -> None:
    whole = client_hello(pki)
    at = data.draw(st.integers(9, len(whole) - 1))
    damaged = whole[:at] + data.draw(st.binary(min_size=1, max_size=8)) + whole[at + 1 :]
    assert isinstance(read_hello(damaged, fingerprint=True), HelloFacts)
    assert read_hello(whole[:at], fingerprint=True) == HelloFacts()


def test_what_a_client_offers_is_read_in_its_order_without_grease(pki: Pki) -> None:
    context = client_context(pki)
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256:AES256-SHA@SECLEVEL=0")
    offer = read_offer(_hello(context, "Prov.Example.NET"))
    assert offer.name == "prov.example.net"
    assert offer.versions[:2] == (0x0304, 0x0303)
    assert [one for one in offer.suites if one >> 8 != 0x13] == [0xC02F, 0x0035, 0x00FF]
    assert 0x0804 in offer.signatures
    only = client_context(pki, version="1.2")
    assert read_offer(_hello(only, None)) == read_offer(_hello(only, None))._replace(name="", versions=(0x0303,))


def test_an_offer_with_thousands_of_suites_is_cut_short(pki: Pki) -> None:
    whole = client_hello(pki)
    start = 9 + 2 + 32
    session = 1 + whole[start]
    head, rest = whole[: start + session], whole[start + session :]
    suites = int.from_bytes(rest[:2])
    many = b"".join(number.to_bytes(2) for number in range(1, 4001))
    offer = read_offer(head + len(many).to_bytes(2) + many + rest[2 + suites :])
    assert offer.suites == tuple(range(1, 65))
    assert offer.signatures == read_offer(whole).signatures


@given(st.binary(max_size=300))
def test_no_offer_is_an_error(data: bytes) -> None:
    found = read_offer(b"\x16\x03\x01\x00\xff\x01\x00\x00\xfb" + data)
    assert all(len(one) <= 64 for one in (found.versions, found.suites, found.signatures))


@given(data=st.data())
def test_an_offer_that_is_cut_off_says_what_is_there(pki: Pki, data: st.DataObject) -> None:
    whole = client_hello(pki)
    at = data.draw(st.integers(0, len(whole)))
    cut, full = read_offer(whole[:at]), read_offer(whole)
    assert cut == Offer() or cut.suites == full.suites
    damaged = whole[:at] + data.draw(st.binary(min_size=1, max_size=8)) + whole[at + 1 :]
    assert isinstance(read_offer(damaged), Offer)
