"""Systems that post to this server know whose right they act by; an account says itself which codes are mailed."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Who added a source stands in the audit log; one whom nobody there knows is the machine's own, as it was."""
    for name in ("author", "administrator", "api_key", "orphaned"):
        op.add_column("hook_source", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.add_column("policy", sa.Column("mails", sa.Text(), nullable=False, server_default="house"))
    learn(op.get_bind())


def learn(connection: sa.Connection) -> None:
    """Who has added each source."""
    known = {row.email: row.id for row in connection.execute(sa.text("SELECT id, email FROM administrator"))}
    added = sa.text("SELECT actor, details FROM event WHERE kind = 'hook_source_added' ORDER BY id")
    answering = sa.text("UPDATE hook_source SET author = :author, administrator = :administrator WHERE id = :id")
    for row in connection.execute(added).all():
        source = json.loads(row.details)["source"]
        connection.execute(answering, {"author": row.actor, "administrator": known.get(row.actor, ""), "id": source})
