"""How many digits the codes have that can still be used, read off their sealed form on both databases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from activation_office import Office

from provisioner.activation.codes import Codes
from provisioner.activation_verdict import Outcome
from provisioner.store.codes import open_lengths
from provisioner.store.database import Store

pytestmark = pytest.mark.asyncio


async def test_only_codes_that_can_be_used_have_a_length(
    store: Store, drivers: Mapping[str, Any], tmp_path: Path
) -> None:
    async def lengths(now: float) -> set[int]:
        async with store.reading() as connection:
            return set(await open_lengths(connection, store.box, now))

    office = await Office.opened(store, drivers, tmp_path, activation_digits=8)
    assert await lengths(office.clock()) == set()
    code = await office.issue()
    usual = Codes(store, office.drivers, type(office.settings)(data=tmp_path), clock=office.clock)
    twelve = await usual.issue("1002", account="Acme")
    assert await lengths(office.clock()) == {8, 12}
    assert (await office.key_in(code)).outcome is Outcome.ACCEPTED
    assert await lengths(office.clock()) == {12}
    assert await lengths(twelve.expires) == set()
