"""Use-cases of the administrator: webhook endpoints, who is told what, what came of it, and sending it again."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.desk import SettingsDesk, account_id, text_of
from provisioner.errors import Conflict, Invalid, NotFound
from provisioner.hook_events import PING, Told, checked
from provisioner.hooks.orphans import author_in
from provisioner.hooks.post import HookPost, disable
from provisioner.hooks.signing import Scheme, check_secret, new_secret
from provisioner.hooks.target import parse_target, refusal
from provisioner.networks import allow_list
from provisioner.rights import Right
from provisioner.store import hook_queue, hooks, people, schema
from provisioner.store.database import Change
from provisioner.store.hooks import Delivery, Hook

_HOUR: Final = 3600.0
_SECRET: Final = 32
MOST_HOOKS: Final = 100
"""Endpoints of an account: each is looked at with every change."""


@dataclass(frozen=True, slots=True)
class MadeHook:
    """An endpoint and its secret, which is told this once."""

    about: Hook
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HookState:
    """An endpoint, and what waits for it."""

    about: Hook
    waiting: int
    dead: int
    last_error: str = ""
    """Why its last message was not delivered; empty where it was, or none was tried."""


class Hooks(SettingsDesk):
    """Endpoints."""

    async def add_hook(
        self, url: str, *, account: str = "", name: str = "", events: Sequence[str] = (), secret: str = ""
    ) -> MadeHook:
        """Tell this address what happens from now on, in one account or (empty) in all of them."""
        self._check_url(url)
        wanted = checked(list(events))
        told = check_secret(Scheme.STANDARD, secret) if secret else new_secret(os.urandom(_SECRET))
        if not account:
            self._require_all(Right.HOOK_WRITE)
        async with self._change() as change:
            owner = await account_id(change.connection, account)
            name = text_of("name", name or parse_target(url).host)
            present = await hooks.list_hooks(change.connection, owner)
            if len(present) >= MOST_HOOKS:
                raise Conflict(f"there are {MOST_HOOKS} endpoints already: remove one first")
            if any(one.name == name and one.account == owner for one in present):
                raise Conflict(f"there is an endpoint {name!r} already: give this one another name")
            made = Hook(
                people.new_id(), owner, name, url, wanted, True, "", 0.0, change.at, None, 0, None, 0,
                **author_in(self._principal, self._actor),
            )  # fmt: skip
            await hook_queue.begin_tail(change.connection)
            sealed = self._store.box.seal(told.encode(), "hook", made.id, "secret")
            await hooks.insert_hook(change.connection, made, sealed)
            change.audit("hook_added", hook=made.id, name=name, host=parse_target(url).host, account=owner)
        return MadeHook(made, told)

    async def hooks(self, *, account: str = "") -> list[HookState]:
        """Endpoints by name, and what waits for each."""
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            found = await hooks.list_hooks(connection, owner)
            idents = [one.id for one in found]
            states = await hooks.count_states(connection, idents)
            errors = await hooks.last_errors(connection, idents)
        return [_state(one, states[one.id], errors) for one in found]

    async def hook(self, ref: str) -> HookState:
        """One endpoint, by id, name or address."""
        async with self._store.reading() as connection:
            found = await self._one(connection, ref)
            errors = await hooks.last_errors(connection, [found.id])
            return _state(found, (await hooks.count_states(connection, [found.id]))[found.id], errors)

    async def change_hook(
        self, ref: str, *, url: str | None = None, name: str | None = None, events: Sequence[str] | None = None
    ) -> HookState:
        """Another address, name or choice of events; what waits goes to the new address."""
        values: dict[str, object] = {}
        if url is not None:
            self._check_url(url)
            values["url"] = url
        if name is not None:
            values["name"] = text_of("name", name)
        if events is not None:
            values["events"] = checked(list(events))
        if not values:
            raise Invalid("hook", "say at least one of url, name, events")
        async with self._change() as change:
            found = await self._one(change.connection, ref)
            if url not in {None, found.url}:  # whoever says where to answers for it
                values |= author_in(self._principal, self._actor)
            await hooks.write_hook(change.connection, found.id, values)
            _note(change, found, "hook_changed", changed=", ".join(sorted(values)))
        return await self.hook(found.id)

    async def enable_hook(self, ref: str) -> HookState:
        """Call it again; what has waited goes out now, what happened meanwhile was told to nobody.

        Whoever does this answers for it from now on, also where it was called all the time.
        """
        async with self._change() as change:
            found = await self._one(change.connection, ref)
            await hook_queue.begin_tail(change.connection)
            fresh: dict[str, object] = {"enabled": True, "disabled_why": "", "failing_since": None, "failures": 0}
            await hooks.write_hook(change.connection, found.id, fresh | author_in(self._principal, self._actor))
            if found.orphaned:
                _note(change, found, "hook_answered_for")
            if not found.enabled:
                _note(change, found, "hook_enabled")
        return await self.hook(found.id)

    async def disable_hook(self, ref: str) -> HookState:
        """Do not call it, and note nothing further for it; what waits stays for two weeks."""
        async with self._change() as change:
            found = await self._one(change.connection, ref)
            await disable(change, found.id, f"disabled by {change.actor}")
        return await self.hook(found.id)

    async def rotate_hook(self, ref: str) -> MadeHook:
        """A new secret, told once; for a while the old one signs as well."""
        fresh = new_secret(os.urandom(_SECRET))
        async with self._change() as change:
            found = await self._one(change.connection, ref)
            until = change.at + self._settings.webhook_overlap * _HOUR
            await hooks.rotate_secret(change.connection, self._store.box, found.id, fresh, until)
            _note(change, found, "hook_rotated", severity="warning")
        return MadeHook((await self.hook(found.id)).about, fresh)

    async def remove_hook(self, ref: str) -> Hook:
        """Forget it, with its log and what waits for it."""
        async with self._change() as change:
            found = await self._one(change.connection, ref)
            await hooks.delete_hook(change.connection, found.id)
            _note(change, found, "hook_removed")
        return found

    async def ping_hook(self, ref: str) -> Delivery:
        """Send it a signed ``ping`` now, enabled or not, and say what it answered."""
        from provisioner.hooks.wire import Wire  # an HTTP client's weight is not every use-case's

        async with self._store.reading() as connection:
            found = await self._one(connection, ref)
        post = HookPost(self._store, self._settings, Wire(self._settings), self._clock)
        return (await post.post(found, _ping(found, 0, self._clock(), self._actor))).delivery

    async def queue_ping(self, ref: str) -> HookState:
        """Have the server send it a ``ping`` as it sends everything else; the log says what came of it."""
        async with self._change() as change:
            found = await self._one(change.connection, ref)
            if not found.enabled:
                raise Conflict(f"endpoint {found.name!r} is disabled: enable it first")
            version = await hook_queue.count_up(change.connection, 1)
            told = _ping(found, version, change.at, change.actor)
            await hook_queue.write_told(change.connection, [told])
            message = hook_queue.message_to(found.id, found.account, told)
            await change.connection.execute(insert(schema.outbox).values(**message))
            _note(change, found, "hook_tested")
        return await self.hook(found.id)

    async def deliveries(self, ref: str, *, before: int = 0, limit: int = 100, message: int = 0) -> list[Delivery]:
        """Attempts, the newest first; ``before`` is the id of the last one of the page before."""
        if not 1 <= limit <= 500:
            raise Invalid("limit", "must be from 1 to 500")
        async with self._store.reading() as connection:
            found = await self._one(connection, ref)
            return await hooks.list_deliveries(connection, found.id, before=before, limit=limit, message=message)

    async def replay_hook(self, ref: str, *, message: int = 0) -> int:
        """Send again what was given up, all of it or one message, with all attempts anew; how many messages."""
        async with self._change() as change:
            found = await self._one(change.connection, ref)
            count = await hooks.replay_dead(change.connection, found.id, change.at, message)
            if message and not count:
                raise NotFound(f"endpoint {found.name!r} has no dead letter {message}")
            _note(change, found, "hook_replayed", messages=str(count))
        return count

    # --- parts ------------------------------------------------------------------------------------------

    def _check_url(self, url: str) -> None:
        """What can be judged before anybody is asked for the name's addresses; the rest is, with each delivery."""
        target, allow = parse_target(url), allow_list("webhook.allow", self._settings.webhook_allow)
        if target.literal is not None and (why := refusal(target.literal, target.scheme, allow)):
            raise Invalid("url", why)
        if target.literal is None and target.scheme != "https" and not allow:
            raise Invalid("url", "must begin with https://; http is for networks in webhook.allow")

    async def _one(self, connection: AsyncConnection, ref: str) -> Hook:
        found = await hooks.find_hooks(connection, ref)
        found = [one for one in found if one.id == ref] or found
        found = found or [one for one in await hooks.list_hooks(connection) if one.url == ref]
        if not found:
            raise NotFound(f"there is no webhook endpoint {ref!r}")
        if len(found) > 1:
            raise Conflict(f"{ref!r} may mean {len(found)} endpoints: give the id, one of {_listed(found)}")
        return found[0]


def _listed(found: Sequence[Hook]) -> str:
    return ", ".join(one.id for one in found)


def _state(one: Hook, counted: Mapping[str, int], errors: Mapping[str, str]) -> HookState:
    waiting = counted.get("queued", 0) + counted.get("sending", 0)
    return HookState(one, waiting, counted.get("dead", 0), errors.get(one.id, ""))


def _ping(hook: Hook, version: int, at: float, actor: str) -> Told:
    return Told(
        version, PING, at, f"hook:{hook.id}", hook.account, actor, {"hook": hook.id, "name": hook.name},
        secrets.token_hex(8),
    )  # fmt: skip


def _note(change: Change, hook: Hook, kind: str, *, severity: str = "info", **details: str) -> None:
    change.audit(kind, severity=severity, hook=hook.id, name=hook.name, account=hook.account, **details)
