"""Licenses, numbers and the policy that asks for them; how many phones an extension may have."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ACTIVE = sa.text("until IS NULL")
SEAT = sa.text("kind IN ('user', 'lobby')")
PUBLIC = sa.text("substr(number, 1, 1) = '+'")
WHOLE = sa.text("site IS NULL")


def upgrade() -> None:
    """Five tables, and a column of bindings that is 1 in all there are."""
    op.create_table(
        "policy",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("needs_license", sa.Boolean(), nullable=False),
        sa.Column("needs_number", sa.Boolean(), nullable=False),
        sa.Column("phones", sa.Integer(), nullable=False),
        sa.Column("reserved", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_policy_account", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account", name="pk_policy"),
    )
    op.create_table(
        "license",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("user", sa.Text()),
        sa.Column("suspended", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_license_account"),
        sa.ForeignKeyConstraint(["user"], ["user.id"], name="fk_license_user", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_license"),
    )
    op.create_index("ix_license_user", "license", ["user"])
    op.create_index("ix_license_account_kind", "license", ["account", "kind"])
    op.create_index("uq_license_seat", "license", ["user"], unique=True, sqlite_where=SEAT, postgresql_where=SEAT)
    op.create_table(
        "phone_number",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("site", sa.Text()),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("porting", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("extension", sa.Text()),
        sa.Column("holder", sa.Text(), server_default="", nullable=False),
        sa.Column("held_until", sa.Float(), server_default="0", nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_phone_number_account"),
        sa.ForeignKeyConstraint(["site"], ["site.id"], name="fk_phone_number_site", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["extension"], ["extension.id"], name="fk_phone_number_extension", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_phone_number"),
        sa.UniqueConstraint("account", "number", name="uq_phone_number_account_number"),
    )
    op.create_index("ix_phone_number_site", "phone_number", ["site"])
    op.create_index("ix_phone_number_extension", "phone_number", ["extension"])
    op.create_index(
        "uq_phone_number_public", "phone_number", ["number"], unique=True, sqlite_where=PUBLIC, postgresql_where=PUBLIC
    )
    _ranges_and_holds()
    op.add_column("binding", sa.Column("slot", sa.Integer(), server_default="1", nullable=False))
    op.drop_index("uq_binding_active_extension", table_name="binding")
    op.create_index(
        "uq_binding_active_extension",
        "binding",
        ["extension", "slot"],
        unique=True,
        sqlite_where=ACTIVE,
        postgresql_where=ACTIVE,
    )


def _ranges_and_holds() -> None:
    op.create_table(
        "extension_range",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("site", sa.Text()),
        sa.Column("low", sa.Text(), nullable=False),
        sa.Column("high", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_extension_range_account", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["site"], ["site.id"], name="fk_extension_range_site", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_extension_range"),
        sa.UniqueConstraint("site", name="uq_extension_range_site"),
    )
    op.create_index(
        "uq_extension_range_whole",
        "extension_range",
        ["account"],
        unique=True,
        sqlite_where=WHOLE,
        postgresql_where=WHOLE,
    )
    op.create_table(
        "extension_hold",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_extension_hold_account", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account", "number", name="pk_extension_hold"),
    )
