"""A table in a text file: UTF-8, its delimiter found out by the header, rows with the lines they begin in. Pure."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from typing import Any, Final

from provisioner.imports.rows import LONGEST, MOST_BYTES, MOST_COLUMNS, MOST_ROWS, broken

_BOM: Final = b"\xef\xbb\xbf"
_OTHER_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS: Final = ",;\t"
_SEPARATOR: Final = re.compile(r"sep=([,;\t])(\r\n|\r|\n)", re.IGNORECASE)
"""What Excel writes above a header, to tell itself."""
_QUOTED: Final = re.compile(r'"[^"]*"?')
_BREAK: Final = re.compile(r"\r\n|\r|\n")
_UNCLOSED: Final = "the cell begins with a quote that is not closed before the next column: close it, or take it out"


@dataclass(frozen=True, slots=True)
class Table:
    """A header and the rows below it."""

    titles: tuple[str, ...]
    """As they are written."""
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    """Each with the line that it begins in; short ones are not filled up."""
    file: int = 1


def decoded(content: bytes, file: int = 1) -> str:
    """The file as text; Invalid names the first byte that is none."""
    if len(content) > MOST_BYTES:
        raise broken(1, 1, f"the file has {len(content):,} bytes, at most {MOST_BYTES:,} are read: split it", file)
    if content.startswith(_OTHER_BOMS):
        raise broken(1, 1, "the file is UTF-16: save it as CSV UTF-8", file)
    plain = content.removeprefix(_BOM)
    try:
        text = plain.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _place(plain[: error.start])
        raise broken(line, column, "is not UTF-8: save the file as CSV UTF-8", file) from error
    if (at := text.find("\0")) >= 0:
        line, column = _place(text[:at].encode())
        raise broken(line, column, "holds a NUL: this is no text file", file)
    return text


def _place(before: bytes) -> tuple[int, int]:
    """Line and byte in it, both from 1, of what comes behind."""
    return before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1


def read_table(text: str, file: int = 1) -> Table:
    """A table of text; Invalid where quotes do not close, or where there is too much of anything."""
    first, delimiter, text = _opening(text)
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = _records(reader, first, file, text)
    line, titles = next(rows, (1, ()))
    if not titles:
        raise broken(1, 1, "the file is empty: its first line has to name the columns", file)
    if len(titles) > MOST_COLUMNS:
        raise broken(line, MOST_COLUMNS + 1, f"there are {len(titles)} columns, at most {MOST_COLUMNS} are read", file)
    found: list[tuple[int, tuple[str, ...]]] = []
    for line, cells in rows:
        if len(found) == MOST_ROWS:
            raise broken(line, 1, f"there are more than {MOST_ROWS:,} rows: split the file", file)
        found.append((line, _fitting(line, cells, len(titles), file)))
    return Table(titles, tuple(found), file)


def _opening(text: str) -> tuple[int, str, str]:
    """Lines above the header, the delimiter, and the text from the header on."""
    if told := _SEPARATOR.match(text):
        return 1, told[1], text[told.end() :]
    head = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
    bare = _QUOTED.sub("", head)
    return 0, max(_DELIMITERS, key=bare.count), text


def _records(reader: Iterator[list[str]], first: int, file: int, text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Rows in which anything stands."""
    before = 0
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            # A quote that does not close swallows the rest: where it opened helps, where the file ends does not.
            if (opened := _unclosed(reader, text, before)) is None:
                raise broken(first + before + 1, "of this row", f"the row cannot be read: {error}", file) from error
            raise broken(first + opened[0], opened[1], _UNCLOSED, file) from error
        if cells is None:
            return
        line, before = first + before + 1, reader.line_num  # type: ignore[attr-defined]  # of csv's own iterator
        if any(cell.strip() for cell in cells):
            yield line, tuple(cells)


def _unclosed(reader: Any, text: str, before: int) -> tuple[int, int] | None:
    """Of csv's own iterator, which has no type of its own."""
    return _opened(text, before, reader.line_num, reader.dialect.delimiter)


def _opened(text: str, before: int, upto: int, delimiter: str) -> tuple[int, int] | None:
    """Line and cell, both from 1, of the quote that keeps a row from being read; None where it is something else.

    The row stands behind so many lines, and reading ended behind ``upto``. Where something else than a delimiter
    follows what was taken for the closing quote, the opening one is meant, too.
    """
    rest = "".join(islice(StringIO(text, newline=""), before, upto))
    cells = re.compile(rf'"(?:[^"]|"")*"(?=[{delimiter}\r\n]|\Z)|(?!")[^{delimiter}\r\n]*')
    at, cell = 0, 1
    while (found := cells.match(rest, at)) is not None:
        at, cell = found.end() + 1, cell + 1
        if found.end() >= len(rest) or rest[found.end()] != delimiter:
            return None
    return before + len(_BREAK.findall(rest, 0, at)) + 1, cell


def _fitting(line: int, cells: Sequence[str], columns: int, file: int) -> tuple[str, ...]:
    """The cells under the titles; empty ones beyond them are left off, as spreadsheets like to write them."""
    if beyond := [place for place, cell in enumerate(cells[columns:], columns + 1) if cell.strip()]:
        raise broken(line, beyond[0], f"the row has more cells than the header has columns ({columns})", file)
    for place, cell in enumerate(cells[:columns], 1):
        if len(cell) > LONGEST:
            raise broken(line, place, f"has {len(cell):,} characters, at most {LONGEST:,} are read", file)
    return tuple(cells[:columns])


def plain_title(title: str) -> str:
    """A title as it is looked for: case, blanks, dashes and underscores do not count."""
    return re.sub(r"[\s_-]+", "_", title.strip().lower())
