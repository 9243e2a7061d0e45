"""`provisioner simulate call` as somebody types it: a phone of its own process calls the real IVR."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from activation_house import MAC, House
from click.testing import Result
from scripted_server import ScriptedServer

from ivr.flow import FlowSettings
from ivr.server_media import Voice
from tests.ivr.answering import OneCodeDesk, answering, short_voice
from tests.ivr.scenarios import GOOD, OTHER

Run = Callable[..., Result]
SPOKEN = (GOOD[:4], GOOD[4:8], GOOD[8:])


async def typed(house: House, desk: OneCodeDesk, voice: Voice, *words: str) -> tuple[int, str, str]:
    async with ScriptedServer(house.serve) as files, answering(desk, voice) as ivr:
        house.sip = ivr.at
        command = [sys.executable, "-m", "provisioner", "simulate", "call", "--mac", MAC.colons, "--insecure"]
        command += ["--vendor", "yealink", "--model", "T46S", "--url", files.url, "--pause", "0.2", *words]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    return short_voice(tmp_path_factory.mktemp("voice"))


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_newcomer_reads_the_story_and_hears_the_call(voice: Voice, tmp_path: Path) -> None:
    house = House()
    wav = tmp_path / "heard.wav"
    code, out, err = await typed(house, OneCodeDesk(house.bind), voice, "--code", *SPOKEN, "--save", str(wav))
    assert (code, err) == (0, ""), out
    assert f"registered as {MAC}" in out
    assert "it is somebody's: line 1 as 1001 at pbx.example.net" in out
    assert GOOD not in out
    assert wav.read_bytes()[:4] == b"RIFF"  # a short file, and nothing else runs


@pytest.mark.asyncio
async def test_a_script_reads_why_it_is_nobodys(voice: Voice) -> None:
    house = House()
    desk = OneCodeDesk(house.bind, settings=FlowSettings(tries=1))
    code, out, _ = await typed(house, desk, voice, "--code", OTHER, "--info", "--wait", "0.2", "--json")
    told = json.loads(out)
    assert (code, told["outcome"], told["keys_by"], told["ended_by"]) == (1, "nobodys", "INFO", "the server")
    assert "the code was not accepted" in told["reason"]
    assert told["lines_after"][0]["user"] == MAC


@pytest.mark.asyncio
async def test_a_phone_that_is_somebodys_has_nobody_to_call(voice: Voice) -> None:
    house = House()
    house.owner = "1001"
    code, out, _ = await typed(house, OneCodeDesk(), voice, "--code", GOOD)
    assert code == 1
    assert "nobody's: nothing is dialled when the handset is lifted: the phone is 1001 already" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--code", "12x4"], "must be digits"),
        (["--code", "1234", "--info", "--rfc4733"], "one way or the other"),
        (["--code", "1234", "--vendor", "poly"], "given together"),
        (["--code", "1234", "--events", "5"], "--events: must be 96 to 127"),
        (["--code", "1234", "--sip", "a b"], "--sip: must be host"),
        (["--code", "1234", "--mac", "aabbccddeeff"], "--vendor and --model"),
        ([], "--code"),
    ],
)
def test_wrong_words_are_wrong_usage(run: Run, words: list[str], told: str) -> None:
    mac = [] if "--mac" in words else ["--mac", "0004f2aabbcc"]
    assert told in run("simulate", "call", *mac, *words, code=2).output


@pytest.mark.slow
def test_an_installation_says_the_rest(run: Run, office: None) -> None:
    # No server runs there, so the phone is refused; that it was known as a VVX 411 is what counts.
    result = run("simulate", "call", "--mac", "0004f2aabbcc", "--code", "1234", "--json", code=1)
    told = json.loads(result.stdout)
    assert (told["vendor"], told["model"], told["url"]) == ("poly", "VVX 411", "https://prov.example.net:8443/")
    assert told["reason"].startswith("the server refused the phone its files")
