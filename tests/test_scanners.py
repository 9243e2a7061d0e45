"""Listed scanners are known by their ClientHello at the cost of a glance; nothing that a phone sends is on the list."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.http.hello import read_hello
from provisioner.http.scanners import KNOWN, LISTED, Scanners, shape_of
from provisioner.settings import Settings

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "overload.md").read_text("utf-8")


def hello(version: int, suites: int, *, session: bytes = b"") -> bytes:
    """A ClientHello of this shape, and of nothing else."""
    body = version.to_bytes(2) + bytes(32) + bytes([len(session)]) + session + (2 * suites).to_bytes(2)
    body += b"".join((0xC000 + number).to_bytes(2) for number in range(suites)) + b"\x01\x00"
    return b"\x16\x03\x01" + (len(body) + 4).to_bytes(2) + b"\x01" + len(body).to_bytes(3) + body


def said_by(context: ssl.SSLContext) -> bytes:
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="p.example").do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("session", [b"", bytes(32)])
def test_each_that_is_listed_is_suspected_by_its_shape(session: bytes) -> None:
    listed = Scanners(Settings().gate_scanners)
    for one in KNOWN:
        assert listed.suspects(hello(one.version, one.suites, session=session)), one
        assert one.fingerprint in listed
        assert re.fullmatch(r"[0-9a-f]{16}", one.fingerprint) and ": " in one.source
    assert len({one.fingerprint for one in KNOWN}) == len(KNOWN)


def test_what_libraries_of_phones_say_is_not_on_the_list() -> None:
    listed = Scanners((LISTED,))
    for versions in (
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version, context.maximum_version = versions
        said = said_by(context)
        assert not listed.suspects(said), "not even looked at closer"
        assert read_hello(said, fingerprint=True).fingerprint not in listed


def test_an_operator_has_a_list_of_their_own_beside_it_or_in_its_place() -> None:
    said = said_by(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    fingerprint = read_hello(said, fingerprint=True).fingerprint
    both, own, none = Scanners((LISTED, fingerprint.upper())), Scanners((fingerprint,)), Scanners(())
    first = KNOWN[0]
    assert both.suspects(said) and fingerprint in both and first.fingerprint in both
    assert own.suspects(said) and fingerprint in own and first.fingerprint not in own
    assert not none.suspects(hello(first.version, first.suites)) and first.fingerprint not in none
    assert LISTED not in both


@given(st.binary(max_size=120))
def test_whatever_comes_has_a_shape(first: bytes) -> None:
    assert all(len(one) <= 2 for one in shape_of(first))


def test_the_page_has_the_list() -> None:
    for one in KNOWN:
        program, _, which = one.source.partition(": ")
        assert f"| `{one.fingerprint}` | {program} | {which} |" in PAGE
    rows = PAGE.partition("### Known scanners")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\| `[0-9a-f]{16}` \|", rows, re.M)) == len(KNOWN)
