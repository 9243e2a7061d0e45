"""A ClientHello as old stacks send it, TLS 1.2 without signature algorithms: python old_hello.py ADDRESS NAME."""

from __future__ import annotations

import os
import socket
import struct
import sys

SUITES = (0xC030, 0xC02F, 0x009D, 0x009C, 0x0035, 0x002F)


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack("!HH", kind, len(data)) + data


def hello(name: str) -> bytes:
    """RFC 5246 section 7.4.1.2, with the server's name and the curves that it takes."""
    host = name.encode()
    named = extension(0, struct.pack("!HBH", len(host) + 3, 0, len(host)) + host)
    curves = extension(10, struct.pack("!HHH", 4, 0x0017, 0x0018)) + extension(11, b"\1\0")
    suites = b"".join(struct.pack("!H", one) for one in SUITES)
    extensions = named + curves
    body = b"\3\3" + os.urandom(32) + b"\0" + struct.pack("!H", len(suites)) + suites + b"\1\0"
    body += struct.pack("!H", len(extensions)) + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + struct.pack("!H", len(message)) + message


if __name__ == "__main__":
    with socket.create_connection((sys.argv[1], 443), timeout=8) as phone:
        phone.sendall(hello(sys.argv[2]))
        while phone.recv(4096):
            pass
