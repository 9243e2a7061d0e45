"""What the kernel knows of a connection that has come to nothing: it tells a lost path from a silent phone."""

from __future__ import annotations

import socket
from struct import Struct
from typing import Final

from provisioner.flight_notes import TcpState

_INFO: Final = Struct("2xB5x4x4x4x4xIIIII4x4x4x4xI4xI")
"""Linux's struct tcp_info (include/uapi/linux/tcp.h): tcpi_retransmits; then, behind rto, ato and both mss, unacked,
sacked, lost, retrans and fackets; then, behind four ages, pmtu; then, behind rcv_ssthresh, rtt in µs."""
_RESENT: Final = Struct("100xI")
"""tcpi_total_retrans."""


def tcp_state(sock: socket.socket) -> TcpState | None:
    """None for what is no TCP, or where the kernel does not tell."""
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RESENT.size)
    except OSError:
        return None
    if len(told) < _RESENT.size:
        return None
    retransmits, unacked, sacked, lost, _, _, path_mtu, rtt = _INFO.unpack_from(told)
    return TcpState(retransmits, unacked, sacked, lost, _RESENT.unpack_from(told)[0], rtt // 1000, path_mtu)
