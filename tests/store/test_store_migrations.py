"""A database is brought to the schema that the program needs, whole or not at all."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from provisioner.audit_chain import Row, Walk
from provisioner.errors import StoreFailed, Unusable
from provisioner.settings import Settings
from provisioner.store import migrations, schema
from provisioner.store.database import Store, key_path
from provisioner.store.secretbox import create_key


def synchronous(url: str) -> str:
    return url.replace("+aiosqlite", "")


def test_the_migrations_make_exactly_the_schema(url: str) -> None:
    engine = create_engine(synchronous(url), poolclass=NullPool)
    with engine.connect() as connection, warnings.catch_warnings():
        # SQLite's indexes of expressions are looked at below, word by word.
        warnings.filterwarnings("ignore", ".*expression-based index")
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
    # SQLite takes a new column with its reference in it, and a new table with FOREIGN KEY: the same in other words.
    words = ({name: set(re.findall(r"\w+", sql)) - {"FOREIGN"} for name, sql in one.items()} for one in tables)
    migrated, described = words
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


def test_uploads_of_an_older_version_go_to_who_had_the_phone_when_they_came(tmp_path: Path) -> None:
    """Ann's friends came in her time, Eve's calls in hers, and a log before anybody had a line."""
    url = f"sqlite:///{tmp_path / 'provisioner.db'}"
    _at_version(url, "0007")
    engine = create_engine(url, poolclass=NullPool)
    mac, binding = "0004f2aabb01", "INSERT INTO binding (mac, line, extension, since, until, actor, cause)"
    with engine.begin() as connection:
        for query in (
            "INSERT INTO account (id, name, created) VALUES ('acme', 'Acme', 1)",
            "INSERT INTO \"user\" (id, account, name) VALUES ('ann', 'acme', 'Ann')",
            "INSERT INTO \"user\" (id, account, name) VALUES ('eve', 'acme', 'Eve')",
            'INSERT INTO extension (id, account, number, "user", auth_user, secret)'
            " VALUES ('x1', 'acme', '1001', 'ann', 'a', x'00'), ('x2', 'acme', '1002', 'eve', 'b', x'00')",
            f"INSERT INTO device (mac, vendor, model, account, created) VALUES ('{mac}', 'poly', 'x', 'acme', 1)",
            f"{binding} VALUES ('{mac}', 1, 'x1', 10, 20, 'a', 'b'), ('{mac}', 1, 'x2', 20, NULL, 'a', 'b')",
            "INSERT INTO upload (mac, name, kind, size, digest, file, at) VALUES"
            f" ('{mac}', 'log', 'log', 1, 'd', 'f0', 5), ('{mac}', 'book', 'directory', 1, 'd', 'f1', 15),"
            f" ('{mac}', 'calls', 'calls', 1, 'd', 'f2', 25)",
        ):
            connection.execute(text(query))
    migrations.upgrade(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT owner, name, file, at FROM upload ORDER BY at")).all()
    assert [tuple(row) for row in found] == [
        ("", "log", "f0", 5),
        ("ann", "book", "f1", 15),
        ("eve", "calls", "f2", 25),
    ]


def test_phones_of_an_older_version_work_for_who_had_them_when_they_last_fetched(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'provisioner.db'}"
    _at_version(url, "0011")
    engine = create_engine(url, poolclass=NullPool)
    device = "INSERT INTO device (mac, vendor, model, account, created) VALUES"
    fetch = "INSERT INTO last_fetch VALUES ('0004f2aabb01', '{}', {}, {}, 1, 'd', 'certificate', 'device', '', '')"
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO account (id, name, created) VALUES ('acme', 'Acme', 1)"))
        connection.execute(text(f"{device} ('0004f2aabb01', 'poly', 'x', 'acme', 1)"))
        connection.execute(text(f"{device} ('0004f2aabb02', 'poly', 'x', 'acme', 1)"))
        for name, at, status in (("a.cfg", 10, 200), ("b.cfg", 20, 304), ("c.cfg", 30, 404)):
            connection.execute(text(fetch.format(name, at, status)))
    migrations.upgrade(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT mac, served_at FROM device ORDER BY mac")).all()
    assert [tuple(row) for row in found] == [("0004f2aabb01", 20), ("0004f2aabb02", None)]


def test_what_administrators_did_before_becomes_the_beginning_of_the_chain(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'provisioner.db'}"
    _at_version(url, "0008")
    engine = create_engine(url, poolclass=NullPool)
    insert = text(
        "INSERT INTO event (at, kind, mac, severity, actor, audit, details)"
        " VALUES (:at, 'x', '', 'info', 'ann', :audit, :told)"
    )
    told = [{"at": n / 7, "audit": n % 2 == 0, "told": json.dumps({"account": f"a{n}"})} for n in range(5000)]
    with engine.begin() as connection:
        connection.execute(insert, told)
    migrations.upgrade(url)
    with engine.connect() as connection:
        query = "SELECT seq, at, kind, mac, severity, actor, account, details, hash FROM event WHERE audit ORDER BY seq"
        walk = Walk()
        for row in connection.execute(text(query)):
            walk.step(Row(*row))
        head = connection.execute(text("SELECT id, seq, hash, seal FROM audit_head")).one()
        assert (
            connection.execute(text("SELECT count(*) FROM event WHERE NOT audit AND seq IS NULL")).scalar_one() == 2500
        )
        assert connection.execute(text("SELECT account FROM event WHERE seq = 2")).scalar_one() == "a2"
    assert walk.end() == []
    assert tuple(head) == (1, 2500, walk.head.hash, "")


def _at_version(url: str, version: str) -> None:
    with migrations._opened(make_url(url)) as engine, engine.begin() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.upgrade(config, version)
