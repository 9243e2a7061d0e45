"""Webhooks out: with the change or not at all, signed, in order, at least once, logged, given up and sent again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from hook_receiver import Receiver, receiving
from sqlalchemy import func, select

from provisioner.errors import Conflict, Forbidden, NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.hooks.hooks import Hooks, MadeHook
from provisioner.hooks.post import HookPost
from provisioner.hooks.senders import HookSenders
from provisioner.hooks.signing import Scheme, prove
from provisioner.hooks.wire import Wire
from provisioner.model import Event, Mac
from provisioner.outbox_states import MessageState
from provisioner.places import Address
from provisioner.rights import Holding, Principal, Role, parts_of
from provisioner.settings import Settings
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.joined import joined
from provisioner.store.journal import write_events
from provisioner.store.reach import Limited

pytestmark = pytest.mark.asyncio

NOW = 1_800_000_000.0
MAC = Mac("0004f2aabb01")
OTHER_MAC = Mac("0004f2aabb02")


@dataclass
class World:
    """A house, a receiver, and a clock."""

    store: Store
    settings: Settings
    receiver: Receiver
    drivers: Any
    now: float = NOW
    counted: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.senders = self.another()

    def clock(self) -> float:
        return self.now

    def count(self, metric: str, label: str) -> None:
        self.counted[metric, label] += 1

    def another(self) -> HookSenders:
        post = HookPost(self.store, self.settings, Wire(self.settings), self.clock)
        return HookSenders(self.store, self.settings, post, self.count, clock=self.clock)

    def hooks(self, **who: Any) -> Hooks:
        return Hooks(self.store, self.drivers, self.settings, clock=self.clock, **{"actor": "ann", **who})

    @property
    def fleet(self) -> Fleet:
        return Fleet(self.store, self.drivers, actor="ann", clock=self.clock)

    async def send(self) -> None:
        """One turn, to its end."""
        await self.senders.turn()
        while await self.senders.turn():
            await asyncio.sleep(0.005)
            if all(task.done() for task in self.senders._running.values()):
                break

    async def later(self, seconds: float) -> None:
        self.now += seconds
        await self.send()

    async def add(self, **given: Any) -> MadeHook:
        return await self.hooks().add_hook(self.receiver.url(), **given)

    async def messages(self) -> list[tuple[str, str, int]]:
        outbox = schema.outbox.c
        async with self.store.reading() as connection:
            query = select(outbox.title, outbox.state, outbox.attempts).where(outbox.kind.like("hook.%"))
            return [tuple(row) for row in await connection.execute(query.order_by(outbox.id))]


@pytest_asyncio.fixture
async def world(store: Store, settings: Settings, drivers: Any) -> AsyncIterator[World]:
    chosen = replace(
        settings, webhook_allow=("127.0.0.0/8",), webhook_timeout=0.5, webhook_retry_first=10.0, webhook_tries=3,
        webhook_patience=1.0,
    )  # fmt: skip
    async with receiving() as receiver:
        yield World(store, chosen, receiver, drivers)


@pytest_asyncio.fixture
async def account(world: World) -> str:
    ident = (await world.fleet.add_account("Acme")).id
    user = await world.fleet.add_user("Ada", account=ident)
    await world.fleet.change_user(user.id, address=Address("1 Example Road", "Bristol", country="GB"))
    await world.fleet.add_extension("1001", account=ident, user=user.id)
    return ident


async def device(world: World, account: str, mac: Mac = MAC) -> None:
    await world.fleet.add_device(mac, vendor="poly", model="VVX 411", account=account)


async def test_a_change_is_told_signed_and_whole(world: World, account: str) -> None:
    made = await world.add()
    await device(world, account)
    await world.fleet.bind(MAC, 1, extension="1001")
    await world.send()
    first, second = world.receiver.got
    assert first.json == {
        "id": first.headers["webhook-id"], "type": "device.expected", "occurred_at": "2027-01-15T08:00:00.000Z",
        "subject": "device:0004f2aabb01", "version": 1, "account": account, "actor": "ann",
        "data": {"mac": MAC, "vendor": "poly", "model": "VVX 411", "account": account, "site": ""},
    }  # fmt: skip
    assert (second.json["type"], second.json["version"]) == ("binding.created", 2)
    for one in (first, second):
        proof = prove(Scheme.STANDARD, [made.secret], one.headers, one.body, NOW, 300)
        assert proof.ident == one.json["id"] and one.headers["content-type"] == "application/json"
    assert len({one.json["id"] for one in world.receiver.got}) == 2
    log = await world.hooks().deliveries(made.about.id)
    assert [(one.type, one.status, one.outcome, one.attempt) for one in log] == [
        ("binding.created", 204, "delivered", 1), ("device.expected", 204, "delivered", 1),
    ]  # fmt: skip
    assert {state for _, state, _ in await world.messages()} == {"sent"}


async def test_nothing_is_told_of_a_change_that_was_taken_back(world: World, account: str) -> None:
    await world.add()
    await device(world, account)
    with pytest.raises(Conflict):
        await device(world, account)
    assert [row[0] for row in await world.messages()] == ["device.expected"]


async def test_without_an_endpoint_nothing_is_written(world: World, account: str) -> None:
    await device(world, account)
    assert await world.messages() == []
    async with world.store.reading() as connection:
        assert (await connection.execute(select(func.count()).select_from(schema.hook_event))).scalar_one() == 0


async def test_each_hears_what_it_asks_for_of_its_own_account(world: World, account: str) -> None:
    other = (await world.fleet.add_account("Other")).id
    filtered = await world.add(account="Acme", name="bindings", events=["binding.*"])
    await world.add(account="Other", name="other")
    await world.add(name="all", events=["*"])
    await device(world, account)
    await device(world, other, OTHER_MAC)
    await world.fleet.bind(MAC, 1, extension="1001")
    counted = {one.about.name: one.waiting for one in await world.hooks().hooks()}
    assert counted == {"bindings": 1, "other": 1, "all": 3}
    await world.send()
    assert [one.type for one in await world.hooks().deliveries(filtered.about.id)] == ["binding.created"]
    same = [one.json for one in world.receiver.got if one.json["type"] == "binding.created"]
    assert len(same) == 2 and same[0] == same[1], "one event, whoever hears it"


async def test_one_subject_waits_for_its_turn_and_others_do_not(world: World, account: str) -> None:
    await world.add()
    await device(world, account)
    await device(world, account, OTHER_MAC)
    await world.fleet.bind(MAC, 1, extension="1001")
    failed: list[str] = []

    async def fails_for_mac(request: web.Request) -> web.Response:
        told = await request.json()
        if told["subject"] == f"device:{MAC}" and len(failed) < 1:
            failed.append(told["type"])
            return web.Response(status=500, text="oh\nno")
        return web.Response()

    world.receiver.always = fails_for_mac
    await world.send()
    assert {one["subject"] for one in (got.json for got in world.receiver.got)} == {
        f"device:{MAC}", f"device:{OTHER_MAC}",
    }  # fmt: skip
    assert [row[1] for row in await world.messages()] == ["queued", "sent", "queued"]
    await world.later(11)
    mine = [version for kind, subject, version in world.receiver.told() if subject == f"device:{MAC}"]
    assert mine == [1, 1, 3] and {row[1] for row in await world.messages()} == {"sent"}
    log = (await world.hooks().deliveries("127.0.0.1"))[::-1]
    assert [(one.outcome, one.status, one.error) for one in log if one.version == 1] == [
        ("retry", 500, "answers 500: oh no"), ("delivered", 200, ""),
    ]  # fmt: skip


async def hangs(_request: web.Request) -> web.Response:
    await asyncio.sleep(5)
    return web.Response()


async def redirects(_request: web.Request) -> web.Response:
    raise web.HTTPFound("http://127.0.0.1:1/elsewhere")


async def floods(request: web.Request) -> web.StreamResponse:
    """Says no, and never stops saying why."""
    answer = web.StreamResponse(status=400)
    await answer.prepare(request)
    for _ in range(10_000):
        await answer.write(b"x" * 65_536)
    return answer


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (hangs, 0, "no answer in 0.5 s"),
        (redirects, 302, "answers 302: redirects are not followed, give the address itself"),
        (floods, 400, "answers 400: xxxx"),
        (503, 503, "answers 503"),
    ],
)
async def test_what_is_no_yes_is_tried_again_until_it_is_a_dead_letter(
    world: World, account: str, answer: Any, status: int, said: str
) -> None:
    made = await world.add()
    await device(world, account)
    world.receiver.always = answer
    for seconds in (0, 301, 301, 301):
        await world.later(seconds)
    assert await world.messages() == [("device.expected", "dead", 3)]
    log = await world.hooks().deliveries(made.about.id)
    assert [one.outcome for one in log] == ["failed", "retry", "retry"]
    assert {one.status for one in log} == {status} and all(one.error.startswith(said) for one in log)
    assert all(len(one.error) <= 160 for one in log)
    assert [one.path for one in world.receiver.got] == ["/hook"] * 3
    world.receiver.always = 200
    assert await world.hooks().replay_hook(made.about.id) == 1
    await world.send()
    assert await world.messages() == [("device.expected", "sent", 1)]
    assert len({one.headers["webhook-id"] for one in world.receiver.got}) == 1, "its receiver knows it again"


async def test_the_log_names_the_endpoint_that_wants_rest(
    world: World, account: str, caplog: pytest.LogCaptureFixture
) -> None:
    await world.add(name="our crm")
    world.receiver.answers = [503]
    await device(world, account)
    await world.send()
    [said] = {one.getMessage() for one in caplog.records if "leaves the outbox" in one.getMessage()}
    assert said.startswith("nothing leaves the outbox for webhook endpoint 'our crm' (127.0.0.1, ")
    assert " s: answers 503" in said and world.receiver.url() not in said


async def test_retry_after_is_honoured(world: World, account: str) -> None:
    await world.add()
    await device(world, account)

    async def crowded(_request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "600"})

    world.receiver.answers = [crowded]
    await world.send()
    await world.later(599)
    assert len(world.receiver.got) == 1
    await world.later(2)
    assert len(world.receiver.got) == 2


async def test_gone_is_gone_at_once(world: World, account: str) -> None:
    made = await world.add(account="Acme")
    watcher = await world.add(account="Acme", name="watcher", events=["webhook.disabled"])
    await device(world, account)
    world.receiver.answers = [410]
    await world.send()
    about = (await world.hooks().hook(made.about.id)).about
    assert (about.enabled, about.disabled_why) == (False, "it answers 410: gone for good")
    [told] = await world.fleet.events(kind="hook_disabled")
    assert (told.severity, told.actor, told.details["hook"]) == ("warning", "server", made.about.id)
    await world.send()
    assert [one.type for one in await world.hooks().deliveries(watcher.about.id)] == ["webhook.disabled"]


async def test_who_fails_for_hours_is_disabled_and_goes_on_where_it_was(world: World, account: str) -> None:
    made = await world.add()
    for mac in (MAC, OTHER_MAC):
        await device(world, account, mac)
    world.receiver.always = 500
    for seconds in (0, 60, 3600):
        await world.later(seconds)
        await device(world, account, Mac(f"0004f2bb{seconds:04d}"))
    state = await world.hooks().hook(made.about.id)
    assert not state.about.enabled and state.about.disabled_why.startswith("nothing was delivered for 1 h: answers 500")
    before = len(world.receiver.got)
    await world.later(7200)
    assert len(world.receiver.got) == before, "it is left alone"
    world.receiver.always = 200
    await world.hooks().enable_hook(made.about.id)
    await world.hooks().replay_hook(made.about.id)
    await world.send()
    assert {row[1] for row in await world.messages()} == {"sent"}
    about = (await world.hooks().hook(made.about.id)).about
    assert (about.failures, about.failing_since, about.disabled_why) == (0, None, "")


async def test_one_that_hangs_holds_nobody_up(world: World, account: str) -> None:
    async with receiving() as slow:
        slow.always = hangs
        await world.hooks().add_hook(slow.url(), name="slow")
        await world.add()
        await device(world, account)
        await device(world, account, OTHER_MAC)
        await world.senders.turn()
        for _ in range(100):
            await asyncio.sleep(0.01)
            if len(world.receiver.got) == 2:
                break
        assert len(world.receiver.got) == 2 and slow.open, "while the other one still waits"
        await world.senders.stop()


async def test_both_secrets_sign_until_the_old_one_is_over(world: World, account: str) -> None:
    made = await world.add()
    fresh = await world.hooks().rotate_hook(made.about.id)
    await device(world, account)
    await world.send()
    got = world.receiver.got[0]
    for secret in (made.secret, fresh.secret):
        assert prove(Scheme.STANDARD, [secret], got.headers, got.body, world.now, 300)
    world.now += world.settings.webhook_overlap * 3600 + 1
    await world.fleet.bind(MAC, 1, extension="1001")
    await world.send()
    got = world.receiver.got[1]
    assert prove(Scheme.STANDARD, [fresh.secret], got.headers, got.body, world.now, 300)
    with pytest.raises(Exception, match="signature is wrong"):
        prove(Scheme.STANDARD, [made.secret], got.headers, got.body, world.now, 300)
    assert made.secret not in repr(made) and fresh.secret not in repr(fresh)


async def test_a_test_says_what_came_of_it_and_changes_nothing_else(world: World, account: str) -> None:
    made = await world.add()
    assert (await world.hooks().ping_hook(world.receiver.url())).outcome == "delivered"
    got = world.receiver.got[0]
    assert got.json["type"] == "ping" and got.headers["webhook-id"] == got.json["id"]
    world.receiver.always = 410
    one = await world.hooks().ping_hook(made.about.id)
    assert (one.status, one.outcome, one.message) == (410, "failed", 0)
    assert (await world.hooks().hook(made.about.id)).about.enabled
    world.receiver.always = 200
    await world.hooks().queue_ping(made.about.id)
    await world.send()
    assert [one.type for one in await world.hooks().deliveries(made.about.id)] == ["ping"] * 3


async def test_what_devices_cause_is_told_from_the_first_endpoint_on(world: World, account: str) -> None:
    await device(world, account)

    async def caused(kind: str, mac: str) -> None:
        async with world.store.writing() as connection:
            await write_events(connection, [Event(kind, world.now, mac, "warning", "device", {"reason": "r"})])

    await caused("pin_mismatch", MAC)
    made = await world.add(events=["device.refused", "device.seen_first"])
    assert await world.senders.tail() == 0, "not what was before"
    for kind, mac in (("pin_mismatch", MAC), ("not_identified", ""), ("unknown_device", OTHER_MAC), ("bad_path", MAC)):
        await caused(kind, mac)
    assert await world.senders.tail() == 2 and await world.senders.tail() == 0
    await world.send()
    log = (await world.hooks().deliveries(made.about.id))[::-1]
    assert sorted((one.type, one.subject) for one in log) == [
        ("device.refused", f"device:{MAC}"), ("device.seen_first", f"device:{OTHER_MAC}"),
    ]  # fmt: skip


async def test_the_log_is_bounded(world: World, account: str) -> None:
    world.settings = replace(world.settings, webhook_log=10)
    made = await world.add()
    for _ in range(13):
        await world.hooks().ping_hook(made.about.id)
    log = await world.hooks().deliveries(made.about.id, limit=500)
    assert len(log) == 10 and [one.id for one in log] == sorted((one.id for one in log), reverse=True)
    assert await world.hooks().deliveries(made.about.id, before=log[8].id) == log[9:]


async def test_removed_is_forgotten(world: World, account: str) -> None:
    made = await world.add()
    await device(world, account)
    await world.hooks().remove_hook(made.about.name)
    await world.send()
    assert world.receiver.got == [] and await world.messages() == []
    with pytest.raises(NotFound):
        await world.hooks().hook(made.about.id)


async def test_a_change_by_who_sees_little_is_told_to_all_who_ask(world: World, account: str) -> None:
    """Who hears of something does not depend on how far whoever did it can see."""
    site = (await world.fleet.add_site("HQ", account=account)).id
    await world.fleet.add_device(MAC, vendor="poly", model="VVX 411", account=account, site=site)
    await world.add(name="house")
    await world.add(name="acme", account="Acme")
    holding = Holding(Role.SITE_ADMIN, account, site)
    somebody = Principal("bob@example.net", parts_of(holding, "bob@example.net"))
    await Fleet(world.store, world.drivers, principal=somebody, clock=world.clock).revoke_device(MAC)
    async with joined(Limited(world.store, somebody)) as whole:  # the audit log is written within their reach as well
        await Fleet(whole, world.drivers, principal=somebody, clock=world.clock).restore_device(MAC)
    assert [row[0] for row in await world.messages()] == ["device.revoked"] * 2 + ["device.restored"] * 2


async def test_an_administrator_of_one_account_sees_its_endpoints_alone(world: World, account: str) -> None:
    other = (await world.fleet.add_account("Other")).id
    for name, owner in (("house", ""), ("acme", "Acme"), ("other", "Other")):
        await world.add(name=name, account=owner)
    await device(world, other)
    owner = Principal("eve", parts_of(Holding(Role.OWNER, account), "eve"))
    mine = world.hooks(actor="", principal=owner)
    assert [one.about.name for one in await mine.hooks()] == ["acme"]
    for act in (mine.hook, mine.remove_hook, mine.rotate_hook, mine.deliveries, mine.enable_hook, mine.ping_hook):
        with pytest.raises(NotFound):
            await act("other")
    with pytest.raises(Forbidden):
        await mine.add_hook(world.receiver.url())
    with pytest.raises(NotFound):
        await mine.add_hook(world.receiver.url(), account="Other")
    assert (await mine.add_hook(world.receiver.url(), account="Acme", name="second")).about.account == account


async def test_a_storm_comes_first(world: World, account: str) -> None:
    await world.add()
    await device(world, account)
    world.senders._calm = lambda: False
    await world.send()
    assert world.receiver.got == [] and (await world.messages())[0][1] == MessageState.QUEUED.value
