"""Messages out of a TCP or TLS stream: Content-Length says where each ends (RFC 3261 section 18.3); memory is bounded.

A stream that breaks this cannot be understood again: ``hopeless`` says so, and the connection has to be closed.
"""

from __future__ import annotations

import re
from typing import Final

from ivr.sip.errors import SipError
from ivr.sip.headers import MOST, declared_length
from ivr.sip.message import LONGEST

_FIRST_LINE: Final = 2048
"""Bytes; a Request-URI has a hundred. What is no SIP at all is known by its first line."""
_STARTS: Final = re.compile(rb"[A-Za-z0-9!%'*+.\-_`~]")
_SIP_LINE: Final = re.compile(rb"SIP/[0-9]|[^\r\n]* SIP/[0-9.]+ *", re.IGNORECASE)
_BREAKS: Final = re.compile(rb"(?:\r\n)+")
_END: Final = b"\r\n\r\n"


class Framer:
    """One connection's bytes in, whole messages out; at most one unfinished message is kept."""

    __slots__ = ("_at", "_breaks", "_buffer", "_needed", "hopeless", "limit", "pongs")

    def __init__(self, limit: int = LONGEST) -> None:
        self.limit = limit
        """Bytes of one message."""
        self.pongs = 0
        """CRLFs owed for the keep-alives (RFC 5626 section 4.4.1) among the bytes fed last."""
        self.hopeless: SipError | None = None
        """Why the connection has to be closed."""
        self._buffer = bytearray()
        self._at = 0
        """Up to here no end of the head was found."""
        self._needed = 0
        """Bytes of the message that is being received; 0 until its head is there."""
        self._breaks = 0
        """CRLFs since the last message."""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now. SipError when the stream was broken and none is left to be had."""
        self.pongs = 0
        found: list[bytes] = []
        if self.hopeless is None:
            self._buffer += data
            try:
                while (message := self._next()) is not None:
                    found.append(message)
            except SipError as broken:
                self.hopeless = broken
                self._buffer.clear()
        if self.hopeless is not None and not found:
            raise self.hopeless
        return found

    def _next(self) -> bytes | None:
        if not self._needed:
            self._skip_breaks()
            self._read_head()
        if not self._needed or len(self._buffer) < self._needed:
            return None
        message = bytes(self._buffer[: self._needed])
        del self._buffer[: self._needed]
        self._at = self._needed = 0
        return message

    def _skip_breaks(self) -> None:
        """Empty lines before a message are no part of it (RFC 3261 section 7.5); two are a ping."""
        if (found := _BREAKS.match(self._buffer)) is None:
            return
        lines = found.end() // 2
        del self._buffer[: 2 * lines]
        self.pongs += (self._breaks + lines) // 2
        self._breaks = (self._breaks + lines) % 2

    def _read_head(self) -> None:
        """Set what the message needs once its head is there; refuse what can never become one."""
        if not self._buffer or self._buffer == b"\r":
            return
        self._refuse_others()
        end = self._buffer.find(_END, max(0, self._at - len(_END) + 1))
        if end < 0:
            self._at = len(self._buffer)
            if self._at > self.limit:
                raise SipError(513, "a head that does not end")
            return
        self._needed = end + len(_END) + _body_length(bytes(self._buffer[:end]))
        self._breaks = 0
        if self._needed > self.limit:
            raise SipError(513, "a message that is too large")

    def _refuse_others(self) -> None:
        """HTTP, a TLS hello to the wrong port: known before a head has been waited for."""
        if self._at > _FIRST_LINE:
            return
        if not _STARTS.match(self._buffer):
            raise SipError(0, "not SIP")
        end = self._buffer.find(b"\r\n", 0, _FIRST_LINE)
        if end > 0 and not _SIP_LINE.match(self._buffer, 0, end):
            raise SipError(0, "not SIP")
        if end < 0 and len(self._buffer) > _FIRST_LINE:
            raise SipError(0, "a first line that does not end")


def _body_length(head: bytes) -> int:
    folds = head.count(b"\r\n ") + head.count(b"\r\n\t")
    if head.count(b"\r\n") - folds > MOST:
        raise SipError(400, f"more than {MOST} header fields")
    length = declared_length(head)
    if length is None:
        raise SipError(400, "no Content-Length in a stream")  # RFC 3261 section 20.14
    return length
