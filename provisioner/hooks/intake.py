"""What other systems post: proven, stored as it came, each message once, then applied, ignored or parked for a look.

Stored and settled are two steps, each durable: what was stored and never looked at is found again. An action and what
is noted of it are one transaction. Of one subject only what is newer than the last is applied.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from provisioner.errors import (
    BodyTooLarge,
    Conflict,
    Invalid,
    NobodyAnswers,
    NotSignedIn,
    ProvisionerError,
    StoreFailed,
)
from provisioner.hooks.actions import Actions
from provisioner.hooks.mapping import Action, Asked
from provisioner.hooks.orphans import acting_as, name_of, note_source, why_orphaned
from provisioner.hooks.signing import Proof, Scheme, new_secret, prove
from provisioner.hooks.sources import one_source, read_document, rules_of
from provisioner.settings import Settings
from provisioner.store import hook_inbox
from provisioner.store.database import Change, Store
from provisioner.store.hook_inbox import InboxState, Received, Source
from provisioner.store.joined import Joined, joined
from provisioner.vendor import VendorDriver

_SETTLES: Final = 30.0
"""s after which a message that nobody has looked at is taken up again."""
_DAY: Final = 86_400.0
_NOBODY: Final = new_secret(bytes(32))
"""Compared with what comes for a source that is not there, so that it takes as long."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A message as its sender hears of it."""

    message: Received
    again: bool
    """It was here already."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    state: InboxState
    why: str
    action: str = ""
    subject: str = ""
    occurred: float = 0.0


class Intake:
    """The server's own side of the inbox: no administrator's, so nobody's reach narrows it."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, VendorDriver],
        settings: Settings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._all = store
        self._drivers = drivers
        self._settings = settings
        self._clock = clock

    async def receive(
        self, name: str, headers: Mapping[str, str], body: bytes, admit: Callable[[str], None] = lambda _source: None
    ) -> Taken:
        """Take in what was posted; ``headers`` by their names in lower case. NotSignedIn unless the source made it.

        ``admit`` is asked with the name of a source that has proven itself, and may raise Throttled. NobodyAnswers, and
        nothing is kept, where whoever answered for the source is gone or may let no system post any more.
        """
        if len(body) > self._settings.webhook_body:
            raise BodyTooLarge(f"a message is at most {self._settings.webhook_body} bytes (webhook.body)")
        source, proof = await self._proven(name, headers, body)
        admit(source.name)
        await self._require_author(source)
        ident = proof.ident or _ident_in(source, body) or f"sha256:{hashlib.sha256(body).hexdigest()}"
        taken = await self._stored(source, ident, body)
        return taken if taken.again else Taken(await self.settle(taken.message.id), False)

    async def settle(self, ident: int) -> Received:
        """Look at a new message and do what it asks for; whatever it is, it is settled afterwards."""
        async with joined(self._all) as store:
            found = await hook_inbox.find_message(store.connection, ident)
            if found is None or found.state is not InboxState.NEW:
                raise Conflict(f"message {ident} is not new")
            source = await one_source(store.connection, found.source)
            body = await hook_inbox.read_message(store.connection, store.box, found)
            outcome = await self._outcome(store, source, found, body)
            if outcome.state is InboxState.PARKED:
                async with store.changing(name_of(source).actor, self._clock()) as change:
                    note_message(change, found, source, "hook_message_parked", "warning", outcome.why)
            return await hook_inbox.settle_message(
                store.connection, ident, outcome.state, self._clock(), outcome.why, action=outcome.action,
                subject=outcome.subject, occurred=outcome.occurred or found.received,
            )  # fmt: skip

    async def left_over(self) -> list[int]:
        """New messages that nobody has looked at for a while: settle each."""
        async with self._all.reading() as connection:
            return await hook_inbox.left_over(connection, self._clock() - _SETTLES)

    async def tidy(self) -> int:
        """Forget what came long ago; how many messages."""
        async with self._all.writing() as connection:
            return await hook_inbox.forget_messages(connection, self._clock() - self._settings.webhook_inbox * _DAY)

    # --- parts ------------------------------------------------------------------------------------------

    async def _proven(self, name: str, headers: Mapping[str, str], body: bytes) -> tuple[Source, Proof]:
        now, window = self._clock(), self._settings.webhook_window
        async with self._all.reading() as connection:
            source = await hook_inbox.find_source(connection, name)
            if source is None or source.name != name or not source.enabled:
                prove(Scheme.STANDARD, [_NOBODY], headers, body, now, window)
                raise NotSignedIn("no such source")
            secrets = await hook_inbox.source_secrets(connection, self._all.box, source.id, now)
        return source, prove(Scheme(source.scheme), secrets, headers, body, now, window)

    async def _require_author(self, source: Source) -> None:
        async with self._all.reading() as connection:
            why = await why_orphaned(connection, source, self._clock())
        if bool(why) != bool(source.orphaned):
            await note_source(self._all, source, self._clock())
        if why:
            raise NobodyAnswers(f"the source {source.name} is not listened to: {why}")

    async def _stored(self, source: Source, ident: str, body: bytes) -> Taken:
        now = self._clock()
        try:
            async with self._all.writing() as connection:
                known = await hook_inbox.find_ident(connection, source.id, ident)
                if known is None:
                    number = await hook_inbox.insert_message(connection, self._all.box, source, ident, body, now)
                    await hook_inbox.write_source(connection, source.id, {"last_at": now})
        except Conflict:  # the same message came at the same moment, on another connection
            async with self._all.reading() as connection:
                known = await hook_inbox.find_ident(connection, source.id, ident)
            if known is None:
                raise
        return Taken(known, True) if known else Taken(await self._found(number), False)

    async def _found(self, ident: int) -> Received:
        async with self._all.reading() as connection:
            found = await hook_inbox.find_message(connection, ident)
        assert found is not None, "it was just stored"
        return found

    async def _outcome(self, store: Joined, source: Source, found: Received, body: bytes) -> _Outcome:
        try:
            asked = rules_of(source.rules).understand(read_document(body))
            occurred = self._occurred(asked, found)
        except ProvisionerError as error:
            return _Outcome(InboxState.PARKED, error.cause)
        named = _Outcome(InboxState.IGNORED, "of no interest", asked.action, asked.subject, occurred)
        if asked.action is Action.IGNORE:
            return named
        try:
            principal = await acting_as(store.connection, source, asked.action, self._clock())
            async with store.writing():  # all that the action changes, or nothing
                actions = Actions(store, self._drivers, self._settings, source, principal, self._clock)
                for subject in await actions.subjects(asked):
                    if not await hook_inbox.is_newest(store.connection, source.account, subject, occurred):
                        raise _Older("something newer was applied to the same already")
                said = await actions.apply(asked)
        except _Older as error:
            return _Outcome(InboxState.IGNORED, error.cause, named.action, named.subject, occurred)
        except StoreFailed:
            raise
        except ProvisionerError as error:
            return _Outcome(InboxState.PARKED, error.cause, named.action, named.subject, occurred)
        return _Outcome(InboxState.APPLIED, said, named.action, named.subject, occurred)

    def _occurred(self, asked: Asked, found: Received) -> float:
        """When it happened: by the document, else when it came. A time to come would make all that follows old."""
        if asked.at is None:
            return found.received
        if asked.at > found.received + self._settings.webhook_window:
            raise Invalid("occurred_at", "is in the future: a clock is wrong, or the rule points elsewhere")
        return asked.at


class _Older(ProvisionerError):
    """Something newer came before it."""

    kind = "older"


def _ident_in(source: Source, body: bytes) -> str:
    """The sender's own id, where the rules know where it stands."""
    try:
        return rules_of(source.rules).ident(read_document(body))[:200]
    except Invalid:
        return ""


def note_message(
    change: Change, found: Received, source: Source, kind: str, severity: str = "info", reason: str = ""
) -> None:
    told = {"source": source.id, "name": source.name, "account": source.account, "message": str(found.id)}
    change.audit(kind, severity=severity, **told, **({"reason": reason[:200]} if reason else {}))
