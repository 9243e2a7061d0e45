# SPDX-License-Identifier: GPL-2.0-only
"""Frames from a raw socket into a ring of pcapng files, where no other program does it; none is looked at."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from provisioner.capture.files import ETHERNET
from provisioner.capture.writing import PcapngWriter

FILES: Final = 8
_EVERY_PROTOCOL: Final = 3
_BUFFER: Final = 64 << 20
"""Bytes the kernel may keep for us: three seconds of a full Gigabit's phones."""
_LARGEST: Final = 262_144
_SOL_PACKET, _ADD_MEMBERSHIP, _STATISTICS, _AUXDATA, _PROMISCUOUS = 263, 1, 6, 8, 1
_ATTACH_FILTER, _STAMP_NS, _BUFFER_FORCE = 26, 35, 33
_TAG_VALID, _TPID_VALID = 1 << 4, 1 << 6
_AUX: Final = struct.Struct("IIIHHHH")
_TURN: Final = 0.2
"""Seconds after which the loop looks whether it should end."""


class Taken(NamedTuple):
    """What came of it."""

    frames: int
    dropped: int
    files: list[Path]


def take(interface: str, into: Path, chosen: Sequence[bytes], megabytes: int, goes_on: Callable[[], bool]) -> Taken:
    """Until `goes_on` says no. PermissionError without CAP_NET_RAW, OSError without the interface.

    ``chosen``: a program of BPF; an empty one takes all frames.
    """
    with _opened(interface, chosen) as raw, _Ring(into, megabytes << 20) as ring:
        while goes_on():
            try:
                data, aside, _, _ = raw.recvmsg(_LARGEST, 256)
            except TimeoutError:
                continue
            at, data = _told(data, aside)
            ring.keep(at, data)
        received, dropped = struct.unpack("II", raw.getsockopt(_SOL_PACKET, _STATISTICS, 8))
        if dropped:
            ring.lost(dropped)
        del received
        return Taken(ring.frames, dropped, ring.paths())


class _Ring:
    """So many files of the same size; the oldest goes."""

    def __init__(self, into: Path, size: int) -> None:
        self.frames = 0
        self._into, self._each = into, max(size // FILES, 1 << 16)
        self._files: list[Path] = []
        self._writer: PcapngWriter | None = None

    def __enter__(self) -> _Ring:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def keep(self, at: int, data: bytes) -> None:
        """One frame."""
        if self._writer is None or self._writer.written > self._each:
            self._turn()
        assert self._writer is not None
        self._writer.frame(at, ETHERNET, data, len(data))
        self.frames += 1

    def lost(self, frames: int) -> None:
        """What the kernel had no room for, since the beginning."""
        if self._writer is None:
            self._turn()
        assert self._writer is not None
        self._writer.lost(ETHERNET, frames, time.time_ns())

    def paths(self) -> list[Path]:
        """The files that are there, the oldest first."""
        self._close()
        return list(self._files)

    def _turn(self) -> None:
        self._close()
        count = int(self._files[-1].stem.rpartition("_")[2]) + 1 if self._files else 1
        path = self._into / f"ring_{count:05}.pcapng"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        self._writer = PcapngWriter(os.fdopen(handle, "wb", buffering=1 << 20))
        self._files.append(path)
        if len(self._files) > FILES:
            self._files.pop(0).unlink(missing_ok=True)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.stream.close()
            self._writer = None


@contextmanager
def _opened(interface: str, chosen: Sequence[bytes]) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:  # protocol 0: deaf until it is bound
        if chosen:
            _attach(raw, chosen)
        try:
            raw.setsockopt(socket.SOL_SOCKET, _BUFFER_FORCE, _BUFFER)
        except PermissionError:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)  # as much as net.core.rmem_max allows
        raw.setsockopt(socket.SOL_SOCKET, _STAMP_NS, 1)
        raw.setsockopt(_SOL_PACKET, _AUXDATA, 1)
        raw.settimeout(_TURN)
        raw.bind((interface, _EVERY_PROTOCOL))
        with suppress(OSError):  # some interfaces have no promiscuous mode; what is for this machine comes without it
            wanted = struct.pack("iHH8s", socket.if_nametoindex(interface), _PROMISCUOUS, 0, b"")
            raw.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, wanted)
        yield raw


def _attach(raw: socket.socket, steps: Sequence[bytes]) -> None:
    """Struct sock_fprog: how many, and where they are."""
    code = ctypes.create_string_buffer(b"".join(steps))
    raw.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", len(steps), ctypes.addressof(code)))


def _told(data: bytes, aside: list[tuple[int, int, bytes]]) -> tuple[int, bytes]:
    """The kernel's time, and the tag that it has taken out put back."""
    at = 0
    for level, kind, value in aside:
        if (level, kind) == (socket.SOL_SOCKET, _STAMP_NS):
            seconds, part = struct.unpack("qq", value[:16])
            at = seconds * 1_000_000_000 + part
        elif (level, kind) == (_SOL_PACKET, _AUXDATA) and len(value) >= _AUX.size:
            status, _, _, _, _, tag, protocol = _AUX.unpack_from(value)
            if status & _TAG_VALID:
                outer = protocol if status & _TPID_VALID else 0x8100
                data = data[:12] + struct.pack("!HH", outer, tag) + data[12:]
    return at or time.time_ns(), data
