"""Which device a refusal of nobody proven names, so that finding it reads no other events."""

import json

import sqlalchemy as sa
from alembic import op

from provisioner.store.naming import macs_named

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BATCH = 5000


def upgrade() -> None:
    """The events that are there already are read once."""
    for name in ("named", "claimed"):
        op.add_column("event", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    _fill()
    for name in ("named", "claimed"):
        told = sa.text(f"{name} <> ''")
        op.create_index(f"ix_event_{name}_id", "event", [name, "id"], sqlite_where=told, postgresql_where=told)


def _fill() -> None:
    connection, last = op.get_bind(), 0
    event = sa.table("event", *(sa.column(one) for one in ("id", "mac", "details", "named", "claimed")))
    page = sa.select(event.c.id, event.c.details).where(event.c.mac == "").order_by(event.c.id).limit(_BATCH)
    change = sa.update(event).where(event.c.id == sa.bindparam("the_id"))
    change = change.values(named=sa.bindparam("path"), claimed=sa.bindparam("subject"))
    while rows := connection.execute(page.where(event.c.id > last)).all():
        last = rows[-1].id
        told = [(row.id, *macs_named(json.loads(row.details))) for row in rows]
        found = [{"the_id": one, "path": path, "subject": subject} for one, path, subject in told if path or subject]
        if found:
            connection.execute(change, found)
