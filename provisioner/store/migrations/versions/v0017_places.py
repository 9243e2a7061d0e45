"""Sites with their addresses, users that are places, and what is looked for in large installations."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

LABELLED = sa.text("until IS NULL AND label <> ''")


def upgrade() -> None:
    """Columns of sites, users and jobs; indexes by the beginning of a name and the end of a MAC."""
    for name in ("street", "city", "region", "postal_code", "country", "location", "notify", "networks"):
        op.add_column("site", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.add_column("user", sa.Column("kind", sa.Text(), nullable=False, server_default="person"))
    op.add_column("job", sa.Column("options", sa.Text(), nullable=False, server_default="{}"))
    for name in ("name", "email"):
        lower = sa.func.lower(sa.column(name)).label(f"lower_{name}")
        op.create_index(f"ix_user_lower_{name}", "user", [lower], postgresql_ops={f"lower_{name}": "text_pattern_ops"})
    op.create_index("ix_device_end", "device", [sa.text("substr(mac, 11)"), "mac"])
    op.create_index("ix_binding_label", "binding", ["label"], sqlite_where=LABELLED, postgresql_where=LABELLED)
