"""SIP's ways in and out: one UDP socket, TCP and TLS listeners; every table here is bounded and every error is silent.

A connection is its phone's from the first proof on, and each phone has a few; all others make room when there is none.
A datagram is answered from the address that it came to, which a socket bound to the wildcard learns with each of them.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ivr.sip.effects import Flow
from ivr.sip.errors import SipError
from ivr.sip.framing import Framer
from ivr.sip.limits import Rates, source_of

Feed = Callable[[bytes, Flow], bool]
"""Whether there was a budget for the message."""

_DATAGRAM: Final = 65_536
_A_TURN: Final = 64
"""Datagrams read before the loop goes on with something else."""
_BACKLOG: Final = 256 * 1024
"""Bytes that wait for a peer who does not read; then he is cut off."""
_PONGS: Final = 4
"""Answered of the keep-alives that come at once."""
_FIRST: Final = 10.0
"""s until the first whole message: a phone speaks at once."""
_UNPROVEN: Final = 30.0
"""s in all, until somebody has proved a secret on it: whatever else is said there earns no time."""
_QUIET: Final = 3900.0
"""s: a registered phone is heard within the longest time that a registration is granted for."""
_SWEEP: Final = 2.0
_OF_PHONE: Final = 3
"""Connections that one phone keeps for proven: its own, one for a call, and one that a NAT has forgotten."""
_PAUSE: Final = 0.5
"""s for which nothing is read of who has said too much."""
_HANDSHAKES: Final = 100
"""TLS handshakes a second of one source, and at once: a seventh of a core with RSA-2048. An office's phones wait."""
_IN_VAIN: Final = 5.0
"""s: who would have to wait longer is sent away, as he would have given up by then."""
_IP_PKTINFO: Final = 8
"""ip(7); Python has no name for it."""
_IN_PKTINFO: Final = struct.Struct("=i4s4s")
_IN6_PKTINFO: Final = struct.Struct("=16si")


def plain(host: str) -> str:
    """A dual-stack socket shows IPv4 hosts as IPv6."""
    return host.removeprefix("::ffff:") if "." in host else host


class Datagrams:
    """The UDP socket."""

    def __init__(self, sock: socket.socket, feed: Feed) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._feed = feed
        self._six = sock.family == socket.AF_INET6
        bound = sock.getsockname()
        self._port: int = bound[1]
        self._host = plain(bound[0])
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        if self._six:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._readable)

    def _readable(self) -> None:
        for _ in range(_A_TURN):
            try:
                data, told, _, source = self._sock.recvmsg(_DATAGRAM, 128)
            except OSError:  # nothing more waits, or somebody is not there any more
                return
            local = (self._reached(told), self._port)
            self._feed(data, Flow("udp", (plain(source[0]), source[1]), 0, local))

    def _reached(self, told: list[tuple[int, int, bytes]]) -> str:
        for level, kind, data in told:
            if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
                return socket.inet_ntop(socket.AF_INET, _IN_PKTINFO.unpack_from(data)[2])
            if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                return plain(socket.inet_ntop(socket.AF_INET6, _IN6_PKTINFO.unpack_from(data)[0]))
        return self._host

    def send(self, flow: Flow, data: bytes) -> None:
        """From the address that the peer knows us by; what cannot be sent is lost like any datagram."""
        mapped = self._six and ":" not in flow.peer[0]
        to = (f"::ffff:{flow.peer[0]}" if mapped else flow.peer[0], flow.peer[1])
        with suppress(OSError):
            self._sock.sendmsg([data], self._from(flow.local[0]), 0, to)

    def _from(self, host: str) -> list[tuple[int, int, bytes]]:
        if host == self._host:
            return []
        if self._six:
            address = socket.inet_pton(socket.AF_INET6, host if ":" in host else f"::ffff:{host}")
            return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _IN6_PKTINFO.pack(address, 0))]
        nobody = bytes(4)
        told = _IN_PKTINFO.pack(0, socket.inet_pton(socket.AF_INET, host), nobody)
        return [(socket.IPPROTO_IP, _IP_PKTINFO, told)]

    def close(self) -> None:
        """Hear no more; the socket is its opener's."""
        asyncio.get_running_loop().remove_reader(self._sock.fileno())


class Streams:
    """All TCP and TLS connections."""

    def __init__(self, feed: Feed, gone: Callable[[Flow], None], longest: Callable[[str], int], most: int) -> None:
        """``longest``: bytes of a message from a host."""
        self.feed = feed
        self.longest = longest
        self._gone = gone
        self._most = most
        self._of_source = max(1, most // 2)
        self._sources: Counter[str] = Counter()
        self._open: dict[int, Stream] = {}
        self._of_phone: dict[str, list[int]] = {}
        """The connections on which each has proved itself, the last one last."""
        self._handshakes = Rates(_HANDSHAKES, _HANDSHAKES, 4 * most)
        self._keys = itertools.count(1)
        self._servers: list[asyncio.Server] = []
        self._sweeping: asyncio.TimerHandle | None = None
        self.turned_away = 0
        """Connections closed for want of room: new ones, or old ones on which nobody has proved anything."""

    def __len__(self) -> int:
        """Connections."""
        return len(self._open)

    async def listen(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        """Accept on this socket; with a context it speaks TLS."""
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(lambda: Stream(self, context), sock=sock))
        if self._sweeping is None:
            self._sweep()

    def admit(self, stream: Stream, peer: str) -> int:
        """The number of a new connection; 0 when there is no room for it and none can be made."""
        source = source_of(peer)
        alone = self._sources[source] >= self._of_source
        if alone or len(self._open) >= self._most:
            self.turned_away += 1
            if not self._make_room(source if alone else ""):
                return 0
        self._sources[source] += 1
        key = next(self._keys)
        self._open[key] = stream
        return key

    def _make_room(self, source: str) -> bool:
        """End the oldest connection, of this source if it is one's share that is used up, that has proved nothing."""
        for stream in self._open.values():  # in the order in which they came
            flow = stream.flow
            if flow is not None and not stream.phones and source in {"", source_of(flow.peer[0])}:
                stream.transport.abort()
                self.left(flow)
                return True
        return False

    def proved(self, flow: Flow, mac: str) -> None:
        """A phone has shown its secret on this connection, which may stay from now on; its oldest no longer may."""
        if (stream := self._open.get(flow.key)) is None:
            return
        keys = self._of_phone.setdefault(mac, [])
        if flow.key in keys:
            keys.remove(flow.key)
        keys.append(flow.key)
        stream.prove(mac)
        if len(keys) > _OF_PHONE:
            self._open[keys.pop(0)].doubt(mac)

    def handshake(self, flow: Flow) -> float | None:
        """Seconds until a TLS handshake may begin; None when that would be too late."""
        return self._handshakes.wait(source_of(flow.peer[0]), asyncio.get_running_loop().time(), _IN_VAIN)

    def left(self, flow: Flow) -> None:
        """A connection has ended."""
        if (stream := self._open.pop(flow.key, None)) is None:
            return
        for mac in stream.phones:
            self._of_phone[mac].remove(flow.key)
            if not self._of_phone[mac]:
                del self._of_phone[mac]
        source = source_of(flow.peer[0])
        self._sources[source] -= 1
        if self._sources[source] <= 0:
            del self._sources[source]
        self._gone(flow)

    def send(self, flow: Flow, data: bytes) -> None:
        """To a connection, if it is still there."""
        if (stream := self._open.get(flow.key)) is not None:
            stream.send(data)

    def close(self, flow: Flow) -> None:
        """End a connection, its peer having been sent all there is."""
        if (stream := self._open.get(flow.key)) is not None:
            stream.transport.close()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(_SWEEP, self._sweep)
        now = loop.time()
        for stream in [one for one in self._open.values() if one.until <= now]:
            stream.transport.abort()

    def stop_accepting(self) -> None:
        """No new connections; those there are go on."""
        for server in self._servers:
            server.close()

    def end(self) -> None:
        """Close everything."""
        self.stop_accepting()
        if self._sweeping is not None:
            self._sweeping.cancel()
        for stream in list(self._open.values()):
            stream.transport.abort()


class Stream(asyncio.Protocol):
    """One connection; it has its place before its TLS handshake, so handshakes are bounded as connections are."""

    transport: asyncio.Transport

    def __init__(self, streams: Streams, context: ssl.SSLContext | None) -> None:
        self._streams = streams
        self._context = context
        self._handshake: asyncio.Task[None] | None = None
        self._early = bytearray()
        self._framer = Framer(0)
        self.flow: Flow | None = None
        self.phones: set[str] = set()
        """Those that have shown their secrets on it, and have not done so since on too many others."""
        self.until = 0.0
        """When it is ended unless something comes."""
        self._unproven = 0.0
        """When it is ended whatever comes, unless it is proven."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it when there is room."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        now = asyncio.get_running_loop().time()
        self.until, self._unproven = now + _FIRST, now + _UNPROVEN
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        host = plain(peer[0]) if peer else ""  # none when it has ended already
        if not host or not (key := self._streams.admit(self, host)):
            transport.abort()
            return
        name = "tcp" if self._context is None else "tls"
        self._framer = Framer(self._streams.longest(host))
        self.flow = Flow(name, (host, peer[1]), key, (plain(local[0]), local[1]))
        if self._context is not None:
            transport.pause_reading()
            wait = self._streams.handshake(self.flow)
            self._handshake = asyncio.create_task(self._secure(transport, self._context, wait), name="sip tls")

    async def _secure(self, plainly: asyncio.Transport, context: ssl.SSLContext, wait: float | None) -> None:
        """TLS from the first byte; whoever cannot do it is gone."""
        made = None
        if wait is not None:
            await asyncio.sleep(wait)
            with suppress(OSError):  # ssl.SSLError and time-outs are such
                made = await self._shake_hands(plainly, context)
        if made is None:
            plainly.abort()
            self.connection_lost(None)
            return
        self.transport, self._handshake = made, None
        early, self._early = bytes(self._early), bytearray()
        if early:
            self.data_received(early)

    async def _shake_hands(self, plainly: asyncio.Transport, context: ssl.SSLContext) -> asyncio.Transport | None:
        if plainly.is_closing():
            return None
        loop = asyncio.get_running_loop()
        return await loop.start_tls(plainly, self, context, server_side=True, ssl_handshake_timeout=_FIRST)

    def data_received(self, data: bytes) -> None:
        """Whole messages go on; what is no SIP ends the connection."""
        flow = self.flow
        if flow is None:
            return
        if self._handshake is not None:  # our end of TLS is not handed over yet: an answer would go out in the clear
            self._early += data
            return
        try:
            messages = self._framer.feed(data)
        except SipError:
            self.transport.abort()
        else:
            self._took(messages, flow)

    def _took(self, messages: list[bytes], flow: Flow) -> None:
        if self._framer.pongs:
            self.send(b"\r\n" * min(self._framer.pongs, _PONGS))
        if messages or self._framer.pongs:
            self._stay()
        heard = [self._streams.feed(one, flow) for one in messages if not self.transport.is_closing()]
        if self._framer.hopeless is not None:
            self.transport.close()
        elif not all(heard):
            self._pause()

    def _pause(self) -> None:
        """It says too much: let it wait, for what is dropped costs something, too."""
        if not self.transport.is_closing() and self.transport.is_reading():
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(_PAUSE, self._go_on)

    def _go_on(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def prove(self, mac: str) -> None:
        """It is a phone's."""
        self.phones.add(mac)
        self._stay()

    def doubt(self, mac: str) -> None:
        """That phone has proved itself on newer ones."""
        self.phones.discard(mac)
        if not self.phones:
            self._unproven = asyncio.get_running_loop().time() + _UNPROVEN
            self._stay()

    def _stay(self) -> None:
        self.until = asyncio.get_running_loop().time() + _QUIET if self.phones else self._unproven

    def send(self, data: bytes) -> None:
        """Write, unless the peer has stopped reading."""
        if self.transport.get_write_buffer_size() > _BACKLOG:
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.write(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        """However it ended."""
        if self.flow is not None:
            self._streams.left(self.flow)
