"""The process that sends what the outbox holds: none of the servers', so whoever is slow to take it holds nobody up.

It waits while phones come back after a storm: their boots are worth more than a mail or a webhook.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

from provisioner.background import every, log
from provisioner.children import Lifeline
from provisioner.counters import Counters, totals
from provisioner.hooks.post import HookPost
from provisioner.hooks.senders import HookSenders
from provisioner.hooks.wire import Wire
from provisioner.mail.notices import Notices
from provisioner.mail.post import Post
from provisioner.mail.relay import Relay
from provisioner.mail.reset import ResetPost
from provisioner.outbox import Outbox
from provisioner.run_directory import RunDirectory
from provisioner.settings import Settings
from provisioner.store import outbox as rows
from provisioner.store.database import Store
from provisioner.switches.traps import TrapSender, objections
from provisioner.tenure import Tenure
from provisioner.vendor import VendorDriver

_SLOT: Final = 2000
"""Metrics of this process lie beside those of the workers and of the IVR."""
_TURN: Final = 1.0
"""s between looks at what is due."""
_NOTICES: Final = 10.0
"""s between looks at what sites have to be told."""
_MEASURE: Final = 5.0
"""s between counts of what waits."""
_ORPHANS: Final = 60.0
"""s between looks at who answers for endpoints."""
_CLEAR: Final = 600.0
"""s between clearances."""


async def serve_outbox(settings: Settings, drivers: Mapping[str, VendorDriver], line: Lifeline) -> None:
    """Send until told to leave; the message in hand is brought to its end."""
    async with AsyncExitStack() as stack:
        counters = Counters(RunDirectory(settings.data).metrics, _SLOT + line.slot, cpu=lambda: 0.0)
        stack.callback(counters.flush)
        store = await stack.enter_async_context(Store.of(settings))
        if settings.mail_host:
            _mails(stack, store, settings, drivers, counters)
        if settings.webhook_on:
            _webhooks(stack, store, settings, counters)
        if settings.trap_receivers:
            _traps(stack, store, settings, counters)
        every(stack, _CLEAR, "outbox clearance", Outbox(store, {}, settings, counters.count).clear, counters.count)
        every(stack, _MEASURE, "outbox gauges", partial(_measure, store, counters), counters.count)
        tenure = await stack.enter_async_context(Tenure(line, lambda _lag: counters.flush(), lambda _told: None))
        await tenure.until_told_to_leave()


def _mails(
    stack: AsyncExitStack, store: Store, settings: Settings, drivers: Mapping[str, VendorDriver], counters: Counters
) -> None:
    relay = Relay(settings)
    stack.push_async_callback(relay.rest)
    notices = Notices(store, settings, relay)
    every(stack, _NOTICES, "notices", notices.turn, counters.count)
    channels = Post(store, drivers, settings, relay).channels() | ResetPost(store, settings, relay).channels()
    channels |= notices.channels()
    calm = partial(is_calm, RunDirectory(settings.data).metrics)
    outbox = Outbox(store, channels, settings, counters.count, calm=calm)

    async def turn() -> None:
        if await outbox.send():
            await relay.rest()

    every(stack, _TURN, "outbox", turn, counters.count)
    stack.callback(outbox.stop)  # first of all when the stack unwinds


def _webhooks(stack: AsyncExitStack, store: Store, settings: Settings, counters: Counters) -> None:
    post = HookPost(store, settings, Wire(settings))
    calm = partial(is_calm, RunDirectory(settings.data).metrics)
    senders = HookSenders(store, settings, post, counters.count, calm=calm)
    every(stack, _TURN, "webhooks", senders.turn, counters.count)
    every(stack, _TURN, "webhooks of devices", senders.tail, counters.count)
    every(stack, _ORPHANS, "webhook authors", senders.look_for_orphans, counters.count)
    every(stack, _CLEAR, "webhook clearance", senders.tidy, counters.count)
    stack.push_async_callback(senders.stop)


def _traps(stack: AsyncExitStack, store: Store, settings: Settings, counters: Counters) -> None:
    """Alarms by SNMP, in a storm too: that is when somebody has to hear of them."""
    sender = TrapSender(store, settings, counters.count)
    for one in objections(settings):
        log.error("%s", one)
    stack.push_async_callback(sender.stop)
    every(stack, _TURN, "alarms by SNMP", sender.turn, counters.count)


def is_calm(metrics: Path) -> bool:
    """No worker of this node is in storm mode, as far as their last beats say."""
    return not any(value for (name, _), value in totals(metrics).items() if name == "storm_mode")


async def _measure(store: Store, counters: Counters) -> None:
    async with store.reading() as connection:
        counted = await rows.counted(connection)
    counters.gauge("outbox_waiting", counted["queued"] + counted["sending"])
    counters.gauge("outbox_dead", counted["dead"])
