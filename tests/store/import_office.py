"""An account or two, files with rows for them, and an import whose dry run has to come true."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from provisioner.fleet.fleet import Fleet
from provisioner.imports.formats import read_sheet
from provisioner.imports.imports import Imported, Imports
from provisioner.imports.rows import Sheet
from provisioner.imports.steps import Outcome, Planned
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.vendors import drivers

KNOWN = {one.manifest.name: one for one in drivers()}
HEADER = "account,site,user,email,extension,display name,auth user,secret,mac,vendor,model,line,label"
TABLES = (schema.site, schema.user, schema.extension, schema.device, schema.binding, schema.event, schema.change)
MAC = "0004f2000001"
ADD = {"mac": MAC, "vendor": "poly", "model": "VVX 411"}
BIND = {"user": "Ada", "extension": "1001", "mac": MAC}
ON_SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
"""Where the database is not what is tested."""


def sheet(*rows: str, header: str = HEADER) -> Sheet:
    return read_sheet(["\n".join([header, *rows, ""]).encode()])


def row(**cells: str) -> str:
    return ",".join(cells.get(name.replace(" ", "_"), "") for name in HEADER.split(","))


def full(number: int, **cells: str) -> str:
    told = {
        "site": "Berlin", "user": f"User {number}", "email": f"u{number}@example.net", "extension": str(1000 + number),
        "secret": f"s3cret-{number:04}", "mac": f"0004f2{number:06x}", "vendor": "poly", "model": "VVX 411",
        "line": "1",
    }  # fmt: skip
    return row(**{**told, **cells})


async def make_fleet(store: Store) -> Fleet:
    """Two accounts."""
    made = Fleet(store, KNOWN, actor="ann")
    await made.add_account("Acme")
    await made.add_account("Other")
    return made


async def taken(desk: Imports, *rows: str) -> Imported:
    """The dry run of rows, which has to come true."""
    told = sheet(*rows)
    before = await counted(desk)
    planned = await desk.plan_import(told, account="Acme")
    assert await counted(desk) == before
    found = await desk.apply_import(told, account="Acme")
    assert shown(found) == shown(planned)
    return found


def shown(found: Imported) -> list[tuple[object, ...]]:
    return [(one.line, one.outcome, one.does, one.column, one.why, one.warnings) for one in found.rows]


async def counted(desk: Imports) -> list[int]:
    async with desk._store.reading() as connection:
        return [(await connection.execute(select(func.count()).select_from(one))).scalar_one() for one in TABLES]


def outcomes(found: Imported) -> list[Outcome]:
    return [one.outcome for one in found.rows]


async def one_of(desk: Imports, **cells: str) -> Planned:
    [found] = (await taken(desk, row(**cells))).rows
    return found
