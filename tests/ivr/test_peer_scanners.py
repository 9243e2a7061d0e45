"""sipvicious looks for servers, extensions and passwords here: it finds nothing, and phones do not notice."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from ivr.server_media import Voice
from tests.call_phone import CallPhone
from tests.ivr.answering import NUMBER, Answering, OneCodeDesk, answering, login, short_voice
from tests.ivr.scenarios import GOOD

pytestmark = pytest.mark.asyncio
MAC = "0004f2aabbcc"
STRANGER = "127.0.0.66"


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    return short_voice(tmp_path_factory.mktemp("voice"))


async def scan(home: Path, *words: str) -> str:
    """What one of its programs prints; it keeps its sessions below ``home``."""
    program = shutil.which(words[0])
    assert program, f"{words[0]} is not installed: make packages, or apt-get install sipvicious"
    process = await asyncio.create_subprocess_exec(
        program,
        *words[1:],
        cwd=home,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def honest(ivr: Answering) -> None:
    """A phone at an address of its own registers, calls and keys its code."""
    phone = await CallPhone.open(MAC, *login(MAC), ("127.0.0.1", ivr.port))
    try:
        assert await phone.register() == 200
        assert await phone.call(NUMBER) == 200
        await asyncio.sleep(0.3)
        await phone.key(GOOD)
        await asyncio.wait_for(phone.left.wait(), 20)
    finally:
        phone.close()


def nobody_was_touched(ivr: Answering, desk: OneCodeDesk, phones: int = 1) -> None:
    """What is counted is what the honest phones did, and nothing else."""
    assert dict(ivr.counted) == {("ivr_registered", "udp"): phones, ("ivr_calls", "activated"): phones}
    assert ivr.server.registrations == 1
    assert desk.keyed == [GOOD] * phones
    assert desk.causes == ["started", "accepted"] * phones
    assert [caller.mac for caller in desk.callers] == [MAC] * phones


def each_way(ivr: Answering, home: Path, address: str) -> list[Coroutine[None, None, str]]:
    """For servers, for numbers that can be called and for users that can register."""
    there = ["-p", str(ivr.port), "-b", address, "127.0.0.1"]
    return [
        scan(home, "svmap", *there),
        scan(home, "svwar", "-e", f"100-109,{NUMBER}", "-m", "INVITE", *there),
        scan(home, "svwar", "-e", "100-109", "--force", "--maximumtime=1", *there),
    ]


async def test_a_scanner_that_says_its_name_meets_silence(tmp_path: Path, voice: Voice) -> None:
    """Whether it stands elsewhere or in the phone's own house."""
    desk = OneCodeDesk(event="")
    async with answering(desk, voice) as ivr:
        scans = [*each_way(ivr, tmp_path, STRANGER), *each_way(ivr, tmp_path, "127.0.0.1")]
        _, *found = await asyncio.gather(honest(ivr), *scans)
        assert [("found nothing" in one, "SIP/2.0" in one) for one in found] == [(True, False)] * 6, found
        dropped = ivr.server.dropped()
        assert dropped.pop("scanner") >= 6
        assert not any(dropped.values()), dropped
        nobody_was_touched(ivr, desk)


class Disguise(asyncio.DatagramProtocol):
    """Gives the scanner a phone's name; it passes on all else, in both directions."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.scanner: tuple[str, int] | None = None
        self.answers: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.way = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr != self.server:
            self.scanner = addr
            self.way.sendto(data.replace(b"friendly-scanner", b"Yealink SIP-T46S"), self.server)
        else:
            self.answers.append(data)
            self.way.sendto(data, self.scanner)


@asynccontextmanager
async def disguised(ivr: Answering) -> AsyncIterator[tuple[Disguise, list[str]]]:
    """The disguise, and the words with which a scanner aims at it."""
    loop = asyncio.get_running_loop()
    way, made = await loop.create_datagram_endpoint(lambda: Disguise(("127.0.0.1", ivr.port)), local_addr=(STRANGER, 0))
    try:
        yield made, ["-p", str(way.get_extra_info("sockname")[1]), "-b", "127.0.0.1", STRANGER]
    finally:
        way.close()


async def test_one_that_says_it_is_a_phone_cannot_tell_phones_from_nobodies(tmp_path: Path, voice: Voice) -> None:
    """It knows a phone and what its login is called; both are answered like any that it makes up."""
    desk = OneCodeDesk(event="")
    users = tmp_path / "users"
    users.write_text(f"100\n{MAC}\n0004f2aabbcd\n{login(MAC)[0]}\n")
    async with answering(desk, voice) as ivr, disguised(ivr) as (disguise, there):
        found = [await scan(tmp_path, "svwar", "-d", str(users), "--maximumtime=1", *there)]
        assert "authentication request for an unknown extension" in found[0]
        assert len(disguise.answers) == 1
        *more, _ = await asyncio.gather(
            scan(tmp_path, "svmap", *there),
            scan(tmp_path, "svwar", "-d", str(users), "-m", "INVITE", *there),
            honest(ivr),
        )
        assert len(disguise.answers) == 1, "who is not called here meets silence"
        assert all("found nothing" in one for one in [*found, *more]), more
        nobody_was_touched(ivr, desk)


@pytest.mark.slow
async def test_it_guesses_passwords_of_a_phone_that_goes_on_calling(tmp_path: Path, voice: Voice) -> None:
    """Ten seconds are what svcrack waits at its end; before that it tries ten or more a second."""
    desk = OneCodeDesk(event="")
    words, name = tmp_path / "words", login(MAC)[0]
    words.write_text("".join(f"password{number}\n" for number in range(100)))
    async with answering(desk, voice) as ivr, disguised(ivr) as (disguise, there):
        cracking = asyncio.create_task(scan(tmp_path, "svcrack", "-u", name, "-e", MAC, "-d", str(words), *there))
        for _ in range(3):
            await honest(ivr)
        found = await cracking
        assert "found nothing" in found, found
        assert all(one.startswith(b"SIP/2.0 401 ") for one in disguise.answers)
        dropped = ivr.server.dropped()
        assert dropped["wrong-secret"] > 50, "it was answered, or nothing would be shown here"
        nobody_was_touched(ivr, desk, phones=3)
