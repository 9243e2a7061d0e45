"""A storm plan in the vendors' layers: what it sets, and that all of it and nothing else can be taken back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from provisioner.errors import Invalid
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.shaping import Shaped, Unshaped
from provisioner.model import Scope
from provisioner.store.rows import StoredEvent

DELAY, ATTEMPTS, TO = "storm.retry_delay", "storm.retry_attempts", "poll.to"


async def said(fleet: Fleet) -> Mapping[str, Mapping[str, object]]:
    return {one.key: one.values for one in await fleet.layers(Scope.VENDOR)}


async def told(fleet: Fleet, kind: str) -> list[StoredEvent]:
    return await fleet.events(kind=kind)


@pytest.mark.asyncio
async def test_a_plan_is_set_for_all_vendors_at_once_and_taken_back_to_the_letter(fleet: Fleet) -> None:
    await fleet.set_layer(Scope.VENDOR, "poly", {DELAY: 70, "language": "de-DE"}, {"voice.gain": "3"})
    before = await fleet.layers()
    await fleet.shape({"poly": {DELAY: 90, ATTEMPTS: 4}, "yealink": {DELAY: 120, TO: "09:00"}})
    assert await said(fleet) == {
        "poly": {DELAY: 90, ATTEMPTS: 4, "language": "de-DE"},
        "yealink": {DELAY: 120, TO: "09:00"},
    }
    assert await fleet.shaped() == {
        "poly": {DELAY: Shaped(90, 70), ATTEMPTS: Shaped(4, None)},
        "yealink": {DELAY: Shaped(120, None), TO: Shaped("09:00", None)},
    }
    found = await fleet.unshape()
    assert await fleet.layers() == before
    assert Unshaped("poly", DELAY, 90, 70, taken_back=True) in found
    assert Unshaped("yealink", TO, "09:00", None, taken_back=True) in found
    assert len(found) == 4


@pytest.mark.asyncio
async def test_taking_back_a_second_time_does_nothing_and_tells_nothing(fleet: Fleet) -> None:
    assert await fleet.unshape() == []
    assert await told(fleet, "storm_shaped") == []
    await fleet.shape({"poly": {DELAY: 90}})
    assert len(await fleet.unshape()) == 1
    events = await fleet.events()
    assert await fleet.unshape() == []
    assert await fleet.events() == events
    assert await fleet.shaped() == {}
    assert await said(fleet) == {}


@pytest.mark.asyncio
async def test_one_plan_after_another_still_knows_what_stood_there_first(fleet: Fleet) -> None:
    await fleet.set_layer(Scope.VENDOR, "poly", {DELAY: 70})
    for value in (90, 180, 120):
        await fleet.shape({"poly": {DELAY: value, ATTEMPTS: 5}})
    assert (await fleet.shaped())["poly"][DELAY] == Shaped(120, 70)
    await fleet.shape({"poly": {DELAY: None}})
    assert await said(fleet) == {"poly": {DELAY: 70, ATTEMPTS: 5}}
    assert await fleet.shaped() == {"poly": {ATTEMPTS: Shaped(5, None)}}
    await fleet.unshape()
    assert await said(fleet) == {"poly": {DELAY: 70}}


@pytest.mark.asyncio
async def test_what_somebody_has_changed_since_is_theirs(fleet: Fleet) -> None:
    await fleet.shape({"poly": {DELAY: 90, ATTEMPTS: 4}, "yealink": {DELAY: 90, ATTEMPTS: 4}})
    await fleet.set_layer(Scope.VENDOR, "poly", {DELAY: 200})
    await fleet.unset_layer(Scope.VENDOR, "yealink", [ATTEMPTS])
    assert await fleet.shaped() == {"poly": {ATTEMPTS: Shaped(4, None)}, "yealink": {DELAY: Shaped(90, None)}}
    found = await fleet.unshape()
    assert {one for one in found if not one.taken_back} == {
        Unshaped("poly", DELAY, 90, 200, taken_back=False),
        Unshaped("yealink", ATTEMPTS, 4, None, taken_back=False),
    }
    assert await said(fleet) == {"poly": {DELAY: 200}}


@pytest.mark.asyncio
async def test_a_plan_over_somebodys_own_value_gives_that_back(fleet: Fleet) -> None:
    await fleet.shape({"poly": {DELAY: 90}})
    await fleet.set_layer(Scope.VENDOR, "poly", {DELAY: 200})
    await fleet.shape({"poly": {DELAY: 120}})
    await fleet.unshape()
    assert await said(fleet) == {"poly": {DELAY: 200}}


@pytest.mark.asyncio
async def test_a_plan_that_cannot_be_set_whole_is_not_set_at_all(fleet: Fleet) -> None:
    with pytest.raises(Invalid):
        await fleet.shape({"poly": {DELAY: 90}, "yealink": {DELAY: 100_000}})
    with pytest.raises(Invalid):
        await fleet.shape({"poly": {DELAY: 90}, "nobody": {DELAY: 90}})
    assert await said(fleet) == {}
    assert await fleet.events() == []


@pytest.mark.asyncio
async def test_who_did_what_is_kept_for_both_ways(fleet: Fleet) -> None:
    await fleet.shape({"poly": {DELAY: 90, ATTEMPTS: 4}})
    await fleet.unshape()
    first, last = await told(fleet, "storm_shaped")
    assert (first.actor, first.details["what"], first.details["now"]) == (
        "ann", "set", f"poly {DELAY}=90, poly {ATTEMPTS}=4",
    )  # fmt: skip
    assert (last.actor, last.details["what"], last.details["now"]) == ("ann", "taken back", "")
    (set_,), (unset,) = await told(fleet, "layer_set"), await told(fleet, "layer_unset")
    assert set_.details == unset.details == {"scope": "vendor", "key": "poly", "names": f"{DELAY}, {ATTEMPTS}"}
