"""Licenses and phone numbers a page at a time, each in the state that it is in now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, and_, false, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.licensing import LicenseKind, LicenseState, license_state
from provisioner.numbering import NumberOrigin, NumberState, number_state
from provisioner.store import schema
from provisioner.store.pages import Span, page_of
from provisioner.store.rows import License, PhoneNumber

_L: Final = schema.license.c
_N: Final = schema.phone_number.c
_LICENSES: Final[Mapping[LicenseState, ColumnElement[bool]]] = {
    LicenseState.AVAILABLE: and_(_L.user.is_(None), _L.suspended.is_(false())),
    LicenseState.ASSIGNED: and_(_L.user.is_not(None), _L.suspended.is_(false())),
    LicenseState.SUSPENDED: _L.suspended.is_(true()),
}


async def licenses_page(
    connection: AsyncConnection,
    span: Span,
    *,
    account: str = "",
    kind: LicenseKind | None = None,
    state: LicenseState | None = None,
    user: str = "",
) -> list[License]:
    """Licenses by id."""
    query = select(schema.license)
    for column, value in ((_L.account, account), (_L.kind, kind.value if kind else ""), (_L.user, user)):
        query = query.where(column == value) if value else query
    query = query if state is None else query.where(_LICENSES[state])
    return [_license(row) for row in await page_of(connection, query, [_L.id], span)]


def _license(row: Row[Any]) -> License:
    state = license_state(has_user=row.user is not None, suspended=row.suspended)
    return License(row.id, row.account, LicenseKind(row.kind), state, row.user or "", row.since)


async def numbers_page(
    connection: AsyncConnection,
    span: Span,
    now: float,
    *,
    account: str = "",
    site: str = "",
    extension: str = "",
    state: NumberState | None = None,
) -> list[PhoneNumber]:
    """Phone numbers by id."""
    query = select(schema.phone_number)
    for column, value in ((_N.account, account), (_N.site, site), (_N.extension, extension)):
        query = query.where(column == value) if value else query
    query = query if state is None else query.where(_in_state(state, now))
    return [_number(row, now) for row in await page_of(connection, query, [_N.id], span)]


def _in_state(state: NumberState, now: float) -> ColumnElement[bool]:
    here, free = _N.porting.is_(false()), _N.extension.is_(None)
    conditions: Mapping[NumberState, ColumnElement[bool]] = {
        NumberState.PORTING: _N.porting.is_(true()),
        NumberState.ASSIGNED: and_(here, _N.extension.is_not(None)),
        NumberState.HELD: and_(here, free, _N.held_until > now),
        NumberState.AVAILABLE: and_(here, free, _N.held_until <= now),
    }
    return conditions[state]


def _number(row: Row[Any], now: float) -> PhoneNumber:
    held = row.held_until > now and row.extension is None
    state = number_state(porting=row.porting, has_extension=row.extension is not None, held=held)
    return PhoneNumber(
        row.id, row.number, row.account, row.site or "", state, NumberOrigin(row.origin), row.extension or "",
        row.holder if held else "", row.held_until if held else 0.0, row.since,
    )  # fmt: skip
