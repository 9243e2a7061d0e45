# SPDX-License-Identifier: GPL-2.0-only
"""HTTP/1.1 in clear: heads are read, bodies are counted and their kind is told, what proves an identity is left out."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Final

from provisioner.capture.bodies import Beginning
from provisioner.capture.files import Frame
from provisioner.capture.lines import (
    ABSENT,
    Fact,
    fact,
    scheme_of,
    told_apart,
    url_without_secrets,
    words_without_secrets,
)

PHONE: Final = "phone"
METHODS: Final = (b"GET ", b"PUT ", b"POST", b"HEAD", b"OPTI", b"DELE", b"PATC", b"CONN", b"PROP")
_LONGEST_HEAD: Final = 32 * 1024
_REQUEST: Final = re.compile(r"([A-Z]{3,16}) (\S{1,4096}) HTTP/1\.[01]")
_STATUS: Final = re.compile(r"HTTP/1\.[01] (\d{3})\b ?(.{0,200})")


@dataclass(slots=True)
class _Half:
    buffer: bytearray = field(default_factory=bytearray)
    left: int = 0
    """Bytes of the body that are still to come; -1: until the connection ends."""
    chunked: bool = False
    answer: dict[str, object] | None = None
    frame: Frame | None = None
    got: int = 0
    begins: Beginning = field(default_factory=Beginning)
    blind: bool = False


@dataclass(slots=True)
class HttpTalk:
    """Both directions of one connection."""

    connection: str
    stage: str = "syn"
    asked: list[str] = field(default_factory=list)
    _phone: _Half = field(default_factory=_Half)
    _server: _Half = field(default_factory=_Half)

    def data(self, by: str, piece: bytes, frame: Frame) -> Iterator[Fact]:
        """What the bytes tell."""
        half = self._phone if by == PHONE else self._server
        while piece and not half.blind:
            if half.left:
                piece = yield from self._body(half, piece)
            elif half.chunked:
                piece = yield from self._chunks(half, piece)
            else:
                half.buffer += piece
                piece = yield from self._head(by, half, frame)

    def gap(self, by: str, count: int) -> None:
        """Bytes that the capture has lost."""
        half = self._phone if by == PHONE else self._server
        if half.left < 0 or half.left >= count:
            half.left -= count if half.left > 0 else 0
            half.got += count
        else:
            half.blind = True

    def end(self) -> Iterator[Fact]:
        """The connection is over: what was still coming is complete or cut."""
        half = self._server
        if half.answer is not None:
            yield from self._answered(half, complete=half.left <= 0 and not half.chunked)

    @property
    def answered(self) -> int:
        """Bytes of the answer that is on its way."""
        return self._server.got

    def _head(self, by: str, half: _Half, frame: Frame) -> Generator[Fact, None, bytes]:
        end = half.buffer.find(b"\r\n\r\n")
        if end < 0:
            half.blind = len(half.buffer) > _LONGEST_HEAD
            return b""
        first, *rest = half.buffer[:end].decode("latin-1").split("\r\n")
        piece = bytes(half.buffer[end + 4 :])
        half.buffer.clear()
        headers = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
        if by == PHONE and (found := _REQUEST.fullmatch(first)):
            yield self._request(half, found, headers, frame)
        elif by != PHONE and (found := _STATUS.match(first)):
            yield from self._begun(half, int(found[1]), headers, frame)
        else:
            half.blind = True
        return piece

    def _request(self, half: _Half, found: re.Match[str], headers: dict[str, str], frame: Frame) -> Fact:
        self.stage = "request"
        self.asked = [*self.asked[-15:], found[1]]
        half.left, half.chunked = _length(headers), "chunked" in headers.get("transfer-encoding", "").lower()
        path = url_without_secrets(found[2])
        return self._fact(
            "request",
            frame,
            method=found[1],
            path=path,
            file=path.rpartition("/")[2].partition("?")[0],
            user_agent=words_without_secrets(headers.get("user-agent", "")),
            host=words_without_secrets(headers.get("host", "")),
            authorization=scheme_of(headers.get("authorization", "")),
            accepts=words_without_secrets(headers.get("accept-encoding", "")) or ABSENT,
        )

    def _begun(self, half: _Half, status: int, headers: dict[str, str], frame: Frame) -> Iterator[Fact]:
        if status < 200:
            return
        yield from self.end()
        self.stage = "answer"
        method = self.asked.pop(0) if self.asked else "GET"
        empty = method == "HEAD" or status in (204, 304)
        half.chunked = not empty and "chunked" in headers.get("transfer-encoding", "").lower()
        half.left = 0 if empty or half.chunked else _length(headers, -1)
        half.got, half.frame, half.begins = 0, frame, Beginning()
        half.answer = {
            "status": status,
            "etag": told_apart(headers.get("etag", "")),
            "type": words_without_secrets(headers.get("content-type", "")),
            "retry_after": words_without_secrets(headers.get("retry-after", "")),
            "location": url_without_secrets(headers.get("location", "")),
            "asks_for": scheme_of(headers.get("www-authenticate", "")),
            "encoding": words_without_secrets(headers.get("content-encoding", "")),
        }
        if not half.left and not half.chunked:
            yield from self._answered(half, complete=True)

    def _body(self, half: _Half, piece: bytes) -> Generator[Fact, None, bytes]:
        if half.left < 0:
            half.begins.take(piece)
            half.got += len(piece)
            return b""
        taken = min(half.left, len(piece))
        half.begins.take(piece[:taken])
        half.left -= taken
        half.got += taken
        if not half.left and not half.chunked:
            yield from self._answered(half, complete=True)
        return piece[taken:]

    def _chunks(self, half: _Half, piece: bytes) -> Generator[Fact, None, bytes]:
        """RFC 9112 section 7.1; `left` counts a chunk and the line end behind it."""
        half.buffer += piece
        end = half.buffer.find(b"\r\n")
        if end < 0:
            half.blind = len(half.buffer) > 1024
            return b""
        size = int(bytes(half.buffer[:end]).partition(b";")[0], 16)
        rest = bytes(half.buffer[end + 2 :])
        half.buffer.clear()
        if size:
            half.left, half.got = size + 2, half.got - 2
            return rest
        half.chunked = False
        yield from self._answered(half, complete=True)
        return rest.removeprefix(b"\r\n")

    def _answered(self, half: _Half, *, complete: bool) -> Iterator[Fact]:
        if half.answer is not None and half.frame is not None:
            seen = half.begins.values()
            yield self._fact("answer", half.frame, **half.answer, **seen, bytes=half.got, complete=complete)
        half.answer = None

    def _fact(self, kind: str, frame: Frame, **values: object) -> Fact:
        return fact(kind, frame.at, frame.ref, connection=self.connection, **values)


def _length(headers: dict[str, str], otherwise: int = 0) -> int:
    said = headers.get("content-length", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 16 else otherwise
