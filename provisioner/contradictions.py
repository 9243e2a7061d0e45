"""Settings that are fine one by one and cannot all be meant: each is told with its numbers, its sum and what would do.

The gate stands before TLS, so what it promises concerns the device and the legacy listener only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from difflib import get_close_matches
from itertools import combinations
from typing import Final

from provisioner.activation_offer import networks_of
from provisioner.admission import answers_of
from provisioner.contradictions_pbx import adapters
from provisioner.errors import Unusable
from provisioner.model import Model
from provisioner.networks import allow_list
from provisioner.neutral import parse_host
from provisioner.settings import Settings

SPARE_FILES: Final = 200
"""Descriptors a worker needs beside its connections: database, log, sockets to the control process."""
_POLY_POLL: Final = 3600
"""s; UC Software asks no sooner."""
WHERE_TO_ALLOW: Final = "`ulimit -n` as root in the shell that starts it, LimitNOFILE in a systemd unit"
"""Open files are set where the server is started, whoever does it."""
_SHARE: Final = 0.4
"""Of a phone's patience for the queue; the rest is for handshake and first byte."""


def contradictions(settings: Settings, files: int = -1, models: Collection[Model] = ()) -> tuple[str, ...]:
    """What is wrong with these settings together; empty when a server can keep what they promise.

    ``files``: descriptors that a process may have; negative where there is no limit, or none is known.
    ``models``: all that are known; where none are given, families are not looked at.
    """
    told = [text for rule in _RULES for text in rule(settings)]
    return (*told, *_families(settings, models), *_descriptors(settings, files))


def require_consistent(settings: Settings, files: int = -1, models: Collection[Model] = ()) -> None:
    """Unusable, with every contradiction in it, when there is one."""
    found = contradictions(settings, files, models)
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
            f"{queue * listeners + SPARE_FILES} open files at least ({WHERE_TO_ALLOW}; for http.connections = "
            f"{settings.http_connections} it is {files_wanted(settings)}), or lower gate.queue"
        )


def _answers(settings: Settings) -> Iterator[str]:
    try:
        answers_of((), settings.admission_answers)
    except Unusable as error:
        yield error.cause


def _lists(settings: Settings) -> Iterator[str]:
    """A network that is none would be found when power has to come back, or a webhook has to leave."""
    for name in ("switch.allow", "switch.networks", "webhook.allow"):
        try:
            allow_list(name, getattr(settings, name.replace(".", "_")))
        except Unusable as error:
            yield error.cause


def _activation(settings: Settings) -> Iterator[str]:
    try:
        networks_of(settings.activation_networks)
    except Unusable as error:
        yield error.cause
    try:
        parse_host(settings.activation_server)
    except ValueError as error:
        yield f"activation.server = {settings.activation_server!r}: it {error}"
    if not re.fullmatch(r"[0-9]{1,15}", settings.activation_number):
        yield f"activation.number = {settings.activation_number!r}: phones dial it, so it is 1 to 15 digits"
    life, poll = settings.activation_secret_life, max(settings.activation_poll, _POLY_POLL)
    if 0 < 2 * life < poll:
        yield (
            f"2 x activation.secret_life = 2 x {life} s < {poll} s between polls (Poly's least is {_POLY_POLL} s): a "
            f"SIP secret counts for twice its life, so a waiting phone cannot register for {poll - 2 * life} s of each "
            f"{poll} s. Set secret_life to {poll} s at least"
        )


def _voice(settings: Settings) -> Iterator[str]:
    if max(settings.ivr_port, settings.ivr_tls_port) < 0:
        return
    low, high, calls = settings.ivr_rtp_low, settings.ivr_rtp_high, settings.ivr_calls
    room = max(0, high // 2 - (low + 1) // 2 + 1)
    if room < calls:
        yield (
            f"ivr.rtp_low = {low} to ivr.rtp_high = {high} are {room} even ports < ivr.calls = {calls}: each call has "
            f"one. Set rtp_high to {low + low % 2 + 2 * calls} at least, or lower ivr.calls"
        )
    try:
        ipaddress.ip_address(settings.ivr_address or "::")
    except ValueError:
        yield f"ivr.address = {settings.ivr_address!r}: phones send their sound there, so it is an IP address or empty"


def _families(settings: Settings, models: Collection[Model]) -> Iterator[str]:
    """An entry for a family that no phone is of would change nothing, and nobody would hear of it."""
    known: dict[str, set[str]] = {}
    for one in models:
        known.setdefault(one.vendor, set()).add(one.family)
    for entry in settings.admission_answers if known else ():
        vendor, slash, family = (part.strip() for part in entry.partition("=")[0].partition("/"))
        if slash and vendor not in known:
            yield _unknown(entry, f"{vendor!r} is no vendor", vendor, known)
        elif slash and family != "*" and family not in known[vendor]:
            yield _unknown(entry, f"{vendor} has no family {family!r}", family, known[vendor])


def _unknown(entry: str, what: str, word: str, known: Collection[str]) -> str:
    close = get_close_matches(word, known, 1)
    meant = f" Did you mean {close[0]}?" if close else ""
    return f"admission.answers has {entry!r}: {what}, so it means 0 phones.{meant} There are {', '.join(sorted(known))}"


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
        ("ivr.port", settings.ivr_host or settings.server_host, settings.ivr_port),
        ("ivr.tls_port", settings.ivr_host or settings.server_host, settings.ivr_tls_port),
        ("agi.port", settings.agi_host or settings.ivr_host or settings.server_host, settings.agi_port),
        ("hooks.port", settings.hooks_host or settings.ivr_host or settings.server_host, settings.hooks_port),
        ("profile.port", settings.profile_host or settings.server_host, settings.profile_port),
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


def _codes(settings: Settings) -> Iterator[str]:
    first, most = settings.activation_lock_first, settings.activation_lock_most
    if first > most:
        yield (
            f"activation.lock_first = {first} s > activation.lock_most = {most} s: the first lock would be longer than "
            f"the longest. Raise lock_most to {first} s"
        )
    device, total, unproven = (
        getattr(settings, f"activation_tries_{kind}") for kind in ("device", "total", "unproven")
    )
    if unproven >= total:
        yield (
            f"activation.tries_unproven = {unproven:g} >= activation.tries_total = {total:g}: callers without proof "
            f"can use up what all others have. A quarter is right: {total:g} / 4 = {total / 4:g}"
        )
    if device > total:
        yield (
            f"activation.tries_device = {device:g} > activation.tries_total = {total:g}: one phone can use up what all "
            f"have together. Set tries_device below {total:g}"
        )


def _loops(settings: Settings) -> Iterator[str]:
    """A loop is seen in the records of good boots, which are half of a device's ring."""
    ring, fetches = settings.recorder_ring, settings.diagnosis_loop_fetches
    if settings.recorder_enabled and (good := ring // 2) < fetches:
        yield (
            f"recorder.ring = {ring} / 2 = {good} records of good boots < diagnosis.loop_fetches = {fetches}: a phone "
            f"that fetches its file once a boot is never seen {fetches} times, so no reboot loop of it is ever told. "
            f"Set recorder.ring to 2 x {fetches} = {2 * fetches} at least, or lower diagnosis.loop_fetches (3 at least)"
        )


_RULES: Final[tuple[Callable[[Settings], Iterator[str]], ...]] = (
    _workers, _ports, _queue, _deadline, _hold, _names, _retries, _bursts, _uploads, _answers, _codes,
    _lists, _activation,
    _voice, adapters, _loops,
)  # fmt: skip
