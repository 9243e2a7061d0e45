"""Why phones do not come up: one phone's ladder, whoever comes from an address, and what most phones suffer from."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from provisioner.diagnosis.catalogue import Party, Rung
from provisioner.diagnosis.grouped import Group
from provisioner.diagnosis.ladder import Diagnosis as Found
from provisioner.diagnosis.ladder import Outcome
from provisioner.diagnosis.words import as_document
from provisioner.http.api.cures import call_of
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import Fields, Maybe, MaybeMoment, Moment, Told
from provisioner.rights import Right

diagnosis = Routes("diagnosis", "Why a phone does not come up: the last good rung of the ladder and the first broken.")

_NAMED: Final = 200
"""Phones of a failure whose names are told: what all of a fleet suffer from would be a million."""


class Failure(Told):
    """A known failure, as it was seen here."""

    row: Annotated[int, Field(description="Its number in the catalogue of failures")]
    rung: Rung
    title: str
    cause: str
    seen: Maybe
    first: Moment
    last: Moment
    times: int
    sure: Annotated[bool, Field(description="Nothing else that is known would look like this")]
    witnesses: list[str]


class Help(Told):
    """What helps."""

    text: str
    vendor: Annotated[Maybe, Field(description="Whose phones alone; null for all")]
    inferred: Annotated[bool, Field(description="Nobody has confirmed it")]
    how: Annotated[Maybe, Field(description="The call that does it, where one does")]


class RungState(Told):
    """One rung of the ladder."""

    rung: Rung
    title: str
    state: Literal["good", "broken", "unknown"]
    says: Maybe
    at: MaybeMoment
    witnesses: list[str]


class Witness(Told):
    """Who could tell more, and how they are asked."""

    witness: str
    why: str
    how: Annotated[str, Field(description="The call that asks them, or who does")]


class Diagnosis(Told):
    """What keeps a phone from coming up, as far as is known."""

    mac: Maybe
    address: Maybe
    vendor: Maybe
    model: Maybe
    outcome: Outcome
    exit_class: Annotated[str, Field(description="What the exit code stands for, in words")]
    exit: Annotated[int, Field(description="The class as a number: 0 up, 10 to 19 by the rung, 20 undecided")]
    title: str
    who: Annotated[Maybe, Field(description="Who has refused whom, in words")]
    refused_by: Party
    last_good: Rung | None
    broken: Rung | None
    cause: Failure | None
    cures: list[Help]
    ladder: list[RungState]
    also: Annotated[list[Failure], Field(description="Other failures that are not over")]
    missing: list[Witness]
    notes: list[str]


class AddressAsked(Fields):
    """From where."""

    address: Annotated[str, Field(min_length=2, max_length=60, pattern=r"^[0-9A-Fa-f:.]+$", description="IPv4 or IPv6")]


class RecentAsked(Fields):
    """How far back."""

    hours: Annotated[float | None, Field(default=None, gt=0, le=8760, description="As far as is set, when left out")]


class OfModel(Told):
    """How many of a model."""

    model: Maybe
    phones: int


class Suffering(Told):
    """One failure of many phones."""

    row: int | None
    rung: Rung | None
    title: str
    says: Annotated[str, Field(description="In one sentence")]
    label: Annotated[str, Field(description="The flight recorder's word")]
    phones: Annotated[int, Field(description="Of strangers: addresses")]
    known: Annotated[bool, Field(description="They are devices that have been added")]
    models: list[OfModel]
    who: Annotated[list[str], Field(description=f"MACs; of strangers addresses; the first {_NAMED} of them")]
    first: Moment
    last: Moment


class Sufferings(Told):
    """What most phones suffer from first."""

    items: list[Suffering]


def told(found: Found) -> Diagnosis:
    """As the API tells it."""
    return Diagnosis.model_validate(as_document(found, call_of))


def _suffering(one: Group) -> dict[str, Any]:
    models = [{"model": name, "phones": phones} for name, phones in one.models]
    return {
        "row": one.row.id if one.row else None, "rung": one.row.rung if one.row else None, "title": one.title,
        "says": one.says, "label": one.label, "phones": one.phones, "known": one.known, "models": models,
        "who": list(one.who[:_NAMED]), "first": one.first, "last": one.last,
    }  # fmt: skip


@diagnosis.get("/devices/{mac}/diagnosis", Right.DIAGNOSIS_READ, Diagnosis)
async def show_diagnosis(call: AnyCall) -> Diagnosis:
    """Why a phone does not come up, told from all that this server has seen of it."""
    return told(await call.desks.why.diagnose_device(call.mac))


@diagnosis.get("/diagnosis", Right.SERVER_READ, Diagnosis, query=AddressAsked)
async def show_address_diagnosis(call: AnyCall) -> Diagnosis:
    """The same of whoever comes from an address; only for who reaches all accounts."""
    return told(await call.desks.why.diagnose_address(call.query.address))


@diagnosis.get("/failures", Right.DIAGNOSIS_READ, Sufferings, query=RecentAsked)
async def list_failures(call: AnyCall) -> Sufferings:
    """What phones suffer from, grouped by failure."""
    hours = call.query.hours
    since = None if hours is None else call.means.clock() - hours * 3600
    return Sufferings(
        items=[Suffering.model_validate(_suffering(one)) for one in await call.desks.why.troubled(since=since)]
    )
