"""Every listening socket is bound here, before anything is forked: workers come and go, the queue of callers stays.

But for the profile listener's, which is there only while it is opened.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from provisioner.errors import Unusable
from provisioner.model import ListenerKind
from provisioner.settings import Settings

_WHY: Final[Mapping[int, str]] = {
    errno.EADDRINUSE: "is taken by another program; stop that, or choose another in the setting {setting}",
    errno.EACCES: "is reserved for root; choose one above 1023 in the setting {setting}, or grant CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "is not an address of this machine; correct the setting {host_setting}",
}


Listening = Mapping[ListenerKind, socket.socket]

IVR: Final[Mapping[str, ListenerKind]] = {
    "udp": ListenerKind.IVR,
    "tcp": ListenerKind.IVR_TCP,
    "tls": ListenerKind.IVR_TLS,
}
"""By SIP's transports."""
_SETTINGS: Final[Mapping[ListenerKind, str]] = {
    ListenerKind.IVR_TCP: "ivr.port",
    ListenerKind.IVR_TLS: "ivr.tls_port",
}
_OWN_HOST: Final = (
    {ListenerKind.BOOTSTRAP: "bootstrap.host", ListenerKind.ADMIN: "admin.host", ListenerKind.PROFILE: "profile.host"}
    | dict.fromkeys(IVR.values(), "ivr.host")
    | {ListenerKind.AGI: "agi.host", ListenerKind.HOOKS: "hooks.host"}
)


def with_ivr_port(settings: Settings, sockets: Listening) -> Settings:
    """Phones are told the port at which this server's prompts are really called, unless the settings name another."""
    sock = sockets.get(IVR[settings.activation_transport])
    if settings.activation_port or sock is None:
        return settings
    return replace(settings, activation_port=sock.getsockname()[1])


def bind(settings: Settings) -> Listening:
    """One listening socket a purpose, all of them or none; Unusable says which port and what to do."""
    with ExitStack() as undo:
        sockets = {}
        for kind, host, port in _wanted(settings):
            sockets[kind] = undo.enter_context(_listening(kind, host, port, settings.server_backlog))
        undo.pop_all()
        return sockets


def bind_one(kind: ListenerKind, host: str, port: int, backlog: int) -> socket.socket:
    """A listening socket that is opened by who serves it, and later than all others; Unusable as above."""
    return _listening(kind, host, port, backlog)


def shown(sock: socket.socket) -> str:
    """Where it listens, for people: ``0.0.0.0:8443``, ``[::]:8443``."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _wanted(settings: Settings) -> Iterator[tuple[ListenerKind, str, int]]:
    rows = (
        (ListenerKind.DEVICE, settings.server_host, settings.device_port),
        (ListenerKind.LEGACY, settings.server_host, settings.legacy_port),
        (ListenerKind.BOOTSTRAP, settings.bootstrap_host or settings.server_host, settings.bootstrap_port),
        (ListenerKind.ADMIN, settings.admin_host, settings.admin_port),
        (ListenerKind.IVR, settings.ivr_host or settings.server_host, settings.ivr_port),
        (ListenerKind.IVR_TCP, settings.ivr_host or settings.server_host, settings.ivr_port),
        (ListenerKind.IVR_TLS, settings.ivr_host or settings.server_host, settings.ivr_tls_port),
        (ListenerKind.AGI, settings.agi_host or settings.ivr_host or settings.server_host, settings.agi_port),
        (ListenerKind.HOOKS, settings.hooks_host or settings.ivr_host or settings.server_host, settings.hooks_port),
    )
    return (row for row in rows if row[2] >= 0)


def _listening(kind: ListenerKind, host: str, port: int, backlog: int) -> socket.socket:
    host_setting = _OWN_HOST.get(kind, "server.host")
    datagrams = kind is ListenerKind.IVR
    try:
        family, type_, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise Unusable(f"{kind} listener: {host!r} is no address ({error}); correct {host_setting}") from error
    sock = socket.socket(family, type_, protocol)
    try:
        if not datagrams:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for TIME_WAIT
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # :: means every address, IPv4 too
        sock.bind(address)
        if not datagrams:
            sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        why = _WHY.get(error.errno or 0, f"cannot be listened on ({error.strerror}); see the setting {{setting}}")
        words = why.format(setting=_SETTINGS.get(kind, f"{kind}.port"), host_setting=host_setting)
        raise Unusable(f"{kind} listener: {host} port {port} {words}") from error
    return sock
