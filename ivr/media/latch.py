"""Where a call's sound and keys come from, and where sound may be sent. The rule: only hosts that the call has named.

A phone behind NAT cannot know its own address, and a stranger may name a victim's: so what SDP claims is sent to at
once only when it is the host that the call's signalling was proven on; otherwise the first packet shows where to send.

1. Only two hosts are named: the one that the signalling was proven on, and the one in SDP. Keys that anybody can write
   into a datagram are a code that binds a phone, so no other host is ever heard, not even first.
2. The first valid packet from a named host latches its source and its stream (the synchronisation source).
3. It is never given up for another host. Another port of the same host, or another stream, takes over when the old one
   has been quiet for a second: a NAT that has moved the phone, or a phone that has begun anew.
4. When SDP is agreed anew with another address, latching begins anew; with the same one, a new stream may begin.
All others are foreign: ignored, and the caller counts them.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Final

Address = tuple[str, int]
"""Host as the socket prints it, and port."""

_QUIET: Final = 1.0
"""s: fifty packets of a stream that is not paused."""


def _plain(host: str) -> str:
    """A dual-stack socket shows IPv4 hosts as IPv6."""
    return host.removeprefix("::ffff:")


def literal(host: str) -> str:
    """The one spelling of an address; ``""`` for a name, which is never looked up."""
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


class Latch:
    """The peer of one media port."""

    __slots__ = ("_believed", "_claimed", "_heard", "_latched", "_named", "_signalling", "_ssrc", "moves")

    def __init__(self, claimed: Address | None, signalling: Address, now: float) -> None:
        self._signalling = literal(signalling[0])
        self._heard = now
        self._ssrc: int | None = None
        self.moves = 0
        """How often another port has taken over."""
        self._begin(claimed)

    def _begin(self, claimed: Address | None) -> None:
        self._claimed = claimed
        self._latched: Address | None = None
        host = literal(claimed[0]) if claimed else ""
        self._named = {self._signalling, host} - {""}
        is_port = claimed is not None and 0 < claimed[1] < 0x10000
        self._believed = claimed if is_port and host and host == self._signalling else None

    def agree(self, claimed: Address | None, signalling: Address | None = None) -> None:
        """SDP names this address now; the signalling may have proven itself on another host."""
        self._ssrc = None
        host = literal(signalling[0]) if signalling else self._signalling
        if claimed != self._claimed or host != self._signalling:
            self._signalling = host
            self._begin(claimed)

    @property
    def destination(self) -> Address | None:
        """Where sound may be sent to at this time, if anywhere."""
        return self._latched or self._believed

    @property
    def silent_since(self) -> float:
        """When the peer was heard from last, or the call began."""
        return self._heard

    def foreign(self, source: Address) -> bool:
        """Whether no packet from there can be the peer's: the cheap question, before the packet is read."""
        if self._latched is None:
            return _plain(source[0]) not in self._named
        return source[0] != self._latched[0]

    def follows(self, source: Address, ssrc: int) -> bool:
        """Whether a packet from there goes on with the stream that is latched."""
        return source == self._latched and ssrc == self._ssrc

    def heard(self, source: Address, ssrc: int, now: float) -> bool:
        """A valid packet came from there: whether it is the peer's, by the rules above."""
        if source != self._latched or ssrc != self._ssrc:
            if not self._may_move(source, now):
                return False
            if self._latched not in {None, source}:
                self.moves += 1
            self._latched, self._ssrc = source, ssrc
        self._heard = now
        return True

    def _may_move(self, source: Address, now: float) -> bool:
        if self._latched is None or self.foreign(source):
            return not self.foreign(source)
        begins = source == self._latched and self._ssrc is None
        return begins or now - self._heard >= _QUIET
