"""Tables of webhooks: endpoints that are called and what they are told; sources that call, and what they have posted.

Secrets are sealed. What is told stands once in ``hook_event``, however many endpoints hear it: it is no secret, as
events hold none. The rest of the schema, and all of it by name, stands in ``schema``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    true,
)

from provisioner.store.schema_people import COUNTER, metadata

hook = Table(
    "hook",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, ForeignKey("account.id", ondelete="CASCADE"), index=True),  # NULL: every account
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),  # filters, blanks between them
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("disabled_why", Text, nullable=False, server_default=""),
    Column("secret", LargeBinary, nullable=False),
    Column("secret_before", LargeBinary),
    Column("before_until", Float, nullable=False, server_default="0"),
    Column("created", Float, nullable=False),
    Column("failing_since", Float),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("last_at", Float),
    Column("last_status", Integer, nullable=False, server_default="0"),
    Column("author", Text, nullable=False, server_default=""),
    Column("administrator", Text, nullable=False, server_default=""),
    Column("api_key", Text, nullable=False, server_default=""),
    Column("orphaned", Text, nullable=False, server_default=""),
)
"""``failures`` in a row since ``failing_since``; a success clears both. ``administrator`` and ``api_key``: by whose
right it is there, both empty where that is the machine's own; no foreign keys, as it may outlive them. ``orphaned``:
why that right is gone."""

hook_clock = Table(
    "hook_clock",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("tail", BigInteger, nullable=False),
)
"""One row. Who tells something counts ``version`` up and holds the row until it is durable, so versions and messages
have one order. ``tail``: up to which event of devices everything was told."""

hook_event = Table(
    "hook_event",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("at", Float, nullable=False, index=True),
    Column("subject", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("stamp", Text, nullable=False),
)

hook_delivery = Table(
    "hook_delivery",
    metadata,
    Column("id", COUNTER, primary_key=True),
    Column("hook", Text, ForeignKey("hook.id", ondelete="CASCADE"), nullable=False),
    Column("account", Text),
    Column("message", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("status", Integer, nullable=False),
    Column("ms", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("error", Text, nullable=False, server_default=""),
    Index("ix_hook_delivery_hook_id", "hook", "id"),
)
"""One row an attempt; ``message`` is the one of the outbox, 0 for a test."""

hook_source = Table(
    "hook_source",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("account", Text, ForeignKey("account.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("scheme", Text, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("secret_before", LargeBinary),
    Column("before_until", Float, nullable=False, server_default="0"),
    Column("rules", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("created", Float, nullable=False),
    Column("last_at", Float),
    Column("author", Text, nullable=False, server_default=""),
    Column("administrator", Text, nullable=False, server_default=""),
    Column("api_key", Text, nullable=False, server_default=""),
    Column("orphaned", Text, nullable=False, server_default=""),
)
"""The last four as those of an endpoint: with whose rights it acts."""

hook_inbox = Table(
    "hook_inbox",
    metadata,
    Column("id", COUNTER, primary_key=True),
    Column("source", Text, ForeignKey("hook_source.id", ondelete="CASCADE"), nullable=False),
    Column("account", Text, nullable=False),
    Column("ident", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("action", Text, nullable=False, server_default=""),
    Column("subject", Text, nullable=False, server_default=""),
    Column("received", Float, nullable=False),
    Column("occurred", Float, nullable=False),
    Column("ended", Float),
    Column("why", Text, nullable=False, server_default=""),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("source", "ident"),
    Index("ix_hook_inbox_state_received", "state", "received"),
)
"""What came, as it came, sealed. ``ident`` is the sender's own id of it, or a digest of the body."""

hook_latest = Table(
    "hook_latest",
    metadata,
    Column("account", Text, ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
    Column("subject", Text, nullable=False),
    Column("occurred", Float, nullable=False),
    PrimaryKeyConstraint("account", "subject"),
)
"""When the newest thing happened that was applied to a subject, whichever source said so: what is older is not applied
any more."""
