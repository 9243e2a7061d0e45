"""What a device is at: how far it is, what it fetched, how new its configuration is, and what it would fetch now."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from pydantic import Field

from provisioner.http.api.devices import Pin
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import (
    Asked,
    Fields,
    Maybe,
    MaybeMoment,
    Moment,
    Told,
    moment,
)
from provisioner.model import DeviceState, ListenerKind, Proof
from provisioner.neutral import DialRule, HostPort, LineKey
from provisioner.presence_rules import Away
from provisioner.preview import Masked, Preview, difference, written
from provisioner.progress import Stage
from provisioner.rights import Right

status = Routes("status", "What devices are at, and what they get.")


class Fetched(Told):
    """The last time that a device asked for one file."""

    file: str
    at: Moment
    status: int
    size: int
    digest: Annotated[str, Field(description="SHA-256 of what was sent; empty where nothing was")]
    proof: Proof
    listener: ListenerKind
    tls_version: str
    firmware: str


class Refusal(Told):
    """The last time that a device's certificate was judged and not accepted."""

    kind: str
    verdict: str
    why: str
    at: Moment


class Version(Told):
    """How new a device's configuration is, counted in administrators' changes."""

    served: Annotated[int | None, Field(description="It has its configuration up to this change; null before any")]
    wanted: Annotated[int, Field(description="The last change that concerns it")]
    current: bool


class Errand(Told):
    """A device that is told to fetch again, or was."""

    campaign: str
    state: str
    way: str
    due: Moment
    since: Moment
    tries: int
    result: str
    what: Annotated[str, Field(description="What is waited for, in words")]


class SeenFrom(Told):
    """From where a device came last."""

    address: Annotated[Maybe, Field(description="From where it fetched last; null where that is not known")]
    site: Annotated[Maybe, Field(description="Whose network of its account that is; null for nobody's, or several'")]


class AwaySince(Told):
    """A device that is told to be away."""

    state: Away
    since: Annotated[Moment, Field(description="When it was heard of last")]


class Status(Told):
    """What a device is at."""

    mac: str
    state: DeviceState
    stage: Annotated[Stage, Field(description="How far it is since it was bound")]
    hint: Annotated[Maybe, Field(description="What a person should do, where something is to be done")]
    firmware: Maybe
    proof: Annotated[Proof | None, Field(description="How it proved itself the last time that it fetched")]
    pin: Pin | None
    refusal: Refusal | None
    last_fetch: MaybeMoment
    seen: SeenFrom
    away: Annotated[AwaySince | None, Field(description="Null while it is heard of, or has no line")]
    configuration: Version
    resync: Errand | None
    fetches: list[Fetched]


class File(Told):
    """A file as the device would get it, and as it got it last."""

    name: str
    kind: str
    size: int
    wanted: Annotated[str, Field(description="SHA-256 of what it would get now")]
    served: Annotated[str | None, Field(description="SHA-256 of what it got last; null where it never asked")]
    current: bool


class Files(Told):
    """All files that the server makes for a device."""

    items: list[File]


class Body(Told):
    """One file, its secrets hidden unless they were asked for."""

    name: str
    kind: str
    text: str


class FileAsked(Asked):
    """Which file."""

    name: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-~]+$", description="As the device asks")]


class FileShown(Fields, FileAsked):
    """Which file, and which fields."""


class Difference(Told):
    """What has changed since the last fetch; empty where nothing has."""

    name: str
    diff: str


class Value(Told):
    """A setting of a device, who set it and what that overrode, nearest first."""

    name: str
    value: Any
    scope: str
    key: str
    overrode: list[str]
    note: str


class Values(Told):
    """Everything that makes a device's configuration."""

    items: list[Value]


class Certificate(Told):
    """One certificate of a chain."""

    subject: str
    issuer: str
    not_before: Moment
    not_after: Moment
    key: Annotated[str, Field(description="RSA, EC, EdDSA or DSA")]
    bits: int
    hash: Annotated[str, Field(description="Of the signature on it")]
    fingerprint: Annotated[str, Field(description="SHA-256 of the whole certificate")]
    spki: Annotated[str, Field(description="SHA-256 of its key: what a device is held to")]


class ShownCertificate(Told):
    """A certificate whose key a device has proven to own."""

    at: Annotated[Moment, Field(description="When it first came")]
    pinned: Annotated[bool, Field(description="The device is held to its key")]
    chain: Annotated[list[Certificate], Field(description="The device's own first, the anchor last")]


class Certificates(Told):
    """What a device came with, the newest first."""

    items: list[ShownCertificate]


def plain(value: object) -> Any:
    """A typed value of a setting as JSON that could be set again."""
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    if isinstance(value, HostPort):
        return written(value)
    if isinstance(value, (LineKey, DialRule)):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    return str(value)


@status.get("/devices/{mac}/status", Right.DEVICE_READ, Status)
async def show_status(call: AnyCall) -> Status:
    """What a device is at."""
    found = await call.desks.search.standing(call.mac)
    progress = await call.desks.fleet.progress(call.mac, call.means.settings)
    standings = await call.desks.resync.standings(mac=call.mac, limit=1)
    seen = await call.desks.fleet.seen_at(call.mac)
    last = max(found.fetches, key=lambda one: one.at, default=None)
    refusal = found.refusal
    return Status(
        mac=call.mac,
        state=found.device.state,
        stage=progress.stage,
        hint=progress.hint,
        firmware=found.device.firmware,
        proof=last.proof if last else None,
        pin=Pin.model_validate(found.pin) if found.pin else None,
        refusal=None
        if refusal is None
        else Refusal(
            kind=refusal.kind,
            verdict=refusal.details.get("verdict", ""),
            why=refusal.details.get("verdict_why", ""),
            at=moment(refusal.at),
        ),
        last_fetch=moment(last.at) if last else None,
        seen=SeenFrom(address=seen.address, site=seen.site),
        away=AwaySince(state=seen.away.state, since=moment(seen.away.seen)) if seen.away else None,
        configuration=Version(
            served=found.served, wanted=found.wanted, current=found.served is not None and found.served >= found.wanted
        ),
        resync=_told(call, standings[0]) if standings else None,
        fetches=[Fetched.model_validate(one) for one in found.fetches],
    )


def _told(call: AnyCall, one: Any) -> Errand:
    return Errand(
        campaign=one.campaign, state=one.state.value, way=one.way.value, due=one.due, since=one.since, tries=one.tries,
        result=one.result, what=one.told(call.means.clock()),
    )  # fmt: skip


async def _preview(call: AnyCall) -> Preview:
    await call.desks.fleet.device(call.mac)  # whoever cannot reach it is told nothing else
    return await call.means.renders.of(call.mac)


@status.get("/devices/{mac}/files", Right.LAYER_READ, Files)
async def list_files(call: AnyCall) -> Files:
    """The files that a device would get now, by digest, beside what it got last."""
    preview = await _preview(call)
    had = {one.file: one.digest for one in await call.desks.fleet.fetches(call.mac) if one.digest}
    items = []
    for one in preview.render_all(Masked(reveal=True)):
        wanted = hashlib.sha256(one.text.encode()).hexdigest()
        served = had.get(one.name)
        items.append(
            File(name=one.name, kind=one.kind, size=len(one.text.encode()), wanted=wanted, served=served,
                 current=served == wanted)
        )  # fmt: skip
    return Files(items=items)


@status.get("/devices/{mac}/file", Right.LAYER_READ, Body, query=FileShown)
async def show_file(call: AnyCall) -> Body:
    """One file as the device would get it now, its secrets hidden."""
    found = (await _preview(call)).render(call.query.name, Masked())
    return Body.model_validate(found)


@status.post("/devices/{mac}/file/reveal", Right.SECRET_REVEAL, told=Body, query=FileAsked, secret=True)
async def reveal_file(call: AnyCall) -> Body:
    """The same with its secrets; that they were read is an event, written before they are told."""
    preview = await _preview(call)
    found = preview.render(call.query.name, Masked(reveal=True))
    await call.desks.fleet.note_revealed(call.mac)
    return Body.model_validate(found)


@status.get("/devices/{mac}/file/difference", Right.LAYER_READ, Difference, query=FileShown)
async def show_difference(call: AnyCall) -> Difference:
    """What one file would be now against what the device got last, secrets hidden."""
    masked = Masked()
    now = (await _preview(call)).render(call.query.name, Masked(reveal=True))
    before = (await call.desks.fleet.last_body(call.mac, now.name)).decode("utf-8", "replace")
    return Difference(name=now.name, diff=difference(now.name, before, now.text, masked))


@status.get("/devices/{mac}/settings", Right.LAYER_READ, Values)
async def show_settings(call: AnyCall) -> Values:
    """Every value of a device's configuration, and who set it; secrets are hidden."""
    found = (await _preview(call)).explain(Masked())
    return Values(
        items=[
            Value(name=one.name, value=plain(one.value), scope=one.scope, key=one.key, overrode=list(one.overrode),
                  note=one.note)
            for one in found
        ]
    )  # fmt: skip


@status.get("/devices/{mac}/certificates", Right.DEVICE_READ, Certificates)
async def list_certificates(call: AnyCall) -> Certificates:
    """The last certificates that a device came with, each with the CAs above it."""
    return Certificates(
        items=[ShownCertificate.model_validate(one) for one in await call.desks.fleet.certificates(call.mac)]
    )
