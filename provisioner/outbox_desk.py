"""Use-cases of the administrator: what waits to leave this server, what was given up, and what to do with it."""

from __future__ import annotations

from provisioner.desk import Desk, account_id
from provisioner.errors import Conflict, NotFound
from provisioner.outbox_states import TRANSITIONS, MessageEvent, MessageState
from provisioner.store import outbox
from provisioner.store.database import Change
from provisioner.store.outbox import Message


class OutboxDesk(Desk):
    """The outbox as administrators see it: never what a message says."""

    async def messages(
        self, *, state: MessageState | None = None, account: str = "", before: int = 0, limit: int = 1000
    ) -> list[Message]:
        """Messages, the newest first; ``before`` is the id of the last one of the page before."""
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            return await outbox.listed(connection, state, owner, before=before, limit=limit)

    async def message(self, ident: int) -> Message:
        """One message."""
        async with self._store.reading() as connection:
            found = await outbox.find(connection, ident)
        if found is None:
            raise NotFound(f"the outbox has no message {ident}")
        return found

    async def replay(self, ident: int) -> Message:
        """Send one that was given up, at once and with all its attempts anew."""
        async with self._change() as change:
            found = await self._fitting(change, ident, MessageEvent.REPLAY)
            if found.until <= change.at:
                raise Conflict(f"what message {ident} tells is over: nobody needs it any more")
            await outbox.replay(change.connection, ident, change.at)
            change.audit("message_replayed", **_named(found))
        return await self.message(ident)

    async def replay_all(self, kind: str, *, account: str = "") -> int:
        """Send all of a kind that were given up, as after a template or a mail server was mended; how many."""
        async with self._change() as change:
            owner = await account_id(change.connection, account)
            found = await outbox.replay_all(change.connection, kind, change.at, owner)
            if found:
                where = {"account": owner} if owner else {}
                change.audit("message_replayed", what=kind, messages=str(len(found)), **where)
        return len(found)

    async def drop(self, ident: int) -> Message:
        """Take one out that has not been sent; what it says is erased."""
        async with self._change() as change:
            found = await self._fitting(change, ident, MessageEvent.DROP)
            await outbox.drop(change.connection, ident, change.at, f"taken out by {change.actor}")
            change.audit("message_dropped", severity="warning", **_named(found))
        return await self.message(ident)

    async def _fitting(self, change: Change, ident: int, event: MessageEvent) -> Message:
        """The message, in a state in which this may happen to it."""
        found = await outbox.find(change.connection, ident)
        if found is None:
            raise NotFound(f"the outbox has no message {ident}")
        if event not in TRANSITIONS[found.state]:
            raise Conflict(f"message {ident} is {found.state}: {event} is not possible then")
        return found


def _named(one: Message) -> dict[str, str]:
    return {"message": str(one.id), "what": one.kind, "title": one.title}
