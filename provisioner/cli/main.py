"""`provisioner`: the table of contents of the command line; every command lives in the module of its noun."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType
from typing import Any, Final

import click

from provisioner import __version__
from provisioner.cli.admin import admin
from provisioner.cli.assign import ASSIGNING
from provisioner.cli.audit import audit
from provisioner.cli.certs import certs
from provisioner.cli.codes import code
from provisioner.cli.devices import device, token
from provisioner.cli.hooks import hook
from provisioner.cli.imports import import_
from provisioner.cli.keys import apikey
from provisioner.cli.layers import diff, layer, render
from provisioner.cli.licenses import license, policy
from provisioner.cli.numbers import number
from provisioner.cli.outbox import outbox
from provisioner.cli.people import account, extension, site, user
from provisioner.cli.records import db, events, firmware
from provisioner.cli.resync import resync
from provisioner.cli.server import demo, doctor, init, serve
from provisioner.cli.session import INTERNAL, Nouns, shared_options, telling_usage
from provisioner.cli.simulate import simulate
from provisioner.cli.storm import storm

SCRIPT_READS: Final = "provisioner.script_reads"
SECTIONS = {
    "Server": (init, serve, doctor, db, certs, firmware),
    "Inventory": (account, site, user, extension, policy, license, number, device, token, code, import_),
    "Configuration": (layer, render, diff, resync),
    "Administration": (admin, apikey),
    "What happened": (events, audit, outbox, hook),
    "Overload": (storm,),
    "Trying it out": (demo, simulate),
}


class TableOfContents(Nouns):
    """Lists the commands by what they are for."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Remember whether a script reads: wrong usage is found before the options are."""
        as_json = "--json" in args
        with telling_usage(as_json):
            ctx = super().make_context(info_name, args, parent, **extra)
        ctx.meta[SCRIPT_READS] = as_json
        return ctx

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is meant."""
        with telling_usage(ctx.meta[SCRIPT_READS]):
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's signature
        """One section after the other, each command with the first sentence of its help."""
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(one.name or "", one.get_short_help_str(80)) for one in commands])


@click.group(
    "provisioner",
    cls=TableOfContents,
    params=shared_options(from_environment=True),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="provisioner")
def cli() -> None:
    """Provision desk phones and ATAs that prove who they are with their factory certificate.

    Every command takes --data and --json. Exit codes: 0 done, 1 refused or not found, 2 wrong usage or unusable
    installation, 3 a fault of this program.
    """


for _word in ASSIGNING:
    device.add_command(_word)
for _commands in SECTIONS.values():
    for _command in _commands:
        cli.add_command(_command)


def main() -> None:
    """The installed command."""
    sys.excepthook = _internal_fault
    cli(prog_name="provisioner")


def _internal_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A fault of ours: one line for people, the traceback where it was asked for, and its own exit code."""
    if os.environ.get("PROVISIONER_TRACEBACK"):
        traceback.print_exception(kind, error, trace)
    where = traceback.extract_tb(trace)[-1] if trace else None
    place = f" ({where.filename.rpartition('/')[2]}:{where.lineno})" if where else ""
    click.echo(
        f"Internal error: {kind.__name__}: {error}{place}\nThis is a fault of the program. "
        "PROVISIONER_TRACEBACK=1 shows where it happened; please report that.",
        err=True,
    )
    raise SystemExit(INTERNAL)
