"""Which factory CAs are trusted, and what is about to expire."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import click

from provisioner import trust
from provisioner.certificates import ca_objection
from provisioner.cli.session import OK, REFUSED, Nouns, session, with_fleet
from provisioner.fleet.fleet import Fleet
from provisioner.installation import renew_server_certificates
from provisioner.terminal import Shown
from provisioner.trust import Ca

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_COLUMNS: Final = ("vendor", "role", "subject", "not_after", "origin", "state", "fingerprint")
_RELOAD: Final = "A running server takes it up by itself; `provisioner certs list` shows all."


@click.group(cls=Nouns)
def certs() -> None:
    """Factory CAs: who may vouch for which vendor's devices."""


@certs.command("list")
@click.option("--vendor", default="", metavar="VENDOR", help="Only this vendor's.")
def certs_list(vendor: str) -> object:
    """The CAs known here, shipped and added."""
    known = trust.load(session().settings().data).cas
    return Shown([_row(ca) for ca in known if vendor in {"", ca.vendor}], columns=_COLUMNS)


@certs.command("show")
@click.argument("file", type=FILE)
def certs_show(file: Path) -> object:
    """What is in the certificate FILE, trusted or not."""
    return [_row(ca) | _device_role(ca) for ca in trust.show(file)]


def _device_role(ca: Ca) -> dict[str, object]:
    """A file may hold a phone's own certificate, which vouches for nobody."""
    return {"role": f"not a CA: it {objection}"} if ca.der and (objection := ca_objection(ca.der)) else {}


@certs.command("renew-server")
def certs_renew_server() -> object:
    """Make new server certificates from the CA in DATA/tls, which phones go on trusting."""
    made = renew_server_certificates(session().settings())
    text = "\n".join([*(f"renewed {path}" for path in made), "A running server takes them up by itself."])
    return Shown({"renewed": made}, text)


@certs.command("trust")
@click.option("--vendor", required=True, metavar="VENDOR", help=f"One of {', '.join(trust.VENDORS)}.")
@click.argument("file", type=FILE)
def certs_trust(vendor: str, file: Path) -> object:
    """Let every CA in FILE, PEM or DER, vouch for devices of VENDOR."""
    added = trust.add(session().settings().data, vendor, file)
    lines = [f"trusted for {ca.vendor}: {ca.subject} ({ca.fingerprint[:16]})" for ca in added]
    notes = [f"note: {note}" for ca in added for note in ca.notes]
    return Shown([_row(ca) for ca in added], "\n".join([*lines, *notes, _RELOAD]))


@certs.command("untrust")
@click.argument("fingerprint")
def certs_untrust(fingerprint: str) -> object:
    """Trust the CA with this FINGERPRINT no longer; its first 16 digits are enough."""
    gone = trust.remove(session().settings().data, fingerprint)
    return Shown(_row(gone), f"no longer trusted: {gone.subject} ({gone.fingerprint[:16]})\n{_RELOAD}")


@certs.command("check")
@with_fleet
async def certs_check(fleet: Fleet) -> object:
    """What expires within 90 days: CAs, server certificates, pinned devices.

    Exit code 1 when something is past or has less than 7 days left.
    """
    settings = session().settings()
    servers = [settings.data / path for path in settings.tls_certificates]
    pins = [(pin.mac, pin.not_after) for pin in await fleet.pins()]
    ends = trust.load(settings.data).check(time.time(), servers, pins)
    rows = [{"kind": one.kind, "name": one.name, "not_after": one.not_after, "days": one.days} for one in ends]
    text = "\n".join(f"{one.severity}: {one.text}" for one in ends) or "nothing expires within 90 days"
    return Shown(rows, text, exit_code=REFUSED if any(one.severity == "alarm" for one in ends) else OK)


def _row(ca: Ca) -> dict[str, object]:
    """A CA for a table or for JSON, its bytes left out."""
    names = ("vendor", "role", "subject", "fingerprint", "not_before", "not_after", "origin", "state", "file", "source")
    return {**{name: getattr(ca, name) for name in names}, "notes": ca.notes}
