"""What devices have proven themselves with; devices are found and listed by model, firmware and place."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables, and indexes of devices."""
    op.create_table(
        "leaf",
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("issuers", sa.Text(), nullable=False, server_default=""),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_leaf"),
    )
    op.create_index("ix_leaf_mac", "leaf", ["mac"])
    op.create_index("ix_leaf_at", "leaf", ["at"])
    op.create_table(
        "issuers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_issuers"),
    )
    op.create_index("ix_device_kind", "device", ["vendor", "model", "firmware", "mac"])
    op.create_index("ix_device_firmware", "device", ["firmware", "mac"])
    op.create_index("ix_device_place", "device", ["account", "vendor", "model", "firmware", "mac"])
    on_sqlite, on_postgresql = sa.text("revoked = 1"), sa.text("revoked")
    for name, columns in (("ix_device_revoked", ["mac"]), ("ix_device_gone", ["account", "mac"])):
        op.create_index(name, "device", columns, sqlite_where=on_sqlite, postgresql_where=on_postgresql)
    waits = sa.text("wipe_since IS NOT NULL AND wiped_at IS NULL")
    op.create_index("ix_device_wiping", "device", ["mac"], sqlite_where=waits, postgresql_where=waits)
