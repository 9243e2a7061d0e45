"""Use-cases of the administrator: systems that may post to this server, their secrets, the rules they are read by."""

from __future__ import annotations

import json
import os
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.desk import SettingsDesk, account_id, account_of, matching
from provisioner.errors import Conflict, Forbidden, Invalid, NotFound
from provisioner.hooks.mapping import Asked, MappingError, Rules, load_rules
from provisioner.hooks.orphans import author_in
from provisioner.hooks.paths import Json
from provisioner.hooks.signing import Scheme, check_secret, new_secret
from provisioner.rights import Right
from provisioner.store import hook_inbox, people
from provisioner.store.database import Change
from provisioner.store.hook_inbox import Source

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_HOUR: Final = 3600.0
MOST_DEEP: Final = 64
"""Lists and objects in each other; json's own limit depends on what called it."""


@dataclass(frozen=True, slots=True)
class MadeSource:
    """A source and its secret, which is told this once."""

    about: Source
    secret: str = field(repr=False)


def rules_of(text: str) -> Rules:
    """The rules; Invalid says what is wrong with them."""
    try:
        return load_rules(text)
    except MappingError as error:
        raise Invalid("rules", str(error)) from None


def read_document(body: bytes) -> Json:
    """What was posted; Invalid when it is no JSON that could be meant."""
    try:
        text = body.decode("utf-8")
        found: Json = json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid("body", "is no JSON in UTF-8") from None
    if _depth(found) > MOST_DEEP:
        raise Invalid("body", f"has more than {MOST_DEEP} lists and objects in each other")
    return found


def _depth(document: Json) -> int:
    layer, depth = [document], 0
    while layer and depth <= MOST_DEEP:
        depth += 1
        inside = (one.values() if isinstance(one, dict) else one for one in layer if isinstance(one, (dict, list)))
        layer = [value for values in inside for value in values]
    return depth


class Sources(SettingsDesk):
    """Sources; each acts on one account, and on nothing beyond."""

    async def add_source(
        self, name: str, *, account: str, scheme: Scheme = Scheme.STANDARD, rules: str, secret: str = ""
    ) -> MadeSource:
        """A system that may post to /hooks/in/NAME from now on."""
        self._require_person()
        matching("name", name, _NAME, "a to z, 0 to 9 and -, at most 63")
        rules_of(rules)
        told = check_secret(scheme, secret) if secret else _fresh(scheme)
        async with self._change() as change:
            owner = (await account_of(change.connection, account)).id
            if await hook_inbox.find_source(change.connection, name) is not None:
                raise Conflict(f"there is a source {name!r} already")
            made = Source(
                people.new_id(), name, owner, scheme.value, rules, True, 0.0, change.at, None,
                **author_in(self._principal, self._actor),
            )  # fmt: skip
            sealed = self._store.box.seal(told.encode(), "hook_source", made.id, "secret")
            await hook_inbox.insert_source(change.connection, made, sealed)
            _note(change, made, "hook_source_added")
        return MadeSource(made, told)

    async def sources(self, *, account: str = "") -> list[Source]:
        """Sources by name."""
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            return await hook_inbox.list_sources(connection, owner)

    async def source(self, ref: str) -> Source:
        """One source."""
        async with self._store.reading() as connection:
            return await one_source(connection, ref)

    async def change_source(self, ref: str, *, rules: str | None = None, enabled: bool | None = None) -> Source:
        """Other rules, or no more posting for now; what is parked can be tried again by the new ones.

        Whoever gives it rules or lets it post answers for it from now on: it acts with their rights and reach.
        """
        if rules is None and enabled is None:
            raise Invalid("source", "say at least one of rules, enabled")
        values: dict[str, object] = {}
        if rules is not None:
            self._require_person()
            rules_of(rules)
            values["rules"] = rules
        if enabled is not None:
            values["enabled"] = enabled
        async with self._change() as change:
            found = await one_source(change.connection, ref)
            told = ", ".join(sorted(values))
            if rules is not None or (enabled and not self._principal.is_key):
                values |= self._answer(change, found)
            await hook_inbox.write_source(change.connection, found.id, values)
            _note(change, found, "hook_source_changed", changed=told)
        return await self.source(found.id)

    async def rotate_source(self, ref: str, *, secret: str = "") -> MadeSource:
        """A new secret, told once; for a while the old one is taken as well.

        Whoever makes it could post with it, and so answers for the source from now on.
        """
        self._require_person()
        async with self._change() as change:
            found = await one_source(change.connection, ref)
            scheme = Scheme(found.scheme)
            fresh = check_secret(scheme, secret) if secret else _fresh(scheme)
            until = change.at + self._settings.webhook_overlap * _HOUR
            await hook_inbox.rotate_source(change.connection, self._store.box, found.id, fresh, until)
            await hook_inbox.write_source(change.connection, found.id, self._answer(change, found))
            _note(change, found, "hook_source_rotated", severity="warning")
        return MadeSource(await self.source(found.id), fresh)

    async def remove_source(self, ref: str) -> Source:
        """Forget it with all that it has posted."""
        async with self._change() as change:
            found = await one_source(change.connection, ref)
            await hook_inbox.delete_source(change.connection, found.id)
            _note(change, found, "hook_source_removed", severity="warning")
        return found

    def _answer(self, change: Change, found: Source) -> dict[str, str]:
        if found.orphaned:
            _note(change, found, "hook_source_answered_for")
        return author_in(self._principal, self._actor)

    def _require_person(self) -> None:
        """A source outlives the key of the API that made it, and may be given more than that key may do."""
        if self._principal.is_key:
            raise Forbidden("a key lets no system post: sign in", right=Right.HOOK_WRITE.value)

    async def try_source(self, ref: str, document: bytes) -> Asked:
        """What the source's rules make of a document; nothing is done."""
        return rules_of((await self.source(ref)).rules).understand(read_document(document))


def _fresh(scheme: Scheme) -> str:
    return new_secret(os.urandom(32)) if scheme is Scheme.STANDARD else secrets.token_urlsafe(32)


async def one_source(connection: AsyncConnection, ref: str) -> Source:
    """The source with this id or name."""
    found = await hook_inbox.find_source(connection, ref)
    if found is None:
        raise NotFound(f"there is no source {ref!r}")
    return found


def _note(change: Change, source: Source, kind: str, *, severity: str = "info", **details: str) -> None:
    change.audit(kind, severity=severity, source=source.id, name=source.name, account=source.account, **details)
