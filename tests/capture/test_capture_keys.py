"""Secrets that go with the frames: Wireshark reads what was said in TLS, and no secret of it is there any more."""

from __future__ import annotations

import ssl
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from over_tls import ANSWER, CANARIES, REQUEST, SUITES, TLS_1_2, TLS_1_3, keys, talked, tape_of
from wire import PHONE, Talk, Tape

from provisioner.capture.exchange import cleared
from provisioner.capture.unsealing import veiled
from provisioner.evidence import program
from provisioner.evidence.key_lines import KeyLog
from provisioner.evidence.program import facts_of
from provisioner.evidence.resealing import Opened
from provisioner.evidence.tls_layout import Unopened
from provisioner.model import Mac

MAC = Mac(PHONE)


def cut(path: Path, log: Path, folder: Path) -> program.Cut:
    folder.mkdir(exist_ok=True)
    return program.cut([path], MAC, folder, keys(log))


def read_by_wireshark(path: Path, *words: str) -> str:
    """With no secrets but those in the file."""
    command = ["tshark", "-r", str(path), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize(
    "kind", [pytest.param(one, marks=[] if one in ("1.3", "1.2 AES-128") else pytest.mark.slow) for one in SUITES]
)
def test_wireshark_reads_it_and_finds_no_secret(tmp_path: Path, kind: str) -> None:
    turns, log = talked(tmp_path, *SUITES[kind])
    made = cut(tape_of(turns).save(tmp_path / "a.pcap"), log, tmp_path / "out")
    assert (made.opened, dict(made.left), made.sides) == (1, {}, 1)
    told = read_by_wireshark(made.file, "-T", "json", "-x")  # all that it decrypts, as text and as bytes
    assert '"http.request.method": "GET"' in told
    assert '"http.request.uri": "/t/xxxxxxxxxxxxxxxxxxxxxx/0004f2aabbcc.cfg?xxxxxxxxxxxx"' in told
    assert '"http.response.code": "200"' in told
    whole = made.file.read_bytes() + told.encode()
    assert not [one for one in CANARIES if one in whole or one.hex().encode() in whole]
    assert b"FileTransport PolycomVVX-VVX_411-UA/6.4.0" in whole


def test_the_secrets_that_are_in_it_open_nothing_else(tmp_path: Path) -> None:
    """What goes along is what it takes: with the bundle alone nobody finds the words that were crossed out."""
    turns, log = talked(tmp_path, TLS_1_3)
    made = cut(tape_of(turns).save(tmp_path / "a.pcap"), log, tmp_path / "out")
    labels = {line.split()[0] for line in log.read_text("ascii").splitlines()}
    assert "EXPORTER_SECRET" in labels
    assert b"EXPORTER_SECRET" not in made.file.read_bytes()


def test_a_phone_that_was_asked_for_another_hello(tmp_path: Path) -> None:
    turns, log = talked(tmp_path, TLS_1_3, curve="secp384r1")
    assert len([data for by, data in turns if by == "phone" and data[0] in (20, 22)]) == 2, "it has said two hellos"
    made = cut(tape_of(turns).save(tmp_path / "a.pcap"), log, tmp_path / "out")
    assert (made.opened, dict(made.left)) == (1, {})
    assert read_by_wireshark(made.file, "-Y", "http.response.code == 200")


def test_tickets_go(tmp_path: Path) -> None:
    """With the master secret of TLS 1.2 a ticket is as good as the phone's key."""
    turns, log = talked(tmp_path, TLS_1_2, "ECDHE+AESGCM")
    stream = b"".join(data for by, data in turns if by == "server")
    at = stream.index(b"\x16\x03\x03", stream.index(b"\x0e\x00\x00\x00"))
    ticket = stream[at + 15 : at + 15 + 64]
    assert stream[at + 5] == 4
    made = cut(tape_of(turns).save(tmp_path / "a.pcap"), log, tmp_path / "out")
    assert ticket not in made.file.read_bytes()


def test_two_sides_are_two_interfaces_of_one_file(tmp_path: Path) -> None:
    turns, log = talked(tmp_path, TLS_1_3)
    near = tape_of(turns).save(tmp_path / "phone.pcap")
    far = Tape(phone="020000000001", router="020000000002")
    Talk(far, phone="192.0.2.77", sport=61_000, seqs={"phone": 1000, "server": 9000}).open().flow(turns).close()
    made = program.cut([near, far.save(tmp_path / "server.pcap")], MAC, tmp_path, keys(log))
    assert (made.opened, made.sides) == (2, 2)
    told = read_by_wireshark(
        made.file, "-Y", "http.request", "-T", "fields", "-e", "frame.interface_name", "-e", "ip.src"
    )
    assert {tuple(one.split("\t")) for one in told.splitlines()} == {("side 1", "10.0.0.5"), ("side 2", "192.0.2.77")}
    found = facts_of([made.file], MAC)
    assert not [one for one in found if one.kind.value == "retransmitted"], "the other side's are no repetitions"
    assert len([one for one in found if one.kind.value == "hello"]) == len(
        [one for one in facts_of([near, tmp_path / "server.pcap"], MAC) if one.kind.value == "hello"]
    )


def lose(tape: Tape) -> None:
    """A full segment of the server's answer is not there."""
    large = [at for at, (_, frame) in enumerate(tape.frames) if len(frame) > 1400]
    del tape.frames[large[len(large) // 2]]


@pytest.mark.parametrize("version", [pytest.param(TLS_1_2, marks=pytest.mark.slow), TLS_1_3])
def test_what_is_not_whole_stays_sealed_and_no_secret_goes_along(tmp_path: Path, version: ssl.TLSVersion) -> None:
    turns, log = talked(tmp_path, version)
    made = cut(tape_of(turns, lose).save(tmp_path / "a.pcap"), log, tmp_path / "out")
    assert (made.opened, dict(made.left)) == (0, {"frames of it are missing": 1})
    random = log.read_text("ascii").split()[-2]
    assert random.encode() not in made.file.read_bytes()
    assert not read_by_wireshark(made.file, "-Y", "http")


def test_one_side_that_is_not_whole_keeps_both_sealed(tmp_path: Path) -> None:
    turns, log = talked(tmp_path, TLS_1_3)
    tape_of(turns).save(tmp_path / "a.pcap")
    other = Tape(phone="020000000001", router="020000000002")
    Talk(other, phone="192.0.2.77", sport=61_000).open().flow(turns).close()
    lose(other)
    made = program.cut([tmp_path / "a.pcap", other.save(tmp_path / "b.pcap")], MAC, tmp_path, keys(log))
    assert made.opened == 0
    assert dict(made.left) == {"frames of it are missing": 1, "another side of it is not whole": 1}


@pytest.mark.parametrize("before", [b"", b"\x99" * 10], ids=["at a record", "within one"])
def test_beside_an_open_one_nothing_is_left_that_could_be_opened(tmp_path: Path, before: bytes) -> None:
    """The same connection once more without its beginning: the secrets of the whole one would open its records."""
    turns, log = talked(tmp_path, TLS_1_3)
    tape = tape_of(turns)
    torn = Talk(tape, sport=40_777)
    torn.flow([("server", before)])
    torn.flow([one for one in turns if len(one[1]) > 2000][-1:])
    sealed = [data for by, data in turns if by == "server"][-1][9000:9064]
    made = cut(tape.save(tmp_path / "a.pcap"), log, tmp_path / "out")
    assert made.opened == 1
    assert sealed not in made.file.read_bytes()


def test_suites_without_a_tag_over_each_record_stay_sealed(tmp_path: Path) -> None:
    turns, log = talked(tmp_path, TLS_1_2, "ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0")
    made = cut(tape_of(turns).save(tmp_path / "a.pcap"), log, tmp_path / "out")
    (why,) = made.left
    assert made.opened == 0
    assert "cipher suite 0xc0" in why


def test_others_keys_open_nothing(tmp_path: Path) -> None:
    turns, _ = talked(tmp_path, TLS_1_3)
    _, other = talked(tmp_path, TLS_1_3)
    made = cut(tape_of(turns).save(tmp_path / "a.pcap"), other, tmp_path / "out")
    assert (made.opened, dict(made.left)) == (0, {"no secrets of it were recorded": 1})
    assert b"TRAFFIC_SECRET" not in made.file.read_bytes()


# --- whatever comes --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[ssl.TLSVersion, tuple[bytes, bytes, KeyLog]]:
    """Both directions of a connection of each version, and its secrets."""
    found = {}
    for version in (TLS_1_2, TLS_1_3):
        turns, log = talked(tmp_path_factory.mktemp("real"), version, answer=ANSWER[:900])
        both = (b"".join(data for by, data in turns if by == end) for end in ("phone", "server"))
        found[version] = (*both, keys(log))
    return found


@given(version=st.sampled_from([TLS_1_2, TLS_1_3]), of_phone=st.booleans(), at=st.integers(0, 4000),
       noise=st.binary(max_size=20), drop=st.integers(0, 40))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_spoilt_records_are_refused_or_opened(
    real: dict[ssl.TLSVersion, tuple[bytes, bytes, KeyLog]],
    version: ssl.TLSVersion, of_phone: bool, at: int, noise: bytes, drop: int,
) -> None:  # fmt: skip
    phone, server, log = real[version]
    whole = phone if of_phone else server
    at %= len(whole)
    spoilt = whole[:at] + noise + whole[at + drop :]
    try:
        one = Opened(*((spoilt, server) if of_phone else (phone, spoilt)), log)
    except Unopened:
        return
    for by, data in (("phone", spoilt if of_phone else phone), ("server", server if of_phone else spoilt)):
        again = one.resealed(by, one.texts(by))
        assert len(again) == len(data)
        assert again[: len(again) - 20_000] == data[: len(again) - 20_000], "unchanged words make the same bytes"


@given(st.binary(max_size=400), st.binary(max_size=400))
@settings(max_examples=50, deadline=None)
def test_whatever_is_no_tls_is_refused(phone: bytes, server: bytes) -> None:
    with pytest.raises(Unopened):
        Opened(phone, server, KeyLog(["CLIENT_RANDOM 00 00", "x", "CLIENT_RANDOM zz zz"]))


HEADS = (b"", b"\x16\x03\x03\x00\x50\x01\x00\x00\x4c", b"\x17\x03\x03\x00\x08")


@given(data=st.binary(max_size=600), head=st.sampled_from(HEADS), keep=st.booleans())
def test_a_veil_keeps_the_length(data: bytes, head: bytes, keep: bool) -> None:
    assert len(veiled(head + data, keep=keep)) == len(head + data)


@given(
    st.lists(st.binary(max_size=80), max_size=6),
    st.lists(
        st.sampled_from([REQUEST, ANSWER[:300], b"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n"])
        | st.binary(max_size=80)
    ),
)
def test_what_is_cleared_has_the_same_pieces(phone: list[bytes], server: list[bytes]) -> None:
    made = cleared(phone, server)
    assert [len(one) for one in made[0]] == [len(one) for one in phone]
    assert [len(one) for one in made[1]] == [len(one) for one in server]


@given(st.lists(st.integers(0, 300), max_size=5))
def test_heads_stay_wherever_records_end(cuts: list[int]) -> None:
    """A body that looks like a head is a body all the same."""
    body = b"HTTP/1.1 200 OK\r\nX-Word: kanarienvogel-passwort\r\n\r\nGET /kanarienvogel-passwort HTTP/1.1\r\n\r\n"
    said = (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 900\r\n\r\n"
        + (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        + body
        + b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    )
    ends = [0, *sorted(min(one, len(said)) for one in cuts), len(said)]
    pieces = [said[begin:end] for begin, end in pairwise(ends)]
    told = b"".join(cleared([REQUEST.split(b"\r\n")[0] + b"\r\n\r\n"] * 3, pieces)[1])
    assert b"304 Not Modified" in told
    assert b"404 Not Found" in told
    assert b"kanarienvogel" not in told


def test_a_key_log_does_not_show_itself() -> None:
    log = KeyLog([f"CLIENT_RANDOM {'ab' * 32} {'cd' * 48}"])
    assert "cd" not in repr(log)
    assert len(log) == 1
