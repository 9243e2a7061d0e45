"""Sound between calls and the network: prompts encoded once, a bounded range of ports, one clock for all calls.

Ports are read at the clock's beat, a few datagrams each, and some more of one that is flooded, so that its phone is
found among them: no flood takes more than a tenth of a core, and what is more the kernel drops.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from ivr.media.g711 import FRAME, RATE, Codec
from ivr.media.latch import Address
from ivr.media.session import Prompt
from ivr.prompts import IDS, Prompts

PERIOD: Final = FRAME / RATE
"""s: a packet of speech."""
_A_BEAT: Final = 10
"""Datagrams of one call read at a beat: ten times what a phone sends, so a second of backlog is gone in 200 ms."""
_SPARE: Final = 400
"""Datagrams more, of all calls together: 2 ms of a beat's 20."""
_TRIED: Final = 64
"""Ports tried for a call; what other programs hold is tried later than all others."""
_DATAGRAM: Final = 2049
"""Bytes; one more than a Session looks at, so that what is too long is known to be."""
_BUFFER: Final = 64 * 1024
"""Bytes that the kernel keeps for a port."""
_LYING: Final = 1024
"""Datagrams thrown away at once: more than fit into the buffer, which the kernel doubles for its own needs."""


class Voice:
    """Every prompt of every language in 20 ms frames of each codec."""

    def __init__(self, languages: Mapping[str, Prompts]) -> None:
        self._said: dict[str, dict[str, dict[Codec, tuple[bytes, ...]]]] = {
            language: {prompt: _frames(prompts.load(prompt)) for prompt in IDS}
            for language, prompts in languages.items()
        }

    def prompt(self, language: str, prompts: Sequence[str]) -> Prompt:
        """Several prompts as one."""
        said = self._said[language]
        return {codec: tuple(frame for one in prompts for frame in said[one][codec]) for codec in Codec}


def _frames(pcm: bytes) -> dict[Codec, tuple[bytes, ...]]:
    return {codec: codec.frames(pcm) for codec in Codec}


class Spare:
    """What all calls share of a beat's reading."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = 0
        """Datagrams that may still be read."""

    def renew(self) -> None:
        """A beat begins."""
        self.left = _SPARE


class MediaPort:
    """One call's UDP socket."""

    __slots__ = ("_release", "_sock", "_spare", "number")

    def __init__(self, sock: socket.socket, release: Callable[[int], None], spare: Spare) -> None:
        self._sock = sock
        self._release = release
        self._spare = spare
        self.number: int = sock.getsockname()[1]

    def arrived(self) -> Iterator[tuple[bytes, Address]]:
        """A few of the datagrams that wait, more when there are more and others leave something."""
        read = 0
        with suppress(OSError):  # nothing more waits; or an ICMP error, which says nothing that a packet would not
            while read < _A_BEAT or self._spare.left:
                data, source = self._sock.recvfrom(_DATAGRAM)
                read += 1
                self._spare.left -= read > _A_BEAT
                yield data, (source[0], source[1])

    def forget(self) -> None:
        """Throw away what has come so far: nobody could know yet that there is a call at this port."""
        with suppress(BlockingIOError):
            for _ in range(_LYING):
                with suppress(ConnectionError):  # an ICMP error; what lies behind it has to go as well
                    self._sock.recv(1)

    def send(self, packet: bytes, to: Address) -> None:
        """Lost when the network does not want it, as any packet may be."""
        with suppress(OSError):
            self._sock.sendto(packet, to)

    def close(self) -> None:
        """Give the port back."""
        if self._sock.fileno() >= 0:
            self._sock.close()
            self._release(self.number)


class MediaPorts:
    """Even ports of a range in random order; the one that was free longest is next, so late packets find nobody."""

    def __init__(self, low: int, high: int) -> None:
        free = list(range(low + low % 2, high + 1, 2))
        random.SystemRandom().shuffle(free)
        self._free = deque(free)
        self.spare = Spare()

    def __len__(self) -> int:
        """Ports that are free, as far as is known."""
        return len(self._free)

    def open(self, host: str) -> MediaPort | None:
        """A port at this address of ours; None when all of them are taken, or all that are tried."""
        host = "::" if host.startswith("fe80:") else host  # which of the links is not known here
        for _ in range(min(len(self._free), _TRIED)):
            number = self._free.popleft()
            if (sock := _bound(host, number)) is not None:
                return MediaPort(sock, self._free.append, self.spare)
            self._free.append(number)  # another program's
        return None


def _bound(host: str, port: int) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
    except OSError:  # no more open files
        return None
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        sock.bind((host, port))
    except OSError:
        sock.close()
        return None
    return sock


class Clock:
    """Calls ``beat`` each 20 ms while it runs, without drift by the loop's clock; beats that were missed are lost."""

    def __init__(self, beat: Callable[[float], None]) -> None:
        self._beat = beat
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether it beats."""
        return self._handle is not None

    def start(self) -> None:
        """Beat from now on."""
        if self._handle is None:
            loop = asyncio.get_running_loop()
            self._due = loop.time() + PERIOD
            self._handle = loop.call_at(self._due, self._fire)

    def stop(self) -> None:
        """Beat no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        missed = max(0, int((now - self._due) / PERIOD))
        self._due += (1 + missed) * PERIOD
        self._handle = loop.call_at(self._due, self._fire)
        self._beat(now)
