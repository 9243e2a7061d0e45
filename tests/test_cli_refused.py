"""On the machine itself, too, a CA is trusted by its fingerprint; without one the command shows what to compare."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provisioner import settings
from provisioner.certificates import fingerprint, to_der
from provisioner.pki import make_factory
from provisioner.store.database import Store
from provisioner.store.refusals import Group, write_refusals

Run = Callable[..., Any]


async def refuse(data: Path, chain: tuple[bytes, ...]) -> None:
    group = Group("aa", "untrusted", "CN=Somebody", "unknown", 1.0, 2.0, 3, chain, models={"VVX 411": 2.0})
    async with Store.of(settings.load(data)) as store:
        await write_refusals(store, [group], most=9)


def test_trusting_a_ca_takes_its_fingerprint(run: Run, asked: Run, data: Path, tmp_path: Path) -> None:
    maker = make_factory("poly", tmp_path / "maker")
    leaf, _, above = maker.leaf("0004f2000001")
    chain = (*to_der(leaf), *to_der(above), *to_der(maker.root_pem.read_bytes()))
    asyncio.run(refuse(data, chain))
    marks = [fingerprint(der) for der in chain[1:]]
    told = run("refused", "trust", "aa", code=1).stderr
    assert all(one in told for one in marks) and "by another way" in told
    run("refused", "trust", "aa", "--fingerprint", "ab" * 32, code=1)
    words = [word for one in marks for word in ("--fingerprint", one)]
    assert [one["fingerprint"] for one in asked("refused", "trust", "aa", *words)] == marks
