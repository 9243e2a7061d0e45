"""The admin process: health, metrics and the storm view, the API, the console, and the jobs that go on by themselves.

It shares no memory, no database connection and no moment of its loop with the workers that serve phones.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from provisioner import capacity
from provisioner.admin_address import speaks_tls
from provisioner.administrators import Administrators
from provisioner.background import contained, every
from provisioner.capacity import Capacity, Cores
from provisioner.children import Lifeline
from provisioner.counters import totals
from provisioner.errors import StoreFailed
from provisioner.fleet.lookout import LOOKS, Lookout
from provisioner.hooks.intake import Intake
from provisioner.http.admin import AdminEdge, Health, Part, application, server_of
from provisioner.http.api.application import add_api
from provisioner.http.api.desks import Means
from provisioner.http.api.gatekeeper import Keeper
from provisioner.http.api.job_runner import JobRunner
from provisioner.http.api.renders import LiveRenders
from provisioner.http.api.stream import Feed
from provisioner.http.console.application import add_console
from provisioner.http.console.pages import Surroundings
from provisioner.http.fleet_state import FleetState
from provisioner.http.hooks_in import add_hooks
from provisioner.http.listener import http_limits
from provisioner.http.renewed import RenewedListener
from provisioner.http.storm_events import StormEvents
from provisioner.http.storm_watch import StormWatch
from provisioner.model import ListenerKind
from provisioner.onlookers import Onlookers, Sight
from provisioner.resync.presence import TURN, Presence
from provisioner.resync.resync import BaseUrls
from provisioner.resync.rollouts import RolloutRunner
from provisioner.run_directory import RunDirectory, read_addresses
from provisioner.settings import Settings
from provisioner.store import engine as engines
from provisioner.store import schema
from provisioner.store.census import Group, take_census
from provisioner.store.checkpoints import Checkpoints
from provisioner.store.database import Store
from provisioner.store.key_recordings import tidy
from provisioner.store.storms import StormJournal
from provisioner.store.views import Views
from provisioner.switches.cycler import Cycler
from provisioner.switches.engine import close_shared
from provisioner.tenure import Tenure
from provisioner.vendor import VendorDriver

Drivers = Mapping[str, VendorDriver]

_JOBS: Final = 0.25
"""s between looks at whether there is a job to go on with."""
_ROLLOUTS: Final = 2.0
"""s between looks at changes that reach phones in steps."""
_POWER: Final = 2.0
"""s between looks at ports that are to be switched off, or were left off."""
_RENEWED: Final = 5.0
"""s between looks at the certificates."""
_LEFT_OVER: Final = 10.0
"""s between looks at what was posted and never looked at."""
_CHECKPOINT: Final = 0.5
"""s between looks at how long the database's log is."""
_KEYS: Final = 5.0
"""s between looks at TLS secrets that are to be deleted."""
_TIDY: Final = 3600.0
"""s between clearances of what is too old."""


async def serve_admin(
    settings: Settings, drivers: Drivers, sock: socket.socket, line: Lifeline, sight: Sight | None = None
) -> None:
    """Serve whoever runs this installation until told to leave; ``sight`` is what workers tell at once by."""
    metrics = RunDirectory(settings.data).metrics
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store.of(settings))
        fleet = FleetState(partial(_census, store.engine))
        events = StormEvents(StormJournal(store.engine, socket.gethostname()))
        stack.push_async_callback(contained, "storm events", events.deliver, _uncounted)
        watch = StormWatch(partial(totals, metrics), fleet, Cores.of(settings), events)
        every(stack, 1.0, "storm view", watch.look, _uncounted)
        every(stack, 1.0, "census", watch.count_fleet, _uncounted)
        every(stack, 1.0, "storm events", events.deliver, _uncounted)
        checkpoints = Checkpoints(store.url)
        stack.push_async_callback(checkpoints.close)
        every(stack, _CHECKPOINT, "checkpoint", checkpoints.turn, _uncounted)
        people = _people(stack, settings, store)
        onlookers = Onlookers(sight).listen(asyncio.get_running_loop())
        stack.callback(onlookers.close)
        views = await _views(stack, settings, store)
        means = _means(settings, drivers, store, people, onlookers, views)
        runner = JobRunner(means)
        every(stack, _JOBS, "jobs", runner.turn, _uncounted)
        every(stack, _TIDY, "jobs that are over", runner.tidy, _uncounted)
        _roll_out(stack, means)
        _power(stack, store, settings)
        every(stack, TURN, "presence", Presence(store, views, drivers, settings).turn, _uncounted)
        every(stack, LOOKS, "lookout", Lookout(store, settings).turn, _uncounted)
        await _delete_keys(stack, store)
        health = Health(certificate_files(settings), partial(_ping, store.engine))
        edge = AdminEdge(health, metrics, fleet, watch)
        server, run = await server_of(
            application(edge, [partial(add_api, means=means), _hooks_in(stack, means), _console(edge, means, people)]),
            _uncounted,
            **http_limits(settings),
        )
        stack.push_async_callback(run.cleanup)
        stack.push_async_callback(server.shutdown, 0)
        plain = replace(settings, gate_names=())  # phones are told another name than people may use
        listener = RenewedListener(ListenerKind.ADMIN, sock, server, plain, _uncounted, tls_files(settings))
        stack.callback(listener.close)
        listener.start()
        every(stack, _RENEWED, "certificates", listener.look, _uncounted)
        tenure = await stack.enter_async_context(Tenure(line, _unmeasured, health.told))
        await tenure.until_told_to_leave()


def _power(stack: AsyncExitStack, store: Store, settings: Settings) -> None:
    """Phones whose power somebody wants to be taken, and ports that somebody has left off."""
    stack.push_async_callback(close_shared)
    cycler = Cycler(store, settings)
    stack.push_async_callback(cycler.close)
    every(stack, _POWER, "power cycles", cycler.turn, _uncounted)
    every(stack, _TIDY, "power cycles that are over", cycler.tidy, _uncounted)


async def _delete_keys(stack: AsyncExitStack, store: Store) -> None:
    """TLS secrets whose time is over go by themselves, and at once where no server ran when it was."""

    async def look() -> None:
        await tidy(store, time.time())

    await contained("recorded TLS secrets", look, _uncounted)
    every(stack, _KEYS, "recorded TLS secrets", look, _uncounted)


def _roll_out(stack: AsyncExitStack, means: Means) -> None:
    """Changes that reach phones in steps go on, or halt, by themselves."""
    runner = RolloutRunner(means.store, means.drivers, means.settings, means.base_urls, means.capacity)
    every(stack, _ROLLOUTS, "rollouts", runner.turn, _uncounted)
    every(stack, _TIDY, "revisions that are too old", runner.tidy, _uncounted)


def _console(edge: AdminEdge, means: Means, people: Administrators) -> Part:
    """The pages for people."""
    settings = means.settings
    return partial(add_console, around=Surroundings(means, people, edge.fleet, edge.watch, _is_secure(settings)))


def _is_secure(settings: Settings) -> bool:
    """Whether browsers come over HTTPS, here or before a proxy."""
    return bool(tls_files(settings)) or settings.login_url.startswith("https:")


def _hooks_in(stack: AsyncExitStack, means: Means) -> Part:
    """Where other systems post, and looking after what was posted."""
    settings = means.settings
    intake = Intake(means.store, means.drivers, settings)

    async def go_on() -> None:
        for ident in await intake.left_over():
            await contained("a message of the inbox", partial(intake.settle, ident), _uncounted)

    every(stack, _LEFT_OVER, "inbox", go_on, _uncounted)
    every(stack, _TIDY, "inbox that is too old", intake.tidy, _uncounted)
    return partial(
        add_hooks, intake=intake, body=settings.webhook_body, rate=settings.api_rate, burst=settings.api_burst
    )


def _people(stack: AsyncExitStack, settings: Settings, store: Store) -> Administrators:
    """Who may sign in."""
    people = Administrators(store, settings)
    every(stack, settings.apikey_flush, "keys that were used", people.flush, _uncounted)
    stack.push_async_callback(contained, "keys that were used", people.flush, _uncounted)
    every(stack, _TIDY, "sessions that are over", people.tidy, _uncounted)
    return people


async def _views(stack: AsyncExitStack, settings: Settings, store: Store) -> Views:
    """What all devices share, in memory."""
    views = Views(store)
    await views.open()
    stack.push_async_callback(views.close)
    every(stack, settings.store_poll, "refresh", views.refresh, _uncounted)
    return views


def _means(
    settings: Settings,
    drivers: Drivers,
    store: Store,
    people: Administrators,
    onlookers: Onlookers,
    views: Views,
) -> Means:
    """What the API's calls are done with."""
    gatekeeper = Keeper(people, secure=_is_secure(settings))
    authority = settings.data / "tls" / "ca.pem"
    urls = partial(base_urls, settings)
    renders = LiveRenders(
        store,
        views,
        drivers,
        settings,
        lambda: urls()[ListenerKind.DEVICE],
        authority.read_text("ascii") if authority.is_file() else "",
        time.time,
    )
    each = max(1, settings.api_streams // 10)
    feed = Feed(settings.api_streams, each, gatekeeper.principal, onlookers=onlookers)
    measured = measured_capacity(settings)
    return Means(store, drivers, settings, renders, urls, measured, gatekeeper, feed, onlookers=onlookers)


def base_urls(settings: Settings) -> BaseUrls:
    """Where phones fetch from, as the device edge writes it into files: the ports that are really bound."""
    host = f"[{settings.server_name}]" if ":" in settings.server_name else settings.server_name
    bound = read_addresses(settings.data)
    wanted = {ListenerKind.DEVICE: settings.device_port, ListenerKind.LEGACY: settings.legacy_port}
    return {kind: f"https://{host}:{bound.get(kind, ('', port))[1]}/" for kind, port in wanted.items()}


def measured_capacity(settings: Settings) -> Callable[[], Capacity | None]:
    """What the running workers were measured to serve lately."""
    metrics, cores = RunDirectory(settings.data).metrics, Cores.of(settings)

    def look() -> Capacity | None:
        found = capacity.measured(cores, totals(metrics))
        return found if found is not None and capacity.is_recent(found, time.time()) else None

    return look


def tls_files(settings: Settings) -> Sequence[Path]:
    """The server's own certificates, unless nobody but this machine can listen in; none: plain HTTP."""
    return certificate_files(settings) if speaks_tls(settings) else ()


def certificate_files(settings: Settings) -> list[Path]:
    """Relative names lie below DATA."""
    return [settings.data / name for name in settings.tls_certificates]


async def _census(engine: AsyncEngine, since: float) -> Sequence[Group]:
    async with engines.reading(engine) as connection:
        return await take_census(connection, since)


async def _ping(engine: AsyncEngine) -> str:
    try:
        async with engines.reading(engine) as connection:
            await connection.execute(select(schema.revision.c.value))
    except StoreFailed as error:
        return error.cause
    return ""


def _uncounted(metric: str, label: str) -> None:
    """The admin process writes no metrics: what it counts would be about whoever reads them."""
    del metric, label


def _unmeasured(lag: float) -> None:
    del lag
