"""What the IVR's process is made of: its keys, and the PBX through which phones are told."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fake_ami import SECRET, FakeAmi
from house import House

from provisioner import settings as provisioner_settings
from provisioner.activation_secret import PURPOSE, issue
from provisioner.activation_verdict import Outcome
from provisioner.app import prepare
from provisioner.contradictions import contradictions
from provisioner.errors import Unusable
from provisioner.ivr_app import config_of, secrets_of
from provisioner.ivr_desk import RESULTS
from provisioner.model import ListenerKind, Mac
from provisioner.ports import bind, with_ivr_port
from provisioner.resync.resync import Resync, Whom
from provisioner.settings import Settings
from provisioner.store.database import Store, key_path
from provisioner.store.secretbox import drop_old_keys, rotate_key
from provisioner.vendors import drivers

MAC = "001565000abc"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House.build(tmp_path, ivr_port=0, store_poll=0.05, store_flush=0.1)


def test_each_process_signs_nonces_with_a_key_of_its_own(tmp_path: Path) -> None:
    """Its memory of used answers and its clock are its own as well."""
    chosen = Settings(data=tmp_path)
    first, second = config_of(chosen).core.key, config_of(chosen).core.key
    assert first != second
    assert len(first) == len(second) == 32


def test_the_secret_of_a_waiting_phone_counts_as_long_as_its_key(house: House) -> None:
    configured = provisioner_settings.load(house.data)

    async def life() -> None:
        async with Store.of(configured) as store:
            known = secrets_of(configured, store)
            now, life_time = time.time(), configured.activation_secret_life
            user, secret = issue(store.box.derived(PURPOSE)[0], Mac(MAC), now, life_time, b"12345678")
            held = known(user)
            assert held is not None
            assert (held.mac, held.secret, held.older) == (MAC, str(secret), ())
            rotate_key(key_path(house.data))
            both = known(user)
            assert both is not None
            assert (both.mac, both.older) == (MAC, (str(secret),))
            assert both.secret == str(issue(store.box.derived(PURPOSE)[0], Mac(MAC), now, life_time, b"12345678")[1])
            drop_old_keys(key_path(house.data))
            after = known(user)
            assert after is not None
            assert (after.secret, after.older) == (both.secret, ())
            assert known("nobody") is None

    asyncio.run(life())


def test_a_pbx_that_cannot_be_asked_keeps_the_server_from_starting(house: House) -> None:
    def prepared(**chosen: object) -> None:
        prepare(provisioner_settings.load(house.data, {}, resync_ami_host="127.0.0.1", **chosen))

    with pytest.raises(Unusable, match=r"resync\.ami_secret"):
        prepared()
    (house.data / "ami.secret").write_text(SECRET)
    (house.data / "ami.secret").chmod(0o600)
    with pytest.raises(Unusable, match=r"resync\.ami_endpoint"):
        prepared(resync_ami_endpoint="{password}")
    prepared()


@pytest.mark.slow
def test_phones_that_the_pbx_holds_are_told_by_it(house: House) -> None:
    house.environment |= {"PROVISIONER_RESYNC_AMI_HOST": "127.0.0.1", "PROVISIONER_RESYNC_AMI_ENDPOINT": "{mac}"}
    (house.data / "ami.secret").write_text(SECRET)
    (house.data / "ami.secret").chmod(0o600)
    certificate = house.certificate("yealink", MAC, curve=ec.SECP256R1())

    async def life() -> list[tuple[str, str]]:
        async with FakeAmi({MAC: "NOT_INUSE"}).running() as fake:
            house.environment["PROVISIONER_RESYNC_AMI_PORT"] = str(fake.port)
            await house.add(MAC, "yealink", "T46S", "204")
            await asyncio.to_thread(house.start)
            agent = f"Yealink SIP-T46S 66.86.0.15 {MAC}"
            found = await asyncio.to_thread(house.get, f"/{MAC}.cfg", certificate, User_Agent=agent)
            assert found[0] == 200
            await begin(house)
            await until(lambda: fake.notified)
            return fake.notified

    try:
        [(endpoint, event)] = asyncio.run(life())
    finally:
        house.stop()
    assert endpoint == MAC
    assert "check-sync" in event
    assert SECRET not in house.log()
    assert "Traceback" not in house.log()


async def begin(house: House) -> None:
    """Ask for this one phone."""
    configured = provisioner_settings.load(house.data)
    known = {one.manifest.name: one for one in drivers(house.data / "templates")}
    async with Store.of(configured) as store:
        resync = Resync(store, known, configured, actor="test")
        urls = {ListenerKind.DEVICE: f"https://localhost:{house.ports['device']}/"}
        for _ in range(100):
            draft = await resync.plan(Whom(mac=Mac(MAC)), 10.0, urls)
            if draft.turns:
                await resync.begin(draft)
                return
            await asyncio.sleep(0.1)  # its fetch is written down a moment later
    raise AssertionError("nobody to be told")


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for is another process
            await asyncio.sleep(0.01)


def test_every_outcome_has_its_word() -> None:
    assert set(RESULTS) == set(Outcome)


def test_a_taken_port_names_the_setting(tmp_path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        off = {"device_port": 0, "bootstrap_port": -1, "admin_port": -1}
        with pytest.raises(Unusable, match=rf"ivr listener: 127.0.0.1 port {port} is taken .* ivr.port"):
            bind(Settings(data=tmp_path, ivr_port=port, **off))


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        (
            {"ivr_port": 0, "ivr_rtp_high": 20_100},
            "ivr.rtp_high = 20100 are 51 even ports < ivr.calls = 100",
        ),
        ({"ivr_tls_port": 0, "ivr_address": "pbx.example.net"}, "ivr.address = 'pbx.example.net'"),
        ({"ivr_tls_port": 8443}, "device.port and ivr.tls_port are both 8443"),
    ],
)
def test_settings_that_cannot_all_be_meant(tmp_path, chosen, told) -> None:
    assert any(told in one for one in contradictions(Settings(data=tmp_path, **chosen)))
    assert not contradictions(Settings(data=tmp_path, ivr_rtp_high=20_199, ivr_port=5060, ivr_address="192.0.2.1"))


def test_phones_are_told_the_port_that_is_bound(tmp_path) -> None:
    chosen = Settings(data=tmp_path, device_port=0, bootstrap_port=-1, admin_port=-1, ivr_port=0)
    sockets = bind(chosen)
    try:
        assert with_ivr_port(chosen, sockets).activation_port == sockets[ListenerKind.IVR].getsockname()[1]
        assert with_ivr_port(chosen, {}).activation_port == 0
    finally:
        for sock in sockets.values():
            sock.close()
