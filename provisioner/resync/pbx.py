"""Through the PBX: phones that it holds the registration of are told by it, not in a call, and seen when they are back.

What the PBX says of an endpoint is all that is known here: a phone that went without taking its registration back is
taken for there until that expires. A manager interface that fails ends this turn and is tried again in the next.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Final

from provisioner.ami import ABSENT, IDLE, IN_CALL, Ami
from provisioner.errors import AmiError, Unusable
from provisioner.model import Mac
from provisioner.resync.errands import HEAD_START, Errands, stuck
from provisioner.resync_states import Standing, Step, Way
from provisioner.secret_files import secret_text
from provisioner.settings import Settings
from provisioner.store import resync as rows
from provisioner.store.database import Store
from provisioner.store.journal import write_events
from provisioner.store.resync import Errand, Outcome

_SETTLING: Final = 60.0
"""s between fetching and asking whether it is registered: by then an old registration of it has been replaced."""
_SEEN_FOR: Final = 3600.0
"""s beyond the window for which the PBX is asked."""
_ASKED: Final = 20
"""Endpoints asked for in one turn."""
_WORDS: Final = frozenset({"auth_user", "number", "mac"})


def require_endpoint(template: str) -> None:
    """Unusable when it names anything but what is known of a line."""
    try:
        words = {name for _, name, spec, conversion in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise Unusable(f"resync.ami_endpoint = {template!r}: {error}") from error
    if not words or words - _WORDS:
        raise Unusable(f"resync.ami_endpoint = {template!r}: must be made of {{auth_user}}, {{number}}, {{mac}}")


def ami_of(settings: Settings) -> Ami | None:
    """The manager interface that the settings name; Unusable when its secret or the endpoint's name is missing."""
    if not settings.resync_ami_host:
        return None
    require_endpoint(settings.resync_ami_endpoint)
    secret = secret_text(settings.data / settings.resync_ami_secret, "resync.ami_secret").strip()
    return Ami(settings.resync_ami_host, settings.resync_ami_port, settings.resync_ami_user, secret)


class Pbx:
    """One a process that tells phones through the PBX; more of them do no harm."""

    def __init__(
        self, store: Store, errands: Errands, settings: Settings, ami: Ami, *, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._errands = errands
        self._ami = ami
        self._clock = clock
        self._template = settings.resync_ami_endpoint
        self._busy_again = settings.resync_busy
        self._again = settings.resync_again
        self._window = float(settings.activation_window)
        self._after = ""

    async def send(self) -> int:
        """One turn: tell whose turn it is and whom nobody else has taken; how many were told."""
        await self._errands.turn()
        told = 0
        macs = await self._errands.due(HEAD_START)
        away = ""
        for errand in await self._errands.take(frozenset(macs), Way.AMI, late=HEAD_START):
            outcome = Outcome(away, due=self._clock() + self._again) if away else await self._outcome(errand)
            told += await self._errands.told(errand, outcome)
            away = "" if self._ami.connected else outcome.result  # the others need not find out one by one
        if not away:
            await self._look()
        return told

    async def busy(self, mac: Mac) -> bool | None:
        """Whether a line of it is in a call; None where the PBX does not know the device."""
        states = await self._states(await self._endpoints(mac))
        if any(state in IN_CALL for state in states):
            return True
        return False if IDLE in states else None

    async def _outcome(self, errand: Errand) -> Outcome:
        now = self._clock()
        try:
            endpoints = await self._endpoints(errand.mac)
            states = await self._states(endpoints)
            if any(state in IN_CALL for state in states):
                return Outcome("in a call", due=now + self._busy_again, counts=False)
            present = [name for name, state in zip(endpoints, states, strict=True) if state == IDLE]
            if not present:
                return Outcome("not registered at the PBX", due=now, way=Way.POLL, counts=False)
            await self._ami.notify(present[0], errand.event)
        except AmiError as error:
            return Outcome(error.cause[:200], due=now + self._again)
        return Outcome(f"sent by the PBX to {present[0]}", Step.NOTIFY)

    async def _endpoints(self, mac: Mac) -> list[str]:
        async with self._store.reading() as connection:
            lines = await rows.lines(connection, mac)
        return [self._template.format(auth_user=auth_user, number=number, mac=mac) for auth_user, number in lines]

    async def _states(self, endpoints: Sequence[str]) -> list[str]:
        return [await self._ami.state(name) for name in endpoints]

    async def _look(self) -> None:
        """Which of those that have their configuration the PBX sees; a few a turn, round and round."""
        now = self._clock()
        async with self._store.reading() as connection:
            since = now - self._window - _SEEN_FOR
            found = await rows.fetched(connection, since, now - _SETTLING, self._after, _ASKED)
        self._after = found[-1].mac if len(found) == _ASKED else ""
        for one in found:
            try:
                states = await self._states(await self._endpoints(one.mac))
            except AmiError:
                return
            await self._note(one, states, now)

    async def _note(self, one: Standing, states: Sequence[str], now: float) -> None:
        if any(state == IDLE or state in IN_CALL for state in states):
            async with self._store.writing() as connection:
                await rows.note_registered(connection, one.mac, now)
        elif ABSENT in states and now - one.since > self._window:
            async with self._store.writing() as connection:
                found = await rows.note_unregistered(connection, one.mac, now)
                await write_events(connection, [stuck(late, now) for late in found])
