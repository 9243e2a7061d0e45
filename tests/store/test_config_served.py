"""A device that was sent another configuration than it had is told once; a storm in which nothing changed is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event as engine_events

from provisioner.fleet.fleet import Fleet
from provisioner.hooks.hooks import Hooks
from provisioner.hooks.post import HookPost
from provisioner.hooks.senders import HookSenders
from provisioner.hooks.wire import Wire
from provisioner.model import FetchRecord, ListenerKind, Mac, Proof, Scope
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.hook_queue import is_heard
from provisioner.store.records import Recorder
from provisioner.store.views import Views

pytestmark = pytest.mark.asyncio

ONE, TWO = Mac("0004f2aabb01"), Mac("0004f2aabb02")
HOOK = "https://hooks.example.net/"


class Street:
    """Two phones, and an endpoint that may ask for what they are served."""

    def __init__(self, store: Store, views: Views, drivers: Any, settings: Settings) -> None:
        self.store, self.views = store, views
        self.now = 1000.0
        self.counted: Counter[tuple[str, str]] = Counter()
        self.recorder = Recorder(store, settings, self._count, lambda: self.now)
        self.fleet = Fleet(store, drivers)
        chosen = replace(settings, webhook_allow=("127.0.0.0/8",))
        self.hooks = Hooks(store, drivers, chosen)
        self.senders = HookSenders(store, chosen, HookPost(store, chosen, Wire(chosen)), self._count)

    def _count(self, name: str, label: str) -> None:
        self.counted[name, label] += 1

    async def boot(self, mac: Mac, digest: str, status: int = 200, name: str = "user.cfg") -> None:
        """As ``Delivery`` puts it down: the change up to which it is, only where the device was behind one."""
        await self.views.refresh()
        view = await self.views.boot_view(mac)
        assert view is not None
        revision = view.revision if view.served < view.changed else -1
        how = (Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "")
        self.now += 1
        self.recorder.fetch(FetchRecord(mac, name, self.now, status, 5, digest, *how, revision=revision))

    async def told(self) -> list[tuple[str, str]]:
        found = await self.fleet.events(kind="config_served", limit=1000)
        return [(one.mac, one.details["files"]) for one in found]


@pytest_asyncio.fixture
async def street(store: Store, views: Views, drivers: Any, settings: Settings) -> AsyncIterator[Street]:
    found = Street(store, views, drivers, settings)
    await found.fleet.add_account("Acme")
    for mac in (ONE, TWO):
        await found.fleet.add_device(mac, vendor="poly", model="VVX 411", account="Acme")
    yield found


async def test_what_is_sent_is_told_once_for_each_change(street: Street) -> None:
    await street.hooks.add_hook(HOOK, events=["config.served"])
    await street.boot(ONE, "first")
    await street.recorder.flush()
    assert await street.told() == [(ONE, "user.cfg")]
    for _ in range(3):
        await street.boot(ONE, "first")
        await street.recorder.flush()
    assert len(await street.told()) == 1, "a fetch alone is no news"
    await street.fleet.set_layer(Scope.DEFAULTS, "", {"phonebook.name": "Ours"})
    await street.boot(ONE, "first")
    await street.recorder.flush()
    assert len(await street.told()) == 1, "a change that does not reach its files is no news either"
    await street.fleet.set_layer(Scope.DEFAULTS, "", {"phonebook.name": "Yours"})
    await street.boot(ONE, "second")
    await street.recorder.flush()
    assert len(await street.told()) == 2
    assert await street.senders.tail() == 2, "and the endpoint hears of both"


async def test_a_storm_without_a_change_asks_and_tells_nothing(street: Street) -> None:
    await street.hooks.add_hook(HOOK)
    for mac in (ONE, TWO):
        await street.boot(mac, "same")
    await street.recorder.flush()
    before = len(await street.told())
    asked: list[str] = []
    engine = street.store.lossy.sync_engine
    engine_events.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    for mac in (ONE, TWO):
        await street.boot(mac, "same")
    await street.recorder.flush()
    assert len(await street.told()) == before == 2
    assert not [one for one in asked if "hook" in one], "nobody was behind a change, so nothing is looked up"


async def test_without_an_endpoint_that_asks_nothing_is_written(street: Street) -> None:
    await street.hooks.add_hook(HOOK, events=["binding.*"])
    async with street.store.reading() as connection:
        assert not await is_heard(connection, "config_served") and await is_heard(connection, "line_bound")
    await street.boot(ONE, "first")
    await street.recorder.flush()
    assert await street.told() == []


async def test_who_is_behind_a_later_change_is_not_current(street: Street) -> None:
    await street.hooks.add_hook(HOOK)
    await street.boot(ONE, "first")
    await street.fleet.set_layer(Scope.DEFAULTS, "", {"phonebook.name": "Ours"})
    await street.recorder.flush()
    assert await street.told() == []
    await street.boot(ONE, "second")
    await street.boot(ONE, "second", status=304)
    await street.recorder.flush()
    assert await street.told() == [(ONE, "user.cfg")], "asked again within the batch it had it already"


async def test_several_files_of_one_boot_are_one_event(street: Street) -> None:
    await street.hooks.add_hook(HOOK)
    await street.boot(TWO, "a", name="one.cfg")
    await street.boot(TWO, "b", name="two.cfg")
    await street.recorder.flush()
    assert await street.told() == [(TWO, "one.cfg, two.cfg")]
