"""What makes a device urgent, and where known devices come from."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Devices that have fetched anything are up to date until the next change; the others wait for their first."""
    op.add_column("device", sa.Column("served", sa.BigInteger()))
    op.add_column("device", sa.Column("changed", sa.BigInteger(), nullable=False, server_default="0"))
    fetched = "SELECT 1 FROM last_fetch WHERE last_fetch.mac = device.mac AND last_fetch.status IN (200, 304)"
    op.execute(f"UPDATE device SET served = 0 WHERE EXISTS ({fetched})")  # noqa: S608  # constants only
    op.create_table(
        "sighting",
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("mac", "address", name="pk_sighting"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_sighting_address", "sighting", ["address"])
    op.create_table(
        "touched",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name="pk_touched"),
    )
