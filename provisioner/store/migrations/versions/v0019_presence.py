"""Who is not heard of, from where each device came last, and what users, sites and policies say of emergencies."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_KNOWN = sa.text("net <> ''")
_OFFLINE = sa.text("state = 'offline'")
_DUE = sa.text("notice <> ''")


def upgrade() -> None:
    """Two tables, columns of devices, users, sites and policies; where a device came from is known from now on."""
    op.create_table(
        "absence",
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("seen", sa.Float(), nullable=False),
        sa.Column("singly", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["mac"], ["device.mac"], name="fk_absence_mac", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("mac", name="pk_absence"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_absence_place", "absence", ["place"])
    op.create_index("ix_absence_offline", "absence", ["seen"], sqlite_where=_OFFLINE, postgresql_where=_OFFLINE)
    op.create_table(
        "watch",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("beat", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_watch"),
    )
    op.add_column("device", sa.Column("net", sa.Text(), nullable=False, server_default=""))
    op.create_index("ix_device_net", "device", ["net", "mac"], sqlite_where=_KNOWN, postgresql_where=_KNOWN)
    for name in ("street", "city", "region", "postal_code", "country", "location"):
        op.add_column("user", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.add_column("site", sa.Column("notice", sa.Text(), nullable=False, server_default=""))
    op.add_column("site", sa.Column("notice_at", sa.Float()))
    op.create_index("ix_site_notice", "site", ["id"], sqlite_where=_DUE, postgresql_where=_DUE)
    op.add_column("policy", sa.Column("emergency", sa.Text(), nullable=False, server_default="warn"))
    op.add_column("policy", sa.Column("networks", sa.Text(), nullable=False, server_default="anywhere"))
