"""Files are compared as the device had fetched them: by that listener, that proof and that firmware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from resync_fleet import PHONES, URLS, Floor

from provisioner.activation.binding import ACTOR
from provisioner.model import ListenerKind, Mac, Proof, Scope
from provisioner.resync.compare import Verdict
from provisioner.resync.errands import ACTIVATION
from provisioner.resync.resync import Draft, Whom
from provisioner.resync_states import State
from provisioner.store.database import Store
from provisioner.store.rows import Binding
from provisioner.store.uploads import UploadShelf

pytestmark = pytest.mark.asyncio
ONE = PHONES[0]
DESK = Mac("001565aabb01")
LEGACY = {**URLS, ListenerKind.LEGACY: "https://prov.example.net:8444/"}
TOKEN = "A1b2C3d4E5f6G7h8J9k0L1"  # no secret of anything


@pytest_asyncio.fixture
async def floor(store: Store, tmp_path: Path) -> Floor:
    floor = await Floor.opened(store, tmp_path)
    await floor.fleet.add_device(DESK, vendor="yealink", model="T46U", account="Acme")
    await floor.fleet.add_extension("1009", account="Acme", user="Ann", auth_user="u9")
    await floor.fleet.bind(DESK, 1, extension="1009")
    return floor


async def touched(floor: Floor, urls: Any = LEGACY) -> Draft:
    """A change that makes no other file, so whoever is told would restart for nothing."""
    await floor.fleet.set_layer(Scope.DEFAULTS, "", {}, {"yealink:phone_setting.test": "1", "poly:a.test": "1"})
    await floor.fleet.unset_layer(Scope.DEFAULTS, "", ["yealink:phone_setting.test", "poly:a.test"])
    return await floor.resync.plan(Whom(changed=True), 10.0, urls)


@pytest.mark.parametrize(
    "seen",
    [
        {},
        {"firmware": "108.86.0.20"},
        {"listener": ListenerKind.LEGACY, "base_url": LEGACY[ListenerKind.LEGACY]},
        {"proof": Proof.TOKEN, "base_url": f"{URLS[ListenerKind.DEVICE]}t/{TOKEN}/"},
    ],
    ids=["plain", "firmware", "legacy", "token"],
)
async def test_nobody_restarts_for_nothing_however_it_fetched(floor: Floor, seen: dict[str, Any]) -> None:
    await floor.fetch(*PHONES, DESK, **seen)
    draft = await touched(floor)
    assert not draft.turns and draft.left_out == {Verdict.SAME: len(PHONES) + 1}
    await floor.fleet.set_secret("1009")
    assert [one.mac for one in (await floor.resync.plan(Whom(changed=True), 10.0, LEGACY)).turns] == [DESK]


async def test_another_address_of_the_server_is_another_file(floor: Floor) -> None:
    await floor.fetch(DESK)
    draft = await touched(floor, {ListenerKind.DEVICE: "https://elsewhere.example.net/"})
    assert DESK in {one.mac for one in draft.turns}


async def test_a_phone_whose_firmware_is_too_old_is_compared_with_what_it_gets(floor: Floor) -> None:
    await floor.fetch(ONE, firmware="5.0.0", upgrade_only=True)
    draft = await touched(floor)
    assert ONE not in {one.mac for one in draft.turns} and ONE not in draft.same


async def test_what_a_phone_has_uploaded_is_not_compared(floor: Floor) -> None:
    shelf = UploadShelf(floor.store)
    file = floor.drivers["poly"].match(f"{ONE}-phone.cfg", "")
    assert file is not None and file.upload
    await shelf.put(ONE, file.name, file.kind, b"<overrides/>")
    await floor.fetch(DESK)
    assert not (await touched(floor)).turns


async def test_without_a_record_a_phone_is_told(floor: Floor) -> None:
    await floor.fetch(DESK)
    async with floor.store.writing() as connection:
        from sqlalchemy import delete

        from provisioner.store import schema

        await connection.execute(delete(schema.last_fetch).where(schema.last_fetch.c.mac == DESK))
    assert [one.mac for one in (await touched(floor)).turns] == [DESK]


async def test_what_cannot_be_rendered_restarts_nobody_and_is_named(floor: Floor) -> None:
    await floor.change(ONE)
    async with floor.store.writing() as connection:
        from sqlalchemy import update

        from provisioner.store import schema

        await connection.execute(update(schema.device).where(schema.device.c.mac == ONE).values(model="VVX 999"))
    draft = await floor.resync.plan(Whom(changed=True), 10.0, URLS)
    assert not draft.turns and draft.left_out == {Verdict.BROKEN: 1} and "VVX 999" in draft.broken[ONE]


# --- a phone that its code has just bound ---------------------------------------------------------


async def activate(floor: Floor, mac: Mac) -> None:
    """As a redeemed code leaves it: row, binding and code, and nothing else."""
    from activation_office import attempt

    from provisioner.activation.activation import Activation
    from provisioner.activation.codes import Codes

    await floor.fleet.add_extension("1010", account="Acme", user="Ann")
    await floor.fleet.add_device(mac, vendor="poly", model="VVX 411", account="Acme")
    await floor.fleet.set_layer(Scope.DEVICE, mac, {"activation": True})
    codes = Codes(floor.store, floor.drivers, floor.settings, actor="ann", clock=floor.clock)
    code = (await codes.issue("1010", account="Acme")).code
    activation = Activation(floor.store, floor.drivers, floor.settings, clock=floor.clock)
    await activation.redeem(attempt(code, mac))


async def test_a_phone_bound_by_a_code_is_told_even_if_the_server_was_killed_in_between(floor: Floor) -> None:
    mac = Mac("0004f2aabbcc")
    await activate(floor, mac)
    heard: list[tuple[Mac, str]] = []

    async def notify(one: Mac, event: str) -> int:
        heard.append((one, event))
        return 200

    later = floor.another()
    for _ in range(5):
        await later.send({mac}, notify)
        await later.close()
        floor.clock.now += 1
    assert heard == [(mac, "check-sync")]
    one = await floor.standing(mac)
    assert (one.state, one.campaign) == (State.NOTIFIED, ACTIVATION)
    await floor.fetch(mac)
    await later.turn()
    assert (await floor.standing(mac)).state is State.FETCHED
    floor.clock.now += 60
    await later.send({mac}, notify)
    assert len(heard) == 1


async def test_a_phone_bound_by_a_code_that_has_fetched_by_itself_is_not_restarted(floor: Floor) -> None:
    mac = Mac("0004f2aabbcd")
    await activate(floor, mac)
    await floor.fetch(mac)
    await floor.errands.turn()
    assert mac not in await floor.states()
    [binding] = await floor.fleet.bindings(mac)
    assert isinstance(binding, Binding) and binding.actor == ACTOR
