"""What a body is by its first bytes; who ends a connection, and whether anything was still missing then."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from read_here import facts, of, one
from wire import ACK, FIN, PHONE_IP, PUSH, SERVER_IP, Talk, Tape, ip, udp

from provisioner.capture.bodies import Beginning

CONFIG = b"account.1.enable = 1\n" * 4
CIPHER = bytes((index * 167 + index // 7 * 31) % 256 for index in range(400))


def values(*pieces: bytes) -> dict[str, object]:
    found = Beginning()
    for piece in pieces:
        found.take(piece)
    return found.values()


@pytest.mark.parametrize(("body", "looks"), [
    (b"<!DOCTYPE html><html>", "page"), (b"\xef\xbb\xbf\n<!-- a -->\n<HTML lang=en>", "page"),
    (b"<script>location='/login'</script>", "page"), (b"<html_settings>1</html_settings>", "text"),
    (gzip.compress(CONFIG, mtime=0), "gzip"), (CIPHER, "binary"), (CONFIG, "text"),
    ("größe = 1\n".encode() * 4, "text"), (b"short", ""), (b"", ""), (b"x" * 200, ""),
])  # fmt: skip
def test_what_it_looks_like(body: bytes, looks: str) -> None:
    assert values(body)["looks"] == looks


def test_a_file_that_says_whose_it_is() -> None:
    assert values(b'<?xml version="1.0"?><gs><mac>00:0B:82:AA:bb:cc</mac>')["mac"] == b"000b82aabbcc"
    assert values(b"<mac>not one</mac>" + CONFIG)["mac"] == ""


@given(st.lists(st.binary(max_size=700), max_size=5))
def test_how_it_is_cut_does_not_matter(pieces: list[bytes]) -> None:
    assert values(*pieces) == values(b"".join(pieces))


def fetched(answer: bytes, *lines: str) -> Tape:
    tape = Tape()
    talk = Talk(tape, port=80).open()
    talk.say("phone", "\r\n".join(("GET /0004f2aabbcc.cfg HTTP/1.1", "Host: h", *lines, "", "")).encode())
    talk.say("server", answer)
    talk.close()
    return tape


def test_an_answer_says_what_it_is_and_a_request_what_it_takes(tmp_path: Path) -> None:
    packed = gzip.compress(CONFIG)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    found = facts(tmp_path, fetched(head + packed))
    assert one(found, "request")["accepts"] == "", "it has asked for none: said, for silence would be not known"
    answer = one(found, "answer")
    assert (answer["encoding"], answer["looks"], answer["complete"]) == ("gzip", "gzip", "yes")
    found = facts(tmp_path, fetched(head + packed, "Accept-Encoding: gzip, br"))
    assert one(found, "request")["accepts"] == "gzip, br"


def test_chunks_are_looked_at_without_their_sizes(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (b"<html>", CONFIG)) + b"0\r\n\r\n"
    assert one(facts(tmp_path, fetched(head + body)), "answer")["looks"] == "page"


def after_the_phone_left(talk: Talk) -> None:
    """The server repeats what nobody takes any more."""
    for _ in range(3):
        talk.segment("server", PUSH, b"good-bye" * 3)


def test_what_comes_when_the_phone_has_left_stalls_nothing(tmp_path: Path) -> None:
    tape = Tape()
    talk = Talk(tape, port=80).open()
    talk.say("phone", b"GET /a.cfg HTTP/1.1\r\n\r\n")
    talk.say("server", b"HTTP/1.1 200 OK\r\nContent-Length: 80\r\n\r\n" + b"a" * 80)
    talk.segment("phone", FIN | ACK)
    after_the_phone_left(talk)
    assert of(facts(tmp_path, tape), "stalled") == []


def test_what_was_repeated_and_then_arrived_stalls_nothing_later(tmp_path: Path) -> None:
    tape = Tape()
    talk = Talk(tape, port=80).open()
    talk.say("phone", b"GET /a.cfg HTTP/1.1\r\n\r\n")
    begin = talk.seqs["server"]
    talk.segment("server", PUSH, b"HTTP/1.1 200 OK\r\nContent-Length: 80\r\n\r\n")
    talk.segment("server", PUSH, b"HTTP/1.1 200 OK\r\nContent-Length: 80\r\n\r\n", seq=begin)
    talk.seqs["server"] += 39
    talk.segment("phone", ACK)
    talk.segment("server", PUSH, b"a" * 80)
    talk.segment("phone", FIN | ACK)
    found = facts(tmp_path, tape)
    assert one(found, "retransmitted")["times"] == "1"
    assert of(found, "stalled") == []


def test_a_hole_that_the_phone_left_behind_is_still_one(tmp_path: Path) -> None:
    tape = Tape()
    talk = Talk(tape, port=80).open()
    talk.say("phone", b"GET /a.cfg HTTP/1.1\r\n\r\n")
    begin = talk.seqs["server"]
    talk.segment("server", PUSH, b"b" * 100, seq=begin + 1448)
    talk.segment("phone", FIN | ACK, after=20)
    assert one(facts(tmp_path, tape), "stalled")["lost"] == "1"


def test_a_registration_says_whom_it_asks(tmp_path: Path) -> None:
    tape = Tape()
    message = b"REGISTER sip:pbx.example SIP/2.0\r\nTo: <sip:1001@pbx.example>\r\nCSeq: 1 REGISTER\r\n\r\n"
    tape.up(ip(PHONE_IP, SERVER_IP, 17, udp(5060, 5071, message)))
    assert one(facts(tmp_path, tape), "register")["to"] == f"{SERVER_IP}:5071"


def spoken_until_good_bye(version: ssl.TLSVersion) -> list[tuple[str, bytes]]:
    """A real handshake, the server's tickets, and then the phone says good-bye."""
    ca, server, client = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.issue_cert("prov.example.net").configure_cert(server)
    ca.configure_trust(client)
    client.minimum_version = client.maximum_version = version
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    phone = client.wrap_bio(down, up, server_hostname="prov.example.net")
    end = server.wrap_bio(up, down, server_side=True)
    turns: list[tuple[str, bytes]] = []

    def step(by: str, act: Callable[[], object], out: ssl.MemoryBIO) -> None:
        with suppress(ssl.SSLWantReadError):
            act()
        if data := out.read():
            turns.append((by, data))
            out.write(data)

    for _ in range(3):
        step("phone", phone.do_handshake, up)
        step("server", end.do_handshake, down)
    with suppress(ssl.SSLWantReadError):
        phone.read()
    step("phone", phone.unwrap, up)
    return turns


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_says_good_bye_inside_tls_has_left_first(tmp_path: Path, version: ssl.TLSVersion) -> None:
    tape = Tape()
    Talk(tape).open().flow(spoken_until_good_bye(version)).close("server")
    found = facts(tmp_path, tape)
    assert of(found, "tls_done") and one(found, "closed")["by"] == "phone"


@pytest.mark.parametrize(("wait", "stalls"), [(7.0, ["phone"]), (0.1, [])])
def test_a_server_that_gives_up_waiting_has_waited_for_the_phone(
    tmp_path: Path, wait: float, stalls: list[str]
) -> None:
    tape = Tape()
    talk = Talk(tape).open().flow(spoken_until_good_bye(ssl.TLSVersion.TLSv1_2)[:2])
    talk.segment("server", FIN | ACK, after=wait)
    assert [each["waits_for"] for each in of(facts(tmp_path, tape), "stalled")] == stalls
