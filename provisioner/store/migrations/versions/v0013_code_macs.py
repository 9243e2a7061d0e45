"""Codes are looked up by the MAC that they are tied to whenever a device is added."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One index."""
    op.create_index("ix_activation_code_mac", "activation_code", ["mac"])
