"""Tables of the administration's programs: answers that may be asked for again, and bulk work with what came of it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text

from provisioner.store.schema_people import metadata

repeat: Final = Table(
    "repeat",
    metadata,
    Column("principal", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("at", Float, nullable=False, index=True),
    PrimaryKeyConstraint("principal", "key"),
)
"""What was answered to a call with an idempotency key, sealed: an answer may hold a secret that is told once.
``request`` is a digest of method, path and body; ``key`` a digest of the key."""

job: Final = Table(
    "job",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("account", Text, nullable=False, server_default=""),
    Column("principal", Text, nullable=False),
    Column("dry_run", Integer, nullable=False, server_default="0"),
    Column("total", Integer, nullable=False),
    Column("checked", Integer, nullable=False, server_default="0"),
    Column("done", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("created", Float, nullable=False),
    Column("ended", Float),
    Column("options", Text, nullable=False, server_default="{}"),
    Index("ix_job_state_created", "state", "created"),
)
"""Bulk work; ``principal`` is what its author may do (rights and reach, no secret), which bounds each of its rows.
``options`` is JSON: how it was asked for, by words."""

job_row: Final = Table(
    "job_row",
    metadata,
    Column("job", Text, ForeignKey("job.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("given", LargeBinary),
    Column("result", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("job", "number"),
    Index("ix_job_row_job_state", "job", "state", "number"),
)
"""``given`` is sealed, as a row may hold a SIP password; erased once the row is done with, or a day after a check."""
