"""Tables of who there is: accounts with their policies, sites and users, and what they have to give out.

What an account has to give out (licenses, phone numbers, numbers kept for an extension) is a row each, so taking the
last one is a statement about one row. The rest of the schema, and all of it by name, stands in ``schema``.
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
    func,
    text,
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
    Column("parent", Text, ForeignKey("account.id"), index=True),  # the partner's account that it is below
)

_ADDRESS: Final = ("street", "city", "region", "postal_code", "country", "location")
"""Where an ambulance drives to, and where in the building."""
_DUE: Final = text("notice <> ''")

site = Table(
    "site",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, ForeignKey("account.id"), nullable=False),
    Column("name", Text, nullable=False),
    *(Column(name, Text, nullable=False, server_default="") for name in (*_ADDRESS, "notify", "networks", "notice")),
    Column("notice_at", Float),
    UniqueConstraint("account", "name"),
    Index("ix_site_notice", "id", sqlite_where=_DUE, postgresql_where=_DUE),
)
"""``notify`` and ``networks`` have blanks between them; ``notice`` is what ``notify`` has to hear of, since when."""

user = Table(
    "user",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, ForeignKey("account.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False, server_default=""),
    Column("kind", Text, nullable=False, server_default="person"),
    *(Column(name, Text, nullable=False, server_default="") for name in _ADDRESS),  # empty: as the site of the phone
)
for _name in ("name", "email"):
    _lower = func.lower(user.c[_name]).label(f"lower_{_name}")
    Index(f"ix_user_lower_{_name}", _lower, postgresql_ops={f"lower_{_name}": "text_pattern_ops"})
"""People are found by the beginning of a name or address; on PostgreSQL whatever the database's collation is."""

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
    Column("secret_origin", Text, nullable=False, server_default="given"),  # made here, or given by somebody
    Column("secret_left", Text, nullable=False, server_default=""),  # who has had it and the extension no more
    Column("secret_at", Float),  # when it became what it is
    UniqueConstraint("account", "number"),
    Index("ix_extension_number", "number"),
    sqlite_with_rowid=False,
)

policy = Table(
    "policy",
    metadata,
    Column("account", Text, ForeignKey("account.id", ondelete="CASCADE"), primary_key=True),
    Column("needs_license", Boolean, nullable=False),
    Column("needs_number", Boolean, nullable=False),
    Column("phones", Integer, nullable=False),
    Column("reserved", Text, nullable=False),  # numbers, blanks between them
    Column("rotation", Text, nullable=False, server_default="made"),  # which SIP secrets follow a phone's end
    Column("emergency", Text, nullable=False, server_default="warn"),  # a line without an address for it
    Column("networks", Text, nullable=False, server_default="anywhere"),  # from where a code may be used
    Column("mails", Text, nullable=False, server_default="house"),  # whether a code is mailed when it is issued
)
"""Of accounts that have one of their own."""

license = Table(
    "license",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, ForeignKey("account.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("user", Text, ForeignKey("user.id", ondelete="SET NULL"), index=True),
    Column("suspended", Boolean, nullable=False, server_default=false()),
    Column("since", Float, nullable=False),
    Index("ix_license_account_kind", "account", "kind"),
)
_SEAT: Final = text("kind IN ('user', 'lobby')")
Index("uq_license_seat", license.c.user, unique=True, sqlite_where=_SEAT, postgresql_where=_SEAT)

phone_number = Table(
    "phone_number",
    metadata,
    Column("id", Text, primary_key=True),
    Column("number", Text, nullable=False),
    Column("account", Text, ForeignKey("account.id"), nullable=False),
    Column("site", Text, ForeignKey("site.id", ondelete="SET NULL"), index=True),
    Column("origin", Text, nullable=False),
    Column("porting", Boolean, nullable=False, server_default=false()),
    Column("extension", Text, ForeignKey("extension.id", ondelete="SET NULL"), index=True),
    Column("holder", Text, nullable=False, server_default=""),
    Column("held_until", Float, nullable=False, server_default="0"),
    Column("since", Float, nullable=False),
    UniqueConstraint("account", "number"),
)
_PUBLIC: Final = text("substr(number, 1, 1) = '+'")
Index("uq_phone_number_public", phone_number.c.number, unique=True, sqlite_where=_PUBLIC, postgresql_where=_PUBLIC)
"""An internal number is one of its account, a number of the world is one account's."""

extension_range = Table(
    "extension_range",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
    Column("site", Text, ForeignKey("site.id", ondelete="CASCADE"), unique=True),
    Column("low", Text, nullable=False),
    Column("high", Text, nullable=False),
)
_WHOLE: Final = text("site IS NULL")
Index("uq_extension_range_whole", extension_range.c.account, unique=True, sqlite_where=_WHOLE, postgresql_where=_WHOLE)

extension_hold = Table(
    "extension_hold",
    metadata,
    Column("account", Text, ForeignKey("account.id", ondelete="CASCADE"), nullable=False),
    Column("number", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("until", Float, nullable=False),
    PrimaryKeyConstraint("account", "number"),
)
"""Numbers that were suggested for an extension and are kept for whoever asked, for a while."""
