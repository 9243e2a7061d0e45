"""Devices that are to be told to fetch again, and how far each of them is."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table."""
    op.create_table(
        "resync",
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("way", sa.Text(), server_default="", nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("upto", sa.BigInteger(), nullable=False),
        sa.Column("force", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("wave", sa.Integer(), server_default="0", nullable=False),
        sa.Column("asked", sa.Float(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("lease", sa.Float(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("result", sa.Text(), server_default="", nullable=False),
        sa.Column("patience", sa.Float(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["mac"], ["device.mac"], name="fk_resync_mac", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("mac", name="pk_resync"),
    )
    op.create_index("ix_resync_campaign", "resync", ["campaign"])
    op.create_index("ix_resync_state_due", "resync", ["state", "due"])
