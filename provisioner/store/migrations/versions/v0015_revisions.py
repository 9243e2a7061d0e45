"""What each change of a layer or a line was, so that it can be taken back; and changes that reach phones in steps."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Three tables; what was changed before is not known, so it cannot be taken back."""
    op.create_table(
        "layer_revision",
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False, server_default="0"),
        sa.Column("actor", sa.Text(), nullable=False, server_default=""),
        sa.Column("reverts", sa.BigInteger()),
        sa.Column("was_entries", sa.Text(), nullable=False),
        sa.Column("was_raw", sa.LargeBinary()),
        sa.Column("entries", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("revision", "scope", "key", name="pk_layer_revision"),
    )
    op.create_index("ix_layer_revision_scope_key", "layer_revision", ["scope", "key", "revision"])
    op.create_index("ix_layer_revision_at", "layer_revision", ["at"])
    op.create_table(
        "line_revision",
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False, server_default="0"),
        sa.Column("actor", sa.Text(), nullable=False, server_default=""),
        sa.Column("was_extension", sa.Text()),
        sa.Column("was_number", sa.Text()),
        sa.Column("was_label", sa.Text()),
        sa.Column("extension", sa.Text()),
        sa.Column("number", sa.Text()),
        sa.Column("label", sa.Text()),
        sa.PrimaryKeyConstraint("revision", "mac", "line", name="pk_line_revision"),
    )
    op.create_index("ix_line_revision_mac", "line_revision", ["mac", "revision"])
    op.create_index("ix_line_revision_at", "line_revision", ["at"])
    op.create_table(
        "rollout",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("share", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("phones", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("begun", sa.Float(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("lease", sa.Float(), nullable=False, server_default="0"),
        sa.Column("campaign", sa.Text(), nullable=False, server_default=""),
        sa.Column("why", sa.Text(), nullable=False, server_default=""),
        sa.Column("ended", sa.Float()),
        sa.Column("differ", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("entries", sa.Text()),
        sa.Column("raw", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("id", name="pk_rollout"),
    )
    op.create_index("ix_rollout_begun", "rollout", ["begun"])
    op.create_index("uq_rollout_open", "rollout", ["scope", "key"], unique=True,
                    sqlite_where=sa.text("ended IS NULL"), postgresql_where=sa.text("ended IS NULL"))  # fmt: skip
