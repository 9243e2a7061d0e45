"""Alarms by SNMP: each is told once it is durable, again until an inform is confirmed, and net-snmp reads them."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from snmp_lab import free_port

from provisioner.errors import Unusable
from provisioner.outbox_states import MessageState
from provisioner.store import outbox
from provisioner.switches.agent import AgentFailed
from provisioner.switches.engine import close_shared
from provisioner.switches.switches import Switches
from provisioner.switches.trap_words import receiver
from provisioner.switches.traps import TrapSender, credential_of, objections, send_test

AUTH_KEY, PRIVACY_KEY = "trap-auth-key", "trap-privacy-key"
MIB = Path(__file__).resolve().parents[2] / "docs" / "PROVISIONER-MIB.txt"


@contextmanager
def snmptrapd(place: Path, port: int) -> Iterator[Callable[[], str]]:
    """net-snmp's receiver, with our MIB loaded; what it has printed."""
    program = shutil.which("snmptrapd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert program, "apt-get install snmptrapd"
    place.mkdir(exist_ok=True)
    config, log = place / "snmptrapd.conf", place / "traps.log"
    config.write_text(
        f'createUser -e 0x8000000001020304 provisioner SHA-256 "{AUTH_KEY}" AES "{PRIVACY_KEY}"\n'
        f'createUser provisioner SHA-256 "{AUTH_KEY}" AES "{PRIVACY_KEY}"\n'
        "authUser log provisioner priv\nauthCommunity log noc-reads\n"
    )
    command = [program, "-f", "-Lo", "-C", "-c", str(config), "-m", "+PROVISIONER-MIB", "-M", f"+{MIB.parent}"]
    command += ["-OQ", f"udp:127.0.0.1:{port}"]
    with log.open("wb") as told:
        environment = {**os.environ, "SNMP_PERSISTENT_DIR": str(place)}
        process = subprocess.Popen(command, stdout=told, stderr=told, cwd=place, env=environment)
    try:
        _bound(port, process, log)
        yield log.read_text
    finally:
        process.terminate()
        process.wait(5)


def _bound(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """It is there when nobody else can have its port."""
    for _ in range(200):
        assert process.poll() is None, log.read_text()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                return
        time.sleep(0.05)
    raise AssertionError("snmptrapd did not start")


def sender(desk: Switches, *receivers: str, **more: Any) -> TrapSender:
    data = desk._settings.data
    for name, text in (("trap.community", "noc-reads"), ("trap.keys", f"{AUTH_KEY}\n{PRIVACY_KEY}")):
        (data / name).write_text(text)
        (data / name).chmod(0o600)
    settings = dataclasses.replace(desk._settings, trap_receivers=receivers, outbox_retry_first=1.0, **more)
    return TrapSender(desk._store, settings, lambda _metric, _label: None)


async def alarm(desk: Switches, **details: str) -> None:
    async with desk._store.changing("ann", time.time()) as change:
        change.audit("code_locked", mac="0004f2aabbcc", severity="alarm", **details)
        change.audit("code_issued", mac="0004f2aabbcc")


async def states(desk: Switches) -> list[str]:
    async with desk._store.reading() as connection:
        return [one.state.value for one in await outbox.listed(connection) if one.kind == "trap.alarm"]


async def seen(log: Callable[[], str], *words: str) -> str:
    for _ in range(100):
        if all(word in (text := log()) for word in words):
            return text
        await asyncio.sleep(0.05)
    raise AssertionError(log())


@pytest.mark.parametrize("how", ["trap", "inform"])
@pytest.mark.asyncio
async def test_an_alarm_is_read_in_the_words_of_the_mib(desk: Switches, tmp_path: Path, how: str) -> None:
    port = free_port()
    with snmptrapd(tmp_path / "noc", port) as log:
        one = sender(desk, f"{how}://127.0.0.1:{port}")
        assert await one.turn() == 0, "what was before nobody asked for"
        await alarm(desk, cause="7 wrong phones", account="a1")
        assert await one.turn() == 1
        text = await seen(log, "provisionerAlarm", "code_locked", "0004f2aabbcc", "7 wrong phones")
        assert await one.turn() == 0
    assert "provisionerAlarmText" in text
    assert "code_issued" not in text, "no alarm"
    assert await states(desk) == [MessageState.SENT.value]
    await one.stop()


@pytest.mark.asyncio
async def test_an_inform_that_nobody_confirms_is_sent_again(desk: Switches, tmp_path: Path) -> None:
    port = free_port()
    clock = [time.time()]
    one = sender(desk, f"inform://127.0.0.1:{port}")
    one._clock = one._outbox._clock = lambda: clock[0]
    await one.turn()
    await alarm(desk, cause="nobody is there")
    assert await one.turn() == 1
    assert await states(desk) == [MessageState.QUEUED.value]
    with snmptrapd(tmp_path / "noc", port) as log:
        clock[0] += 60.0
        assert await one.turn() == 1
        await seen(log, "nobody is there")
    assert await states(desk) == [MessageState.SENT.value]
    await one.stop()


@pytest.mark.asyncio
async def test_a_receiver_that_is_away_holds_no_other_up(desk: Switches, tmp_path: Path) -> None:
    port = free_port()
    with snmptrapd(tmp_path / "noc", port) as log:
        one = sender(desk, f"inform://127.0.0.1:{free_port()}", f"inform://127.0.0.1:{port}")
        await one.turn()
        await alarm(desk, cause="both are told")
        await one.turn()
        await seen(log, "both are told")
    assert sorted(await states(desk)) == [MessageState.QUEUED.value, MessageState.SENT.value]
    await one.stop()


@pytest.mark.asyncio
async def test_a_receiver_whose_keys_are_missing_holds_no_other_up_and_is_told_once_they_are_there(
    desk: Switches, tmp_path: Path
) -> None:
    port, clock = free_port(), [time.time()]
    with snmptrapd(tmp_path / "noc", port) as log:
        one = sender(desk, f"inform://127.0.0.1:{port}", "nonsense", f"trap://127.0.0.1:{port}")
        one._clock = one._outbox._clock = lambda: clock[0]
        keys = one._settings.data / "trap.keys"
        text = keys.read_text()
        keys.unlink()
        wrong = objections(one._settings)
        assert len(wrong) == 2 and "trap.keys is missing: the keys of informs" in wrong[0] and "nonsense" in wrong[1]
        await one.turn()
        await alarm(desk, cause="by the plain one alone")
        await one.turn()
        await seen(log, "by the plain one alone")
        assert sorted(await states(desk)) == [MessageState.QUEUED.value, MessageState.SENT.value]
        keys.write_text(text)
        keys.chmod(0o600)
        clock[0] += 60.0
        await one.turn()
    assert await states(desk) == [MessageState.SENT.value] * 2
    await one.stop()


@pytest.mark.asyncio
async def test_a_test_arrives_and_says_that_it_is_one(desk: Switches, tmp_path: Path) -> None:
    port = free_port()
    settings = sender(desk)._settings
    with snmptrapd(tmp_path / "noc", port) as log:
        for how in ("inform", "trap"):
            await send_test(settings, receiver(f"{how}://127.0.0.1:{port}"), time.time())
        text = await seen(log, "provisionerAlarm", "a test of this server's alarms", "info")
    assert "code_locked" not in text
    with pytest.raises(AgentFailed, match="no receiver of informs is there"):
        await send_test(settings, receiver(f"inform://127.0.0.1:{free_port()}"), time.time())
    await close_shared()


@pytest.mark.asyncio
async def test_what_is_missing_is_named(desk: Switches) -> None:
    one = sender(desk)
    settings = one._settings
    with pytest.raises(Unusable, match="must hold 1 lines"):
        credential_of(dataclasses.replace(settings, trap_privacy="none"), receiver("inform://noc"))
    with pytest.raises(Unusable, match=r"trap\.auth, trap\.privacy"):
        credential_of(dataclasses.replace(settings, trap_auth="rot13"), receiver("inform://noc"))
    (settings.data / settings.trap_community).unlink()
    with pytest.raises(Unusable, match="the community of traps"):
        credential_of(settings, receiver("trap://noc"))
