"""A phone that refuses this server without a word shows only where it is: who shares that place leaves it open."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event as listens

from provisioner.cli.cures import typed
from provisioner.diagnosis.ladder import Diagnosis, Outcome
from provisioner.diagnosis.words import as_document, screen
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.why import Why
from provisioner.model import Mac
from provisioner.rights import Holding, Principal, parts_of
from provisioner.roles import Role
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.engine import is_sqlite
from provisioner.store.flights import STRANGERS, FlightRow, write_flights

pytestmark = pytest.mark.asyncio

MAC, THEIRS = Mac("0004f2aabb01"), Mac("0004f2aabb02")
NOW, GATE = 1_000_000.0, "192.0.2.7"
HELLO = [[772, 771], "1301", "0804", "secret.example"]


def served(at: float, owner: str = MAC) -> FlightRow:
    """A good boot."""
    asked = [0.1, "GET", f"{owner}.cfg", 1, 200, 5000, "one", "", "", 0, 0]
    told = {"a": GATE, "p": 40_000, "l": "device", "e": 0.5, "t": ["TLSv1.3", "TLS_AES_128_GCM_SHA256", 0],
            "i": ["unique", "poly", "", owner], "r": [asked]}  # fmt: skip
    return FlightRow(owner, "", at, GATE, False, "ok", "", told)


def left(at: float, how: str = "truncated", address: str = GATE, claimed: str = "", **more: Any) -> FlightRow:
    """TLS 1.3, closed without an alert: neither a name nor a request."""
    told = {"a": address, "p": 41_234, "l": "device", "e": 0.1, "h": HELLO, "x": how, **more}
    return FlightRow(STRANGERS, claimed, at, address, True, how, "", told)


async def put(store: Store, *rows: FlightRow) -> None:
    await write_flights(store, rows, ring=20, strangers=200)


@pytest_asyncio.fixture
async def own(store: Store, drivers: Any, settings: Settings, fleet: Fleet) -> Why:
    """As the owner of the one account sees it; a phone of another one stands behind the same address."""
    for name, mac in (("Acme", MAC), ("Brum", THEIRS)):
        account = await fleet.add_account(name)
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account=account.id)
        user = await fleet.add_user(f"{name} Ann", account=account.id)
        await fleet.add_extension("100", account=account.id, user=user.id)
        await fleet.bind(mac, 1, extension="100")
    await put(store, served(NOW - 900), served(NOW - 800, THEIRS))
    acme = next(one.id for one in await fleet.accounts() if one.name == "Acme")
    who = Principal("eve", parts_of(Holding(Role.OWNER, acme), "eve"))
    return Why(store, drivers, settings, clock=lambda: NOW, principal=who)


@pytest.fixture
def house(own: Why, store: Store, drivers: Any, settings: Settings) -> Why:
    return Why(store, drivers, settings, clock=lambda: NOW)


def told(found: Diagnosis) -> str:
    return f"{found} {as_document(found, typed)} {screen(found, NOW, typed)}"


@pytest.mark.parametrize(
    "how", ["truncated", *(pytest.param(one, marks=pytest.mark.slow) for one in ("no_request", "alert_unknown_ca"))]
)
async def test_silence_at_its_address_since_it_was_served_leaves_it_open_for_everybody(
    own: Why, house: Why, store: Store, how: str
) -> None:
    assert [(await desk.diagnose_device(MAC)).outcome for desk in (own, house)] == [Outcome.UP] * 2
    done = {"t": ["TLSv1.3", "TLS_AES_128_GCM_SHA256", 0]} if how == "no_request" else {}
    await put(store, left(NOW - 60, how, **done))
    for desk in (own, house):
        found = await desk.diagnose_device(MAC)
        assert (found.outcome, found.cause, found.exit) == (Outcome.UNDECIDED, None, 20)
        assert found.also[0].row.rung.value == "phone_trusts" and not found.also[0].sure
        assert any(one.witness == "frames at the phone" for one in found.missing)
        assert any("another phone there" in note for note in found.notes)
    await put(store, served(NOW - 10))
    assert [(await desk.diagnose_device(MAC)).outcome for desk in (own, house)] == [Outcome.UP] * 2


async def test_of_others_an_account_learns_one_thing_alone(own: Why, house: Why, store: Store) -> None:
    await put(store, left(NOW - 61.25), left(NOW - 62.5), left(NOW - 63.75))
    found = told(await own.diagnose_device(MAC))
    assert "leaving" in found or "left in the middle of the handshake" in found
    assert not re.search(r"x-\d|41234|secret|truncated|TLSv1\.[12]|999938\.75|999937\.5|999936\.25", found)
    assert str(THEIRS) not in found and "3 times" not in found
    assert "x-1" in told(await house.diagnose_device(MAC)), "who reaches everything is told"


async def test_what_is_no_phone_that_refuses_us_there_leaves_nothing_open(own: Why, store: Store) -> None:
    asked = [[0.1, "GET", "x.cfg", 0, 404, 0, "", "not_identified", "", 0, 0]]
    await put(
        store,
        left(NOW - 60, address="192.0.2.8"),
        left(NOW - 901),
        left(NOW - 60, "verdict_untrusted", claimed=THEIRS),
        left(NOW - 60, "not_identified", r=asked),
        left(NOW - 60, "gate_full"),
        left(NOW - 60, "hello_timeout"),
        left(NOW - 60, "no_shared_cipher"),
    )
    assert (await own.diagnose_device(MAC)).outcome is Outcome.UP


@pytest.mark.slow  # of a crowd
async def test_whoever_names_himself_there_hides_nobody(own: Why, house: Why, store: Store) -> None:
    """A hundred phones behind one address, refused for their certificates."""
    crowd = (left(NOW - 50 + number / 10, "verdict_untrusted", claimed=f"0004f2bb{number:04x}") for number in range(60))
    await put(store, left(NOW - 60), *crowd)
    for desk in (own, house):
        assert (await desk.diagnose_device(MAC)).outcome is Outcome.UNDECIDED


async def test_it_is_asked_by_address_at_any_size(own: Why, house: Why, store: Store) -> None:
    if not is_sqlite(store.url):
        return  # its planner goes by how much there is, and here there is nothing
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        asked.append((statement, parameters))

    listens.listen(store.engine.sync_engine, "before_cursor_execute", note)
    for desk in (own, house):
        await desk.diagnose_device(MAC)
    listens.remove(store.engine.sync_engine, "before_cursor_execute", note)
    mine = [one for one in asked if "flight.address IN" in one[0]]
    assert len(mine) >= 3
    async with store.reading() as connection:
        for statement, parameters in mine:
            plan = [one[3] for one in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            assert "ix_flight_address" in plan[0], plan


@pytest.mark.slow  # thousands of records
async def test_a_full_ring_of_strangers_does_not_hold_up_what_phones_suffer_from(house: Why, store: Store) -> None:
    """They share one ring: whatever is looked up in it for each of them is looked up so often squared."""
    crowd = [left(NOW - 1 - number / 1000, address=f"10.9.{number >> 8}.{number & 255}") for number in range(8000)]
    await write_flights(store, crowd, ring=20, strangers=10_000)
    began = time.monotonic()
    (group,) = await house.troubled()
    lasted = time.monotonic() - began
    assert (group.phones, group.known) == (8000, False)
    assert lasted < 3.0, "a tenth of a second, and seven of them squared"
