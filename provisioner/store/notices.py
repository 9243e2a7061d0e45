"""What the people that a site names have to hear of: noted with the change, taken by whoever writes the mails."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import Mac
from provisioner.store import schema
from provisioner.store.people import site_in
from provisioner.store.rows import Site

_S: Final = schema.site.c
_B: Final = schema.binding.c
_D: Final = schema.device.c
_E: Final = schema.extension.c
_U: Final = schema.user.c


class Unlocated(NamedTuple):
    """A line at a site from which help would be sent nowhere."""

    mac: Mac
    line: int
    number: str


async def waiting(connection: AsyncConnection, before: float, limit: int) -> list[str]:
    """Sites where something has waited to be told since before a time."""
    due = _S.notice != literal_column("''")  # the index's own condition
    query = select(_S.id).where(due, _S.notice_at <= before).order_by(_S.id).limit(limit)
    return list((await connection.execute(query)).scalars())


async def take(connection: AsyncConnection, site: str) -> str:
    """What it was; nothing waits there any more."""
    what = (await connection.execute(select(_S.notice).where(_S.id == site))).scalar_one_or_none() or ""
    await connection.execute(update(schema.site).where(_S.id == site).values(notice="", notice_at=None))
    return what


async def find_site(connection: AsyncConnection, ident: str) -> Site | None:
    """One site, by its id alone."""
    row = (await connection.execute(select(schema.site).where(_S.id == ident))).one_or_none()
    return None if row is None else site_in(row)


async def unlocated(connection: AsyncConnection, site: str, limit: int) -> tuple[list[Unlocated], int]:
    """Lines at a site without any address for emergencies, the first of them and how many there are."""
    query = (
        select(_B.mac, _B.line, _E.number, func.count().over().label("all"))
        .join(schema.device, _D.mac == _B.mac)
        .join(schema.extension, _E.id == _B.extension)
        .join(schema.user, _U.id == _E.user)
        .join(schema.site, _S.id == _D.site)
        .where(_D.site == site, _B.until.is_(None), _U.street == "", _S.street == "")
    )
    rows = (await connection.execute(query.order_by(_B.mac, _B.line).limit(limit))).all()
    return [Unlocated(Mac(row.mac), row.line, row.number) for row in rows], rows[0].all if rows else 0
