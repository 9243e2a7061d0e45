"""A SIP secret follows by a code that is keyed in and by an import as by a bind; and what databases of before had."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from activation_office import DESK, HALL, Office
from alembic import command
from import_office import KNOWN, MAC, make_fleet, row, taken
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from provisioner.activation_verdict import Outcome
from provisioner.fleet.swap import Swap
from provisioner.imports.imports import Imports
from provisioner.model import Mac
from provisioner.store import migrations
from provisioner.store.database import Store
from provisioner.store.devices import write_device


@pytest_asyncio.fixture
async def office(store: Store, drivers: Mapping[str, Any], tmp_path: Path) -> Office:
    return await Office.opened(store, drivers, tmp_path)


async def been_here(store: Store, *macs: Mac) -> None:
    async with store.writing() as connection:
        for mac in macs:
            await write_device(connection, mac, {"served": 0, "served_at": 1.0})


@pytest.mark.asyncio
async def test_whoever_keys_in_a_code_gets_a_secret_that_the_last_phone_does_not_know(office: Office) -> None:
    await office.fleet.set_secret("1001", account="Acme")
    await office.fleet.bind(HALL, 1, extension="1001")
    await been_here(office.store, HALL, DESK)
    before = await office.fleet.reveal_secret("1001", account="Acme")
    assert (await office.key_in(await office.issue(replace=True))).outcome is Outcome.ACCEPTED
    assert await office.fleet.reveal_secret("1001", account="Acme") != before
    wipe = await office.fleet.wipe(HALL)
    assert (wipe.lines, wipe.pending) == ((1,), True)
    (told,) = await office.fleet.events(kind="secret_rotated")
    assert (told.actor, told.details["phone"], told.details["known_to"]) == ("device", DESK, HALL)
    (activated,) = await office.fleet.events(kind="device_activated")
    assert activated.details["rotated"] == "yes"


@pytest.mark.asyncio
async def test_a_phone_that_is_wiped_is_offered_no_activation(office: Office) -> None:
    code = await office.issue()
    await office.fleet.wipe_device(DESK)
    assert (await office.key_in(code)).outcome is not Outcome.ACCEPTED
    await office.fleet.end_wipe(DESK)
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


@pytest.mark.asyncio
@pytest.mark.parametrize("given", [{}, {"authenticated": False}], ids=["proven", "unproven"])
async def test_nobody_keys_in_a_code_at_a_replaced_phone_that_is_not_emptied(
    office: Office, given: dict[str, Any]
) -> None:
    code = await office.issue()
    await Swap(office.store, office.fleet._drivers, actor="ann").swap(DESK, HALL)
    assert (await office.key_in(code, **given)).outcome is Outcome.WRONG
    assert (await office.fleet.wipe(DESK)).pending
    assert await office.fleet.events(kind="code_internal") == []


@pytest.mark.asyncio
async def test_an_import_refuses_the_row_of_a_replaced_phone_that_is_not_emptied(store: Store) -> None:
    fleet, old, other = await make_fleet(store), Mac(MAC), Mac("0004f2000009")
    await fleet.add_user("Ada", account="Acme")
    await fleet.add_extension("1001", account="Acme", user="Ada")
    for mac in (old, other):
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account="Acme")
    await Swap(store, fleet._drivers, actor="ann").swap(old, other)
    report = await taken(Imports(store, KNOWN, actor="ann"), row(user="Ada", extension="1001", mac=old, line="1"))
    assert "has not fetched yet what empties it" in str(report)
    assert await fleet.bindings(old) == []


@pytest.mark.asyncio
async def test_an_import_that_binds_elsewhere_changes_the_secret_too(store: Store) -> None:
    fleet = await make_fleet(store)
    other = Mac("0004f2000009")
    await fleet.add_user("Ada", account="Acme")
    await fleet.add_extension("1001", account="Acme", user="Ada")
    for mac in (Mac(MAC), other):
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account="Acme")
    await fleet.bind(other, 1, extension="1001")
    await fleet.bind(Mac(MAC), 2, extension="1001", replace=True)
    await been_here(store, other, Mac(MAC))
    await fleet.unbind(Mac(MAC), 2)
    before = await fleet.reveal_secret("1001", account="Acme")
    await taken(Imports(store, KNOWN, actor="ann"), row(user="Ada", extension="1001", mac=other, line="1"))
    assert await fleet.reveal_secret("1001", account="Acme") != before
    assert (await fleet.wipe(other)).lines == ()
    assert (await fleet.secret_life("1001", account="Acme")).origin == "made"


def test_a_database_of_before_forgets_what_was_freed_and_takes_secrets_for_given(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'p.db'}"
    engine = create_engine(url, poolclass=NullPool)
    config = migrations._config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0013")
        connection.execute(text("INSERT INTO account (id, name, created) VALUES ('a', 'Acme', 1)"))
        connection.execute(text("INSERT INTO user (id, account, name) VALUES ('u', 'a', 'Ann')"))
        for ident in ("x", "y"):
            values = f"('{ident}', 'a', '{ident}', 'u', 'u', x'00')"
            connection.execute(
                text(f"INSERT INTO extension (id, account, number, user, auth_user, secret) VALUES {values}")
            )
        for mac in ("m1", "m2"):
            connection.execute(
                text(f"INSERT INTO device (mac, vendor, model, account, created) VALUES ('{mac}', 'poly', 'v', 'a', 1)")
            )
        rows = (("m1", 1, "x", 1, 2), ("m1", 2, "x", 3, 4), ("m1", 2, "y", 5, None), ("m2", 7, "x", 6, 7))
        for mac, line, ident, since, until in rows:
            told = {"mac": mac, "line": line, "extension": ident, "since": since, "until": until}
            connection.execute(
                text(
                    "INSERT INTO binding (mac, line, extension, since, until, actor, cause) "
                    "VALUES (:mac, :line, :extension, :since, :until, 'ann', 'bind')"
                ),
                told,
            )
    migrations.upgrade(url)
    with engine.connect() as connection:
        emptied = dict(connection.execute(text("SELECT mac, emptied FROM device")).all())  # type: ignore[arg-type]
        assert emptied == {"m1": "1", "m2": "7"}
        known = connection.execute(text("SELECT id, secret_origin, secret_left FROM extension ORDER BY id")).all()
        assert [tuple(one) for one in known] == [("x", "given", "*"), ("y", "given", "")]
