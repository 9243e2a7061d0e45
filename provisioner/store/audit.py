"""Rows of the audit log: appended in the transaction of what they tell of, each bound to the one before.

Whoever appends holds the head's row until the transaction ends, so the chain has one order whoever writes. The head is
sealed where the master key is at hand, and its last state is kept in a file beside that key as well.
"""

from __future__ import annotations

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
    for given in rows:
        account = given["account"] or await _account_of(connection, given)
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


def write_file(path: Path, head: Head) -> None:
    """Keep the head's last state; a disk that is full or read-only keeps the one before."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        fresh.write_text(json.dumps(asdict(head)) + "\n", encoding="ascii")
        fresh.chmod(0o600)
        fresh.replace(path)


def read_file(path: Path) -> Head | None:
    """What is kept there; None when there is none. ValueError when it is none of ours."""
    if not path.is_file():
        return None
    told = json.loads(path.read_text(encoding="ascii"))
    try:
        return Head(int(told["seq"]), str(told["hash"]), str(told["seal"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} lacks {error}") from None
