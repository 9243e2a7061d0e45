"""Uploads are their owner's: what is there belongs to the user on the device's first line when it came."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_COLUMNS = ("mac", "name", "kind", "size", "digest", "file", "at")
_OWNER = """
    COALESCE((
        SELECT extension."user" FROM binding JOIN extension ON extension.id = binding.extension
        WHERE binding.mac = upload_before.mac AND binding.since <= upload_before.at
            AND (binding.until IS NULL OR binding.until > upload_before.at)
        ORDER BY binding.line LIMIT 1
    ), '')
"""


def upgrade() -> None:
    """The table made anew: SQLite changes no primary key."""
    listed = ", ".join(_COLUMNS)
    op.execute(f"CREATE TABLE upload_before AS SELECT {listed} FROM upload")  # noqa: S608  # constants of this file
    op.drop_table("upload")
    op.create_table(
        "upload",
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["mac"], ["device.mac"], name="fk_upload_mac", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("mac", "owner", "name", name="pk_upload"),
    )
    fill = f"INSERT INTO upload (owner, {listed}) SELECT {_OWNER}, {listed} FROM upload_before"  # noqa: S608  # as above
    op.execute(fill)
    op.drop_table("upload_before")
