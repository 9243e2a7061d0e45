"""SIP plug and play: python plug_and_play.py phone OWN | pbx OWN URL. RFC 6080 over the group that phones ask."""

from __future__ import annotations

import re
import socket
import struct
import sys

GROUP = ("224.0.1.75", 5060)
MAC = "0004f2aabbcc"
_COPIED = re.compile(r"(?im)^(?:via|from|to|call-id)[ \t]*:.*$")


def message(first: str, *lines: str, body: str = "") -> bytes:
    return "\r\n".join((first, *lines, f"Content-Length: {len(body)}", "", body)).encode()


def opened(own: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
    made.bind(("" if port else own, port))
    made.settimeout(8)
    return made


def phone(own: str) -> None:
    """Ask once, and take what two of them say."""
    with opened(own, 0) as asking:
        port = asking.getsockname()[1]
        lines = (
            f"Via: SIP/2.0/UDP {own}:{port};branch=z9hG4bKpnp",
            f"From: <sip:{MAC}@224.0.1.75>;tag=1",
            f"To: <sip:{MAC}@224.0.1.75>",
            "Call-ID: pnp-1",
            "CSeq: 1 SUBSCRIBE",
            'Event: ua-profile;profile-type="device";vendor="Yealink";model="T46S";version="66.85"',
            f"Contact: <sip:{own}:{port}>",
            "Expires: 0",
        )
        asking.sendto(message(f"SUBSCRIBE sip:{MAC}@224.0.1.75 SIP/2.0", *lines), GROUP)
        for _ in range(2):
            said, sender = asking.recvfrom(4096)
            copied = [found[0].rstrip("\r") for found in _COPIED.finditer(said.decode())]
            asking.sendto(message("SIP/2.0 200 OK", *copied, "CSeq: 1 NOTIFY"), sender)


def pbx(own: str, url: str) -> None:
    """Tell everybody where to ask."""
    with opened(own, 5060) as listening:
        joined = struct.pack("4s4s", socket.inet_aton(GROUP[0]), socket.inet_aton(own))
        listening.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        listening.settimeout(None)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            said, sender = listening.recvfrom(4096)
            if said.startswith(b"SUBSCRIBE"):
                lines = (
                    f"Via: SIP/2.0/UDP {own}:5060;branch=z9hG4bK{own}",
                    f"From: <sip:{own}>;tag=2",
                    f"To: <sip:{MAC}@224.0.1.75>;tag=1",
                    f"Call-ID: pnp-{own}",
                    "CSeq: 1 NOTIFY",
                    "Event: ua-profile",
                    "Content-Type: application/url",
                )
                listening.sendto(message(f"NOTIFY sip:{sender[0]}:{sender[1]} SIP/2.0", *lines, body=url), sender)


if __name__ == "__main__":
    {"phone": phone, "pbx": pbx}[sys.argv[1]](*sys.argv[2:])
