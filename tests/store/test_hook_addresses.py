"""Where a webhook may go, as far as that can be said when its address is given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provisioner.errors import Invalid
from provisioner.hooks.hooks import Hooks
from provisioner.settings import Settings
from provisioner.store.database import Store

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://example.net/x", "https"),
        ("ftp://example.net/x", "https"),
        ("https://user:pw@example.net/", "user"),
        ("https://10.0.0.1/", "no address of the open Internet"),
        ("https://[::ffff:169.254.169.254]/", "no address of the open Internet"),
        ("https://exa mple/", "visible"),
    ],
)
async def test_addresses_that_cannot_be_meant_are_refused_when_given(
    store: Store, settings: Settings, drivers: Any, address: str, why: str
) -> None:
    with pytest.raises(Invalid, match=why):
        await Hooks(store, drivers, replace(settings, webhook_allow=())).add_hook(address)


async def test_with_an_allow_list_the_delivery_decides(store: Store, settings: Settings, drivers: Any) -> None:
    hooks = Hooks(store, drivers, replace(settings, webhook_allow=("127.0.0.0/8",)))
    assert (await hooks.add_hook("http://example.net/x")).about.url == "http://example.net/x"
