"""A phone that is nobody's boots, registers, calls, keys in a code and boots again as its owner's, at a real server."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from call_phone import CallPhone
from cryptography.hazmat.primitives.asymmetric import ec
from house import House, administer, events, soon

from provisioner import settings as provisioner_settings
from provisioner.activation.codes import Codes
from provisioner.activation_secret import PURPOSE, issue
from provisioner.app import prepare
from provisioner.errors import Unusable
from provisioner.model import Mac, Scope
from provisioner.resync.resync import Resync
from provisioner.resync_states import State
from provisioner.store.database import Store, key_path
from provisioner.store.secretbox import SecretBox
from provisioner.vendors import drivers

CURVE = ec.SECP256R1()
NUMBER = "2288"
SECRET = "canary-Secret-Zq7!204"
_numbers = iter(range(0x100, 0x1000))
_extensions = iter(range(300, 400))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Acme lets its phones ask for a code; so may strangers from this machine."""
    built = House.build(
        tmp_path_factory.mktemp("ivr"),
        activation_networks="127.0.0.0/30",
        server_drain=3,
        store_poll=0.05,
        store_flush=0.1,
        ivr_port=0,
        ivr_tls_port=0,
        ivr_rate=200,
    )

    async def fill(fleet):
        account = (await fleet.add_account("Acme")).id
        await fleet.set_layer(Scope.ACCOUNT, account, {"activation": True, "sip.server": "pbx.example.net"})

    administer(built, fill)
    built.start()
    yield built
    built.stop()


def a_code(house: House, **ties: str) -> tuple[str, str]:
    """A fresh person's extension, and the code for it."""
    number = str(next(_extensions))

    async def issue(fleet):
        account = (await fleet.accounts())[0].id
        user = await fleet.add_user(f"Person {number}", account=account)
        await fleet.add_extension(number, account=account, user=user.id, display_name=number, secret=SECRET)
        configured = provisioner_settings.load(house.data)
        async with Store.of(configured) as store:
            known = {one.manifest.name: one for one in drivers(house.data / "templates")}
            return (await Codes(store, known, configured).issue(number, account=account, **ties)).code

    return number, administer(house, issue)


def file_of(house: House, mac: str, vendor: str = "yealink") -> dict[str, str]:
    """What the phone gets, as parameters."""
    certificate = house.certificate(vendor, mac, curve=CURVE)
    status, _, body = house.get(f"/{mac}.cfg", certificate, User_Agent=f"Yealink SIP-T46S 66.86.0.15 {mac}")
    assert status == 200, body
    return dict(re.findall(r"^([\w.]+) ?= ?(.*)$", body.decode(), re.MULTILINE))


def fresh(oui: str = "001565") -> str:
    return f"{oui}{next(_numbers):06x}"


async def phone_of(house: House, mac: str, given: dict[str, str], transport: str = "udp") -> CallPhone:
    kind = {"udp": "ivr", "tcp": "ivr-tcp", "tls": "ivr-tls"}[transport]
    context = house.context() if transport == "tls" else None
    user, secret = given["account.1.auth_name"], given["account.1.password"]
    return await CallPhone.open(mac, user, secret, ("127.0.0.1", house.ports[kind]), transport, context)


async def calling(house: House, mac: str, given: dict[str, str], transport: str = "udp") -> CallPhone:
    phone = await phone_of(house, mac, given, transport)
    assert await phone.register() == 200
    assert await phone.call(NUMBER) == 200
    await until(lambda: len(phone.frames) >= 10)
    return phone


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for is another process
            await asyncio.sleep(0.01)


async def leaves(phone: CallPhone) -> None:
    """Hear the last prompt for a moment, then cut it short with a key."""
    await asyncio.sleep(1.3)
    await phone.key("1")
    async with asyncio.timeout(10):
        await phone.left.wait()


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_strangers_phone_becomes_its_owners(house: House, transport: str) -> None:
    mac = fresh()
    number, code = a_code(house)
    given = file_of(house, mac)
    assert given["account.1.sip_server.1.port"] == str(house.ports["ivr"])
    soon(lambda: administer(house, lambda fleet: fleet.seen()))

    async def life() -> str:
        phone = await calling(house, mac, given, transport)
        await phone.key(code)
        if transport == "udp":  # all of the last prompt, which is longer than a phone's turn to be told waits
            await asyncio.wait_for(phone.left.wait(), 30)
        else:
            await leaves(phone)
        word = await asyncio.wait_for(phone.notified.get(), 10)
        phone.close()
        return word

    assert "check-sync" in asyncio.run(life())
    after = soon(lambda: found if (found := file_of(house, mac))["account.1.user_name"] == number else None)
    assert after["account.1.password"] == SECRET
    causes = [one.details["cause"] for one in events(house, "ivr_prompt", mac)]
    assert causes == ["started", "accepted"]
    assert [one.details["result"] for one in events(house, "resync_told", mac)] == ["SIP 200"]
    told = str([one.details for one in events(house, "ivr_prompt", mac)])
    assert code not in told
    assert code not in house.log()
    assert given["account.1.password"] not in house.log()


@pytest.mark.parametrize("known", [True, False], ids=["added before", "a stranger until then"])
def test_a_phone_that_waits_is_told_when_an_administrator_binds_it(house: House, known: bool) -> None:
    """By its MAC: two lines in a row, one NOTIFY on the flow of the prompts, and its owner's file."""
    mac, numbers = Mac(fresh()), [str(next(_extensions)) for _ in range(2)]

    async def add(fleet):
        account = (await fleet.accounts())[0].id
        await fleet.add_device(mac, vendor="yealink", model="SIP-T46S", account=account)

    async def bind(fleet):
        account = (await fleet.accounts())[0].id
        user = await fleet.add_user(f"Person {numbers[0]}", account=account)
        for line, number in enumerate(numbers, 1):
            await fleet.add_extension(number, account=account, user=user.id, secret=SECRET)
            await fleet.bind(mac, line, extension=number)

    async def life() -> tuple[str, float]:
        phone = await phone_of(house, mac, given)
        assert await phone.register() == 200
        if not known:
            await asyncio.to_thread(administer, house, add)
        began = time.monotonic()
        await asyncio.to_thread(administer, house, bind)
        word = await asyncio.wait_for(phone.notified.get(), 15)
        told = time.monotonic() - began
        await asyncio.sleep(1.5)
        assert phone.notified.empty(), "told once for both lines"
        phone.close()
        return word, told

    if known:
        administer(house, add)
    given = file_of(house, mac)
    assert given["account.1.sip_server.1.port"] == str(house.ports["ivr"])
    soon(lambda: events(house, "activation_offered", mac))
    soon(lambda: administer(house, lambda fleet: fleet.fetches(mac)) if known else True)
    word, told = asyncio.run(life())
    assert (word, told < 8) == ("check-sync;reboot=true", True), told
    after = file_of(house, mac)
    assert [after[f"account.{line}.user_name"] for line in (1, 2)] == numbers
    assert after["account.1.password"] == SECRET
    assert [one.details["campaign"] for one in events(house, "resync_told", mac)] == ["lines"]
    assert soon(lambda: standing(house, mac) == State.FETCHED, 15)


def standing(house: House, mac: Mac) -> State:
    """How far the phone is that was told."""

    async def read(fleet):
        del fleet
        configured = provisioner_settings.load(house.data)
        async with Store.of(configured) as store:
            [one] = await Resync(store, {}, configured).standings(mac=mac)
            return one.state

    return administer(house, read)


def causes(house: House, mac: str, number: int) -> list[str]:
    """Of the prompts that a phone's user heard."""
    return soon(
        lambda: (
            found if len(found := [one.details["cause"] for one in events(house, "ivr_prompt", mac)]) >= number else []
        )
    )


def offered(house: House, mac: str) -> dict[str, str]:
    """The secret as the phone's own fetch gives it, without the fetch."""
    key = SecretBox.load(key_path(house.data)).derived(PURPOSE)[0]
    user, secret = issue(key, Mac(mac), time.time(), 86_400, b"")
    return {"account.1.auth_name": user, "account.1.password": str(secret)}


def ivr_pid(house: House) -> int:
    return int(re.findall(r"ivr 1 \(pid (\d+)\) started", house.log())[-1])


def test_wrong_used_and_expired_codes_are_told_apart_and_logged_without_digits(house: House) -> None:
    mac, other = fresh(), fresh()
    given = {one: file_of(house, one) for one in (mac, other)}
    _, code = a_code(house)

    async def life() -> None:
        first = await calling(house, mac, given[mac])
        await first.key(code)
        await leaves(first)
        first.close()
        second = await calling(house, other, given[other])
        before = len(second.frames)
        await second.key(code)
        await until(lambda: len(second.frames) > before + 5)
        await second.hang_up()
        second.close()

    asyncio.run(life())
    assert causes(house, other, 3) == ["started", "used", "gone"]
    assert [one.details["cause"] for one in events(house, "code_failed", other)] == ["used"]
    assert code not in house.log() + str(events(house, "code_failed", other))


def test_two_phones_with_the_same_code_and_one_of_them_wins(house: House) -> None:
    macs = [fresh(), fresh()]
    given = [file_of(house, mac) for mac in macs]
    number, code = a_code(house)

    async def life() -> None:
        phones = [await calling(house, mac, file) for mac, file in zip(macs, given, strict=True)]
        await asyncio.gather(*(phone.key(code) for phone in phones))
        await asyncio.sleep(1.0)
        for phone in phones:
            if not phone.left.is_set():
                await phone.hang_up()
            phone.close()

    asyncio.run(life())
    users = soon(
        lambda: found if number in (found := [file_of(house, mac)["account.1.user_name"] for mac in macs]) else []
    )
    assert users.count(number) == 1


def test_who_hangs_up_right_after_success_is_bound_and_told(house: House) -> None:
    mac = fresh()
    given = file_of(house, mac)
    _, code = a_code(house)

    async def life() -> str:
        phone = await calling(house, mac, given)
        await phone.key(code[:-1])
        before = len(phone.frames)
        await phone.key(code[-1], pause=0.0)
        await until(lambda: len(phone.frames) > before)
        await phone.hang_up()
        word = await asyncio.wait_for(phone.notified.get(), 10)
        phone.close()
        return word

    assert "check-sync" in asyncio.run(life())


def test_another_phones_secret_calls_nothing(house: House) -> None:
    mac, other = fresh(), fresh()
    given = file_of(house, mac)

    async def life() -> tuple[int, int]:
        phone = await phone_of(house, other, given)
        statuses = await phone.register(), await phone.call(NUMBER)
        phone.close()
        return statuses

    assert asyncio.run(life()) == (403, 403)
    assert "sip refused others-secret over udp, as if from 127.0.0.1" in house.log()


def test_a_model_that_is_activated_by_its_mac_hears_so(house: House) -> None:
    mac = Mac(fresh("0004f2"))

    async def add(fleet):
        account = (await fleet.accounts())[0].id
        await fleet.add_device(mac, vendor="poly", model="SoundPoint IP 450", account=account)

    administer(house, add)

    async def life() -> None:
        phone = await calling(house, mac, offered(house, mac))
        await leaves(phone)
        phone.close()

    asyncio.run(life())
    assert causes(house, mac, 1) == ["unsupported"]


def test_a_phone_whose_secret_has_outlived_it_hears_at_once_whom_to_ask(house: House) -> None:
    mac = Mac(fresh())

    async def revoked(fleet):
        account = (await fleet.accounts())[0].id
        await fleet.add_device(mac, vendor="yealink", model="T46S", account=account)
        await fleet.revoke_device(mac)

    administer(house, revoked)

    async def life() -> None:
        phone = await calling(house, mac, offered(house, mac))
        await leaves(phone)
        phone.close()

    asyncio.run(life())
    assert causes(house, mac, 1) == ["unsupported"]


def test_a_killed_process_is_replaced_and_what_was_bound_stays(house: House) -> None:
    mac, later = fresh(), fresh()
    given = {one: file_of(house, one) for one in (mac, later)}
    number, code = a_code(house)

    async def bound() -> None:
        phone = await calling(house, mac, given[mac])
        await phone.key(code[:-1])
        before = len(phone.frames)
        await phone.key(code[-1], pause=0.0)
        await until(lambda: len(phone.frames) > before)
        os.kill(pid, signal.SIGKILL)
        phone.close()

    pid = ivr_pid(house)
    asyncio.run(bound())
    assert soon(lambda: file_of(house, mac)["account.1.user_name"] == number)
    assert soon(lambda: ivr_pid(house) != pid)

    async def calls_again() -> None:
        phone = await calling(house, later, given[later])
        assert await phone.hang_up() == 200
        phone.close()

    asyncio.run(calls_again())


def test_metrics_tell_calls_and_what_was_dropped(house: House) -> None:
    mac = fresh()
    given = file_of(house, mac)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"no SIP at all", ("127.0.0.1", house.ports["ivr"]))

    async def life() -> None:
        phone = await calling(house, mac, given)
        await phone.hang_up()
        phone.close()

    asyncio.run(life())

    def told() -> str:
        text = house.get("/metrics", None, kind="admin")[2].decode()
        return text if all(line in text for line in wanted) else ""

    wanted = (
        'provisioner_ivr_calls_total{outcome="caller"}',
        'provisioner_ivr_dropped_total{reason="garbage"}',
        "provisioner_ivr_calls_now 0.0",
    )
    assert soon(told)


def test_a_stop_lets_a_call_go_on_and_then_ends_it(tmp_path) -> None:
    other = House.build(tmp_path, activation_networks="127.0.0.0/30", server_drain=1.5, ivr_port=0, store_flush=0.1)
    other.start()
    mac = fresh()
    given = file_of(other, mac)

    async def life() -> None:
        phone = await calling(other, mac, given)
        assert other.process is not None
        other.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.6)
        assert not phone.left.is_set()
        await asyncio.wait_for(phone.left.wait(), 5)
        phone.close()

    try:
        asyncio.run(life())
        assert other.process is not None
        assert other.process.wait(10) == 0
    finally:
        other.stop()
    assert re.search(r"ivr 1 \(pid \d+\) left", other.log())
    assert "Traceback" not in other.log()


def test_prompts_that_are_not_there_keep_the_server_from_starting(house: House) -> None:
    configured = provisioner_settings.load(house.data, {}, ivr_port=0, ivr_language="xx")
    with pytest.raises(Unusable, match="no prompts in 'xx'"):
        prepare(configured)
