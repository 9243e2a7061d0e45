"""Why a phone does not come up, as a panel of its page; and what most phones suffer from, for the first page."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from provisioner.diagnosis.grouped import Group
from provisioner.diagnosis.ladder import Diagnosis
from provisioner.diagnosis.words import as_document, headline
from provisioner.errors import Forbidden, NotFound
from provisioner.http.console.pages import Answer, Call, Pages, View
from provisioner.rights import Right

diagnosis = Pages()

_MOST: Final = 8
"""Groups on the first page."""


@diagnosis.get("/devices/{mac}/why/live", Right.DIAGNOSIS_READ)
async def live_diagnosis(call: Call) -> Answer:
    """The panel by itself, for who keeps the page open."""
    found = await call.desks.why.diagnose_device(call.mac)
    return View("device_why.html.j2", {"why": shown(found), "mac": call.mac})


async def panel(call: Call) -> Mapping[str, object] | None:
    """The same for the device's page; None for who may not see it, there or anywhere."""
    if not call.may(Right.DIAGNOSIS_READ):
        return None
    with suppress(Forbidden, NotFound):
        return shown(await call.at(Right.DIAGNOSIS_READ).why.diagnose_device(call.mac))
    return None


def shown(found: Diagnosis) -> Mapping[str, object]:
    """What the panel says."""
    return {**as_document(found), "headline": headline(found)}


async def troubles(call: Call) -> list[Group]:
    """What most phones suffer from, for who may see that."""
    if not call.may(Right.DIAGNOSIS_READ):
        return []
    return (await call.at(Right.DIAGNOSIS_READ).why.troubled())[:_MOST]
