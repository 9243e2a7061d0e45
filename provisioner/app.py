"""The composition root: everything is built here by hand, and whoever opens a thing here closes it here.

``run`` is the control process's side; ``serve_worker`` is one worker's, all of it started or none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import resource
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

from OpenSSL import SSL

from provisioner.activation.sweep import sweep
from provisioner.activation_offer import Offers
from provisioner.activation_secret import PURPOSE
from provisioner.admission import Admission
from provisioner.background import contained, every
from provisioner.children import REFUSED, Lifeline
from provisioner.contradictions import files_wanted, fitted, require_consistent
from provisioner.counters import Counters, bury
from provisioner.delivery import Delivery
from provisioner.digest import Digest
from provisioner.errors import ProvisionerError, StoreFailed, Unusable
from provisioner.events import EventLog
from provisioner.firmware import FirmwareShelf
from provisioner.flight_draft import claims_by
from provisioner.flight_log import FlightLog
from provisioner.gate import Storm
from provisioner.http.bootstrap import BootstrapEdge
from provisioner.http.device import DeviceEdge, Handler
from provisioner.http.listener import Listener, http_limits
from provisioner.http.server import QuietServer
from provisioner.http.tls import make_context
from provisioner.identity import Identifier
from provisioner.key_log import KeyLog
from provisioner.metered import Metered
from provisioner.model import Count, ListenerKind, Model, Observe
from provisioner.onlookers import Sight, Teller
from provisioner.outside import require_outside
from provisioner.ports import bind, with_ivr_port
from provisioner.run_directory import RunDirectory
from provisioner.settings import Settings
from provisioner.store.chains import Chains
from provisioner.store.database import Store, key_path
from provisioner.store.migrations import require_current
from provisioner.store.records import Recorder
from provisioner.store.secretbox import SecretBox
from provisioner.store.tokens import TokenBook
from provisioner.store.uploads import UploadShelf
from provisioner.store.views import Views
from provisioner.supervisor import House, Sockets, Supervisor
from provisioner.tenure import Tenure
from provisioner.trust import Trust, withdrawn
from provisioner.trust import load as load_trust
from provisioner.vendor import VendorDriver
from provisioner.vendors import drivers

log: Final = logging.getLogger("provisioner.server")

_LEARN: Final = 5.0
"""s between looks at whether devices, or where they are, have to be counted again."""
_LEARN_IN_STORM: Final = 300.0
"""s, whatever the weather: an address first met in a storm shall not stay unknown until it is over."""
_PRUNE: Final = 3600.0
"""s between clearances of what is too old."""
_LOOK: Final = 0.2
"""s between looks at whether a retired worker's last connection has gone."""
_LOG_FORMAT: Final = "%(asctime)s %(levelname)s [%(process)d] %(message)s"


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a generation of workers inherits: read, checked and built before the fork."""

    settings: Settings
    trust: Trust
    contexts: Mapping[ListenerKind, SSL.Context]
    """Shared by all workers, and with them the keys of the session tickets."""
    drivers: Mapping[str, VendorDriver]
    digest: Digest
    """One key for the nonces of all workers: a phone's second request may reach another one."""


# --- the control process ------------------------------------------------------------------------


def run(settings: Settings) -> int:
    """Serve until SIGTERM; the exit code. Unusable when this installation cannot be served as it is."""
    logging.basicConfig(stream=sys.stderr, level=settings.log_level.upper(), format=_LOG_FORMAT)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells how it looks, not what it finds
    files = _set_limits()
    require_consistent(settings, files, tuple(_models(drivers(settings.data / "templates"))))
    settings = _within_descriptors(settings, files)
    run_directory = RunDirectory(settings.data)
    with ExitStack() as stack:
        run_directory.claim()
        stack.callback(run_directory.release)
        sockets = bind(settings)
        for sock in sockets.values():
            stack.callback(sock.close)
        settings = with_ivr_port(settings, sockets)
        sight = Sight()
        stack.callback(sight.close)
        house = House(
            prepare=partial(prepare, settings),
            worker_main=partial(worker_main, sight=sight),
            admin_main=partial(admin_main, settings, sight),
            ivr_main=partial(ivr_main, settings),
            outbox_main=partial(outbox_main, settings) if _sends(settings) else None,
            profile_main=partial(profile_main, settings) if settings.profile_port >= 0 else None,
            watched=partial(_watched, settings),
            buried=partial(bury, run_directory.metrics),
            withdrawn=lambda before, after: withdrawn(before.trust, after.trust),
        )
        return Supervisor(settings, sockets, run_directory, house).run()


def prepare(settings: Settings) -> Equipment:
    """Check key, database, factory CAs and certificates, build what workers inherit; Unusable says what is wrong."""
    SecretBox.load(key_path(settings.data))
    try:
        require_current(settings.database_url)
    except StoreFailed as error:
        raise Unusable(f"{error.cause}; is store.url right, and the database up?") from error
    _require_prompts(settings)
    require_outside(settings)
    digest = _digest(settings)
    trust = load_trust(settings.data)
    certificates = certificate_files(settings)
    kinds = [ListenerKind.DEVICE, *([ListenerKind.LEGACY] if settings.legacy_port >= 0 else [])]
    return Equipment(
        settings=settings,
        trust=trust,
        contexts={kind: make_context(kind, certificates, trust.pem_bundle) for kind in kinds},
        drivers={driver.manifest.name: driver for driver in drivers(settings.data / "templates")},
        digest=digest,
    )


def _require_prompts(settings: Settings) -> None:
    """Where calls are answered there is something to say, and to whom."""
    if max(settings.ivr_port, settings.ivr_tls_port, settings.agi_port, settings.hooks_port) >= 0:
        from ivr.prompts import IDS, PromptError, Prompts  # device workers load no IVR code
        from provisioner.ivr_adapters import require_adapters

        require_adapters(settings)
        try:
            said = Prompts(Path(settings.ivr_prompts) if settings.ivr_prompts else None, settings.ivr_language)
            for one in IDS:
                said.load(one)
        except PromptError as error:
            raise Unusable(str(error)) from error


def _digest(settings: Settings) -> Digest:
    """Nonces of an earlier generation are stale, which clients answer by asking again (RFC 7616 section 3.3)."""
    try:
        return Digest.of(os.urandom(32), settings.digest_algorithms)
    except ValueError as error:
        raise Unusable(str(error)) from error


def certificate_files(settings: Settings) -> list[Path]:
    """The server's own certificates; relative names lie below DATA."""
    return [settings.data / name for name in settings.tls_certificates]


def _watched(settings: Settings) -> Iterator[Path]:
    """What an operator replaces while the server runs."""
    yield from certificate_files(settings)
    yield from (settings.data / "trust").glob("[!.]*")
    yield from (settings.data / "templates").rglob("*.*")


def _within_descriptors(settings: Settings, files: int) -> Settings:
    """No more connections than open files, and a line that says so."""
    chosen = fitted(settings, files)
    if chosen.http_connections < settings.http_connections:
        log.info(
            "http.connections is %d instead of %d: a worker may have %d open files and would need %d",
            chosen.http_connections, settings.http_connections, files, files_wanted(settings),
        )  # fmt: skip
    return chosen


def _set_limits() -> int:
    """No core dump, which would hold keys and SIP secrets; as many open files as the system grants: so many."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems name a hard limit that they do not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


# --- one worker -----------------------------------------------------------------------------------


def worker_main(sockets: Sockets, equipment: Equipment, line: Lifeline, sight: Sight | None = None) -> int:
    """A worker's life; its exit code."""
    return _told(lambda: serve_worker(sockets, equipment, line, sight.teller() if sight else None))


def _told(life: Callable[[], Coroutine[None, None, None]]) -> int:
    """Run a child's life; one of the two places that catch everything, so that the log says why a process ended."""
    try:
        asyncio.run(life())
    except Unusable as error:
        log.error(error.cause)
        return REFUSED
    except ProvisionerError as error:
        log.error("this process cannot go on: %s", error.cause)
        return 1
    except Exception:  # the outer edge of a process
        log.exception("this process ends because of a fault in the program")
        return 1
    return 0


async def serve_worker(sockets: Sockets, equipment: Equipment, line: Lifeline, teller: Teller | None = None) -> None:
    """Start everything or nothing, serve until told to leave, finish what is under way, write what waits."""
    settings = equipment.settings
    async with AsyncExitStack() as stack:
        counters = Counters(RunDirectory(settings.data).metrics, line.slot)
        stack.callback(counters.flush)
        count = counters.count
        store = await stack.enter_async_context(Store.of(settings))
        views = Views(store)
        await views.open()
        stack.push_async_callback(views.close)
        recorder = Recorder(store, settings, count, teller=teller)
        stack.push_async_callback(contained, "flush", recorder.flush, count)
        chains = Chains(store, settings, count)
        stack.push_async_callback(contained, "chains", chains.flush, count)
        every(stack, settings.store_flush, "chains", chains.flush, count)
        keys = _following(stack, equipment, store, views, count)
        every(stack, settings.store_flush, "flush", recorder.flush, count)
        flights = _flights(stack, equipment, store, count)
        storm = Storm(settings.gate_target, settings.gate_interval, settings.gate_calm)
        await contained("learn", views.learn, count)
        _learning(stack, storm, views.learn, count)
        every(stack, _PRUNE, "prune", partial(_in_calm, storm, recorder.prune), count)
        every(stack, _PRUNE, "sweep", partial(_in_calm, storm, partial(sweep, store, settings)), count)
        admission = Admission(settings, storm, count, random.uniform, _models(equipment.drivers.values()))
        handlers = _handlers(
            sockets, equipment, store, views, recorder, chains, keys, admission, count, counters.observe
        )
        listeners = []
        for kind, handler in handlers.items():
            server = QuietServer(handler, count, eager=True, **http_limits(settings))
            context, told = equipment.contexts.get(kind), storm if kind is ListenerKind.DEVICE else None
            one = Listener(
                kind, sockets[kind], context, server, settings, count,
                storm=told, observe=counters.observe, flights=flights,
            )  # fmt: skip
            listeners.append(_started(stack, one, server))
        measure = partial(_measure, counters, listeners, views, storm, admission)
        tenure = await stack.enter_async_context(Tenure(line, measure, log.debug))
        await tenure.until_told_to_leave()
        for one in listeners:
            one.stop_accepting()
            sockets[one.kind].close()  # the last process to do so frees the port
        await tenure.until_idle_or_drain(partial(_all_gone, listeners))
        await asyncio.gather(*(one.drain(settings.server_drain) for one in listeners))


def _following(stack: AsyncExitStack, equipment: Equipment, store: Store, views: Views, count: Count) -> KeyLog:
    """Take up what administrators have changed, and whose TLS secrets one of them wants."""
    settings = equipment.settings
    keys = KeyLog(store, equipment.contexts.values(), count)

    async def refresh() -> None:
        await views.refresh()
        await keys.follow(views.generation)

    stack.push_async_callback(contained, "tls_secrets", keys.close, count)
    every(stack, settings.store_poll, "refresh", refresh, count)
    every(stack, settings.store_flush, "tls_secrets", keys.flush, count)
    return keys


def _flights(stack: AsyncExitStack, equipment: Equipment, store: Store, count: Count) -> FlightLog | None:
    """The flight recorder; None where it is off."""
    settings = equipment.settings
    if not settings.recorder_enabled:
        return None
    flights = FlightLog(store, settings, count, claims_by([one.match for one in equipment.drivers.values()]))
    stack.push_async_callback(contained, "flights", flights.close, count)
    every(stack, settings.store_flush, "flights", flights.flush, count)
    return flights


def _handlers(
    sockets: Sockets,
    equipment: Equipment,
    store: Store,
    views: Views,
    recorder: Recorder,
    chains: Chains,
    keys: KeyLog,
    admission: Admission,
    count: Count,
    observe: Observe,
) -> Mapping[ListenerKind, Handler]:
    """What answers on each listening socket."""
    settings = equipment.settings
    vendors = {name: Metered(driver, count, observe) for name, driver in equipment.drivers.items()}
    base_urls = {kind: _base_url(settings, sockets[kind]) for kind in equipment.contexts}
    shelf = FirmwareShelf(settings.data / "firmware")
    delivery = Delivery(
        drivers=vendors,
        views=views,
        recorder=recorder,
        tokens=TokenBook(store),
        uploads=UploadShelf(store),
        firmware=shelf,
        digest=equipment.digest,
        settings=settings,
        base_urls=base_urls,
        admission=admission,
        offers=Offers(settings, lambda: store.box.derived(PURPOSE)[0], _authority(settings)),
    )
    identifier = Identifier(
        equipment.trust.anchors,
        {name: driver.identify for name, driver in vendors.items()},
        settings.identity_memory,
        key_bits={name: driver.manifest.min_key_bits for name, driver in vendors.items()},
    )
    edge = DeviceEdge(delivery, identifier, EventLog(recorder.event), count, chains.note, keys)
    handlers: dict[ListenerKind, Handler] = {kind: edge.handler(kind) for kind in equipment.contexts}
    if ListenerKind.BOOTSTRAP in sockets:
        url, authority = base_urls[ListenerKind.DEVICE], _authority(settings)
        own_url = _base_url(settings, sockets[ListenerKind.BOOTSTRAP], "http")
        bootstrap = BootstrapEdge(vendors.values(), shelf, authority, url, count, own_url)
        handlers[ListenerKind.BOOTSTRAP] = bootstrap.handle
    return handlers


def _models(drivers: Iterable[VendorDriver]) -> Iterator[Model]:
    for one in drivers:
        yield from one.manifest.models.values()


def _learning(stack: AsyncExitStack, storm: Storm, learn: Callable[[], Awaitable[object]], count: Count) -> None:
    """Often while it is calm, seldom in a storm."""
    every(stack, _LEARN, "learn", partial(_in_calm, storm, learn), count)
    every(stack, _LEARN_IN_STORM, "learn", learn, count)


async def _in_calm(storm: Storm, action: Callable[[], Awaitable[object]]) -> None:
    """Work that can wait until a storm is over."""
    if not storm.on:
        await action()


def _base_url(settings: Settings, sock: socket.socket, scheme: str = "https") -> str:
    """Where phones fetch from: the name in the certificate, the port that is really bound."""
    host = f"[{settings.server_name}]" if ":" in settings.server_name else settings.server_name
    return f"{scheme}://{host}:{sock.getsockname()[1]}/"


def _authority(settings: Settings) -> str:
    """The installation's own CA; empty where the server's certificates come from elsewhere."""
    path = settings.data / "tls" / "ca.pem"
    return path.read_text("ascii") if path.is_file() else ""


def _started(stack: AsyncExitStack, listener: Listener, server: QuietServer) -> Listener:
    stack.push_async_callback(server.shutdown, 0)
    stack.callback(listener.close)
    listener.start()
    return listener


def _measure(
    counters: Counters, listeners: Sequence[Listener], views: Views, storm: Storm, admission: Admission, lag: float
) -> None:
    """At each beat: tell what the listeners are at, and tell the gates what the store has learnt of sites."""
    counters.gauge("storm_mode", storm.on)
    counters.gauge("storm_back", admission.back)
    counters.gauge("storm_seconds", monotonic() - storm.since if storm.on else 0.0)
    for one in listeners:
        counters.connections(one.kind, len(one))
        if one.kind in (ListenerKind.DEVICE, ListenerKind.LEGACY):
            one.know(views.weights())
            state = one.state
            counters.gauge("gate_waiting", state.waiting, one.kind)
            counters.gauge("gate_delay_now_seconds", state.delay, one.kind)
            counters.gauge("gate_capacity", state.capacity, one.kind)
            counters.gauge("gate_backlog", state.backlog, one.kind)
    counters.loop_lag(lag)


async def _all_gone(listeners: Sequence[Listener]) -> None:
    while any(len(one) for one in listeners):  # noqa: ASYNC110  # up to 15 minutes; a look costs nothing
        await asyncio.sleep(_LOOK)


# --- the admin process ------------------------------------------------------------------------------


def admin_main(settings: Settings, sight: Sight, sock: socket.socket, line: Lifeline) -> int:
    """The admin process's life; its exit code."""
    from provisioner.admin_app import serve_admin  # device workers load no administrator's code

    known = {driver.manifest.name: driver for driver in drivers(settings.data / "templates")}
    return _told(lambda: serve_admin(settings, known, sock, line, sight))


# --- the IVR's process ------------------------------------------------------------------------------


def ivr_main(settings: Settings, sockets: Sockets, line: Lifeline) -> int:
    """The life of the process that answers calls; its exit code."""
    from provisioner.ivr_app import serve_ivr  # device workers load no IVR code

    known = {driver.manifest.name: driver for driver in drivers(settings.data / "templates")}
    return _told(lambda: serve_ivr(settings, known, sockets, line))


def _sends(settings: Settings) -> bool:
    """Whether anything leaves by itself."""
    return bool(settings.mail_host or settings.webhook_on or settings.trap_receivers)


def profile_main(settings: Settings, line: Lifeline) -> int:
    """The life of the process that finds out what phones can do; its exit code."""
    from provisioner.profile_app import serve_profile  # device workers let nobody in like that

    known = {driver.manifest.name: driver for driver in drivers(settings.data / "templates")}
    return _told(lambda: serve_profile(settings, known, certificate_files(settings), line))


def outbox_main(settings: Settings, line: Lifeline) -> int:
    """The life of the process that sends mails; its exit code."""
    from provisioner.outbox_app import serve_outbox  # device workers send no mail

    known = {driver.manifest.name: driver for driver in drivers(settings.data / "templates")}
    return _told(lambda: serve_outbox(settings, known, line))
