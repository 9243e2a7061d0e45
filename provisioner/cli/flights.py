"""What the flight recorder has kept: a device's connections, strangers', and what went wrong of all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import click

from provisioner.cli.session import ADDRESS, MAC, Nouns, with_desk, without_settings
from provisioner.diagnosis.facts import Kind, as_line
from provisioner.fleet.flights import Flights
from provisioner.flight import Flight
from provisioner.model import Mac
from provisioner.terminal import Shown, moment, some_of

_HOUR: Final = 3600.0
_TOLD: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.HELLO: ("sni", "versions"),
    Kind.TLS_DONE: ("version", "suite"),
    Kind.TLS_REFUSED: ("by", "why"),
    Kind.ALERT: ("by", "name"),
    Kind.VERDICT: ("verdict", "why"),
    Kind.REQUEST: ("method", "path"),
    Kind.ANSWER: ("status", "bytes", "reason"),
    Kind.STALLED: ("in", "retransmits", "sacked", "unacked"),
    Kind.REFUSED_EARLY: ("by", "why"),
    Kind.RESET: ("by", "after"),
}
"""What of a connection stands in one line."""

with_flights = with_desk(without_settings(Flights))


@click.group(cls=Nouns)
def flights() -> None:
    """Connections of devices, as the server has seen them."""


_LIMIT = click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many.")


@flights.command("of")
@click.argument("mac", type=MAC)
@_LIMIT
@with_flights
async def flights_of(desk: Flights, mac: Mac, limit: int) -> object:
    """Connections of a device, and of strangers who claimed to be it; the newest first."""
    return _shown(await desk.flights(mac, limit=limit))


@flights.command("strangers")
@click.option(
    "--address", "addresses", multiple=True, type=ADDRESS, metavar="ADDRESS", help="Only from here; may be given again."
)
@_LIMIT
@with_flights
async def flights_strangers(desk: Flights, addresses: tuple[str, ...], limit: int) -> object:
    """Connections on which no known device has proven itself: phones that do not trust us, impostors, scanners."""
    return _shown(await desk.strangers(addresses=addresses, limit=limit))


@flights.command("troubles")
@click.option("--hours", type=click.FloatRange(0.01, 8760), default=24.0, show_default=True, help="How far back.")
@with_flights
async def flights_troubles(desk: Flights, hours: float) -> object:
    """What went wrong, grouped by what it was and by model; what concerns most phones first."""
    found = await desk.troubles(since=time.time() - hours * _HOUR)
    rows = [
        {
            "what": one.label,
            "vendor": one.vendor,
            "model": one.model,
            "phones" if one.known else "addresses": one.phones,
            "first": moment(one.first),
            "last": moment(one.last),
            "who": some_of(sorted(one.who)),
        }
        for one in found
    ]
    return Shown(found, rows=rows, columns=("what", "vendor", "model", "phones", "addresses", "first", "last", "who"))


def _shown(found: list[Flight]) -> Shown:
    rows = [
        {
            "record": one.id,
            "at": moment(one.at),
            "mac": one.mac if one.proven or not one.mac else f"{one.mac}?",
            "address": one.address,
            "what": one.label,
            "seen": _in_short(one),
        }
        for one in found
    ]
    names = ("id", "mac", "proven", "at", "ended", "address", "port", "listener", "trouble", "label")
    whole = [
        {name: getattr(one, name) for name in names} | {"facts": [as_line(fact) for fact in one.facts()]}
        for one in found
    ]
    return Shown(whole, rows=rows)


def _in_short(one: Flight) -> str:
    told = [
        " ".join((fact.kind.value.replace("_", " "), *(fact[name] for name in names if fact[name])))
        for fact in one.facts()
        if (names := _TOLD.get(fact.kind)) is not None
    ]
    return "; ".join(told)
