"""Answers to calls with an idempotency key, kept for a day: a repeat gets the same, however often it comes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import KeyReused
from provisioner.store import schema_api
from provisioner.store.secretbox import SecretBox

KEPT: Final = 86_400.0
"""s."""
_R: Final = schema_api.repeat.c


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it went out."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked under which key, and a digest of what was asked."""

    principal: str
    key: str
    request: str


async def find_repeat(connection: AsyncConnection, box: SecretBox, asked: Asked, now: float) -> Kept | None:
    """What was answered to this before; KeyReused when that was another request."""
    query = select(_R.request, _R.status, _R.answer).where(_R.principal == asked.principal, _R.key == asked.key)
    row = (await connection.execute(query.where(_R.at > now - KEPT))).one_or_none()
    if row is None:
        return None
    if row.request != asked.request:
        raise KeyReused("this Idempotency-Key came with another request before: a key is for one request")
    head, _, body = box.open(row.answer, "repeat", asked.key, asked.principal).partition(b"\n")
    return Kept(row.status, tuple((name, value) for name, value in json.loads(head)), body)


async def keep_answer(connection: AsyncConnection, box: SecretBox, asked: Asked, kept: Kept, now: float) -> None:
    """Part of the transaction that did what was asked."""
    await connection.execute(
        delete(schema_api.repeat).where(_R.principal == asked.principal, _R.key == asked.key)
    )  # one that is over
    plain = json.dumps(kept.headers).encode() + b"\n" + kept.body
    values = {
        "principal": asked.principal, "key": asked.key, "request": asked.request, "status": kept.status,
        "answer": box.seal(plain, "repeat", asked.key, asked.principal), "at": now,
    }  # fmt: skip
    await connection.execute(insert(schema_api.repeat).values(values))


async def forget_repeats(connection: AsyncConnection, now: float) -> int:
    """Drop what is over; how many."""
    return (await connection.execute(delete(schema_api.repeat).where(_R.at <= now - KEPT))).rowcount
