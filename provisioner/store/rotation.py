"""A new master key without an outage: at every moment the key file holds each key that something is sealed with.

The new key is in the file, first and durable, before anything is sealed with it; the old one leaves the file after a
pass over everything has found nothing that it sealed. A crash at any point leaves a readable installation, and the next
call goes on where this one ended. Each batch is a short transaction that replaces only what is still as it was read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Column, LargeBinary, Row, Table, bindparam, func, select, tuple_, update

from provisioner.errors import StoreFailed
from provisioner.store import schema
from provisioner.store.codes import opened, sealed_for
from provisioner.store.database import Change, Store
from provisioner.store.secretbox import HEADER, drop_old_keys, rotate_key, rotating
from provisioner.store.tokens import count_open_before, revoke_open_before
from provisioner.store.uploads import UploadShelf
from provisioner.store.values import reseal_layer

_BATCH: Final = 200
"""Rows a transaction: a few milliseconds, so nobody who writes beside it waits long."""
_SETTLE: Final = 3.0
"""s somebody may go on with the old key in hand: an upload is sealed before its row is written."""
_PASSES: Final = 5
"""More mean that somebody still seals with an old key."""
_SLACK: Final = 60.0
"""s: a token opened so soon after the new key came may have been made with the old one."""


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A column of sealed values, and what each is bound to beside its table: row and field."""

    table: Table
    column: Column[Any]
    place: Callable[[Row[Any]], tuple[str, str]]

    @property
    def key(self) -> Sequence[Column[Any]]:
        return list(self.table.primary_key.columns)


_COLUMNS: Final = (
    _Sealed(schema.extension, schema.extension.c.secret, lambda row: (row.id, "secret")),
    _Sealed(schema.device, schema.device.c.digest_secret, lambda row: (row.mac, "digest_secret")),
    _Sealed(schema.last_body, schema.last_body.c.body, lambda row: (row.mac, row.file)),
    _Sealed(schema.repeat, schema.repeat.c.answer, lambda row: (row.key, row.principal)),
    _Sealed(schema.job_row, schema.job_row.c.given, lambda row: (row.job, str(row.number))),
    _Sealed(schema.outbox, schema.outbox.c.payload, lambda row: (str(row.id), "payload")),
    _Sealed(schema.hook, schema.hook.c.secret, lambda row: (row.id, "secret")),
    _Sealed(schema.hook, schema.hook.c.secret_before, lambda row: (row.id, "secret_before")),
    _Sealed(schema.hook_source, schema.hook_source.c.secret, lambda row: (row.id, "secret")),
    _Sealed(schema.hook_source, schema.hook_source.c.secret_before, lambda row: (row.id, "secret_before")),
    _Sealed(schema.hook_inbox, schema.hook_inbox.c.body, lambda row: (f"{row.source}/{row.ident}", "body")),
    _Sealed(schema.administrator, schema.administrator.c.totp, lambda row: (row.id, "totp")),
    _Sealed(schema.tls_secret, schema.tls_secret.c.sealed, lambda row: (f"{row.mac}/{row.random}", "lines")),
    _Sealed(schema.switch, schema.switch.c.read, lambda row: (row.id, "read")),
    _Sealed(schema.switch, schema.switch.c.write, lambda row: (row.id, "write")),
)


@dataclass(frozen=True, slots=True)
class _LayerAt:
    """Where a layer, or a part of one, is kept."""

    table: Table
    entries: str = "entries"
    raw: str = "raw"


_LAYERS: Final = (
    _LayerAt(schema.layer),
    _LayerAt(schema.layer_revision),
    _LayerAt(schema.layer_revision, "was_entries", "was_raw"),
    _LayerAt(schema.rollout),
)
_CODE: Final = schema.activation_code.c


@dataclass(slots=True)
class Rotated:
    """What a rotation has done."""

    new_key: bool = False
    """Whether a key was made; otherwise one that had begun earlier was gone on with."""
    resealed: int = 0
    unreadable: list[str] = field(default_factory=list)
    """What no key in the file opens: damaged before, and left as it is."""
    tokens: int = 0
    """Open token URLs that only the old key finds; while there are some it stays in the file."""
    tokens_until: float = 0.0
    finished: bool = False


class Rotation:
    """One run of it; ``actor`` stands in its events."""

    def __init__(self, store: Store, actor: str, settle: float = _SETTLE) -> None:
        self._store, self._box = store, store.box
        self._path = store.box.path
        self._actor = actor
        self._settle = settle
        self._told = Rotated()

    async def run(self, *, revoke_tokens: bool = False) -> Rotated:
        """Make a key, or go on with an unfinished rotation; Conflict when another runs."""
        with rotating(self._path):
            await self._begin()
            await self._reseal_all()
            await self._finish(revoke_tokens)
        return self._told

    async def _begin(self) -> None:
        self._box.follow()
        if len(self._box) == 1:
            rotate_key(self._path)
            self._box.follow()
            self._told.new_key = True
        # Changes wait for each other: whoever sealed with the old key before this one has written it when this returns.
        async with self._change() as change:
            change.audit("key_rotation_begun" if self._told.new_key else "key_rotation_resumed", severity="warning")

    def _change(self) -> AbstractAsyncContextManager[Change]:
        return self._store.changing(self._actor, time.time())

    async def _reseal_all(self) -> None:
        """Pass after pass until one finds nothing; the last begins when nobody holds the old key alone any more."""
        began = time.monotonic()
        for _ in range(_PASSES):
            if not await self._pass():
                if (left := began + self._settle - time.monotonic()) <= 0:
                    return
                await asyncio.sleep(left)
        raise StoreFailed(
            "something still seals with the old key, which stays in the key file: stop servers of an older version, "
            "then run this again"
        )

    async def _pass(self) -> int:
        """Seal again what an older key has sealed; how much that was."""
        self._told.unreadable.clear()
        before = self._told.resealed
        for one in _COLUMNS:
            async for rows in self._batches(one.table, one.key, _is_old(one.column, self._box.header)):
                await self._reseal_rows(one, rows)
        async for rows in self._batches(schema.activation_code, [_CODE.id], _is_old(_CODE.sealed, self._box.header)):
            await self._reseal_codes(rows)
        for spot in _LAYERS:
            async for rows in self._batches(spot.table, list(spot.table.primary_key.columns), None):
                await self._reseal_layers(spot, rows)
        async for rows in self._batches(schema.upload, list(schema.upload.primary_key.columns), None):
            await self._reseal_uploads(rows)
        return self._told.resealed - before

    async def _batches(self, table: Table, key: Sequence[Column[Any]], which: Any) -> AsyncIterator[Sequence[Row[Any]]]:
        """The rows in the order of their key, each batch read in a view of its own."""
        query = select(table).order_by(*key).limit(_BATCH)
        query = query if which is None else query.where(which)
        behind = query
        while True:
            async with self._store.reading() as connection:
                rows = (await connection.execute(behind)).all()
            if not rows:
                return
            yield rows
            last = [getattr(rows[-1], column.name) for column in key]
            behind = query.where(tuple_(*key) > tuple_(*last))

    async def _reseal_rows(self, one: _Sealed, rows: Sequence[Row[Any]]) -> None:
        name = one.column.name
        changes = []
        for row in rows:
            before, place = getattr(row, name), (one.table.name, *one.place(row))
            fresh = self._fresh(before, place)
            if fresh is not None:
                keys = {f"the_{column.name}": getattr(row, column.name) for column in one.key}
                changes.append(keys | {"before": before, "fresh": fresh})
        same = [column == bindparam(f"the_{column.name}") for column in one.key]
        query = update(one.table).where(*same, one.column == bindparam("before")).values({name: bindparam("fresh")})
        await self._write(query, changes)

    async def _reseal_codes(self, rows: Sequence[Row[Any]]) -> None:
        """A code is found by a hash under the key, so both columns change together.

        Codes that are over have no digits to make a new hash of: nobody finds them any more, as if they were forgotten.
        """
        changes = []
        for row in rows:
            try:
                sealed, finder = sealed_for(self._box, row.id, opened(self._box, row.id, row.sealed))
            except StoreFailed as error:
                self._told.unreadable.append(error.cause)
                continue
            changes.append({"the_id": row.id, "before": row.sealed, "fresh": sealed, "found": finder})
        query = update(schema.activation_code).where(
            _CODE.id == bindparam("the_id"), _CODE.sealed == bindparam("before")
        )
        await self._write(query.values(sealed=bindparam("fresh"), finder=bindparam("found")), changes)

    def _fresh(self, sealed: bytes, place: tuple[str, str, str]) -> bytes | None:
        try:
            return self._box.seal(self._box.open(sealed, *place), *place)
        except StoreFailed as error:
            self._told.unreadable.append(error.cause)
            return None

    async def _reseal_layers(self, spot: _LayerAt, rows: Sequence[Row[Any]]) -> None:
        changes = []
        for row in rows:
            entries, raw = getattr(row, spot.entries), getattr(row, spot.raw)
            try:
                fresh = None if entries is None else reseal_layer(row.scope, row.key, entries, raw, self._box)
            except StoreFailed as error:
                self._told.unreadable.append(error.cause)
                continue
            if fresh is not None:
                place = {f"the_{column.name}": getattr(row, column.name) for column in spot.table.primary_key}
                changes.append(place | {"before": entries, "was": raw, "fresh": fresh[0], "raw_": fresh[1]})
        columns = spot.table.c
        query = update(spot.table).where(
            *(column == bindparam(f"the_{column.name}") for column in spot.table.primary_key),
            columns[spot.entries] == bindparam("before"),
            columns[spot.raw].is_not_distinct_from(bindparam("was", type_=LargeBinary)),
        )
        values: dict[str, Any] = {spot.entries: bindparam("fresh"), spot.raw: bindparam("raw_")}
        await self._write(query.values(values), changes)

    async def _reseal_uploads(self, rows: Sequence[Row[Any]]) -> None:
        shelf = UploadShelf(self._store)
        for row in rows:
            try:
                self._told.resealed += await shelf.reseal(row.mac, row.name, row.owner)
            except StoreFailed as error:
                self._told.unreadable.append(error.cause)

    async def _write(self, query: Any, changes: list[dict[str, object]]) -> None:
        if changes:
            async with self._store.writing() as connection:
                await connection.execute(query, changes)
            self._told.resealed += len(changes)

    async def _finish(self, revoke_tokens: bool) -> None:
        """Let the old key go, unless open token URLs hang on it: of a token only a hash under its key is stored."""
        now, before = time.time(), self._path.stat().st_mtime + _SLACK
        async with self._change() as change:
            if revoke_tokens:
                count = await revoke_open_before(change.connection, before, now)
                change.audit("tokens_revoked", severity="warning", tokens=str(count), cause="key rotation")
            told = await count_open_before(change.connection, before, now)
            self._told.tokens, self._told.tokens_until = told
            if not self._told.tokens:
                change.audit("key_rotated", severity="warning", resealed=str(self._told.resealed))
        if not self._told.tokens:
            drop_old_keys(self._path)
            self._told.finished = True


def _is_old(column: Column[Any], header: bytes) -> Any:
    """Sealed by another key than the newest; sealed values begin with their key's id."""
    return func.substr(column, 1, HEADER, type_=LargeBinary) != header
