"""What a proof is worth: it outlives the offer it came with, and no code takes a phone that is somebody's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from activation_office import ADDRESS, DESK, HALL, STRANGER, Office, attempt

from provisioner.activation_verdict import Outcome
from provisioner.model import Mac, Scope
from provisioner.settings import Settings
from provisioner.store.database import Store

pytestmark = pytest.mark.asyncio
WINDOW = 1800


@pytest_asyncio.fixture
async def office(store: Store, drivers: Mapping[str, Any], tmp_path: Path) -> Office:
    return await Office.opened(store, drivers, tmp_path)


async def bound(office: Office, mac: Mac) -> dict[int, str]:
    return {one.line: one.number for one in await office.fleet.bindings(mac, active=True)}


async def cause(office: Office) -> str:
    """Of the last refusal."""
    return (await office.fleet.events(kind="code_failed"))[-1].details["cause"]


async def greeted(office: Office, mac: Mac) -> Outcome | None:
    heard = await office.activation.greet(attempt("", mac))
    return heard.outcome if heard else None


# --- a phone that is somebody's -----------------------------------------------------------------------


async def test_who_only_claims_a_phone_that_is_somebody_s_adds_no_line_to_it(office: Office) -> None:
    await office.fleet.bind(HALL, 1, extension="1001")
    code = await office.issue("1002")
    claim = {"model": "VVX 150", "authenticated": False, "source": ""}
    assert (await office.activation.hold(attempt(code, HALL, **claim))).outcome is Outcome.WRONG
    assert (await office.key_in(code, HALL, **claim)).outcome is Outcome.WRONG
    assert await cause(office) == "device_has_lines"
    assert await bound(office, HALL) == {1: "1001"}


@pytest.mark.parametrize(("later", "heard"), [(WINDOW - 1, Outcome.ACCEPTED), (WINDOW, Outcome.WRONG_DEVICE)])
async def test_further_ports_are_activated_soon_after_the_first_or_not_at_all(
    office: Office, later: int, heard: Outcome
) -> None:
    first, second = await office.issue("1001"), await office.issue("1002")
    await office.key_in(first, HALL, model="VVX 150")
    office.clock.now += later
    assert (await office.key_in(second, HALL, model="VVX 150")).outcome is heard
    assert len(await bound(office, HALL)) == (2 if heard is Outcome.ACCEPTED else 1)


async def test_the_window_is_that_of_the_first_line(office: Office) -> None:
    """A second one does not open it again."""
    first, second, third = [await office.issue(number) for number in ("1001", "1002", "1003")]
    await office.key_in(first)
    office.clock.now += WINDOW - 1
    assert (await office.key_in(second)).line == 2
    office.clock.now += 1
    assert (await office.key_in(third)).outcome is Outcome.WRONG_DEVICE


async def test_a_phone_that_is_nobody_s_again_may_be_activated_again(office: Office) -> None:
    await office.fleet.bind(HALL, 1, extension="1001")
    office.clock.now += WINDOW
    await office.fleet.unbind(HALL, 1)
    assert (await office.key_in(await office.issue("1002"), HALL, model="VVX 150")).outcome is Outcome.ACCEPTED


async def test_a_used_code_is_repeated_for_a_while_only(office: Office) -> None:
    code = await office.issue()
    await office.key_in(code)
    office.clock.now += WINDOW - 1
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED
    office.clock.now += 1
    assert (await office.key_in(code)).outcome is Outcome.USED


# --- a proof that outlives its offer ------------------------------------------------------------------


async def test_a_removed_phone_is_nobody_until_it_has_come_again(office: Office) -> None:
    code = await office.issue()
    await office.seen(STRANGER)
    await office.fleet.add_device(STRANGER, vendor="poly", model="VVX 411", account="Acme")
    await office.fleet.remove_device(STRANGER)
    assert await greeted(office, STRANGER) is Outcome.UNSUPPORTED
    assert (await office.key_in(code, STRANGER)).outcome is Outcome.WRONG
    assert await cause(office) == "not_offered"
    assert STRANGER not in [one.mac for one in await office.fleet.devices()]
    await office.seen(STRANGER)
    assert await greeted(office, STRANGER) is None
    assert (await office.key_in(code, STRANGER)).outcome is Outcome.ACCEPTED


async def test_a_stranger_counts_only_from_the_networks_that_are_offered(
    store: Store, drivers: Mapping[str, Any], tmp_path: Path
) -> None:
    for networks, heard in (((), Outcome.WRONG), (("203.0.113.0/24",), Outcome.WRONG), ((ADDRESS,), Outcome.ACCEPTED)):
        if not networks:
            office = await Office.opened(store, drivers, tmp_path, activation_networks=networks)
            code = await office.issue()
            await office.seen(STRANGER)
        else:
            office = Office(store, office.drivers, _with(office, networks), office.clock)
        assert (await office.key_in(code, STRANGER)).outcome is heard, networks


def _with(office: Office, networks: tuple[str, ...]) -> Settings:
    return replace(office.settings, activation_networks=networks)


async def test_a_revoked_phone_is_sent_away_before_it_keys_in_anything(office: Office) -> None:
    assert await greeted(office, DESK) is None
    await office.fleet.revoke_device(DESK)
    assert await greeted(office, DESK) is Outcome.UNSUPPORTED
    [told] = await office.fleet.events(kind="code_unsupported")
    assert told.details["cause"] == "not_offered"
    assert (await office.key_in(await office.issue())).outcome is Outcome.WRONG
    assert await cause(office) == "device_revoked"


@pytest.mark.parametrize("scope", [Scope.ACCOUNT, Scope.SITE, Scope.DEVICE])
async def test_where_activation_is_off_a_secret_of_before_is_worth_nothing(office: Office, scope: Scope) -> None:
    device, code = await office.fleet.device(DESK), await office.issue()
    key = {Scope.ACCOUNT: device.account, Scope.SITE: device.site, Scope.DEVICE: DESK}[scope]
    await office.fleet.set_layer(scope, key, {"activation": False})
    assert await greeted(office, DESK) is Outcome.UNSUPPORTED
    assert (await office.key_in(code)).outcome is Outcome.WRONG
    assert await cause(office) == "not_offered"
    assert await bound(office, DESK) == {}
    await office.fleet.set_layer(scope, key, {"activation": True})
    assert await greeted(office, DESK) is None
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED


async def test_the_nearest_layer_decides(office: Office) -> None:
    account = (await office.fleet.device(DESK)).account
    await office.fleet.set_layer(Scope.ACCOUNT, account, {"activation": False})
    await office.fleet.set_layer(Scope.DEVICE, DESK, {"activation": True})
    assert (await office.key_in(await office.issue())).outcome is Outcome.ACCEPTED
