"""Alarms as SNMP traps and informs: put into the outbox as they happen, sent from there, so nothing is lost or held up.

A trap (v2c) has left when it is sent; an inform (v3) when its receiver has said so, and it is sent again until then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from provisioner.background import contained
from provisioner.errors import NotNow, NotWanted, ProvisionerError, Unusable
from provisioner.events import KINDS
from provisioner.hook_events import moment
from provisioner.model import Count
from provisioner.outbox import Channel, Outbox, Told
from provisioner.secret_files import secret_text
from provisioner.settings import Settings
from provisioner.store import traps as rows
from provisioner.store.database import Store
from provisioner.store.outbox import Message
from provisioner.store.traps import KIND, Alarm
from provisioner.switches.agent import AgentFailed, Part
from provisioner.switches.credentials import Auth, Credential, Privacy, community, user
from provisioner.switches.engine import Pace, Where, auth_data, close_shared, reached, said_of, shared, target
from provisioner.switches.fence import Fence
from provisioner.switches.oids import Oid, Value
from provisioner.switches.trap_words import Receiver, objects, receiver, sentence

_PACE: Final = Pace(2.0, 1)
_FENCE: Final = Fence(here=True)
_LONGEST: Final = 20.0
"""s for one attempt: to find the receiver's engine, to agree on its clock, and to be confirmed."""
_SERVER: Final = "server"


class TrapSender:
    """One for a process; ``turn`` every second."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        count: Count,
        *,
        calm: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._began = clock()
        self._count = count
        self.receivers: Sequence[Receiver] = list(_readable(settings.trap_receivers))
        channel = Channel(self.deliver, _LONGEST, told=False)
        self._outbox = Outbox(store, {KIND: channel}, settings, count, calm=calm, clock=clock)

    async def turn(self) -> int:
        """Put down what has happened, and send what is due; how many were sent."""
        await contained("alarms by SNMP", self.collect, self._count)
        return await self._outbox.send()

    async def collect(self) -> int:
        """Alarms since the last turn become messages, in one transaction; how many alarms."""
        async with self._store.reading() as connection:
            if not await rows.untold(connection):
                return 0
        async with self._store.changing(_SERVER, self._clock()) as change:
            found = await rows.next_alarms(change.connection)
            await rows.queue(self._store, change, found, [one.name for one in self.receivers])
        return len(found)

    async def stop(self) -> None:
        """The message in hand is brought to its end."""
        self._outbox.stop()
        await close_shared()

    async def deliver(self, message: Message, _payload: Mapping[str, str]) -> Told:
        """One alarm to one receiver; NotNow where it was not confirmed."""
        name = rows.receiver_of(message)
        who = next((one for one in self.receivers if one.name == name), None)
        async with self._store.reading() as connection:
            alarm = await rows.alarm_of(connection, message)
        if who is None or alarm is None:
            raise NotWanted("nobody is told there any more" if who is None else "the alarm is forgotten")
        said = objects(self._settings.trap_enterprise, self._clock() - self._began, _said(alarm))
        try:
            await send(who, credential_of(self._settings, who), said)
        except (AgentFailed, Unusable) as error:  # a file that is missing is put there while alarms wait
            raise NotNow(f"{who.name}: {error.cause}") from error
        return {}


def _said(alarm: Alarm) -> dict[str, str]:
    """The words of its objects."""
    text = sentence(alarm.kind, KINDS.get(alarm.kind, ""), alarm.details)
    return {
        "kind": alarm.kind, "mac": alarm.mac, "account": alarm.account, "text": text, "at": moment(alarm.at),
        "event": str(alarm.id), "severity": "alarm",
    }  # fmt: skip


def credential_of(settings: Settings, one: Receiver) -> Credential:
    """What receivers are told with; Unusable says which file is missing or what is wrong in it."""
    if not one.confirmed:
        path = settings.data / settings.trap_community
        what = "the community of traps"
        missing = f"{path} is missing: {what} in one line, its owner's alone (chmod 600)"
        return community(secret_text(path, what, missing=missing), "trap.community")
    path, what = settings.data / settings.trap_keys, "the keys of informs"
    missing = f"{path} is missing: {what}, auth key and privacy key, a line each, its owner's alone (chmod 600)"
    keys = secret_text(path, what, missing=missing).splitlines()
    try:
        auth, privacy = Auth(settings.trap_auth), Privacy(settings.trap_privacy)
    except ValueError as error:
        raise Unusable(f"trap.auth, trap.privacy: {error}") from error
    wanted = 1 if privacy is Privacy.NONE else 2
    if len(keys) != wanted:
        raise Unusable(f"trap.keys must hold {wanted} lines for {auth.value} and {privacy.value}: the auth key first")
    return user(settings.trap_user, auth, keys[0], privacy, keys[1] if wanted == 2 else "")


def _readable(names: Sequence[str]) -> Iterator[Receiver]:
    """Without those that are none: they cost the others nothing, and `objections` tells of them."""
    for one in names:
        with suppress(Unusable):
            yield receiver(one)


def objections(settings: Settings) -> list[str]:
    """What keeps alarms from each receiver, as far as that is known without asking it."""
    found = []
    for text in settings.trap_receivers:
        try:
            credential_of(settings, receiver(text))
        except ProvisionerError as error:
            found.append(f"{text} is told no alarm: {error.cause}")
    return found


async def send_test(settings: Settings, who: Receiver, now: float) -> None:
    """A notification like an alarm's that says it is none; AgentFailed or Unusable where it does not leave."""
    said = {"kind": "test", "text": "a test of this server's alarms: nothing is wrong", "at": moment(now), "event": "0"}
    await send(who, credential_of(settings, who), objects(settings.trap_enterprise, 0.0, said | {"severity": "info"}))


async def send(who: Receiver, credential: Credential, said: Sequence[tuple[Oid, Value]]) -> None:
    """A trap, or an inform and its confirmation; AgentFailed where that does not come."""
    from pysnmp.hlapi.v3arch.asyncio import ContextData, send_notification

    where = Where(who.host, who.port, _FENCE)
    ident = b""
    if who.confirmed:
        ident = (await reached(where, _PACE)).engine
        if not ident:
            raise AgentFailed(Part.SILENT, f"nothing answers at {where}: no receiver of informs is there")
    engine = await shared()
    auth, to = auth_data(credential, ident), await target(where, _PACE)
    how = "inform" if who.confirmed else "trap"
    bound = [_bound(oid, value) for oid, value in said]
    wrong, status, _, _ = await send_notification(engine.snmp, auth, to, ContextData(), how, *bound, lookupMib=False)
    if wrong or status:
        raise AgentFailed(*said_of(wrong)) if wrong else AgentFailed(Part.NONSENSE, f"it answers with error {status}")


def _bound(oid: Oid, value: Value) -> Any:
    from pysnmp.proto.rfc1902 import ObjectIdentifier, OctetString, TimeTicks
    from pysnmp.smi.rfc1902 import ObjectIdentity, ObjectType

    kind = TimeTicks if isinstance(value, int) else OctetString if isinstance(value, bytes) else ObjectIdentifier
    return ObjectType(ObjectIdentity(oid), kind(value))
