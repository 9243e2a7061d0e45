# SPDX-License-Identifier: GPL-2.0-only
"""Read pcap and pcapng as a stream: a record at a time, nothing kept, a bad file ends with its reason."""

from __future__ import annotations

import gzip
import os
import re
import struct
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from io import BufferedReader, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from provisioner.capture.lines import Fact, fact
from provisioner.capture.writing import SIDE

LARGEST: Final = 262_144
"""Bytes of one frame: what libpcap allows (MAXIMUM_SNAPLEN). A longer one means that the file is not what it says."""
_LARGEST_BLOCK: Final = 16 * 1024 * 1024
_CHUNK: Final = 1 << 20
_LATEST: Final = 1 << 34
"""Seconds since 1970 (the year 2514): nanoseconds of it fit in 64 bits, and the calendar knows it."""
ETHERNET: Final = 1
_CLASSIC: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}
_SECTION: Final = b"\x0a\x0d\x0d\x0a"
"""pcapng (draft-ietf-opsawg-pcapng): a section header begins every file and may come again."""
_INTERFACE, _OBSOLETE, _SIMPLE, _STATISTICS, _ENHANCED = 1, 2, 3, 5, 6
_PACKET: Final = {_ENHANCED: "IIIII", _OBSOLETE: "HxxIIII"}


if TYPE_CHECKING:
    Raw = BufferedReader[FileIO]
    Stream = Raw | gzip.GzipFile
_RING: Final = re.compile(r"_\d{5}(?:_\d{14})?(?=\.pcap)|(?<=\.pcap)\d+$")
"""How dumpcap, this program and tcpdump number the files of a ring."""


class Frame(NamedTuple):
    """One frame as it stands in its file."""

    file: str
    number: int
    at: float
    link: int
    data: bytes
    length: int
    """Of the frame on the wire; more than ``data`` where the capture has cut it."""

    @property
    def ref(self) -> str:
        """How a report cites it; the number is the one that Wireshark shows."""
        return f"{self.file} frame {self.number}"


class Unreadable(Exception):
    """The file is no capture, or stops being one."""


class _Interface(NamedTuple):
    link: int
    units: float
    offset: int
    side: int
    """Of several that this program has joined; 0: it is one file of one side."""


_PACKED: Final = {b"\xfd7zX": "xz", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "Zstandard"}
"""How files begin that other programs have compressed."""


@dataclass(slots=True)
class CaptureFile:
    """A capture to be read once or several times; a ring of files is one, from its oldest to its newest."""

    parts: list[tuple[Path, str]]
    """Where each lies, and how a report calls it."""
    moved: Callable[[int], None] | None = None
    """Told how many bytes are read, now and then."""
    shift: float = 0.0
    """Seconds to add: the clock of the machine that has captured it against the first file's."""
    broken: list[Fact] = field(default_factory=list)
    dropped: int = 0
    name: str = ""
    """Of the part that is read."""
    side: int = 0
    """Only frames of this side, where several are in one file."""
    _lost: dict[int, int] = field(default_factory=dict)
    _interfaces: list[_Interface] = field(default_factory=list)
    _before: int = 0
    _raw: Raw | None = None

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path, _ in self.parts)

    def frames(self) -> Generator[Frame, None, None]:
        """Every frame; what is wrong with the file is in ``broken`` afterwards."""
        self.broken, self.dropped, self._before = [], 0, 0
        for path, name in self.parts:
            self.name = name
            yield from self._part(path)
            self._before += path.stat().st_size if path.exists() else 0

    def _part(self, path: Path) -> Iterator[Frame]:
        self._lost, self._interfaces = {}, []
        at = 0.0
        try:
            with _opened(path) as (stream, self._raw):
                for frame in self._walk(stream):
                    at = frame.at
                    yield frame
        except (OSError, EOFError, struct.error, zlib.error, Unreadable) as error:
            self.broken.append(fact("broken", at, self.name, why=_why(error)))
        self.dropped += sum(self._lost.values())

    def _walk(self, stream: Stream) -> Iterator[Frame]:
        magic = stream.read(4)
        if magic in _CLASSIC:
            return self._classic(stream, *_CLASSIC[magic])
        if magic == _SECTION:
            return self._blocks(stream)
        if packer := next((name for begin, name in _PACKED.items() if magic.startswith(begin)), ""):
            raise Unreadable(f"this is compressed by {packer}: unpack it first; gzip is read as it is")
        raise Unreadable("this is no pcap and no pcapng file" if magic else "the file is empty")

    def _classic(self, stream: Stream, order: str, units: int) -> Iterator[Frame]:
        head = stream.read(20)
        if len(head) < 20:
            raise Unreadable("the file ends in its header")
        link = struct.unpack(order + "HHiIII", head)[5] & 0xFFFF
        record = struct.Struct(order + "IIII")
        number, read, shift, name, scale = 0, 24, self.shift, self.name, 1 / units
        told = _CHUNK
        while head := stream.read(16):
            number += 1
            if len(head) < 16:
                raise Unreadable(f"the file ends in the middle of frame {number}")
            seconds, part, kept, length = record.unpack(head)
            if kept > LARGEST:
                raise Unreadable(f"frame {number} claims {kept} bytes; the file is damaged from there on")
            data = stream.read(kept)
            if len(data) < kept:
                raise Unreadable(f"the file ends in the middle of frame {number}")
            read += kept + 16
            if read > told:
                told = read + _CHUNK
                self._tell()
            yield Frame(name, number, seconds + part * scale + shift, link, data, length)

    def _blocks(self, stream: Stream) -> Iterator[Frame]:
        kind, order, number, read = _SECTION, "<", 0, 0
        while kind:
            if kind == _SECTION:
                order = self._section(stream)
            else:
                body = _body(stream, order)
                read += len(body)
                if read > _CHUNK:
                    read = 0
                    self._tell()
                code = struct.unpack(order + "I", kind)[0]
                if code in (_ENHANCED, _SIMPLE, _OBSOLETE):
                    number += 1
                    if (frame := self._packet(code, body, order, number)) is not None:
                        yield frame
                else:
                    self._aside(code, body, order)
            kind = stream.read(4)
            if 0 < len(kind) < 4:
                raise Unreadable(f"the file ends after frame {number} in the middle of a block")

    def _section(self, stream: Stream) -> str:
        head = stream.read(8)
        order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(head[4:8], "")
        if not order:
            raise Unreadable("a section of the file has no byte order")
        length = struct.unpack(order + "I", head[:4])[0]
        if not 28 <= length <= _LARGEST_BLOCK or len(stream.read(length - 12)) < length - 12:
            raise Unreadable("a section header of the file is damaged")
        self._interfaces = []
        self.dropped += sum(self._lost.values())
        self._lost = {}
        return order

    def _packet(self, code: int, body: bytes, order: str, number: int) -> Frame | None:
        """None for one of another side."""
        if code == _SIMPLE:
            length, kept, place, at, start = struct.unpack_from(order + "I", body)[0], len(body) - 4, 0, 0.0, 4
            kept = min(kept, length)
        else:
            place, high, low, kept, length = struct.unpack_from(
                order + ("IIIII" if code == _ENHANCED else "HxxIIII"), body
            )
            at, start = float(high << 32 | low), 20
        if place >= len(self._interfaces):
            raise Unreadable(f"frame {number} names interface {place}, which the file does not describe")
        if kept > len(body) - start or kept > LARGEST:
            raise Unreadable(f"frame {number} claims {kept} bytes; the file is damaged from there on")
        one = self._interfaces[place]
        if self.side not in (0, one.side):
            return None
        seconds = at * one.units + one.offset
        if not 0 <= seconds < _LATEST:
            raise Unreadable(f"frame {number} says a time that no clock shows; the file is damaged")
        return Frame(self.name, number, seconds + self.shift, one.link, body[start : start + kept], length)

    def _aside(self, code: int, body: bytes, order: str) -> None:
        if code == _INTERFACE and len(self._interfaces) < 4096:
            told = dict(_options(body[8:], order))
            offset = told.get(14, b"")
            self._interfaces.append(
                _Interface(
                    struct.unpack_from(order + "H", body)[0],
                    _units(told.get(9, b"\x06")[:1]),
                    struct.unpack(order + "q", offset)[0] if len(offset) == 8 else 0,
                    _side(told.get(2, b"")),
                )
            )
        elif code == _STATISTICS:
            # isb_ifdrop and isb_osdrop count what was lost since the capture began, so the last one says all.
            told = dict(_options(body[12:], order))
            lost = [struct.unpack(order + "Q", told[one])[0] for one in (5, 7) if len(told.get(one, b"")) == 8]
            place = struct.unpack_from(order + "I", body)[0]
            side = self._interfaces[place].side if place < len(self._interfaces) else 0
            if lost and place < 4096 and self.side in (0, side):
                self._lost[place] = max(lost)

    def _tell(self) -> None:
        if self.moved and self._raw:
            self.moved(self._before + self._raw.tell())


def _why(error: Exception) -> str:
    if isinstance(error, zlib.error):
        return f"what is compressed is damaged from there on ({str(error).rpartition(': ')[2]})"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Stream, Raw]]:
    """What is read, and the file on disk below it."""
    with BufferedReader(FileIO(path), _CHUNK) as raw:
        if raw.peek(2)[:2] == b"\x1f\x8b":  # RFC 1952
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield unpacked, raw
        else:
            yield raw, raw


def _body(stream: Stream, order: str) -> bytes:
    head = stream.read(4)
    if len(head) < 4:
        raise Unreadable("the file ends in the middle of a block")
    length = struct.unpack(order + "I", head)[0]
    if not 12 <= length <= _LARGEST_BLOCK or length % 4:
        raise Unreadable(f"a block claims {length} bytes; the file is damaged from there on")
    body = stream.read(length - 8)
    if len(body) < length - 8:
        raise Unreadable("the file ends in the middle of a block")
    return body[:-4]


def _options(body: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == 0:
            return
        yield code, body[at + 4 : at + 4 + length]
        at += 4 + (length + 3 & ~3)


def _side(name: bytes) -> int:
    """if_name, as this program writes it."""
    said = name.removeprefix(SIDE)
    return int(said) if said != name and said.isdigit() and len(said) == 1 else 0


def _units(said: bytes) -> float:
    """if_tsresol: a power of ten, or of two where the first bit is set."""
    power = said[0] & 0x7F if said else 6
    return 2.0**-power if said and said[0] & 0x80 else 10.0**-power


def of_paths(paths: Sequence[Path]) -> list[CaptureFile]:
    """Each under a short name of its own; files of one ring together, and sides of one file apart."""
    shared = os.path.commonpath([one.resolve().parent for one in paths]) if len(paths) > 1 else ""
    names = [one.name for one in paths]
    if len(set(names)) < len(names):
        names = [os.path.relpath(one.resolve(), shared) for one in paths]
    rings: dict[str, list[tuple[Path, str]]] = {}
    for path, name in zip(paths, names, strict=True):
        rings.setdefault(_RING.sub("", name) if _RING.search(name) else f"/{name}", []).append((path, name))
    return [
        CaptureFile(sorted(parts, key=lambda one: _first(one[0])), side=side)
        for parts in rings.values()
        for side in (_sides(parts[0][0]) if len(parts) == 1 else [0])
    ]


def _sides(path: Path) -> list[int]:
    """Which of them are in a file; its interfaces stand before its frames."""
    file = CaptureFile([(path, path.name)])
    with closing(file.frames()) as frames:
        next(frames, None)
    return sorted({one.side for one in file._interfaces} - {0}) or [0]


def _first(path: Path) -> float:
    """When it begins: the numbers of a ring's files begin again, its times do not."""
    with closing(CaptureFile([(path, path.name)]).frames()) as frames:
        first = next(frames, None)
    return first.at if first else 0.0
