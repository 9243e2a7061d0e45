"""A technician's first tries: wrong files, wrong names, every spelling of a MAC; each is told what to do instead."""

from __future__ import annotations

import gzip
import lzma
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import Result

from provisioner.capture.live import WITHOUT_RIGHT, _why
from provisioner.cli import switches as commands
from provisioner.cli.session import mac_of
from provisioner.errors import Invalid
from provisioner.model import Mac

Run = Callable[..., Result]
GOOD = Path(__file__).parent / "captures" / "came_up.pcap"
MAC = "0004f2aabbcc"


@pytest.mark.parametrize(
    "spelling",
    ["00:04:F2:AA:BB:CC", "00-04-f2-aa-bb-cc", "0004.f2aa.bbcc", "0004f2-aabbcc", " 0004F2AABBCC ", "0:4:f2:aa:bb:cc"],
)
def test_every_usual_spelling_of_a_mac_is_read(spelling: str) -> None:
    assert mac_of(spelling) == MAC


@pytest.mark.parametrize("wrong", ["0:4:f2:aa:bb", "0:4:f2:aa:bb:cc:dd", "0-4-f2-aa-bb-cc", "0:4:f2:aa:bb:c g", "::"])
def test_what_leaves_a_digit_open_is_no_mac(wrong: str) -> None:
    with pytest.raises(Invalid, match="is not a MAC address"):
        mac_of(wrong)


def test_nothing_that_a_phone_says_is_read_with_digits_left_out() -> None:
    for said in ("0:4:f2:aa:bb:cc", "00001::::."):
        with pytest.raises(Invalid):
            Mac.parse(said)


# --- captures ---------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "empty.pcap").write_bytes(b"")
    (folder / "text.pcap").write_text("hello, this is no capture")
    (folder / "short.pcap").write_bytes(GOOD.read_bytes()[:30])
    (folder / "packed.pcap.xz").write_bytes(lzma.compress(GOOD.read_bytes()))
    (folder / "good.pcap.gz").write_bytes(gzip.compress(GOOD.read_bytes()))
    return folder


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("empty.pcap", "the file is empty"),
        pytest.param(
            "packed.pcap.xz", "this is compressed by xz: unpack it first; gzip is read as it is", marks=pytest.mark.slow
        ),
        pytest.param("text.pcap", "this is no pcap and no pcapng file", marks=pytest.mark.slow),
        pytest.param("short.pcap", "the file ends in the middle of frame 1", marks=pytest.mark.slow),
    ],
)
def test_a_file_without_a_frame_is_said_to_be_one(run: Run, files: Path, name: str, why: str) -> None:
    told = run("capture", "read", str(files / name), "--mac", MAC, code=2).output
    assert told.strip() == f"Error: {name}: {why}"


def test_without_a_mac_too_and_nothing_is_made_of_it(run: Run, files: Path, tmp_path: Path) -> None:
    empty = str(files / "empty.pcap")
    assert run("capture", "read", empty, code=2).output.strip() == "Error: empty.pcap: the file is empty"
    assert (
        "no phone shows itself in the capture (empty.pcap: the file is empty)"
        in run("why", "--pcap", empty, code=1).output
    )
    into = tmp_path / "evidence"
    told = run("capture", "bundle", MAC, empty, "--into", str(into), code=2).output
    assert "no frame of 00:04:f2:aa:bb:cc is in empty.pcap" in told
    assert not into.exists()


@pytest.mark.slow  # a program of its own
def test_a_compressed_file_and_one_that_is_broken_beside_a_good_one_are_read(run: Run, files: Path) -> None:
    told = run("capture", "read", str(files / "good.pcap.gz"), str(files / "empty.pcap"), "--mac", "0:4:f2:aa:bb:cc")
    assert "It comes up" in told.output and "1 frames or files could not be read" in told.output


def test_an_interface_that_is_not_there_is_named_with_those_that_are() -> None:
    assert _why("nosuch0", "[Errno 19] No such device").startswith("there is no interface 'nosuch0' on this machine")
    assert "lo" in _why("nosuch0", "x").partition("there are: ")[2].split(", ")
    name = socket.if_nameindex()[0][1]
    assert _why(name, "it is down") == "it is down"
    assert _why("any", "it cannot") == "it cannot"
    assert _why("nosuch0", "Operation not permitted") == WITHOUT_RIGHT


# --- switches ---------------------------------------------------------------------------------------------------


@pytest.fixture
def office(run: Run, data: Path) -> Iterator[Run]:
    file = data / "provisioner.toml"
    file.write_text(file.read_text().replace("\n[switch]\n", '\n[switch]\nallow = ["127.0.0.0/8"]\ntimeout = 0.1\n'))
    run("account", "add", "Acme")
    run("device", "add", MAC, "--vendor", "poly", "--model", "VVX 411", "--account", "Acme")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = str(silent.getsockname()[1])
        run(
            "switch", "add", "hq", "127.0.0.1", "--account", "Acme", "--port", port, "--community", "-", text="public\n"
        )
        yield run


def test_who_did_not_answer_is_named_and_nobody_is_said_to_have(office: Run) -> None:
    for verb in ("find", "check-vlan"):
        told = office("switch", verb, "0:4:f2:aa:bb:cc", code=1).output
        assert told.splitlines()[0] == (
            "nobody has answered that could have seen 00:04:f2:aa:bb:cc; 1 of 1 switch did not answer"
        )
        assert "  no answer: hq: 127.0.0.1" in told


def test_what_is_wrong_with_a_switch_is_said_before_it_is_asked(office: Run) -> None:
    add = ("switch", "add", "new")
    assert "--community WORD" in office(*add, "203.0.113.5", "--account", "Acme", code=2).output
    assert "give an option" in office("switch", "set", "hq", code=2).output
    assert "the ID of the power cycle" in office("switch", "power-cycles", "--restored", code=2).output
    for address in ("203.0.113.555", "203.0.113", "1:2:3"):
        told = office(*add, address, "--account", "Acme", "--community", "public", code=1).output
        assert f"{address} looks like an IP address and is none" in told
    assert "its ifIndex" in office("switch", "confirm", "hq", "1.7", "--interface", "0", code=1).output
    for words in ((), ("1.7", "--interface", "7", "x"), ("Gi1/0/7", "1.7", "x")):
        assert "must be one port's name" in office("switch", "confirm", "hq", *words, code=1).output
    told = office("switch", "confirm", "hq", "--interface", "7", "1.7").output
    assert told.strip() == "interface 7 of hq has PoE port 1.7"
    assert office("switch", "confirm", "hq", "--interface", "7").output.strip() == "interface 7: not known"
    assert "127.0.0.1" in office("switch", "confirm", "hq", "7", "1.7", code=1).output  # what is called 7 is asked
    office(*add, "switch.invalid", "--account", "Acme", "--community", "public")
    told = office("switch", "test", "new", code=1).output
    assert told.startswith("WRONG address: switch.invalid is no address, and no name that is known")


def test_whoever_sits_there_is_asked_for_a_secret_and_a_script_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def prompt(words: str, *, hide_input: bool, err: bool) -> str:
        asked.append((words, hide_input and err))
        return "typed-in-secret"

    monkeypatch.setattr(click, "prompt", prompt)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert commands._typed("-", "write_auth_key") == "typed-in-secret"
    assert asked == [("Write auth key", True)]
    assert commands._typed("given", "auth_key") == "given"


def test_who_shows_no_mac_is_meant_by_his_address(run: Run, tmp_path: Path) -> None:
    """Captured at the server, behind a router: another MAC is in the phone's place, and no DHCP is there."""
    kept, at, there = (GOOD.parent / "phone_refuses_12.pcap").read_bytes(), 24, b""
    while at < len(kept):
        end = at + 16 + struct.unpack_from("<I", kept, at + 8)[0]
        there += kept[at:end] if kept[at + 16 + 27] == socket.IPPROTO_TCP else b""
        at = end
    path = tmp_path / "server.pcap"
    path.write_bytes(kept[:24] + there.replace(bytes.fromhex(MAC), bytes.fromhex("020000000099")))
    told = run("--data", tmp_path / "none", "why", "10.0.0.5", "--pcap", path, code=15).stdout
    assert told.startswith("10.0.0.5, 2023-11-14 UTC\nThe phone does not know the CA of the server's certificate")
    assert run("capture", "read", str(path), "--address", "10.0.0.5", code=15).stdout == told
    run("capture", "read", str(path), "--address", "10.0.0.5", "--mac", MAC, code=2)


@pytest.mark.slow  # a program of its own
def test_a_list_of_phones_that_is_cut_says_so(run: Run, tmp_path: Path) -> None:
    frames = b""
    for number in range(60):  # a DHCPDISCOVER each, of a maker's phone
        mac = bytes.fromhex("0004f2") + number.to_bytes(3, "big")
        bootp = bytes([1, 1, 6, 0]) + bytes(24) + mac + bytes(202) + bytes.fromhex("63825363350101ff")
        udp = struct.pack("!HHHH", 68, 67, 8 + len(bootp), 0) + bootp
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + bytes(4) + b"\xff" * 4
        frame = b"\xff" * 6 + mac + b"\x08\x00" + ip + udp
        frames += struct.pack("<IIII", 1_790_000_000 + number, 0, len(frame), len(frame)) + frame
    many = tmp_path / "many.pcap"
    many.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + frames)
    told = run("capture", "read", str(many), code=1)
    assert "These are the 50 likeliest" in told.stderr
    assert told.stdout.count("00:04:f2:") == 50
