"""A sender of webhooks that is killed at any step: nothing is lost, and each subject keeps its order."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hook_receiver import receiving

from provisioner.fleet.fleet import Fleet
from provisioner.hooks.hooks import Hooks
from provisioner.model import Mac
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.secretbox import SecretBox

NOW = 1_800_000_000.0
MAC = Mac("0004f2aabb01")
STEPS = {"claiming": 1, "before": 1, "after": 2, "logged": 2, "settling": 2, "settled": 1}
"""Where the sender dies, and how often the first message has come in the end."""

_VICTIM = """
import asyncio, os, sys
from pathlib import Path
from provisioner.hooks.post import HookPost
from provisioner.hooks.senders import HookSenders
from provisioner.hooks.wire import Wire
from provisioner.settings import Settings
from provisioner.store import hooks, outbox as rows
from provisioner.store.database import Store, key_path
from provisioner.store.secretbox import SecretBox

place, now, pairs = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]

def dying(step, here, function, before=False):
    async def wrapped(*given, **more):
        if before and here == step:
            os._exit(9)
        found = await function(*given, **more)
        if not before and here == step:
            os._exit(9)
        return found
    return wrapped

async def turn(data, step, at):
    rows.claim = dying(step, "claiming", rows.claim)
    rows.settle = dying(step, "settling", rows.settle)
    settings = Settings(data=data, webhook_allow=("127.0.0.0/8",), webhook_timeout=5.0)
    async with Store(f"sqlite+aiosqlite:///{data}/provisioner.db", SecretBox.load(key_path(place)), data) as store:
        wire = Wire(settings)
        wire.post = dying(step, "after", dying(step, "before", wire.post, True))
        post = HookPost(store, settings, wire, lambda: at)
        post._note = dying(step, "logged", post._note)
        senders = HookSenders(store, settings, post, lambda *_: None, clock=lambda: at)
        [one] = await hooks_of(store)
        lane = senders._lane(one.id)
        lane._settle = dying(step, "settled", lane._settle)
        senders._lanes[one.id] = [lane]
        await senders.drain(one.id)

async def hooks_of(store):
    async with store.reading() as connection:
        return await hooks.list_hooks(connection)

def child(data, step, at):
    if (pid := os.fork()) == 0:
        asyncio.run(turn(data, step, at))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

for step in pairs:
    assert child(place / step, step, now) == 9, step
    assert child(place / step, "", now + 60) == 0, step
"""


async def prepare(data: Path, box: SecretBox, url: str) -> None:
    """Two changes of one device that are to be told."""
    settings = Settings(data=data, webhook_allow=("127.0.0.0/8",))
    async with Store(f"sqlite+aiosqlite:///{data}/provisioner.db", box, data) as store:
        fleet = Fleet(store, {}, actor="ann", clock=lambda: NOW)
        account = (await fleet.add_account("Acme")).id
        await Hooks(store, {}, settings, clock=lambda: NOW).add_hook(url, account=account)
        async with store.changing("ann", NOW) as change:
            change.audit("device_added", mac=MAC, account=account)
        async with store.changing("ann", NOW) as change:
            change.audit("line_bound", mac=MAC, account=account)


@pytest.mark.asyncio
async def test_a_sender_that_is_killed_at_any_step_loses_nothing(
    sqlite_template: Path, box: SecretBox, tmp_path: Path
) -> None:
    async with receiving() as receiver:
        for step in STEPS:
            (tmp_path / step).mkdir()
            shutil.copy(sqlite_template, tmp_path / step)
            await prepare(tmp_path / step, box, receiver.url(f"/{step}"))
        run = [sys.executable, "-W", "error", "-c", _VICTIM, str(tmp_path), str(NOW), *STEPS]
        done = await asyncio.to_thread(subprocess.run, run, check=False, timeout=90, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        for step, copies in STEPS.items():
            came = [one.json["type"] for one in receiver.got if one.path == f"/{step}"]
            assert came == ["device.expected"] * copies + ["binding.created"], step
            assert len({one.headers["webhook-id"] for one in receiver.got if one.path == f"/{step}"}) == 2
