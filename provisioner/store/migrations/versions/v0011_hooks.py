"""Webhooks: endpoints that are called and what they are told, sources that call and what they have posted."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Seven tables; what has happened before is told to nobody."""
    _out()
    _in()


def _out() -> None:
    op.create_table(
        "hook",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text()),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("disabled_why", sa.Text(), nullable=False, server_default=""),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("secret_before", sa.LargeBinary()),
        sa.Column("before_until", sa.Float(), nullable=False, server_default="0"),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("failing_since", sa.Float()),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("last_at", sa.Float()),
        sa.Column("last_status", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name="pk_hook"),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_hook_account", ondelete="CASCADE"),
    )
    op.create_index("ix_hook_account", "hook", ["account"])
    op.create_table(
        "hook_clock",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("tail", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hook_clock"),
    )
    op.execute("INSERT INTO hook_clock (id, version, tail) VALUES (1, 0, 0)")
    op.create_table(
        "hook_event",
        sa.Column("version", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("stamp", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_hook_event"),
    )
    op.create_index("ix_hook_event_at", "hook_event", ["at"])
    op.create_table(
        "hook_delivery",
        sa.Column("id", COUNTER, nullable=False),
        sa.Column("hook", sa.Text(), nullable=False),
        sa.Column("account", sa.Text()),
        sa.Column("message", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("ms", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("id", name="pk_hook_delivery"),
        sa.ForeignKeyConstraint(["hook"], ["hook.id"], name="fk_hook_delivery_hook", ondelete="CASCADE"),
    )
    op.create_index("ix_hook_delivery_hook_id", "hook_delivery", ["hook", "id"])


def _in() -> None:
    op.create_table(
        "hook_source",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("secret_before", sa.LargeBinary()),
        sa.Column("before_until", sa.Float(), nullable=False, server_default="0"),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float()),
        sa.PrimaryKeyConstraint("id", name="pk_hook_source"),
        sa.UniqueConstraint("name", name="uq_hook_source_name"),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_hook_source_account", ondelete="CASCADE"),
    )
    op.create_index("ix_hook_source_account", "hook_source", ["account"])
    op.create_table(
        "hook_inbox",
        sa.Column("id", COUNTER, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("ident", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False, server_default=""),
        sa.Column("subject", sa.Text(), nullable=False, server_default=""),
        sa.Column("received", sa.Float(), nullable=False),
        sa.Column("occurred", sa.Float(), nullable=False),
        sa.Column("ended", sa.Float()),
        sa.Column("why", sa.Text(), nullable=False, server_default=""),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hook_inbox"),
        sa.UniqueConstraint("source", "ident", name="uq_hook_inbox_source_ident"),
        sa.ForeignKeyConstraint(["source"], ["hook_source.id"], name="fk_hook_inbox_source", ondelete="CASCADE"),
    )
    op.create_index("ix_hook_inbox_state_received", "hook_inbox", ["state", "received"])
    op.create_table(
        "hook_latest",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("occurred", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("account", "subject", name="pk_hook_latest"),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_hook_latest_account", ondelete="CASCADE"),
    )
