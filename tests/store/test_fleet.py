"""The administrator's use-cases, on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_asyncio

from provisioner.deeds import Deed
from provisioner.errors import Conflict, Invalid, NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.model import DeviceState, Event, Mac, Scope
from provisioner.neutral import HostPort
from provisioner.store.database import Store
from provisioner.store.records import Recorder
from provisioner.store.tokens import TokenBook
from provisioner.store.uploads import UploadShelf

pytestmark = pytest.mark.asyncio

MAC = Mac("0004f2aabb01")
OTHER = Mac("0004f2aabb02")


@pytest_asyncio.fixture
async def acme(fleet: Fleet) -> Fleet:
    """Account Acme with Ann on 100 and 101, and a VVX 411; account Beta with Bob on 100."""
    for account, user, numbers in (("Acme", "Ann", ("100", "101")), ("Beta", "Bob", ("100",))):
        await fleet.add_account(account)
        await fleet.add_user(user, account=account, email=f"{user.lower()}@example.net")
        for number in numbers:
            await fleet.add_extension(number, account=account, user=user, secret=f"sip-{account}-{number}")
    await fleet.add_site("Berlin", account="Acme", time_zone="Europe/Berlin")
    await fleet.add_device(MAC, vendor="poly", model="VVX 411", account="Acme", site="Berlin")
    return fleet


async def test_accounts_are_found_by_name_and_by_id(fleet: Fleet) -> None:
    added = await fleet.add_account("Acme")
    assert await fleet.accounts() == [added]
    renamed = await fleet.rename_account("Acme", name="Acme GmbH")
    assert renamed.id == added.id
    with pytest.raises(NotFound):
        await fleet.rename_account("Acme", name="x")
    await fleet.remove_account(added.id)
    assert await fleet.accounts() == []


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 81, "nul\0", "bell\x07", "line\u2028"])
async def test_a_name_no_phone_can_show_is_refused_by_field(fleet: Fleet, name: str) -> None:
    with pytest.raises(Invalid) as refused:
        await fleet.add_account(name)
    assert refused.value.field == "name"
    assert await fleet.accounts() == []
    assert await fleet.events() == []


@pytest.mark.parametrize("display", ["line\nbreak", "x" * 10_000, "tab\there", "\x00"])
async def test_a_display_name_that_could_break_out_is_refused_by_field(acme: Fleet, display: str) -> None:
    with pytest.raises(Invalid) as refused:
        await acme.add_extension("200", account="Acme", user="Ann", display_name=display)
    assert refused.value.field == "display_name"


@pytest.mark.parametrize("display", ['Zoë "Z"', "]]>", "☎ Büro 🎧", "O'Neil & Söhne <1>"])
async def test_a_display_name_that_is_only_unusual_is_kept_exactly(acme: Fleet, display: str) -> None:
    added = await acme.add_extension("200", account="Acme", user="Ann", display_name=display)
    assert added.display_name == display
    assert added in await acme.extensions("Acme")


async def test_numbers_and_secrets_are_refused_by_field(acme: Fleet) -> None:
    for field, given in {
        "number": {"number": "1 2"},
        "auth_user": {"auth_user": "a\nb"},
        "secret": {"secret": "tiny"},
        "user": {"user": "Bob"},
    }.items():
        values = {"number": "300", "account": "Acme", "user": "Ann", **given}
        with pytest.raises(Invalid) as refused:
            await acme.add_extension(values.pop("number"), **values)
        assert refused.value.field == field


async def test_duplicates_are_conflicts(acme: Fleet) -> None:
    for doubled in (
        acme.add_account("Acme"),
        acme.add_site("Berlin", account="Acme"),
        acme.add_user("Ann B.", account="Acme", email="ann@example.net"),
        acme.add_extension("100", account="Acme", user="Ann"),
        acme.add_device(MAC, vendor="poly", model="VVX 411", account="Beta"),
        acme.rename_account("Beta", name="Acme"),
    ):
        with pytest.raises(Conflict):
            await doubled


async def test_what_is_in_use_is_not_removed(acme: Fleet) -> None:
    await acme.bind(MAC, 1, extension="100")
    for refused, words in (
        (acme.remove_account("Acme"), "1 site, 1 user, 2 extensions, 1 device"),
        (acme.remove_site("Berlin"), "1 device"),
        (acme.remove_user("Ann"), "extension 100, 101"),
        (acme.move_device(MAC, account="Beta"), "unbind 100 from line 1"),
    ):
        with pytest.raises(Conflict, match=words):
            await refused


async def test_all_can_be_removed_in_order(acme: Fleet, store: Store) -> None:
    await acme.bind(MAC, 1, extension="100")
    await UploadShelf(store).put(MAC, "0004f2aabb01-app.log", "log", b"hello")
    await acme.set_layer(Scope.DEVICE, MAC, {"language": "de-DE"})
    await acme.remove_device(MAC)
    assert not (store.uploads / MAC).exists()
    for one in await acme.extensions("Acme"):
        await acme.remove_extension(one.id)
    await acme.remove_user("Ann")
    await acme.remove_site("Berlin")
    await acme.remove_account("Acme")
    assert [one.name for one in await acme.accounts()] == ["Beta"]
    assert await acme.layers() == []
    assert await acme.layers(Scope.DEVICE) == []


async def test_a_number_in_two_accounts_must_be_named_by_id(acme: Fleet) -> None:
    with pytest.raises(Conflict, match="give the id"):
        await acme.reveal_secret("100")
    [beta] = await acme.extensions("Beta")
    assert await acme.reveal_secret(beta.id) == "sip-Beta-100"
    assert await acme.reveal_secret("101") == "sip-Acme-101"


async def test_secrets_are_generated_changed_and_their_reading_is_an_event(acme: Fleet) -> None:
    one = await acme.add_extension("102", account="Acme", user="Ann")
    first = await acme.reveal_secret("102")
    assert len(first) == 20
    await acme.set_secret(one.id)
    second = await acme.reveal_secret("102")
    assert first != second
    told = await acme.events(kind="secret_revealed")
    assert [(event.actor, event.details["number"]) for event in told] == [("ann", "102")] * 2
    assert first not in repr(await acme.events()) and second not in repr(await acme.events())


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("vendor", {"vendor": "acme"}),
        ("model", {"model": "VVX"}),
        ("model", {"vendor": "yealink"}),
    ],
)
async def test_vendor_and_model_must_be_known(acme: Fleet, field: str, given: dict[str, str]) -> None:
    with pytest.raises(Invalid) as refused:
        await acme.add_device(OTHER, **{"vendor": "poly", "model": "VVX 411", "account": "Acme", **given})
    assert refused.value.field == field


async def test_a_site_of_another_account_is_not_found(acme: Fleet) -> None:
    with pytest.raises(NotFound):
        await acme.add_device(OTHER, vendor="poly", model="VVX 411", account="Beta", site="Berlin")


async def test_one_extension_is_on_one_line(acme: Fleet) -> None:
    await acme.add_device(OTHER, vendor="poly", model="VVX 150", account="Acme")
    bound = await acme.bind(MAC, 3, extension="100", label="Front")
    assert (bound.line, bound.number, bound.label) == (3, "100", "Front")
    assert (await acme.device(MAC)).state is DeviceState.ASSIGNED
    with pytest.raises(Conflict, match=f"on line 3 of {MAC.colons}"):
        await acme.bind(OTHER, 1, extension="100")
    with pytest.raises(Conflict, match="has extension 100"):
        await acme.bind(MAC, 3, extension="101")
    with pytest.raises(Invalid, match="line: VVX 150 has lines 1 to 2"):
        await acme.bind(OTHER, 3, extension="101")
    await acme.unbind(MAC, 3)
    await acme.bind(OTHER, 1, extension="100")
    assert [one.until is None for one in await acme.bindings(MAC)] == [False]
    assert await acme.bindings(MAC, active=True) == []
    with pytest.raises(NotFound):
        await acme.unbind(MAC, 3)


async def test_an_extension_of_another_account_is_refused(acme: Fleet) -> None:
    [beta] = await acme.extensions("Beta")
    with pytest.raises(Invalid) as refused:
        await acme.bind(MAC, 1, extension=beta.id)
    assert refused.value.field == "extension"


async def test_concurrent_binds_of_one_extension_have_one_winner(acme: Fleet) -> None:
    macs = [Mac(f"0004f2cc00{number:02x}") for number in range(8)]
    for mac in macs:
        await acme.add_device(mac, vendor="poly", model="VVX 411", account="Acme")
    tries = await asyncio.gather(*(acme.bind(mac, 1, extension="100") for mac in macs), return_exceptions=True)
    assert sum(not isinstance(one, Conflict) for one in tries) == 1, tries


async def test_a_model_must_fit_what_is_bound_and_set(acme: Fleet) -> None:
    await acme.bind(MAC, 3, extension="100")
    with pytest.raises(Conflict, match="on line 3"):
        await acme.set_model(MAC, model="VVX 150")
    await acme.unbind(MAC, 3)
    await acme.set_layer(Scope.DEVICE, MAC, {"net.cdp": True})
    with pytest.raises(Invalid, match="it has no CDP"):
        await acme.set_model(MAC, model="VVX 150")
    await acme.unset_layer(Scope.DEVICE, MAC, ["net.cdp"])
    assert (await acme.set_model(MAC, model="VVX 150")).model == "VVX 150"


async def test_devices_are_filtered_and_paged(acme: Fleet) -> None:
    for number in range(5):
        await acme.add_device(Mac(f"805ec000000{number}"), vendor="yealink", model="T46S", account="Beta")
    await acme.revoke_device(Mac("805ec0000004"))
    assert len(await acme.devices()) == 6
    assert [one.mac for one in await acme.devices(account="Acme")] == [MAC]
    assert [one.mac for one in await acme.devices(state=DeviceState.REVOKED)] == ["805ec0000004"]
    assert len(await acme.devices(vendor="yealink", state=DeviceState.UNASSIGNED)) == 4
    page = await acme.devices(account="Beta", limit=2)
    assert [one.mac[-1] for one in await acme.devices(account="Beta", limit=2, after=page[-1].mac)] == ["2", "3"]
    with pytest.raises(NotFound):
        await acme.device(OTHER)


async def test_revocation_wins_over_every_other_state(acme: Fleet) -> None:
    await acme.bind(MAC, 1, extension="100")
    assert (await acme.revoke_device(MAC)).state is DeviceState.REVOKED
    assert (await acme.restore_device(MAC)).state is DeviceState.ASSIGNED


async def test_layers_are_merged_checked_and_unset(acme: Fleet) -> None:
    await acme.set_layer(Scope.DEFAULTS, "", {"sip.server": "sip.example.net:5061"}, {"poly:voice.gain": "3"})
    layer = await acme.set_layer(Scope.DEFAULTS, "", {"sip.expiry": "900"})
    assert layer.values == {"sip.server": HostPort("sip.example.net", 5061), "sip.expiry": 900}
    assert layer.raw == {"poly:voice.gain": "3"}
    assert await acme.layer(Scope.DEFAULTS, "") == layer
    left = await acme.unset_layer(Scope.DEFAULTS, "", ["sip.server", "poly:voice.gain"])
    assert (dict(left.values), dict(left.raw)) == ({"sip.expiry": 900}, {})
    with pytest.raises(NotFound):
        await acme.unset_layer(Scope.DEFAULTS, "", ["sip.server"])


@pytest.mark.parametrize(
    ("scope", "key", "values", "raw", "field"),
    [
        (Scope.DEFAULTS, "", {"net.vlan": 99999}, {}, "net.vlan"),
        (Scope.DEFAULTS, "", {"no.such": 1}, {}, "no.such"),
        (Scope.DEFAULTS, "x", {}, {}, "key"),
        (Scope.BUILT_IN, "", {}, {}, "scope"),
        (Scope.VENDOR, "acme", {}, {}, "key"),
        (Scope.MODEL, "VVX", {}, {}, "key"),
        (Scope.MODEL, "poly/VVX 150", {"net.cdp": True}, {}, "net.cdp"),
        (Scope.MODEL, "VVX 150", {"line.3.sip.expiry": 600}, {}, "line.3.sip.expiry"),
        (Scope.DEFAULTS, "", {}, {"voice.gain": "1"}, "voice.gain"),
        (Scope.VENDOR, "poly", {}, {"yealink:voice.gain": "1"}, "yealink:voice.gain"),
        (Scope.DEVICE, MAC, {}, {'voice.gain" evil="': "1"}, 'voice.gain" evil="'),
        (Scope.DEVICE, MAC, {}, {"voice.gain": "x" * 5000}, "voice.gain"),
    ],
)
async def test_a_bad_entry_is_refused_by_name_and_nothing_of_the_call_is_kept(
    acme: Fleet, scope: Scope, key: str, values: dict[str, object], raw: dict[str, str], field: str
) -> None:
    before = len(await acme.events())
    with pytest.raises(Invalid) as refused:
        await acme.set_layer(scope, key, {"language": "de-DE", **values}, raw)
    assert refused.value.field == field
    assert len(await acme.events()) == before
    assert [one.scope for one in await acme.layers()] == [Scope.SITE]


async def test_secret_settings_are_shown_hidden(acme: Fleet) -> None:
    layer = await acme.set_layer(Scope.ACCOUNT, "Acme", {"password.admin": "canary-4711"})
    assert "canary" not in repr(layer) and layer.values["password.admin"] == "********"
    assert "canary" not in json.dumps([dict(one.values) for one in await acme.layers()], default=str)
    assert "canary" not in repr(await acme.events())


async def test_tokens_open_for_a_while_and_a_number_of_fetches(acme: Fleet, store: Store) -> None:
    book = TokenBook(store)
    with pytest.raises(Conflict) as refused:
        await acme.open_token(MAC, now=100.0)
    assert refused.value.cure and refused.value.cure.deed is Deed.ALLOW_TOKEN
    await acme.allow(MAC, token=True)
    token, path = await acme.open_token(MAC, now=100.0, window=60, fetches=2)
    assert path == f"/t/{token}/" and len(token) == 22
    assert await book.spend(token, 99.0) is None
    assert await book.spend(token, 160.0) is None
    assert [await book.spend(token, 120.0) for _ in range(3)] == [MAC, MAC, None]
    assert token not in repr(await acme.tokens(MAC)) + repr(await acme.events())
    fresh, _ = await acme.open_token(MAC, now=100.0)
    assert await acme.revoke_tokens(MAC) == 2
    assert await book.spend(fresh, 101.0) is None
    for junk in ("", "x" * 22, "x" * 21 + "A", "x" * 5000, "\0" * 22, "💥" * 22):
        assert await book.spend(junk, 101.0) is None


async def test_fifty_concurrent_spends_of_one_fetch_have_one_winner(acme: Fleet, store: Store) -> None:
    book = TokenBook(store)
    await acme.allow(MAC, token=True)
    token, _ = await acme.open_token(MAC, now=100.0, fetches=1)
    spent = await asyncio.gather(*(book.spend(token, 101.0) for _ in range(50)))
    assert (spent.count(MAC), spent.count(None)) == (1, 49)


async def test_every_change_is_one_event_by_its_actor(acme: Fleet) -> None:
    await acme.bind(MAC, 1, extension="100")
    await acme.allow(MAC, digest=True, expired=False)
    await acme.set_digest(MAC)
    events = await acme.events(mac=MAC)
    assert [one.kind for one in events] == [
        "device_added", "emergency_missing", "line_bound", "access_changed", "digest_set",
    ]  # fmt: skip
    assert {one.actor for one in events} == {"ann"}
    assert [one.id for one in await acme.events(after=events[1].id)] == [one.id for one in events[2:]]
    with pytest.raises(Invalid):
        await acme.allow(MAC)


async def test_too_old_firmware_is_a_state(acme: Fleet, store: Store) -> None:
    async with store.changing("test", 1.0) as change:
        await change.connection.exec_driver_sql("UPDATE device SET firmware = '5.9.4.100'")
    assert (await acme.device(MAC)).state is DeviceState.NEEDS_FIRMWARE
    assert [one.mac for one in await acme.devices(state=DeviceState.NEEDS_FIRMWARE)] == [MAC]
    assert await acme.devices(state=DeviceState.UNASSIGNED) == []


async def test_uploads_replace_each_other_and_are_sealed(acme: Fleet, store: Store, tmp_path: Path) -> None:
    shelf = UploadShelf(store)
    name = "0004f2aabb01-phone.cfg"
    assert await shelf.get(MAC, name) is None
    for body in (b"canary first", b"canary second"):
        await shelf.put(MAC, name, "overrides", body)
        assert await shelf.get(MAC, name) == body
    [row] = await acme.uploads(MAC)
    assert (row.name, row.kind, row.size) == (name, "overrides", 13)
    files = list((tmp_path / "uploads" / MAC).iterdir())
    assert len(files) == 1 and b"canary" not in files[0].read_bytes()
    assert files[0].stat().st_mode & 0o077 == 0


async def test_seen_devices_leave_the_list_when_they_are_added(
    acme: Fleet, make_recorder: Callable[[], Recorder]
) -> None:
    recorder = make_recorder()
    for at in (1.0, 2.0, 3.0):
        recorder.seen(OTHER, "poly", "VVX 411", "192.0.2.1", at)
    await recorder.flush()
    [seen] = await acme.seen()
    assert (seen.mac, seen.first, seen.last, seen.times) == (OTHER, 1.0, 3.0, 3)
    await acme.add_device(OTHER, vendor="poly", model="VVX 411", account="Acme")
    assert await acme.seen() == []


async def test_a_model_is_known_however_its_name_is_written(acme: Fleet) -> None:
    device = await acme.add_device(Mac("0004f2aabb77"), vendor="poly", model="vvx-411", account="Acme")
    assert device.model == "VVX 411"
    assert (await acme.device(device.mac)).model == "VVX 411"
    with pytest.raises(Invalid, match="model"):
        await acme.add_device(Mac("0004f2aabb78"), vendor="poly", model="vvx 4", account="Acme")


# --- another key for a pinned device ------------------------------------------------------------------

KEYS = ["aa" * 32, "bb" * 32, "bbbb" + "cc" * 30]


def alarm(came: str, at: float, not_after: str = "2041-01-01T00:00:00Z") -> Event:
    details = {"came": came, "pinned": KEYS[0], "not_after": not_after}
    return Event("pin_mismatch", at, MAC, "alarm", "device", details)


@pytest_asyncio.fixture
async def pinned(acme: Fleet, make_recorder: Callable[[], Recorder]) -> Recorder:
    """The device is pinned to the first key, at 1000."""
    recorder = make_recorder()
    recorder.pin(MAC, KEYS[0], "2040-01-01T00:00:00Z")
    await recorder.flush()
    return recorder


async def test_the_only_other_key_is_accepted_and_nobody_can_come_first(acme: Fleet, pinned: Recorder) -> None:
    for at in (1100.0, 1200.0):
        pinned.event(alarm(KEYS[1], at))
    await pinned.flush()
    assert (await acme.accept_pin(MAC)).pinned == KEYS[1]
    assert (await acme.device(MAC)).pinned == KEYS[1]
    assert [(one.spki, one.not_after) for one in await acme.pins()] == [(KEYS[1], "2041-01-01T00:00:00Z")]
    pinned.pin(MAC, KEYS[2], "2042-01-01T00:00:00Z")
    await pinned.flush()
    assert (await acme.device(MAC)).pinned == KEYS[1]
    (event,) = await acme.events(kind="pin_accepted")
    assert (event.details["pinned"], event.details["forgot"]) == (KEYS[1], KEYS[0])


async def test_of_two_other_keys_one_must_be_named(acme: Fleet, pinned: Recorder) -> None:
    pinned.event(alarm(KEYS[1], 1100.0))
    pinned.event(alarm(KEYS[2], 1200.0))
    await pinned.flush()
    with pytest.raises(Conflict) as refused:
        await acme.accept_pin(MAC)
    assert all(key in refused.value.cause for key in KEYS[1:])
    assert KEYS[0] not in refused.value.cause
    assert (await acme.device(MAC)).pinned == KEYS[0]
    spelt = ":".join(KEYS[2][start : start + 2].upper() for start in range(0, 16, 2))
    assert (await acme.accept_pin(MAC, key=spelt)).pinned == KEYS[2]


@pytest.mark.parametrize(
    ("key", "error"),
    [("", NotFound), ("bb" * 7, Invalid), ("zz" * 32, Invalid), ("dd" * 32, NotFound), (KEYS[0], NotFound)],
)
async def test_a_key_that_never_came_is_not_accepted(
    acme: Fleet, pinned: Recorder, key: str, error: type[Exception]
) -> None:
    pinned.event(alarm(KEYS[1], 500.0))  # long before this pin was set
    pinned.event(Event("pin_mismatch", 1100.0, MAC, "alarm", "device", {"came": "ee" * 8}))
    pinned.event(Event("pin_mismatch", 1100.0, OTHER, "alarm", "device", {"came": "dd" * 32}))
    await pinned.flush()
    with pytest.raises(error):
        await acme.accept_pin(MAC, key=key)
    assert (await acme.device(MAC)).pinned == KEYS[0]


async def test_a_pin_can_be_forgotten(acme: Fleet, pinned: Recorder) -> None:
    assert (await acme.forget_pin(MAC)).pinned == ""
    for again in (acme.forget_pin, acme.accept_pin):
        with pytest.raises(NotFound):
            await again(MAC)
    pinned.pin(MAC, KEYS[2], "2042-01-01T00:00:00Z")
    await pinned.flush()
    assert (await acme.device(MAC)).pinned == KEYS[2]
    assert [one.kind for one in await acme.events(kind="pin_forgotten")] == ["pin_forgotten"]
