"""What phones can do: opening the profile listener for a while, and the cards of those that came."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import click

from provisioner.capability import Card
from provisioner.cli.session import WHOM, Nouns, mac_in, session, with_desk
from provisioner.fleet.profiling import Profiling
from provisioner.store.cards import Window
from provisioner.terminal import Shown, moment

_PATIENCE: Final = 3.0
"""s until a running server has opened it: it looks twice a second."""
_TURN: Final = 0.1
with_profiling = with_desk(Profiling)


@click.group(cls=Nouns)
def profile() -> None:
    """A listener of weak TLS that serves nothing and notes what a phone can do."""


@profile.command("open")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True, help="For how long."
)
@click.option("--ask", type=click.Choice(["digest"]), default=None, help="Answer 401, to see which scheme it knows.")
@with_profiling
async def profile_open(desk: Profiling, minutes: float, ask: str | None) -> object:
    """Open it, then let the phone fetch from there once; it closes by itself."""
    window = await desk.open_profile(minutes, ask=ask or "")
    end = time.monotonic() + _PATIENCE
    while not (window.listening or window.trouble) and time.monotonic() < end:
        await asyncio.sleep(_TURN)
        window = await desk.profile_window()
    return _shown(window)


@profile.command("close")
@with_profiling
async def profile_close(desk: Profiling) -> object:
    """Close it before its time."""
    was_open = await desk.close_profile()
    return Shown({"closed": was_open}, "closed" if was_open else "it was not open")


@profile.command("show")
@with_profiling
async def profile_show(desk: Profiling) -> object:
    """Whether it is open, until when, by whom, and where."""
    return _shown(await desk.profile_window())


@profile.command("cards")
@click.argument("whom", metavar="[MAC|ADDRESS]", type=WHOM, default="")
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="How many.")
@with_profiling
async def profile_cards(desk: Profiling, whom: str, limit: int) -> object:
    """What phones have shown, the one seen last first: all, or of one MAC or address."""
    mac = mac_in(whom)
    found = await desk.capability_cards(mac=mac, address="" if mac else whom, limit=limit)
    text = "\n\n".join(_card(one) for one in found) or (await _nobody(desk, whom))
    return Shown([_whole(one) for one in found], text)


async def _nobody(desk: Profiling, whom: str) -> str:
    if not whom or not await desk.capability_cards(limit=1):
        return "no phone has come yet"
    return (
        f"no card of {whom}; a phone that refuses our certificate shows no MAC, and its card stands under its address. "
        "`provisioner profile cards` has those of all"
    )


def _shown(window: Window) -> Shown:
    is_open = window.is_open(time.time())
    data = {
        "open": is_open,
        "until": window.until or None,
        "actor": window.actor,
        "ask": window.ask,
        "listening": window.listening if is_open else "",
        "trouble": window.trouble if is_open else "",
    }
    there = session().settings().profile_port >= 0
    closed = "the profile listener is closed" if there else "there is no profile listener: profile.port is not set"
    return Shown(data, _said(window) if is_open else closed)


def _said(window: Window) -> str:
    said = f"open until {moment(window.until)}, by {window.actor}"
    if window.trouble:
        return f"{said}, but no phone can come: {window.trouble}"
    if not window.listening:
        return f"{said}; no server listens yet: does one run (`provisioner serve`)?"
    port = window.listening.rpartition(":")[2]
    return f"{said}, at {window.listening}: let the phone fetch from https://NAME:{port}/"


def _card(one: Card) -> str:
    names = " ".join(filter(None, (one.vendor, one.model)))
    who = f"{_colons(one.mac)} {'proven' if one.proven else 'as it says'}" if one.mac else "a phone without a Mac"
    seen = f"{one.times} connections" if one.times > 1 else "1 connection"
    lines = one.lines()
    width = max((len(name) for name, _ in lines), default=0)
    head = f"{who}{f', {names}' if names else ''}, from {one.address}, {seen}, last at {moment(one.last)}"
    return "\n".join([head, *(f"  {name:<{width}}  {text}" for name, text in lines)])


def _colons(mac: str) -> str:
    return ":".join(mac[place : place + 2] for place in range(0, 12, 2))


def _whole(one: Card) -> dict[str, object]:
    names = ("id", "mac", "proven", "vendor", "model", "address", "first", "last", "times")
    return {name: getattr(one, name) for name in names} | {"abilities": dict(one.lines())}
