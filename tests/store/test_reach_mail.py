"""Mails of who reaches only some accounts or sites: what they do to an extension is told to its user all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from activation_office import DESK, FOREIGN, Office
from sqlalchemy import insert, select

from provisioner.activation.letters import CodeLetters
from provisioner.errors import Forbidden, NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.outbox_desk import OutboxDesk
from provisioner.rights import Holding, Principal, parts_of
from provisioner.roles import Right, Role
from provisioner.store import outbox, schema
from provisioner.store.database import Store
from provisioner.store.outbox import Draft
from provisioner.store.reach import Limited

pytestmark = pytest.mark.asyncio


class Hall(NamedTuple):
    """The office, and who runs its site Berlin alone."""

    office: Office
    who: Principal

    def letters(self, right: Right = Right.CODE_ISSUE, **chosen: Any) -> CodeLetters:
        office = self.office
        settings = replace(office.settings, **chosen)
        return CodeLetters(office.store, office.drivers, settings, clock=office.clock, principal=self.who.doing(right))

    async def waiting(self) -> list[str]:
        """What the outbox holds, as the machine itself sees it."""
        found = await OutboxDesk(self.office.store, {}).messages()
        return [f"{one.kind} {one.state} {one.title}" for one in reversed(found)]


@pytest_asyncio.fixture
async def hall(store: Store, drivers: Mapping[str, Any], tmp_path: Path) -> AsyncIterator[Hall]:
    office = await Office.opened(store, drivers, tmp_path, mail_host="mail.example.net", mail_from="tel@acme.example")
    await office.fleet.set_email("Ann", email="ann@example.net")
    await office.fleet.set_email("Bob", email="bob@example.net")
    acme = next(one.id for one in await office.fleet.accounts() if one.name == "Acme")
    berlin = next(one.id for one in await office.fleet.sites() if one.name == "Berlin")
    yield Hall(office, Principal("sam@acme.example", parts_of(Holding(Role.SITE_ADMIN, acme, berlin), "sam")))


async def test_who_runs_a_site_mails_a_code_again_and_the_one_that_replaces_it(hall: Hall) -> None:
    letters = hall.letters()
    assert (await letters.issue("1001", mac=DESK, mail=True)).mailed.to == "ann@example.net"
    assert (await letters.reissue("1001")).mailed.to == "ann@example.net", "who was mailed the one before"
    assert (await letters.mail("1001")).to == "ann@example.net"
    mails = await letters.mails(await letters.codes())
    assert {one.state.value for one in mails.values()} == {"queued", "dropped"} and len(mails) == 2
    assert await hall.waiting() == [
        "mail.code dropped code for extension 1001",
        "mail.code dropped code for extension 1001",
        "mail.code queued code for extension 1001",
    ]


async def test_who_runs_a_site_issues_where_every_code_is_mailed(hall: Hall) -> None:
    assert (await hall.letters(mail_on_issue=True).issue("1001", mac=DESK)).mailed.to == "ann@example.net"


async def test_a_phone_that_they_set_aside_is_announced_and_taken_away_again(hall: Hall) -> None:
    """Also where the code was issued by somebody else and is tied to no place."""
    office = hall.office
    machine = CodeLetters(office.store, office.drivers, office.settings, clock=office.clock)
    await machine.issue("1001", account="Acme", mail=True)
    fleet = Fleet(office.store, office.drivers, clock=office.clock, principal=hall.who.doing(Right.DEVICE_BIND))
    await fleet.bind(DESK, 1, extension="1001")
    assert (await hall.waiting())[-1] == "mail.ready queued phone of extension 1001 is ready"
    office.clock.now += 1
    await fleet.unbind(DESK, 1)
    assert (await hall.waiting())[-1] == "mail.code queued code for extension 1001"


async def test_another_accounts_messages_are_neither_seen_nor_written(hall: Hall) -> None:
    office = hall.office
    machine = CodeLetters(office.store, office.drivers, office.settings, clock=office.clock)
    await machine.issue("1001", account="Beta", mac=FOREIGN, mail=True)
    [theirs] = await OutboxDesk(office.store, {}).messages()
    desk = OutboxDesk(office.store, {}, principal=hall.who)
    assert await desk.messages() == [] and await desk.replay_all("mail.code") == 0
    with pytest.raises(NotFound):
        await desk.drop(theirs.id)
    limited = Limited(office.store, hall.who)
    async with limited.writing() as connection:
        assert await outbox.drop_about(connection, theirs.about, 1.0, "x") == 0
    own = next(one for one in await office.fleet.extensions() if one.number == "1002")
    for account, subject in (
        (theirs.account, theirs.subject), (own.account, theirs.subject), (theirs.account, f"extension/{own.id}"),
        (own.account, "administrator/x"), (own.account, f"extension/{own.id[:-1]}"), (own.account, own.id),
    ):  # fmt: skip
        with pytest.raises(Forbidden):
            async with limited.changing("sam", 1.0) as change:
                await outbox.put(change, office.store.box, Draft("mail.code", account, subject, {}, 9.0))
    async with limited.reading() as connection:
        assert (await connection.execute(select(schema.outbox.c.id))).all() == []
    async with limited.writing() as connection:
        values = {"kind": "x", "version": 1, "state": "queued", "created": 1.0, "next_at": 1.0, "until": 2.0}
        row = values | {"account": own.account, "subject": f"extension/{own.id}"}
        await connection.execute(insert(schema.outbox).values(**row))
        assert len((await connection.execute(select(schema.outbox.c.id))).all()) == 1
