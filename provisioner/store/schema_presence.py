"""Tables of who is not heard of: a row a phone that is away, and one row that says since when this server listens."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, Table, Text, text

from provisioner.store.schema_people import metadata

_OFFLINE: Final = text("state = 'offline'")

absence: Final = Table(
    "absence",
    metadata,
    Column("mac", Text, ForeignKey("device.mac", ondelete="CASCADE"), primary_key=True),
    Column("place", Text, nullable=False, index=True),  # its site, or its account where it has none
    Column("state", Text, nullable=False),
    Column("seen", Float, nullable=False),
    Column("singly", Boolean, nullable=False),  # it was told by itself, not with its site
    sqlite_with_rowid=False,
)
"""Phones with a line that were told to be offline or lost, until they are heard of again."""
Index("ix_absence_offline", absence.c.seen, sqlite_where=_OFFLINE, postgresql_where=_OFFLINE)

watch: Final = Table(
    "watch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("since", Float, nullable=False),
    Column("beat", Float, nullable=False),
)
"""One row: since when the server has listened without a break, and when that was last known."""
