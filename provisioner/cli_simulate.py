"""`provisioner simulate`: a phone made of software that boots like the real one and says what it would register."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from provisioner.cli_session import MAC, OK, REFUSED, Nouns, session
from provisioner.installation import ca_file
from provisioner.model import Mac
from provisioner.simulator import simulate_boot

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=Nouns)
def simulate() -> None:
    """Simulated phones, for trying a server without hardware."""


@simulate.command("boot")
@click.option("--vendor", required=True, metavar="VENDOR", help="poly or yealink.")
@click.option("--model", required=True, metavar="MODEL", help="VVX 411, OBi302, T46S, ...; spelling is forgiven.")
@click.option("--mac", type=MAC, required=True, metavar="MAC", help="The phone's own MAC.")
@click.option("--url", required=True, metavar="URL", help="Where it is told to fetch from, https://host:8443/.")
@click.option("--cert", type=FILE, help="Its certificate, PEM, with the chain it sends.")
@click.option("--key", type=FILE, help="The certificate's key, PEM.")
@click.option("--ca", type=FILE, help="CA of the server.  [default: the installation's own, if there is one]")
@click.option("--insecure", is_flag=True, help="Do not check the server's certificate.")
@click.option("--ask-for", default="", metavar="MAC", help="Ask for another device's files.")
@click.option("--user", default="", metavar="NAME", help="HTTP Digest user.")
@click.option("--password", default="", metavar="TEXT", help="HTTP Digest password.")
@click.option("--firmware", default="", metavar="VERSION", help="Version it says it runs.")
@click.option("--connection-per-file", is_flag=True, help="A new TLS connection for each file.")
@click.option("--resume", is_flag=True, help="Resume TLS sessions.")
@click.option("--tls-min", default="", metavar="VERSION", help="1.0, 1.1, 1.2 or 1.3.")
@click.option("--tls-max", default="", metavar="VERSION", help="1.0, 1.1, 1.2 or 1.3.")
@click.option("--family", default="", metavar="FAMILY", help="For a model it does not know: ucs, obi, yealink.")
@click.option("--code", default="", metavar="NN", help="For an unknown Yealink: the number in y0000000000NN.cfg.")
@click.option("--part", default="", metavar="NUMBER", help="For an unknown Poly: its part number.")
@click.option("--lines", default=0, metavar="N", help="For an unknown model: how many lines it has.")
def simulate_boot_command(mac: Mac, ca: Path | None, insecure: bool, **options: object) -> None:
    """Boot one phone: its real sequence of requests, and what it would register.

    Exit code 0 when at least one line would register, 1 when none would.
    """
    own = ca_file(session().data)
    if ca is None and not insecure and own.is_file():
        ca = own
    code, text = simulate_boot(mac=mac, ca=ca, insecure=insecure, json_output=session().as_json, **options)  # type: ignore[arg-type]  # click has typed each option
    click.echo(text)
    click.get_current_context().exit(REFUSED if code else OK)
