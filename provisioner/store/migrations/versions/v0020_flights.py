"""What was on each connection of devices, in rings, and the certificates that opened nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Three tables."""
    op.create_table(
        "flight_head",
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("good", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("trouble", sa.BigInteger(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("mac", name="pk_flight_head"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "flight",
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("trouble", sa.Boolean(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("claimed", sa.Text(), nullable=False, server_default=""),
        sa.Column("address", sa.Text(), nullable=False, server_default=""),
        sa.Column("model", sa.Text(), nullable=False, server_default=""),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("mac", "slot", name="pk_flight"),
        sqlite_with_rowid=False,
    )
    for name, column, on_sqlite, on_postgresql in (
        ("ix_flight_claimed", "claimed", "claimed <> ''", "claimed <> ''"),
        ("ix_flight_address", "address", "address <> ''", "address <> ''"),
        ("ix_flight_trouble", "at", "trouble = 1", "trouble"),
        ("ix_flight_good", "at", "trouble = 0", "NOT trouble"),
    ):
        op.create_index(
            name, "flight", [column], sqlite_where=sa.text(on_sqlite), postgresql_where=sa.text(on_postgresql)
        )
    op.create_table(
        "refusal",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.Column("macs", sa.Text(), nullable=False),
        sa.Column("addresses", sa.Text(), nullable=False),
        sa.Column("models", sa.Text(), nullable=False),
        sa.Column("silenced", sa.Text(), nullable=False, server_default="{}"),
        sa.PrimaryKeyConstraint("id", name="pk_refusal"),
    )
