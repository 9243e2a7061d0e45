"""`provisioner simulate`: phones made of software that boot like the real ones: one that is watched, or thousands."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from provisioner import storm_cast, storm_server
from provisioner.cli.call import simulate_call_command
from provisioner.cli.session import MAC, OK, REFUSED, Nouns, password_of, session, with_password
from provisioner.errors import Invalid, Unusable
from provisioner.installation import trusted_ca
from provisioner.model import Mac
from provisioner.simulator import simulate_boot
from provisioner.simulator.storm import StormNow, run_storm
from provisioner.simulator.storm_plan import Mode, StormPlan, calm, site_addresses
from provisioner.simulator.storm_plots import write_plots
from provisioner.simulator.storm_report import StormReport
from provisioner.simulator.storm_stop import Stop, listening
from provisioner.simulator.storm_text import storm_json, storm_text
from provisioner.storm_options import Asked
from provisioner.terminal import console

FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
MORE: Final = click.FloatRange(0, 1e6, min_open=True)
_STAYS: Final = f"Phones added to account {storm_cast.ACCOUNT} so far stay, and the next storm uses them"


class _Delay(click.ParamType[float | None]):
    """Seconds, or ``own``: None, for what each model does by itself."""

    name = "delay"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """Of what was typed; the default is a number already."""
        if value == "own":
            return None
        try:
            return float(str(value))
        except ValueError:
            self.fail(f"{value!r} is neither a number of seconds nor the word own", param, ctx)


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
@click.option("--user", default="", metavar="NAME", help="HTTP Digest user; its password on stdin or at a prompt.")
@with_password
@click.option("--firmware", default="", metavar="VERSION", help="Version it says it runs.")
@click.option("--connection-per-file", is_flag=True, help="A new TLS connection for each file.")
@click.option("--resume", is_flag=True, help="Resume TLS sessions.")
@click.option("--tls-min", default="", metavar="VERSION", help="1.0, 1.1, 1.2 or 1.3.")
@click.option("--tls-max", default="", metavar="VERSION", help="1.0, 1.1, 1.2 or 1.3.")
@click.option("--family", default="", metavar="FAMILY", help="For a model it does not know: ucs, obi, yealink.")
@click.option("--code", default="", metavar="NN", help="For an unknown Yealink: the number in y0000000000NN.cfg.")
@click.option("--part", default="", metavar="NUMBER", help="For an unknown Poly: its part number.")
@click.option("--lines", default=0, metavar="N", help="For an unknown model: how many lines it has.")
def simulate_boot_command(
    mac: Mac, ca: Path | None, insecure: bool, password_stdin: bool, ask_password: bool, **options: object
) -> None:
    """Boot one phone: its real sequence of requests, and what it would register.

    Exit code 0 when at least one line would register, 1 when none would.
    """
    ca = trusted_ca(session().data, ca, insecure=insecure)
    options["password"] = password_of(from_stdin=password_stdin, ask=ask_password)
    code, text = simulate_boot(mac=mac, ca=ca, insecure=insecure, json_output=session().as_json, **options)  # type: ignore[arg-type]  # click has typed each option
    click.echo(text)
    click.get_current_context().exit(REFUSED if code else OK)


simulate.add_command(simulate_call_command)


@simulate.command("storm")
@click.option("--phones", type=int, metavar="N", help=f"How many phones, {storm_cast.MOST:,} at most.  [default: 2000]")
@click.option("--spread", default=60.0, metavar="S", help="Power-on is spread over so many seconds.  [default: 60]")
@click.option("--sites", type=int, metavar="N", help="Shared addresses they come from.  [default: 30]")
@click.option("--nat", type=int, metavar="N", help="Phones behind one of them.  [default: 500, or a quarter]")
@click.option("--patience", default=10.0, metavar="S", help="Connect to first byte, then it gives up.  [default: 10]")
@click.option(
    "--retry",
    type=_Delay(),
    default=60.0,
    metavar="S|own",
    help="From giving up to the next attempt; own: what each model waits by itself.  [default: 60]",
)
@click.option("--jitter", default=0.1, metavar="SHARE", help="The same, more or less by this share.  [default: 0.1]")
@click.option("--no-retry", is_flag=True, help="One attempt a boot.")
@click.option("--greedy", is_flag=True, help="Phones of the last site retry ten times as often.")
@click.option("--connection-per-file", is_flag=True, help="A new TLS connection for each file.")
@click.option("--heed", multiple=True, metavar="VENDOR", help="Its phones wait for Retry-After; can be repeated.")
@click.option("--rate", type=MORE, metavar="R", help="No power cut: R fresh boots begin each second.")
@click.option("--together", type=click.IntRange(1), metavar="K", help="No power cut: always K boots at a time.")
@click.option("--known", is_flag=True, help="Everyone boots once before, so that the server knows where they live.")
@click.option("--seconds", type=float, metavar="S", help="Longest time.  [default: 900; 30 with --rate, --together]")
@click.option("--capacity", type=MORE, metavar="C", help="Boots/s of the server, if known, for the ideal.")
@click.option("--processes", type=int, metavar="N", help="Processes that simulate.  [default: one a core, 2 at most]")
@click.option("--plots", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write SVG plots there.")
def simulate_storm_command(known: bool, plots: Path | None, **options: object) -> None:
    """Thousands of phones come back after a power cut: who is served when.

    Makes what it takes (account Storm with its devices, certificates of the demo factories) and runs against the server
    that runs on --data, such as `make run`'s. Exit code 0 when every phone came back with its own configuration; with
    --rate and --together, when no attempt failed. Ctrl-C ends it with a report of what was until then.
    """
    asked = Asked(**options)  # type: ignore[arg-type]  # click has typed each option
    with _telling_usage():
        plan, call = asked.plan(_given(), os.cpu_count() or 1)
    configured = session().settings()
    if plots is not None:
        _make(plots)
    with _interruptible() as stop:
        stage = asyncio.run(storm_cast.prepare(configured, call, _say))
        plan = _on_stage(plan, stage, call, greedy=asked.greedy)
        report = (_move_in(plan, configured.data) if known else None) or _storm(plan, configured.data, stop)
        click.echo(storm_json(report) if session().as_json else storm_text(report))
        if plots is not None:
            write_plots(report, plots)
    code = OK if report.good else REFUSED
    click.get_current_context().exit(code if report.stopped_after is None else stop.exit_code)


@contextmanager
def _telling_usage() -> Iterator[None]:
    """A value that makes no sense is wrong usage, whoever notices it."""
    try:
        yield
    except Invalid as error:
        raise click.UsageError(f"--{error.field.replace('_', '-')}: {error.why}") from error


def _given() -> set[str]:
    """The options that somebody has typed."""
    context = click.get_current_context()
    return {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}


def _make(plots: Path) -> None:
    """Now, and not after a quarter of an hour."""
    try:
        plots.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"{plots} cannot be made ({error.strerror}); name another directory with --plots") from error


@contextmanager
def _interruptible() -> Iterator[Stop]:
    """Whatever is under way when there is nothing to report ends with the signal's exit code."""
    with listening() as stop:
        try:
            yield stop
        except KeyboardInterrupt:
            why = f"stopped; there is nothing to report. {_STAYS}"
            told = json.dumps({"error": {"kind": "stopped", "cause": why}}) if session().as_json else why
            click.echo(told, err=True)
            raise SystemExit(stop.exit_code) from None


# --- the storm ------------------------------------------------------------------------------------------


def _on_stage(plan: StormPlan, stage: storm_cast.Stage, call: storm_cast.Call, *, greedy: bool) -> StormPlan:
    addresses = site_addresses(call.sites)
    return replace(
        plan,
        phones=stage.phones,
        url=stage.url,
        address=stage.address,
        trust=stage.trust,
        nat=addresses[0] if call.nat else "",
        greedy=frozenset(addresses[-1:] if greedy else ()),
    )


def _move_in(plan: StormPlan, data: Path) -> StormReport | None:
    """Let everyone boot once, and the server learn where they live; a report when even that went wrong."""
    server = storm_server.ServerSide(data)
    with _watched(calm(plan), "moving in") as progress:
        report = run_storm(calm(plan), progress)
    if not report.good:
        click.echo("Not all phones came up on a quiet day, so there was no storm. How it went:", err=True)
        return report
    if server.report().known != 1:
        _wait(storm_server.LEARNT)
    return None


def _wait(seconds: float) -> None:
    _say(f"waiting {seconds:.0f} s, until the server knows where they live ...")
    time.sleep(seconds)


def _storm(plan: StormPlan, data: Path, stop: Stop) -> StormReport:
    server = storm_server.ServerSide(data)
    with _watched(plan, "phones back") as shown, stop.playing():

        def progress(now: StormNow) -> None:
            shown(now)
            server.look(now.elapsed)

        report = run_storm(plan, progress, stop)
        return replace(report, server=server.report())


def _say(text: str) -> None:
    """What is being prepared, for somebody who looks on."""
    if sys.stderr.isatty():
        click.echo(text, err=True)


@contextmanager
def _watched(plan: StormPlan, title: str) -> Iterator[Callable[[StormNow], None]]:
    """A bar and live counters on a terminal; nothing anywhere else."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as shown:
        storm = plan.mode is Mode.STORM
        total = len(plan.phones) if storm else plan.seconds
        bar = shown.add_task(title if storm else "boots", total=total, told="preparing")

        def update(now: StormNow) -> None:
            failed = ", ".join(f"{name} {number}" for name, number in now.outcomes.items() if name != "back")
            told = f"{now.back} back, {now.goodput:.0f}/s, {now.attempts} attempts{f' ({failed})' if failed else ''}"
            shown.update(bar, completed=now.back if storm else now.elapsed, told=told)

        yield update
