"""What a phone has sent is its user's: nobody else is ever served it, and they have it again when they come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import pytest_asyncio
from activation_office import DESK, Office
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.errors import TooLarge
from provisioner.model import FetchRecord, ListenerKind, Proof
from provisioner.store.database import Store
from provisioner.store.records import Recorder
from provisioner.store.uploads import FILES_A_DEVICE, NOBODY, UploadShelf, owner_of
from provisioner.store.views import Views

BY = (Proof.CERTIFICATE, ListenerKind.DEVICE, "", "")
BOOK, CALLS = f"{DESK}-directory.xml", f"{DESK}-calls.xml"
pytestmark = pytest.mark.asyncio


class Desk:
    """One phone and its people: Ann on 1001, 1002 and 1003, Eve on 1004."""

    def __init__(self, office: Office, views: Views, recorder: Recorder) -> None:
        self.office, self.fleet, self.store, self._views = office, office.fleet, office.store, views
        self._recorder = recorder
        self.shelf = UploadShelf(office.store)

    async def bind(self, number: str, line: int = 1) -> None:
        self.office.clock.now += 10
        await self.fleet.bind(DESK, line, extension=number)

    async def unbind(self, line: int = 1) -> None:
        self.office.clock.now += 10
        await self.fleet.unbind(DESK, line)

    async def fetch(self, status: int = 200, *, upto: int | None = None) -> None:
        """Its own configuration, as the phone does it when it boots; ``upto``: as a worker has it that is behind."""
        upto = await self.revision() if upto is None else upto
        await self._record(FetchRecord(DESK, f"{DESK}.cfg", 0.0, status, 3, "d", *BY, upto))

    async def fetch_other(self, status: int = 200) -> None:
        """A file that says nothing about whose phone it is, or one that it asks for in vain."""
        await self._record(FetchRecord(DESK, "common.cfg", 0.0, status, 3, "d", *BY))

    async def _record(self, record: FetchRecord) -> None:
        self.office.clock.now += 10
        self._recorder.fetch(replace(record, at=self.office.clock.now))
        await self._recorder.flush()

    async def revision(self) -> int:
        """How far the store is."""
        await self._views.refresh()
        view = await self._views.boot_view(DESK)
        assert view is not None
        return view.revision

    async def send(self, body: bytes, name: str = BOOK) -> None:
        await self.shelf.put(DESK, name, "directory", body)

    async def gets(self, name: str = BOOK) -> bytes | None:
        """What the device edge serves it."""
        await self._views.refresh()
        view = await self._views.boot_view(DESK)
        assert view is not None
        stored = await self.shelf.get(DESK, name, view.owner)
        assert (stored is not None) == (name in view.uploads), "the boot view lists the owner's and nobody else's"
        return stored

    async def files(self) -> int:
        return len(list((self.store.uploads / DESK).iterdir()))


@pytest_asyncio.fixture
async def desk(
    store: Store, drivers: dict[str, object], tmp_path: Path, views: Views, make_recorder: Callable[[], Recorder]
) -> Desk:
    office = await Office.opened(store, drivers, tmp_path)
    await office.fleet.add_user("Eve", account="Acme")
    await office.fleet.add_extension("1004", account="Acme", user="Eve")
    return Desk(office, views, make_recorder())


async def test_the_next_user_gets_none_of_it_and_the_first_has_it_again(desk: Desk) -> None:
    await desk.bind("1001")
    await desk.fetch()
    await desk.send(b"Ann's friends")
    await desk.send(b"Ann's calls", CALLS)
    await desk.unbind()
    assert (await desk.gets(), await desk.gets(CALLS)) == (None, None), "nobody's phone gets nobody's friends"
    await desk.bind("1004")
    assert (await desk.gets(), await desk.gets(CALLS)) == (None, None)
    await desk.fetch()
    await desk.send(b"Eve's friends")
    assert await desk.gets() == b"Eve's friends"
    await desk.unbind()
    await desk.bind("1001")
    assert (await desk.gets(), await desk.gets(CALLS)) == (b"Ann's friends", b"Ann's calls")
    assert await desk.files() == 3


async def test_a_code_takes_the_former_users_files_away_in_the_same_moment(desk: Desk) -> None:
    await desk.bind("1001")
    await desk.fetch()
    await desk.send(b"Ann's friends")
    await desk.unbind()
    code = await desk.office.issue("1004")
    assert await desk.gets() is None
    desk.office.clock.now += 10
    await desk.office.key_in(code)
    assert await desk.gets() is None
    assert [(one.owner, one.served) for one in await desk.fleet.uploads(DESK)] == [("Ann", False)]


async def test_until_it_fetches_a_phone_works_for_its_former_user(desk: Desk) -> None:
    await desk.bind("1001")
    await desk.fetch()
    await desk.unbind()
    await desk.bind("1004")
    for status in (404, 304, 200):
        await desk.fetch_other(status)
        await desk.send(b"a call of Ann's, sent late", CALLS)
        assert await desk.gets(CALLS) is None, "Eve is not served what Ann did before the phone was restarted"
    await desk.fetch()
    await desk.send(b"Eve's calls", CALLS)
    assert await desk.gets(CALLS) == b"Eve's calls"


async def test_what_is_sent_between_is_held_for_who_comes_back(desk: Desk) -> None:
    await desk.bind("1001")
    await desk.fetch()
    await desk.unbind()
    await desk.bind("1004")
    await desk.fetch_other()
    await desk.send(b"Ann's last call", CALLS)
    await desk.unbind()
    await desk.bind("1001")
    assert await desk.gets(CALLS) == b"Ann's last call"


async def test_a_configuration_that_it_had_already_makes_it_nobody_elses(desk: Desk) -> None:
    """Given away and back before it has asked: it answers that it has what it would be sent."""
    await desk.bind("1001")
    await desk.fetch()
    await desk.unbind()
    await desk.bind("1004")
    await desk.unbind()
    await desk.bind("1001")
    await desk.fetch(304)
    await desk.send(b"Ann's friends")
    assert await desk.gets() == b"Ann's friends"


async def test_a_worker_that_is_behind_hands_out_the_former_users_configuration(desk: Desk) -> None:
    """It has not heard of Eve yet: what the phone sends until it has hers is Ann's, or nobody's."""
    await desk.bind("1001")
    await desk.fetch(upto=(behind := await desk.revision()) - 1)
    await desk.unbind()
    await desk.bind("1004")
    await desk.fetch(upto=behind)
    await desk.send(b"a call of before", CALLS)
    assert await desk.gets(CALLS) is None
    await desk.fetch()
    await desk.send(b"Eve's calls", CALLS)
    assert await desk.gets(CALLS) == b"Eve's calls"


async def test_what_nobodys_phone_sends_is_served_to_nobody_after_it(desk: Desk) -> None:
    await desk.fetch()
    await desk.send(b"found in its memory")
    await desk.bind("1004")
    assert await desk.gets() is None
    assert [(one.owner, one.served) for one in await desk.fleet.uploads(DESK)] == [(NOBODY, False)]


async def test_another_number_of_the_same_user_changes_nothing(desk: Desk) -> None:
    await desk.bind("1001")
    await desk.fetch()
    await desk.send(b"Ann's friends")
    await desk.unbind()
    await desk.bind("1002")
    assert await desk.gets() == b"Ann's friends"


async def test_the_first_line_says_whose_phone_it_is(desk: Desk) -> None:
    await desk.bind("1001", 2)
    await desk.fetch()
    await desk.send(b"Ann's friends")
    await desk.bind("1004", 3)
    assert await desk.gets() == b"Ann's friends", "a second person's line on it does not make it theirs"
    await desk.unbind(2)
    assert await desk.gets() is None, "who had the second line is not given what the first one left"
    async with desk.store.reading() as connection:
        ann = await owner_of(connection, DESK)
    await desk.fetch()
    async with desk.store.reading() as connection:
        assert await owner_of(connection, DESK) != ann


async def test_files_of_two_owners_do_not_tidy_each_other_away(desk: Desk) -> None:
    await desk.bind("1001")
    await desk.fetch()
    await desk.send(b"Ann's friends")
    await desk.unbind()
    await desk.bind("1004")
    await desk.fetch()
    with patch("provisioner.store.uploads._UNDER_WAY", -1000.0):  # every other file looks left by a crash
        for turn in range(3):
            await desk.send(b"Eve's friends %d" % turn)
    assert await desk.files() == 2
    await desk.unbind()
    await desk.bind("1001")
    assert await desk.gets() == b"Ann's friends"


async def test_each_owner_has_room_of_their_own(desk: Desk) -> None:
    await desk.bind("1001")
    await desk.fetch()
    for number in range(FILES_A_DEVICE):
        await desk.send(b"x", f"{DESK}-{number}.log")
    with pytest.raises(TooLarge):
        await desk.send(b"x")
    await desk.unbind()
    await desk.bind("1004")
    await desk.fetch()
    await desk.send(b"Eve's friends")
    assert await desk.gets() == b"Eve's friends"


async def test_a_user_who_is_removed_takes_their_files_along(desk: Desk) -> None:
    await desk.bind("1004")
    await desk.fetch()
    await desk.send(b"Eve's friends")
    await desk.unbind()
    await desk.bind("1001")
    await desk.fetch()
    await desk.send(b"Ann's friends")
    await desk.fleet.remove_extension("1004")
    await desk.fleet.remove_user("Eve")
    assert [(one.owner, one.served) for one in await desk.fleet.uploads(DESK)] == [("Ann", True)]
    assert await desk.files() == 1
    assert await desk.gets() == b"Ann's friends"


STEPS = st.lists(st.sampled_from(["1001", "1002", "1004", "unbind", "fetch", "other", "send"]), max_size=14)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_whatever_happens_nobody_is_served_anothers(desk: Desk, steps: list[str]) -> None:
    """Each body says whose configuration the phone ran when it sent it; whoever is served one must be that user."""
    whose = {"1001": b"Ann", "1002": b"Ann", "1004": b"Eve"}
    held = [one.number for one in await desk.fleet.bindings(DESK, active=True)]
    bound = held[0] if held else ""
    if bound:
        await desk.unbind()
    bound = ""
    await desk.fetch()
    runs = b""
    for step in steps:
        if step == "fetch":
            await desk.fetch()
            runs = whose.get(bound, b"")
        elif step == "other":
            await desk.fetch_other()
        elif step == "send":
            await desk.send(runs)
        elif step == "unbind" and bound:
            await desk.unbind()
            bound = ""
        elif step in whose and not bound:
            await desk.bind(step)
            bound = step
        served = await desk.gets()
        assert served is None or served == whose.get(bound, b"")
