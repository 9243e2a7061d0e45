"""The mailbox of refused certificates: whose they are, trusting their issuer, and saying that they are expected."""

from __future__ import annotations

import click

from provisioner import trust
from provisioner.certificates import Unreadable, read, stamp
from provisioner.cli.session import Nouns, with_desk
from provisioner.fleet.refusals import Refusals
from provisioner.store.refusals import Refusal
from provisioner.terminal import Shown, moment

_IDENT = click.argument("ident", metavar="ID")
with_refusals = with_desk(Refusals)


@click.group(cls=Nouns)
def refused() -> None:
    """Certificates of devices that opened nothing, by issuer and verdict."""


@refused.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are expected.")
@with_refusals
async def refused_list(desk: Refusals, everything: bool) -> object:
    """Which there are, the one seen last first."""
    found = await desk.refusals(everything=everything)
    rows = [
        {
            "id": one.id,
            "verdict": one.verdict,
            "issuer": one.issuer,
            "times": one.times,
            "last": moment(one.last_at),
            "models": ", ".join(filter(None, one.models)),
            "certificates": len(one.chain),
        }
        for one in found
    ]
    return Shown([_whole(one) for one in found], rows=rows)


@refused.command("show")
@_IDENT
@with_refusals
async def refused_show(desk: Refusals, ident: str) -> object:
    """One group of them: who came with it, its chain, and what was said of it."""
    return _whole(await desk.refusal(ident))


@refused.command("trust")
@_IDENT
@click.option("--vendor", default="", metavar="VENDOR", help=f"Whose CA it is, one of {', '.join(trust.VENDORS)}.")
@click.option(
    "--fingerprint", "fingerprints", multiple=True, metavar="SHA256",
    help="Of the CA, as the maker has told it by another way; again for each CA that came. Without any they are shown.",
)  # fmt: skip
@with_refusals
async def refused_trust(desk: Refusals, ident: str, vendor: str, fingerprints: tuple[str, ...]) -> object:
    """Let the CAs that came with it vouch for devices of VENDOR; compare their fingerprints with the maker's before."""
    added = await desk.trust_issuer(ident, fingerprints=fingerprints, vendor=vendor)
    lines = [f"trusted for {ca.vendor}: {ca.subject} ({ca.fingerprint[:16]})" for ca in added]
    notes = [f"note: {note}" for ca in added for note in ca.notes]
    names = ("vendor", "subject", "fingerprint", "notes")
    rows = [{name: getattr(ca, name) for name in names} for ca in added]
    return Shown(rows, "\n".join([*lines, *notes, "A running server takes it up by itself."]))


@refused.command("expect")
@_IDENT
@click.option("--model", "models", multiple=True, metavar="MODEL", help="May be given again; without any: all so far.")
@click.option("--note", required=True, metavar="TEXT", help="Why; it stands beside the group and in the audit log.")
@with_refusals
async def refused_expect(desk: Refusals, ident: str, models: tuple[str, ...], note: str) -> object:
    """Say that refusals are expected: the group is listed again when it comes with another model."""
    if models:
        return _whole(await desk.expect_refusals(ident, models=models, note=note))
    return _whole(await desk.dismiss_refusal(ident, note=note))


def _whole(one: Refusal) -> dict[str, object]:
    names = ("id", "verdict", "issuer", "why", "times", "open")
    said = {name or "(unknown)": f"{quiet.note} ({quiet.actor})" for name, quiet in one.silenced.items()}
    return {
        **{name: getattr(one, name) for name in names},
        "first": moment(one.first_at),
        "last": moment(one.last_at),
        "macs": [*one.macs],
        "addresses": [*one.addresses],
        "models": [name or "(unknown)" for name in one.models],
        "expected": said,
        "chain": [_certificate(der) for der in one.chain],
    }


def _certificate(der: bytes) -> str:
    try:
        one = read(der)
    except Unreadable as error:
        return f"cannot be read: {error}"
    strength = f"{one.key} {one.bits}, {one.hash}" if one.hash else f"{one.key} {one.bits}"
    return f"{one.subject}, until {stamp(one.not_after)}, {strength}, SHA-256 {one.fingerprint}"
