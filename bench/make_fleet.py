"""Fill an installation's SQLite database with many devices, straight into its tables: the bulk a benchmark needs.

    python bench/make_fleet.py DATA --devices 1000000

Device n is bound to extension n of one of a few accounts; every tenth has a layer of its own. The same n gives the
same Mac: ``mac_of(n)``.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from provisioner.model import ConfigLayer, Mac, Scope
from provisioner.store import migrations
from provisioner.store.database import key_path
from provisioner.store.secretbox import SecretBox, create_key
from provisioner.store.values import pack_layer

OUI = "0004f2"
ACCOUNTS = 100
BATCH = 50_000


def mac_of(number: int) -> Mac:
    """Spread over the OUI's 2^24 addresses, so that neighbours in time are not neighbours in the index."""
    return Mac(f"{OUI}{number * 2_654_435 % (1 << 24):06x}")


def make_fleet(data: Path, count: int, vendor: str, model: str, *, lines: int = 1, people: int = ACCOUNTS) -> None:
    """Accounts, so many users with the extensions shared out among them, devices, bindings, pins and layers."""
    if not key_path(data).exists():
        create_key(key_path(data))
    box = SecretBox.load(key_path(data))
    path = data / "provisioner.db"
    migrations.upgrade(f"sqlite+aiosqlite:///{path}")
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous = OFF", "foreign_keys = OFF", "cache_size = -200000"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN IMMEDIATE")
    now = time.time()
    connection.executemany(
        "INSERT INTO account (id, name, created) VALUES (?, ?, ?)",
        ((f"account{n}", f"Account {n}", now) for n in range(ACCOUNTS)),
    )
    connection.executemany(
        'INSERT INTO "user" (id, account, name) VALUES (?, ?, ?)',
        ((f"user{n}", f"account{n % ACCOUNTS}", f"User {n}") for n in range(people)),
    )
    for start in range(0, count, BATCH):
        _fill(connection, box, range(start, min(start + BATCH, count)), (vendor, model), lines, people, now)
    connection.execute("UPDATE revision SET value = value + 1")
    connection.execute("INSERT INTO change SELECT value, 'defaults', '' FROM revision")
    connection.execute("COMMIT")
    connection.execute("ANALYZE")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _fill(
    connection: sqlite3.Connection,
    box: SecretBox,
    numbers: range,
    what: tuple[str, str],
    lines: int,
    people: int,
    now: float,
) -> None:
    connection.executemany(
        "INSERT INTO device (mac, vendor, model, account, created) VALUES (?, ?, ?, ?, ?)",
        sorted((mac_of(n), *what, f"account{n % ACCOUNTS}", now) for n in numbers),
    )
    connection.executemany(
        "INSERT INTO extension (id, account, number, user, display_name, auth_user, secret)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row for n in numbers for row in _extensions(box, n, lines, people)),
    )
    connection.executemany(
        "INSERT INTO binding (mac, line, extension, since, actor, cause) VALUES (?, ?, ?, ?, 'bench', 'bulk')",
        ((mac_of(n), line, f"e{n}-{line}", now) for n in numbers for line in range(1, lines + 1)),
    )
    connection.executemany(
        "INSERT INTO pin (mac, spki, not_after, at) VALUES (?, ?, '2044-01-01T00:00:00Z', ?)",
        ((mac_of(n), f"{n:064x}", now) for n in numbers),
    )
    connection.executemany(
        "INSERT INTO layer (scope, key, entries, raw) VALUES (?, ?, ?, ?)",
        (_layer(box, n) for n in numbers if n % 10 == 0),
    )


_Extension = tuple[str, str, str, str, str, str, bytes]


def _extensions(box: SecretBox, n: int, lines: int, people: int) -> Iterator[_Extension]:
    for line in range(1, lines + 1):
        ident, number = f"e{n}-{line}", f"{n}{line:02d}"
        secret = box.seal(f"secret-of-{number}-xyz".encode(), "extension", ident, "secret")
        yield ident, f"account{n % ACCOUNTS}", number, f"user{n % people}", f"Person {n}", number, secret


def _layer(box: SecretBox, n: int) -> tuple[str, str, str, bytes | None]:
    layer = ConfigLayer(Scope.DEVICE, mac_of(n), {"language": "de-DE", "net.vlan": n % 4094})
    return (Scope.DEVICE.value, mac_of(n), *pack_layer(layer, box))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--vendor", default="poly")
    parser.add_argument("--model", default="VVX 411")
    parser.add_argument("--lines", type=int, default=1)
    asked = parser.parse_args()
    asked.data.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    make_fleet(asked.data, asked.devices, asked.vendor, asked.model, lines=asked.lines)
    size = (asked.data / "provisioner.db").stat().st_size
    print(json.dumps({"devices": asked.devices, "seconds": round(time.perf_counter() - begin, 1), "bytes": size}))


if __name__ == "__main__":
    main()
