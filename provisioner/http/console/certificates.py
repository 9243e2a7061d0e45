"""Certificates: which CAs may vouch for devices, our own and until when, and those of devices that were refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from provisioner import trust
from provisioner.certificates import CertFacts, Unreadable, read, to_der
from provisioner.errors import Unusable
from provisioner.http.console.pages import Answer, Call, Pages, View
from provisioner.rights import Right
from provisioner.settings import Settings
from provisioner.store.event_pages import EventFilter
from provisioner.store.rows import StoredEvent
from provisioner.trust import Ca, Expiry

certificates = Pages()

_REFUSED: Final = ("not_identified", "pin_mismatch")
"""Kinds of events that tell of a certificate that opened nothing."""
_SHOWN: Final = 30


@dataclass(frozen=True, slots=True)
class Own:
    """A certificate file of this server; ``why`` says why it cannot be read."""

    file: str
    facts: CertFacts | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What is on this server's disk."""

    own: tuple[Own, ...]
    cas: tuple[Ca, ...] = ()
    soon: tuple[Expiry, ...] = ()
    fault: str = ""


@certificates.get("/certificates", Right.SERVER_READ)
async def list_certificates(call: Call) -> Answer:
    """Read anew each time: whatever is renewed or trusted meanwhile is there."""
    vendor = call.asked("vendor", 40)
    known = await asyncio.to_thread(_known, call.means.settings, call.now)
    values = {
        "known": known,
        "cas": [one for one in known.cas if vendor in {"", one.vendor}],
        "vendors": [(one, one) for one in sorted({one.vendor for one in known.cas})],
        "vendor": vendor,
        "refused": await _refused(call),
    }
    return View("certificates.html.j2", values)


def _known(settings: Settings, now: float) -> Known:
    """Files are read here, beside the requests of others."""
    own = tuple(_own(settings.data / name, name) for name in settings.tls_certificates)
    readable = [settings.data / one.file for one in own if one.facts]
    try:
        found = trust.load(settings.data)
        return Known(own, _in_order(found.cas), found.check(now, readable))
    except Unusable as error:
        return Known(own, fault=error.cause)


def _own(path: Path, name: str) -> Own:
    try:
        return Own(name, read(to_der(path.read_bytes())[0]))
    except OSError as error:
        return Own(name, why=error.strerror or "it cannot be read")
    except Unreadable as error:
        return Own(name, why=str(error))


def _in_order(cas: Iterable[Ca]) -> tuple[Ca, ...]:
    """By vendor, roots first; without their bytes, which no page needs."""
    order = sorted(cas, key=lambda one: (one.vendor, one.role != "root", one.subject))
    return tuple(replace(one, der=b"") for one in order)


async def _refused(call: Call) -> list[StoredEvent]:
    """The newest of both kinds, as far as whoever asks may see events."""
    if not call.may(Right.EVENT_READ):
        return []
    search = call.at(Right.EVENT_READ).search
    pages = [await search.event_page(EventFilter(kind=kind), limit=_SHOWN) for kind in _REFUSED]
    return sorted((one for page in pages for one in page.items), key=lambda one: -one.id)[:_SHOWN]
