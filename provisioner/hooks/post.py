"""One message to one endpoint: signed with what is valid now, logged, and what the answer means for the endpoint.

Whatever is not 2xx is tried again. Who says 410, or fails for days without one success, is disabled, which is an event:
what waits stays, and goes on when somebody enables it again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from provisioner.errors import NotNow, NotWanted, Undeliverable
from provisioner.hook_events import Told
from provisioner.hooks.signing import signed
from provisioner.hooks.target import parse_target
from provisioner.outbox import Told as Said
from provisioner.settings import Settings
from provisioner.store import hook_queue, hooks
from provisioner.store.database import Change, Store
from provisioner.store.hooks import Delivery, Hook
from provisioner.store.outbox import Message

if TYPE_CHECKING:
    from provisioner.hooks.wire import Answer, Wire

_LOG: Final = logging.getLogger("provisioner.server")
_GONE: Final = 410
_CROWDED: Final = frozenset({0, 429, 502, 503, 504})
"""The endpoint as a whole is away or wants rest; another status may be this message's own."""
_HOUR: Final = 3600.0
_SERVER: Final = "server"
_AGENT: Final = "provisioner-webhooks/1"


@dataclass(frozen=True, slots=True)
class Posted:
    """One attempt that was made."""

    delivery: Delivery
    answer: Answer


class HookPost:
    """Delivers; one for a process."""

    def __init__(self, store: Store, settings: Settings, wire: Wire, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._settings = settings
        self._wire = wire
        self._clock = clock

    async def deliver(self, message: Message, _payload: Mapping[str, str]) -> Said:
        """A message of the outbox; NotNow, NotWanted or Undeliverable say what is to become of it."""
        ident = message.kind.partition(".")[2]
        async with self._store.reading() as connection:
            found = next((one for one in await hooks.find_hooks(connection, ident) if one.id == ident), None)
            told = await hook_queue.read_told(connection, message.version)
        if found is None or told is None:
            raise NotWanted("the endpoint was removed" if found is None else "what it would tell is forgotten")
        if not found.enabled:
            raise NotNow("the endpoint is disabled", everybody=True, whom=_named(found))
        answer = (await self.post(found, told, message=message)).answer
        if answer.good:
            return {}
        if answer.status == _GONE:
            raise Undeliverable(answer.error)
        raise NotNow(answer.error, everybody=answer.status in _CROWDED, after=answer.after, whom=_named(found))

    async def post(self, hook: Hook, told: Told, *, message: Message | None = None) -> Posted:
        """One attempt, logged; a test (no message) changes nothing about the endpoint."""
        body, now, began = told.body(), self._clock(), time.monotonic()
        async with self._store.reading() as connection:
            secrets = await hooks.secrets_of(connection, self._store.box, hook.id, now)
        headers = signed(secrets, told.ident, int(now), body)
        headers |= {"Content-Type": "application/json", "User-Agent": _AGENT}
        answer = await self._wire.post(hook.url, body, headers, now)
        if answer.log:
            _LOG.warning("webhook %s: %s", hook.name, answer.log)
        attempt = message.attempts if message else 1
        delivery = Delivery(
            0, hook.id, message.id if message else 0, told.type, told.subject, told.version, attempt, now,
            answer.status, round((time.monotonic() - began) * 1000), self._outcome(answer, attempt), answer.error,
        )  # fmt: skip
        await self._note(hook, delivery, answer.good, counts=message is not None)
        return Posted(delivery, answer)

    def _outcome(self, answer: Answer, attempt: int) -> str:
        if answer.good:
            return "delivered"
        last = attempt >= self._settings.webhook_tries or answer.status == _GONE
        return "failed" if last else "retry"

    async def _note(self, hook: Hook, delivery: Delivery, good: bool, *, counts: bool) -> None:
        async with self._store.writing() as connection:
            found = [one for one in await hooks.find_hooks(connection, hook.id) if one.id == hook.id]
            if not found:  # removed meanwhile
                return
            await hooks.add_delivery(connection, delivery, hook.account, self._settings.webhook_log)
            if counts:
                await hooks.note_outcome(connection, hook.id, delivery.at, delivery.status, good)
        if counts and not good:
            await self._give_up(found[0], delivery)

    async def _give_up(self, hook: Hook, delivery: Delivery) -> None:
        """Disable who is gone, or has failed for so long that nobody seems to look."""
        since = delivery.at if hook.failing_since is None else hook.failing_since
        lasted = delivery.at - since
        if delivery.status == _GONE:
            why = "it answers 410: gone for good"
        elif hook.failures and lasted >= self._settings.webhook_patience * _HOUR:
            why = f"nothing was delivered for {lasted / _HOUR:.0f} h: {delivery.error}"
        else:
            return
        async with self._store.changing(_SERVER, self._clock()) as change:
            await disable(change, hook.id, why)


def _named(hook: Hook) -> str:
    """For the log; of the address the host alone, as its path may be a secret."""
    return f"webhook endpoint {hook.name!r} ({parse_target(hook.url).host}, {hook.id})"


async def disable(change: Change, ident: str, why: str) -> bool:
    """Call an endpoint no more, for a reason that everybody sees; whether it was enabled."""
    found = next((one for one in await hooks.find_hooks(change.connection, ident) if one.id == ident), None)
    if found is None or not found.enabled:
        return False
    await hooks.write_hook(change.connection, ident, {"enabled": False, "disabled_why": why[:200]})
    change.audit(
        "hook_disabled", severity="warning", hook=ident, name=found.name, account=found.account, reason=why[:200]
    )
    return True
