"""What a list of devices shows as a table for other programs (CSV, RFC 4180), sent while it is being read.

A spreadsheet takes a cell that begins with = + - @ for a formula, whoever has written it; such a cell begins with an
apostrophe instead, which spreadsheets do not show.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from provisioner.fleet.device_search import Found
from provisioner.http.console.choices import names_of
from provisioner.http.console.device_filter import asked_of, query_of
from provisioner.http.console.pages import Answer, Call, Pages
from provisioner.rights import Right

export = Pages()

COLUMNS: Final = (
    "mac", "state", "numbers", "vendor", "model", "firmware", "account", "site", "last_fetch",
)  # fmt: skip
_PAGE: Final = 500
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
HEADERS: Final = {
    "Content-Type": "text/csv; charset=utf-8",
    "Content-Disposition": 'attachment; filename="devices.csv"',
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def cell(value: object) -> str:
    """Text that is text in every spreadsheet."""
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def rows_of(rows: Iterable[Sequence[object]]) -> bytes:
    """Lines of the table."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([[cell(value) for value in row] for row in rows])
    return text.getvalue().encode("utf-8")


@export.get("/devices.csv", Right.DEVICE_READ)
async def export_devices(call: Call) -> Answer:
    """Everything that the filter finds, however much it is."""
    pages = _pages(call)
    first = await anext(pages)  # what is wrong with the filter is told before anything is sent
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(call.request)
    await response.write(rows_of([COLUMNS, *first]))
    async for rows in pages:
        await response.write(rows_of(rows))
    await response.write_eof()
    return response


async def _pages(call: Call) -> AsyncIterator[list[Sequence[object]]]:
    query, after = query_of(asked_of(call)), ""
    names: dict[str, str] = {}
    while True:
        page = await call.desks.search.device_page(query, after=after, limit=_PAGE)
        places = {one.device.account for one in page.items} - names.keys()
        sites = {one.device.site for one in page.items} - names.keys()
        names |= await names_of(call, places, sites)
        yield [_row(one, names) for one in page.items]
        if page.next is None:
            return
        after = str(page.next[0])


def _row(found: Found, names: Mapping[str, str]) -> Sequence[object]:
    one, about = found.device, found.about
    last = about.last_fetch
    when = datetime.fromtimestamp(last, UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if last else ""
    numbers = " ".join(line.number for line in about.lines)
    place = names.get(one.account, one.account), names.get(one.site, one.site)
    return one.mac.colons, one.state.value, numbers, one.vendor, one.model, one.firmware, *place, when
