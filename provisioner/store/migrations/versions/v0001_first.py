"""The first schema: people, devices, layers, and what devices cause."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """All tables, and the one row that counts changes."""
    _people()
    _devices()
    _bindings()
    _proofs()
    _layers()
    _fetches()
    _journal()
    op.execute("INSERT INTO revision (id, value) VALUES (1, 0)")


def _people() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_account"),
        sa.UniqueConstraint("name", name="uq_account_name"),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_site_account"),
        sa.PrimaryKeyConstraint("id", name="pk_site"),
        sa.UniqueConstraint("account", "name", name="uq_site_account_name"),
    )
    op.create_table(
        "user",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_user_account"),
        sa.PrimaryKeyConstraint("id", name="pk_user"),
    )
    op.create_index("ix_user_account", "user", ["account"], unique=False)
    op.create_table(
        "extension",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), server_default="", nullable=False),
        sa.Column("auth_user", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_extension_account"),
        sa.ForeignKeyConstraint(["user"], ["user.id"], name="fk_extension_user"),
        sa.PrimaryKeyConstraint("id", name="pk_extension"),
        sa.UniqueConstraint("account", "number", name="uq_extension_account_number"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_extension_user", "extension", ["user"], unique=False)


def _devices() -> None:
    op.create_table(
        "device",
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=True),
        sa.Column("revoked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("firmware", sa.Text(), server_default="", nullable=False),
        sa.Column("seen_modern", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("allow_token", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("allow_digest", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("allow_expired", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("digest_secret", sa.LargeBinary(), nullable=True),
        sa.Column("created", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name="fk_device_account"),
        sa.ForeignKeyConstraint(["site"], ["site.id"], name="fk_device_site"),
        sa.PrimaryKeyConstraint("mac", name="pk_device"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_device_account", "device", ["account"], unique=False)
    op.create_index("ix_device_site", "device", ["site"], unique=False)


def _bindings() -> None:
    op.create_table(
        "binding",
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("extension", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), server_default="", nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("until", sa.Float(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["extension"], ["extension.id"], name="fk_binding_extension", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["mac"], ["device.mac"], name="fk_binding_mac", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("mac", "line", "since", name="pk_binding"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_binding_extension", "binding", ["extension"], unique=False)
    op.create_index(
        "uq_binding_active_extension",
        "binding",
        ["extension"],
        unique=True,
        sqlite_where=sa.text("until IS NULL"),
        postgresql_where=sa.text("until IS NULL"),
    )
    op.create_index(
        "uq_binding_active_line",
        "binding",
        ["mac", "line"],
        unique=True,
        sqlite_where=sa.text("until IS NULL"),
        postgresql_where=sa.text("until IS NULL"),
    )


def _proofs() -> None:
    op.create_table(
        "pin",
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("spki", sa.Text(), nullable=False),
        sa.Column("not_after", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["mac"], ["device.mac"], name="fk_pin_mac", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("mac", name="pk_pin"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "token",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("finder", sa.Text(), nullable=False),
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("opens", sa.Float(), nullable=False),
        sa.Column("closes", sa.Float(), nullable=False),
        sa.Column("budget", sa.Integer(), nullable=False),
        sa.Column("spent", sa.Integer(), server_default="0", nullable=False),
        sa.Column("revoked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["mac"], ["device.mac"], name="fk_token_mac", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_token"),
        sa.UniqueConstraint("finder", name="uq_token_finder"),
    )
    op.create_index("ix_token_mac", "token", ["mac"], unique=False)
    op.create_table(
        "upload",
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["mac"], ["device.mac"], name="fk_upload_mac", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("mac", "name", name="pk_upload"),
    )


def _layers() -> None:
    op.create_table(
        "layer",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("entries", sa.Text(), server_default="{}", nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("scope", "key", name="pk_layer"),
    )
    op.create_table(
        "revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revision"),
    )
    op.create_table(
        "change",
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("revision", "scope", "key", name="pk_change"),
    )


def _fetches() -> None:
    op.create_table(
        "last_fetch",
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.Column("listener", sa.Text(), nullable=False),
        sa.Column("tls_version", sa.Text(), nullable=False),
        sa.Column("firmware", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("mac", "file", name="pk_last_fetch"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "last_body",
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("mac", "file", name="pk_last_body"),
    )


def _journal() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("audit", sa.Boolean(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
    )
    op.create_index("ix_event_audit_id", "event", ["audit", "id"], unique=False)
    op.create_index("ix_event_kind_id", "event", ["kind", "id"], unique=False)
    op.create_index("ix_event_mac_id", "event", ["mac", "id"], unique=False)
    op.create_table(
        "seen",
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("first_at", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("mac", name="pk_seen"),
    )
    op.create_index("ix_seen_last_at", "seen", ["last_at"], unique=False)
