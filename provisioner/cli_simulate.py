"""`provisioner simulate`: phones made of software that boot like the real ones: one that is watched, or thousands."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from provisioner import storm_cast
from provisioner.cli_output import console
from provisioner.cli_session import MAC, OK, REFUSED, Nouns, session
from provisioner.errors import Invalid
from provisioner.installation import ca_file
from provisioner.model import Mac
from provisioner.simulator import simulate_boot
from provisioner.simulator.storm import StormNow, run_storm
from provisioner.simulator.storm_plan import Mode, StormPlan, site_addresses
from provisioner.simulator.storm_plots import write_plots
from provisioner.simulator.storm_text import storm_json, storm_text

_LONGEST: Final = 900.0
"""s that a storm may last; phones that are not back by then are told as such."""
_LOAD: Final = 30.0
"""s of a load without a power cut."""
FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
MORE: Final = click.FloatRange(0, 1e6, min_open=True)


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


@simulate.command("storm")
@click.option("--phones", default=2000, metavar="N", help="How many phones.  [default: 2000]")
@click.option("--spread", default=60.0, metavar="S", help="Power-on is spread over so many seconds.  [default: 60]")
@click.option("--sites", default=30, metavar="N", help="Shared addresses they come from.  [default: 30]")
@click.option("--nat", type=int, metavar="N", help="Phones behind one of them.  [default: 500, or a quarter]")
@click.option("--patience", default=10.0, metavar="S", help="Connect to first byte, then it gives up.  [default: 10]")
@click.option("--retry", default=60.0, metavar="S", help="From giving up to the next attempt.  [default: 60]")
@click.option("--jitter", default=0.1, metavar="SHARE", help="The same, more or less by this share.  [default: 0.1]")
@click.option("--no-retry", is_flag=True, help="One attempt a boot.")
@click.option("--greedy", is_flag=True, help="Phones of the last site retry ten times as often.")
@click.option("--heed", multiple=True, metavar="VENDOR", help="Its phones wait for Retry-After; can be repeated.")
@click.option("--rate", type=MORE, metavar="R", help="No power cut: R fresh boots begin each second.")
@click.option("--together", type=click.IntRange(1), metavar="K", help="No power cut: always K boots at a time.")
@click.option("--seconds", type=float, metavar="S", help="Longest time.  [default: 900; 30 with --rate, --together]")
@click.option("--capacity", type=MORE, metavar="C", help="Boots/s of the server, if known, for the ideal.")
@click.option("--processes", type=int, metavar="N", help="Processes that simulate.  [default: one a core, 2 at most]")
@click.option("--plots", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Write SVG plots there.")
def simulate_storm_command(
    phones: int,
    sites: int,
    nat: int | None,
    greedy: bool,
    plots: Path | None,
    **options: object,
) -> None:
    """Thousands of phones come back after a power cut: who is served when.

    Makes what it takes (account Storm with its devices, certificates of the demo factories) and runs against the server
    that runs on --data, such as `make run`'s. Exit code 0 when every phone came back with its own configuration; with
    --rate and --together, when no attempt failed.
    """
    plan = _storm_plan(**options)  # type: ignore[arg-type]  # click has typed each option
    large = (min(500, phones // 4) if sites > 1 else 0) if nat is None else nat
    addresses = site_addresses(sites)
    if greedy and sites < 2 + bool(large):
        raise Invalid("greedy", "it takes a site that is not the large one, and another to compare with")
    call = storm_cast.Call(phones, sites, large)
    stage = asyncio.run(storm_cast.prepare(session().settings(), call, _say))
    plan = replace(
        plan,
        phones=stage.phones,
        url=stage.url,
        address=stage.address,
        trust=stage.trust,
        nat=addresses[0] if large else "",
        greedy=frozenset(addresses[-1:] if greedy else ()),
    )
    with _watched(plan) as progress:
        report = run_storm(plan, progress)
    if plots is not None:
        write_plots(report, plots)
    click.echo(storm_json(report) if session().as_json else storm_text(report))
    click.get_current_context().exit(OK if report.good else REFUSED)


def _storm_plan(
    *,
    no_retry: bool,
    heed: tuple[str, ...],
    seconds: float | None,
    processes: int | None,
    rate: float | None,
    together: int | None,
    capacity: float | None,
    **times: float,
) -> StormPlan:
    """Everything but the cast; wrong options are told before anything is prepared."""
    if rate and together:
        raise Invalid("rate", "--rate and --together are two different runs; choose one")
    if strangers := {one.lower() for one in heed} - storm_cast.VENDORS:
        raise Invalid("heed", f"{strangers.pop()!r} is none of {', '.join(sorted(storm_cast.VENDORS))}")
    mode = Mode.RATE if rate else Mode.CLOSED if together else Mode.STORM
    return StormPlan(
        mode=mode,
        retries=not no_retry,
        heeding=frozenset(one.lower() for one in heed),
        seconds=seconds if seconds is not None else _LONGEST if mode is Mode.STORM else _LOAD,
        processes=processes if processes is not None else min(2, os.cpu_count() or 1),
        rate=rate or 0.0,
        together=together or 0,
        capacity=capacity or 0.0,
        **times,  # type: ignore[arg-type]  # spread, patience, retry, jitter
    )


def _say(text: str) -> None:
    """What is being prepared, for somebody who looks on."""
    if sys.stderr.isatty():
        click.echo(text, err=True)


@contextmanager
def _watched(plan: StormPlan) -> Iterator[Callable[[StormNow], None]]:
    """A bar and live counters on a terminal; nothing anywhere else."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as shown:
        storm = plan.mode is Mode.STORM
        bar = shown.add_task(
            "phones back" if storm else "boots", total=len(plan.phones) if storm else plan.seconds, told="preparing"
        )

        def update(now: StormNow) -> None:
            failed = ", ".join(f"{name} {number}" for name, number in now.outcomes.items() if name != "back")
            told = f"{now.back} back, {now.goodput:.0f}/s, {now.attempts} attempts{f' ({failed})' if failed else ''}"
            shown.update(bar, completed=now.back if storm else now.elapsed, told=told)

        yield update
