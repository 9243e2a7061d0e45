"""A device comes to another account: nothing of the former one can be read there, and nobody of before gets in."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from api_house import ANY, KNOWN, VVX, House
from samples import HELD_BACK, request_of
from sqlalchemy import select
from test_api_roles import fresh

from provisioner.http.api.application import table
from provisioner.model import Event, FetchRecord, ListenerKind, Mac, Proof
from provisioner.rights import Holding, Principal, Role, parts_of
from provisioner.store import schema
from provisioner.store.records import Recorder
from provisioner.store.uploads import UploadShelf

CANARY = "canary"
NETWORK = "198.51.100.7"


def record(mac: Mac, revision: int, body: bytes) -> FetchRecord:
    how = (Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "6.4.3")
    return FetchRecord(mac, f"{CANARY}-{mac}.cfg", time.time(), 200, len(body), "0" * 64, *how, revision, body=body)


class Lived:
    """Everything that an account can leave with a phone."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.recorder = Recorder(house.means.store, house.means.settings, lambda *_: None)

    async def live(self) -> None:
        house = self.house
        values = {"time.ntp": f"{CANARY}.example.net"}
        assert (await house.ask("PATCH", f"/layers/device/{VVX}", {"values": values}, headers=ANY)).status == 200
        wanted = {"extension": "1001", "label": f"{CANARY} label"}
        assert (await house.ask("PUT", f"/devices/{VVX}/lines/1", wanted)).status == 200
        await house.fleet.allow(VVX, token=True, digest=True)
        await house.fleet.open_token(VVX)
        await house.fleet.set_digest(VVX)
        shelf = UploadShelf(house.means.store)
        await shelf.put(VVX, f"{CANARY}-directory.xml", "directory", b"<canary/>")
        await self.fetch()
        self.recorder.event(Event("registration_seen", time.time(), VVX, details={"number": f"{CANARY}-1001"}))
        self.recorder.sighted(NETWORK, VVX)
        await self.recorder.flush()

    async def fetch(self) -> None:
        async with self.house.means.store.reading() as connection:
            revision = (await connection.execute(select(schema.revision.c.value))).scalar_one()
        self.recorder.fetch(record(VVX, revision, f"{CANARY} body".encode()))
        await self.recorder.flush()

    async def leave(self) -> None:
        await self.house.fleet.wipe_device(VVX, unbind=True)
        await self.fetch()


@pytest_asyncio.fixture
async def lived(house: House) -> AsyncIterator[Lived]:
    found = Lived(house)
    await found.live()
    yield found


async def move(house: House) -> Any:
    place = {"account": "Other", "site": "Other HQ"}
    return await house.ask("PUT", f"/devices/{VVX}/place", place, headers=ANY)


def owner(house: House, account: str, role: Role = Role.OWNER) -> Principal:
    site = house.ids[f"{account} site"] if role is Role.SITE_ADMIN else ""
    return Principal("eve@example.net", parts_of(Holding(role, house.ids[account], site), "eve"), ident="id-eve")


async def readable(house: House) -> list[tuple[str, str]]:
    """What a phone's account can be told of it by any route that only reads, where that has something of before."""
    ids = house.ids
    names = fresh({
        "account": ids["Other"], "site": ids["Other site"], "user": ids["Eve"], "extension": ids["2001"], "mac": VVX,
        "place": VVX, "number": "+4930999", "license": "x", "rollout": "x", "campaign": "lines", "job": "x",
        "message": "1", "administrator": "x", "webhook": "x", "source": "x", "posted": "1", "apikey": "x",
    })  # fmt: skip
    words = (CANARY, NETWORK, ids["Ada"], ids["1001"], ids["Acme site"], '"1001"', "Ada")
    told = []
    for route in table().rows:
        if route.method != "GET" or route.name in HELD_BACK or route.name.startswith("follow"):
            continue
        others = dict.fromkeys(re.findall(r"{(\w+)}", route.path), "x")
        path = request_of(route, others | names)[0].replace("/layers/account/", "/layers/device/")
        more = "past=true" if route.name == "list_lines" else ""
        path += ("&" if "?" in path else "?") + more if more else ""
        answer = await house.ask("GET", path, who="someone")
        told += [(route.name, word) for word in words if word in answer.body.decode()]
    return told


@pytest.mark.asyncio
async def test_what_still_knows_its_account_is_not_moved(lived: Lived) -> None:
    house = lived.house
    for line in (1,):
        await house.ask("DELETE", f"/devices/{VVX}/lines/{line}", headers=ANY)
    refused = await move(house)
    assert (refused.status, "wipe it before" in refused.json["cause"]) == (409, True)
    await house.fleet.wipe_device(VVX)
    refused = await move(house)
    assert (refused.status, "has not fetched yet" in refused.json["cause"]) == (409, True)
    await lived.fetch()
    assert (await move(house)).status == 200
    assert (await house.fleet.device(VVX)).account == house.ids["Other"]
    assert (await house.fleet.wipe(VVX)).everything, "it stays empty until it is somebody's"


@pytest.mark.asyncio
@pytest.mark.parametrize("role", [Role.OWNER, Role.SITE_ADMIN])
async def test_nothing_of_before_can_be_read_in_its_new_account(lived: Lived, role: Role) -> None:
    house = lived.house
    code = await house.ask("POST", "/codes", {"extension": "1002", "mac": VVX})
    assert code.status == 201, code.body
    house.keeper.known["someone"] = owner(house, "Acme")
    before = await readable(house)
    assert len({name for name, _ in before}) >= 8, "else the test would see nothing"
    await lived.leave()
    assert (await move(house)).status == 200
    house.keeper.known["someone"] = owner(house, "Other", role)
    shown = await house.ask("GET", f"/devices/{VVX}", who="someone")
    assert shown.status == 200
    assert await readable(house) == []
    assert not (house.means.store.uploads / VVX).exists()


@pytest.mark.asyncio
async def test_nobody_of_before_gets_in_with_what_they_know(lived: Lived) -> None:
    house = lived.house
    await lived.leave()
    await move(house)
    device = await house.fleet.device(VVX)
    assert (device.allow_token, device.allow_digest) == (False, False)
    assert await house.fleet.tokens(VVX) == []
    async with house.means.store.reading() as connection:
        query = select(schema.device.c.digest_secret).where(schema.device.c.mac == VVX)
        assert (await connection.execute(query)).scalar_one() is None


@pytest.mark.asyncio
async def test_its_new_lines_are_served_as_of_any_phone(lived: Lived) -> None:
    house = lived.house
    await lived.leave()
    await move(house)
    await house.fleet.unbind(Mac("0004f2000009"), 1)
    await house.fleet.bind(VVX, 1, extension=house.ids["2001"])
    found = await house.fleet.wipe(VVX)
    assert not found.everything
    assert KNOWN and [one.number for one in await house.fleet.bindings(VVX)] == ["2001"]


@pytest.mark.asyncio
async def test_a_trial_removes_no_file(lived: Lived) -> None:
    """A job's rows are done and taken back first: what lies on disk goes when that is for good."""
    house = lived.house
    await lived.leave()
    files = house.means.store.uploads / VVX
    assert list(files.iterdir())
    for kind, row in (("moves", {"mac": VVX, "account": "Other"}), ("removals", {"mac": VVX})):
        begun = await house.ask("POST", f"/bulk/{kind}", {"rows": [row], "dry_run": True})
        await house.jobs()
        assert (await house.get(f"/jobs/{begun.json['id']}"))["state"] == "checked"
        assert list(files.iterdir()), kind
    begun = await house.ask("POST", "/bulk/removals", {"rows": [{"mac": VVX}]})
    await house.jobs()
    assert (await house.get(f"/jobs/{begun.json['id']}"))["state"] == "done"
    assert not files.exists()
