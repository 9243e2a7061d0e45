"""Activation codes, and how many wrong ones came from whom."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables, and the row of the total that every attempt holds first."""
    _codes()
    op.create_table(
        "activation_budget",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("turn", sa.Float(), nullable=False),
        sa.Column("locked_until", sa.Float(), nullable=False),
        sa.Column("locks", sa.Integer(), nullable=False),
        sa.Column("told", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_activation_budget"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO activation_budget (key, turn, locked_until, locks, told) VALUES ('total', 0, 0, 0, 0)")


def _codes() -> None:
    op.create_table(
        "activation_code",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("finder", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("extension", sa.Text(), nullable=False),
        sa.Column("vendor", sa.Text(), server_default="", nullable=False),
        sa.Column("model", sa.Text(), server_default="", nullable=False),
        sa.Column("mac", sa.Text(), server_default="", nullable=False),
        sa.Column("site", sa.Text()),
        sa.Column("replaces", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("misused", sa.Integer(), server_default="0", nullable=False),
        sa.Column("used_by", sa.Text(), server_default="", nullable=False),
        sa.Column("ended", sa.Float()),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_activation_code_account"),
        sa.ForeignKeyConstraint(
            ["extension"], ["extension.id"], name="fk_activation_code_extension", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["site"], ["site.id"], name="fk_activation_code_site", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_activation_code"),
        sa.UniqueConstraint("finder", name="uq_activation_code_finder"),
    )
    op.create_index("ix_activation_code_account", "activation_code", ["account"])
    op.create_index("ix_activation_code_extension", "activation_code", ["extension"])
    op.create_index("ix_activation_code_state_expires", "activation_code", ["state", "expires"])
    still_open = sa.text("state IN ('issued', 'locked')")
    op.create_index(
        "uq_activation_code_open_extension",
        "activation_code",
        ["extension"],
        unique=True,
        sqlite_where=still_open,
        postgresql_where=still_open,
    )
