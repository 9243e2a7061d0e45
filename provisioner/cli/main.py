"""`provisioner`: the table of contents of the command line; every command lives in the module of its noun."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from types import TracebackType
from typing import Any, Final

import click

from provisioner import __version__
from provisioner.cli.session import INTERNAL, Nouns, shared_options, telling_usage

SCRIPT_READS: Final = "provisioner.script_reads"
SECTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "Server": {
        "init": "server.init",
        "serve": "server.serve",
        "doctor": "server.doctor",
        "db": "records.db",
        "certs": "certs.certs",
        "firmware": "records.firmware",
    },
    "Inventory": {
        "account": "people.account",
        "site": "places.site",
        "user": "places.user",
        "extension": "places.extension",
        "policy": "licenses.policy",
        "license": "licenses.license",
        "number": "numbers.number",
        "device": "devices.device",
        "token": "devices.token",
        "code": "codes.code",
        "import": "imports.import_",
        "job": "jobs.job",
    },
    "Configuration": {
        "layer": "layers.layer",
        "render": "layers.render",
        "diff": "layers.diff",
        "resync": "resync.resync",
    },
    "Administration": {"admin": "admin.admin", "apikey": "keys.apikey"},
    "What happened": {
        "events": "records.events",
        "audit": "audit.audit",
        "flights": "flights.flights",
        "refused": "refused.refused",
        "outbox": "outbox.outbox",
        "hook": "hooks.hook",
        "trap": "traps.trap",
    },
    "Technician": {
        "why": "why.why",
        "capture": "capture.capture",
        "keylog": "keylog.keylog",
        "switch": "switches.switch",
        "fetch-as": "fetch_as.fetch_as",
        "profile": "profile.profile",
    },
    "Overload": {"storm": "storm.storm"},
    "Trying it out": {"demo": "server.demo", "simulate": "simulate.simulate"},
}
"""Section of the help, word, and where in this package its command is: the module, and the name in it."""


class Commands(MutableMapping[str, click.Command]):
    """The commands by their words, each loaded when it is first asked for: no command waits for what others import."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, word: str) -> click.Command:
        if word not in self._loaded:
            module, _, name = self._places[word].partition(".")
            self._loaded[word] = getattr(import_module(f"provisioner.cli.{module}"), name)
        return self._loaded[word]

    def __setitem__(self, word: str, command: click.Command) -> None:
        self._places.setdefault(word, "")
        self._loaded[word] = command

    def __delitem__(self, word: str) -> None:
        del self._places[word]
        self._loaded.pop(word, None)

    def __contains__(self, word: object) -> bool:
        return word in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


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
        for title, words in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(word, self.commands[word].get_short_help_str(80)) for word in words])


@click.group(
    "provisioner",
    cls=TableOfContents,
    commands=Commands({word: place for words in SECTIONS.values() for word, place in words.items()}),
    params=shared_options(from_environment=True),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="provisioner")
def cli() -> None:
    """Provision desk phones and ATAs that prove who they are with their factory certificate.

    Every command takes --data and --json. Exit codes: 0 done, 1 refused or not found, 2 wrong usage or unusable
    installation, 3 a fault of this program.
    """


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
