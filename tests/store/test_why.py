"""The diagnosis out of the store: which witnesses it asks, for whom, by indexes alone; and what is told by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event as listens

from provisioner import pki
from provisioner.diagnosis.catalogue import Rung
from provisioner.diagnosis.facts import Fact, Kind, Source, Witness
from provisioner.diagnosis.ladder import Diagnosis, Outcome
from provisioner.errors import Forbidden, Invalid, NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.lookout import Lookout
from provisioner.fleet.why import Own, Why, own_certificates
from provisioner.model import Event, FetchRecord, ListenerKind, Mac, Proof, Scope
from provisioner.rights import Holding, Principal, parts_of
from provisioner.roles import Role
from provisioner.settings import Settings
from provisioner.store import journal, pages
from provisioner.store.database import Store
from provisioner.store.engine import is_sqlite
from provisioner.store.flights import STRANGERS, FlightRow, claims_of, refusals_of_claims, write_flights
from provisioner.store.records import Recorder
from provisioner.store.views import Views

pytestmark = pytest.mark.asyncio

MAC, OTHER = Mac("0004f2aabb01"), Mac("0004f2aabb02")
NOW = 1_000_000.0
CFG = f"{MAC}.cfg"
GOOD = [0.1, "GET", CFG, 1, 200, 5000, "one", "", "", 0, 0]


def boot(at: float, owner: str = MAC, *, row: list[Any] | None = None, **about: Any) -> FlightRow:
    """A connection of a phone that has proven itself, with one request."""
    asked = list(row or GOOD)
    label, trouble = about.pop("label", "ok"), about.pop("trouble", False)
    told = {"a": "192.0.2.7", "p": 40_000, "l": "device", "e": 0.5, "t": ["TLSv1.3", "TLS_AES_128_GCM_SHA256", 0],
            "i": ["unique", "poly", "", owner or MAC], "n": 3,
            "c": [["CN=x", "CN=CA", 0, 2e9, "RSA", 2048, "sha256"]], "r": [asked], **about.pop("told", {})}  # fmt: skip
    given = {"claimed": "", "address": "192.0.2.7", "model": "", **about}
    return FlightRow(owner=owner, at=at, trouble=trouble, label=label, told=told, **given)


def nameless(at: float, **about: Any) -> FlightRow:
    """Somebody at an address who did not like our certificate."""
    told = {"a": "192.0.2.7", "p": 1, "l": "device", "e": 0.1, "h": [[771], "c02f", "0401", ""],
            "x": "alert_certificate_expired"}  # fmt: skip
    return boot(at, STRANGERS, label="alert_certificate_expired", trouble=True, **about)._replace(told=told)


@pytest_asyncio.fixture
async def acme(fleet: Fleet) -> str:
    account = await fleet.add_account("Acme")
    for mac in (MAC, OTHER):
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account=account.id)
    user = await fleet.add_user("Ann", account=account.id)
    await fleet.add_extension("100", account=account.id, user=user.id)
    await fleet.bind(MAC, 1, extension="100")
    return account.id


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, diagnosis_loop_fetches=4)


@pytest.fixture
def desk(store: Store, drivers: Mapping[str, Any], settings: Settings) -> Why:
    return Why(store, drivers, settings, clock=lambda: NOW)


async def put(store: Store, *rows: FlightRow) -> None:
    await write_flights(store, rows, ring=20, strangers=100)


def row(found: Diagnosis) -> int:
    return found.cause.row.id if found.cause else 0


# --- one phone -----------------------------------------------------------------------------------------


async def test_records_and_inventory_are_joined(acme: str, store: Store, desk: Why, fleet: Fleet) -> None:
    await put(store, boot(NOW - 100))
    found = await desk.diagnose_device(MAC)
    assert (found.subject.vendor, found.subject.model, found.last_good) == ("poly", "VVX 411", Rung.FILE)
    await fleet.revoke_device(MAC)
    assert row(await desk.diagnose_device(MAC)) == 77


async def test_what_a_capture_saw_is_judged_with_the_rest(acme: str, desk: Why) -> None:
    seen = [Fact(Kind.DHCP, NOW - at, Witness(Source.CAPTURE, f"frame {at}"), {"type": "discover", "vlan": "0"})
            for at in (9, 5)]  # fmt: skip
    assert row(await desk.diagnose_device(MAC, extra=seen)) == 10


async def test_without_the_recorder_events_and_last_fetches_are_the_witnesses(
    acme: str, desk: Why, make_recorder: Callable[..., Recorder]
) -> None:
    recorder = make_recorder()
    recorder.fetch(FetchRecord(MAC, CFG, NOW - 50, 200, 5000, "d" * 64, Proof.CERTIFICATE, ListenerKind.DEVICE,
                               "TLSv1.3", "5.9.5"))  # fmt: skip
    await recorder.flush()
    found = await desk.diagnose_device(MAC)
    assert next(one.says for one in found.steps if one.rung is Rung.FILE) == f"GET {CFG}: 200"
    told = {"verdict": "untrusted", "verdict_why": "its issuer is unknown", "tls": "TLSv1.3", "path": f"/{CFG}"}
    recorder.event(Event("not_identified", NOW - 10, MAC, "warning", "device", told))
    await recorder.flush()
    found = await desk.diagnose_device(MAC)
    assert row(found) == 49
    assert found.cause is not None
    assert str(found.cause.witnesses[0]).startswith("server: event ")


async def test_a_registration_is_the_last_rung(acme: str, store: Store, desk: Why) -> None:
    async with store.writing() as connection:
        await journal.write_events(connection, [Event("registration_seen", NOW - 5, MAC)])
    found = await desk.diagnose_device(MAC)
    assert next(one.state.value for one in found.steps if one.rung is Rung.LINE) == "good"


async def test_who_refuses_this_server_is_found_by_its_address_and_with_a_doubt(
    acme: str, store: Store, desk: Why
) -> None:
    await put(store, boot(NOW - 900), nameless(NOW - 60))
    found = await desk.diagnose_device(MAC)
    assert (row(found), found.outcome, [one.row.id for one in found.also]) == (0, Outcome.UNDECIDED, [42])
    assert any("another phone there" in note for note in found.notes)
    await put(store, boot(NOW - 10))
    assert (await desk.diagnose_device(MAC)).outcome is Outcome.UP, "it has been here since"


def pretended(at: float, verdict: str = "none", named: str = "", **about: Any) -> FlightRow:
    """Somebody who asks for the phone's file and has not proven to be it."""
    asked = [0.1, "GET", CFG, 1, 404, 0, "", "not_identified", "", 0, 0]
    told = {"i": [verdict, "", "no client certificate was presented", named], "c": [], "n": 0,
            "h": [[772], "1301", "0804", "secret.example"], **about.pop("told", {})}  # fmt: skip
    about = {"label": f"verdict_{verdict}", "trouble": True, "claimed": MAC, **about}
    return boot(at, STRANGERS, row=asked, told=told, **about)


async def test_a_request_in_its_name_does_not_make_a_healthy_phone_a_broken_one(
    acme: str, store: Store, desk: Why
) -> None:
    await put(store, pretended(NOW - 900))
    assert row(await desk.diagnose_device(MAC)) == 55, "nobody else is known by that name"
    await put(store, boot(NOW - 100), pretended(NOW - 50))
    found = await desk.diagnose_device(MAC)
    assert (found.outcome, row(found), [one.row.id for one in found.also]) == (Outcome.UNDECIDED, 0, [55])
    await put(store, boot(NOW - 10))
    assert (await desk.diagnose_device(MAC)).outcome is Outcome.UP


async def test_who_shows_its_certificate_is_it_even_where_that_is_too_old(acme: str, store: Store, desk: Why) -> None:
    await put(store, boot(NOW - 100), pretended(NOW - 50, "expired", MAC))
    assert row(await desk.diagnose_device(MAC)) == 51


async def test_an_accounts_administrator_is_told_of_refusals_and_not_of_who_was_refused(
    acme: str, store: Store, settings: Settings, drivers: Any
) -> None:
    own = Why(store, drivers, settings, clock=lambda: NOW, principal=_owner(acme))
    await put(store, boot(NOW - 100))
    assert (await own.diagnose_device(MAC)).outcome is Outcome.UP
    chain = [["CN=eve", "CN=secret", 0, 2e9, "RSA", 2048, "sha256"]]
    await put(store, pretended(NOW - 50, told={"a": "203.0.113.9", "c": chain}, address="203.0.113.9"))
    found = await own.diagnose_device(MAC)
    assert (found.outcome, [one.row.id for one in found.also]) == (Outcome.UNDECIDED, [55])
    async with own._store.reading() as connection:
        (claim,) = await claims_of(connection, MAC)
    assert not re.search(r"203\.0\.113|secret|eve", f"{claim} {claim.facts()}")
    async with store.reading() as connection:
        (claim,) = await claims_of(connection, MAC)
    assert claim.address == "203.0.113.9", "who reaches everything is told"


async def test_an_accounts_administrator_is_told_of_refusals_that_only_events_have(
    acme: str, store: Store, settings: Settings, drivers: Any
) -> None:
    own = Why(store, drivers, settings, clock=lambda: NOW, principal=_owner(acme))
    told = {"verdict": "none", "verdict_why": "none came", "path": f"/{CFG}", "address": "203.0.113.9", "sni": "secret"}
    async with store.writing() as connection:
        await journal.write_events(connection, [Event("not_identified", NOW - 50, "", "warning", "device", told)])
    await put(store, boot(NOW - 100))
    found = await own.diagnose_device(MAC)
    assert (found.outcome, [one.row.id for one in found.also]) == (Outcome.UNDECIDED, [55])
    async with own._store.reading() as connection:
        (only,) = await refusals_of_claims(connection, MAC, 5)
        assert await refusals_of_claims(connection, OTHER, 5) == []
    assert not re.search(r"203\.0\.113|secret", str(only))


async def test_refusals_that_the_recorder_left_out_are_told_by_events(acme: str, store: Store, desk: Why) -> None:
    await put(store, boot(NOW - 100))
    told = {"verdict": "expired", "verdict_why": "over", "path": f"/{CFG}"}
    before, after = (Event("not_identified", NOW - at, MAC, "warning", "device", told) for at in (200, 50))
    async with store.writing() as connection:
        await journal.write_events(connection, [before])
    assert (await desk.diagnose_device(MAC)).outcome is Outcome.UP
    async with store.writing() as connection:
        await journal.write_events(connection, [after])
    assert row(await desk.diagnose_device(MAC)) == 51


async def test_events_of_nobody_proven_are_in_doubt_once_it_is_known(acme: str, store: Store, desk: Why) -> None:
    told = {"verdict": "none", "verdict_why": "no client certificate was presented", "path": f"/{CFG}"}
    async with store.writing() as connection:
        await journal.write_events(connection, [Event("not_identified", NOW - 50, "", "warning", "device", told)])
    assert row(await desk.diagnose_device(MAC)) == 55
    await put(store, boot(NOW - 100))
    found = await desk.diagnose_device(MAC)
    assert (found.outcome, row(found)) == (Outcome.UNDECIDED, 0)


async def test_an_address_is_enough(acme: str, store: Store, desk: Why) -> None:
    await put(store, nameless(NOW - 60))
    found = await desk.diagnose_address("192.0.2.7")
    assert (row(found), found.subject.called) == (42, "192.0.2.7")
    assert (await desk.diagnose_address("192.0.2.8")).outcome is Outcome.UNDECIDED
    with pytest.raises(Invalid, match="neither a MAC nor an IP address"):
        await desk.diagnose_address("nonsense")


async def test_a_mac_that_nobody_has_added_is_said_to_be_one(acme: str, store: Store, desk: Why) -> None:
    wrong, swapped = [await desk.diagnose_device(Mac(one)) for one in ("0004f2aabb81", "0004f2aabb10")]
    assert wrong.notes == ("nobody has added this MAC; much like it: 00:04:f2:aa:bb:01",)
    assert "00:04:f2:aa:bb:01" in swapped.notes[0]
    assert (await desk.diagnose_device(Mac("0004f2ffffff"))).notes == ("nobody has added this MAC",)
    assert (await desk.diagnose_device(MAC)).notes == ()


async def test_several_phones_at_an_address_say_nothing_of_each_other(acme: str, store: Store, desk: Why) -> None:
    """One has a certificate of nobody's, the other a good one, and nobody has added it: two phones behind one NAT."""
    one, two = Mac("0004f2000001"), Mac("0004f2000002")
    asks = [0.1, "GET", f"{one}.cfg", 1, 404, 0, "", "not_identified", "", 0, 0]
    bad = {"i": ["untrusted", "", "its issuer is unknown", ""]}
    await put(store, boot(NOW - 300, STRANGERS, row=asks, claimed=one, trouble=True, told=bad))
    assert row(await desk.diagnose_address("192.0.2.7")) == 49
    strange = [0.1, "GET", f"{two}.cfg", 1, 404, 0, "", "unknown_device", "", 0, 0]
    good = {"i": ["unique", "poly", "", two]}
    await put(store, boot(NOW - 60, STRANGERS, row=strange, claimed=two, trouble=True, told=good))
    found = await desk.diagnose_address("192.0.2.7")
    assert (row(found), found.outcome, sorted(one.row.id for one in found.also)) == (0, Outcome.UNDECIDED, [49, 78])
    assert not any("over since" in note for note in found.notes)
    assert any(one in note and two in note and "give the MAC" in note for note in found.notes)


async def test_who_is_behind_says_since_when(acme: str, store: Store, desk: Why, drivers: Any, views: Views) -> None:
    """A change of a layer that all phones share: one that polls tomorrow is well today, and not in a week."""
    clock = [NOW - 500]
    fleet = Fleet(store, drivers, clock=lambda: clock[0])
    await views.refresh()
    view = await views.boot_view(MAC)
    assert view is not None
    recorder = Recorder(store, Settings(), lambda *_: None, lambda: NOW)
    recorder.fetch(FetchRecord(MAC, CFG, NOW - 900, 200, 5, "d" * 64, Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3",
                               "", revision=view.revision))  # fmt: skip
    await recorder.flush()
    await put(store, boot(NOW - 900))
    assert (await desk.diagnose_device(MAC)).notes == ()
    await fleet.set_layer(Scope.DEFAULTS, "", {"time.zone": "Europe/Berlin"})
    clock[0] = NOW - 100
    await fleet.set_layer(Scope.DEFAULTS, "", {"time.zone": "Europe/Vienna"})
    found = await desk.diagnose_device(MAC)
    assert (found.outcome, found.notes) == (
        Outcome.UP,
        ("by the way: 76 the phone has not asked since the last change",),
    )
    device = await fleet.device(MAC)
    async with store.reading() as connection:
        assert await pages.lacking_since(connection, device, view.revision) == NOW - 500
        assert await pages.lacking_since(connection, device, 10**9) is None


async def test_whoever_reaches_some_accounts_is_told_of_their_phones_alone(
    acme: str, store: Store, desk: Why, settings: Settings, drivers: Any, fleet: Fleet
) -> None:
    await put(store, boot(NOW - 10), nameless(NOW - 5), boot(NOW - 7, OTHER, label="not_yours", trouble=True))
    theirs = await fleet.add_account("Brum")
    narrow = Why(store, drivers, settings, clock=lambda: NOW, principal=_owner(theirs.id))
    for mac in (MAC, Mac("0004f2ffffff")):
        with pytest.raises(NotFound):
            await narrow.diagnose_device(mac)
    with pytest.raises(Forbidden):
        await narrow.diagnose_address("192.0.2.7")
    assert await narrow.troubled() == []
    own = Why(store, drivers, settings, clock=lambda: NOW, principal=_owner(acme))
    assert [one.label for one in await own.troubled()] == ["not_yours"], "strangers belong to nobody"
    assert len(await desk.troubled()) == 2


def _owner(account: str) -> Principal:
    return Principal("eve", parts_of(Holding(Role.OWNER, account), "eve"))


async def test_a_stranger_who_has_proven_its_mac_is_nobodys_yet(acme: str, store: Store, desk: Why) -> None:
    new = Mac("0004f2cccc01")
    refused = [0.1, "GET", f"{new}.cfg", 1, 404, 0, "", "unknown_device", "", 0, 0]
    await put(store, boot(NOW - 5, STRANGERS, row=refused, claimed=new, told={"i": ["unique", "poly", "", new]}))
    assert row(await desk.diagnose_device(new)) == 78


async def test_troubles_are_as_old_as_is_asked_for(acme: str, store: Store, desk: Why) -> None:
    await put(store, boot(NOW - 7200, label="not_yours", trouble=True))
    assert [one.says for one in await desk.troubled()] == [
        "1 phone: The certificate names another phone than the file, VVX 411"
    ]
    assert await desk.troubled(since=NOW - 3600) == []


async def test_every_question_of_a_diagnosis_has_its_index(acme: str, store: Store, desk: Why) -> None:
    """At any size: nothing is read from one end of a table to the other."""
    if not is_sqlite(store.url):
        return  # its planner goes by how much there is, and here there is nothing
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        asked.append((statement, parameters))

    await put(store, boot(NOW - 10), nameless(NOW - 5))
    listens.listen(store.engine.sync_engine, "before_cursor_execute", note)
    await desk.diagnose_device(MAC)
    await desk.diagnose_device(Mac("0004f2cccc09"))
    listens.remove(store.engine.sync_engine, "before_cursor_execute", note)
    assert 8 < len(asked) < 40
    async with store.reading() as connection:
        for statement, parameters in asked:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps = [one[3] for one in plan]
            whole = [one for one in steps if re.match(r"SCAN (?!revision|touched|\d+ CONSTANT)", one)]
            assert not whole, (statement, steps)


# --- this server's certificate -----------------------------------------------------------------------


async def test_the_servers_own_dates_are_known(settings: Settings) -> None:
    assert own_certificates(settings) == Own()
    authority = pki.make_factory("poly", settings.data / "factory")
    now = datetime.now(UTC).replace(microsecond=0)  # certificates know no parts of a second
    begins, ends = now - timedelta(days=30), now - timedelta(days=1)
    leaf = authority.leaf(MAC, not_before=begins, not_after=ends)[0]
    (settings.data / "own.pem").write_bytes(leaf)
    known = own_certificates(replace(settings, tls_certificates=("own.pem", "missing.pem")))
    assert (known.begins, known.ends) == (begins.timestamp(), ends.timestamp())
    (issuer,) = known.issuers
    assert "issuing ca" in issuer


# --- told by itself --------------------------------------------------------------------------------------


async def events(store: Store, kind: str) -> list[Any]:
    async with store.reading() as connection:
        return await journal.list_events(connection, limit=50, kind=kind)


async def test_a_loop_is_an_alarm_once_an_hour(acme: str, store: Store, settings: Settings) -> None:
    clock = [NOW]
    watch = Lookout(store, settings, clock=lambda: clock[0])
    assert await watch.loops() == 0
    await put(store, *(boot(NOW - 400 + 100 * turn) for turn in range(4)), boot(NOW - 5, OTHER))
    assert (await watch.loops(), await watch.loops()) == (1, 0)
    (told,) = await events(store, "reboot_loop")
    assert (told.mac, told.severity) == (MAC, "alarm")
    assert told.details["reason"].startswith(f"{CFG} fetched 4 times within 5 min")
    clock[0] += 3700
    await put(store, *(boot(clock[0] - 400 + 100 * turn) for turn in range(4)))
    assert await watch.loops() == 1


async def test_who_was_told_to_fetch_four_times_is_in_no_loop(acme: str, store: Store, settings: Settings) -> None:
    told = [Event("resync_told", NOW - 402 + 100 * turn, MAC, "info", "server", {"way": "sip", "result": "200 OK"})
            for turn in range(4)]  # fmt: skip
    async with store.writing() as connection:
        await journal.write_events(connection, told)
    await put(store, *(boot(NOW - 400 + 100 * turn) for turn in range(4)))
    assert await Lookout(store, settings, clock=lambda: NOW).loops() == 0
    assert row(await Why(store, {}, settings, clock=lambda: NOW).diagnose_device(MAC)) == 0


async def test_a_fleet_in_a_loop_is_told_in_one_sentence(
    acme: str, store: Store, settings: Settings, fleet: Fleet
) -> None:
    macs = [Mac(f"0004f2bb{number:04x}") for number in range(24)]
    for mac in macs:
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account=acme)
        asked = [0.1, "GET", f"{mac}.cfg", 1, 200, 5000, "one", "", "", 0, 0]
        await put(store, *(boot(NOW - 400 + 100 * turn, mac, row=asked) for turn in range(4)))
    assert await Lookout(store, settings, clock=lambda: NOW).loops() == 24
    told = await events(store, "reboot_loop")
    assert len(told) == 21
    assert [one.details["devices"] for one in told if not one.mac] == ["4"]


async def test_the_end_of_a_certificate_is_told_at_each_stage(store: Store, settings: Settings) -> None:
    authority = pki.make_factory("poly", settings.data / "factory")
    began = datetime(2026, 1, 1, tzinfo=UTC)
    ends = began + timedelta(days=40)
    (settings.data / "own.pem").write_bytes(authority.leaf(MAC, not_before=began, not_after=ends)[0])
    (settings.data / "trust").mkdir(exist_ok=True)
    clock = [began.timestamp()]
    only = replace(settings, tls_certificates=("own.pem",))
    watch = Lookout(store, only, clock=lambda: clock[0])
    own = "own.pem"
    told = []
    for day in (0, 0.01, 11, 12, 34, 39.5, 41):
        clock[0] = began.timestamp() + day * 86_400
        await watch.certificates()
        told.append(len([one for one in await events(store, "certificate_ending") if own in one.details["name"]]))
    assert told == [1, 1, 2, 2, 3, 4, 4]
    last = [one for one in await events(store, "certificate_ending") if own in one.details["name"]]
    assert [one.severity for one in last] == ["warning", "warning", "alarm", "alarm"]
