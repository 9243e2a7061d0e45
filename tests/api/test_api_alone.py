"""A call that waits for something else than the store holds nobody up, and is repeated by its key as any other."""

from __future__ import annotations

import asyncio
import fcntl
import socket
from pathlib import Path
from typing import Any

import pytest
from api_house import ANY, House
from sqlalchemy import select

from provisioner import trust
from provisioner.certificates import fingerprint, to_der
from provisioner.pki import make_factory
from provisioner.store import schema
from provisioner.store.refusals import Group, write_refusals
from provisioner.switches.engine import close_shared

_E = schema.event.c
pytestmark = pytest.mark.asyncio


async def write_beside(house: House, slow: asyncio.Task[Any], name: str) -> None:
    """Something is changed while the other call is still waiting."""
    made = await house.ask("POST", "/users", {"name": name, "account": "Acme"})
    assert made.status == 201, made.body
    assert not slow.done()


async def test_a_switch_that_does_not_answer_holds_up_no_change(house: House) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        wish = {"name": "sw1", "account": "Acme", "address": "127.0.0.1", "port": silent.getsockname()[1]}
        await house.ask("POST", "/switches", wish | {"read": {"community": "public"}})
        slow = asyncio.create_task(house.ask("POST", "/switches/sw1/test", headers={"Idempotency-Key": "t1"}))
        async with asyncio.timeout(20):
            await asyncio.to_thread(silent.recv, 1)  # it has been asked
        await write_beside(house, slow, "Zoe")
        told = await slow
    assert (told.status, told.json["good"]) == (200, False)
    again = await house.ask("POST", "/switches/sw1/test", headers={"Idempotency-Key": "t1"})
    assert (again.headers["Idempotent-Replayed"], again.json) == ("true", told.json)
    await close_shared()


async def test_a_list_of_cas_that_another_process_holds_holds_up_no_change(
    house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(trust, "_PATIENCE", 2.0)
    maker = make_factory("poly", tmp_path / "maker")
    leaf, _, above = maker.leaf("0004f2000001")
    chain = (*to_der(leaf), *to_der(above), *to_der(maker.root_pem.read_bytes()))
    group = Group("aa", "untrusted", "CN=Somebody", "unknown", 1.0, 2.0, 3, chain, models={"VVX 411": 2.0})
    await write_refusals(house.means.store, [group], most=9)
    body = {"vendor": "poly", "fingerprints": [fingerprint(der) for der in chain[1:]]}
    directory = house.means.settings.data / "trust"
    directory.mkdir(exist_ok=True)
    with (directory / ".lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        slow = asyncio.create_task(house.ask("POST", "/refusals/aa/trust", body, headers=ANY))
        async with asyncio.timeout(20):
            while not await kinds(house, "issuer_trust_begun"):  # noqa: ASYNC110  # another task writes it, and sets no event
                await asyncio.sleep(0.02)
        await write_beside(house, slow, "Zoe")
        refused = await slow
    assert (refused.status, b"another process" in refused.body) == (409, True)
    assert await kinds(house, "issuer_trusted") == []
    assert (await house.ask("POST", "/refusals/aa/trust", body, headers=ANY)).status == 200
    assert len(await kinds(house, "issuer_trusted")) == len(chain) - 1


async def kinds(house: House, kind: str) -> list[str]:
    async with house.means.store.reading() as connection:
        return list((await connection.execute(select(_E.mac).where(_E.kind == kind))).scalars())
