"""Why a phone does not come up, as a panel of its page; and what most phones suffer from, for the first page."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from provisioner.diagnosis.grouped import Group
from provisioner.diagnosis.ladder import Diagnosis
from provisioner.diagnosis.words import as_document, headline, runs
from provisioner.errors import Forbidden, NotFound
from provisioner.http.console.cures import WAYS, way_to
from provisioner.http.console.pages import Answer, Call, Pages, View
from provisioner.rights import Right

diagnosis = Pages()

_MOST: Final = 8
"""Groups on the first page."""


@diagnosis.get("/devices/{mac}/why/live", Right.DIAGNOSIS_READ)
async def live_diagnosis(call: Call) -> Answer:
    """The panel by itself, for who keeps the page open."""
    found = await call.desks.why.diagnose_device(call.mac)
    return View("device_why.html.j2", {"why": shown(found, call), "mac": call.mac})


async def panel(call: Call) -> Mapping[str, object] | None:
    """The same for the device's page; None for who may not see it, there or anywhere."""
    if not call.may(Right.DIAGNOSIS_READ):
        return None
    with suppress(Forbidden, NotFound):
        return shown(await call.at(Right.DIAGNOSIS_READ).why.diagnose_device(call.mac), call)
    return None


def shown(found: Diagnosis, call: Call) -> Mapping[str, object]:
    """What the panel says, with links to where something is done for who may go there."""
    told = as_document(found, lambda one: WAYS[one.deed].text)
    cures = [
        {"text": one.text, "vendor": one.vendor, "inferred": one.inferred, "way": way_to(one.by, call)}
        for one in found.cures
    ]
    missing = [{"witness": one.witness, "why": one.why, "way": way_to(one.by, call)} for one in found.missing]
    ladder = [
        {"title": title, "state": one.state.value, "says": one.says, "at": one.at, "witnesses": one.witnesses}
        for title, one in runs(found)
    ]
    return {**told, "ladder": ladder, "cures": cures, "missing": missing, "headline": headline(found)}


async def troubles(call: Call) -> list[Group]:
    """What most phones suffer from, for who may see that."""
    if not call.may(Right.DIAGNOSIS_READ):
        return []
    return (await call.at(Right.DIAGNOSIS_READ).why.troubled())[:_MOST]
