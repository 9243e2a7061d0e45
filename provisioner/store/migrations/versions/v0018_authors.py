"""Webhook endpoints know who added them; sessions when whoever has them was last proven."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Columns of endpoints and sessions; of those that are there nobody knows who added them, so nobody is missed."""
    for name in ("author", "administrator", "api_key", "orphaned"):
        op.add_column("hook", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.add_column("session", sa.Column("proved", sa.Float(), nullable=False, server_default="0"))
    op.execute(sa.text("UPDATE session SET proved = created"))
