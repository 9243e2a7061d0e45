"""sipp as a phone, or as many: it runs a scenario of ``sipp/`` to its end and says what did not go as written."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

from tests.ivr.answering import NUMBER, login
from tests.ivr.scenarios import GOOD
from tests.spare_port import spare_port

SCENARIOS = Path(__file__).with_name("sipp")
MAC = "0004f2aabbcc"
_BLOCK = re.compile(r" *<!-- each key -->\n(.*?) *<!-- end of each key -->\n", re.DOTALL)


def scenario(name: str, folder: Path) -> Path:
    """The file with its block of each key once for every key of the code."""
    text = (SCENARIOS / f"{name}.xml").read_text("utf-8")

    def keys(found: re.Match[str]) -> str:
        pairs = enumerate(f"{GOOD}#", start=3)
        return "".join(found[1].replace("@KEY@", key).replace("@CSEQ@", str(cseq)) for cseq, key in pairs)

    made = folder / f"{name}.xml"
    made.write_text(_BLOCK.sub(keys, text), "utf-8")
    return made


async def play(name: str, at: str, folder: Path, *, password: str = "") -> str:
    """One phone, MAC; what sipp says when it did not go as written."""
    name_, secret = login(MAC)
    words = ["-m", "1", "-s", NUMBER, "-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", str(spare_port()), "-timeout", "40s"]
    return await sipp(name, at, folder, *words, "-au", name_, "-ap", password or secret, "-key", "mac", MAC)


async def sipp(name: str, at: str, folder: Path, *words: str, patience: float = 60.0) -> str:
    """Empty when all calls went as the scenario says."""
    program = shutil.which("sipp")
    assert program, "sipp is not installed: make packages, or apt-get install sip-tester"
    more = ["-sf", str(scenario(name, folder)), "-nostdin", "-timeout_error", *words, at]
    process = await asyncio.create_subprocess_exec(
        program, *more, cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, err = await asyncio.wait_for(process.communicate(), patience)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return "" if process.returncode == 0 else f"{name}: {process.returncode}\n{err.decode()}"
