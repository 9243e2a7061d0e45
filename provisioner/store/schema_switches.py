"""Tables of switches that can be asked, of ports that are switched off for a while, and of alarms told by SNMP.

Credentials are sealed. A power cycle has its row before anything is switched off, and ends when power was read back.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from provisioner.store.schema_people import COUNTER, metadata

switch = Table(
    "switch",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, ForeignKey("account.id"), nullable=False),
    Column("site", Text, ForeignKey("site.id"), index=True),  # NULL: of the whole account
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("port", Integer, nullable=False, server_default="161"),
    Column("rule", Text, nullable=False, server_default="auto"),
    Column("read", LargeBinary, nullable=False),
    Column("write", LargeBinary),
    Column("ports", Text, nullable=False, server_default="{}"),
    Column("created", Float, nullable=False),
    UniqueConstraint("account", "name"),
)
"""``rule``: how its PoE ports are numbered; ``ports``: those that an administrator has confirmed."""

_OPEN: Final = text("ended IS NULL AND switch <> ''")

power_cycle = Table(
    "power_cycle",
    metadata,
    Column("id", COUNTER, primary_key=True),
    Column("mac", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("switch", Text, nullable=False, server_default=""),  # empty until it is known
    Column("port", Text, nullable=False, server_default=""),
    Column("interface", BigInteger, nullable=False, server_default="0"),
    Column("poe", Text, nullable=False, server_default=""),
    Column("object", Text, nullable=False, server_default=""),
    Column("was", Integer, nullable=False, server_default="1"),
    Column("seconds", Float, nullable=False),
    Column("state", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("cause", Text, nullable=False, server_default=""),
    Column("asked_at", Float, nullable=False),
    Column("off_at", Float),
    Column("owner", Text, nullable=False, server_default=""),
    Column("lease", Float, nullable=False, server_default="0"),
    Column("ended", Float),
    Column("result", Text, nullable=False, server_default=""),
    Index("ix_power_cycle_mac", "mac", "id"),
    Index("ix_power_cycle_ended", "ended"),
    Index("ix_power_cycle_switch", "switch", "off_at"),
    Index("uq_power_cycle_open", "switch", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
)
"""``object`` was switched off, ``was`` is what it said before; ``lease``: until when the row is its owner's alone."""

power_policy = Table(
    "power_policy",
    metadata,
    Column("site", Text, ForeignKey("site.id", ondelete="CASCADE"), primary_key=True),
    Column("account", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Float, nullable=False),
)
"""Sites at which a phone that a resync does not reach may be switched off by itself."""

trap_tail = Table(
    "trap_tail",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("event", BigInteger, nullable=False),
)
"""One row: the event up to which alarms were put into the outbox for receivers of traps."""
