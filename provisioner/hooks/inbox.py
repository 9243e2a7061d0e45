"""Use-cases of the administrator: what other systems have posted, what needs a look, and what is to come of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from provisioner.desk import SettingsDesk, account_id
from provisioner.errors import Conflict, NotFound
from provisioner.hooks.intake import Intake, note_message
from provisioner.hooks.sources import one_source
from provisioner.rights import OPERATOR, Principal
from provisioner.settings import Settings
from provisioner.store import hook_inbox
from provisioner.store.database import Change, Store
from provisioner.store.hook_inbox import InboxState, Received
from provisioner.vendor import VendorDriver


class Inbox(SettingsDesk):
    """Messages of sources."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, VendorDriver],
        settings: Settings,
        *,
        actor: str = "",
        clock: Callable[[], float] = time.time,
        principal: Principal = OPERATOR,
    ) -> None:
        super().__init__(store, drivers, settings, actor=actor, clock=clock, principal=principal)
        self._intake = Intake(store, drivers, settings, clock)

    async def posted(
        self,
        *,
        source: str = "",
        state: InboxState | None = None,
        account: str = "",
        before: int = 0,
        limit: int = 200,
    ) -> list[Received]:
        """Messages, the newest first, behind the one with the id ``before``; those that are ``parked`` need a look."""
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            chosen = (await one_source(connection, source)).id if source else ""
            return await hook_inbox.list_messages(
                connection, source=chosen, state=state, account=owner, before=before, limit=limit
            )

    async def posted_message(self, ident: int) -> Received:
        """One message."""
        async with self._store.reading() as connection:
            found = await hook_inbox.find_message(connection, ident)
        if found is None:
            raise NotFound(f"there is no message {ident} in the inbox")
        return found

    async def posted_body(self, ident: int) -> bytes:
        """What it says, as it came."""
        found = await self.posted_message(ident)
        async with self._store.reading() as connection:
            return await hook_inbox.read_message(connection, self._store.box, found)

    async def replay_posted(self, ident: int) -> Received:
        """Try a parked message again, by the rules of today."""
        async with self._change() as change:
            found = await self._moved(change, ident, InboxState.NEW)
            source = await one_source(change.connection, found.source)
            note_message(change, found, source, "hook_message_replayed")
        return await self._intake.settle(ident)

    async def drop_posted(self, ident: int) -> Received:
        """Put a parked message aside: nothing is to come of it."""
        async with self._change() as change:
            found = await self._moved(change, ident, InboxState.DROPPED)
            source = await one_source(change.connection, found.source)
            note_message(change, found, source, "hook_message_dropped")
        return found

    # --- parts ------------------------------------------------------------------------------------------

    async def _moved(self, change: Change, ident: int, state: InboxState) -> Received:
        found = await hook_inbox.find_message(change.connection, ident)
        if found is None:
            raise NotFound(f"there is no message {ident} in the inbox")
        moved = await hook_inbox.move_message(change.connection, ident, [InboxState.PARKED], state)
        if moved is None:
            raise Conflict(f"message {ident} is {found.state}: only what is parked can be tried again or dropped")
        return moved
