"""Tables of what can be taken back: what each change of a layer or a line was, and changes on their way to phones."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, PrimaryKeyConstraint, Table, Text, text

from provisioner.store.schema_people import metadata

layer_revision = Table(
    "layer_revision",
    metadata,
    Column("revision", BigInteger, nullable=False),
    Column("scope", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("at", Float, nullable=False, server_default="0"),
    Column("actor", Text, nullable=False, server_default=""),
    Column("reverts", BigInteger),  # the revision that this one took back
    Column("was_entries", Text, nullable=False),
    Column("was_raw", LargeBinary),
    Column("entries", Text, nullable=False),
    Column("raw", LargeBinary),
    PrimaryKeyConstraint("revision", "scope", "key"),
    Index("ix_layer_revision_scope_key", "scope", "key", "revision"),
    Index("ix_layer_revision_at", "at"),
)
"""Of the entries that a change touched: what they said before and say since; what is not there was not set."""

line_revision = Table(
    "line_revision",
    metadata,
    Column("revision", BigInteger, nullable=False),
    Column("mac", Text, nullable=False),
    Column("line", Integer, nullable=False),
    Column("at", Float, nullable=False, server_default="0"),
    Column("actor", Text, nullable=False, server_default=""),
    Column("was_extension", Text),
    Column("was_number", Text),
    Column("was_label", Text),
    Column("extension", Text),
    Column("number", Text),
    Column("label", Text),
    PrimaryKeyConstraint("revision", "mac", "line"),
    Index("ix_line_revision_mac", "mac", "revision"),
    Index("ix_line_revision_at", "at"),
)
"""What was on a line before a change and is since; no foreign keys, as both may be gone when somebody looks."""

rollout = Table(
    "rollout",
    metadata,
    Column("id", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("share", Integer, nullable=False),
    Column("step", Integer, nullable=False, server_default="1"),
    Column("phones", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("begun", Float, nullable=False),
    Column("since", Float, nullable=False),
    Column("lease", Float, nullable=False, server_default="0"),
    Column("campaign", Text, nullable=False, server_default=""),
    Column("why", Text, nullable=False, server_default=""),
    Column("ended", Float),
    Column("differ", BigInteger, nullable=False, server_default="0"),  # phones of the step that get other files
    Column("entries", Text),  # the layer as it was before; NULL where it was empty
    Column("raw", LargeBinary),
    Index("ix_rollout_begun", "begun"),
)
"""``share`` is in parts of 10,000; ``since`` when its step began, ``lease`` until when somebody works on it."""

_OPEN: Final = text("ended IS NULL")
Index(
    "uq_rollout_open",
    rollout.c.scope,
    rollout.c.key,
    unique=True,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)
"""A layer is rolled out once at a time."""
