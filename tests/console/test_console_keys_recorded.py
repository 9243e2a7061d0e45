"""A device's TLS secrets as a page: whoever may has them recorded and deleted, and never sees one."""

from __future__ import annotations

import pytest
from console_house import T46S, VVX, Browser, House

from provisioner.roles import Role
from provisioner.store.key_recordings import Secret, sealed, write_secrets

PAGE = f"/devices/{VVX}/tls-secrets"


@pytest.mark.asyncio
async def test_they_are_recorded_for_a_while_and_deleted(house: House, owner: Browser) -> None:
    assert (await owner.get(f"/devices/{VVX}")).tree.xpath(f'//a[@href="{PAGE}"]'), "its page leads there"
    wrong = await owner.post(f"{PAGE}/open", {"minutes": "0"})
    assert (wrong.status, "must be a number from 1 to 1440" in wrong.oops) == (422, True)
    opened = await owner.post(f"{PAGE}/open", {"minutes": "5"})
    assert "recorded until" in " ".join(opened.words.split())
    store, at = house.means.store, house.means.clock()
    lines = [f"CLIENT_RANDOM {'ab' * 32} {'cafe' * 24}"]
    await write_secrets(store, VVX, [Secret("ab" * 32, at, sealed(store.box, VVX, "ab" * 32, lines))], most=9)
    page = await owner.get(PAGE)
    assert "1 connection;" in " ".join(page.words.split())
    assert "cafecafe" not in page.text
    other = await owner.get(f"/devices/{T46S}/tls-secrets")
    assert "one device at a time" in other.words
    assert not other.tree.xpath('//form[contains(@action, "/open")]')
    refused = await owner.post(f"/devices/{T46S}/tls-secrets/open", {"minutes": "5"})
    assert refused.status == 409
    ended = await owner.post(f"{PAGE}/close")
    assert "No more are recorded" in ended.said
    gone = await owner.post(f"{PAGE}/delete")
    assert "They are deleted" in gone.said
    assert not gone.tree.xpath('//form[contains(@action, "/delete")]')


@pytest.mark.asyncio
async def test_it_is_for_few(house: House) -> None:
    for number, (role, account) in enumerate([(Role.OWNER, "Acme"), (Role.TECHNICIAN, ""), (Role.DEVICE_ADMIN, "")]):
        where = {"account": house.ids[account]} if account else {}
        one = await house.browser(await house.add(f"keys{number}@example.net", role, **where))
        assert (await one.get(PAGE)).status == 403, role
        assert not (await one.get(f"/devices/{VVX}")).tree.xpath(f'//a[@href="{PAGE}"]')
