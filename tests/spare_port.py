"""A port for a program that has to be told one: of those that the system gives to nobody who asks for any."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress

_FIRST, _LAST = 10_000, 32_767
"""Below where Linux begins to give ports out (net.ipv4.ip_local_port_range)."""


def spare_port(host: str = "127.0.0.1") -> int:
    """Free for UDP and TCP, and so is the next one; even, as RTP wants it (RFC 3550 section 11)."""
    for _ in range(100):
        port = random.randrange(_FIRST + _FIRST % 2, _LAST, 2)
        with suppress(OSError), ExitStack() as stack:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                for number in (port, port + 1):
                    stack.enter_context(socket.socket(socket.AF_INET, kind)).bind((host, number))
            return port
    raise AssertionError("no port is free")
