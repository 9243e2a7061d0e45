"""What phones can do, and while it is looked at; part of the one schema, see ``schema``. No secret is among it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, Table, Text

from provisioner.store.schema_people import metadata

profile_window: Final = Table(
    "profile_window",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("until", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("ask", Text, nullable=False, server_default=""),
    Column("listening", Text, nullable=False, server_default=""),
    Column("trouble", Text, nullable=False, server_default=""),
)
"""One row: until when the profile listener is open, by whom, and where it listens or why it cannot."""

profile_card: Final = Table(
    "profile_card",
    metadata,
    Column("id", Text, primary_key=True),
    Column("mac", Text, nullable=False),
    Column("proven", Boolean, nullable=False),
    Column("vendor", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("times", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_profile_card_mac", "mac"),
    Index("ix_profile_card_last", "last_at"),
)
"""A card a phone: hangs on no device, for most of those that are looked at are nobody's yet."""
