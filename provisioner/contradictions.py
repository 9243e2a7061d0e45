"""Settings that are fine one by one and cannot all be meant: each is told with its numbers, its sum and what would do.

The gate stands before TLS, so what it promises concerns the device and the legacy listener only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from typing import Final

from provisioner.admission import answers_of
from provisioner.errors import Unusable
from provisioner.settings import Settings

SPARE_FILES: Final = 200
"""Descriptors a worker needs beside its connections: database, log, sockets to the control process."""
_SHARE: Final = 0.4
"""Of a phone's patience for the queue; the rest is for handshake and first byte."""


def contradictions(settings: Settings, files: int = -1) -> tuple[str, ...]:
    """What is wrong with these settings together; empty when a server can keep what they promise.

    ``files``: descriptors that a process may have; negative where there is no limit, or none is known.
    """
    return (*(text for rule in _RULES for text in rule(settings)), *_descriptors(settings, files))


def require_consistent(settings: Settings, files: int = -1) -> None:
    """Unusable, with every contradiction in it, when there is one."""
    found = contradictions(settings, files)
    if len(found) == 1:
        raise Unusable(found[0])
    if found:
        raise Unusable("\n  ".join([f"{len(found)} contradictions in the settings:", *found]))


def files_wanted(settings: Settings) -> int:
    """Descriptors of a worker all of whose listeners are full."""
    return settings.http_connections * _listeners(settings) + SPARE_FILES


def fitted(settings: Settings, files: int) -> Settings:
    """The same with no more connections than there are descriptors for.

    Refusing to start would leave all phones without a server for a number that only a storm can reach. Without it a
    storm would end in failing accepts: now callers beyond the lower number wait in the kernel, as they are meant to.
    """
    return replace(settings, http_connections=min(settings.http_connections, _room(settings, files)))


def _listeners(settings: Settings) -> int:
    """Of a worker; each may have http.connections."""
    return 1 + (settings.legacy_port >= 0) + (settings.bootstrap_port >= 0)


def _room(settings: Settings, files: int) -> int:
    """Connections of each listener for which there are descriptors."""
    return (files - SPARE_FILES) // _listeners(settings) if files >= 0 else settings.http_connections


def _descriptors(settings: Settings, files: int) -> Iterator[str]:
    room, queue, listeners = _room(settings, files), max(settings.gate_queue, 1), _listeners(settings)
    if room < min(queue, settings.http_connections):
        yield (
            f"{files} open files - {SPARE_FILES} for the worker itself leave {max(room, 0)} connections for each of "
            f"{listeners} listeners < gate.queue = {queue}: who waits is a connection too. Allow "
            f"{queue * listeners + SPARE_FILES} open files at least (LimitNOFILE of the service; for "
            f"http.connections = {settings.http_connections} it is {files_wanted(settings)}), or lower gate.queue"
        )


def _answers(settings: Settings) -> Iterator[str]:
    try:
        answers_of((), settings.admission_answers)
    except Unusable as error:
        yield error.cause


def _workers(settings: Settings) -> Iterator[str]:
    if settings.server_workers == 0:
        yield (
            "server.workers = 0: 0 workers x any capacity = 0 phones served; -1 is one a core "
            f"({settings.worker_count} here), or say how many"
        )


def _ports(settings: Settings) -> Iterator[str]:
    rows = (
        ("device.port", settings.server_host, settings.device_port),
        ("legacy.port", settings.server_host, settings.legacy_port),
        ("bootstrap.port", settings.bootstrap_host or settings.server_host, settings.bootstrap_port),
        ("admin.port", settings.admin_host, settings.admin_port),
    )
    for (one, host, port), (other, other_host, other_port) in combinations(rows, 2):
        if port > 0 and port == other_port and host == other_host:
            yield f"{one} and {other} are both {port} on {host}: 1 port takes 1 listener; give one of them another"


def _queue(settings: Settings) -> Iterator[str]:
    queue, slots = settings.gate_queue, settings.gate_slots
    if queue < slots:
        yield (
            f"gate.queue = {queue} < gate.slots = {slots}: {slots} handshakes are begun a turn and {queue} callers may "
            f"wait for theirs, so a worker turns phones away while it is idle. It must be {slots} at least; capacity x "
            f"deadline is right, at 300 connections/s 300 x {settings.gate_deadline:g} s = "
            f"{300 * settings.gate_deadline:.0f}"
        )
    if (room := settings.http_connections) < queue:
        yield (
            f"http.connections = {room} < gate.queue = {queue}: who waits is a connection too, so {queue - room} "
            f"places of the queue are never taken, and with {room} waiting none is left to be served. Raise "
            f"http.connections above {queue} + those being served, or lower gate.queue below {room}"
        )


def _deadline(settings: Settings) -> Iterator[str]:
    deadline, patience, target = settings.gate_deadline, settings.gate_patience, settings.gate_target
    if deadline >= patience:
        yield (
            f"gate.deadline = {deadline:g} s >= gate.patience = {patience:g} s: who has waited {deadline:g} s has left "
            f"{deadline - patience:g} s ago, so every handshake begun then is work for nobody. {_SHARE:g} x "
            f"{patience:g} s = {_SHARE * patience:g} s leaves {patience - _SHARE * patience:g} s for the boot itself"
        )
    if target >= deadline:
        yield (
            f"gate.target = {target:g} s >= gate.deadline = {deadline:g} s: who waits longer than {deadline:g} s is "
            f"dropped, so no delay is ever above {target:g} s and a storm is never noticed. Set the target to "
            f"{deadline:g} s / 8 = {deadline / 8:g} s"
        )


def _hold(settings: Settings) -> Iterator[str]:
    deadline, hold, patience = settings.gate_deadline, settings.admission_hold, settings.gate_patience
    if hold >= (left := patience - deadline) > 0:
        yield (
            f"admission.hold = {hold:g} s >= gate.patience - gate.deadline = {patience:g} s - {deadline:g} s = "
            f"{left:g} s: who waited {deadline:g} s before TLS and is held {hold:g} s behind it gets its first byte "
            f"after {deadline + hold:g} s and has left. Set admission.hold below {left:g} s"
        )


def _names(settings: Settings) -> Iterator[str]:
    name, allowed = settings.server_name, settings.gate_names
    if allowed and not _is_address(name) and name.lower() not in {one.lower() for one in allowed}:
        yield (
            f"gate.names = {', '.join(allowed)} and server.name = {name}: phones are given URLs with {name}, and a "
            f"ClientHello that names it is closed, so 0 of them are served. Add {name} to gate.names"
        )


def _is_address(name: str) -> bool:
    """A ClientHello names no address (RFC 6066 section 3), so one may stand in no list."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _retries(settings: Settings) -> Iterator[str]:
    least, most = settings.admission_retry_least, settings.admission_retry_most
    if least > most:
        yield (
            f"admission.retry_least = {least:g} s > admission.retry_most = {most:g} s: no time is both {least:g} s at "
            f"least and {most:g} s at most. Swap them, or raise retry_most to {least:g} s"
        )


def _bursts(settings: Settings) -> Iterator[str]:
    files = settings.admission_files
    for what in ("requests", "handshakes"):
        if (burst := getattr(settings, f"admission_{what}_burst")) < files:
            yield (
                f"admission.{what}_burst = {burst} < admission.files = {files}: one honest boot asks for {files} files"
                f"{', each on a connection of its own,' if what == 'handshakes' else ''} and is held back at file "
                f"{burst + 1}. Two boots are right: 2 x {files} = {2 * files}"
            )


def _uploads(settings: Settings) -> Iterator[str]:
    budget = settings.upload_budget
    for what in ("log", "overrides", "directory"):
        if (size := getattr(settings, f"upload_{what}")) > budget:
            yield (
                f"upload.{what} = {size} bytes > upload.budget = {budget} bytes: one such upload is allowed and never "
                f"fits, not even alone. Raise upload.budget to {size} bytes at least"
            )


_RULES: Final[tuple[Callable[[Settings], Iterator[str]], ...]] = (
    _workers, _ports, _queue, _deadline, _hold, _names, _retries, _bursts, _uploads, _answers,
)  # fmt: skip
