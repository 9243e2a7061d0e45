"""What no web server does on purpose, each at a port of its own: python answerer.py ADDRESS. Says "ready" when it is.

Answers that are cut, compressed unasked, or something else than they say; registrars by UDP that say one thing only.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import sys
from collections.abc import Callable
from contextlib import suppress

CONFIG = b"account.1.user_name = 1001\naccount.1.enable = 1\n" * 8
PAGE = b"<!DOCTYPE html>\n<html><head><title>Guest network</title></head><body>Please sign in.</body></html>\n"
OTHER = b'<?xml version="1.0"?>\n<gs_provision><mac>0004f2000099</mac><config><P47>pbx</P47></config></gs_provision>\n'
CIPHER = bytes((index * 167 + index // 7 * 31) % 256 for index in range(480))


def head(*lines: str) -> bytes:
    return "\r\n".join(("HTTP/1.1 200 OK", *lines, "Connection: close", "", "")).encode()


def whole(body: bytes, *lines: str) -> bytes:
    return head(f"Content-Length: {len(body)}", *lines) + body


PAGES = {
    8101: head("Content-Length: 4000", "Content-Type: text/plain") + CONFIG,
    8102: head("Transfer-Encoding: chunked") + b"%x\r\n%s\r\n" % (len(CONFIG), CONFIG),
    8103: head("Content-Length: 9000000", "Content-Type: application/octet-stream") + CIPHER * 4,
    8104: whole(gzip.compress(CONFIG, mtime=0), "Content-Encoding: gzip", "Content-Type: text/plain"),
    8105: whole(gzip.compress(CONFIG, mtime=0), "Content-Type: text/plain"),
    8106: whole(OTHER, "Content-Type: text/xml"),
    8107: whole(CIPHER, "Content-Type: application/octet-stream", 'ETag: "c1"'),
    8108: whole(PAGE, "Content-Type: text/plain"),
}
SLOW = 8110
"""It goes on for ever."""
REGISTRARS = {5071: "401", 5072: "403", 5073: "404", 5074: "503"}
"""5075 takes what comes and says nothing."""
_COPIED = re.compile(r"(?im)^(?:via|v|from|f|to|t|call-id|i|cseq)[ \t]*:.*$")


def page(answer: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]:
    async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()

    return said


async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head("Content-Length: 900000"))
        while True:
            writer.write(CONFIG)
            await writer.drain()
            await asyncio.sleep(0.05)
    writer.close()


class Registrar(asyncio.DatagramProtocol):
    """One status for whoever asks; none: nothing at all."""

    def __init__(self, status: str = "") -> None:
        self.status = status

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # of UDP
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if self.status and data.startswith(b"REGISTER"):
            copied = [found[0].rstrip("\r") for found in _COPIED.finditer(data.decode())]
            asks = ['WWW-Authenticate: Digest realm="pbx", nonce="0123456789"'] if self.status == "401" else []
            lines = [f"SIP/2.0 {self.status} No", *copied, *asks, "Content-Length: 0", "", ""]
            self.transport.sendto("\r\n".join(lines).encode(), address)


async def main(address: str) -> None:
    for port, answer in PAGES.items():
        await asyncio.start_server(page(answer), address, port)
    await asyncio.start_server(slowly, address, SLOW)
    loop = asyncio.get_running_loop()
    for port, status in {**REGISTRARS, 5075: ""}.items():
        await loop.create_datagram_endpoint(lambda status=status: Registrar(status), (address, port))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
