"""Wrong codes are counted where they come from, for ever and ever: over restarts, processes and cancelled calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from activation_office import DESK, FOREIGN, HALL, Office, attempt, wrong
from sqlalchemy import text

from ivr.adapters.conversation import Conversation
from ivr.flow import Caller, Digits
from provisioner.activation_verdict import Outcome, Redemption
from provisioner.ivr_desk import IvrDesk
from provisioner.model import Event, Mac
from provisioner.settings import Settings
from provisioner.store import migrations
from provisioner.store.database import Store, key_path
from provisioner.store.secretbox import SecretBox

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def office(store: Store, drivers: Mapping[str, Any], tmp_path: Path) -> Office:
    return await Office.opened(store, drivers, tmp_path)


async def guesses(office: Office, code: str, count: int, mac: Mac = DESK, **given: Any) -> list[Redemption]:
    return [await office.key_in(wrong(code, number), mac, **given) for number in range(count)]


async def budgets(store: Store) -> dict[str, float]:
    async with store.reading() as connection:
        rows = await connection.execute(text("SELECT key, turn FROM activation_budget"))
        return {row.key: row.turn for row in rows if row.turn > 0}


async def test_five_wrong_ones_lock_the_device_even_over_a_restart(office: Office, store: Store) -> None:
    code = await office.issue()
    assert [one.outcome for one in await guesses(office, code, 5)] == [Outcome.WRONG] * 5
    locked = await office.key_in(code)
    assert (locked.outcome, locked.retry_after) == (Outcome.LOCKED, 900)
    assert (await office.key_in(code, activation=office.another())).outcome is Outcome.LOCKED
    [spent] = await office.fleet.events(kind="code_budget_spent")
    assert (spent.mac, spent.details["budget"], spent.severity) == (DESK, "device", "warning")
    put_off = await office.fleet.events(kind="code_put_off")
    assert [one.details["budget"] for one in put_off] == ["device", "device"], "each process tells it once a minute"
    office.clock.now += 899
    assert (await office.key_in(code)).outcome is Outcome.LOCKED
    office.clock.now += 1.1
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def test_each_lock_is_twice_as_long_and_success_wipes_the_slate(office: Office, store: Store) -> None:
    code = await office.issue()
    await guesses(office, code, 5)
    office.clock.now += 900
    [one] = await guesses(office, code, 1)
    assert one.outcome is Outcome.WRONG
    assert (await office.key_in(code)).retry_after == 1800
    office.clock.now += 1800
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED
    assert [key for key in await budgets(store) if key.startswith("device/")] == []
    await guesses(office, code, 5)
    assert (await office.key_in(code)).retry_after == 900


async def test_a_typo_is_no_guess(office: Office, store: Store) -> None:
    code = await office.issue()
    for digit in range(9):
        mistyped = code[:-1] + str((int(code[-1]) + 1 + digit) % 10)
        assert (await office.key_in(mistyped)).outcome is Outcome.MISTYPED
    for text_ in ("", "12", "abc", "9" * 4000, code + "1"):
        assert (await office.key_in(text_)).outcome is Outcome.MISTYPED
    assert await budgets(store) == {}
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def test_slips_of_a_call_are_told_once_a_minute_and_phone(office: Office, store: Store) -> None:
    """Through the conversation that every adapter has: it notices them by itself."""
    told: list[Event] = []
    desk = IvrDesk(office.activation, store, office.settings, told.append, office.clock)
    code = await office.issue()

    async def slips(mac: Mac) -> None:
        call = Conversation(desk, Caller(mac, "192.0.2.7", "twilio", authenticated=True), office.clock)
        await call.begin()
        for keys in (code[:5], code[:-1] + str((int(code[-1]) + 1) % 10)):
            await call.tell(Digits(f"{keys}#"))
        call.end()

    await slips(DESK)
    await slips(DESK)
    await slips(HALL)
    office.clock.now += 61
    await slips(DESK)
    found = [one for one in told if one.kind == "code_mistyped"]
    assert [(one.mac, one.details.get("repeated", "")) for one in found] == [(DESK, ""), (HALL, ""), (DESK, "3")]
    assert found[0].details == {
        "attempt": "1", "source": "192.0.2.7", "channel": "twilio", "proven": "yes"
    }  # fmt: skip
    assert [one.details["cause"] for one in told if one.kind == "ivr_prompt"].count("mistyped") == 8
    assert code[:5] not in repr(told) and await budgets(store) == {}


async def test_a_right_code_costs_nothing(office: Office, store: Store) -> None:
    await office.key_in(await office.issue())
    assert await budgets(store) == {}


async def test_a_call_that_ends_before_its_turn_costs_nothing(office: Office, store: Store) -> None:
    code = await office.issue()
    first = asyncio.create_task(office.key_in(wrong(code), HALL, model="VVX 150", source=""))
    second = asyncio.create_task(office.key_in(wrong(code, 1), DESK, source=""))
    for _ in range(3):
        await asyncio.sleep(0)
    second.cancel()
    assert (await first).outcome is Outcome.WRONG
    with pytest.raises(asyncio.CancelledError):
        await second
    assert [key for key in await budgets(store) if key.endswith(DESK)] == []
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def test_who_hangs_up_while_the_code_is_looked_at_undoes_and_hides_nothing(office: Office, store: Store) -> None:
    """Wherever the call is cut off: the attempt counts once, and the database is free for the next."""
    code = await office.issue(life=7_776_000)
    for turns in range(1, 40, 3):
        before = (await budgets(store)).get(f"device/proven/{DESK}", 0.0)
        call = asyncio.create_task(office.activation.redeem(attempt(wrong(code, turns), source="")))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await office.activation.close()
        after = (await budgets(store)).get(f"device/proven/{DESK}", 0.0)
        assert after == office.clock() + 720 > before, turns
        office.clock.now += 86_400
    call = asyncio.create_task(office.activation.redeem(attempt(code)))
    for _ in range(5):
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await office.activation.close()
    [one] = await office.codes.codes()
    assert one.used_by == DESK


async def test_a_database_that_does_not_answer_costs_nothing(
    office: Office, store: Store, tmp_path: Path, monkeypatch: Any
) -> None:
    code = await office.issue()
    with monkeypatch.context() as broken:
        broken.setattr("provisioner.activation.activation.read_budgets", _fail)
        for number in range(7):
            heard = await office.key_in(wrong(code, number))
            assert heard.outcome is Outcome.BUSY and heard.retry_after > 0
    assert await budgets(store) == {}
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def _fail(*_: object) -> None:
    from provisioner.errors import StoreFailed

    raise StoreFailed("the database is locked")


async def test_who_claims_a_phone_locks_nobody_but_himself(office: Office) -> None:
    """A forged MAC, and the same address."""
    code = await office.issue()
    await guesses(office, code, 5, authenticated=False)
    assert (await office.key_in(code, authenticated=False)).outcome is Outcome.LOCKED
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def test_a_claim_is_held_to_a_rate_and_locks_nothing_that_doubles(office: Office) -> None:
    """Behind a PBX that hides its callers a claimed MAC is all that its owner has, too."""
    code = await office.issue()
    for _ in range(3):
        await guesses(office, code, 5, authenticated=False, source="")
        assert 0 < (await office.key_in(code, authenticated=False)).retry_after <= 720
        office.clock.now += 3600
    assert (await office.key_in(code, authenticated=False)).outcome is Outcome.ACCEPTED


async def test_a_device_that_is_locked_hears_so_though_its_address_waits_longer(
    store: Store, drivers: Mapping[str, Any], tmp_path: Path
) -> None:
    office = await Office.opened(store, drivers, tmp_path, activation_tries_source=1)
    code = await office.issue()
    await guesses(office, code, 5, source="")
    await guesses(office, code, 1, HALL, model="VVX 150")
    locked, busy = await office.key_in(code), await office.key_in(code, HALL, model="VVX 150")
    assert (locked.outcome, locked.retry_after) == (Outcome.LOCKED, 900)
    assert (busy.outcome, busy.retry_after) == (Outcome.BUSY, 3600)


async def test_an_address_and_its_neighbourhood_run_out(
    store: Store, drivers: Mapping[str, Any], tmp_path: Path
) -> None:
    office = await Office.opened(store, drivers, tmp_path, activation_tries_source=4, activation_tries_network=6)
    code = await office.issue()
    phones = [Mac(f"0004f2cc00{number:02x}") for number in range(10)]
    for number, mac in enumerate(phones[:4]):
        assert (await guesses(office, code, 1, mac, source="198.51.100.1"))[0].outcome is Outcome.WRONG, number
    assert (await guesses(office, code, 1, phones[4], source="198.51.100.1"))[0].outcome is Outcome.BUSY
    for mac in phones[4:6]:
        assert (await guesses(office, code, 1, mac, source="198.51.100.200"))[0].outcome is Outcome.WRONG
    assert (await guesses(office, code, 1, phones[6], source="198.51.100.33"))[0].outcome is Outcome.BUSY
    assert (await guesses(office, code, 1, phones[6], source="198.51.101.1"))[0].outcome is Outcome.WRONG
    kinds = {one.details["budget"] for one in await office.fleet.events(kind="code_budget_spent")}
    assert kinds == {"source", "network"}


async def test_an_account_runs_out_alone(store: Store, drivers: Mapping[str, Any], tmp_path: Path) -> None:
    office = await Office.opened(store, drivers, tmp_path, activation_tries_account=4)
    code = await office.issue()
    await guesses(office, code, 2, DESK, source="")
    await guesses(office, code, 2, HALL, model="VVX 150", source="")
    assert (await office.key_in(code, source="")).outcome is Outcome.BUSY
    assert (await guesses(office, code, 1, FOREIGN, source=""))[0].outcome is Outcome.WRONG
    [alarm] = await office.fleet.events(kind="code_budget_spent")
    assert (alarm.severity, alarm.details["budget"]) == ("alarm", "account")


async def test_the_total_slows_everybody_down_with_one_alarm_and_no_lost_attempt(
    store: Store, drivers: Mapping[str, Any], tmp_path: Path
) -> None:
    office = await Office.opened(store, drivers, tmp_path, activation_tries_total=12, activation_tries_unproven=6)
    code = await office.issue()
    phones = [Mac(f"0004f2cc00{number:02x}") for number in range(40)]
    heard = [(await guesses(office, code, 1, mac, source=""))[0] for mac in phones]
    assert [one.outcome for one in heard] == [Outcome.WRONG] * 12 + [Outcome.BUSY] * 28
    assert 0 < heard[-1].retry_after <= 300
    assert (await office.key_in(code, source="")).outcome is Outcome.BUSY, (
        "a right one waits as well: it may be a guess"
    )
    [alarm] = await office.fleet.events(kind="code_budget_spent")
    assert (alarm.severity, alarm.details["budget"]) == ("alarm", "total")
    office.clock.now += 300
    assert (await guesses(office, code, 1, phones[39], source=""))[0].outcome is Outcome.WRONG, (
        "one a slot gets through"
    )
    assert (await office.key_in(code, source="")).outcome is Outcome.BUSY
    office.clock.now += 300
    assert (await office.key_in(code, source="")).outcome is Outcome.ACCEPTED
    assert len(await office.fleet.events(kind="code_budget_spent")) == 1


async def test_strangers_never_use_up_what_proven_phones_have(
    store: Store, drivers: Mapping[str, Any], tmp_path: Path
) -> None:
    office = await Office.opened(store, drivers, tmp_path, activation_tries_total=12, activation_tries_unproven=4)
    code = await office.issue()
    phones = [Mac(f"0004f2cc00{number:02x}") for number in range(40)]
    heard = [(await guesses(office, code, 1, mac, source="", authenticated=False))[0] for mac in phones]
    assert [one.outcome for one in heard] == [Outcome.WRONG] * 4 + [Outcome.BUSY] * 36
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def test_many_at_once_over_many_processes_get_no_more_tries(
    store: Store, drivers: Mapping[str, Any], tmp_path: Path
) -> None:
    office = await Office.opened(store, drivers, tmp_path, activation_tries_total=10, activation_tries_unproven=5)
    code = await office.issue()
    url = store.url.render_as_string(hide_password=False)
    async with Store(url, SecretBox.load(key_path(tmp_path)), tmp_path / "uploads") as second:
        doors = [office.activation, office.another(), office.another(second)]
        entries = [
            doors[number % 3].redeem(attempt(wrong(code, number), Mac(f"0004f2cc{number:04x}"), source=""))
            for number in range(40)
        ]
        outcomes = [one.outcome for one in await asyncio.gather(*entries)]
    assert outcomes.count(Outcome.WRONG) == 10 and outcomes.count(Outcome.BUSY) == 30


async def test_an_administrator_can_forgive_a_phone(office: Office) -> None:
    code = await office.issue()
    await guesses(office, code, 5)
    assert (await office.key_in(code)).outcome is Outcome.LOCKED
    assert await office.codes.forgive(DESK) == 1
    assert await office.codes.forgive(DESK) == 0
    assert (await office.fleet.events(kind="code_forgiven"))[0].actor == "ann"
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def test_budgets_that_say_nothing_any_more_are_swept(office: Office, store: Store) -> None:
    code = await office.issue()
    await guesses(office, code, 5)
    await office.codes.sweep()
    assert len(await budgets(store)) == 5
    office.clock.now += 900 + 86_400 + 1
    await office.codes.sweep()
    assert set(await budgets(store)) <= {"total"}
    assert Settings().activation_lock_most == 86_400


async def test_a_table_that_was_emptied_fills_itself(office: Office, store: Store, url: str) -> None:
    code = await office.issue()
    async with store.writing() as connection:
        await connection.execute(text("DELETE FROM activation_budget"))
    assert (await guesses(office, code, 1))[0].outcome is Outcome.WRONG
    assert "total" in await budgets(store)
    assert migrations.current(url) == migrations.head()
