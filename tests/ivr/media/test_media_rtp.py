"""RTP: what is well formed is read to the last byte, and no other bytes raise anything but RtpError."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.media.rtp import Packet, RtpError, build, parse

PACKETS = st.builds(
    Packet,
    st.integers(0, 127),
    st.booleans(),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=400),
)
WORDS = st.integers(0, 6).flatmap(lambda count: st.binary(min_size=4 * count, max_size=4 * count))


@given(PACKETS)
def test_what_is_built_is_read_back(packet: Packet) -> None:
    assert parse(build(packet)) == packet


@given(PACKETS, st.lists(st.binary(min_size=4, max_size=4), max_size=15), st.none() | WORDS, st.integers(0, 255))
def test_sources_extension_and_padding_are_skipped(
    packet: Packet, sources: list[bytes], extension: bytes | None, padding: int
) -> None:
    plain = build(packet)
    first = 0x80 | len(sources) | (0x10 if extension is not None else 0) | (0x20 if padding else 0)
    middle = b"".join(sources)
    if extension is not None:
        middle += b"\xbe\xde" + struct.pack("!H", len(extension) // 4) + extension
    end = bytes(padding - 1) + bytes([padding]) if padding else b""
    assert parse(bytes([first]) + plain[1:12] + middle + plain[12:] + end) == packet


@given(st.binary(max_size=120))
def test_any_bytes_are_a_packet_or_an_rtp_error(data: bytes) -> None:
    for candidate in (data, bytes([0x80 | (data or b"\0")[0] & 0x3F]) + data[1:]):
        try:
            packet = parse(candidate)
        except RtpError:
            continue
        assert 0 <= packet.payload_type <= 127
        assert len(packet.payload) <= len(candidate) - 12


@pytest.mark.parametrize(
    ("head", "rest", "why"),
    [
        ("8000", "0001", "shorter"),
        ("0000", "0001 00000001 00000001", "version"),
        ("4000", "0001 00000001 00000001", "version"),
        ("c000", "0001 00000001 00000001", "version"),
        ("8100", "0001 00000001 00000001 000000", "do not fit"),
        ("9000", "0001 00000001 00000001 bede00", "cut off"),
        ("9000", "0001 00000001 00000001 bede0002 00000000", "do not fit"),
        ("a000", "0001 00000001 00000001 ffff00", "do not fit"),
        ("a000", "0001 00000001 00000001 ff04", "do not fit"),
        ("a000", "0001 00000001 00000001", "do not fit"),
        ("8f00", "0001 00000001 00000001" + "00" * 59, "do not fit"),
    ],
)
def test_what_is_cut_or_claims_too_much_is_refused(head: str, rest: str, why: str) -> None:
    with pytest.raises(RtpError, match=why):
        parse(bytes.fromhex(head + rest))


def test_numbers_wrap_and_a_payload_type_has_seven_bits() -> None:
    packet = parse(build(Packet(8, True, 0x10001, 0x1_0000_0002, 7, b"x")))
    assert (packet.sequence, packet.timestamp, packet.marker) == (1, 2, True)
    with pytest.raises(ValueError, match="seven"):
        build(Packet(128, False, 0, 0, 0, b""))


def test_a_packet_does_not_print_which_key_was_pressed() -> None:
    assert "5" not in repr(Packet(101, False, 1, 2, 3, b"\x05\x0a\x03\x20"))
