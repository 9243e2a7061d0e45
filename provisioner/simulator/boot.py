"""One boot from plug to report: walk the persona's sequence, follow a new address if told to, say what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypedDict, Unpack

from provisioner.errors import Invalid, NotFound
from provisioner.model import Mac
from provisioner.simulator import obi, poly, yealink
from provisioner.simulator.handshake import client_context, describe_certificate
from provisioner.simulator.obi_walk import walk_obi
from provisioner.simulator.persona import Persona, Sequence, load_persona, make_persona
from provisioner.simulator.phone import Flash, Phone
from provisioner.simulator.poly_walk import walk_ucs
from provisioner.simulator.report import (
    BootReport,
    Outcome,
    RegisteredLine,
    Step,
    as_json,
    as_text,
    digest_of,
    masked_url,
)
from provisioner.simulator.walk import GaveUp, Link, Result, Walk, split_url
from provisioner.simulator.wire import Origin, TlsSeen
from provisioner.simulator.yealink_walk import walk_yealink

EXIT_CODES: Final[Mapping[Outcome, int]] = MappingProxyType(
    {Outcome.REGISTERED: 0, Outcome.IDLE: 3, Outcome.REFUSED: 4}
)
_WALKS: Final[Mapping[Sequence, Callable[[Walk], Awaitable[Result]]]] = MappingProxyType(
    {Sequence.UCS: walk_ucs, Sequence.OBI: walk_obi, Sequence.YEALINK: walk_yealink}
)
_LINES: Final[Mapping[Sequence, Callable[[Mapping[str, str], int], tuple[tuple[RegisteredLine, ...], list[str]]]]] = (
    MappingProxyType({Sequence.UCS: poly.lines_of, Sequence.OBI: obi.lines_of, Sequence.YEALINK: yealink.lines_of})
)


Connect = Callable[[Origin, TlsSeen], Link]
"""Makes the connection to one server; what it was is written down in the TlsSeen."""


@dataclass(slots=True)
class _Trip:
    """What adds up over the addresses of one boot."""

    seen: TlsSeen = field(default_factory=TlsSeen)
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


async def boot(phone: Phone, url: str, flash: Flash | None = None, connect: Connect | None = None) -> BootReport:
    """Boot once against the provisioning URL; whatever a server does ends in the report, not in an exception.

    Invalid and Unusable are for the caller's own mistakes: a strange URL, PEM files that cannot be used. ``connect``
    makes other connections than the phone's own Wire, for who wants to look on.
    """
    flash = Flash() if flash is None else flash
    certificate = describe_certificate(phone.certificate)
    client_context(phone, flash)
    trip = _Trip()
    result = await _visit(phone, url, flash, trip, connect)
    for _ in range(phone.follow):
        if not result.next_url:
            break
        trip.notes.append(f"goes on to {masked_url(result.next_url)}")
        try:
            result = await _visit(phone, result.next_url, flash, trip, connect)
        except Invalid as error:
            result.refused_because = f"the configuration sends it to a URL it cannot use: {error.why}"
    return _report(phone, url, certificate, trip, result)


async def _visit(phone: Phone, url: str, flash: Flash, trip: _Trip, connect: Connect | None) -> Result:
    walk = Walk(phone, url, flash, trip.seen, (lambda origin: connect(origin, trip.seen)) if connect else None)
    sequence = phone.persona.sequence
    try:
        result = await _WALKS[sequence](walk)
    except GaveUp as error:
        lines, why = _LINES[sequence](flash.parameters, phone.persona.lines)
        result = Result(lines=lines, refused_because=error.cause, no_line_because="" if lines else "; ".join(why))
    finally:
        await walk.close()
    if result.refused_because and result.lines:
        walk.notes.append("it runs on the settings of an earlier boot")
    if result.next_url and _place(result.next_url) == _place(walk.url):
        result.next_url = ""
    if result.next_url and result.refused_because:
        # A first address may hold nothing but the way to the second one.
        walk.notes.append(f"{result.refused_because}, but it was sent elsewhere")
        result.refused_because = ""
    trip.steps += walk.steps
    trip.notes += walk.notes
    return result


def _place(url: str) -> tuple[str, str]:
    """Server and directory of a URL: two that share them are the same address to a phone."""
    try:
        parts = split_url(url)
    except Invalid:
        return url, ""
    folder, _, last = parts.path.rpartition("/")
    return parts.netloc.rpartition("@")[2].lower(), folder if "." in last or not last else parts.path


def _report(phone: Phone, url: str, certificate: str, trip: _Trip, result: Result) -> BootReport:
    steps = tuple(trip.steps)
    return BootReport(
        vendor=phone.persona.vendor,
        model=phone.persona.model,
        mac=phone.mac,
        url=masked_url(url),
        certificate=certificate,
        tls_version=trip.seen.version,
        tls_cipher=trip.seen.cipher,
        connections=trip.seen.connections,
        resumed=trip.seen.resumed,
        steps=steps,
        parameters=MappingProxyType(result.parameters),
        lines=result.lines,
        ignored=tuple(result.ignored),
        notes=tuple(dict.fromkeys(trip.notes)),
        refused_because=result.refused_because,
        no_line_because=result.no_line_because,
        next_url=masked_url(result.next_url),
        digest=digest_of(steps, result.parameters, result.lines),
    )


def boot_now(phone: Phone, url: str, flash: Flash | None = None) -> BootReport:
    """For callers without an event loop."""
    return asyncio.run(boot(phone, url, flash))


class Habits(TypedDict, total=False):
    """Those of a Phone's settings that the command takes as they are."""

    user: str
    password: str
    connection_per_file: bool
    resume: bool
    tls_min: str
    tls_max: str
    updater: bool
    check_firmware: bool
    follow: int
    patience: float | None
    attempts: int | None
    retry_delay: float | None


def simulate_boot(
    *,
    vendor: str,
    model: str,
    mac: str,
    url: str,
    cert: Path | None = None,
    key: Path | None = None,
    ca: Path | None = None,
    insecure: bool = False,
    family: str = "",
    code: str = "",
    part: str = "",
    firmware: str = "",
    lines: int = 0,
    ask_for: str = "",
    json_output: bool = False,
    **habits: Unpack[Habits],
) -> tuple[int, str]:
    """The command's work: the exit code (0 registers, 3 configured without a line, 4 refused) and what to print."""
    phone = Phone(
        persona=_persona(vendor, model, family, code, part, lines, firmware),
        mac=Mac.parse(mac),
        certificate=cert,
        key=key,
        trust=ca,
        check_server=not insecure,
        ask_for=Mac.parse(ask_for) if ask_for else None,
        firmware=firmware,
        **habits,
    )
    report = boot_now(phone, url)
    return EXIT_CODES[report.outcome], as_json(report) if json_output else as_text(report)


def _persona(vendor: str, model: str, family: str, code: str, part: str, lines: int, firmware: str) -> Persona:
    """The table's own unless a family or a code is given; then one made of those."""
    try:
        if not (family or code):
            return load_persona(vendor, model)
    except NotFound as missing:
        if vendor.lower() != "poly":
            raise NotFound(f"{missing.cause} (--family, --code)") from None
    return make_persona(vendor, model, family=family, code=code, part=part, lines=lines, firmware=firmware)
