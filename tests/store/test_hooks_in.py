"""Webhooks in: proven, stored as they came, once, in the order of things; applied, ignored, or parked for a look."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import Any

import pytest
import pytest_asyncio
from effort import examples
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from posting_system import MAC, NOW, OTHER_MAC, RULES, World
from sqlalchemy import text

from provisioner.codes import CodeState
from provisioner.errors import BodyTooLarge, Conflict, Invalid, NotFound, NotSignedIn, StoreFailed
from provisioner.hooks.signing import Scheme, signed
from provisioner.model import DeviceState, Mac
from provisioner.rights import Holding, Principal, Role, parts_of
from provisioner.settings import Settings
from provisioner.store import hook_inbox, resync
from provisioner.store.database import Store
from provisioner.store.hook_inbox import InboxState
from provisioner.store.rotation import Rotation

pytestmark = pytest.mark.asyncio

APPLIED, IGNORED, PARKED = InboxState.APPLIED, InboxState.IGNORED, InboxState.PARKED


@pytest_asyncio.fixture
async def world(store: Store, settings: Settings, drivers: Any) -> World:
    made = World(store, settings, drivers)
    fleet = made.fleet
    made.account = (await fleet.add_account("Acme")).id
    for name, numbers in (("Ada", ("1001", "1002")), ("Bob", ("1003",))):
        user = await fleet.add_user(name, account="Acme", email=f"{name.lower()}@example.net")
        for number in numbers:
            await fleet.add_extension(number, account="Acme", user=user.id)
    for mac in (MAC, OTHER_MAC):
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account="Acme")
    made.made = await made.sources().add_source("pbx", account="Acme", rules=RULES)
    return made


# --- what it takes to be let in ----------------------------------------------------------------------------------


async def test_nobody_gets_in_without_the_secret(world: World) -> None:
    assert world.made is not None
    body = json.dumps({"type": "left", "user": "Ada"}).encode()
    good = signed([world.made.secret], "msg_1", int(NOW), body)
    for name, headers, said in (
        ("pbx", {}, body), ("pbx", good, body + b" "), ("nobody", good, body), (world.made.about.id, good, body),
        ("pbx", signed(["whsec_" + "A" * 44], "msg_1", int(NOW), body), body),
        ("pbx", signed([world.made.secret], "msg_1", int(NOW) - 301, body), body),
    ):  # fmt: skip
        with pytest.raises(NotSignedIn):
            await world.intake.receive(name, headers, said)
    assert await world.inbox().posted() == []
    await world.sources().change_source("pbx", enabled=False)
    with pytest.raises(NotSignedIn):
        await world.intake.receive("pbx", good, body)
    with pytest.raises(BodyTooLarge):
        await world.intake.receive("pbx", good, b"x" * (world.settings.webhook_body + 1))


async def test_after_a_rotation_both_secrets_count_for_a_while(world: World) -> None:
    old = world.made
    world.made = await world.sources().rotate_source("pbx")
    assert old is not None and old.secret != world.made.secret
    assert (await world.post("noise")).message.state is IGNORED
    fresh, world.made = world.made, old
    assert (await world.post("noise")).message.state is IGNORED
    world.now += world.settings.webhook_overlap * 3600
    with pytest.raises(NotSignedIn):
        await world.post("noise")
    world.made = fresh
    assert (await world.post("noise")).message.state is IGNORED


# --- the actions -------------------------------------------------------------------------------------------------


async def test_an_extension_is_assigned_as_an_administrator_would(world: World) -> None:
    assert await world.state("assign", mac="00:04:F2:AA:BB:01", extension="1001") == (
        APPLIED, "extension 1001 is on line 1 of 00:04:f2:aa:bb:01",
    )  # fmt: skip
    [told] = await world.fleet.events(kind="line_bound")
    assert told.actor == "hook/pbx" and told.mac == MAC
    assert (await world.state("assign", mac=MAC, extension="1001"))[0] is APPLIED, "again is the same"
    assert len(await world.fleet.events(kind="line_bound")) == 1
    assert (await world.state("assign", user="bob@example.net", mac=OTHER_MAC, line=2))[0] is APPLIED
    assert await world.lines(OTHER_MAC) == {2: "1003"}


async def test_without_a_mac_it_is_the_phone_that_the_user_has(world: World) -> None:
    assert (await world.state("assign", user="Ada", extension="1002"))[1] == (
        "user 'Ada' has no phones: say which Mac is meant"
    )
    await world.state("assign", mac=MAC, extension="1001")
    assert (await world.state("assign", user="Ada", extension="1002"))[0] is APPLIED
    assert await world.lines() == {1: "1001", 2: "1002"}
    assert (await world.state("assign", user="Ada", extension="1002"))[0] is APPLIED
    assert await world.lines() == {1: "1001", 2: "1002"}


async def test_a_taken_extension_is_parked_unless_it_shall_be_replaced(world: World) -> None:
    await world.state("assign", mac=MAC, extension="1001")
    state, why = await world.state("assign", mac=OTHER_MAC, extension="1001")
    assert state is PARKED and "is on line 1" in why
    assert await world.lines(OTHER_MAC) == {} and await world.lines() == {1: "1001"}
    assert (await world.state("assign", mac=OTHER_MAC, extension="1001", replace=True))[0] is APPLIED
    assert await world.lines(OTHER_MAC) == {1: "1001"} and await world.lines() == {}


async def test_who_has_left_has_no_line_and_no_code(world: World) -> None:
    await world.state("assign", mac=MAC, extension="1001")
    await world.codes.issue("1002")
    assert (await world.state("left", user="ADA@example.net"))[0] is PARKED, "addresses are taken as they are written"
    assert await world.state("left", user="ada@example.net") == (
        APPLIED, "user 'Ada': 1 lines freed, 1 activation codes taken back",
    )  # fmt: skip
    assert await world.lines() == {}
    assert [one.state for one in await world.codes.codes()] == [CodeState.REVOKED]
    [told] = await world.fleet.events(kind="user_left")
    assert (told.actor, told.details["lines"], told.details["codes"]) == ("hook/pbx", "1", "1")
    assert (await world.state("left", user="ada@example.net"))[0] is APPLIED
    assert len(await world.fleet.events(kind="user_left")) == 1, "nothing new"


async def test_an_action_happens_whole_or_not_at_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, mac in (("1001", MAC), ("1002", OTHER_MAC)):
        await world.state("assign", mac=mac, extension=number)
    ask = resync.ask
    calls = []

    async def second_fails(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise Conflict("the second phone cannot be told")
        return await ask(*given)

    monkeypatch.setattr(resync, "ask", second_fails)
    assert await world.state("left", user="Ada") == (PARKED, "the second phone cannot be told")
    assert (await world.lines(), await world.lines(OTHER_MAC)) == ({1: "1001"}, {1: "1002"})


async def test_a_registration_is_news_once(world: World) -> None:
    await world.state("assign", mac=MAC, extension="1001")
    world.now += 1
    assert (await world.state("registered", extension="1001", address="10.0.0.9"))[1] == (
        "00:04:f2:aa:bb:01 is registered"
    )
    assert (await world.state("registered", mac=MAC))[1] == "00:04:f2:aa:bb:01 was seen already"
    [told] = await world.fleet.events(kind="registration_seen")
    assert (told.mac, told.details) == (MAC, {"extension": "1001", "address": "10.0.0.9"})
    world.now += 86_400
    assert (await world.state("registered", mac=MAC))[1] == "00:04:f2:aa:bb:01 is registered"
    assert (await world.state("registered"))[0] is PARKED


async def test_what_was_shipped_is_expected(world: World) -> None:
    mac = "00:04:F2:00:00:77"
    assert await world.state("shipped", mac=mac, model="vvx 411") == (APPLIED, "00:04:f2:00:00:77 is expected")
    found = await world.fleet.device(Mac.parse(mac))
    assert (found.account, found.vendor, found.model, found.state) == (
        world.account, "poly", "VVX 411", DeviceState.UNASSIGNED,
    )  # fmt: skip
    assert (await world.state("shipped", mac=mac, model="VVX 411"))[1] == "00:04:f2:00:00:77 was expected already"
    assert "is here as a VVX 411" in (await world.state("shipped", mac=mac, model="VVX 150"))[1]
    for wrong in ({"mac": "no"}, {"model": "VVX 999"}, {"vendor": "cisco"}, {"site": "nowhere"}):
        said = {"mac": "0004f2000078", "model": "VVX 411", **wrong}
        assert (await world.state("shipped", **said))[0] is PARKED, wrong


async def test_a_source_reaches_its_account_alone(world: World) -> None:
    other = await world.fleet.add_account("Other")
    eve = await world.fleet.add_user("Eve", account=other.id)
    theirs = await world.fleet.add_extension("2001", account=other.id, user=eve.id)
    mac = Mac("0004f2aabb09")
    await world.fleet.add_device(mac, vendor="poly", model="VVX 411", account=other.id)
    for kind, said in (
        ("left", {"user": "Eve"}), ("left", {"user": eve.id}), ("assign", {"mac": mac, "extension": "1001"}),
        ("assign", {"mac": MAC, "extension": "2001"}), ("assign", {"mac": MAC, "extension": theirs.id}),
        ("registered", {"mac": mac}), ("shipped", {"mac": mac, "model": "VVX 411"}),
    ):  # fmt: skip
        state, why = await world.state(kind, **said)
        assert state is PARKED and "Other" not in why and other.id not in why, (kind, said, why)
    assert await world.lines(mac) == {} and await world.lines() == {}


# --- once, and in the order of things ----------------------------------------------------------------------------


async def test_the_same_message_is_taken_once(world: World) -> None:
    first = await world.post("assign", "msg_a", mac=MAC, extension="1001")
    again = await world.post("assign", "msg_a", mac=MAC, extension="1001")
    assert (first.again, again.again) == (False, True) and first.message.id == again.message.id
    both = await asyncio.gather(*(world.post("assign", "msg_b", mac=OTHER_MAC, extension="1003") for _ in range(4)))
    assert sorted(one.again for one in both) == [False, True, True, True]
    assert len(await world.inbox().posted()) == 2


async def test_what_is_not_signed_is_no_name_of_a_message(world: World) -> None:
    """A bare HMAC says nothing of headers: whoever repeats a body with another id repeats it."""
    secret, body = "sixteen-or-more!", json.dumps({"type": "noise"}).encode()
    await world.sources().add_source("old", account="Acme", rules=RULES, scheme=Scheme.HMAC, secret=secret)
    proof = {"x-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
    first = await world.intake.receive("old", {**proof, "webhook-id": "1"}, body)
    again = await world.intake.receive("old", {**proof, "webhook-id": "2"}, body)
    assert (first.again, again.again, again.message.ident[:7]) == (False, True, "sha256:")
    named = json.dumps({"type": "noise", "id": "x-1"}).encode()
    proof = {"x-signature-256": "sha256=" + hmac.new(secret.encode(), named, hashlib.sha256).hexdigest()}
    assert (await world.intake.receive("old", proof, named)).message.ident == "x-1"


async def test_what_is_older_comes_too_late(world: World) -> None:
    """Also where it is about the same in other words, or comes from another system."""
    assert (await world.state("assign", mac=MAC, extension="1001", at=NOW - 50))[0] is APPLIED
    world.now += 1
    assert (await world.state("left", user="Ada", at=NOW - 20))[0] is APPLIED
    too_late = (IGNORED, "something newer was applied to the same already")
    assert await world.state("assign", mac=MAC, extension="1001", at=NOW - 30) == too_late
    assert await world.state("left", user="Ada", at=NOW - 60) == too_late
    made = world.made
    world.made = await world.sources().add_source("hr", account="Acme", rules=RULES)
    body = json.dumps({"type": "assign", "mac": MAC, "extension": "1002", "at": NOW - 30}).encode()
    proof = signed([world.made.secret], "msg_1", int(NOW), body)
    assert (await world.intake.receive("hr", proof, body)).message.state is IGNORED
    world.made = made
    world.now += 1
    assert (await world.state("assign", mac=MAC, extension="1001", at=NOW - 20))[0] is APPLIED, "not older"
    state, why = await world.state("assign", mac=MAC, extension="1002", at=NOW + 1000)
    assert state is PARKED and "in the future" in why


async def test_what_failed_makes_nothing_else_old(world: World) -> None:
    assert (await world.state("assign", mac="0004f2ffff01", extension="1001", at=NOW - 10))[0] is PARKED
    assert (await world.state("assign", mac=MAC, extension="1001", at=NOW - 50))[0] is APPLIED


# --- never a crash -----------------------------------------------------------------------------------------------

HOSTILE = [
    b"", b"\xff\xfe", b"{", b"null", b"[]", b'"x"', b"1e999", b'{"type": "left"}', b'{"type": ["left"]}',
    b'{"type":"left","user":"\\ud800"}', b'{"type":"left","user":"a\\u0000b"}', b"[" * 30_000,
    b'{"a":' * 5000 + b"1" + b"}" * 5000, b'{"type":"assign","mac":"0004f2aabb01","extension":"1001","line":"9999999"}',
    b'{"type":"assign","mac":"0004f2aabb01","extension":"1001","line":-1}', b'{"type":"shipped","mac":"x","model":"y"}',
    b'{"type":"assign","mac":"0004f2aabb01","extension":"1001","replace":"perhaps"}', b"1" * 5000,
    b'{"type":"assign","at":"whenever","mac":"0004f2aabb01","extension":"1001"}', b'{"type":"nobody knows this"}',
]  # fmt: skip


async def test_whatever_comes_is_parked_and_kept_as_it_came(world: World) -> None:
    for body in HOSTILE:
        one = (await world.post(raw=body)).message
        assert one.state is PARKED and one.why, body[:60]
        assert await world.inbox().posted_body(one.id) == body
    assert await world.lines() == {}
    assert len(await world.inbox().posted(state=PARKED)) == len(HOSTILE)
    told = await world.fleet.events(kind="hook_message_parked")
    assert len(told) == len(HOSTILE) and all(one.severity == "warning" for one in told)


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just(str(MAC))
SAID = st.fixed_dictionaries(
    {"type": st.sampled_from(["assign", "left", "registered", "shipped", "noise"])},
    optional={
        name: SCALAR | st.lists(SCALAR, max_size=2) | st.dictionaries(st.text(max_size=3), SCALAR, max_size=2)
        for name in ("mac", "line", "extension", "user", "replace", "model", "vendor", "site", "at", "address", "id")
    },
)


@hypothesis_settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=SAID)
async def test_no_document_ends_in_a_fault(world: World, said: dict[str, Any]) -> None:
    one = (await world.post(raw=json.dumps(said).encode())).message
    assert one.state in {APPLIED, IGNORED, PARKED}


async def test_what_is_parked_is_tried_again_by_better_rules_or_put_aside(world: World) -> None:
    one = (await world.post("LEFT", user="Ada")).message
    assert (one.state, one.why) == (PARKED, "rules: none of the source's rules fits this document")
    assert (await world.inbox().replay_posted(one.id)).state is PARKED
    await world.sources().change_source("pbx", rules=RULES.replace('"left"', '["left", "LEFT"]'))
    assert (await world.inbox().replay_posted(one.id)).state is APPLIED
    for act in (world.inbox().replay_posted, world.inbox().drop_posted):
        with pytest.raises(Conflict, match="is applied"):
            await act(one.id)
        with pytest.raises(NotFound):
            await act(999)
    other = (await world.post("what")).message
    assert (await world.inbox().drop_posted(other.id)).state is InboxState.DROPPED
    assert (await world.post("what", ident=other.ident)).again, "dropped is not forgotten"


async def test_what_was_stored_and_never_looked_at_is_taken_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two steps, or the database went away: the message is there, and applied once."""

    async def away(*_: Any, **__: Any) -> Any:
        raise StoreFailed("the database failed: locked")

    with monkeypatch.context() as broken:
        broken.setattr(hook_inbox, "settle_message", away)
        with pytest.raises(StoreFailed):
            await world.post("assign", "msg_k", mac=MAC, extension="1001")
    assert await world.lines() == {}, "neither the one nor the other"
    [one] = await world.inbox().posted()
    assert one.state is InboxState.NEW
    assert (await world.post("assign", "msg_k", mac=MAC, extension="1001")).again
    assert await world.intake.left_over() == []
    world.now += 31
    assert await world.intake.left_over() == [one.id]
    assert (await world.intake.settle(one.id)).state is APPLIED
    assert await world.lines() == {1: "1001"}
    with pytest.raises(Conflict):
        await world.intake.settle(one.id)


# --- keeping -----------------------------------------------------------------------------------------------------


async def test_bodies_and_secrets_are_sealed_also_under_a_new_key(world: World) -> None:
    one = (await world.post("left", user="canary-4711")).message
    async with world.store.reading() as connection:
        rows = (await connection.execute(text("SELECT body FROM hook_inbox"))).scalars().all()
        secrets = (await connection.execute(text("SELECT secret FROM hook_source"))).scalars().all()
    assert rows and not any(b"canary-4711" in bytes(row) for row in [*rows, *secrets])
    done = await Rotation(world.store, "ann", settle=0.0).run()
    assert done.finished and not done.unreadable
    assert b"canary-4711" in await world.inbox().posted_body(one.id)
    assert (await world.post("noise")).message.state is IGNORED


async def test_old_messages_are_forgotten(world: World) -> None:
    await world.post("noise")
    await world.post("left", user="Ada", at=NOW - 5)
    assert await world.intake.tidy() == 0
    world.now += world.settings.webhook_inbox * 86_400 + 1
    assert await world.intake.tidy() == 2 and await world.inbox().posted() == []


async def test_sources_belong_to_those_who_reach_their_account(world: World) -> None:
    await world.fleet.add_account("Other")
    await world.sources().add_source("theirs", account="Other", rules=RULES)
    holding = Holding(Role.OWNER, world.account)
    ann = Principal("ann@example.net", parts_of(holding, "ann@example.net"))
    mine = world.sources(actor="", principal=ann)
    assert [one.name for one in await mine.sources()] == ["pbx"]
    for act in (mine.source, mine.rotate_source, mine.remove_source):
        with pytest.raises(NotFound):
            await act("theirs")
    with pytest.raises(NotFound):
        await mine.add_source("more", account="Other", rules=RULES)
    one = (await world.post("what")).message
    inbox = world.inbox(actor="", principal=ann)
    assert [found.id for found in await inbox.posted()] == [one.id]
    assert (await inbox.drop_posted(one.id)).state is InboxState.DROPPED
    await mine.remove_source("pbx")
    assert await world.inbox().posted() == []


async def test_sources_are_checked_when_they_are_made(world: World) -> None:
    for name, given_, why in (
        ("Not Good", {}, "name"), ("pbx", {}, "already"), ("x", {"rules": "rules = 1"}, "rules"),
        ("x", {"secret": "short"}, "secret"), ("x", {"scheme": Scheme.HMAC, "secret": "short"}, "secret"),
    ):  # fmt: skip
        with pytest.raises((Invalid, Conflict), match=why):
            await world.sources().add_source(name, account="Acme", **{"rules": RULES, **given_})
    asked = await world.sources().try_source("pbx", b'{"type": "left", "user": "Ada"}')
    assert dict(asked.fields) == {"user": "Ada"}
    assert world.made is not None and world.made.secret not in repr(world.made)
