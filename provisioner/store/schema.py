"""One schema for SQLite and PostgreSQL: plain types only, identity by short text ids, secrets as sealed bytes.

What an administrator says hangs together by foreign keys; what devices cause (fetches, events, seen) does not,
because those rows are written in lossy batches that must not fail over a device removed a moment ago.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

COUNTER: Final = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only when the type is INTEGER."""

account = Table(
    "account",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created", Float, nullable=False),
)

site = Table(
    "site",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, ForeignKey("account.id"), nullable=False),
    Column("name", Text, nullable=False),
    UniqueConstraint("account", "name"),
)

user = Table(
    "user",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, ForeignKey("account.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False, server_default=""),
)

extension = Table(
    "extension",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, ForeignKey("account.id"), nullable=False),
    Column("number", Text, nullable=False),
    Column("user", Text, ForeignKey("user.id"), nullable=False, index=True),
    Column("display_name", Text, nullable=False, server_default=""),
    Column("auth_user", Text, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    UniqueConstraint("account", "number"),
    sqlite_with_rowid=False,
)

device = Table(
    "device",
    metadata,
    Column("mac", Text, primary_key=True),
    Column("vendor", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("account", Text, ForeignKey("account.id"), nullable=False, index=True),
    Column("site", Text, ForeignKey("site.id"), index=True),
    Column("revoked", Boolean, nullable=False, server_default=false()),
    Column("firmware", Text, nullable=False, server_default=""),
    Column("seen_modern", Boolean, nullable=False, server_default=false()),
    Column("allow_token", Boolean, nullable=False, server_default=false()),
    Column("allow_digest", Boolean, nullable=False, server_default=false()),
    Column("allow_expired", Boolean, nullable=False, server_default=true()),
    Column("digest_secret", LargeBinary),
    Column("created", Float, nullable=False),
    Column("served", BigInteger),  # NULL until it has fetched a configuration
    Column("changed", BigInteger, nullable=False, server_default="0"),
    sqlite_with_rowid=False,  # one B-tree descent instead of two on the boot path
)

binding = Table(
    "binding",
    metadata,
    Column("mac", Text, ForeignKey("device.mac", ondelete="CASCADE"), nullable=False),
    Column("line", Integer, nullable=False),
    Column("extension", Text, ForeignKey("extension.id", ondelete="CASCADE"), nullable=False),
    Column("label", Text, nullable=False, server_default=""),
    Column("since", Float, nullable=False),
    Column("until", Float),
    Column("actor", Text, nullable=False),
    Column("cause", Text, nullable=False),
    PrimaryKeyConstraint("mac", "line", "since"),
    Index("ix_binding_extension", "extension"),
    sqlite_with_rowid=False,  # a device's bindings lie side by side, in the order of its lines
)

_ACTIVE: Final = text("until IS NULL")
Index(
    "uq_binding_active_line",
    binding.c.mac,
    binding.c.line,
    unique=True,
    sqlite_where=_ACTIVE,
    postgresql_where=_ACTIVE,
)
Index("uq_binding_active_extension", binding.c.extension, unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE)

activation_code = Table(
    "activation_code",
    metadata,
    Column("id", Text, primary_key=True),
    Column("finder", Text, nullable=False, unique=True),
    Column("sealed", LargeBinary),  # its digits, as long as somebody may read or key them in
    Column("account", Text, ForeignKey("account.id"), nullable=False, index=True),
    Column("extension", Text, ForeignKey("extension.id", ondelete="CASCADE"), nullable=False),
    Column("vendor", Text, nullable=False, server_default=""),
    Column("model", Text, nullable=False, server_default=""),
    Column("mac", Text, nullable=False, server_default=""),
    Column("site", Text, ForeignKey("site.id", ondelete="CASCADE")),
    Column("replaces", Boolean, nullable=False, server_default=false()),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("misused", Integer, nullable=False, server_default="0"),
    Column("used_by", Text, nullable=False, server_default=""),
    Column("ended", Float),
    Index("ix_activation_code_state_expires", "state", "expires"),
    Index("ix_activation_code_extension", "extension"),
)
"""``finder`` is ``key id:keyed hash``. A code goes with its site: nobody gets one that is tied to less than before."""

_OPEN: Final = text("state IN ('issued', 'locked')")
Index(
    "uq_activation_code_open_extension",
    activation_code.c.extension,
    unique=True,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)

activation_budget = Table(
    "activation_budget",
    metadata,
    Column("key", Text, primary_key=True),
    Column("turn", Float, nullable=False),
    Column("locked_until", Float, nullable=False),
    Column("locks", Integer, nullable=False),
    Column("told", Float, nullable=False),
    sqlite_with_rowid=False,
)
"""Wrong codes of a device, source, network, account and of all; one row, the total's, is always there."""

resync = Table(
    "resync",
    metadata,
    Column("mac", Text, ForeignKey("device.mac", ondelete="CASCADE"), primary_key=True),
    Column("campaign", Text, nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("way", Text, nullable=False, server_default=""),
    Column("event", Text, nullable=False),
    Column("upto", BigInteger, nullable=False),
    Column("force", Boolean, nullable=False, server_default=false()),
    Column("wave", Integer, nullable=False, server_default="0"),
    Column("asked", Float, nullable=False),
    Column("due", Float, nullable=False),
    Column("since", Float, nullable=False),
    Column("lease", Float, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("result", Text, nullable=False, server_default=""),
    Column("patience", Float, nullable=False, server_default="0"),
    Index("ix_resync_state_due", "state", "due"),
)
"""Devices that shall fetch again, each once: ``upto`` is how new a configuration they need, ``lease`` until when
somebody is telling them; ``force`` tells them even where they have it."""

layer = Table(
    "layer",
    metadata,
    Column("scope", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("entries", Text, nullable=False, server_default="{}"),
    Column("raw", LargeBinary),
    PrimaryKeyConstraint("scope", "key"),
)

pin = Table(
    "pin",
    metadata,
    Column("mac", Text, ForeignKey("device.mac", ondelete="CASCADE"), primary_key=True),
    Column("spki", Text, nullable=False),
    Column("not_after", Text, nullable=False),
    Column("at", Float, nullable=False),
    sqlite_with_rowid=False,
)

token = Table(
    "token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("finder", Text, nullable=False, unique=True),
    Column("mac", Text, ForeignKey("device.mac", ondelete="CASCADE"), nullable=False, index=True),
    Column("opens", Float, nullable=False),
    Column("closes", Float, nullable=False),
    Column("budget", Integer, nullable=False),
    Column("spent", Integer, nullable=False, server_default="0"),
    Column("revoked", Boolean, nullable=False, server_default=false()),
)

upload = Table(
    "upload",
    metadata,
    Column("mac", Text, ForeignKey("device.mac", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("at", Float, nullable=False),
    PrimaryKeyConstraint("mac", "name"),
)

last_fetch = Table(
    "last_fetch",
    metadata,
    Column("mac", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("status", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
    Column("proof", Text, nullable=False),
    Column("listener", Text, nullable=False),
    Column("tls_version", Text, nullable=False),
    Column("firmware", Text, nullable=False),
    PrimaryKeyConstraint("mac", "file"),
    sqlite_with_rowid=False,
)

last_body = Table(
    "last_body",
    metadata,
    Column("mac", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("mac", "file"),
)

event = Table(
    "event",
    metadata,
    Column("id", COUNTER, primary_key=True),
    Column("at", Float, nullable=False),
    Column("kind", Text, nullable=False),
    Column("mac", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("audit", Boolean, nullable=False),
    Column("details", Text, nullable=False),
    Column("named", Text, nullable=False, server_default=""),
    Column("claimed", Text, nullable=False, server_default=""),
    Index("ix_event_audit_id", "audit", "id"),
    Index("ix_event_mac_id", "mac", "id"),
    Index("ix_event_kind_id", "kind", "id"),
)
"""``named`` and ``claimed``: of an event of nobody proven, the Mac in the path and another one in the subject."""

for _name in ("named", "claimed"):
    _TOLD = text(f"{_name} <> ''")
    Index(f"ix_event_{_name}_id", event.c[_name], event.c.id, sqlite_where=_TOLD, postgresql_where=_TOLD)

sighting = Table(
    "sighting",
    metadata,
    Column("mac", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("day", Integer, nullable=False),
    PrimaryKeyConstraint("mac", "address"),
    Index("ix_sighting_address", "address"),
    sqlite_with_rowid=False,
)
"""Where a known device has proven itself, and on which day (Unix time / 86,400 s) the last time."""

seen = Table(
    "seen",
    metadata,
    Column("mac", Text, primary_key=True),
    Column("vendor", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False, index=True),
    Column("times", Integer, nullable=False),
)

revision = Table(
    "revision",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
)
"""One row, counted up first thing in every administrator's transaction: its lock puts them in one order."""

change = Table(
    "change",
    metadata,
    Column("revision", BigInteger, nullable=False),
    Column("scope", Text, nullable=False),
    Column("key", Text, nullable=False),
    PrimaryKeyConstraint("revision", "scope", "key"),
)

touched = Table(
    "touched",
    metadata,
    Column("scope", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    PrimaryKeyConstraint("scope", "key"),
)
"""The last change of each layer that devices share, kept for ever; a device's own change stands in its row."""
