"""Rows of the audit log: appended in the transaction of what they tell of, each bound to the one before.

Whoever appends holds the head's row until the transaction ends, so the chain has one order whoever writes. The head is
sealed where the master key is at hand, and its last state is kept in a file beside that key as well.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.audit_chain import PURPOSE, Head, Row, link, sealed
from provisioner.store import schema, schema_rights
from provisioner.store.hook_queue import tell
from provisioner.store.secretbox import SecretBox

_E: Final = schema.event.c
_H: Final = schema_rights.audit_head.c
_FIELDS: Final = (_E.seq, _E.at, _E.kind, _E.mac, _E.severity, _E.actor, _E.account, _E.details, _E.hash)
_PAGE: Final = 2000
FILE: Final = "audit.head"
"""Beside the master key: how long the chain was after the last change that was made on this machine."""
_HALF: Final = 512
"""Bytes of one state in it."""


async def hold(connection: AsyncConnection) -> Head:
    """Where the chain ends; nobody else appends until this transaction ends."""
    query = update(schema_rights.audit_head).values(seq=_H.seq)
    row = (await connection.execute(query.returning(_H.seq, _H.hash, _H.seal))).first()
    if row is None:
        raise RuntimeError("the audit log has no head: the database was emptied by hand")
    return Head(row.seq, row.hash, row.seal)


def nobody(_account: str) -> str:
    """In whose name somebody acts who acts in their own."""
    return ""


async def append(
    connection: AsyncConnection,
    rows: Sequence[Mapping[str, Any]],
    box: SecretBox | None = None,
    partner: Callable[[str], str] = nobody,
) -> Head:
    """Events (as ``event_row`` makes them) become the end of the chain; sealed where there is a box to do it.

    ``partner`` says in whose name an account is acted on: then an event names both.
    """
    head = await hold(connection)
    chained = []
    owners: dict[tuple[str, str], str] = {}
    for given in rows:
        about = (given["mac"], "") if given["mac"] else ("", given["details"])
        if not given["account"] and about not in owners:
            owners[about] = await _account_of(connection, given)
        account = given["account"] or owners[about]
        details = _with_partner(given["details"], partner(account) if account else "")
        row = Row(
            head.seq + 1, float(given["at"]), given["kind"], given["mac"], given["severity"], given["actor"], account,
            details,
        )  # fmt: skip
        head = Head(row.seq, link(head.hash, row), head.seal)
        more = {"at": row.at, "account": account, "details": details, "seq": row.seq, "hash": head.hash}
        chained.append({**given, **more})
    await connection.execute(insert(schema.event), chained)
    await tell(connection, chained)
    values: dict[str, object] = {"seq": head.seq, "hash": head.hash}
    if box is not None:
        head = replace(head, seal=sealed(box.derived(PURPOSE)[0], head))
        values |= {"seal": head.seal, "sealed_seq": head.seq, "sealed_hash": head.hash}
    await connection.execute(update(schema_rights.audit_head).values(values))
    return head


def _with_partner(details: str, partner: str) -> str:
    return json.dumps(json.loads(details) | {"partner": partner}, sort_keys=True) if partner else details


async def _account_of(connection: AsyncConnection, given: Mapping[str, Any]) -> str:
    """Whose account an event is about, where it does not say so itself; empty for what is nobody's."""
    if given["mac"]:
        return await _owner(connection, schema.device.c.account, schema.device.c.mac == given["mac"])
    told = json.loads(given["details"])
    for name, table in (("extension", schema.extension), ("user", schema.user), ("site", schema.site)):
        if told.get(name):
            return await _owner(connection, table.c.account, table.c.id == told[name])
    if told.get("scope") == "account":
        return str(told.get("key", ""))
    if told.get("scope") == "site":
        return await _owner(connection, schema.site.c.account, schema.site.c.id == told.get("key", ""))
    return ""


async def _owner(connection: AsyncConnection, column: ColumnElement[str], where: ColumnElement[bool]) -> str:
    return str((await connection.execute(select(column).where(where))).scalar_one_or_none() or "")


# --- reading ------------------------------------------------------------------------------------------


async def read_head(connection: AsyncConnection) -> tuple[Head, Head]:
    """Where the chain ends, and where it ended when it was sealed last."""
    row = (await connection.execute(select(schema_rights.audit_head))).first()
    if row is None:
        return Head(), Head()
    return Head(row.seq, row.hash), Head(row.sealed_seq, row.sealed_hash, row.seal)


async def pages(connection: AsyncConnection, after: int = 0) -> AsyncIterator[list[Row]]:
    """The chain in its order."""
    while True:
        query = select(*_FIELDS).where(_E.seq > after).order_by(_E.seq).limit(_PAGE)
        found = [Row(*row) for row in await connection.execute(query)]
        if not found:
            return
        yield found
        after = found[-1].seq


async def count_loose(connection: AsyncConnection) -> int:
    """Audit events that stand in no chain: written past this program."""
    query = select(func.count()).select_from(schema.event).where(_E.audit.is_(True), _E.seq.is_(None))
    return int((await connection.execute(query)).scalar_one())


def mark_of(uploads: Path) -> int:
    """Another number after each change that was made on this machine; costs no question to the database."""
    try:
        return uploads.with_name(FILE).stat().st_mtime_ns
    except OSError:
        return 0


def write_file(path: Path, head: Head) -> None:
    """Keep the head's last state, in turns in one half of the file and the other; a full disk keeps the one before.

    The half that is being written may be torn by a power cut: the other says what was so before. To put a new file in
    the place of the old one costs a disk 10 ms with every change.
    """
    line = json.dumps(asdict(head) | {"sum": _sum(head)}).encode("ascii").ljust(_HALF - 1) + b"\n"
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size != 2 * _HALF:
                os.pwrite(descriptor, line * 2, 0)
                os.ftruncate(descriptor, 2 * _HALF)
            else:
                os.pwrite(descriptor, line, head.seq % 2 * _HALF)
        finally:
            os.close(descriptor)


def read_file(path: Path) -> Head | None:
    """What is kept there, the later half of it; None when there is none. ValueError when neither is one of ours."""
    if not path.is_file():
        return None
    whole = path.read_bytes()
    summed = len(whole) == 2 * _HALF  # before there were halves a line was alone, and a rename kept it whole
    found = [head for line in whole.splitlines() if (head := _head_in(line, summed=summed)) is not None]
    if not found:
        raise ValueError(f"{path.name} holds nothing that can be read")
    return max(found, key=lambda one: one.seq)


def _head_in(line: bytes, *, summed: bool) -> Head | None:
    """One half of the file; None where it is torn."""
    try:
        told = json.loads(line.decode("ascii"))
        head = Head(int(told["seq"]), str(told["hash"]), str(told["seal"]))
    except (ValueError, KeyError, TypeError):
        return None
    return None if summed and told.get("sum") != _sum(head) else head


def _sum(head: Head) -> str:
    """Tells a half that was written whole; who forges one is found out by the seal."""
    return hashlib.sha256(f"{head.seq} {head.hash} {head.seal}".encode()).hexdigest()[:16]
