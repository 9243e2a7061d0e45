"""Capture files of every kind are read alike; whatever is wrong with one is said, and what came before it counts."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import BEGIN, Tape, block, boot, interface, packet, pcap, section, statistics

from provisioner.capture.files import CaptureFile, Frame, of_paths

FRAMES = [(BEGIN + 0.25, b"first frame of all"), (BEGIN + 0.5, b"second")]
OTHERS = section() + interface()
PACKED = gzip.compress(pcap([(BEGIN + one, frame) for one, (_, frame) in enumerate(boot().frames)]), mtime=0)
NO_BLOCK = PACKED[:10] + b"\7" + bytes(30)
"""Of RFC 1951: a last block of the type that is none."""


def read(path: Path) -> tuple[list[Frame], CaptureFile]:
    file = CaptureFile([(path, path.name)])
    return list(file.frames()), file


def of(tmp_path: Path, data: bytes) -> tuple[list[Frame], CaptureFile]:
    path = tmp_path / "x.cap"
    path.write_bytes(data)
    return read(path)


def whys(file: CaptureFile) -> list[str]:
    return [one.values["why"] for one in file.broken]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_pcap_of_either_byte_order_and_unit(tmp_path: Path, order: str, nano: bool) -> None:
    found, file = of(tmp_path, pcap(FRAMES, order=order, nano=nano))
    assert [(one.at, one.data, one.number) for one in found] == [
        (pytest.approx(at), data, number) for number, (at, data) in enumerate(FRAMES, 1)
    ]
    assert file.broken == [] and found[0].ref == "x.cap frame 1"


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_with_its_own_clock(tmp_path: Path, order: str) -> None:
    """Resolution as a power of ten and of two, an offset, two interfaces, and a second section that begins anew."""
    data = (
        section(order) + interface(order=order) + interface(113, 9, 1000, order)
        + packet(round(BEGIN * 10**6), b"micro", 0, order) + packet(int(BEGIN) * 10**9, b"nano", 1, order)
        + section(order) + interface(1, 0x80 | 10, None, order) + packet(int(BEGIN) << 10, b"binary", 0, order)
    )  # fmt: skip
    found, file = of(tmp_path, data)
    assert [(one.at, one.link, one.data) for one in found] == [
        (pytest.approx(BEGIN), 1, b"micro"),
        (pytest.approx(BEGIN + 1000), 113, b"nano"),
        (pytest.approx(BEGIN), 1, b"binary"),
    ]
    assert not file.broken


def test_older_blocks_and_those_that_nobody_knows(tmp_path: Path) -> None:
    simple = block(3, struct.pack("<I", 5) + b"short")
    older = block(2, struct.pack("<HHIIII", 0, 0, 0, 1_000_000, 4, 60) + b"late")
    found, _ = of(tmp_path, OTHERS + block(0x0A, b"secrets of TLS") + simple + older)
    assert [(one.data, one.length) for one in found] == [(b"short", 5), (b"late", 60)]


def test_what_the_capture_has_dropped_is_known(tmp_path: Path) -> None:
    _, file = of(tmp_path, OTHERS + statistics(3) + statistics(7) + section() + interface() + statistics(2))
    assert file.dropped == 7 + 2


@given(st.data())
def test_no_change_of_a_compressed_one_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(PACKED)
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(2, len(whole) - 1))] = data.draw(st.integers(0, 255))
    of(tmp_path_factory.mktemp("packed"), bytes(whole))


def test_compressed(tmp_path: Path) -> None:
    found, _ = of(tmp_path, gzip.compress(pcap(FRAMES)))
    assert [one.data for one in found] == [data for _, data in FRAMES]


def test_the_frames_length_survives_a_cut(tmp_path: Path) -> None:
    found, _ = of(tmp_path, pcap(FRAMES, snap=4))
    assert [(one.data, one.length) for one in found] == [(b"firs", 18), (b"seco", 6)]


@pytest.mark.parametrize(
    ("data", "frames", "why"),
    [
        (b"", 0, "empty"),
        (b"GIF89a", 0, "no pcap"),
        (pcap(FRAMES)[:20], 0, "header"),
        (pcap(FRAMES)[:-1], 1, "middle of frame 2"),
        (pcap(FRAMES)[:-20], 1, "middle of frame 2"),
        (pcap([])[:24] + struct.pack("<IIII", 1, 1, 1 << 31, 1 << 31), 0, "claims 2147483648 bytes"),
        (OTHERS + packet(1, b"x", 3), 0, "interface 3"),
        (OTHERS + struct.pack("<II", 6, 1 << 30), 0, "block claims"),
        (OTHERS + packet(1, b"x")[:-6], 0, "middle of a block"),
        (OTHERS + packet(1, b"x") + b"\x06\0", 1, "after frame 1"),
        (section()[:8] + b"zzzz" + section()[12:], 0, "byte order"),
        (gzip.compress(pcap(FRAMES), mtime=0)[:-30], 0, ""),
        (gzip.compress(pcap(FRAMES[:1]), mtime=0) + NO_BLOCK, 1, "invalid block type"),
        (section() + interface(offset=-(10**15)) + packet(1, b"x"), 0, "frame 1 says a time that no clock shows"),
        (section() + interface(offset=1 << 62) + packet(1, b"x"), 0, "frame 1 says a time that no clock shows"),
        (OTHERS + packet(1, b"x") + packet((1 << 64) - 1, b"y"), 1, "frame 2 says a time that no clock shows"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_damaged_file_says_where(tmp_path: Path, data: bytes, frames: int, why: str) -> None:
    found, file = of(tmp_path, data)
    assert len(found) == frames
    assert len(file.broken) == 1 and why in whys(file)[0]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    _, file = read(tmp_path / "none")
    assert whys(file) == ["No such file or directory"]


@given(st.binary(max_size=400), st.integers(0, 3))
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, junk: bytes, which: int) -> None:
    heads = (b"", pcap([]), OTHERS, section(">") + interface(order=">"))
    of(tmp_path_factory.mktemp("junk"), heads[which] + junk)


@given(st.data())
def test_no_change_of_a_capture_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(OTHERS + b"".join(packet(round(at * 1e6), frame) for at, frame in boot().frames[:4]))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    of(tmp_path_factory.mktemp("changed"), bytes(whole))


def test_a_ring_is_one_capture_in_the_order_of_time(tmp_path: Path) -> None:
    for number, part in enumerate(["ring_00009_20261122101010.pcapng", "ring_00001_20261122101012.pcapng"]):
        (tmp_path / part).write_bytes(pcap([(BEGIN + number, bytes([number]))]))
    (tmp_path / "t.pcap0").write_bytes(pcap([(BEGIN + 2, b"c")]))
    (tmp_path / "t.pcap1").write_bytes(pcap([(BEGIN + 1, b"b")]))
    (tmp_path / "other.pcap").write_bytes(pcap(FRAMES))
    files = of_paths(sorted(tmp_path.iterdir()))
    assert [[one.data for one in file.frames()] for file in files] == [
        [data for _, data in FRAMES], [b"\0", b"\1"], [b"b", b"c"],
    ]  # fmt: skip


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = []
    for side in ("phone", "server"):
        (tmp_path / side).mkdir()
        paths.append(Tape(frames=list(FRAMES)).save(tmp_path / side / "a.pcap"))
    assert [next(iter(one.frames())).ref for one in of_paths(paths)] == [
        "phone/a.pcap frame 1",
        "server/a.pcap frame 1",
    ]
