"""One whole call a system, byte for byte: what is kept in ``golden/`` is what an operator would see on the wire.

To change one on purpose, delete its file, run this test and read the new one.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ivr.adapters import (
    Attempts,
    AttemptsSettings,
    FastAgi,
    FastAgiSettings,
    Httapi,
    HttapiSettings,
    TwilioSignature,
    Twiml,
    TwimlSettings,
)
from tests.ivr.adapters.asterisk import Asterisk
from tests.ivr.adapters.desks import ScriptedDesk, desk_of
from tests.ivr.adapters.person import Person
from tests.ivr.adapters.web import PUBLIC, SECRET, TOKEN, FreeSwitch, Twilio, serving
from tests.ivr.scenarios import ACCEPTED, GOOD, MISTYPED, SCENARIOS, WRONG

pytestmark = pytest.mark.asyncio
GOLDEN = Path(__file__).parent / "golden"
MENDED = next(one for one in SCENARIOS if one.name == "too short, then a pause")


def agrees(name: str, transcript: list[str]) -> None:
    file, text = GOLDEN / f"{name}.txt", "\n".join(transcript).rstrip() + "\n"
    if not file.exists():
        file.write_text(text, "utf-8")
        pytest.fail(f"{file} was not there; it is now: read it")
    assert text == file.read_text("utf-8")


async def test_fastagi() -> None:
    server = FastAgi(desk_of(MENDED), FastAgiSettings(vouched=("127.0.0.0/8",)))
    await server.start(port=0)
    asterisk = Asterisk(Person(MENDED))
    await asterisk.call(server.port)
    await server.close()
    agrees("fastagi", asterisk.transcript)


async def test_twiml() -> None:
    settings = TwimlSettings(PUBLIC, recordings="https://pbx.example.com/activation/recordings")
    async with serving(Twiml(desk_of(MENDED), TwilioSignature(TOKEN, PUBLIC), settings)) as web:
        await Twilio(web, Person(MENDED)).call()
    agrees("twiml", web.transcript)


async def test_httapi() -> None:
    settings = HttapiSettings("/usr/share/freeswitch/sounds/activation", secret=SECRET)
    async with serving(Httapi(desk_of(MENDED), settings)) as web:
        await FreeSwitch(web, Person(MENDED)).call()
    agrees("httapi", web.transcript)


async def test_rest() -> None:
    settings = AttemptsSettings(("a-token-of-some-length",))
    headers = {"Authorization": "Bearer a-token-of-some-length"}
    async with serving(Attempts(ScriptedDesk([WRONG, ACCEPTED]), settings)) as web:
        for code in (MISTYPED, GOOD, GOOD):
            body = {"code": code, "device": {"mac": "0004f2aabbcc"}, "channel": "curl", "source_ip": "192.0.2.7"}
            await web.send("POST", settings.path, json.dumps(body).encode(), headers)
    agrees("rest", web.transcript)
