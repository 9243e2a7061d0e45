"""Commands about the installation as a whole: init, serve, demo, doctor."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import click

from provisioner.cli.session import OK, REFUSED, Verb, session
from provisioner.terminal import Shown

STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red", "yes": "green", "no": "bold red"}


@click.command("init", cls=Verb)
@click.option("--name", default="", metavar="HOST", help="The host name that phones will use.  [default: localhost]")
def init(name: str) -> object:
    """Make DATA an installation; what is there already stays as it is."""
    from provisioner.installation import init as make_installation  # the makers' weight is not every command's

    data = session().data
    made = make_installation(data, name)
    text = "\n".join(["made:", *(f"  {one}" for one in made)]) if made else f"{data} is an installation already"
    return Shown({"data": data, "made": made}, text)


@click.command("serve", cls=Verb)
def serve() -> object:
    """Serve devices until SIGTERM or Ctrl-C; SIGHUP reads certificates, templates and trusted CAs again."""
    configured = session().settings()
    from provisioner.app import run  # nor is the server's

    return Shown(None, exit_code=run(configured))


@click.command("demo", cls=Verb)
@click.option(
    "--port",
    type=click.IntRange(0, 65533),
    default=8443,
    show_default=True,
    metavar="N",
    help=("The device port; bootstrap and admin take the next two. 0: any free ones."),
)
@click.option("--once", is_flag=True, help="End after the table; exit code 0 only if every row is as it should be.")
def demo(port: int, once: bool) -> object:
    """Start a server, boot simulated phones against it, show who got what, and go on serving."""
    from provisioner.demo.demo import perform  # nor are the simulated phones'

    return Shown(None, exit_code=perform(session().data, port, once, session().as_json))


@click.command("doctor", cls=Verb)
def doctor() -> object:
    """Check the installation and say in plain words what is wrong; exit code 1 when something is."""
    from provisioner.doctor import State, examine  # which looks at everything

    findings = examine(session().data)
    failed = any(one.state is State.FAIL for one in findings)
    rows = [asdict(one) for one in findings]
    return Shown(
        rows,
        exit_code=REFUSED if failed else OK,
        style=lambda column, text: STYLES.get(text, "") if column == "state" else "",
    )
