"""Devices forget lines by name, and SIP secrets follow the extension: whose they are, and which phone still has one.

Secrets from before are taken for given ones, since nothing tells them from those that were made here; they change when
somebody says so. Lines that were freed before are emptied with the next fetch; nothing waits for that.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_FREED = """SELECT {joined} FROM binding AS old WHERE old.mac = device.mac AND old.until IS NOT NULL AND NOT EXISTS
    (SELECT 1 FROM binding AS now WHERE now.mac = old.mac AND now.line = old.line AND now.until IS NULL)"""
_LEFT = """SELECT CASE WHEN count(*) = 0 THEN '' WHEN min(old.mac) = max(old.mac) THEN min(old.mac) ELSE '*' END
    FROM binding AS old WHERE old.extension = extension.id AND old.until IS NOT NULL AND NOT EXISTS
    (SELECT 1 FROM binding AS now WHERE now.extension = old.extension AND now.mac = old.mac AND now.until IS NULL)"""


def upgrade() -> None:
    """Columns of devices, extensions, policies and errands, filled from the bindings that were."""
    op.add_column("device", sa.Column("emptied", sa.Text(), server_default="", nullable=False))
    op.add_column("device", sa.Column("wipe_since", sa.Float()))
    op.add_column("device", sa.Column("wipe_upto", sa.BigInteger()))
    op.add_column("device", sa.Column("wiped_at", sa.Float()))
    op.add_column("device", sa.Column("replaced_by", sa.Text(), server_default="", nullable=False))
    op.add_column("extension", sa.Column("secret_origin", sa.Text(), server_default="given", nullable=False))
    op.add_column("extension", sa.Column("secret_left", sa.Text(), server_default="", nullable=False))
    op.add_column("extension", sa.Column("secret_at", sa.Float()))
    op.add_column("policy", sa.Column("rotation", sa.Text(), server_default="made", nullable=False))
    op.add_column("resync", sa.Column("runs", sa.Text(), server_default="", nullable=False))
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    each = "replace(group_concat(DISTINCT old.line), ',', ' ')"
    joined = each if is_sqlite else "string_agg(DISTINCT CAST(old.line AS TEXT), ' ')"
    op.execute(f"UPDATE device SET emptied = COALESCE(({_FREED.format(joined=joined)}), '')")  # noqa: S608  # constants
    op.execute(f"UPDATE extension SET secret_left = COALESCE(({_LEFT}), '')")  # noqa: S608  # a constant
