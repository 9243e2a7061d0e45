"""What devices have proven themselves with; part of the one schema, see ``schema``.

Certificates are public and so not sealed. They hang on no device by a foreign key: they are written in lossy batches.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Float, Index, LargeBinary, Table, Text

from provisioner.store import schema_people as who

metadata: Final = who.metadata

leaf = Table(
    "leaf",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("mac", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("issuers", Text, nullable=False, server_default=""),
    Column("der", LargeBinary, nullable=False),
    Index("ix_leaf_mac", "mac"),
    Index("ix_leaf_at", "at"),
)
"""A device's own certificate, once; ``issuers`` names the chain above it. ``at`` is when it first came."""

issuers = Table(
    "issuers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("pem", Text, nullable=False),
)
"""The CAs above leaves, from the issuing one to the anchor: a handful of rows that all devices share."""
