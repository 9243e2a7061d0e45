"""TLS secrets of one device, recorded for a while; part of the one schema, see ``schema``. They are sealed.

Nothing hangs by a foreign key: workers write in lossy batches, which ask in their transaction whether they still may.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Float, LargeBinary, PrimaryKeyConstraint, Table, Text, false

from provisioner.store.schema_people import metadata

key_recording: Final = Table(
    "key_recording",
    metadata,
    Column("mac", Text, primary_key=True),
    Column("opened_at", Float, nullable=False),
    Column("until", Float, nullable=False),
    Column("gone_at", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("told", Boolean, nullable=False, server_default=false()),
)
"""One a device: until when its secrets are recorded, and when they are deleted; ``told``: that it has ended."""

tls_secret: Final = Table(
    "tls_secret",
    metadata,
    Column("mac", Text, nullable=False),
    Column("random", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("mac", "random"),
    sqlite_with_rowid=False,
)
"""One a connection, by the random of its ClientHello; lines of a key log."""
