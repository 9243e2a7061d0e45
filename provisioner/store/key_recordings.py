"""Rows of recorded TLS secrets: whose are recorded until when, and the secrets, sealed for that one device.

Rule: a secret is written only in a transaction that has seen the recording which asks for it, and is read only before
it is to be gone, whether or not anybody has deleted it yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import Event, Mac
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.engine import is_sqlite, reading, writing
from provisioner.store.journal import write_events
from provisioner.store.secretbox import SecretBox

SERVER: Final = "server"
"""Who did it where it went by itself."""
_R: Final = schema.key_recording.c
_S: Final = schema.tls_secret.c


@dataclass(frozen=True, slots=True)
class Recording:
    """Of one device."""

    mac: Mac
    opened_at: float
    until: float
    gone_at: float
    """When its secrets are deleted."""
    actor: str
    connections: int = 0
    """Whose secrets there are."""

    def is_open(self, now: float) -> bool:
        """Whether there are more to come."""
        return self.opened_at <= now < self.until


class Wanted(NamedTuple):
    """What a worker has to know of the open one."""

    mac: str = ""
    until: float = 0.0
    pinned: str = ""
    """The key that the device is held to; empty before the first."""


class Secret(NamedTuple):
    """Of one connection; never shown."""

    random: str
    at: float
    sealed: bytes


def sealed(box: SecretBox, mac: str, random: str, lines: Sequence[str]) -> bytes:
    """Bound to the device and the connection: in another row it does not open."""
    return box.seal("\n".join(lines).encode("ascii"), schema.tls_secret.name, f"{mac}/{random}", "lines")


# --- workers ------------------------------------------------------------------------------------------


async def read_wanted(store: Store, now: float) -> Wanted:
    """The recording that is open; none: an empty one."""
    pin = schema.pin
    query = (
        select(_R.mac, _R.until, pin.c.spki)
        .select_from(schema.key_recording.outerjoin(pin, pin.c.mac == _R.mac))
        .where(_R.until > now)
        .order_by(_R.opened_at.desc())
    )
    async with reading(store.engine) as connection:
        row = (await connection.execute(query.limit(1))).one_or_none()
    return Wanted() if row is None else Wanted(row.mac, row.until, row.spki or "")


async def write_secrets(store: Store, mac: str, found: Sequence[Secret], *, most: int) -> int:
    """Those for which somebody still wants them; how many. Of so many that one recording may have."""
    upsert: Any = (sqlite if is_sqlite(store.url) else postgresql).insert
    async with writing(store.lossy) as connection:
        row = (
            await connection.execute(select(schema.key_recording).where(_R.mac == mac).with_for_update())
        ).one_or_none()
        if row is None:
            return 0
        count = await _count(connection, mac)
        good = [one for one in found if row.opened_at <= one.at < row.until][: max(most - count, 0)]
        if good:
            values = [{"mac": mac, "random": one.random, "at": one.at, "sealed": one.sealed} for one in good]
            await connection.execute(upsert(schema.tls_secret).on_conflict_do_nothing(), values)
    return len(good)


async def _count(connection: AsyncConnection, mac: str) -> int:
    return int((await connection.execute(select(func.count()).where(_S.mac == mac))).scalar_one())


# --- administrators -----------------------------------------------------------------------------------


async def list_recordings(connection: AsyncConnection, now: float, mac: Mac | None = None) -> list[Recording]:
    """Those of which something is left, the newest first."""
    counted = select(func.count()).where(_S.mac == _R.mac).correlate(schema.key_recording).scalar_subquery()
    query = select(schema.key_recording, counted.label("connections")).where(_R.gone_at > now)
    query = query if mac is None else query.where(_R.mac == mac)
    return [_recording(row) for row in await connection.execute(query.order_by(_R.opened_at.desc(), _R.mac))]


def _recording(row: Any) -> Recording:
    return Recording(Mac(row.mac), row.opened_at, row.until, row.gone_at, row.actor, row.connections)


async def open_recording(connection: AsyncConnection, one: Recording) -> None:
    """In the place of the device's former one; what that has is kept with it."""
    values = {"opened_at": one.opened_at, "until": one.until, "gone_at": one.gone_at, "actor": one.actor, "told": False}
    done = await connection.execute(update(schema.key_recording).where(_R.mac == one.mac).values(values))
    if not done.rowcount:
        await connection.execute(insert(schema.key_recording).values(mac=one.mac, **values))


async def close_recording(connection: AsyncConnection, mac: Mac, now: float, gone_at: float) -> bool:
    """Whether it was open."""
    which = update(schema.key_recording).where(_R.mac == mac, _R.until > now)
    return bool((await connection.execute(which.values(until=now, gone_at=gone_at, told=True))).rowcount)


async def delete_recording(connection: AsyncConnection, mac: str) -> tuple[bool, int]:
    """Whether there was one, and of how many connections it had secrets."""
    secrets = await connection.execute(delete(schema.tls_secret).where(_S.mac == mac))
    done = await connection.execute(delete(schema.key_recording).where(_R.mac == mac))
    return bool(done.rowcount), int(secrets.rowcount)


async def read_secrets(connection: AsyncConnection, mac: Mac, box: SecretBox) -> list[str]:
    """All lines, the newest connection last; StoreFailed where one is damaged."""
    rows = await connection.execute(select(schema.tls_secret).where(_S.mac == mac).order_by(_S.at, _S.random))
    found: list[str] = []
    for row in rows:
        opened = box.open(row.sealed, schema.tls_secret.name, f"{row.mac}/{row.random}", "lines")
        found.extend(opened.decode("ascii").splitlines())
    return found


# --- by itself ----------------------------------------------------------------------------------------


async def tidy(store: Store, now: float) -> int:
    """Tell what has ended, delete what is to be gone; of how many devices. Nothing is written where nothing is due."""
    over, gone = select(_R.mac).where(_R.until <= now, _R.told.is_(False)), select(_R.mac).where(_R.gone_at <= now)
    async with store.reading() as connection:
        if not (await _macs(connection, over)) and not (await _macs(connection, gone)):
            return 0
    async with store.writing() as connection:
        ended, dead = await _macs(connection, over), await _macs(connection, gone)
        told = [Event("key_recording_ended", now, one, actor=SERVER) for one in ended]
        await connection.execute(update(schema.key_recording).where(_R.mac.in_(ended)).values(told=True))
        for one in dead:
            _, count = await delete_recording(connection, one)
            told.append(Event("key_recording_deleted", now, one, actor=SERVER, details={"connections": str(count)}))
        await write_events(connection, told, audit=True)
    return len(dead)


async def _macs(connection: AsyncConnection, query: Select[Any]) -> list[str]:
    return [str(one) for one in (await connection.execute(query)).scalars()]
