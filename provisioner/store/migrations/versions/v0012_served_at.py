"""When each device was sent its own configuration last: what it sends is its user's of then."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_LAST = "SELECT max(at) FROM last_fetch WHERE last_fetch.mac = device.mac AND last_fetch.status IN (200, 304)"


def upgrade() -> None:
    """One column; before, the last fetch of anything was what counted."""
    op.add_column("device", sa.Column("served_at", sa.Float()))
    op.execute(f"UPDATE device SET served_at = ({_LAST})")  # noqa: S608  # a constant of this file
