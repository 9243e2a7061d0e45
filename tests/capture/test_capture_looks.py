"""One table says what a secret looks like: what it hides in facts it hides in frames, and what is none stays."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from secret_looks import MARK, PASSWORDS, PLACES, TEXTS, TOKENS, UNBROKEN, Write
from wire import PHONE, PHONE_IP, SERVER_IP, SWITCH, Tape, dhcp, eth, ip, lldp, option, tlv, udp

from provisioner.capture import blanking
from provisioner.capture.course import Course
from provisioner.capture.cutting import cut
from provisioner.capture.exhibits import exhibits
from provisioner.capture.lines import as_line, url_without_secrets, words_without_secrets
from provisioner.events import masked

NASTY = 'Zq&Zq Zq/Zq@Zq"Zq'


def _kept(words: str, secret: str) -> list[str]:
    """What facts and frames show of it; the same number of bytes in a frame."""
    data = words.encode()
    frame = blanking.words(data)
    assert len(frame) == len(data)
    shown = [words_without_secrets(words), url_without_secrets(words), frame.decode("utf-8", "replace")]
    return [one for one in shown if MARK in one or secret in one]


@pytest.mark.parametrize("name", sorted(TEXTS))
@settings(max_examples=15)
@given(secret=PASSWORDS)
@example(secret=NASTY)
@example(secret=f"{NASTY}' Zq")
def test_a_password_goes_whole(name: str, secret: str) -> None:
    assert _kept(f"<14>x {TEXTS[name](secret)}", secret) == []


@pytest.mark.parametrize("name", sorted(PLACES))
@settings(max_examples=15)
@given(secret=UNBROKEN)
def test_a_url_keeps_neither_password_nor_query(name: str, secret: str) -> None:
    assert _kept(PLACES[name](secret), secret) == []
    assert MARK not in masked(PLACES[name](secret))


@pytest.mark.parametrize("name", sorted(TOKENS))
@settings(max_examples=15)
@given(secret=st.text("abcXYZ0189", min_size=4, max_size=30).map(MARK.__add__))
def test_a_token_goes(name: str, secret: str) -> None:
    assert _kept(TOKENS[name](secret), secret) == []
    assert MARK not in masked(TOKENS[name](secret))


@pytest.mark.parametrize("cut", [0, 1, 5])
def test_what_is_cut_off_ends_in_no_half_of_a_secret(cut: int) -> None:
    for words in ("got http://prov:Zq1234567@host/x", "id Zq0123456789012345678901", "at http://h/t/Zq12345678"):
        part = words[: words.index(MARK) + 8 - cut]
        assert MARK not in words_without_secrets(part, whole=False)
        assert MARK.encode() not in blanking.words(part.encode(), whole=False)


def test_a_frame_that_the_capture_has_cut_tells_no_half(tmp_path: Path) -> None:
    tape, line = Tape(), b"<30>got http://h/a from Zq0123456789012345678901234"
    packet = ip(PHONE_IP, SERVER_IP, 17, udp(514, 514, line))
    tape.up(packet[:-10])
    (told,) = [
        one for one in Course([tape.save(tmp_path / "a.pcap")]).facts(bytes.fromhex(PHONE)) if one.kind == "syslog"
    ]
    assert told.values["text"] == "got http://h/a from ..."


@pytest.mark.parametrize(
    "words",
    [
        "mapping: ok, spinning: ok, ping=3 Keypad: on compass: x bypass: yes passed: 3 tests",
        "error code 404, key pressed, wrong password entered",
        "Basic authentication failed, Basic Authentication failed",
        "Nov 22 16:24:16 host app[12]: REGISTER sip:100@pbx.example.net",
        "Polycom/5.9.0 PolycomVVX-VVX_411-UA/5.9.0.9373 (SN:0004f2aabbcc) Type/Application",
        "00:04:f2:aa:bb:cc TLS: key exchange failed at https://prov.example.net:8443/a.cfg",
        "http://prov.example.net/cfg/100@pbx.cfg",
        "/0004f2aabbcc-directory.xml /0004f2aabbcc-overrides.cfg",
        "http://[2001:db8::1]:8080/x.cfg, gzip;q=1.0",
    ],
)
def test_what_is_no_secret_stays(words: str) -> None:
    assert words_without_secrets(words) == words
    assert blanking.words(words.encode()) == words.encode()


def test_what_stands_beside_a_password_stays() -> None:
    assert words_without_secrets('<a password="x y" next="1"/>') == '<a password="..." next="1"/>'
    assert words_without_secrets("<password>x y</password><next>1</next>") == "<password>...</password><next>1</next>"
    assert words_without_secrets('{"password": "x", "next": 1}') == '{"password": "...", "next": 1}'
    assert url_without_secrets("http://u:p@ss/wo?rd@host:80/x?y=z") == "http://...@host:80/x?..."


def test_nothing_that_leaves_has_one(tmp_path: Path) -> None:
    """The whole way: a tape of log lines, DHCP options and descriptions, as facts, frames and exhibits."""
    tape = Tape()
    for write, secret in product((*TEXTS.values(), *PLACES.values()), (NASTY, "Zq-Winter-2026")):
        _add(tape, write, secret)
    path, mac = tape.save(tmp_path / "a.pcap"), bytes.fromhex(PHONE)
    facts = [as_line(one) for one in Course([path]).facts(mac)]
    assert {"syslog", "dhcp", "discovery"} <= {one["kind"] for one in facts}
    shown = list(exhibits([path], {f"a.pcap frame {number}" for number in range(1, len(tape.frames) + 1)}))
    cut([path], mac, tmp_path)
    frames = (tmp_path / f"{PHONE}.pcapng").read_bytes()
    assert MARK not in json.dumps([facts, shown])
    assert MARK.encode() not in frames
    assert MARK.encode().hex() not in json.dumps(shown)


def _add(tape: Tape, write: Write, secret: str) -> None:
    if write in PLACES.values():
        secret = secret.replace(" ", "")
    words = write(secret).encode()
    tape.up(ip(PHONE_IP, SERVER_IP, 17, udp(514, 514, b"<30>" + words)))
    packet = dhcp(5, option(66, words), option(43, option(1, words)), op=2, yours=PHONE_IP)
    tape.down(ip(SERVER_IP, PHONE_IP, 17, udp(67, 68, packet)))
    tape.add(eth("0180c200000e", SWITCH, 0x88CC, lldp(tlv(4, words), tlv(6, words))))
