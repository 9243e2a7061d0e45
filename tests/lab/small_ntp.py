"""A time server that lives in another year: python small_ntp.py SECONDS; chronyd itself cannot be made to lie."""

from __future__ import annotations

import socket
import struct
import sys
import time

_EPOCH = 2_208_988_800
"""Seconds from 1900, where NTP counts from, to 1970 (RFC 5905 section 6)."""


def answer(asked: bytes, now: float) -> bytes:
    """As a server of stratum 2: the client's transmit time comes back as its origin."""
    stamp = struct.pack("!II", int(now + _EPOCH) % 2**32, int(now % 1 * 2**32))
    return struct.pack("!BBbbII4s", 0x24, 2, 6, -20, 0, 0, b"\x0a\0\0\1") + stamp + asked[40:48] + stamp + stamp


def main() -> None:
    """Until it is ended."""
    off = float(sys.argv[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 123))  # of a namespace of its own
        sys.stdout.write("listens\n")
        sys.stdout.flush()
        while True:
            asked, who = sock.recvfrom(512)
            if len(asked) >= 48:
                sock.sendto(answer(asked, time.time() + off), who)


if __name__ == "__main__":
    main()
