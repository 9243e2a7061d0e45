"""One exception says what is wrong with a peer's message; no other leaves the parsers, whatever the bytes."""

from __future__ import annotations


class SipError(Exception):
    """``status`` is the answer that it deserves (0: silence); ``reason`` is for our log, in our words only."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.status} {self.reason}" if self.status else self.reason
