"""What a device has left behind: the certificates it came with, with their chains, and the files it has sent."""

from __future__ import annotations

from typing import Final, NamedTuple

from provisioner.certificates import CertFacts
from provisioner.fleet.evidence import Shown
from provisioner.http.api.tokens import attached
from provisioner.http.console.device import about, live
from provisioner.http.console.pages import Answer, Call, Pages, View
from provisioner.rights import Right

proof = Pages()

_SOON: Final = 90 * 86_400.0
"""s before a certificate's end from which on it is told."""
_LONGEST: Final = 64 * 1024
"""Characters of a file that are shown; all of it can be saved."""


class Link(NamedTuple):
    """One certificate of a chain, for people."""

    role: str
    facts: CertFacts
    state: str
    """Of its time: good, soon over, over, not yet."""


@proof.get("/devices/{mac}/certificate", Right.DEVICE_READ)
async def show_certificate(call: Call) -> Answer:
    """What it came with, what that is worth, and what stands above it."""
    values = await about(call) | await live(call)
    found = await call.desks.fleet.certificates(call.mac)
    values["chains"] = [(one, _links(one, call.now)) for one in found]
    return View("device_certificate.html.j2", values)


def _links(one: Shown, now: float) -> list[Link]:
    """From the device's own to the anchor."""
    last = len(one.chain) - 1
    roles = ["device" if not place else "root" if place == last else "issuing CA" for place in range(last + 1)]
    return [Link(role, facts, _time(facts, now)) for role, facts in zip(roles, one.chain, strict=True)]


def _time(facts: CertFacts, now: float) -> str:
    if now < facts.not_before:
        return "not yet valid"
    if now > facts.not_after:
        return "expired"
    return "expires soon" if facts.not_after - now < _SOON else "valid"


@proof.get("/devices/{mac}/uploads/{digest}", Right.UPLOAD_READ)
async def show_upload(call: Call) -> Answer:
    """A file that it has sent, as text; nothing in it is followed, run or drawn."""
    found, body = await call.desks.fleet.upload(call.mac, call.place("digest"))
    text = body.decode("utf-8", "replace")
    values = await about(call)
    values |= {"tab": "/history", "upload": found, "text": text[:_LONGEST], "rest": max(0, len(text) - _LONGEST)}
    return View("device_upload.html.j2", values)


@proof.get("/devices/{mac}/uploads/{digest}/file", Right.UPLOAD_READ)
async def save_upload(call: Call) -> Answer:
    """The same as it came, to be saved."""
    found, body = await call.desks.fleet.upload(call.mac, call.place("digest"))
    return attached(body, found.name)
