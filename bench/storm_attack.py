"""Attackers of a storm, as a program of their own: ``python bench/storm_attack.py garbage|silent PORT RATE MOST``.

``garbage``: RATE connections a second; every other one sends 200 random bytes, the rest what looks like a ClientHello
from without and is random within.
``silent``: MOST connections that say nothing, opened as quickly as can be; what the server then closes is opened anew,
RATE a second.
They come from addresses at which no phone lives. Told on standard output at the end: how many were opened.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

SOURCES: Final = 16
_ROOM: Final = 200
"""Descriptors for everything else."""
_NO_PORT_YET: Final = 24  # IP_BIND_ADDRESS_NO_PORT of Linux
_PATIENCE: Final = 5.0


class Attack:
    """Sockets that are opened at a pace and closed when the server closes them."""

    def __init__(self, port: int, rate: float, most: int, says: Callable[[], bytes]) -> None:
        self._port, self._rate, self._most, self._says = port, rate, most, says
        self._burst = 0 if says() else most
        self._open: dict[int, tuple[socket.socket, float]] = {}
        self._poll = select.epoll()
        self.opened = self.peak = 0

    def run(self, going: Callable[[], bool]) -> None:
        begun = time.monotonic()
        while going():
            due = int((time.monotonic() - begun) * self._rate) - self.opened + self._burst
            for _ in range(min(due, self._most - len(self._open), 100)):
                self._begin()
            if due > 0 and len(self._open) >= self._most:
                begun += due / self._rate  # no catching up when places become free
            self.peak = max(self.peak, len(self._open))
            for fd, events in self._poll.poll(0.005, 500):
                self._hear(fd, events)
            self._forget_old()
        for one, _ in self._open.values():
            one.close()

    def _begin(self) -> None:
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_IP, _NO_PORT_YET, 1)
        made.bind((f"127.9.9.{1 + self.opened % SOURCES}", 0))
        made.connect_ex(("127.0.0.1", self._port))
        self._open[made.fileno()] = made, time.monotonic()
        self._poll.register(made.fileno(), select.EPOLLOUT | select.EPOLLIN | select.EPOLLRDHUP)
        self.opened += 1

    def _hear(self, fd: int, events: int) -> None:
        made, _ = self._open[fd]
        if events & (select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
            self._end(fd)
        else:
            self._poll.modify(fd, select.EPOLLIN | select.EPOLLRDHUP)
            with contextlib.suppress(OSError):
                made.send(self._says())

    def _forget_old(self) -> None:
        """Garbage that nobody answers makes room; silent ones stay for as long as they are let."""
        if not self._says():
            return
        limit = time.monotonic() - _PATIENCE
        while self._open and self._open[fd := next(iter(self._open))][1] < limit:
            self._end(fd)

    def _end(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._open.pop(fd)[0].close()


def garbage() -> bytes:
    """Plain noise, or noise in the envelope of a ClientHello (RFC 8446 sections 4 and 5.1), its lengths right."""
    noise = os.urandom(200)
    return noise if noise[0] & 1 else b"\x16\x03\x01\x00\xc4\x01\x00\x00\xc0" + noise[:192]


def main() -> None:
    """Attack until told to stop."""
    kind, port, rate, most = sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stop.append(number))
    parent = os.getppid()
    says = (lambda: b"") if kind == "silent" else garbage
    attack = Attack(int(port), float(rate), min(int(most), hard - _ROOM), says)
    attack.run(lambda: not stop and os.getppid() == parent)
    print(attack.opened, attack.peak, flush=True)


if __name__ == "__main__":
    main()
