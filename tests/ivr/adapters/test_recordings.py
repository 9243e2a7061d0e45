"""The recordings over HTTP: ours, the operator's before ours, and nothing else of the disk."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import pytest

from ivr.adapters import Recordings
from tests.ivr.adapters.web import serving

pytestmark = pytest.mark.asyncio
PATH = "/activation/recordings"


async def test_a_recording_can_be_played() -> None:
    async with serving(Recordings()) as web:
        answer, body = await web.send("GET", f"{PATH}/en/welcome.wav")
        assert (answer.status, answer.content_type) == (200, "audio/wav")
        with wave.open(io.BytesIO(body)) as played:
            assert played.getframerate() == 8000
        head, nothing = await web.send("HEAD", f"{PATH}/en/welcome.wav")
        assert (head.status, head.content_length, nothing) == (200, len(body), b"")
        assert (await web.send("GET", f"{PATH}/en-GB/welcome.wav"))[1] == body


async def test_the_operators_go_before_ours(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "welcome.wav").write_bytes(b"RIFF own")
    async with serving(Recordings(tmp_path)) as web:
        assert (await web.send("GET", f"{PATH}/en/welcome.wav"))[1] == b"RIFF own"


@pytest.mark.parametrize(
    "path",
    [
        "/en/catalogue.toml",
        "/en/x.wav",
        "/xx/welcome.wav",
        "/en-XX/welcome.wav",
        "/en/welcome",
        "/en/%2e%2e%2fen%2fwelcome.wav",
        "/../x.wav",
    ],
)
async def test_nothing_else_is_there(path: str) -> None:
    async with serving(Recordings()) as web:
        assert (await web.send("GET", PATH + path))[0].status == 404


async def test_nothing_can_be_put_there() -> None:
    async with serving(Recordings()) as web:
        assert (await web.send("PUT", f"{PATH}/en/welcome.wav", b"x"))[0].status == 405
