"""A port that tags frames, where the kernel has no 802.1Q: python tags.py TRUNK VLAN=ACCESS... (VLAN 0: untagged).

What comes tagged on the trunk goes untagged to the interface of that VLAN, and back; a VLAN that nobody has is dropped.
Frames to groups that no bridge passes on (LLDP, 802.1X) stay untagged, as IEEE 802.1Q wants it.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from collections.abc import Mapping

_ALL, _SOL_PACKET, _AUXDATA, _OUTGOING = 3, 263, 8, 4
_AUX = struct.Struct("IIIHHHH")
_TAGGED = 1 << 4
_LINK_LOCAL = b"\x01\x80\xc2\x00\x00"


def opened(name: str) -> socket.socket:
    """All frames of an interface, with the tags that the kernel takes out of them beside."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    raw.bind((name, _ALL))
    raw.setsockopt(_SOL_PACKET, _AUXDATA, 1)
    return raw


def received(raw: socket.socket) -> tuple[int, bytes]:
    """VLAN and frame without its tag; nothing of what went out here."""
    data, aside, _, source = raw.recvmsg(65536, 256)
    if source[2] == _OUTGOING:
        return 0, b""
    for level, kind, value in aside:
        if (level, kind) == (_SOL_PACKET, _AUXDATA) and _AUX.unpack_from(value)[0] & _TAGGED:
            return _AUX.unpack_from(value)[5] & 0xFFF, data
    return 0, data


def tagged(vlan: int, data: bytes) -> bytes:
    """The frame as it goes on the trunk."""
    if not vlan or data.startswith(_LINK_LOCAL):
        return data
    return data[:12] + struct.pack("!HH", 0x8100, vlan) + data[12:]


def passed(trunk: socket.socket, accesses: Mapping[int, socket.socket]) -> None:
    """Whatever has come, to where it belongs."""
    ready, _, _ = select.select([trunk, *accesses.values()], [], [])
    for raw in ready:
        came, data = received(raw)
        if not data:
            continue
        if raw is not trunk:
            vlan = next(vlan for vlan, access in accesses.items() if access is raw)
            trunk.send(tagged(vlan, data))
        elif data.startswith(_LINK_LOCAL):
            next(iter(accesses.values())).send(data)
        elif came in accesses:
            accesses[came].send(data)


def main() -> None:
    """Until it is ended."""
    trunk = opened(sys.argv[1])
    accesses = {int(vlan): opened(name) for vlan, name in (word.split("=") for word in sys.argv[2:])}
    sys.stdout.write("passes on\n")
    sys.stdout.flush()
    while True:
        passed(trunk, accesses)


if __name__ == "__main__":
    main()
