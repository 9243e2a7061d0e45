"""The baresip of a Debian release, years older than the one from PyPI, as a process that is told what to do over TCP.

It keys by RFC 4733 alone, one key a command, and writes what it hears into a file beside its configuration.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.spare_port import spare_port

_KEY = 0.15
"""s between two keys; each is held a little shorter than that."""
_REGISTRATION = re.compile(r"\{0/UDP[^}]*\} (.+)|reg: sip:\S+: (.+)")
_CONFIG = """sip_listen 127.0.0.1:0
net_interface 127.0.0.1
rtp_ports 65000-65500
audio_source aufile,{folder}/silence.wav
audio_player aubridge,unheard
audio_alert aubridge,unheard
module_path {modules}
module g711.so
module aubridge.so
module aufile.so
module sndfile.so
snd_path {folder}
module_tmp account.so
module_app ctrl_tcp.so
module_app menu.so
ctrl_tcp_listen 127.0.0.1:{port}
"""


@dataclass
class OldPhone:
    """One phone."""

    folder: Path
    commands: asyncio.StreamWriter
    told: list[dict[str, Any]] = field(default_factory=list)
    """Its answers and events, in order."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, command: str, words: str = "") -> None:
        text = json.dumps({"command": command, "params": words}).encode()
        self.commands.write(b"%d:%s," % (len(text), text))  # a netstring

    async def until(self, kind: str, seconds: float = 10.0) -> None:
        """Until it has told an event of this kind."""
        async with asyncio.timeout(seconds):
            while all(one.get("type") != kind for one in self.told):
                self.news.clear()
                await self.news.wait()

    async def registration(self, seconds: float = 10.0) -> str:
        """How it went: it may be over before anybody listens to events, so the log has to tell."""
        async with asyncio.timeout(seconds):
            while not (found := _REGISTRATION.search(self.log)):  # noqa: ASYNC110  # a file has no event
                await asyncio.sleep(0.02)
        return str(found[1] or found[2])

    async def key(self, keys: str) -> None:
        for one in keys:
            self.say("sndcode", one)
            await asyncio.sleep(_KEY)

    @property
    def heard(self) -> bytes:
        """Sound, 8 kHz, 16 bit; whole once it has left."""
        (file,) = self.folder.glob("dump-*-dec.wav")
        with wave.open(str(file)) as sound:
            assert (sound.getframerate(), sound.getsampwidth(), sound.getnchannels()) == (8000, 2, 1)
            return sound.readframes(sound.getnframes())

    @property
    def log(self) -> str:
        """All that it says, its SIP messages among it."""
        return (self.folder / "log").read_text("utf-8", "replace")

    async def listen(self, reader: asyncio.StreamReader) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int((await reader.readuntil(b":"))[:-1])
                self.told.append(json.loads((await reader.readexactly(length + 1))[:-1]))
                self.news.set()


@asynccontextmanager
async def old_baresip(folder: Path, account: str) -> AsyncIterator[OldPhone]:
    """A phone with this account, which registers at once; it has left when this is over."""
    program = shutil.which("baresip", path="/usr/bin:/usr/local/bin")
    assert program, "baresip is not installed: make packages, or apt-get install baresip-core"
    port = spare_port()
    _furnish(folder, account, Path(program).parent.parent / "lib" / "baresip" / "modules", port)
    with (folder / "log").open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            program, "-f", str(folder), "-v", "-s", stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        reader, writer = await _connected(process, port)
        phone = OldPhone(folder, writer)
        listening = asyncio.create_task(phone.listen(reader))
        yield phone
        phone.say("quit")
        assert await asyncio.wait_for(process.wait(), 10) == 0
        await listening
        writer.close()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _furnish(folder: Path, account: str, modules: Path, port: int) -> None:
    (folder / "config").write_text(_CONFIG.format(folder=folder, modules=modules, port=port))
    (folder / "accounts").write_text(f"{account}\n")
    (folder / "contacts").write_text("")
    with wave.open(str(folder / "silence.wav"), "wb") as silence:
        silence.setparams((1, 2, 8000, 0, "NONE", ""))
        silence.writeframes(bytes(16_000 * 60))


async def _connected(
    process: asyncio.subprocess.Process, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(10):
        while process.returncode is None:
            with suppress(ConnectionError):
                return await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.02)
    raise AssertionError("it has left at once")


def account_of(given: dict[str, str], *more: str) -> str:
    """The line of ``accounts`` that says what a Yealink's configuration says."""
    server = f"{given['account.1.sip_server.1.address']}:{given['account.1.sip_server.1.port']}"
    login = f"auth_user={given['account.1.auth_name']};auth_pass={given['account.1.password']}"
    assert not re.search(r"[;\"\s]", given["account.1.password"]), "the line has no way to say it"
    return ";".join([f"<sip:{given['account.1.user_name']}@{server}>", login, "regint=120", *more])
