"""Sending: at least once, with waits that grow, given up in the end; who is killed at any step loses nothing."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from outbox_rows import NOW, SAID, message, payload, queue

from provisioner.errors import NotNow, NotWanted, ProvisionerError, RenderFailed, StoreFailed, Undeliverable
from provisioner.fleet.fleet import Fleet
from provisioner.outbox import Channel, Outbox, Told
from provisioner.outbox_desk import OutboxDesk
from provisioner.outbox_states import MessageState
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.outbox import Message
from provisioner.store.secretbox import SecretBox


@dataclass
class World:
    """Who takes messages: yes, unless an answer is left."""

    store: Store
    settings: Settings
    now: float = NOW
    answers: list[ProvisionerError] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    calm: bool = True

    def __post_init__(self) -> None:
        self.outbox = self.another()

    def another(self) -> Outbox:
        return Outbox(
            self.store, {"mail.test": Channel(self.deliver, 30.0)}, self.settings, self.count,
            calm=lambda: self.calm, clock=lambda: self.now, chance=lambda: 1.0,
        )  # fmt: skip

    def count(self, metric: str, label: str) -> None:
        self.counted[metric, label] += 1

    async def deliver(self, one: Message, said: Mapping[str, str]) -> Told:
        self.given.append(one.id)
        if self.answers:
            raise self.answers.pop(0)
        assert said == SAID
        return {"number": "1001", "mac": "0004f2aabb01"}


@pytest_asyncio.fixture
async def world(store: Store, settings: Settings) -> World:
    return World(store, type(settings)(data=settings.data, outbox_tries=3, outbox_retry_first=30, outbox_retry_most=60))


@pytest.mark.asyncio
async def test_a_message_is_handed_over_and_told_of(world: World, fleet: Fleet) -> None:
    ident = await queue(world.store, title="a test", about="abc")
    assert await world.outbox.send() == 1 and await world.outbox.send() == 0
    one = await message(world.store, ident)
    assert (one.state, one.attempts, one.ended) == (MessageState.SENT, 1, NOW)
    assert await payload(world.store, ident) is None
    [told] = await fleet.events(kind="message_sent")
    assert (told.actor, told.mac) == ("server", "0004f2aabb01")
    assert told.details == {
        "message": str(ident), "what": "mail.test", "title": "a test", "about": "abc", "attempts": "1",
        "number": "1001",
    }  # fmt: skip
    assert world.counted == {("outbox", "mail.test_send"): 1}


@pytest.mark.asyncio
async def test_one_that_is_not_taken_now_is_tried_again_until_it_is_given_up(world: World, fleet: Fleet) -> None:
    ident = await queue(world.store)
    world.answers = [NotNow("says 451 come later") for _ in range(9)]
    seen = []
    for _ in range(200):
        await world.outbox.send()
        one = await message(world.store, ident)
        if not seen or seen[-1] != (one.state.value, one.attempts):
            seen.append((one.state.value, one.attempts))
        world.now += 1
    assert seen == [("queued", 1), ("queued", 2), ("dead", 3)]
    assert (await message(world.store, ident)).last_error == "says 451 come later"
    [told] = await fleet.events(kind="message_failed")
    assert (told.severity, told.details["reason"]) == ("warning", "says 451 come later")
    assert await payload(world.store, ident) is not None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Undeliverable("says 550 no such user"), MessageState.DEAD),
        (RenderFailed("template mail/en/code.txt.j2: UndefinedError"), MessageState.QUEUED),
        (NotWanted("the code is used"), MessageState.DROPPED),
        (StoreFailed("the database failed: locked"), MessageState.QUEUED),
        (NotNow("says 450 busy"), MessageState.QUEUED),
    ],
)
async def test_each_answer_means_something_else(world: World, error: ProvisionerError, state: MessageState) -> None:
    ident, behind = await queue(world.store), await queue(world.store)
    world.answers = [error]
    assert await world.outbox.send() == 2, "the next one is not held up"
    one = await message(world.store, ident)
    assert (one.state, one.last_error) == (state, error.cause)
    assert (await message(world.store, behind)).state is MessageState.SENT
    assert (await payload(world.store, ident) is None) == (state is MessageState.DROPPED)


@pytest.mark.asyncio
async def test_a_broken_template_is_told_at_once_and_buries_no_mail(world: World, fleet: Fleet) -> None:
    idents = [await queue(world.store, title=f"a test {number}") for number in range(3)]
    world.answers = [RenderFailed("template mail/en/code.txt.j2: UndefinedError") for _ in idents]
    assert await world.outbox.send() == 3
    told = await fleet.events(kind="message_unmade")
    assert [(one.severity, one.details["title"], one.details["reason"]) for one in told] == [
        ("warning", "a test 0", "template mail/en/code.txt.j2: UndefinedError")
    ], "once for all that it befalls"
    assert {(await message(world.store, one)).state for one in idents} == {MessageState.QUEUED}
    world.now += 60  # somebody has mended it
    assert await world.outbox.send() == 3
    assert {(await message(world.store, one)).state for one in idents} == {MessageState.SENT}


@pytest.mark.asyncio
async def test_it_is_told_again_after_an_hour_and_given_up_like_any_other(world: World, fleet: Fleet) -> None:
    for at in (0, 3500, 3700):
        world.now = NOW + at
        await queue(world.store, at=world.now)
        world.answers = [RenderFailed("template x: KeyError") for _ in range(9)]
        await world.outbox.send()
    assert len(await fleet.events(kind="message_unmade")) == 2
    await queue(world.store, at=world.now, until=world.now + 500)
    world.answers = [RenderFailed("template x: KeyError") for _ in range(9)]
    for _ in range(3):
        world.now += 61
        await world.outbox.send()
    assert [one.details["reason"] for one in await fleet.events(kind="message_failed")].count("template x: KeyError")


@pytest.mark.asyncio
async def test_all_that_were_given_up_are_sent_again_by_one_deed(world: World, fleet: Fleet) -> None:
    first = await queue(world.store)
    gone, second = await queue(world.store, until=NOW + 5), await queue(world.store)
    world.answers = [Undeliverable("says 550 no") for _ in range(3)]
    assert await world.outbox.send() == 3
    desk = OutboxDesk(world.store, {}, actor="ann", clock=lambda: NOW + 10)
    assert await desk.replay_all("mail.other") == 0 and await fleet.events(kind="message_replayed") == []
    assert await desk.replay_all("mail.test") == 2, "what is over is left"
    [told] = await fleet.events(kind="message_replayed")
    assert told.details == {"what": "mail.test", "messages": "2"} and told.actor == "ann"
    world.now += 10
    assert await world.outbox.send() == 2 and world.given[-2:] == [first, second]
    assert (await message(world.store, gone)).state is MessageState.DEAD


@pytest.mark.asyncio
async def test_when_nobody_is_there_all_wait_longer_and_longer(world: World) -> None:
    for _ in range(3):
        await queue(world.store)
    world.answers = [NotNow("no answer", everybody=True) for _ in range(3)]
    tried: list[float] = []
    for _ in range(60):
        before = len(world.given)
        await world.outbox.send()
        tried += [world.now - NOW] if len(world.given) > before else []
        world.now += 1
    assert tried[:4] == [0, 5, 15, 35], "one attempt finds out for all; it rests 5, 10 and 20 s"
    assert len(world.given) == 6


@pytest.mark.asyncio
async def test_nothing_leaves_in_a_storm_and_a_stop_ends_the_batch(world: World) -> None:
    for _ in range(3):
        await queue(world.store)
    world.calm = False
    assert await world.outbox.send() == 0 and world.given == []
    world.calm = True
    world.outbox.stop()
    assert await world.outbox.send() == 0
    assert await world.another().send() == 3


@pytest.mark.asyncio
async def test_a_clock_that_is_set_back_holds_nothing_up_for_long(world: World) -> None:
    await queue(world.store, at=NOW - 50_000, until=NOW + 1000)
    world.answers = [NotNow("no answer", everybody=True)]
    await world.outbox.send()
    await queue(world.store, at=NOW - 50_000, until=NOW + 1000)
    world.now -= 40_000
    assert await world.outbox.send() == 1


@pytest.mark.asyncio
async def test_one_that_kills_its_sender_each_time_is_given_up(world: World) -> None:
    ident = await queue(world.store, until=NOW + 9000)
    for _ in range(3):
        world.answers = [ValueError("a fault of the program")]  # type: ignore[list-item]  # as a fault would come
        with pytest.raises(ValueError, match="a fault"):
            await world.outbox.send()
        world.now += 61
    await world.outbox.send()
    one = await message(world.store, ident)
    assert (one.state, one.last_error) == (MessageState.DEAD, "no attempt came to its end")
    assert len(world.given) == 3


@pytest.mark.asyncio
async def test_two_senders_share_the_work(world: World) -> None:
    idents = [await queue(world.store) for _ in range(12)]
    await asyncio.gather(world.outbox.send(), world.another().send())
    assert sorted(world.given) == idents


# --- killed --------------------------------------------------------------------------------------------

STEPS = {"claiming": 1, "before": 1, "after": 2, "settling": 2, "settled": 1}
"""Where the sender dies, and how often the other side has the message in the end."""

_VICTIM = """
import asyncio, os, sys
from pathlib import Path
from provisioner.outbox import Channel, Outbox
from provisioner.settings import Settings
from provisioner.store import outbox as rows
from provisioner.store.database import Store, key_path
from provisioner.store.secretbox import SecretBox

place, now = Path(sys.argv[1]), float(sys.argv[2])
claim, settle = rows.claim, rows.settle

async def turn(data, step, at):
    def die(here):
        if here == step:
            os._exit(9)

    async def deliver(message, said):
        die("before")
        with (data / "mailbox").open("a") as file:
            file.write(f"{message.id} {said['code']}\\n")
        die("after")
        return {}

    async def claiming(*given):
        found = await claim(*given)
        die("claiming")
        return found

    async def settling(*given):
        done = await settle(*given)
        die("settling")
        return done

    rows.claim, rows.settle = claiming, settling
    async with Store(f"sqlite+aiosqlite:///{data}/provisioner.db", SecretBox.load(key_path(place)), data) as store:
        channels = {"mail.test": Channel(deliver, 30.0)}
        await Outbox(store, channels, Settings(data=data), lambda *_: None, clock=lambda: at).send()
    die("settled")

def child(data, step, at):
    if (pid := os.fork()) == 0:
        asyncio.run(turn(data, step, at))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

for step in sys.argv[3:]:
    data = place / step
    assert child(data, step, now) == 9, step
    assert child(data, "", now + 70) == 0, step
"""


@pytest.mark.asyncio
async def test_a_sender_that_is_killed_at_any_step_loses_nothing(
    sqlite_template: Path, box: SecretBox, tmp_path: Path
) -> None:
    idents = {}
    for step in STEPS:
        (tmp_path / step).mkdir()
        path = shutil.copy(sqlite_template, tmp_path / step)
        async with Store(f"sqlite+aiosqlite:///{path}", box, tmp_path / step) as store:
            idents[step] = await queue(store)
    run = [sys.executable, "-W", "error", "-c", _VICTIM, str(tmp_path), str(NOW), *STEPS]
    done = await asyncio.to_thread(subprocess.run, run, check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for step, copies in STEPS.items():
        assert (tmp_path / step / "mailbox").read_text() == f"{idents[step]} {SAID['code']}\n" * copies, step
        async with Store(f"sqlite+aiosqlite:///{tmp_path / step}/provisioner.db", box, tmp_path / step) as store:
            assert (await message(store, idents[step])).state is MessageState.SENT
