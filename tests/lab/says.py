"""Frames of one's own: python says.py INTERFACE HEX... sends each once."""

from __future__ import annotations

import socket
import sys


def main() -> None:
    """Whole frames, from their destination on."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((sys.argv[1], 0))
        for frame in sys.argv[2:]:
            raw.send(bytes.fromhex(frame))


if __name__ == "__main__":
    main()
