"""Files in, rows out: whose files they are is found out by what they begin with. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from provisioner.errors import Invalid
from provisioner.imports.fusionpbx import is_fusionpbx, read_fusionpbx
from provisioner.imports.own import read_own
from provisioner.imports.rows import MOST_ROWS, Format, Sheet, broken
from provisioner.imports.table import decoded, read_table
from provisioner.imports.wazo import is_json, read_wazo

_MOST: Final = 10
"""Files of an import."""


def read_sheet(files: Sequence[bytes], asked: Format = Format.AUTO) -> Sheet:
    """What stands in the files; Invalid, and nothing else, when they cannot be read."""
    if not 1 <= len(files) <= _MOST:
        raise Invalid("file", f"give 1 to {_MOST} of them")
    texts = [decoded(content, number) for number, content in enumerate(files, 1)]
    if asked is Format.WAZO or (asked is Format.AUTO and all(is_json(text) for text in texts)):
        return _checked(read_wazo(texts))
    tables = [read_table(text, number) for number, text in enumerate(texts, 1)]
    if asked is Format.FUSIONPBX or (asked is Format.AUTO and all(is_fusionpbx(table) for table in tables)):
        return _checked(read_fusionpbx(tables))
    return _checked(read_own(tables))


def _checked(sheet: Sheet) -> Sheet:
    if not sheet.total:
        raise broken(1, 1, "there is nothing below the header")
    if sheet.total > MOST_ROWS:
        raise broken(1, 1, f"there are {sheet.total:,} rows in all, at most {MOST_ROWS:,} are taken at once")
    return sheet
