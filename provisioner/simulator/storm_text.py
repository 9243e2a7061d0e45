"""A storm's report for people and for scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from provisioner.simulator.storm_plan import Mode
from provisioner.simulator.storm_report import StormReport

LATE: Final = 0.1
"""s that attempts may begin late before the report says that this machine was the bottleneck."""
WORTHLESS: Final = 2.0
"""s late from which a run says nothing: four steps of a handshake are then the 8 s of tls.handshake_timeout."""
_FEW_KNOWN: Final = 0.5
"""Share of the handshakes: with fewer for known addresses it is no wonder that the server stayed calm."""
_DIGITS: Final = 4
_NOTHING: Final = "this run says nothing about the server"
_LESS: Final = "Take fewer --processes, fewer --phones or a longer --spread"
_TOO_EARLY: Final = "whether this run would have begun it is not shown: wait until /storm says Calm, and run again"
_TOO_STRANGE: Final = "addresses at which it knows no phones cannot begin a storm: see --known"


def storm_json(report: StormReport) -> str:
    """One JSON object; its keys are the fields of StormReport, and their names stay."""
    return json.dumps(_rounded(asdict(report)), indent=2)


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, Mapping):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(entry) for entry in value]
    return value


def storm_text(report: StormReport) -> str:
    """What happened, in the order in which one asks."""
    rows = [*_success(report), *_trying(report), *_justice(report), *_server(report), *_own(report)]
    width = max(len(name) for name, _ in rows)
    return "\n".join([*_heading(report), *(f"  {name:<{width}}  {told}" for name, told in rows)])


def _heading(report: StormReport) -> list[str]:
    lines = []
    if report.late_p99 >= WORTHLESS:
        lines.append(f"WORTHLESS: {_NOTHING}, see CAUTION below.")
    if report.stopped_after is not None:
        lines.append(f"STOPPED EARLY, after {report.stopped_after:.1f} s. Until then:")
    return lines


def _success(report: StormReport) -> list[tuple[str, str]]:
    latency = report.latency
    rows = [("boots" if report.mode != Mode.STORM else "phones", f"{report.phones}, {report.back} of them back")]
    if report.mode == Mode.STORM:
        ideal = f", ideal {report.ideal:.1f} s" if report.ideal is not None else ""
        rows.append(("half back", _at(report.t50)))
        rows.append(("99 % back", f"{_at(report.t99)}{ideal}"))
        rows.append(("all back", _at(report.t100)))
    rows.append(("it lasted", f"{report.seconds:.1f} s"))
    rows.append(("goodput", f"{report.goodput:.1f} boots/s"))
    rows.append(("a good boot takes", f"{latency.p50:.3f} s (median), {latency.p99:.3f} s (99 %)"))
    return rows


def _trying(report: StormReport) -> list[tuple[str, str]]:
    outcomes = ", ".join(f"{name} {number}" for name, number in report.outcomes.items()) or "none"
    statuses = ", ".join(f"{name} x {number}" for name, number in report.statuses.items()) or "none"
    return [
        ("attempts", f"{report.attempts}, {report.attempts_per_phone:.2f} a phone, {report.most_attempts} at most"),
        ("became of them", outcomes),
        ("HTTP answers", statuses),
        ("wrong bodies", f"{report.wrong_bodies}{' - ANOTHER PHONE’S FILES' if report.wrong_bodies else ''}"),
    ]


def _justice(report: StormReport) -> list[tuple[str, str]]:
    rows = []
    if report.jain is not None:
        rows.append(("fairness", f"{report.jain:.3f} over {len(report.sites)} sites when half were back (1 is even)"))
    if report.nat and report.nat in report.sites:
        site = report.sites[report.nat]
        ratio = f", {report.nat_ratio:.2f} times" if report.nat_ratio is not None else ""
        others = _at(report.others_t99)
        rows.append(("large site", f"{site.phones} phones, 99 % back {_at(report.nat_t99)}; others {others}{ratio}"))
    return rows


def _server(report: StormReport) -> list[tuple[str, str]]:
    if (server := report.server) is None:
        return []
    told = _storm_mode(server.storm_mode)
    if server.known is not None:
        told += f"; {server.known * 100:.0f} % of its handshakes were for addresses that it knew"
    rows = [("the server", told)]
    if server.storm_mode is None and server.known is not None and server.known < _FEW_KNOWN:
        rows.append(("NOTE", _TOO_STRANGE))
    if server.storm_mode == 0:
        rows.append(("NOTE", _TOO_EARLY))
    return rows


def _storm_mode(entered: float | None) -> str:
    if entered is None:
        return "stayed calm"
    return f"entered storm mode {_at(entered)}" if entered else "was in storm mode already when this run began"


def _own(report: StormReport) -> list[tuple[str, str]]:
    rows = [("simulated with", f"{report.cpu:.1f} s of processor time")]
    if report.late_p99 > LATE:
        why = "this machine was too slow for the load that was asked for"
        if report.late_p99 >= WORTHLESS:
            why += f". {_NOTHING.capitalize()}: its own phones were too starved to shake hands. {_LESS}"
        rows.append(("CAUTION", f"1 % of the attempts began {report.late_p99:.2f} s late or later: {why}"))
    if limits := report.outcomes.get("own_limit"):
        rows.append(("CAUTION", f"{limits} attempts failed for want of ports, descriptors or memory here"))
    return rows


def _at(seconds: float | None) -> str:
    return "never" if seconds is None else f"after {seconds:.1f} s"
