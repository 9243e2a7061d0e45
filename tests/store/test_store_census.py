"""The census counts each device once, whatever it has fetched and however many lines it has."""

from collections.abc import Callable

import pytest

from provisioner.fleet.fleet import Fleet
from provisioner.model import DeviceState, FetchRecord, ListenerKind, Mac, Proof
from provisioner.store.census import Group, take_census
from provisioner.store.database import Store
from provisioner.store.records import Recorder

NOW = 1_800_000_000.0


def fetched(mac: Mac, file: str, at: float) -> FetchRecord:
    return FetchRecord(
        mac=mac,
        file=file,
        at=at,
        status=200,
        size=1,
        digest="00",
        proof=Proof.CERTIFICATE,
        listener=ListenerKind.DEVICE,
        tls_version="TLSv1.3",
        firmware="",
        body=b"x",
    )


@pytest.mark.asyncio
async def test_devices_by_vendor_and_state_and_who_was_there(
    fleet: Fleet, store: Store, make_recorder: Callable[..., Recorder]
) -> None:
    async with store.reading() as connection:
        assert await take_census(connection, NOW) == []
    account = await fleet.add_account("Acme")
    user = await fleet.add_user("Ann", account=account.id)
    bound, gone, old, idle = (Mac(f"0004f2aabb{number:02}") for number in range(4))
    yealink = Mac("001565aabb00")
    for mac in (bound, gone, old, idle):
        await fleet.add_device(mac, vendor="poly", model="VVX 411", account=account.id)
    await fleet.add_device(yealink, vendor="yealink", model="T46S", account=account.id)
    for line in (1, 2):
        number = f"100{line}"
        await fleet.add_extension(number, account=account.id, user=user.id, secret="s3cretS3cret!")
        await fleet.bind(bound, line, extension=number)
    await fleet.revoke_device(gone)
    recorder = make_recorder()
    for file in ("a.cfg", "b.cfg", "c.cfg"):
        recorder.fetch(fetched(bound, file, NOW + 1))
    recorder.fetch(fetched(gone, "a.cfg", NOW + 1))
    recorder.fetch(fetched(old, "a.cfg", NOW - 1))
    await recorder.flush()
    async with store.reading() as connection:
        found = await take_census(connection, NOW)
    assert found == [
        Group("poly", DeviceState.ASSIGNED, 1, 1),
        Group("poly", DeviceState.REVOKED, 1, 1),
        Group("poly", DeviceState.UNASSIGNED, 2, 0),
        Group("yealink", DeviceState.UNASSIGNED, 1, 0),
    ]
