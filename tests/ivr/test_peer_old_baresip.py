"""Debian's baresip, an older stack than other tests have: from the configuration that it fetches to its owner's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from house import House, administer, events, soon

from ivr.media.g711 import Codec
from ivr.prompts import Prompts
from provisioner import settings
from provisioner.activation.codes import Codes
from provisioner.model import Scope
from provisioner.store.database import Store
from provisioner.vendors import drivers
from tests.ivr.answering import NUMBER, OneCodeDesk, answering, login, short_voice
from tests.ivr.old_baresip import account_of, old_baresip
from tests.ivr.scenarios import GOOD
from tests.ivr.test_baresip import likeness

MAC = "001565aabbcc"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Acme's phones may ask for a code, and this machine's strangers are Acme's to come."""
    offered = {"activation_networks": "127.0.0.0/30", "activation_server": "127.0.0.1"}
    built = House.build(tmp_path, **offered, ivr_port=0, store_poll=0.05, store_flush=0.1, server_drain=1)

    async def fill(fleet):
        account = (await fleet.add_account("Acme")).id
        await fleet.set_layer(Scope.ACCOUNT, account, {"activation": True, "sip.server": "pbx.example.net"})

    administer(built, fill)
    built.start()
    yield built
    built.stop()


def fetched(house: House) -> dict[str, str]:
    """The phone's file, as its parameters."""
    certificate = house.certificate("yealink", MAC, curve=ec.SECP256R1())
    status, _, body = house.get(f"/{MAC}.cfg", certificate, User_Agent=f"Yealink SIP-T46S 66.86.0.15 {MAC}")
    assert status == 200, body
    return dict(re.findall(r"^([\w.]+) ?= ?(.*)$", body.decode(), re.MULTILINE))


def code_for(house: House, number: str) -> str:
    async def issue(fleet):
        account = (await fleet.accounts())[0].id
        user = await fleet.add_user("Ada", account=account)
        await fleet.add_extension(number, account=account, user=user.id, display_name="Ada", secret="s" * 20)
        configured = settings.load(house.data)
        async with Store.of(configured) as store:
            known = {one.manifest.name: one for one in drivers(house.data / "templates")}
            return (await Codes(store, known, configured).issue(number, account=account)).code

    return administer(house, issue)


def sounds_as_recorded(heard: bytes, prompt: str, whole: int, codec: Codec = Codec.PCMU) -> bool:
    """So many seconds of its first ones came as they are in our file, but for what a busy machine has dropped."""
    found = likeness(heard, Prompts().load(prompt), codec)
    return sum(one > 0.99 for one in found[: whole + 1]) >= whole


async def activate(given: dict[str, str], folder: Path, code: str) -> bytes:
    """Register and call with what was fetched, listen, key the code; what was heard."""
    server = f"127.0.0.1:{given['account.1.sip_server.1.port']}"
    async with old_baresip(folder, account_of(given, "audio_codecs=PCMU")) as phone:
        assert "200 OK" in await phone.registration()
        phone.say("dial", f"sip:{NUMBER}@{server}")
        await phone.until("CALL_ESTABLISHED")
        await asyncio.sleep(len(Prompts().load("welcome")) / 16_000 + 0.3)
        await phone.key(code)
        await asyncio.sleep(2.6)
        await phone.key("1")  # it has heard enough
        await phone.until("CALL_CLOSED")
        async with asyncio.timeout(20):
            while "NOTIFY sip:" not in phone.log:  # noqa: ASYNC110  # a file has no event
                await asyncio.sleep(0.05)
    return phone.heard


@pytest.mark.slow
def test_it_hears_the_prompts_keys_its_code_and_is_its_owners(house: House, tmp_path: Path) -> None:
    code, given = code_for(house, "301"), fetched(house)
    assert given["account.1.user_name"] == MAC
    (tmp_path / "phone").mkdir()
    heard = asyncio.run(activate(given, tmp_path / "phone", code))
    assert sounds_as_recorded(heard, "welcome", 2)
    assert sounds_as_recorded(heard, "success", 1)
    after = soon(lambda: found if (found := fetched(house))["account.1.user_name"] == "301" else None)
    assert after, "it is still nobody's"
    assert [one.details["cause"] for one in events(house, "ivr_prompt", MAC)] == ["started", "accepted"]
    assert [one.details["result"] for one in events(house, "resync_told", MAC)] == ["SIP 481, takes no NOTIFY"], (
        "it takes no NOTIFY that it has not subscribed to, and will fetch by itself"
    )


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("algorithms", "registers"), [(("MD5",), True), (("SHA-256", "MD5"), False), (("MD5", "SHA-256"), False)]
)
async def test_md5_alone_is_offered_because_older_phones_fail_at_anything_beside_it(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, algorithms: tuple[str, ...], registers: bool
) -> None:
    name, secret = login(MAC)
    async with answering(OneCodeDesk(), short_voice(tmp_path_factory.mktemp("voice")), algorithms=algorithms) as ivr:
        account = f"<sip:{MAC}@{ivr.at}>;auth_user={name};auth_pass={secret};regint=120"
        async with old_baresip(tmp_path, account) as phone:
            told = await phone.registration()
        assert ivr.counted["ivr_registered", "udp"] == int(registers)
    assert ("200 OK" if registers else "Function not implemented") in told


@pytest.mark.slow
@pytest.mark.asyncio
async def test_it_hears_what_was_recorded_and_each_of_its_keys_arrives_once(tmp_path: Path) -> None:
    """Two equal keys are two, and what comes before a star does not count."""
    desk = OneCodeDesk(event="")
    name, secret = login(MAC)
    async with answering(desk) as ivr:
        account = f"<sip:{MAC}@{ivr.at}>;auth_user={name};auth_pass={secret};regint=120;audio_codecs=PCMA"
        async with old_baresip(tmp_path, account) as phone:
            assert "200 OK" in await phone.registration()
            phone.say("dial", f"sip:{NUMBER}@{ivr.at}")
            await phone.until("CALL_ESTABLISHED")
            await asyncio.sleep(3)
            await phone.key("1155*" + GOOD)
            async with asyncio.timeout(10):
                while not desk.keyed:  # noqa: ASYNC110  # its keys wait for one another
                    await asyncio.sleep(0.05)
            await asyncio.sleep(1.3)
            await phone.key("1")  # it has heard enough
            await phone.until("CALL_CLOSED")
    assert desk.keyed == [GOOD]
    assert ivr.counted["ivr_calls", "activated"] == 1
    assert sounds_as_recorded(phone.heard, "welcome", 2, Codec.PCMA)
