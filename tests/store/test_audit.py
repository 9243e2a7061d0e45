"""The audit log in both databases: every change is in it, in one order, and whoever changes it is found out."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import delete, insert, select, text, update

from provisioner.audit_chain import Head, Row, link, sealed
from provisioner.audit_log import AuditLog, verify_file, verify_lines
from provisioner.errors import Forbidden, Invalid
from provisioner.fleet.fleet import Fleet
from provisioner.model import Event, Mac
from provisioner.rights import Holding, Principal, parts_of
from provisioner.roles import Role
from provisioner.store import audit, schema, schema_rights
from provisioner.store.audit import read_file, write_file
from provisioner.store.database import Store
from provisioner.store.journal import write_events
from provisioner.store.rotation import Rotation

_E = schema.event.c
MAC = Mac("0004f2aabbcc")


@pytest.fixture
def log(store: Store) -> AuditLog:
    return AuditLog(store, {})


@pytest_asyncio.fixture
async def written(store: Store, fleet: Fleet) -> AsyncIterator[Store]:
    """Ten changes of several kinds; a bind without an address for emergencies is two."""
    await fleet.add_account("Acme")
    await fleet.add_site("Hall", account="Acme")
    await fleet.add_user("Joe", account="Acme")
    await fleet.add_extension("201", account="Acme", user="Joe")
    await fleet.add_device(MAC, vendor="poly", model="VVX 411", account="Acme", site="Hall")
    await fleet.bind(MAC, 1, extension="201")
    await fleet.set_secret("201", secret="a-good-secret")
    await fleet.add_account("Brum")
    await fleet.rename_account("Brum", name="Bram")
    yield store


async def rows(store: Store) -> list[Row]:
    async with store.reading() as connection:
        return [row async for page in audit.pages(connection) for row in page]


@pytest.mark.asyncio
async def test_every_change_is_in_the_chain_with_whose_account_it_is(written: Store, log: AuditLog) -> None:
    told = await log.verify()
    assert told.good and told.rows == told.sealed == 10
    found = await rows(written)
    acme, bram = found[0].account, found[8].account
    assert [row.account for row in found] == [acme] * 8 + [bram] * 2
    assert acme and bram and acme != bram
    assert [row.seq for row in found] == list(range(1, 11))
    assert "a-good-secret" not in repr(found)


@pytest.mark.asyncio
async def test_changes_at_the_same_moment_make_one_chain(written: Store, fleet: Fleet, log: AuditLog) -> None:
    async def other() -> None:
        async with written.writing() as connection:
            await write_events(connection, [Event("mail_sent", 5.0, actor="server")] * 2, audit=True)

    await asyncio.gather(*(fleet.add_account(f"Account {number}") for number in range(8)), *(other() for _ in range(8)))
    told = await log.verify()
    assert told.good and told.rows == 34


@pytest.mark.asyncio
async def test_a_change_that_fails_leaves_no_gap(written: Store, fleet: Fleet, log: AuditLog) -> None:
    with pytest.raises(ZeroDivisionError):
        async with written.changing("ann", 5.0) as change:
            change.audit("account_added", account="x")
            raise ZeroDivisionError
    await fleet.add_account("Next")
    told = await log.verify()
    assert told.good and told.rows == 11


TAMPERED = {
    "edited": update(schema.event).where(_E.seq == 4).values(actor="eve"),
    "details": update(schema.event).where(_E.seq == 4).values(details="{}"),
    "of another account": update(schema.event).where(_E.seq == 4).values(account=""),
    "removed": delete(schema.event).where(_E.seq == 4),
    "first removed": delete(schema.event).where(_E.seq == 1),
    "cut off": delete(schema.event).where(_E.seq > 7),
    "all gone": delete(schema.event),
    "slipped in": insert(schema.event).values(
        at=1.0, kind="x", mac="", severity="info", actor="eve", audit=True, details="{}"
    ),
    "let go": update(schema.event).where(_E.seq == 4).values(seq=None, hash=None),
    "head set back": update(schema_rights.audit_head).values(seq=9),
    "head forged": update(schema_rights.audit_head).values(hash="0" * 64),
    "seal forged": update(schema_rights.audit_head).values(seal="0" * 64),
    "seal set back": update(schema_rights.audit_head).values(sealed_seq=3),
}


@pytest.mark.parametrize("how", TAMPERED)
@pytest.mark.asyncio
async def test_whatever_is_done_to_it_in_the_database_is_found(written: Store, log: AuditLog, how: str) -> None:
    async with written.writing() as connection:
        await connection.execute(TAMPERED[how])
    assert not (await log.verify()).good


@pytest.mark.asyncio
async def test_two_rows_that_changed_places_are_found(written: Store, log: AuditLog) -> None:
    async with written.writing() as connection:
        for before, after in ((3, -3), (4, 3), (-3, 4)):
            await connection.execute(update(schema.event).where(_E.seq == before).values(seq=after))
    told = await log.verify()
    assert told.faults[:2] == (
        "row 3 (extension_added) is not what was written, or not in its place",
        "row 4 (user_added) is not what was written, or not in its place",
    )


async def rewrite(store: Store, keep: int, key: bytes | None) -> None:
    """What somebody does who writes a whole chain anew, with the key or without."""
    async with store.writing() as connection:
        await connection.execute(delete(schema.event).where(_E.seq > keep))
        head = Head()
        for row in [row async for page in audit.pages(connection) for row in page]:
            fresh = replace(row, actor="nobody")
            head = Head(row.seq, link(head.hash, fresh))
            values = {"actor": "nobody", "hash": head.hash}
            await connection.execute(update(schema.event).where(_E.seq == row.seq).values(values))
        seal = {"sealed_seq": head.seq, "sealed_hash": head.hash, "seal": sealed(key or b"guess", head)}
        await connection.execute(update(schema_rights.audit_head).values(seq=head.seq, hash=head.hash, **seal))


@pytest.mark.parametrize("keep", [5, 10])
@pytest.mark.asyncio
async def test_a_chain_written_anew_lacks_the_seal(written: Store, log: AuditLog, keep: int) -> None:
    await rewrite(written, keep, None)
    assert any("this installation's key" in fault for fault in (await log.verify()).faults)


@pytest.mark.asyncio
async def test_an_older_state_of_the_whole_database_is_found_by_the_file(written: Store, log: AuditLog) -> None:
    """With the key at hand only what is kept elsewhere tells."""
    await rewrite(written, 7, written.box.derived(b"provisioner audit head")[0])
    told = await log.verify()
    assert told.faults == ("rows 8 to 10 are missing at the end: the file audit.head knows 10",)


@pytest.mark.asyncio
async def test_the_file_is_the_owners_and_a_forged_one_is_found(written: Store, log: AuditLog) -> None:
    path = written.uploads.with_name(audit.FILE)
    assert path.stat().st_mode & 0o777 == 0o600
    kept = max(map(json.loads, path.read_text().splitlines()), key=lambda one: one["seq"])
    assert kept["seq"] == 10
    for wrong in ('{"seq": 3}', "nonsense", json.dumps(kept | {"seq": 9}), json.dumps(kept | {"hash": "0"})):
        path.write_text(wrong)
        assert not (await log.verify()).good


@pytest.mark.asyncio
async def test_another_master_key_is_taken_up(written: Store, fleet: Fleet, log: AuditLog) -> None:
    await Rotation(written, "ann", settle=0.0).run()
    told = await log.verify()
    assert told.good and told.sealed == told.rows == 12


@pytest.mark.asyncio
async def test_an_export_proves_itself(written: Store, log: AuditLog, tmp_path: Path) -> None:
    lines = [line async for line in log.export()]
    path = tmp_path / "export.jsonl"
    path.write_text("\n".join(lines) + "\n")
    told, known = verify_file(path), await log.verify()
    assert told.good and (told.rows, told.hash) == (known.rows, known.hash)
    for wrong in (
        lines[:3] + lines[4:],
        lines[:-1],
        lines[:-2] + lines[-1:],
        [lines[0].replace("Acme", "Evil"), *lines[1:]],
    ):
        assert not verify_lines(wrong).good
    with pytest.raises(Invalid, match="line 2"):
        verify_lines([lines[0], "nonsense"])
    assert [json.loads(line)["seq"] async for line in log.export(after=8) if "seq" in json.loads(line)] == [9, 10]


@pytest.mark.asyncio
async def test_changes_go_on_while_it_is_checked_and_exported(written: Store, fleet: Fleet, log: AuditLog) -> None:
    async def change() -> None:
        for number in range(10):
            await fleet.add_account(f"Account {number}")

    async def check() -> None:
        for _ in range(5):
            assert (await log.verify()).faults == ()
            assert verify_lines([line async for line in log.export()]).faults == ()

    await asyncio.gather(change(), check())


@pytest.mark.asyncio
async def test_the_whole_log_is_for_who_reaches_everything(written: Store) -> None:
    who = Principal("ann", parts_of(Holding(Role.OWNER, "acme"), "ann"))
    with pytest.raises(Forbidden):
        await AuditLog(written, {}, principal=who).verify()
    with pytest.raises(Forbidden):
        [line async for line in AuditLog(written, {}, principal=who).export()]


@pytest.mark.asyncio
async def test_what_devices_do_is_in_no_chain(written: Store, log: AuditLog) -> None:
    async with written.writing() as connection:
        await write_events(connection, [Event("pin_set", 5.0, MAC, actor="server")])
        loose = (await connection.execute(select(_E.seq).where(_E.kind == "pin_set"))).scalar_one()
    assert loose is None
    assert (await log.verify()).good


@pytest.mark.asyncio
async def test_the_chain_costs_a_change_little(written: Store, fleet: Fleet) -> None:
    """Two short statements and a small file; the durable commit is what a change waits for."""
    began = time.perf_counter()
    for number in range(20):
        await fleet.add_account(f"Account {number}")
    assert (time.perf_counter() - began) / 20 < 0.25
    async with written.reading() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM audit_head"))).scalar_one() == 1


def test_the_kept_end_of_the_log_survives_a_write_that_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "audit.head"
    assert read_file(path) is None
    path.write_text('{"seq": 3, "hash": "old", "seal": "s"}\n')  # as it was written before
    assert read_file(path) == Head(3, "old", "s")
    for number in range(4, 9):
        write_file(path, Head(number, f"{number:064x}", "s" * 64))
        assert read_file(path) == Head(number, f"{number:064x}", "s" * 64)
    assert path.stat().st_size == 1024
    whole = path.read_bytes()
    for cut in range(0, 512, 37):  # the write of 9 goes to the half that 7 is in
        path.write_bytes(whole[:512] + b'{"seq": 9'.ljust(cut, b"\0") + whole[512 + max(cut, 9) :])
        assert read_file(path) == Head(8, f"{8:064x}", "s" * 64)
    path.write_bytes(b"\0" * 1024)
    with pytest.raises(ValueError, match="nothing that can be read"):
        read_file(path)
    write_file(tmp_path, Head(1, "a", "b"))  # no file can be written there: nothing happens
