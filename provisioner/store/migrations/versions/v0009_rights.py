"""Administrators, their roles and keys; accounts below partners; the audit log becomes a chain, with what it has."""

import json

import sqlalchemy as sa
from alembic import op

from provisioner.audit_chain import Head, Row, link

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

CHAINED = sa.text("seq IS NOT NULL")
PAGE = 2000


def upgrade() -> None:
    """Ten tables; a column of accounts and three of events."""
    _administrators()
    _roles()
    _signing_in()
    _keys()
    # Both databases take the reference with the column; SQLite could not add it afterwards.
    op.execute("ALTER TABLE account ADD COLUMN parent TEXT CONSTRAINT fk_account_parent REFERENCES account (id)")
    op.create_index("ix_account_parent", "account", ["parent"])
    op.add_column("event", sa.Column("account", sa.Text(), server_default="", nullable=False))
    op.add_column("event", sa.Column("seq", sa.BigInteger()))
    op.add_column("event", sa.Column("hash", sa.Text()))
    op.create_index("uq_event_seq", "event", ["seq"], unique=True, sqlite_where=CHAINED, postgresql_where=CHAINED)
    _chain()


def _administrators() -> None:
    op.create_table(
        "administrator",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("password", sa.Text(), server_default="", nullable=False),
        sa.Column("totp", sa.LargeBinary()),
        sa.Column("totp_step", sa.BigInteger(), server_default="-1", nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_administrator"),
        sa.UniqueConstraint("email", name="uq_administrator_email"),
    )
    op.create_table(
        "recovery_code",
        sa.Column("administrator", sa.Text(), nullable=False),
        sa.Column("finder", sa.Text(), nullable=False),
        _of_administrator("recovery_code"),
        sa.PrimaryKeyConstraint("administrator", "finder", name="pk_recovery_code"),
    )


def _of_administrator(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_administrator"
    return sa.ForeignKeyConstraint(["administrator"], ["administrator.id"], name=name, ondelete="CASCADE")


def _of(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{column}.id"], name=f"fk_{table}_{column}", ondelete="CASCADE")


def _roles() -> None:
    op.create_table(
        "administrator_role",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("administrator", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("account", sa.Text()),
        sa.Column("site", sa.Text()),
        sa.Column("user", sa.Text()),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        _of_administrator("administrator_role"),
        *(_of("administrator_role", column) for column in ("account", "site", "user")),
        sa.PrimaryKeyConstraint("id", name="pk_administrator_role"),
    )
    op.create_index("ix_administrator_role_administrator", "administrator_role", ["administrator"])
    op.create_table(
        "administrator_grant",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("administrator", sa.Text(), nullable=False),
        sa.Column("right", sa.Text(), nullable=False),
        sa.Column("account", sa.Text()),
        sa.Column("until", sa.Float(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        _of_administrator("administrator_grant"),
        _of("administrator_grant", "account"),
        sa.PrimaryKeyConstraint("id", name="pk_administrator_grant"),
    )
    op.create_index("ix_administrator_grant_administrator", "administrator_grant", ["administrator"])


def _signing_in() -> None:
    op.create_table(
        "session",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("finder", sa.Text(), nullable=False),
        sa.Column("administrator", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("seen", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.Column("factors", sa.Integer(), nullable=False),
        sa.Column("address", sa.Text(), server_default="", nullable=False),
        sa.Column("agent", sa.Text(), server_default="", nullable=False),
        _of_administrator("session"),
        sa.PrimaryKeyConstraint("id", name="pk_session"),
        sa.UniqueConstraint("finder", name="uq_session_finder"),
    )
    op.create_index("ix_session_administrator", "session", ["administrator"])
    op.create_table(
        "login_link",
        sa.Column("finder", sa.Text(), nullable=False),
        sa.Column("administrator", sa.Text(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        _of_administrator("login_link"),
        sa.PrimaryKeyConstraint("finder", name="pk_login_link"),
    )
    op.create_index("ix_login_link_administrator", "login_link", ["administrator"])
    op.create_table(
        "login_budget",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("turn", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_login_budget"),
    )
    op.create_table(
        "login_place",
        sa.Column("administrator", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        _of_administrator("login_place"),
        sa.PrimaryKeyConstraint("administrator", "place", name="pk_login_place"),
    )


def _keys() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("finder", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("administrator", sa.Text()),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("accounts", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float()),
        sa.Column("used", sa.Float()),
        sa.Column("revoked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        _of_administrator("api_key"),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("finder", name="uq_api_key_finder"),
    )
    op.create_index("ix_api_key_administrator", "api_key", ["administrator"])
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("sealed_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("sealed_hash", sa.Text(), server_default="", nullable=False),
        sa.Column("seal", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )


def _chain() -> None:
    """What administrators have done so far becomes the beginning of the chain; the key to seal it is not here."""
    connection = op.get_bind()
    names = ("id", "at", "kind", "mac", "severity", "actor", "audit", "details", "account", "seq", "hash")
    event = sa.table("event", *(sa.column(name) for name in names))
    fields = [event.c[name] for name in ("id", "at", "kind", "mac", "severity", "actor", "details")]
    query = sa.select(*fields).where(event.c.audit == sa.true()).order_by(event.c.id).limit(PAGE)
    chained = sa.update(event).where(event.c.id == sa.bindparam("the_id"))
    chained = chained.values({name: sa.bindparam(f"the_{name}") for name in ("account", "seq", "hash")})
    head, last = Head(), 0
    while rows := connection.execute(query.where(event.c.id > last)).all():
        changes = []
        for row in rows:
            account = str(json.loads(row.details).get("account", ""))
            at = float(row.at)
            one = Row(head.seq + 1, at, row.kind, row.mac, row.severity, row.actor, account, row.details)
            head, last = Head(one.seq, link(head.hash, one)), row.id
            changes.append({"the_id": row.id, "the_account": account, "the_seq": one.seq, "the_hash": head.hash})
        connection.execute(chained, changes)
    table = sa.table("audit_head", *(sa.column(name) for name in ("id", "seq", "hash")))
    connection.execute(sa.insert(table).values(id=1, seq=head.seq, hash=head.hash))
