"""What stands between two ends: loss, silence, resets and who sent them, and what only the capture has not seen."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_here import facts, of, one
from wire import ACK, FIN, PHONE, PUSH, RST, SYN, Talk, Tape, boot

from provisioner.capture.course import Course

HELLO = b"\x16\x03\x01\x00\x30\x01\x00\x00\x2c\x03\x03" + bytes(32) + b"\0" + b"\0\x02\xc0\x2f" + b"\x01\0" + b"\0\0"
GET = b"GET /a.cfg HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 6000\r\n\r\n" + b"a" * 6000


def test_a_syn_that_nobody_answers(tmp_path: Path) -> None:
    tape = Tape()
    talk = Talk(tape)
    for wait in (0, 1, 2, 4):
        talk.segment("phone", SYN, after=wait)
    found = facts(tmp_path, tape)
    assert one(found, "syn") == {
        "connection": "10.0.0.5:40000>192.0.2.1:443", "to": "192.0.2.1", "port": "443", "times": "4",
    }  # fmt: skip
    assert not of(found, "syn_ack")


def test_a_port_that_is_closed(tmp_path: Path) -> None:
    tape = Tape()
    talk = Talk(tape)
    talk.segment("phone", SYN)
    talk.segment("server", RST | ACK)
    assert one(facts(tmp_path, tape), "reset") == {
        "connection": "10.0.0.5:40000>192.0.2.1:443", "by": "server", "after": "syn", "ttl": "60",
    }  # fmt: skip


@pytest.mark.parametrize(("ttl", "by"), [(60, "server"), (61, "server"), (250, "between")])
def test_who_has_reset_it(tmp_path: Path, ttl: int, by: str) -> None:
    tape = Tape()
    talk = Talk(tape).open()
    talk.say("phone", HELLO)
    talk.segment("server", RST, ttl=ttl)
    told = one(facts(tmp_path, tape), "reset")
    assert (told["by"], told["after"], told["ttl"], told["ttl_syn_ack"]) == (by, "hello", str(ttl), "60")


def test_a_reset_after_the_goodbye_is_nobodys_fault(tmp_path: Path) -> None:
    tape = Tape()
    talk = Talk(tape, port=80).open().flow([("phone", GET), ("server", OK)])
    talk.segment("phone", FIN | ACK)
    talk.segment("server", RST)
    talk.segment("phone", RST)
    assert not of(facts(tmp_path, tape), "reset")


def test_a_connection_that_ends_with_a_reset_after_the_answer(tmp_path: Path) -> None:
    tape = Tape()
    Talk(tape, port=80).open().flow([("phone", GET), ("server", OK)]).segment("server", RST)
    found = facts(tmp_path, tape)
    assert not of(found, "reset") and one(found, "closed")["after"] == "answer"


def test_segments_in_any_order(tmp_path: Path) -> None:
    tape = Tape()
    talk = Talk(tape, port=80).open()
    talk.say("phone", GET)
    begin = talk.seqs["server"]
    for at in (2896, 0, 1448, 5792, 4344):
        talk.segment("server", PUSH, OK[at : at + 1448], seq=begin + at)
    talk.seqs["server"] = begin + len(OK)
    talk.close()
    found = facts(tmp_path, tape)
    assert one(found, "answer")["complete"] == "yes"
    assert not of(found, "retransmitted") and not of(found, "dropped")


def test_what_was_sent_again(tmp_path: Path) -> None:
    tape = Tape()
    talk = Talk(tape, port=80).open()
    talk.say("phone", GET)
    begin = talk.seqs["server"]
    talk.say("server", OK)
    for at in (0, 1448):
        talk.segment("server", PUSH, OK[at : at + 1448], seq=begin + at)
    talk.close()
    told = one(facts(tmp_path, tape), "retransmitted")
    assert (told["by"], told["times"], told["bytes"]) == ("server", "2", "2896")


def test_a_mirror_port_that_shows_each_packet_twice_is_no_loss(tmp_path: Path) -> None:
    tape = Tape()
    Talk(tape, port=80).open().flow([("phone", GET), ("server", OK)]).close()
    both = [each for at, frame in tape.frames for each in ((at, frame), (at + 0.015, frame))]
    tape.frames = sorted(both)
    found = facts(tmp_path, tape)
    assert one(found, "syn")["times"] == one(found, "syn_ack")["times"] == "1"
    assert not of(found, "retransmitted") and one(found, "answer")["bytes"] == "6000"


def test_large_packets_get_lost(tmp_path: Path) -> None:
    """A hole, what is behind it selectively acknowledged, and the large segment again and again."""
    tape = Tape()
    talk = Talk(tape).open()
    talk.say("phone", HELLO)
    begin = talk.seqs["server"]
    talk.segment("server", PUSH, b"\x16\x03\x03" + bytes(200), seq=begin + 1448)
    sack = struct.pack("!BBII", 5, 10, begin + 1448, begin + 1651)
    for wait in (1, 2, 4):
        talk.segment("phone", ACK, options=sack, after=wait)
    told = one(facts(tmp_path, tape), "stalled")
    assert (told["waits_for"], told["sacked"], told["lost"], told["in"]) == ("server", "1", "1", "handshake")


def test_nothing_of_the_phone_arrives(tmp_path: Path) -> None:
    tape = Tape()
    talk = Talk(tape).open()
    talk.segment("server", ACK)
    for wait in (0, 1, 2, 4):
        talk.segment("phone", PUSH, HELLO, after=wait)
    told = one(facts(tmp_path, tape), "stalled")
    assert (told["retransmits"], told["sacked"], told["unacked"]) == ("3", "0", "1")


def test_a_server_that_says_nothing(tmp_path: Path) -> None:
    tape = Tape()
    talk = Talk(tape).open()
    talk.say("phone", HELLO)
    talk.segment("phone", FIN | ACK, after=30)
    told = one(facts(tmp_path, tape), "stalled")
    assert (told["waits_for"], told["in"], told["unacked"]) == ("server", "handshake", "0")
    assert float(told["seconds"]) == pytest.approx(30, abs=0.1)


def test_an_idle_connection_does_not_stand_still(tmp_path: Path) -> None:
    tape = Tape()
    Talk(tape, port=80).open().flow([("phone", GET), ("server", OK)])
    Talk(tape, sport=40_001).segment("phone", SYN, after=60)
    assert not of(facts(tmp_path, tape), "stalled")


def test_what_the_other_end_has_but_the_capture_has_not(tmp_path: Path) -> None:
    tape = Tape()
    talk = Talk(tape, port=80).open()
    talk.say("phone", GET)
    talk.say("server", OK)
    talk.close()
    del tape.frames[6]
    found = facts(tmp_path, tape)
    told = one(found, "dropped")
    assert (told["frames"], told["by"]) == ("1", "server")
    assert one(found, "answer")["complete"] == "yes" and not of(found, "stalled")


def test_frames_that_the_capture_has_cut(tmp_path: Path) -> None:
    tape = Tape()
    Talk(tape, port=80).open().flow([("phone", GET), ("server", OK)]).close()
    path = tape.save(tmp_path / "cut.pcap", snap=200)
    found = Course([path]).facts(bytes.fromhex(PHONE))
    assert one(found, "answer")["bytes"] == "6000" and of(found, "dropped")


def test_ports_are_used_again(tmp_path: Path) -> None:
    tape = Tape()
    for isn in (1000, 50_000):
        talk = Talk(tape, port=80, seqs={"phone": isn, "server": isn}).open()
        talk.flow([("phone", GET), ("server", OK)]).close()
    found = facts(tmp_path, tape)
    name = "10.0.0.5:40000>192.0.2.1:80"
    assert [each["connection"] for each in of(found, "answer")] == [name, f"{name}#2"]


def test_numbers_that_wrap(tmp_path: Path) -> None:
    tape = Tape()
    talk = Talk(tape, port=80, seqs={"phone": 2**32 - 10, "server": 2**32 - 3000}).open()
    talk.flow([("phone", GET), ("server", OK)]).close()
    found = facts(tmp_path, tape)
    assert one(found, "answer")["complete"] == "yes" and not of(found, "dropped") and not of(found, "retransmitted")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"], {"complete": "no", "bytes": "3"}),
        ([b"HTTP/1.1 200 OK\r\n\r\nabcdef"], {"complete": "yes", "bytes": "6"}),
        ([b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"], {"status": "404", "complete": "yes"}),
        ([b"HTTP/1.1 503 Busy\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"], {"retry_after": "30"}),
        ([b"HTTP/1.1 302 Found\r\nLocation: https://u:p@login.example/x\r\nContent-Length: 0\r\n\r\n"],
         {"location": "https://...@login.example/x"}),
        ([b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=x\r\nContent-Length: 0\r\n\r\n"], {"asks_for": "Digest"}),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", b"c\r\n5;x=y\r\nhello\r", b"\n0\r\n\r\n"],
         {"complete": "yes", "bytes": "8"}),
        ([b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 Not Modified\r\nETag: \"q\"\r\n\r\n"],
         {"status": "304", "etag": '"q"'}),
    ],
)  # fmt: skip
def test_answers(tmp_path: Path, said: list[bytes], told: dict[str, str]) -> None:
    tape = Tape()
    Talk(tape, port=80).open().flow([("phone", GET), *(("server", each) for each in said)]).close("server")
    assert told.items() <= one(facts(tmp_path, tape), "answer").items()


def test_a_request_keeps_its_secrets(tmp_path: Path) -> None:
    tape = Tape()
    token = "AbCdEfGhIjKlMnOpQrStUv"
    request = f"GET /t/{token}/0004f2aabbcc.cfg?password=geheim HTTP/1.1\r\nAuthorization: Basic Z2VoZWlt\r\n\r\n"
    Talk(tape, port=80).open().say("phone", request.encode())
    told = one(facts(tmp_path, tape), "request")
    assert told["path"] == "/t/.../0004f2aabbcc.cfg?..." and told["authorization"] == "Basic"
    assert not any(secret in str(told) for secret in (token, "geheim", "Z2VoZWlt"))


@given(st.data())
def test_no_change_of_a_boot_breaks_the_reading(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Bytes changed, frames cut, doubled, left out and in another order."""
    tape = boot()
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(tape.frames) - 1))
        at, frame = tape.frames[place]
        changed = bytearray(frame)
        for _ in range(data.draw(st.integers(0, 4))):
            changed[data.draw(st.integers(12, len(changed) - 1))] = data.draw(st.integers(0, 255))
        tape.frames[place] = at, bytes(changed[: data.draw(st.integers(14, len(changed)))])
        tape.frames.insert(data.draw(st.integers(0, len(tape.frames))), tape.frames[place])
    facts(tmp_path_factory.mktemp("boot"), tape)
