"""Rows of the profile listener: the one window in which it is open, and the cards of phones that came, bounded.

Who writes cards has no key of this installation: these functions take an engine or a connection, and no Store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from provisioner.capability import Card, merged, read, written
from provisioner.model import Mac
from provisioner.store import schema_cards
from provisioner.store.engine import writing

_W: Final = schema_cards.profile_window.c
_C: Final = schema_cards.profile_card.c
_ONLY: Final = 1
"""There is one window."""


@dataclass(frozen=True, slots=True)
class Window:
    """When the profile listener is open, and what has become of that."""

    number: int = 0
    """Openings so far."""
    opened_at: float = 0.0
    until: float = 0.0
    actor: str = ""
    ask: str = ""
    """``digest``: callers are asked for credentials, to see which scheme they know."""
    listening: str = ""
    """Address and port; empty while no server listens."""
    trouble: str = ""
    """Why none can."""

    def is_open(self, now: float) -> bool:
        """Whether callers are let in."""
        return self.opened_at <= now < self.until


async def read_window(connection: AsyncConnection) -> Window:
    """The latest; closed where there has never been one."""
    row = (await connection.execute(select(schema_cards.profile_window).where(_W.id == _ONLY))).one_or_none()
    if row is None:
        return Window()
    return Window(**{name: getattr(row, name) for name in Window.__slots__})


async def open_window(connection: AsyncConnection, window: Window) -> Window:
    """Put it in the place of the one before; as it was written."""
    before = await read_window(connection)
    made = replace(window, number=before.number + 1)
    values: dict[str, Any] = {name: getattr(made, name) for name in Window.__slots__}
    if before.number:
        await connection.execute(update(schema_cards.profile_window).where(_W.id == _ONLY).values(**values))
    else:
        await connection.execute(insert(schema_cards.profile_window).values(id=_ONLY, **values))
    return made


async def close_window(connection: AsyncConnection, now: float) -> bool:
    """End it; whether it was open."""
    done = await connection.execute(
        update(schema_cards.profile_window).where(_W.id == _ONLY, _W.until > now).values(until=now)
    )
    return bool(done.rowcount)


async def say_listening(connection: AsyncConnection, listening: str, trouble: str = "") -> None:
    """What has become of it."""
    await connection.execute(
        update(schema_cards.profile_window).where(_W.id == _ONLY).values(listening=listening, trouble=trouble)
    )


# --- cards --------------------------------------------------------------------------------------------


async def write_cards(engine: AsyncEngine, cards: Sequence[Card], most: int) -> None:
    """Add them to what is known of the same phones, and let go of those not seen for longest."""
    if not cards:
        return
    async with writing(engine) as connection:
        for card in cards:
            await _write(connection, card)
        await _shrink(connection, most)


async def _write(connection: AsyncConnection, card: Card) -> None:
    before = (await connection.execute(select(schema_cards.profile_card).where(_C.id == card.id))).one_or_none()
    if before is None:
        await connection.execute(insert(schema_cards.profile_card).values(**_values(card)))
        return
    known = _card(before)
    whole = replace(
        card,
        first=min(card.first, known.first),
        last=max(card.last, known.last),
        times=known.times + card.times,
        vendor=card.vendor or known.vendor,
        model=card.model or known.model,
        told=merged(known.told, card.told),
    )
    await connection.execute(update(schema_cards.profile_card).where(_C.id == card.id).values(**_values(whole)))


async def _shrink(connection: AsyncConnection, most: int) -> None:
    old = select(_C.id).order_by(_C.last_at.desc(), _C.id).offset(most)
    if gone := list((await connection.execute(old.limit(1000))).scalars()):
        await connection.execute(delete(schema_cards.profile_card).where(_C.id.in_(gone)))


async def list_cards(
    connection: AsyncConnection, *, mac: Mac | None = None, address: str = "", limit: int = 100
) -> list[Card]:
    """The one seen last first; of one Mac, proven or only said, or of whoever came from an address."""
    query = select(schema_cards.profile_card).order_by(_C.last_at.desc(), _C.id).limit(limit)
    if mac is not None:
        query = query.where(_C.mac == mac)
    if address:
        query = query.where(_C.address == address)
    return [_card(row) for row in await connection.execute(query)]


def _values(card: Card) -> dict[str, Any]:
    return {
        "id": card.id, "mac": card.mac, "proven": card.proven, "vendor": card.vendor, "model": card.model,
        "address": card.address, "first_at": card.first, "last_at": card.last, "times": card.times,
        "body": written(card.told),
    }  # fmt: skip


def _card(row: Any) -> Card:
    return Card(
        row.id, row.mac, bool(row.proven), row.vendor, row.model, row.address, row.first_at, row.last_at, row.times,
        read(row.body),
    )  # fmt: skip
