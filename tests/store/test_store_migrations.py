"""A database is brought to the schema that the program needs, whole or not at all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from provisioner.errors import StoreFailed, Unusable
from provisioner.settings import Settings
from provisioner.store import migrations, schema
from provisioner.store.database import Store, key_path
from provisioner.store.secretbox import create_key


def synchronous(url: str) -> str:
    return url.replace("+aiosqlite", "")


def test_the_migrations_make_exactly_the_schema(url: str) -> None:
    engine = create_engine(synchronous(url), poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": not url.startswith("sqlite")})
        assert compare_metadata(context, schema.metadata) == []


def test_indexes_of_active_bindings_are_partial_and_rows_are_clustered(tmp_path: Path) -> None:
    """What autogenerate does not compare."""
    url = f"sqlite:///{tmp_path / 'p.db'}"
    migrations.upgrade(url)
    made = create_engine("sqlite://")
    schema.metadata.create_all(made)
    query = text(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version' ORDER BY name"
    )
    tables: list[dict[str, str]] = []
    for engine in (create_engine(url, poolclass=NullPool), made):
        with engine.connect() as connection:
            tables.append({name: sql for name, sql in connection.execute(query)})
    made.dispose()
    migrated, described = ({name: set(re.findall(r"\w+", sql)) for name, sql in one.items()} for one in tables)
    assert migrated == described


def test_a_second_upgrade_changes_nothing(url: str) -> None:
    assert migrations.current(url) == migrations.head() == migrations.upgrade(url) != ""
    migrations.require_current(url)


def test_a_new_database_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "provisioner.db"
    url = f"sqlite+aiosqlite:///{path}"
    assert migrations.current(url) == ""
    with pytest.raises(Unusable, match="provisioner db upgrade"):
        migrations.require_current(url)
    assert not path.exists()
    migrations.upgrade(url)
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_upgrade_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'provisioner.db'}"
    migrations.upgrade(url)
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for table in reversed(schema.metadata.sorted_tables):
            connection.execute(text(f'DROP TABLE "{table.name}"'))
        connection.execute(text("DELETE FROM alembic_version"))
        connection.execute(text("CREATE TABLE seen (mac TEXT)"))
    with pytest.raises(StoreFailed, match="already exists"):
        migrations.upgrade(url)
    with engine.connect() as connection:
        names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"))
        assert [row[0] for row in names] == ["alembic_version", "seen"]


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("nonsense", "no database URL"),
        ("mysql://localhost/x", "only sqlite and postgresql"),
        ("sqlite://", "in memory"),
        ("sqlite:////nowhere/at/all/p.db", "is missing"),
    ],
)
def test_an_address_that_cannot_work_is_refused_with_what_to_do(address: str, word: str) -> None:
    with pytest.raises(Unusable, match=word):
        migrations.upgrade(address)


def test_a_store_is_not_opened_without_its_parts(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    with pytest.raises(Unusable, match="provisioner db upgrade"):
        Store.of(settings)
    migrations.upgrade(settings.database_url)
    with pytest.raises(Unusable, match="key file"):
        Store.of(settings)
    create_key(key_path(tmp_path))
    assert Store.of(settings).uploads == tmp_path / "uploads"


def test_a_password_in_the_address_is_not_told(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed) as failed:
        migrations.upgrade("postgresql://tester:canary-4711@localhost/x?host=/nowhere/at/all")
    assert "canary" not in failed.value.cause
    assert "canary" not in str(make_url("postgresql://tester:canary-4711@localhost/x"))


def test_events_that_were_there_before_are_found_by_name(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'p.db'}"
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    rows = [
        ("", {"path": "/0004F2AABB01-phone.cfg", "subject": "CN=0004F2AABB02"}),
        ("0004f2aabb03", {"path": "/0004f2aabb01.cfg"}),
        ("", {"path": "/", "reason": "0004f2aabb01"}),
    ]
    insert = text(
        "INSERT INTO event (at, kind, mac, severity, actor, audit, details)"
        " VALUES (1, 'x', :mac, 'info', '', false, :text)"
    )
    with engine.begin() as connection:
        for _ in range(2000):
            connection.execute(insert, [{"mac": mac, "text": json.dumps(details)} for mac, details in rows])
    migrations.upgrade(url)
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT mac, named, claimed, count(*) FROM event GROUP BY 1, 2, 3 ORDER BY 1, 2")
        )
        assert [tuple(row) for row in found] == [
            ("", "", "", 2000),
            ("", "0004f2aabb01", "0004f2aabb02", 2000),
            ("0004f2aabb03", "", "", 2000),
        ]
