"""The administrator's side of codes: what must be so before one is made, and what may be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from activation_office import DEAF, DESK, FOREIGN, HALL, STRANGER, VVX, Office
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.activation.codes import Codes
from provisioner.activation_verdict import Outcome
from provisioner.codes import CodeState, checks
from provisioner.deeds import Cure, Deed
from provisioner.errors import (
    Conflict,
    ExtensionHasPhone,
    Invalid,
    IvrUnsupportedModel,
    ModelUnsupported,
    NoLicense,
    NoNumber,
    NotFound,
)
from provisioner.model import FetchRecord, ListenerKind, Mac, Proof
from provisioner.preconditions import Lack, Preconditions
from provisioner.progress import UNPLUG, Stage
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.rows import Extension

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def office(store: Store, drivers: Mapping[str, Any], tmp_path: Path) -> Office:
    return await Office.opened(store, drivers, tmp_path)


async def test_a_code_is_issued_with_its_life_and_its_event(office: Office) -> None:
    issued = await office.codes.issue("1001", account="Acme", life=3600, model="vvx411", mac=DESK, site="Berlin")
    assert checks(issued.code) and len(issued.code) == 12
    one = issued.about
    assert (one.number, one.state, one.actor, one.mac, one.model) == ("1001", CodeState.ISSUED, "ann", DESK, VVX)
    assert issued.expires == office.clock() + 3600
    [told] = await office.fleet.events(kind="code_issued")
    assert (told.actor, told.details["number"], told.details["life"]) == ("ann", "1001", "3600 s")
    assert [one.id for one in await office.codes.codes(account="Acme")] == [issued.about.id]
    assert await office.codes.codes(account="Beta") == []


@pytest.mark.parametrize("digits", [8, 13, 16])
async def test_codes_of_other_lengths_work_beside_each_other(
    store: Store, drivers: Mapping[str, Any], tmp_path: Path, digits: int
) -> None:
    office = await Office.opened(store, drivers, tmp_path, activation_digits=digits)
    code = await office.issue()
    assert len(code) == digits
    usual = Codes(store, office.drivers, type(office.settings)(data=tmp_path), clock=office.clock)
    assert len((await usual.issue("1002", account="Acme")).code) == 12
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def test_a_life_beyond_the_bounds_is_refused(office: Office) -> None:
    for life in (3599, 0, -1, 7_776_001, float("nan"), float("inf")):
        with pytest.raises(Invalid, match="1 h to 90 d"):
            await office.codes.issue("1001", account="Acme", life=life)
    assert await office.codes.codes() == []


# --- preconditions ------------------------------------------------------------------------------------


async def _unpaid(_connection: AsyncConnection, extension: Extension) -> Lack | None:
    return Lack("the account has 0 licenses left: assign one to its user") if extension.number == "1001" else None


async def test_without_a_license_there_is_no_code(office: Office, store: Store) -> None:
    strict = Codes(store, office.drivers, office.settings, clock=office.clock, wanted=Preconditions(license=_unpaid))
    with pytest.raises(NoLicense, match="0 licenses left"):
        await strict.issue("1001", account="Acme")
    assert (await strict.issue("1002", account="Acme")).code


async def test_an_extension_nobody_can_dial_gets_none(office: Office) -> None:
    await office.fleet.add_extension("lobby", account="Acme", user="Ann")
    with pytest.raises(NoNumber, match="lobby"):
        await office.codes.issue("lobby")


async def test_an_extension_that_has_its_phone_names_it(office: Office) -> None:
    await office.fleet.bind(HALL, 2, extension="1001")
    with pytest.raises(ExtensionHasPhone, match=f"line 2 of {HALL.colons}"):
        await office.issue()
    assert (await office.codes.issue("1001", account="Acme", replace=True)).about.replaces


@pytest.mark.parametrize("given", [{"model": DEAF}, {"mac": Mac("0004f2aabb50")}])
async def test_a_phone_that_cannot_call_is_refused_with_the_advice_to_use_its_mac(
    office: Office, given: dict[str, Any]
) -> None:
    await office.fleet.add_device(Mac("0004f2aabb50"), vendor="poly", model=DEAF, account="Acme")
    with pytest.raises(IvrUnsupportedModel) as refused:
        await office.issue(**given)
    assert refused.value.cure == Cure(Deed.BIND, "1001")


async def test_a_model_nobody_knows_or_that_is_not_this_phones(office: Office) -> None:
    with pytest.raises(ModelUnsupported, match="no model that is known here") as refused:
        await office.issue(model="Toaster 3000")
    assert refused.value.cure == Cure(Deed.LIST_MODELS)
    with pytest.raises(ModelUnsupported, match="is a VVX 411, not a VVX 150"):
        await office.issue(model="VVX 150", mac=DESK)


async def test_ties_to_another_account_are_refused_by_field(office: Office) -> None:
    with pytest.raises(Invalid) as refused:
        await office.issue(mac=FOREIGN)
    assert refused.value.field == "mac"
    await office.fleet.add_site("Rome", account="Beta")
    with pytest.raises(NotFound):
        await office.issue(site="Rome")
    assert (await office.codes.issue("1002", account="Acme", mac=STRANGER)).about.mac == STRANGER


async def test_the_check_lists_all_that_is_missing_and_changes_nothing(office: Office) -> None:
    await office.fleet.bind(HALL, 2, extension="1001")
    found = await office.codes.check("1001", account="Acme", model=DEAF)
    assert {one.name: one.error.kind if one.error else "" for one in found} == {
        "code": "",
        "license": "",
        "number": "",
        "extension": "extension_has_phone",
        "model": "",
        "ivr": "ivr_unsupported_model",
    }
    assert all(one.error is None for one in await office.codes.check("1002"))
    assert await office.codes.codes() == [] and await office.kinds() == []


# --- its life -----------------------------------------------------------------------------------------


async def test_a_second_code_is_refused_and_a_reissue_ends_the_first(office: Office) -> None:
    first = await office.issue(mac=DESK, site="Berlin", model=VVX)
    with pytest.raises(Conflict, match="has a code already") as refused:
        await office.issue()
    assert refused.value.cure == Cure(Deed.REVEAL_CODE, "1001")
    second = await office.codes.reissue("1001", account="Acme", life=7200)
    about = second.about
    assert (about.mac, about.model, about.expires) == (DESK, VVX, office.clock() + 7200) and about.site
    assert (await office.key_in(first)).outcome is Outcome.EXPIRED
    assert (await office.key_in(second.code)).outcome is Outcome.ACCEPTED
    assert await office.kinds() == ["code_issued", "code_reissued", "code_issued", "code_failed"]


async def test_what_is_advised_of_a_code_by_its_state_works(office: Office) -> None:
    code = await office.issue("1001")
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED
    with pytest.raises(Conflict, match="is used ") as used:
        await office.codes.reissue("1001", account="Acme")
    assert used.value.cure == Cure(Deed.ISSUE_CODE_INSTEAD, "1001")
    assert await office.issue("1001", replace=True)
    await office.codes.revoke("1001", account="Acme")
    locked = await office.issue("1002", mac=HALL)
    for _ in range(3):
        await office.key_in(locked)
    with pytest.raises(Conflict, match="is locked ") as shut:
        await office.codes.reveal("1002")
    assert shut.value.cure == Cure(Deed.REISSUE_CODE, "1002")
    [held] = [one.error for one in await office.codes.check("1002") if one.name == "code"]
    assert held is not None and held.cure == Cure(Deed.REISSUE_CODE, "1002")
    assert await office.codes.reissue("1002")


async def test_an_expired_code_makes_way_by_itself(office: Office) -> None:
    await office.issue("1001", mac=DESK)
    await office.issue("1002")
    office.clock.now += 604_800
    assert {one.state for one in await office.codes.codes()} == {CodeState.EXPIRED}
    assert await office.issue("1002")
    assert (await office.codes.reissue("1001", account="Acme")).about.mac == DESK
    for refused in (office.codes.reveal("1003"), office.codes.revoke("1003"), office.codes.reissue("1003")):
        with pytest.raises(NotFound, match="has no activation code") as none:
            await refused
        assert none.value.cure == Cure(Deed.ISSUE_CODE, "1003")


async def test_reading_a_code_is_an_event_and_gives_the_same_digits(office: Office) -> None:
    code = await office.issue()
    assert (await office.codes.reveal("1001", account="Acme")).code == code
    [told] = await office.fleet.events(kind="code_revealed")
    assert (told.actor, told.severity) == ("ann", "warning")


@pytest.mark.parametrize("end", ["used", "revoked", "expired"])
async def test_what_is_over_is_neither_read_nor_taken_back(office: Office, end: str) -> None:
    code = await office.issue()
    if end == "used":
        await office.key_in(code)
    elif end == "revoked":
        assert (await office.codes.revoke("1001", account="Acme")).state is CodeState.REVOKED
    else:
        office.clock.now += 604_800
    for refused in (office.codes.reveal("1001", account="Acme"), office.codes.revoke("1001", account="Acme")):
        with pytest.raises(Conflict, match=end):
            await refused


async def test_codes_survive_a_restart(office: Office, store: Store, tmp_path: Path) -> None:
    code = await office.issue(mac=DESK)
    url = store.url.render_as_string(hide_password=False)
    async with Store(url, store.box, tmp_path / "uploads") as again:
        fresh = Codes(again, office.drivers, office.settings, clock=office.clock)
        assert (await fresh.reveal("1001", account="Acme")).code == code
        assert (await office.key_in(code, activation=office.another(again))).outcome is Outcome.ACCEPTED


# --- and then -----------------------------------------------------------------------------------------


async def test_how_far_the_phone_is_shows_by_what_it_fetches(office: Office, make_recorder: Any) -> None:
    async def stage() -> tuple[Stage, str]:
        found = await office.fleet.progress(DESK, office.settings)
        [one] = await office.codes.codes()
        assert (await office.codes.arrivals([one])).get(one.id, found) == found
        return found.stage, found.hint

    async def fetch(status: int = 200) -> None:
        recorder = make_recorder()
        proof = (Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "")
        recorder.fetch(FetchRecord(DESK, "a.cfg", office.clock(), status, 3, "d", *proof))
        await recorder.flush()

    await fetch()
    code = await office.issue()
    assert await stage() == (Stage.UNBOUND, "")
    office.clock.now += 10
    await office.key_in(code)
    assert await stage() == (Stage.WAITING, "")
    office.clock.now += 120
    assert await stage() == (Stage.WAITING, UNPLUG)
    await fetch(404)
    assert (await stage())[0] is Stage.WAITING
    await fetch()
    assert await stage() == (Stage.ACTIVATING, "")
    office.clock.now += 120
    assert await stage() == (Stage.ONLINE, "")
    with pytest.raises(NotFound):
        await office.fleet.progress(STRANGER, office.settings)


async def test_a_phone_that_has_come_is_not_stuck_because_it_polls(office: Office, make_recorder: Any) -> None:
    """Half an hour to an hour after it was bound; a phone that never got its configuration is."""

    async def stages() -> set[Stage]:
        one = (await office.fleet.progress(DESK, office.settings)).stage
        many = await office.fleet.stages([DESK, HALL], office.settings)
        assert many[HALL].stage is Stage.UNBOUND
        return {one, many[DESK].stage}

    async def fetch(revision: int) -> None:
        recorder = make_recorder()
        proof = (Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "")
        recorder.fetch(FetchRecord(DESK, "a.cfg", office.clock(), 200, 3, "d", *proof, revision))
        await recorder.flush()

    async def newest() -> int:
        async with office.store.reading() as connection:
            return (await connection.execute(select(schema.revision.c.value))).scalar_one()

    await office.fleet.bind(DESK, 1, extension="1001")
    office.clock.now += 2000
    await fetch(-1)
    assert await stages() == {Stage.STUCK}, "a boot file only, again and again"
    await fetch(await newest())
    assert await stages() == {Stage.ONLINE}
    await office.fleet.unbind(DESK, 1)
    await office.fleet.bind(DESK, 1, extension="1001")
    office.clock.now += 60
    await fetch(await newest())
    assert await stages() == {Stage.ACTIVATING}
    for _ in range(3):
        office.clock.now += 1200
        await fetch(-1)  # it has this already, so nothing more is noted than that it was here
        assert Stage.STUCK not in await stages()
    assert await stages() == {Stage.ONLINE}
