"""A code is keyed into a phone: who gets the extension, who does not, and what everybody hears and reads of it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from activation_office import ADDRESS, DEAF, DESK, FOREIGN, HALL, STRANGER, VVX, Office, attempt, wrong
from sqlalchemy import event

from provisioner.activation import activation as module
from provisioner.activation_verdict import Outcome
from provisioner.codes import CodeState, grouped, masked
from provisioner.errors import Conflict
from provisioner.line_errands import LINES
from provisioner.model import DeviceState, Mac, Scope
from provisioner.store.database import Store
from provisioner.store.devices import write_device
from provisioner.store.resync import standings

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def office(store: Store, drivers: Mapping[str, Any], tmp_path: Path) -> Office:
    return await Office.opened(store, drivers, tmp_path)


async def bound(office: Office, mac: Mac) -> dict[int, str]:
    return {one.line: one.number for one in await office.fleet.bindings(mac, active=True)}


# --- the phone is theirs ------------------------------------------------------------------------------


async def test_the_right_code_makes_the_phone_the_extensions(office: Office, store: Store) -> None:
    code = await office.issue()
    heard = await office.key_in(code, number=2)
    assert (heard.outcome, heard.extension, heard.device, heard.line) == (Outcome.ACCEPTED, "1001", DESK, 1)
    assert await bound(office, DESK) == {1: "1001"}
    assert (await office.fleet.device(DESK)).state is DeviceState.ASSIGNED
    [told] = await office.fleet.events(kind="device_activated")
    assert (told.mac, told.actor, told.details["number"], told.details["attempt"]) == (DESK, "device", "1001", "2")
    assert told.details["source"] == ADDRESS and told.details["code"] == masked(code)
    [one] = await office.codes.codes()
    assert (one.state, one.used_by, one.ended) == (CodeState.USED, DESK, office.clock())
    newest = "SELECT key FROM change WHERE scope = 'device' AND revision = (SELECT max(revision) FROM change)"
    async with store.reading() as connection:
        keys = (await connection.exec_driver_sql(newest)).scalars().all()
    assert keys == [DESK], "the workers must hear of it"


async def test_blanks_and_dashes_do_not_matter(office: Office) -> None:
    code = await office.issue()
    for dressed in (grouped(code), " ".join(code), f"{code[:6]} - {code[6:]}"):
        assert (await office.key_in(dressed)).outcome is Outcome.ACCEPTED, "the same phone may repeat it"


async def test_a_proven_stranger_joins_the_codes_account(office: Office) -> None:
    code = await office.issue(site="Berlin")
    await office.seen(STRANGER)
    assert (await office.key_in(code, STRANGER, model="vvx411")).outcome is Outcome.ACCEPTED
    added = await office.fleet.device(STRANGER)
    here = await office.fleet.device(DESK)
    assert (added.model, added.account, added.site) == (VVX, here.account, here.site)
    assert "device_added" in await office.kinds("device_")


async def test_a_phone_that_stands_nowhere_comes_to_the_codes_site(office: Office) -> None:
    code = await office.issue(site="Berlin")
    assert (await office.key_in(code, HALL, model="VVX 150")).outcome is Outcome.ACCEPTED
    assert (await office.fleet.device(HALL)).site == (await office.fleet.device(DESK)).site


async def test_an_ata_has_a_code_for_each_port(office: Office) -> None:
    first, second, third = [await office.issue(number) for number in ("1001", "1002", "1003")]
    assert (await office.key_in(first, HALL, model="VVX 150")).line == 1
    assert (await office.key_in(second, HALL, model="VVX 150")).line == 2
    assert (await office.key_in(third, HALL, model="VVX 150")).outcome is Outcome.WRONG_DEVICE
    assert await bound(office, HALL) == {1: "1001", 2: "1002"}
    [one] = await office.codes.codes(state=CodeState.ISSUED)
    assert one.number == "1003", "what could not be used is still good"


async def test_replacing_frees_and_binds_in_one_transaction(office: Office) -> None:
    await office.fleet.bind(HALL, 1, extension="1001")
    code = await office.issue(replace=True)
    heard = await office.key_in(code)
    assert heard.replaced == HALL
    assert await bound(office, HALL) == {} and await bound(office, DESK) == {1: "1001"}
    kinds = await office.kinds("line_")
    assert kinds[-2:] == ["line_unbound", "line_bound"]
    assert await told(office) == [], "neither has ever been here"


async def told(office: Office) -> list[Mac]:
    """Who is to fetch again because its lines have changed."""
    async with office.store.reading() as connection:
        return [one.mac for one in await standings(connection, campaign=LINES)]


async def test_the_phone_that_is_replaced_is_to_fetch_what_has_the_extension_no_more(office: Office) -> None:
    await office.fleet.bind(HALL, 1, extension="1001")
    async with office.store.writing() as connection:
        for mac in (HALL, DESK):
            await write_device(connection, mac, {"served": 1})
    await office.key_in(await office.issue(replace=True))
    assert await told(office) == [HALL]


async def test_a_replacement_that_fails_half_way_has_not_happened(office: Office, monkeypatch: Any) -> None:
    await office.fleet.bind(HALL, 1, extension="1001")
    code = await office.issue(replace=True)

    async def fail(*_: object) -> None:
        raise Conflict("the line was taken at the same moment")

    with monkeypatch.context() as broken:
        broken.setattr("provisioner.activation.binding.devices.insert_binding", fail)
        assert (await office.key_in(code)).outcome is Outcome.BUSY
    assert await bound(office, HALL) == {1: "1001"} and await bound(office, DESK) == {}
    assert (await office.codes.reveal("1001", account="Acme")).code == code
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def test_who_hangs_up_and_keys_it_in_again_hears_again_that_it_worked(office: Office) -> None:
    code = await office.issue()
    await office.key_in(code)
    again = await office.key_in(code)
    assert (again.outcome, again.extension, again.line) == (Outcome.ACCEPTED, "1001", 1)
    assert len(await office.fleet.events(kind="device_activated")) == 1
    assert (await office.key_in(code, authenticated=False)).outcome is Outcome.WRONG
    await office.fleet.unbind(DESK, 1)
    assert (await office.key_in(code)).outcome is Outcome.USED


async def test_an_administrator_was_faster_with_the_same_phone(office: Office) -> None:
    code = await office.issue()
    await office.fleet.bind(DESK, 3, extension="1001")
    assert (await office.key_in(code)).line == 3
    assert await bound(office, DESK) == {3: "1001"}


async def test_an_administrator_was_faster_with_another_phone(office: Office) -> None:
    code = await office.issue()
    await office.fleet.bind(HALL, 1, extension="1001")
    assert (await office.key_in(code)).outcome is Outcome.EXPIRED
    assert await bound(office, DESK) == {}
    [told] = await office.fleet.events(kind="code_failed")
    assert told.details["cause"] == "extension_has_phone"


# --- the phone is not ---------------------------------------------------------------------------------


async def prepared(office: Office, case: str) -> str:
    """A code that is no good for DESK, and why."""
    ties = {"model": {"model": "VVX 150"}, "device": {"mac": HALL}, "site": {"site": "Madrid"}}
    code = await office.issue(**ties.get(case, {}))  # type: ignore[arg-type]
    if case == "used":
        await office.key_in(code, HALL, model="VVX 150")
    if case == "expired":
        office.clock.now += 604_800
    if case == "revoked":
        await office.codes.revoke("1001", account="Acme")
    return wrong(code) if case == "unknown" else code


CASES = {
    "unknown": Outcome.WRONG,
    "used": Outcome.USED,
    "expired": Outcome.EXPIRED,
    "revoked": Outcome.EXPIRED,
    "model": Outcome.WRONG_MODEL,
    "device": Outcome.WRONG_DEVICE,
    "site": Outcome.WRONG_SITE,
}


@pytest.mark.parametrize("case", CASES)
async def test_a_proven_phone_hears_why_and_a_stranger_does_not(office: Office, case: str) -> None:
    code = await prepared(office, case)
    before = await bound(office, DESK)
    assert (await office.key_in(code)).outcome is CASES[case]
    assert (await office.key_in(code, authenticated=False)).outcome is Outcome.WRONG
    assert await bound(office, DESK) == before
    told = await office.fleet.events(kind="code_failed")
    assert [one.mac for one in told] == [DESK, DESK]
    assert {one.details["cause"] for one in told} == {"mac" if case == "device" else case}
    assert all(one.details.get("number") == ("1001" if case != "unknown" else None) for one in told)


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    """What a transaction does, without the values."""
    done: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        done.append(re.sub(r"\s+", " ", statement))

    event.listen(store.engine.sync_engine, "before_cursor_execute", note)
    yield done
    event.remove(store.engine.sync_engine, "before_cursor_execute", note)


async def test_unknown_used_and_expired_take_the_same_time(office: Office, store: Store) -> None:
    """The same statements in the same order: none of them can be told from another by waiting."""
    seen: dict[str, list[str]] = {}
    for case, number in (("unknown", "1001"), ("used", "1002"), ("expired", "1003")):
        code = await office.issue(number)
        if case == "used":
            await office.key_in(code, HALL, model="VVX 150")
        if case == "expired":
            office.clock.now += 604_800
        code = wrong(code) if case == "unknown" else code
        with statements(store) as seen[case]:
            assert (await office.key_in(code, authenticated=False)).outcome is Outcome.WRONG
    assert len(seen["unknown"]) > 5
    assert seen["unknown"] == seen["used"] == seen["expired"]


async def test_a_phone_of_another_account_hears_nothing_and_rings_a_bell(office: Office) -> None:
    code = await office.issue()
    assert (await office.key_in(code, FOREIGN)).outcome is Outcome.WRONG
    [told] = await office.fleet.events(kind="code_of_another_account")
    assert (told.severity, told.mac, told.details["number"]) == ("alarm", FOREIGN, "1001")
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def test_a_code_that_keeps_coming_from_wrong_phones_is_locked(office: Office) -> None:
    code = await office.issue(mac=DESK)
    for _ in range(3):
        assert (await office.key_in(code, HALL, model="VVX 150")).outcome is Outcome.WRONG_DEVICE
    [told] = await office.fleet.events(kind="code_locked")
    assert told.severity == "alarm" and told.details["number"] == "1001"
    assert (await office.key_in(code)).outcome is Outcome.EXPIRED
    [one] = await office.codes.codes()
    assert one.state is CodeState.LOCKED
    assert (await office.key_in((await office.codes.reissue("1001", account="Acme")).code)).outcome is Outcome.ACCEPTED


async def test_who_only_claims_a_phone_cannot_bring_one_along(office: Office) -> None:
    code = await office.issue()
    assert (await office.key_in(code, STRANGER, authenticated=False)).outcome is Outcome.WRONG
    assert STRANGER not in [one.mac for one in await office.fleet.devices()]
    assert (await office.key_in(code, authenticated=False)).outcome is Outcome.ACCEPTED


async def test_a_revoked_phone_or_one_of_another_vendor_gets_nothing(office: Office) -> None:
    code = await office.issue()
    assert (await office.key_in(code, vendor="yealink", model="T46S")).outcome is Outcome.WRONG
    await office.fleet.revoke_device(DESK)
    assert (await office.key_in(code)).outcome is Outcome.WRONG
    assert await bound(office, DESK) == {}


async def test_a_model_without_prompts_hears_so_and_it_costs_nothing(office: Office) -> None:
    code = await office.issue()
    deaf = Mac("0004f2aabb50")
    assert not office.activation.supports("poly", DEAF) and office.activation.supports("poly", "vvx 411")
    assert not office.activation.supports("nobody", VVX)
    for given in ({"model": DEAF}, {"model": ""}, {"model": "Toaster"}, {"vendor": "nobody"}):
        assert (await office.key_in(code, deaf, **given)).outcome is Outcome.UNSUPPORTED
    await office.fleet.add_device(deaf, vendor="poly", model=DEAF, account="Acme")
    for _ in range(10):
        assert (await office.key_in(code, deaf)).outcome is Outcome.UNSUPPORTED
    assert len(await office.fleet.events(kind="code_unsupported")) == 1, "the same one once a minute"
    assert await office.kinds("code_budget") == []
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


# --- nothing is told that must not be -----------------------------------------------------------------


async def test_the_digits_are_in_no_event_no_log_no_repr_and_no_error(
    office: Office, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    issued = await office.codes.issue("1001", account="Acme")
    code = issued.code
    # Eight digits: shorter runs are met by chance in times and addresses of objects.
    parts = {code[start : start + 8] for start in range(len(code) - 7)} | {grouped(code), grouped(code)[:9]}
    said = [repr(issued), repr(attempt(code)), repr(await office.codes.codes())]
    strange = {"authenticated": False, "source": "\x1b[2J", "channel": "sip\n"}
    said += [repr(await office.key_in(code, mac, **strange)) for mac in (FOREIGN, STRANGER)]
    said.append(repr(await office.key_in(code[:-1] + str((int(code[-1]) + 1) % 10))))
    with pytest.raises(Conflict) as refused:
        await office.issue()
    said.append(str(refused.value))
    with monkeypatch.context() as broken:
        broken.setattr("provisioner.activation.binding.devices.insert_binding", None)
        with pytest.raises(TypeError) as fault:
            await office.key_in(code)
    said.append(repr(fault.value))
    await office.codes.reveal("1001", account="Acme")
    said.append(repr(await office.key_in(code)))
    said += [repr(await office.fleet.events(limit=1000)), caplog.text]
    for part in parts:
        assert [text for text in said if part in text] == []
    events = await office.fleet.events(limit=1000)
    assert all(not re.search(r"[^ -~]", value) for one in events for value in one.details.values())
    assert any(one.details.get("code") == masked(code) for one in events)


async def test_every_answer_has_its_cause_in_the_log(office: Office) -> None:
    code = await office.issue()
    await office.key_in(wrong(code), number=1, channel="agi")
    await office.key_in(code, number=3, channel="agi")
    told = [one for one in await office.fleet.events(mac=DESK) if "attempt" in one.details]
    assert [(one.kind, one.details["attempt"]) for one in told] == [
        ("code_failed", "1"),
        ("device_activated", "3"),
    ]
    assert {one.details["channel"] for one in told} == {"agi"} and {one.details["source"] for one in told} == {ADDRESS}


async def test_when_all_wait_the_next_is_told_to_come_again(office: Office, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "WAITING", 3)
    code = await office.issue()
    heard = await asyncio.gather(*(office.key_in(wrong(code, number), source="") for number in range(10)))
    outcomes = [one.outcome for one in heard]
    assert outcomes.count(Outcome.WRONG) == 1 + 3 and outcomes.count(Outcome.BUSY) == 6, "one is looked at, three wait"
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def test_a_code_that_is_only_held_up_binds_nothing(office: Office) -> None:
    code = await office.issue()
    for _ in range(3):
        held = await office.activation.hold(attempt(code))
        assert (held.outcome, held.extension, held.line, held.device) == (Outcome.ACCEPTED, "1001", 1, None)
    assert await bound(office, DESK) == {}
    for number in range(5):
        assert (await office.activation.hold(attempt(wrong(code, number)))).outcome is Outcome.WRONG
    assert (await office.activation.hold(attempt(code))).outcome is Outcome.LOCKED
    office.clock.now += 900
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def test_a_caller_is_greeted_by_what_it_would_hear_anyway(office: Office) -> None:
    code = await office.issue()
    assert await office.activation.greet(attempt("")) is None
    deaf = await office.activation.greet(attempt("", Mac("0004f2aabb50"), model=DEAF))
    assert deaf is not None and deaf.outcome is Outcome.UNSUPPORTED
    for number in range(5):
        await office.key_in(wrong(code, number))
    locked = await office.activation.greet(attempt(""))
    assert locked is not None and (locked.outcome, locked.retry_after) == (Outcome.LOCKED, 900)
    assert await office.activation.greet(attempt("", HALL, model="VVX 150")) is None


async def test_a_used_code_keyed_in_again_does_not_pay_for_guesses(office: Office) -> None:
    code = await office.issue()
    await office.key_in(code)
    for number in range(5):
        assert (await office.key_in(wrong(code, number))).outcome is Outcome.WRONG
        if number < 4:
            assert (await office.key_in(code)).outcome is Outcome.ACCEPTED
    assert (await office.key_in(code)).outcome is Outcome.LOCKED


async def test_layers_of_the_new_owner_reach_the_phone(office: Office) -> None:
    """The device layer of before stays; what is bound decides the rest."""
    await office.fleet.set_layer(Scope.DEVICE, DESK, {"language": "de-DE"})
    await office.key_in(await office.issue())
    assert [one.values["language"] for one in await office.fleet.layers(Scope.DEVICE)] == ["de-DE"]
