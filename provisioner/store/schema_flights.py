"""What was on each connection of devices, in rings; part of the one schema, see ``schema``.

Nothing hangs on a device by a foreign key: rows are written in lossy batches. No secret is among them.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from provisioner.store import schema_people as who

metadata: Final = who.metadata
_CLAIMED: Final = text("claimed <> ''")
_FROM: Final = text("address <> ''")

flight_head = Table(
    "flight_head",
    metadata,
    Column("mac", Text, primary_key=True),
    Column("good", BigInteger, nullable=False, server_default="0"),
    Column("trouble", BigInteger, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)
"""How many of each kind a device has had: where the next one goes in its ring. Strangers are one, without a Mac."""

flight = Table(
    "flight",
    metadata,
    Column("mac", Text, nullable=False),  # empty: no known device has proven itself
    Column("slot", Integer, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    Column("trouble", Boolean, nullable=False),
    Column("label", Text, nullable=False),
    Column("claimed", Text, nullable=False, server_default=""),  # of a stranger, the Mac that he claims
    Column("address", Text, nullable=False, server_default=""),  # of a stranger
    Column("model", Text, nullable=False, server_default=""),  # of a stranger, as claimed
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("mac", "slot"),
    Index("ix_flight_claimed", "claimed", sqlite_where=_CLAIMED, postgresql_where=_CLAIMED),
    Index("ix_flight_address", "address", sqlite_where=_FROM, postgresql_where=_FROM),
    Index("ix_flight_trouble", "at", sqlite_where=text("trouble = 1"), postgresql_where=text("trouble")),
    Index("ix_flight_good", "at", sqlite_where=text("trouble = 0"), postgresql_where=text("NOT trouble")),
    sqlite_with_rowid=False,
)
"""Records in rings: a slot that comes round again is written over, so nothing has to be cleared away."""

refusal = Table(
    "refusal",
    metadata,
    Column("id", Text, primary_key=True),
    Column("verdict", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("times", BigInteger, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("macs", Text, nullable=False),
    Column("addresses", Text, nullable=False),
    Column("models", Text, nullable=False),
    Column("silenced", Text, nullable=False, server_default="{}"),
)
"""Certificates that opened nothing, by issuer and verdict; of each group the longest chain that came."""
