"""Rows of codes: one of fifty wins, digits go when they are used, a new master key takes codes along."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from activation_office import DESK, HALL, Office, wrong
from sqlalchemy import text

from provisioner.activation_verdict import Outcome
from provisioner.codes import CodeEvent, CodeState, sources
from provisioner.errors import Conflict, StoreFailed
from provisioner.model import Mac
from provisioner.store import codes
from provisioner.store.database import Store, key_path
from provisioner.store.rotation import Rotation
from provisioner.store.secretbox import SecretBox

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def office(store: Store, drivers: Mapping[str, Any], tmp_path: Path) -> Office:
    return await Office.opened(store, drivers, tmp_path)


async def rows(store: Store, query: str) -> list[Any]:
    async with store.reading() as connection:
        return list((await connection.execute(text(query))).all())


@pytest_asyncio.fixture
async def others(store: Store, tmp_path: Path) -> Any:
    """Four more processes on the same database."""
    async with contextlib.AsyncExitStack() as opened:
        url = store.url.render_as_string(hide_password=False)
        made = [Store(url, SecretBox.load(key_path(tmp_path)), tmp_path / "uploads") for _ in range(4)]
        for one in made:
            await opened.enter_async_context(one)
        yield made


async def test_of_fifty_statements_at_once_one_wins(office: Office, store: Store, others: list[Store]) -> None:
    await office.issue()
    [ident] = (await rows(store, "SELECT id FROM activation_code"))[0]
    turns = [asyncio.Semaphore(3) for _ in range(5)]

    async def redeem(number: int) -> bool:
        place = number % 5
        async with turns[place], [store, *others][place].writing() as connection:
            return await codes.redeem_code(connection, ident, Mac(f"0004f2cc{number:04x}"), office.clock())

    won = await asyncio.gather(*(redeem(number) for number in range(50)))
    assert won.count(True) == 1
    [(state, used_by)] = await rows(store, "SELECT state, used_by FROM activation_code")
    assert state == "used" and used_by == f"0004f2cc{won.index(True):04x}"


async def test_of_fifty_phones_with_one_code_one_gets_the_extension(
    office: Office, store: Store, others: list[Store]
) -> None:
    """All of them proven strangers of the same model, over five processes: code, device and binding agree."""
    code = await office.issue()
    doors = [office.activation, *(office.another(one) for one in others)]
    phones = [Mac(f"0004f2cc{number:04x}") for number in range(50)]
    for mac in phones:
        await office.seen(mac)
    heard = await asyncio.gather(
        *(office.key_in(code, mac, activation=doors[number % 5], source="") for number, mac in enumerate(phones))
    )
    outcomes = [one.outcome for one in heard]
    assert outcomes.count(Outcome.ACCEPTED) == 1
    assert set(outcomes) <= {Outcome.ACCEPTED, Outcome.USED}
    winner = phones[outcomes.index(Outcome.ACCEPTED)]
    assert await rows(store, "SELECT used_by FROM activation_code") == [(winner,)]
    assert await rows(store, "SELECT mac FROM binding WHERE until IS NULL") == [(winner,)]
    assert [mac for (mac,) in await rows(store, "SELECT mac FROM device")].count(winner) == 1
    assert len(await rows(store, "SELECT mac FROM device")) == 4


async def test_the_statement_takes_nothing_that_is_over_or_not_issued(office: Office, store: Store) -> None:
    for event in (CodeEvent.REVOKE, CodeEvent.LOCK):
        await office.issue()
        [(ident,)] = await rows(store, "SELECT id FROM activation_code WHERE state = 'issued'")
        async with store.writing() as connection:
            assert not await codes.redeem_code(connection, ident, DESK, office.clock() + 604_800)
            assert await codes.end_code(connection, ident, event, office.clock())
            assert not await codes.redeem_code(connection, ident, DESK, office.clock())
            if event is CodeEvent.LOCK:
                assert await codes.end_code(connection, ident, CodeEvent.REVOKE, office.clock())


async def test_an_extension_has_one_open_code(office: Office, store: Store) -> None:
    """By the database itself, whatever the program believes."""
    await office.issue()
    [(ident,)] = await rows(store, "SELECT id FROM activation_code")
    async with store.reading() as connection:
        [one] = await codes.list_codes(connection)
    with pytest.raises(Conflict):
        async with store.writing() as connection:
            sealed, finder = codes.sealed_for(store.box, "another", "123456789015")
            await codes.insert_code(connection, type(one)(**{**_values(one), "id": "another"}), sealed, finder)
    assert [row.id for row in await rows(store, "SELECT id FROM activation_code")] == [ident]


def _values(one: object) -> dict[str, Any]:
    return {name: getattr(one, name) for name in type(one).__dataclass_fields__}  # type: ignore[attr-defined]


@pytest.mark.parametrize("event", [CodeEvent.REDEEM, CodeEvent.REVOKE, CodeEvent.LOCK, CodeEvent.EXPIRE])
async def test_digits_are_erased_with_the_end(office: Office, store: Store, event: CodeEvent) -> None:
    code = await office.issue()
    [(ident, sealed, finder)] = await rows(store, "SELECT id, sealed, finder FROM activation_code")
    assert codes.opened(store.box, ident, bytes(sealed)) == code
    assert code not in finder and code.encode() not in bytes(sealed)
    async with store.writing() as connection:
        if event is CodeEvent.EXPIRE:
            assert len(await codes.expire_codes(connection, office.clock() + 604_800)) == 1
        elif event is CodeEvent.REDEEM:
            assert await codes.redeem_code(connection, ident, DESK, office.clock())
        elif event is CodeEvent.LOCK:
            finders = store.box.code_finders(code)
            locked = [await codes.note_misuse(connection, finders, 3, office.clock()) for _ in range(4)]
            assert locked == [False, False, True, False]
        else:
            assert await codes.end_code(connection, ident, event, office.clock())
    [(state, left, ended)] = await rows(store, "SELECT state, sealed, ended FROM activation_code")
    assert left is None and ended is not None and state != "issued"


async def test_sealed_digits_of_one_row_do_not_open_in_another(office: Office, store: Store) -> None:
    await office.issue("1001")
    await office.issue("1002")
    (first, sealed), (second, _) = await rows(store, "SELECT id, sealed FROM activation_code ORDER BY id")
    assert codes.opened(store.box, first, bytes(sealed))
    with pytest.raises(StoreFailed, match="moved here from another row"):
        codes.opened(store.box, second, bytes(sealed))


async def test_a_code_is_found_by_no_hash_but_its_own_keys(office: Office, store: Store) -> None:
    code = await office.issue()
    stranger = SecretBox([b"\x01" * 32])
    async with store.reading() as connection:
        assert await codes.find_code(connection, stranger.code_finders(code)) is None
        assert await codes.find_code(connection, store.box.code_finders(wrong(code))) is None
        found = await codes.find_code(connection, store.box.code_finders(code))
    assert found is not None and found.state is CodeState.ISSUED
    assert store.box.code_finders(code)[0].partition(":")[2] != store.box.finders(code)[0]


async def test_the_sources_of_an_event_are_all_that_its_statement_touches(office: Office, store: Store) -> None:
    """Every pair of state and event, against the row itself."""
    for event in set(CodeEvent) - {CodeEvent.REVEAL}:
        for state in CodeState:
            await office.issue("1002")
            async with store.writing() as connection:
                change = text("UPDATE activation_code SET state = :state WHERE state = 'issued'")
                await connection.execute(change, {"state": state.value})
                [ident] = (await connection.execute(text("SELECT id FROM activation_code"))).scalars().all()
                assert await codes.end_code(connection, ident, event, office.clock()) is (state in sources(event))
                await connection.execute(text("DELETE FROM activation_code"))


async def test_a_new_master_key_takes_open_codes_along(office: Office, store: Store, tmp_path: Path) -> None:
    """Issued before, read and redeemed after; the old key alone finds and opens nothing any more."""
    first, second, over = await office.issue("1001"), await office.issue("1002"), await office.issue("1003")
    await office.codes.revoke("1003")
    old = SecretBox([bytes.fromhex(key_path(tmp_path).read_text().strip())])
    told = await Rotation(store, "ann", settle=0.0).run()
    assert told.finished and told.unreadable == []
    assert len(key_path(tmp_path).read_text().split()) == 1
    assert (await office.codes.reveal("1001", account="Acme")).code == first
    for ident, sealed, finder in await rows(
        store, "SELECT id, sealed, finder FROM activation_code WHERE state = 'issued'"
    ):
        assert store.box.is_current(bytes(sealed))
        assert finder in store.box.code_finders(first) + store.box.code_finders(second)
        with pytest.raises(StoreFailed):
            codes.opened(old, ident, bytes(sealed))
    assert (await office.key_in(second)).outcome is Outcome.ACCEPTED
    assert (await office.key_in(over, HALL, model="VVX 150")).outcome is Outcome.WRONG


async def test_a_process_with_the_old_key_in_memory_redeems_through_a_rotation(
    office: Office, store: Store, tmp_path: Path
) -> None:
    url = store.url.render_as_string(hide_password=False)
    async with Store(url, SecretBox.load(key_path(tmp_path)), tmp_path / "uploads") as worker:
        code = await office.issue()
        assert (await Rotation(store, "ann", settle=0.0).run()).finished
        assert (await office.key_in(code, activation=office.another(worker))).outcome is Outcome.ACCEPTED


async def test_codes_that_are_over_are_forgotten_after_a_while(office: Office, store: Store) -> None:
    await office.issue("1001")
    await office.issue("1002")
    await office.codes.revoke("1002")
    office.clock.now += 604_800
    assert await office.codes.sweep() == 1
    assert await office.codes.sweep() == 0
    assert [one.kind for one in await office.fleet.events(kind="code_expired")] == ["code_expired"]
    assert await rows(store, "SELECT count(*) FROM activation_code") == [(2,)]
    office.clock.now += 90 * 86_400 + 1
    await office.codes.sweep()
    assert await rows(store, "SELECT count(*) FROM activation_code") == [(0,)]


async def test_who_goes_takes_its_codes_along(office: Office, store: Store) -> None:
    await office.issue("1001")
    await office.issue("1002", site="Madrid")
    [acme, _] = await office.fleet.accounts()
    await office.fleet.remove_extension("1001", account=acme.id)
    await office.fleet.remove_site("Madrid")
    assert await rows(store, "SELECT id FROM activation_code") == []
