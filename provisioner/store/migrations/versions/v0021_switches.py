"""Switches that can be asked, ports that are switched off for a while, and how far alarms were told by SNMP."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

OPEN = sa.text("ended IS NULL AND switch <> ''")
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Four tables, all of them empty."""
    op.create_table(
        "switch",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("site", sa.Text()),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False, server_default="161"),
        sa.Column("rule", sa.Text(), nullable=False, server_default="auto"),
        sa.Column("read", sa.LargeBinary(), nullable=False),
        sa.Column("write", sa.LargeBinary()),
        sa.Column("ports", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("created", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_switch_account"),
        sa.ForeignKeyConstraint(["site"], ["site.id"], name="fk_switch_site"),
        sa.PrimaryKeyConstraint("id", name="pk_switch"),
        sa.UniqueConstraint("account", "name", name="uq_switch_account_name"),
    )
    op.create_index("ix_switch_site", "switch", ["site"])
    op.create_table(
        "power_cycle",
        sa.Column("id", COUNTER, nullable=False),
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("switch", sa.Text(), nullable=False, server_default=""),
        sa.Column("port", sa.Text(), nullable=False, server_default=""),
        sa.Column("interface", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("poe", sa.Text(), nullable=False, server_default=""),
        sa.Column("object", sa.Text(), nullable=False, server_default=""),
        sa.Column("was", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False, server_default=""),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.Column("off_at", sa.Float()),
        sa.Column("owner", sa.Text(), nullable=False, server_default=""),
        sa.Column("lease", sa.Float(), nullable=False, server_default="0"),
        sa.Column("ended", sa.Float()),
        sa.Column("result", sa.Text(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("id", name="pk_power_cycle"),
    )
    op.create_index("ix_power_cycle_mac", "power_cycle", ["mac", "id"])
    op.create_index("ix_power_cycle_ended", "power_cycle", ["ended"])
    op.create_index("ix_power_cycle_switch", "power_cycle", ["switch", "off_at"])
    op.create_index(
        "uq_power_cycle_open", "power_cycle", ["switch"], unique=True, sqlite_where=OPEN, postgresql_where=OPEN
    )
    op.create_table(
        "power_policy",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["site"], ["site.id"], name="fk_power_policy_site", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("site", name="pk_power_policy"),
    )
    op.create_table(
        "trap_tail",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trap_tail"),
    )
