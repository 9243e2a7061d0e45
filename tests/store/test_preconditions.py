"""What an account asks for, when a code is issued, when it is keyed in and on bind; and more phones than one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from activation_office import DESK, FOREIGN, HALL, STRANGER, Office, attempt
from alembic import command
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from provisioner.activation_verdict import Outcome
from provisioner.codes import CodeState
from provisioner.deeds import Deed
from provisioner.errors import Conflict, ExtensionHasPhone, Invalid, NoLicense, NoNumber, ProvisionerError
from provisioner.licensing import RESERVED, LicenseKind
from provisioner.model import Mac
from provisioner.store import devices, migrations
from provisioner.store.database import Store
from provisioner.store.rows import Binding

pytestmark = pytest.mark.asyncio
LONDON = "+442071234567"


@pytest_asyncio.fixture
async def office(store: Store, drivers: Mapping[str, Any], tmp_path: Path) -> Office:
    return await Office.opened(store, drivers, tmp_path)


async def licensed(office: Office) -> None:
    """Ann has a license, and from now on one is needed."""
    await office.fleet.add_licenses(LicenseKind.USER, account="Acme")
    await office.fleet.assign_license("Ann")
    await office.fleet.set_policy("Acme", needs_license=True)


async def numbered(office: Office) -> None:
    await office.fleet.add_numbers([LONDON], account="Acme")
    await office.fleet.assign_number(LONDON, extension="1001", account="Acme")
    await office.fleet.set_policy("Acme", needs_number=True)


async def reasons(office: Office, number: str = "1001") -> dict[str, str]:
    found = await office.codes.check(number, account="Acme")
    return {one.name: one.error.kind for one in found if one.error}


async def bound(office: Office, mac: Mac) -> dict[int, str]:
    return {one.line: one.number for one in await office.fleet.bindings(mac, active=True)}


# --- the policy -----------------------------------------------------------------------------------------


async def test_an_account_asks_for_nothing_until_it_says_so(office: Office) -> None:
    policy = await office.fleet.policy("Acme")
    assert (policy.needs_license, policy.needs_number, policy.phones) == (False, False, 1)
    assert policy.reserved == RESERVED
    assert await reasons(office) == {}
    changed = await office.fleet.set_policy("Acme", needs_number=True, reserved=["911", "112", "911"])
    assert changed == await office.fleet.policy("Acme")
    assert (changed.needs_license, changed.needs_number, changed.reserved) == (False, True, ("112", "911"))
    assert (await office.fleet.policy("Beta")).needs_number is False
    [told] = await office.fleet.events(kind="policy_set")
    assert told.details["needs_number"] == "no -> yes" and "phones" not in told.details
    for wrong in ({"phones": 0}, {"phones": 11}, {"reserved": ["x"]}):
        with pytest.raises(Invalid):
            await office.fleet.set_policy("Acme", **wrong)  # type: ignore[arg-type]  # wrong values are the point


# --- when a code is issued, and on bind -----------------------------------------------------------------


async def test_without_license_or_number_there_is_neither_code_nor_binding(office: Office) -> None:
    await office.fleet.set_policy("Acme", needs_license=True, needs_number=True)
    assert await reasons(office) == {"license": "no_license", "number": "no_number"}
    with pytest.raises(NoLicense) as unlicensed:
        await office.issue()
    assert unlicensed.value.cure and unlicensed.value.cure.deed is Deed.ASSIGN_LICENSE
    with pytest.raises(NoLicense):
        await office.fleet.bind(DESK, 1, extension="1001")
    await licensed(office)
    with pytest.raises(NoNumber) as unnumbered:
        await office.issue()
    assert unnumbered.value.cure and unnumbered.value.cure.deed is Deed.ASSIGN_NUMBER
    with pytest.raises(NoNumber):
        await office.fleet.bind(DESK, 1, extension="1001")
    await numbered(office)
    assert await reasons(office) == {} and await reasons(office, "1002") == {"number": "no_number"}
    assert await office.issue()
    await office.fleet.bind(DESK, 1, extension="1001")


async def test_a_lobby_license_does_and_one_for_numbers_does_not(office: Office) -> None:
    await office.fleet.set_policy("Acme", needs_license=True)
    await office.fleet.add_licenses(LicenseKind.ADDITIONAL_NUMBER, account="Acme")
    await office.fleet.assign_license("Ann", kind=LicenseKind.ADDITIONAL_NUMBER)
    assert await reasons(office) == {"license": "no_license"}
    await office.fleet.add_licenses(LicenseKind.LOBBY, account="Acme")
    await office.fleet.assign_license("Ann", kind=LicenseKind.LOBBY)
    assert await reasons(office) == {}


async def test_a_number_counts_when_it_has_come(office: Office) -> None:
    await office.fleet.add_numbers([LONDON], account="Acme", porting=True)
    await office.fleet.assign_number(LONDON, extension="1001", account="Acme")
    await office.fleet.set_policy("Acme", needs_number=True)
    assert await reasons(office) == {"number": "no_number"}
    await office.fleet.number_ported(LONDON)
    assert await reasons(office) == {}


# --- when a code is keyed in ----------------------------------------------------------------------------


async def lose(office: Office, what: str) -> str:
    """Issue a code, then take away what it needs; the cause that is to be logged."""
    if what == "no_number":
        await numbered(office)
        code = await office.issue()
        await office.fleet.unassign_number(LONDON)
        return code
    await licensed(office)
    code = await office.issue()
    await (office.fleet.suspend_license("Ann") if what == "suspended" else office.fleet.unassign_license("Ann"))
    return code


async def regain(office: Office, what: str) -> None:
    if what == "no_number":
        await office.fleet.assign_number(LONDON, extension="1001", account="Acme")
    else:
        await (office.fleet.resume_license("Ann") if what == "suspended" else office.fleet.assign_license("Ann"))


@pytest.mark.parametrize("what", ["no_license", "suspended", "no_number"])
async def test_what_is_gone_by_then_sends_the_caller_to_the_administrator(office: Office, what: str) -> None:
    code = await lose(office, what)
    assert (await office.activation.hold(attempt(code))).outcome is Outcome.NOT_READY
    for _ in range(8):  # more than a device may guess in an hour
        assert (await office.key_in(code)).outcome is Outcome.NOT_READY
    assert (await office.key_in(code, authenticated=False)).outcome is Outcome.WRONG
    assert await bound(office, DESK) == {}
    told = await office.fleet.events(kind="code_failed")
    assert {one.details["cause"] for one in told} == {"no_number" if what == "no_number" else "no_license"}
    assert [one.state for one in await office.codes.codes()] == [CodeState.ISSUED], "the code is still good"
    await regain(office, what)
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def test_who_has_been_bound_already_hears_that_it_worked(office: Office) -> None:
    """Nothing is given that was not there: the phone has the extension."""
    await licensed(office)
    code = await office.issue()
    await office.key_in(code)
    await office.fleet.suspend_license("Ann")
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def test_the_log_says_why_a_phone_cannot_be_activated_by_a_code(office: Office) -> None:
    code = await office.issue()
    for model, cause in (("SoundPoint IP 450", "ivr_unsupported_model"), ("Toaster 3000", "model_unsupported")):
        office.clock.now += 120
        assert (await office.key_in(code, STRANGER, model=model)).outcome is Outcome.UNSUPPORTED
        assert (await office.fleet.events(kind="code_unsupported"))[-1].details["cause"] == cause


# --- more phones than one -------------------------------------------------------------------------------


async def test_one_phone_an_extension_unless_its_account_lets_it_have_more(office: Office) -> None:
    await office.fleet.bind(DESK, 1, extension="1001")
    with pytest.raises(ExtensionHasPhone, match=f"line 1 of {DESK.colons}"):
        await office.fleet.bind(HALL, 1, extension="1001")
    await office.fleet.set_policy("Acme", phones=2)
    assert await reasons(office) == {}
    second = await office.fleet.bind(HALL, 1, extension="1001")
    assert second.slot == 2
    with pytest.raises(ExtensionHasPhone, match="of this device"):
        await office.fleet.bind(HALL, 2, extension="1001")
    assert await reasons(office) == {"extension": "extension_has_phone"}
    await office.fleet.set_secret("1001", account="Acme")
    assert (await office.fleet.policy("Beta")).phones == 1
    await office.fleet.bind(FOREIGN, 1, extension="1001")


async def test_a_code_gives_an_extension_its_second_phone(office: Office) -> None:
    await office.fleet.set_policy("Acme", phones=2)
    await office.fleet.bind(DESK, 1, extension="1001")
    code = await office.issue()
    assert (await office.key_in(code, HALL, model="VVX 150")).outcome is Outcome.ACCEPTED
    assert await bound(office, DESK) == await bound(office, HALL) == {1: "1001"}
    assert (await office.key_in(code, HALL, model="VVX 150")).outcome is Outcome.ACCEPTED, "it may repeat it"
    with pytest.raises(ExtensionHasPhone):
        await office.issue()


async def test_a_phone_too_many_is_refused_when_the_policy_was_lowered_meanwhile(office: Office) -> None:
    await office.fleet.set_policy("Acme", phones=2)
    await office.fleet.bind(DESK, 1, extension="1001")
    code = await office.issue()
    await office.fleet.set_policy("Acme", phones=1)
    assert (await office.key_in(code, HALL, model="VVX 150")).outcome is Outcome.EXPIRED
    [told] = await office.fleet.events(kind="code_failed")
    assert told.details["cause"] == "extension_has_phone"


@pytest.mark.parametrize("door", ["bind", "code"])
async def test_replacing_takes_the_place_of_who_has_had_it_longest(office: Office, door: str) -> None:
    await office.fleet.set_policy("Acme", phones=2)
    third = Mac("0004f2aabb60")
    await office.fleet.add_device(third, vendor="poly", model="VVX 150", account="Acme")
    await office.fleet.bind(HALL, 1, extension="1001")
    office.clock.now += 60
    await office.fleet.bind(DESK, 1, extension="1001")
    if door == "bind":
        assert (await office.fleet.bind(third, 1, extension="1001", replace=True)).slot == 1
    else:
        heard = await office.key_in(await office.issue(replace=True), third, model="VVX 150")
        assert (heard.outcome, heard.replaced) == (Outcome.ACCEPTED, HALL)
    assert await bound(office, HALL) == {} and await bound(office, DESK) == await bound(office, third) == {1: "1001"}
    assert (await office.kinds("line_"))[-2:] == ["line_unbound", "line_bound"]


async def test_a_phone_may_move_an_extension_to_another_of_its_lines(office: Office) -> None:
    await office.fleet.bind(DESK, 1, extension="1001")
    await office.fleet.bind(DESK, 2, extension="1001", replace=True)
    assert await bound(office, DESK) == {2: "1001"}
    before = await office.fleet.bindings(DESK)
    await office.fleet.bind(DESK, 2, extension="1001", replace=True)
    assert await office.fleet.bindings(DESK) == before, "what is so already stays so"


async def test_a_replacement_by_mac_that_is_refused_has_not_happened(office: Office) -> None:
    await office.fleet.bind(DESK, 1, extension="1001")
    await office.fleet.set_policy("Acme", needs_license=True)
    with pytest.raises(NoLicense):
        await office.fleet.bind(HALL, 1, extension="1001", replace=True)
    assert await bound(office, DESK) == {1: "1001"} and await bound(office, HALL) == {}


async def test_a_policy_is_lowered_only_to_what_there_is(office: Office, store: Store) -> None:
    await office.fleet.set_policy("Acme", phones=3)
    await office.fleet.bind(HALL, 1, extension="1001")
    await office.fleet.bind(DESK, 1, extension="1001")
    with pytest.raises(Conflict, match="until 1 are left"):
        await office.fleet.set_policy("Acme", phones=1)
    assert (await office.fleet.policy("Acme")).phones == 3
    await office.fleet.unbind(HALL, 1)
    assert (await office.fleet.set_policy("Acme", phones=1)).phones == 1
    async with store.reading() as connection:
        [left] = await devices.bindings_of(connection, DESK, active=True)
    assert left.slot == 1, "what is left is the one that an extension may have"


async def test_the_database_itself_gives_a_slot_once(office: Office, store: Store) -> None:
    """Whatever the program believes: with one phone an extension there is slot 1 and nothing else."""
    one = await office.fleet.bind(DESK, 1, extension="1001")
    with pytest.raises(Conflict):
        async with store.writing() as connection:
            again = Binding(HALL, 1, one.extension, "1001", "", office.clock(), None, "ann", "bind")
            await devices.insert_binding(connection, again)


async def test_bindings_from_before_are_the_only_phone_of_their_extension(tmp_path: Path) -> None:
    plain = f"sqlite:///{tmp_path / 'before.db'}"
    engine = create_engine(plain)
    with engine.begin() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
    rows = (
        "INSERT INTO account (id, name, created) VALUES ('a', 'Acme', 0)",
        "INSERT INTO user (id, account, name) VALUES ('u', 'a', 'Ann')",
        "INSERT INTO extension (id, account, number, user, auth_user, secret) VALUES ('e', 'a', '1', 'u', '1', '')",
        "INSERT INTO device (mac, vendor, model, account, created) VALUES ('m', 'poly', 'VVX 411', 'a', 0)",
        "INSERT INTO binding (mac, line, extension, since, actor, cause) VALUES ('m', 1, 'e', 0, 'ann', 'bind')",
    )
    with engine.begin() as connection:
        for row in rows:
            connection.execute(text(row))
    migrations.upgrade(plain)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT slot FROM binding")).scalar_one() == 1
        with pytest.raises(IntegrityError):
            connection.execute(text(rows[-1].replace("1, 'e', 0", "2, 'e', 0")))
    engine.dispose()


async def test_errors_of_preconditions_are_conflicts_with_a_reason_of_their_own() -> None:
    kinds: list[type[ProvisionerError]] = [NoLicense, NoNumber, ExtensionHasPhone]
    assert [(one.kind, one.status) for one in kinds] == [
        ("no_license", 409), ("no_number", 409), ("extension_has_phone", 409)
    ]  # fmt: skip
