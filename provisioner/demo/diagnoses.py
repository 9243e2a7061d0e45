"""Why the phones that were refused do not come up, as `provisioner why` says it, below the demonstration's table."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from provisioner.demo.cast import CAST, Part
from provisioner.diagnosis.ladder import Diagnosis, Outcome
from provisioner.diagnosis.words import headline
from provisioner.fleet.why import Why
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.terminal import console
from provisioner.vendors import drivers

_LOOKS = 100
_LOOK = 0.1
"""s between two looks for records that a worker is about to write."""


async def diagnoses(configured: Settings) -> list[tuple[Part, Diagnosis]]:
    """Of each phone of the cast that must be refused."""
    known = {one.manifest.name: one for one in drivers(configured.data / "templates")}
    async with Store.of(configured) as store:
        desk = Why(store, known, configured, actor="demo")
        return [(part, await _found(desk, part)) for part in CAST if part.refusal]


async def _found(desk: Why, part: Part) -> Diagnosis:
    for _ in range(_LOOKS):
        found = await desk.diagnose_device(part.mac)
        if found.outcome is Outcome.BROKEN or found.pretended:
            break
        await asyncio.sleep(_LOOK)
    return found


def show_diagnoses(found: Sequence[tuple[Part, Diagnosis]]) -> None:
    """A sentence each, and what was seen; the whole is a command away."""
    out = console()
    out.print("\nWhy were two of them refused?")
    for part, one in found:
        out.print(f"  {part.title}: {headline(one)}", markup=False, soft_wrap=True)
        if one.cause is not None and one.cause.says:
            out.print(f"    seen: {one.cause.says}", markup=False, soft_wrap=True)
