"""Many use-cases in one transaction: all of them or none, and each sees the ones before it."""

from __future__ import annotations

import pytest

from provisioner.errors import Conflict
from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac
from provisioner.store.together import together
from provisioner.vendors import drivers

KNOWN = {one.manifest.name: one for one in drivers()}
FIRST, SECOND = Mac("0004f2000001"), Mac("0004f2000002")


@pytest.mark.asyncio
async def test_devices_of_one_transaction_come_together(store):
    outside = Fleet(store, KNOWN)
    async with together(store, "someone", 5.0) as transaction:
        desk = Fleet(transaction, KNOWN)
        account = (await desk.add_account("Acme")).id
        for mac in (FIRST, SECOND):
            await desk.add_device(mac, vendor="poly", model="VVX 411", account=account)
        assert (await desk.device(SECOND)).account == account
        assert await outside.accounts() == []
    assert [one.mac for one in await outside.devices()] == [FIRST, SECOND]
    events = await outside.events(kind="device_added")
    assert [(one.mac, one.actor, one.at) for one in events] == [(FIRST, "someone", 5.0), (SECOND, "someone", 5.0)]


@pytest.mark.asyncio
async def test_one_that_is_refused_takes_all_back(store):
    with pytest.raises(Conflict):
        async with together(store, "someone", 5.0) as transaction:
            desk = Fleet(transaction, KNOWN)
            await desk.add_account("Acme")
            await desk.add_account("Acme")
    outside = Fleet(store, KNOWN)
    assert await outside.accounts() == []
    assert await outside.events(limit=10) == []
