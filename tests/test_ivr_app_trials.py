"""What a real server does when a phone lies, holds another model's code, or the server dies between bind and NOTIFY."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from call_phone import CallPhone
from house import House, administer, ask, events, soon
from test_ivr_app import CURVE, NUMBER, a_code, calling, causes, file_of, ivr_pid, until

from provisioner import settings as provisioner_settings
from provisioner.activation.codes import Codes
from provisioner.codes import CodeState
from provisioner.model import Mac, Scope
from provisioner.store.database import Store

_numbers = iter(range(0x2000, 0x3000))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two workers that look for changes as often as they do by default."""
    built = House.build(
        tmp_path_factory.mktemp("trials"),
        activation_networks="127.0.0.0/30",
        server_workers=2,
        server_drain=3,
        store_flush=0.1,
        ivr_port=0,
        ivr_rate=200,
    )

    async def fill(fleet):
        account = (await fleet.add_account("Acme")).id
        await fleet.set_layer(Scope.ACCOUNT, account, {"activation": True, "sip.server": "pbx.example.net"})

    administer(built, fill)
    built.start()
    yield built
    built.stop()


def fresh() -> str:
    return f"001565{next(_numbers):06x}"


async def keyed(phone: CallPhone, code: str) -> None:
    """Until the answer begins to be heard."""
    await phone.key(code[:-1])
    before = len(phone.frames)
    await phone.key(code[-1], pause=0.0)
    await until(lambda: len(phone.frames) > before)


def lines_of(house: House, mac: str) -> list[str]:
    """The numbers that the device has."""

    async def read(fleet) -> list[str]:
        return [one.number for one in await fleet.bindings(Mac(mac), active=True)]

    return administer(house, read) if soon(lambda: events(house, "ivr_prompt", mac)) else []


def test_a_code_for_another_model_binds_nothing_and_stays_good(house: House) -> None:
    mac = fresh()
    given = file_of(house, mac)
    number, code = a_code(house, model="VVX 411")

    async def life() -> None:
        phone = await calling(house, mac, given)
        await keyed(phone, code)
        await phone.hang_up()
        phone.close()

    asyncio.run(life())
    assert causes(house, mac, 3) == ["started", "wrong_model", "gone"]
    assert file_of(house, mac)["account.1.user_name"] != number
    [failed] = events(house, "code_failed", mac)
    assert failed.details["cause"] == "model"
    assert code not in house.log()

    async def state(fleet) -> list[str]:
        account = (await fleet.accounts())[0].id
        configured = provisioner_settings.load(house.data)
        async with Store.of(configured) as store:
            codes = await Codes(store, {}, configured).codes(account=account)
            return [one.state for one in codes if one.number == number]

    assert administer(house, state) == [CodeState.ISSUED]


class Liar(CallPhone):
    """Says in what nobody checks, or in what is checked, that it is another phone; its secret is its own."""

    claim = ""
    in_from = False

    def request(self, method: str, uri: str, *headers: str, **more: Any) -> bytes:
        if self.claim and method != "REGISTER":
            spelt = ":".join(self.claim[at : at + 2] for at in range(0, 12, 2)).upper()
            lies = (
                f"X-MAC: {spelt}",
                f"MAC: {self.claim}",
                f"X-MAC-Address: {spelt}",
                f"P-Asserted-Identity: <sip:{self.claim}@localhost>",
                f"P-Preferred-Identity: <sip:{self.claim}@localhost>",
                f"User-Agent: Yealink SIP-T46S 66.86.0.15 {self.claim}",
            )
            asked = super().request(method, uri, *headers, *lies, **more)
            asked = asked.replace(b"User-Agent: Test phone/1.0\r\n", b"")
            return asked.replace(b"From: <sip:" + self.mac.encode(), b"From: <sip:" + self.said.encode())
        return super().request(method, uri, *headers, **more)

    @property
    def said(self) -> str:
        """The user in From."""
        return self.claim if self.in_from else self.mac


async def liar(house: House, mac: str, given: dict[str, str], claim: str) -> Liar:
    user, secret = given["account.1.auth_name"], given["account.1.password"]
    phone = await Liar.open(mac, user, secret, ("127.0.0.1", house.ports["ivr"]))
    assert isinstance(phone, Liar)
    assert await phone.register() == 200
    phone.claim = claim
    return phone


@pytest.mark.slow
def test_who_says_in_headers_to_be_another_phone_binds_its_own(house: House) -> None:
    mac, victim = fresh(), fresh()
    given = file_of(house, mac)
    file_of(house, victim)
    number, code = a_code(house)

    async def life() -> str:
        phone = await liar(house, mac, given, victim)
        assert await phone.call(NUMBER) == 200
        await until(lambda: len(phone.frames) >= 10)
        await keyed(phone, code)
        await phone.hang_up()
        word = await asyncio.wait_for(phone.notified.get(), 10)
        phone.close()
        return word

    assert "check-sync" in asyncio.run(life())
    assert soon(lambda: file_of(house, mac)["account.1.user_name"] == number)
    assert lines_of(house, mac) == [number]
    assert events(house, "ivr_prompt", victim) == []
    assert file_of(house, victim)["account.1.user_name"] != number


@pytest.mark.slow
def test_a_code_that_is_tied_to_a_phone_is_not_had_by_claiming_to_be_it(house: House) -> None:
    mac, victim = fresh(), fresh()
    given = file_of(house, mac)

    async def add(fleet):
        account = (await fleet.accounts())[0].id
        await fleet.add_device(Mac(victim), vendor="yealink", model="T46S", account=account)

    administer(house, add)
    _, code = a_code(house, mac=victim)

    async def life() -> tuple[int, int]:
        phone = await liar(house, mac, given, victim)
        assert await phone.call(NUMBER) == 200
        await until(lambda: len(phone.frames) >= 10)
        await keyed(phone, code)
        await phone.hang_up()
        phone.in_from = True
        again = await liar(house, mac, given, victim)
        again.in_from = True
        found = await again.call(NUMBER), (await again.ask("REGISTER", "sip:localhost", "Expires: 60")).status
        phone.close()
        again.close()
        return found

    assert asyncio.run(life()) == (403, 200)
    assert causes(house, mac, 3)[0] == "started"
    assert [one.details["cause"] for one in events(house, "code_failed", mac)] == ["mac"]
    assert events(house, "ivr_prompt", victim) == []
    assert "sip refused others-secret over udp, as if from 127.0.0.1" in house.log()


@pytest.mark.slow
def test_a_phone_bound_by_a_process_that_is_killed_at_once_is_told_by_the_next(house: House) -> None:
    """No NOTIFY has gone out yet; the phone registers again as phones do, and is told on that flow."""
    mac = fresh()
    given = file_of(house, mac)
    number, code = a_code(house)
    pid = ivr_pid(house)

    async def life() -> str:
        phone = await calling(house, mac, given)
        await keyed(phone, code)
        os.kill(pid, signal.SIGKILL)
        assert phone.notified.empty()
        await until(lambda: ivr_pid(house) != pid)
        assert await registers(phone) == 200
        word = await asyncio.wait_for(phone.notified.get(), 20)
        phone.close()
        return word

    assert "check-sync" in asyncio.run(life())
    assert soon(lambda: file_of(house, mac)["account.1.user_name"] == number)
    assert soon(lambda: [one.details["result"] for one in events(house, "resync_told", mac)] == ["SIP 200"])


async def registers(phone: CallPhone, tries: int = 10) -> int:
    """Again and again until somebody answers."""
    for _ in range(tries):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                return await phone.register()
    return 0


def test_every_worker_knows_of_a_binding_within_a_second(house: House) -> None:
    mac = fresh()
    given = file_of(house, mac)
    number, code = a_code(house)
    certificate = house.certificate("yealink", mac, curve=CURVE)
    with contextlib.ExitStack() as close:
        kept: dict[int, http.client.HTTPConnection] = {}
        for _ in range(60):
            made = close.enter_context(house.connection(certificate))
            assert number not in fetched(made, mac)
            kept.setdefault(worker_of(house, made), made)
            if len(kept) == 2:
                break
        assert len(kept) == 2, "each worker has a connection of this phone"

        async def life() -> dict[int, str]:
            phone = await calling(house, mac, given)
            await keyed(phone, code)
            await asyncio.sleep(0.9)
            found = {pid: await asyncio.to_thread(fetched, one, mac) for pid, one in kept.items()}
            phone.close()
            return found

        found = asyncio.run(life())
    assert [number in body for body in found.values()] == [True, True]


def fetched(connection: http.client.HTTPConnection, mac: str) -> str:
    """The number on the first line of its file."""
    status, _, body = ask(connection, f"/{mac}.cfg", User_Agent=f"Yealink SIP-T46S 66.86.0.15 {mac}")
    assert status == 200, body
    return re.findall(r"^account\.1\.user_name ?= ?(.*)$", body.decode(), re.MULTILINE)[0]


def worker_of(house: House, connection: http.client.HTTPConnection) -> int:
    """The process that holds the other end, as the kernel tells it."""
    port = connection.sock.getsockname()[1]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    [inode] = [row[9] for row in rows if int(row[2].rpartition(":")[2], 16) == port]
    workers: list[int] = json.loads(house.get("/health", None, kind="admin")[2])["workers"]["pids"]
    return next(pid for pid in workers if holds(pid, inode))


def holds(pid: int, inode: str) -> bool:
    """Whether a process has this socket open."""
    found = set()
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(one.readlink()))
    return f"socket:[{inode}]" in found
