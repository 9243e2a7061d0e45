"""The power of a phone: taken only where all is certain, and back in every case, also when its taker is killed."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cabinet import PHONE, Cabinet
from snmp_lab import READ, WRITE, RealSwitch, real
from sqlalchemy import delete, update

from provisioner.cycle_states import CycleState
from provisioner.errors import Conflict, StoreFailed
from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac
from provisioner.store import power_cycles as rows
from provisioner.store import schema
from provisioner.store.journal import list_events
from provisioner.store.power_cycles import PowerCycle
from provisioner.store.switches import Switch
from provisioner.switches import cycler as cycling
from provisioner.switches import oids
from provisioner.switches.credentials import Community
from provisioner.switches.cycler import Cycler
from provisioner.switches.owners import is_dead, myself
from provisioner.switches.switches import Switches

MAC = Mac(PHONE)
ADMIN, OPER = (*oids.POE_ADMIN, 1, 7), (*oids.IF_OPER, 10107)


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[RealSwitch]:
    """snmpd with a switch whose port 7 loses its link when it loses its power."""
    with real(tmp_path / "agent", Cabinet(crowd=3, others=())) as one:
        yield one


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycling, "_LOOK", 0.05)
    monkeypatch.setattr(cycling, "_PAUSE", 0.05)
    monkeypatch.setattr(cycling, "_BACK", 1.0)


def off_within(switch: RealSwitch, wanted: str = "2") -> None:
    """Wait until the port is off, or what is wanted."""
    until = time.monotonic() + 15.0
    while switch.value(ADMIN) != wanted:
        assert time.monotonic() < until, f"it did not become {wanted}"
        time.sleep(0.05)


async def known(desk: Switches, switch: RealSwitch, **more: Any) -> Switch:
    """At the phone's site, with both credentials, and PoE port 7 confirmed."""
    given = {"read": Community(READ), "write": Community(WRITE), **more}
    made = await desk.add_switch("sw1", account="Acme", site="HQ", address="127.0.0.1", port=switch.port, **given)
    return await desk.confirm_port(made.id, 10107, "1.7")


def cycler_of(desk: Switches, **settings: Any) -> Cycler:
    return Cycler(desk._store, dataclasses.replace(desk._settings, **settings))


async def cycled(desk: Switches, seconds: float = 3.0, **settings: Any) -> PowerCycle:
    cycler = cycler_of(desk, **settings)
    asked = await desk.power_cycle(MAC, seconds=seconds, owner=cycler.owner)
    done = await cycler.run(asked.id)
    assert done is not None
    return done


async def kinds(desk: Switches) -> list[tuple[str, str]]:
    async with desk._store.reading() as connection:
        found = await list_events(connection, limit=50, mac=MAC)
    return [(one.kind, one.severity) for one in found if one.kind.startswith("power")]


@pytest.mark.asyncio
async def test_power_goes_the_link_goes_and_both_come_back(desk: Switches, switch: RealSwitch) -> None:
    await known(desk, switch)
    began = time.monotonic()
    done = await cycled(desk)
    assert (done.state, done.port, done.poe) == (CycleState.DONE, "Gi1/0/7", "1.7")
    assert "delivers power" in done.result
    assert time.monotonic() - began >= 3.0
    assert switch.said["log"] == [["7", "2"], ["7", "1"]]
    assert (switch.value(ADMIN), switch.value(OPER)) == ("1", "1")
    assert await kinds(desk) == [("power_asked", "info"), ("power_cut", "warning"), ("power_restored", "info")]
    with pytest.raises(Conflict, match="has not ended"):
        await desk.power_cycle(MAC)
        await desk.power_cycle(MAC)


@pytest.mark.slow  # the link is watched for two seconds
@pytest.mark.asyncio
async def test_a_link_that_stays_up_is_another_port_so_power_is_back_at_once(
    desk: Switches, switch: RealSwitch
) -> None:
    await known(desk, switch)
    switch.mood(link_stays=True)
    done = await cycled(desk, seconds=60.0, switch_dark=2.0)
    assert done.state is CycleState.FAILED
    assert "stayed up for 2 s after PoE port 1.7 was off" in done.result
    assert switch.value(ADMIN) == "1"
    assert ("power_failed", "warning") in await kinds(desk)


@pytest.mark.asyncio
async def test_a_switch_that_does_not_obey_is_found_out(desk: Switches, switch: RealSwitch) -> None:
    await known(desk, switch)
    switch.mood(deaf=True)
    done = await cycled(desk)
    assert (done.state, switch.value(ADMIN)) == (CycleState.FAILED, "1")
    assert "did not make it" in done.result


@pytest.mark.asyncio
async def test_what_is_in_the_way_switches_nothing_off(desk: Switches, switch: RealSwitch) -> None:
    await known(desk, switch)
    for oid, spoilt, good, why in (
        ((*oids.POE_DETECTION, 1, 7), 2, 3, "delivers no power"),
        (OPER, 2, 1, "not up"),
        ((*oids.IF_TYPE, 10107), 161, 6, "bundle"),
    ):
        switch.put(oid, spoilt)
        done = await cycled(desk)
        switch.put(oid, good)
        assert done.state is CycleState.REFUSED
        assert why in done.result
    assert "log" not in switch.said
    assert await kinds(desk) == [("power_asked", "info"), ("power_refused", "warning")] * 3


@pytest.mark.asyncio
async def test_a_community_that_only_reads_switches_nothing_off(desk: Switches, switch: RealSwitch) -> None:
    await known(desk, switch, read=Community(WRITE), write=Community(READ))
    done = await cycled(desk)
    assert done.state is CycleState.REFUSED or switch.value(ADMIN) == "1"
    assert "log" not in switch.said
    assert "read-only" in done.result


@pytest.mark.slow  # two whole power cycles
@pytest.mark.asyncio
async def test_only_so_many_an_hour(desk: Switches, switch: RealSwitch) -> None:
    await known(desk, switch)
    assert (await cycled(desk, switch_cycles=1)).state is CycleState.DONE
    refused = await cycled(desk, switch_cycles=1)
    assert refused.state is CycleState.REFUSED
    assert "within an hour" in refused.result


@pytest.mark.asyncio
async def test_one_port_of_a_switch_after_the_other(desk: Switches, switch: RealSwitch) -> None:
    made = await known(desk, switch)
    async with desk._store.writing() as connection:
        other = await rows.ask(connection, rows.Wish(Mac("0004f2000001"), made.account, 60.0, "ann", 1.0))
        await rows.take(connection, other, "somebody", 1e12, 60.0)
        await rows.move(connection, other, rows.CycleStep.CUT, "somebody", {"switch": made.id, "lease": 1e12})
    waits = await cycled(desk)
    assert (waits.state, waits.owner) == (CycleState.ASKED, "")
    assert f"power cycle {other}" in waits.result
    with pytest.raises(Conflict, match="is off at this moment"):
        await desk.remove_switch("sw1")
    needed: list[dict[str, Any]] = [{"address": "203.0.113.9"}, {"port": 1161}, {"forget_write": True}]
    for one in needed:
        with pytest.raises(Conflict, match="is off at this moment"):
            await desk.change_switch("sw1", **one)
    assert (await desk.change_switch("sw1", name="sw one")).name == "sw one"
    tested = await desk.test_switch("sw one")
    assert tested.findings[-1].words == f"not tried: power cycle {other} has not ended"
    assert "log" not in switch.said


@pytest.mark.asyncio
async def test_power_that_does_not_come_back_is_an_alarm_and_is_tried_again(desk: Switches, switch: RealSwitch) -> None:
    await known(desk, switch)
    cycler = cycler_of(desk)
    asked = await desk.power_cycle(MAC, seconds=3.0, owner=cycler.owner)
    task = asyncio.create_task(cycler.run(asked.id))
    await asyncio.to_thread(off_within, switch)
    switch.mood(stays_off=True)
    with pytest.raises(Conflict, match="could not be switched on again"):
        await task
    assert (await desk.cycle(asked.id)).state is CycleState.RESTORING
    assert ("power_not_restored", "alarm") in await kinds(desk)
    switch.mood()
    later = Cycler(desk._store, desk._settings, clock=lambda: time.time() + 60.0)
    (done,) = await later.resume()
    assert (done.state, switch.value(ADMIN)) == (CycleState.DONE, "1")


@pytest.mark.parametrize("which", ["write", pytest.param("read", marks=pytest.mark.slow)])
@pytest.mark.asyncio
async def test_a_wrong_credential_is_corrected_while_the_port_is_off_and_power_comes_back(
    desk: Switches, switch: RealSwitch, which: str
) -> None:
    """As where somebody has changed the switch's own configuration within that minute."""
    made = await known(desk, switch)
    cycler = cycler_of(desk)
    asked = await desk.power_cycle(MAC, seconds=3.0, owner=cycler.owner)
    task = asyncio.create_task(cycler.run(asked.id))
    await asyncio.to_thread(off_within, switch)
    for name in ("read", "write"):
        await desk.change_switch("sw1", **{name: Community(f"wrong-{name}")})
    task.cancel()  # it holds the right ones, and brings power back by them
    await asyncio.gather(task, return_exceptions=True)
    await cycler.close()
    assert switch.value(ADMIN) == "1"
    switch.put(ADMIN, 2)
    async with desk._store.writing() as connection:  # as whoever was killed has left it
        left = {"state": CycleState.OFF.value, "owner": "", "lease": 0.0, "ended": None}
        await connection.execute(update(schema.power_cycle).where(schema.power_cycle.c.id == asked.id).values(left))
    right = {"read": Community(READ), "write": Community(WRITE)}
    await desk.change_switch("sw1", **{name: one for name, one in right.items() if name != which})
    with pytest.raises(Conflict, match="could not be switched on again"):
        await cycler_of(desk, switch_timeout=0.3, switch_retries=0).run(asked.id)
    assert switch.value(ADMIN) == "2" or which == "read"
    assert (await desk.cycle(asked.id)).state is CycleState.RESTORING
    await desk.change_switch(made.id, **{which: right[which]})
    later = Cycler(desk._store, desk._settings, clock=lambda: time.time() + 60.0)
    (done,) = await later.resume()
    assert (done.ended is not None, switch.value(ADMIN)) == (True, "1")


@pytest.mark.asyncio
async def test_whoever_is_told_to_leave_brings_power_back_first(desk: Switches, switch: RealSwitch) -> None:
    await known(desk, switch)
    server = cycler_of(desk)
    asked = await desk.power_cycle(MAC, seconds=60.0)
    await server.turn()
    await asyncio.to_thread(off_within, switch)
    await server.close()
    done = await desk.cycle(asked.id)
    assert (done.state, done.result, switch.value(ADMIN)) == (CycleState.FAILED, "it was interrupted", "1")


@pytest.mark.asyncio
async def test_power_comes_back_whatever_became_of_the_row_and_of_the_database(
    desk: Switches, switch: RealSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    await known(desk, switch)
    cycler = cycler_of(desk)
    asked = await desk.power_cycle(MAC, seconds=60.0, owner=cycler.owner)
    task = asyncio.create_task(cycler.run(asked.id))
    await asyncio.to_thread(off_within, switch)
    fleet = Fleet(desk._store, desk._drivers, actor="ann")
    await fleet.add_account("Other")
    with pytest.raises(Conflict, match=f"power cycle {asked.id} of .* has not ended"):
        await fleet.move_device(MAC, account="Other")
    async with desk._store.writing() as connection:
        await connection.execute(delete(schema.power_cycle))

    def away() -> Any:
        raise StoreFailed("the disk is full")

    task.cancel()
    monkeypatch.setattr(desk._store, "writing", away)
    monkeypatch.setattr(desk._store, "changing", lambda *_: away())
    with pytest.raises((StoreFailed, asyncio.CancelledError)):
        await task
    await cycler.close()
    assert switch.value(ADMIN) == "1"


@pytest.mark.asyncio
async def test_nothing_is_switched_off_by_an_owner_whose_time_is_over(desk: Switches, switch: RealSwitch) -> None:
    await known(desk, switch)
    ticks = iter([time.time()] * 3)
    late = Cycler(desk._store, desk._settings, clock=lambda: next(ticks, time.time() + 1e6))
    asked = await desk.power_cycle(MAC, seconds=60.0, owner=late.owner)
    done = await late.run(asked.id)
    assert done is not None
    assert (done.state, done.result) == (CycleState.FAILED, "somebody else has it meanwhile")
    assert ["7", "2"] not in switch.said["log"]


@pytest.mark.asyncio
async def test_what_was_restored_by_hand_is_not_tried_again_and_what_is_away_holds_up_nobody(
    desk: Switches, switch: RealSwitch
) -> None:
    made = await known(desk, switch)
    lost = []
    async with desk._store.writing() as connection:
        for there in ("gone", made.id):
            one = await rows.ask(connection, rows.Wish(MAC, made.account, 60.0, "ann", 1.0))
            await rows.take(connection, one, "somebody", 2.0, 1.0)
            values = {"switch": there, "off_at": 3.0, "lease": 4.0, "interface": 10107, "object": oids.dotted(ADMIN)}
            await rows.move(connection, one, rows.CycleStep.CUT, "somebody", values)
            lost.append(one)
    found = await cycler_of(desk).resume()
    assert [(one.id, one.ended is not None) for one in found] == [(lost[0], False), (lost[1], True)]
    done = await desk.restored_by_hand(lost[0])
    assert (done.state, done.ended is not None) == (CycleState.FAILED, True)
    assert ("power_restored_by_hand", "warning") in await kinds(desk)
    assert await cycler_of(desk).resume() == []
    for one in (lost[0], (await desk.power_cycle(MAC)).id):
        with pytest.raises(Conflict, match="waits for nobody"):
            await desk.restored_by_hand(one)


@pytest.mark.asyncio
async def test_however_many_wait_power_comes_back(desk: Switches, monkeypatch: pytest.MonkeyPatch) -> None:
    account = (await Fleet(desk._store, desk._drivers, actor="ann").accounts())[0].id
    monkeypatch.setattr(cycling, "_AT_ONCE", 1)
    async with desk._store.writing() as connection:
        for number in range(3):
            one = await rows.ask(connection, rows.Wish(Mac(f"0004f200000{number}"), account, 60.0, "ann", 1.0))
            if number == 2:
                await rows.take(connection, one, "somebody", 2.0, 1.0)
                await rows.move(connection, one, rows.CycleStep.CUT, "somebody", {"switch": "gone", "lease": 4.0})
    server = cycler_of(desk)
    assert await server.turn() == 2, "one wish, and the port that may be off"
    await server.close()


def begun(data: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(data, "power-cycle", PHONE, "--seconds", "60"), stdout=subprocess.DEVNULL)


# --- killed -----------------------------------------------------------------------------------------------------


def command(data: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "provisioner", "--data", str(data), "switch", *words, "--json"]


@pytest.mark.asyncio
async def test_killed_while_the_port_is_off_the_next_command_brings_it_back(
    desk: Switches, switch: RealSwitch, data: Path
) -> None:
    await known(desk, switch)
    taken = begun(data)
    await asyncio.to_thread(off_within, switch)
    os.kill(taken.pid, signal.SIGKILL)
    taken.wait()
    assert switch.value(ADMIN) == "2"
    done = await asyncio.to_thread(subprocess.run, command(data, "list"), capture_output=True, text=True, check=True)
    assert "was brought back" in done.stderr
    assert switch.value(ADMIN) == "1"
    (one,) = await desk.cycles(mac=MAC)
    assert one.state in (CycleState.DONE, CycleState.FAILED)


@pytest.mark.slow  # a program of its own
@pytest.mark.asyncio
async def test_terminated_it_brings_power_back_itself(desk: Switches, switch: RealSwitch, data: Path) -> None:
    await known(desk, switch)
    taken = begun(data)
    await asyncio.to_thread(off_within, switch)
    taken.terminate()
    await asyncio.to_thread(taken.wait, 15)
    assert switch.value(ADMIN) == "1"
    (one,) = await desk.cycles(mac=MAC)
    assert (one.state, one.result) == (CycleState.FAILED, "it was interrupted")


@pytest.mark.slow  # a program of its own
@pytest.mark.asyncio
async def test_killed_while_the_port_is_off_the_server_brings_it_back(
    desk: Switches, switch: RealSwitch, data: Path
) -> None:
    await known(desk, switch)
    taken = begun(data)
    await asyncio.to_thread(off_within, switch)
    os.kill(taken.pid, signal.SIGKILL)
    taken.wait()
    server = cycler_of(desk)
    assert await server.turn() == 1
    await asyncio.to_thread(off_within, switch, "1")
    await server.close()


def test_a_process_is_known_to_be_dead_only_when_it_is() -> None:
    mine = myself()
    assert not is_dead(mine)
    host, boot, space, number, began = mine.split("/")
    here = f"{host}/{boot}/{space}"
    assert is_dead(f"{here}/{number}/{int(began) + 1}"), "its number belongs to another one now"
    assert is_dead(f"{here}/4194304/1")
    assert not is_dead(f"elsewhere/{boot}/{space}/{number}/1"), "nobody here can know"
    assert not is_dead(f"{host}/other/{space}/4194304/1"), "another machine of the same name"
    assert not is_dead(f"{host}/{boot}/pid:[1]/4194304/1"), "another container of the same name"
    assert not is_dead("")
    assert not is_dead("server")
    json.dumps(mine)
