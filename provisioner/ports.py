"""Every listening socket is bound here, before anything is forked: workers come and go, the queue of callers stays."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Final

from provisioner.errors import Unusable
from provisioner.model import ListenerKind
from provisioner.settings import Settings

_WHY: Final[Mapping[int, str]] = {
    errno.EADDRINUSE: "is taken by another program; stop that, or choose another in the setting {setting}",
    errno.EACCES: "is reserved for root; choose one above 1023 in the setting {setting}, or grant CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "is not an address of this machine; correct the setting {host_setting}",
}


def bind(settings: Settings) -> Mapping[ListenerKind, socket.socket]:
    """One listening socket a purpose, all of them or none; Unusable says which port and what to do."""
    with ExitStack() as undo:
        sockets = {}
        for kind, host, port in _wanted(settings):
            sockets[kind] = undo.enter_context(_listening(kind, host, port, settings.server_backlog))
        undo.pop_all()
        return sockets


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
    )
    return (row for row in rows if row[2] >= 0)


def _listening(kind: ListenerKind, host: str, port: int, backlog: int) -> socket.socket:
    host_setting = f"{kind}.host" if kind in {ListenerKind.BOOTSTRAP, ListenerKind.ADMIN} else "server.host"
    try:
        family, type_, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise Unusable(f"{kind} listener: {host!r} is no address ({error}); correct {host_setting}") from error
    sock = socket.socket(family, type_, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart need not wait for TIME_WAIT
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # :: means every address, IPv4 too
        sock.bind(address)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        why = _WHY.get(error.errno or 0, f"cannot be listened on ({error.strerror}); see the setting {{setting}}")
        words = why.format(setting=f"{kind}.port", host_setting=host_setting)
        raise Unusable(f"{kind} listener: {host} port {port} {words}") from error
    return sock
