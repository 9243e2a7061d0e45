"""Who plays in the demonstration: an account made by the administrator's use-cases, seven phones on its doorstep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from provisioner.errors import NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.model import Mac, Scope
from provisioner.pki import make_factory

ACCOUNT: Final = "Demo Company"
SITE: Final = "Head Office"
SIP_SERVER: Final = "pbx.demo.example"
STRANGER: Final = "a CA nobody knows"


@dataclass(frozen=True, slots=True)
class Part:
    """One phone: what it is, what it proves itself with, and how its boot must end."""

    title: str
    vendor: str
    model: str
    mac: Mac
    person: str = ""
    number: str = ""
    """The extension on its first line; empty where it must not get any."""
    impostor: bool = False
    """Its certificate names the Mac, but comes from a CA that nobody trusts."""
    ask_for: Mac | None = None
    """Another device's Mac, whose files it tries to get."""
    refusal: str = ""
    """Kind of the event that the server must write; empty for a phone that comes up."""
    waits: bool = False
    """It has no line until somebody keys the code for ``number`` into it."""


VVX: Final = Mac("0004f2de0001")
T46: Final = Mac("001565de0003")

CAST: Final = (
    Part("Poly VVX 411", "poly", "VVX 411", VVX, "Ada Byron", "1001"),
    Part("Poly OBi302 ATA", "poly", "OBi302", Mac("9cadefde0002"), "Fax in the hall", "1002"),
    Part("Yealink T46S", "yealink", "T46S", T46, "Grace Murray", "1003"),
    Part("Yealink T54W", "yealink", "T54W", Mac("805ec0de0004"), "Reception", "1004"),
    Part("Impostor as that T46S", "yealink", "T46S", T46, impostor=True, refusal="not_identified"),
    Part("VVX 411 that wants another's file", "poly", "VVX 411", Mac("0004f2de0006"), ask_for=VVX, refusal="not_yours"),
    Part(
        "Yealink T54W that is nobody's yet", "yealink", "T54W", Mac("805ec0de0005"), "Emmy Noether", "1005", waits=True
    ),
)
NEWCOMERS: Final = Part("VVX 411", "poly", "VVX 411", Mac("0004f2de0010"), "Mary Jackson", "1010", waits=True)
"""For whoever looks on: nobody's phone, and somebody who waits for one. It plays no part in the table."""


def burnt_in(data: Path, maker: str, mac: Mac, name: str = "") -> tuple[Path, Path]:
    """Certificate with its chain, and key, from that maker's pretended factory; made the first time.

    ``name`` of the files, where they are not called by the Mac.
    """
    directory = data / "demo" / "phones"
    directory.mkdir(mode=0o700, exist_ok=True)
    certificate, key = directory / f"{name or mac}.pem", directory / f"{name or mac}.key"
    if not (certificate.exists() and key.exists()):
        leaf, secret, chain = make_factory(maker, data / "demo" / maker).leaf(mac)
        key.touch(mode=0o600)
        key.write_bytes(secret)
        certificate.write_bytes(leaf + chain)
    return certificate, key


async def seed(fleet: Fleet) -> None:
    """The account with its people, numbers and devices; what is there from an earlier run stays.

    Only who waits for a code has to be nobody's again, or the second demonstration would not show how that ends.
    """
    account = await _account(fleet)
    if SITE not in {one.name for one in await fleet.sites(account)}:
        await fleet.add_site(SITE, account=account, time_zone="Europe/Berlin")
    await fleet.set_layer(Scope.DEFAULTS, "", {"language": "en-US", "sip.transport": "udp"}, {})
    own = {"sip.server": SIP_SERVER, "sip.transport": "tls", "activation": True}
    await fleet.set_layer(Scope.ACCOUNT, account, own, {})
    for part in (*CAST, NEWCOMERS):
        if not part.impostor:
            await _device(fleet, account, part)
        if part.waits and part in CAST:
            for one in await fleet.bindings(part.mac, active=True):
                await fleet.unbind(part.mac, one.line)


async def _account(fleet: Fleet) -> str:
    for one in await fleet.accounts():
        if one.name == ACCOUNT:
            return one.id
    return (await fleet.add_account(ACCOUNT)).id


async def _device(fleet: Fleet, account: str, part: Part) -> None:
    try:
        await fleet.device(part.mac)
    except NotFound:
        await fleet.add_device(part.mac, vendor=part.vendor, model=part.model, account=account, site=SITE)
    if part.number and part.number not in {one.number for one in await fleet.extensions(account)}:
        user = await fleet.add_user(part.person, account=account)
        await fleet.add_extension(part.number, account=account, user=user.id, display_name=part.person)
    if part.number and not part.waits and not await fleet.bindings(part.mac, active=True):
        await fleet.bind(part.mac, 1, extension=part.number)
