"""A narrow way, seen by whoever sends: what is too big is repeated and never arrives; and what tells it from loss."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from read_here import facts, of, one
from wire import ACK, PHONE, PHONE_IP, PUSH, SERVER_IP, SYN, Talk, Tape, ip, tcp

SACK = struct.pack("!BBII", 5, 10, 2448, 2527)


def repeated(talk: Talk, length: int) -> None:
    """Sent three times; only the small one behind it is acknowledged."""
    begin = talk.seqs["phone"]
    talk.segment("phone", PUSH, b"GET /" + bytes(length - 5), seq=begin)
    talk.segment("phone", PUSH, bytes(79), seq=begin + length)
    talk.segment("server", ACK, options=SACK)
    for wait in (0.2, 0.4, 0.8):
        talk.segment("phone", PUSH, b"GET /" + bytes(length - 5), seq=begin, after=wait)


@pytest.mark.parametrize(("before", "length", "lost"), [(0, 1448, "1"), (1448, 1448, "0"), (0, 300, "0")])
def test_what_has_passed_before_is_not_too_big(tmp_path: Path, before: int, length: int, lost: str) -> None:
    """Nor is what every way takes."""
    tape = Tape()
    talk = Talk(tape, port=80).open()
    if before:
        talk.say("phone", b"GET /" + bytes(before - 5))
    repeated(talk, length)
    stalled = one(facts(tmp_path, tape), "stalled")
    assert (stalled["retransmits"], stalled["sacked"], stalled["lost"]) == ("3", "1", lost)


def test_what_the_server_is_told_is_of_the_phones_connection(tmp_path: Path) -> None:
    tape = Tape()
    Talk(tape).open()
    inner = ip(SERVER_IP, PHONE_IP, 6, tcp(443, 40_000, 1000, 0, 2))[:28]
    tape.down(ip("198.51.100.1", SERVER_IP, 1, b"\x03\x04\0\0\0\0\x05\x14" + inner))
    found = facts(tmp_path, tape)
    told = one(found, "unreachable")
    assert (told["code"], told["mtu"]) == ("fragmentation", "1300")
    assert told["connection"] == one(found, "syn")["connection"]


@pytest.mark.parametrize(("answers", "said"), [(True, "answered"), (False, "yes")])
def test_a_tape_of_the_servers_that_begins_with_that_very_syn(tmp_path: Path, answers: bool, said: str) -> None:
    """It comes a moment after the phone's; still it is known to have arrived."""
    near, far = Tape(), Tape(phone="020000000077", router="020000000078", now=1_700_000_000.00003)
    syn = ip(PHONE_IP, SERVER_IP, 6, tcp(40_000, 443, 1000, 0, SYN))
    near.up(syn)
    near.up(syn, 1.0)
    far.up(syn)
    if answers:
        far.down(ip(SERVER_IP, PHONE_IP, 6, tcp(443, 40_000, 9000, 1001, SYN | ACK)))
    found = facts(tmp_path, near, far, mac=PHONE)
    assert of(found, "syn", connection="10.0.0.5:40000>192.0.2.1:443")[0]["at_server"] == said
