"""baresip, whose SIP and RTP are nobody's here, registers, hears our prompt as it was recorded, and keys a code."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from array import array
from pathlib import Path
from typing import Any

import pytest

from ivr.media.g711 import Codec
from ivr.prompts import Prompts
from ivr.server_media import Voice
from tests.ivr.answering import NUMBER, Answering, OneCodeDesk, answering, login, short_voice
from tests.ivr.scenarios import GOOD

PHONE = Path(__file__).with_name("baresip_phone.py")
MAC = "0004f2aabbcc"
SECOND = 16_000
"""Bytes."""


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    return short_voice(tmp_path_factory.mktemp("voice"))


async def call(ivr: Answering, heard: Path, **told: Any) -> dict[str, Any]:
    name, secret = login(MAC)
    asked = {
        "user": MAC,
        "auth_user": name,
        "secret": secret,
        "server": ivr.at,
        "number": NUMBER,
        "transport": "udp",
        "codec": "pcmu",
        "mode": "rtpevent",
        "keys": f"{GOOD}#",
        "listens": 0.5,
        "heard": str(heard),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PHONE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(json.dumps({**asked, **told}).encode()), 80)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return dict(json.loads(out))


def correlation(one: array[int], other: array[int]) -> float:
    power = math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))
    return sum(a * b for a, b in zip(one, other, strict=True)) / power if power else 0.0


def through(codec: Codec, pcm: bytes) -> bytes:
    """What is left of it after the codec: where in the heard sound it stands is found by that."""
    return codec.decode(codec.encode(pcm))


def likeness(heard: bytes, prompt: bytes, codec: Codec) -> list[float]:
    """How much each whole second of the prompt, wherever it was heard, is like what was recorded.

    A busy machine makes the phone's own buffer drop or repeat a packet, and all behind it comes at another place.
    """
    said, found = through(codec, prompt), []
    for begin in range(0, len(said) - SECOND, SECOND):
        middle = begin + SECOND // 2  # a second may begin with silence, which is everywhere
        at = heard.find(said[middle : middle + 800]) - SECOND // 2
        piece = array("h", heard[at : at + SECOND]) if at >= 0 else array("h")
        original = array("h", prompt[begin : begin + SECOND])
        found.append(correlation(piece, original) if len(piece) == len(original) else 0.0)
    return found


@pytest.mark.asyncio
@pytest.mark.parametrize("codec", ["pcmu", pytest.param("pcma", marks=pytest.mark.slow)])  # a prompt takes its time
async def test_it_hears_the_welcome_as_it_was_recorded(tmp_path: Path, codec: str) -> None:
    prompt = Prompts().load("welcome")
    desk = OneCodeDesk()
    async with answering(desk) as ivr:
        seconds = len(prompt) / 16000 + 1.0
        told = await call(ivr, tmp_path / "heard", codec=codec, listens=seconds)
    assert told == {"registered": True, "ended": True}
    heard = (tmp_path / "heard").read_bytes()
    found = likeness(heard, prompt, Codec[codec.upper()])
    assert sorted(found)[-2] > 0.99, found
    assert desk.keyed == [GOOD]


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize(("mode", "transport"), [("rtpevent", "tcp"), ("info", "udp")])
async def test_its_keys_arrive_either_way(tmp_path: Path, voice: Voice, mode: str, transport: str) -> None:
    desk = OneCodeDesk()
    async with answering(desk, voice) as ivr:
        told = await call(ivr, tmp_path / "heard", mode=mode, transport=transport)
    assert told == {"registered": True, "ended": True}
    assert desk.keyed == [GOOD]
    assert [(one.mac, one.authenticated) for one in desk.callers] == [(MAC, True)]
    assert ivr.counted[("ivr_calls", "activated")] == 1


@pytest.mark.asyncio
async def test_another_phones_secret_opens_nothing(tmp_path: Path) -> None:
    desk = OneCodeDesk()
    _, secret = login("0004f2000001")
    async with answering(desk) as ivr:
        told = await call(ivr, tmp_path / "heard", secret=secret)
    assert not told["registered"]
    assert desk.callers == []
