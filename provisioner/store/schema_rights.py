"""Tables of who may change things: administrators with roles, sessions and keys of the API; the head of the audit log.

Whatever proves somebody (a password, a session, a link, a key) is here as a hash only; what has to be read again (the
seed of a TOTP) is sealed. The rest of the schema, and all of it by name, stands in ``schema``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    false,
)

from provisioner.store.schema_people import metadata

administrator = Table(
    "administrator",
    metadata,
    Column("id", Text, primary_key=True),
    Column("email", Text, nullable=False, unique=True),  # lower case: the login
    Column("name", Text, nullable=False, server_default=""),
    Column("password", Text, nullable=False, server_default=""),  # argon2id with its parameters; empty: none yet
    Column("totp", LargeBinary),  # sealed seed; NULL: no second factor
    Column("totp_step", BigInteger, nullable=False, server_default="-1"),
    Column("created", Float, nullable=False),
    Column("last_at", Float, nullable=False, server_default="0"),
)
"""``totp_step`` is the last step that was used: none up to it counts again."""

recovery_code = Table(
    "recovery_code",
    metadata,
    Column("administrator", Text, ForeignKey("administrator.id", ondelete="CASCADE"), nullable=False),
    Column("finder", Text, nullable=False),
    PrimaryKeyConstraint("administrator", "finder"),
)
"""What is left of them: one that was used is gone."""

administrator_role = Table(
    "administrator_role",
    metadata,
    Column("id", Text, primary_key=True),
    Column("administrator", Text, ForeignKey("administrator.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("role", Text, nullable=False),
    Column("account", Text, ForeignKey("account.id", ondelete="CASCADE")),  # NULL: every account
    Column("site", Text, ForeignKey("site.id", ondelete="CASCADE")),
    Column("user", Text, ForeignKey("user.id", ondelete="CASCADE")),
    Column("since", Float, nullable=False),
    Column("actor", Text, nullable=False),
)

administrator_grant = Table(
    "administrator_grant",
    metadata,
    Column("id", Text, primary_key=True),
    Column("administrator", Text, ForeignKey("administrator.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("right", Text, nullable=False),
    Column("account", Text, ForeignKey("account.id", ondelete="CASCADE")),
    Column("until", Float, nullable=False),
    Column("since", Float, nullable=False),
    Column("actor", Text, nullable=False),
)
"""A right for a time, where a role does not carry it by itself."""

session = Table(
    "session",
    metadata,
    Column("id", Text, primary_key=True),
    Column("finder", Text, nullable=False, unique=True),
    Column("administrator", Text, ForeignKey("administrator.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created", Float, nullable=False),
    Column("seen", Float, nullable=False),
    Column("expires", Float, nullable=False),
    Column("factors", Integer, nullable=False),
    Column("address", Text, nullable=False, server_default=""),
    Column("agent", Text, nullable=False, server_default=""),
    Column("proved", Float, nullable=False, server_default="0"),
)
"""Who is signed in; ``seen`` is written now and then, ``expires`` is when it ends however often it is used, ``proved``
when a password was given in it last."""

login_link = Table(
    "login_link",
    metadata,
    Column("finder", Text, primary_key=True),
    Column("administrator", Text, ForeignKey("administrator.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("expires", Float, nullable=False),
    Column("actor", Text, nullable=False),
)
"""Links that let somebody set a password, once."""

login_budget = Table(
    "login_budget",
    metadata,
    Column("key", Text, primary_key=True),
    Column("turn", Float, nullable=False),
)
"""Attempts to sign in, by source and by login; a row whose turn has passed says nothing."""

login_place = Table(
    "login_place",
    metadata,
    Column("administrator", Text, ForeignKey("administrator.id", ondelete="CASCADE"), nullable=False),
    Column("place", Text, nullable=False),
    Column("at", Float, nullable=False),
    PrimaryKeyConstraint("administrator", "place"),
)
"""Where somebody has signed in before; strangers' attempts do not count against them there."""

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("finder", Text, nullable=False, unique=True),
    Column("prefix", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("administrator", Text, ForeignKey("administrator.id", ondelete="CASCADE"), index=True),  # NULL: the machine
    Column("scopes", Text, nullable=False),  # rights, blanks between them
    Column("accounts", Text, nullable=False),  # ids, blanks between them; empty: wherever its maker reaches
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("used", Float),
    Column("revoked", Boolean, nullable=False, server_default=false()),
    Column("actor", Text, nullable=False),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("sealed_seq", BigInteger, nullable=False, server_default="0"),
    Column("sealed_hash", Text, nullable=False, server_default=""),
    Column("seal", Text, nullable=False, server_default=""),
)
"""One row: how many audit events there are and the last one's hash; how that was when it was sealed, and the seal."""
