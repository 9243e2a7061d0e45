"""What the flight recorder has kept of connections, and the mailbox of refused certificates."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from provisioner.certificates import Unreadable, read, stamp
from provisioner.diagnosis.facts import as_line
from provisioner.flight import Flight
from provisioner.http.api.routes import AnyCall, Routes
from provisioner.http.api.words import Fields, Given, Id, MaybeText, Moment, Text, Told, moment
from provisioner.rights import Right
from provisioner.store.flights import Trouble
from provisioner.store.refusals import Refusal

flights = Routes(
    "flights",
    "What happened on each connection of a device: hello, handshake, certificate, alerts, requests, and how it ended. "
    "The newest are kept, in rings.",
)
refusals = Routes("refusals", "Certificates that opened nothing, by issuer and verdict, and what was said of them.")

_DAY: Final = 86_400.0
_NAMED: Final = 200
"""Phones of a group that are named."""


class Connection(Told):
    """One connection, or several good ones of one boot right behind each other."""

    id: Id
    mac: Annotated[str, Field(description="Of the device; what a stranger claims where `proven` is false; or empty")]
    proven: Annotated[bool, Field(description="A device that has been added has proven that it is itself")]
    at: Moment
    ended: Moment
    address: str
    port: int
    listener: str
    trouble: bool
    label: Annotated[str, Field(description="What it came to in one word: ok, or the first thing that went wrong")]
    facts: Annotated[list[dict[str, Any]], Field(description="What was seen, in its order: kind, time and values")]


class Connections(Told):
    """The newest first."""

    items: list[Connection]


class FlightsAsked(Fields):
    """How many."""

    limit: Annotated[int, Field(default=40, ge=1, le=200, description="Connections at most")]


class StrangersAsked(FlightsAsked):
    """From where."""

    address: MaybeText = ""


class TroubleGroup(Told):
    """One and the same trouble of phones of one model."""

    label: str
    vendor: str
    model: str
    phones: Annotated[int, Field(description="Devices; addresses where `known` is false")]
    known: Annotated[bool, Field(description="Devices that have been added")]
    who: Annotated[list[str], Field(description=f"MACs, or addresses; the first {_NAMED} of them")]
    first: Moment
    last: Moment


class Troubles(Told):
    """What concerns most phones first."""

    items: list[TroubleGroup]


class TroublesAsked(Fields):
    """Since when."""

    seconds: Annotated[float, Field(default=_DAY, gt=0, le=31_536_000, description="How far to look back")]


class Shown(Told):
    """A certificate."""

    subject: str
    issuer: str
    not_before: str
    not_after: str
    key: str
    hash: str
    fingerprint: str


class Quiet(Told):
    """Why refusals of a model are listed no longer."""

    model: Annotated[str, Field(description="Empty: who says nothing of their model")]
    note: str
    actor: str
    at: Moment


class RefusedGroup(Told):
    """Refused certificates of one issuer, signed by one CA where it came along, with one verdict."""

    id: Id
    verdict: str
    issuer: str
    why: Annotated[str, Field(description="Of the last one")]
    times: int
    first_at: Moment
    last_at: Moment
    open: Annotated[bool, Field(description="It has come with a model of which nobody has said that it is expected")]
    macs: Annotated[list[str], Field(description="Claimed by those who came with it, some of them")]
    addresses: list[str]
    models: list[str]
    silenced: list[Quiet]
    chain: Annotated[list[Shown], Field(description="The longest that the same CA has signed, the device's own first")]


class RefusedGroups(Told):
    """The one seen last first."""

    items: list[RefusedGroup]


class RefusalsAsked(Fields):
    """Which."""

    everything: Annotated[bool, Field(description="Also those that are expected")] = False


class TrustWish(Given):
    """Whose CA it is, and which."""

    vendor: MaybeText = ""
    fingerprints: Annotated[
        list[Text],
        Field(min_length=1, max_length=16, description="SHA-256 of each CA of the chain, as its maker has told it"),
    ]


class Trusted(Told):
    """A CA that may vouch for a vendor's devices now."""

    vendor: str
    role: str
    subject: str
    fingerprint: str
    notes: list[str]


class TrustedList(Told):
    """Those that were added."""

    items: list[Trusted]


class Expectation(Given):
    """Models of which refusals are expected, and why."""

    models: Annotated[list[MaybeText], Field(min_length=1, max_length=50)]
    note: Text


class Dismissal(Given):
    """Why nobody needs to look at it."""

    note: Text = "dismissed"


def told(one: Flight) -> Connection:
    """As it is answered."""
    names = ("id", "mac", "proven", "at", "ended", "address", "port", "listener", "trouble", "label")
    return Connection(**{name: getattr(one, name) for name in names}, facts=[as_line(fact) for fact in one.facts()])


@flights.get("/devices/{mac}/flights", Right.DIAGNOSIS_READ, Connections, query=FlightsAsked)
async def list_flights(call: AnyCall) -> Connections:
    """A device's connections, and those on which a stranger claimed to be it."""
    return Connections(items=[told(one) for one in await call.desks.flights.flights(call.mac, limit=call.query.limit)])


@flights.get("/flights/strangers", Right.SERVER_READ, Connections, query=StrangersAsked)
async def list_strangers(call: AnyCall) -> Connections:
    """Connections on which no known device has proven itself, from anywhere or from one address."""
    query: StrangersAsked = call.query
    addresses = [query.address] if query.address else []
    return Connections(
        items=[told(one) for one in await call.desks.flights.strangers(addresses=addresses, limit=query.limit)]
    )


@flights.get("/flights/troubles", Right.DIAGNOSIS_READ, Troubles, query=TroublesAsked)
async def list_troubles(call: AnyCall) -> Troubles:
    """What went wrong lately, grouped by what it was and by model."""
    since = call.means.clock() - call.query.seconds
    return Troubles(items=[_group(one) for one in await call.desks.flights.troubles(since=since)])


def _group(one: Trouble) -> TroubleGroup:
    names = ("label", "vendor", "model", "phones", "known", "first", "last")
    return TroubleGroup.model_validate({name: getattr(one, name) for name in names} | {"who": sorted(one.who)[:_NAMED]})


def _shown(der: bytes) -> Shown:
    try:
        one = read(der)
    except Unreadable as error:
        return Shown(subject=f"cannot be read: {error}", issuer="", not_before="", not_after="", key="", hash="",
                     fingerprint="")  # fmt: skip
    return Shown(
        subject=one.subject, issuer=one.issuer, not_before=stamp(one.not_before), not_after=stamp(one.not_after),
        key=f"{one.key} {one.bits}", hash=one.hash, fingerprint=one.fingerprint,
    )  # fmt: skip


def told_refusal(one: Refusal) -> RefusedGroup:
    """As it is answered."""
    names = ("id", "verdict", "issuer", "why", "times", "first_at", "last_at", "open")
    quiet = [
        Quiet(model=name, note=said.note, actor=said.actor, at=moment(said.at)) for name, said in one.silenced.items()
    ]
    return RefusedGroup(
        **{name: getattr(one, name) for name in names}, macs=list(one.macs), addresses=list(one.addresses),
        models=list(one.models), silenced=quiet, chain=[_shown(der) for der in one.chain],
    )  # fmt: skip


@refusals.get("/refusals", Right.SERVER_READ, RefusedGroups, query=RefusalsAsked)
async def list_refusals(call: AnyCall) -> RefusedGroups:
    """Refused certificates by issuer and verdict."""
    found = await call.desks.refusals.refusals(everything=call.query.everything)
    return RefusedGroups(items=[told_refusal(one) for one in found])


@refusals.get("/refusals/{refusal}", Right.SERVER_READ, RefusedGroup)
async def show_refusal(call: AnyCall) -> RefusedGroup:
    """One group of them."""
    return told_refusal(await call.desks.refusals.refusal(call.path["refusal"]))


@refusals.post(
    "/refusals/{refusal}/trust",
    Right.TRUST_WRITE,
    body=TrustWish,
    told=TrustedList,
    version=show_refusal,
    tags=False,
    whole=False,
)
async def trust_refusal(call: AnyCall) -> TrustedList:
    """Let the CAs that came with it vouch for a vendor's devices; not with an API key."""
    given: TrustWish = call.body
    added = await call.desks.refusals.trust_issuer(
        call.path["refusal"], fingerprints=given.fingerprints, vendor=given.vendor
    )
    names = ("vendor", "role", "subject", "fingerprint")
    return TrustedList(
        items=[Trusted(**{name: getattr(ca, name) for name in names}, notes=list(ca.notes)) for ca in added]
    )


@refusals.post(
    "/refusals/{refusal}/expect", Right.TRUST_WRITE, body=Expectation, told=RefusedGroup, version=show_refusal
)
async def expect_refusal(call: AnyCall) -> RefusedGroup:
    """Say that refusals of some models are expected: they are listed no longer."""
    given: Expectation = call.body
    return told_refusal(
        await call.desks.refusals.expect_refusals(call.path["refusal"], models=given.models, note=given.note)
    )


@refusals.post(
    "/refusals/{refusal}/dismiss", Right.TRUST_WRITE, body=Dismissal, told=RefusedGroup, version=show_refusal
)
async def dismiss_refusal(call: AnyCall) -> RefusedGroup:
    """Put a group aside until it comes with a model that it has not come with so far."""
    return told_refusal(await call.desks.refusals.dismiss_refusal(call.path["refusal"], note=call.body.note))
