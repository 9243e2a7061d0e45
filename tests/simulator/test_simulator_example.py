"""The example phone runs as it stands, against real TLS, with nothing of the product imported."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest
from scripted_server import Certificates, ScriptedServer, play

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "fake_phone.py"
FILES = {
    "/000000000000.cfg": '<APPLICATION CONFIG_FILES="[PHONE_MAC_ADDRESS]-user.cfg"/>',
    "/0004f2aabbcc-user.cfg": '<x><y reg.1.address="2001"/></x>',
}


async def run(certificates: Certificates, files: dict[str, str]) -> tuple[int, str, list[tuple[str, str]]]:
    async with ScriptedServer(play(files), certificates.context(required=True)) as server:
        pems = (certificates.certificate, certificates.key, certificates.server_ca)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(EXAMPLE),
            server.url.rstrip("/"),
            "0004f2aabbcc",
            *map(str, pems),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode(), server.order


@pytest.mark.asyncio
async def test_it_walks_the_sequence_and_names_its_line(certificates: Certificates) -> None:
    code, out, order = await run(certificates, FILES)
    assert (code, out.splitlines()[-1]) == (0, "line 1 registers as 2001")
    assert [path for _, path in order] == ["/0004f2aabbcc.cfg", *FILES]


@pytest.mark.asyncio
@pytest.mark.parametrize("missing", [*FILES])
async def test_it_ends_with_1_when_it_is_not_served(certificates: Certificates, missing: str) -> None:
    code, out, _ = await run(certificates, {name: body for name, body in FILES.items() if name != missing})
    assert code == 1
    assert " 404 " in out


def test_it_needs_the_standard_library_only() -> None:
    imported = set(re.findall(r"^(?:from|import) ([a-z0-9_]+)", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))
    assert imported
    assert imported <= sys.stdlib_module_names
