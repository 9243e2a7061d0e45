"""Files that are imported: what is read of each format, and that a broken or hostile one is Invalid, nothing else."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.errors import Invalid
from provisioner.imports import wazo
from provisioner.imports.formats import read_sheet
from provisioner.imports.own import COLUMNS
from provisioner.imports.rows import LONGEST, MOST_BYTES, MOST_COLUMNS, MOST_ROWS, Format, Row, Sheet, parse_row

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "import"
HEADER = "account,user,extension,secret,mac,vendor,model,line"
ROW = "Example Ltd,Ada Byron,1001,correct-horse-7,0004f2aabbcc,poly,VVX 411,1"


def read(*texts: str | bytes, asked: Format = Format.AUTO) -> Sheet:
    return read_sheet([text.encode() if isinstance(text, str) else text for text in texts], asked)


def only(*texts: str | bytes) -> Row:
    [row] = read(*texts).rows
    return row


def why(*texts: str | bytes, asked: Format = Format.AUTO) -> str:
    with pytest.raises(Invalid) as told:
        read(*texts, asked=asked)
    return told.value.cause


def example(*names: str) -> Sheet:
    return read_sheet([(EXAMPLES / name).read_bytes() for name in names])


# --- our own table --------------------------------------------------------------------------------------


def test_a_row_is_read_field_by_field() -> None:
    row = only(f"{HEADER}\n{ROW}\n")
    assert (row.line, row.account, row.user, row.extension) == (2, "Example Ltd", "Ada Byron", "1001")
    assert (row.mac, row.vendor, row.model, row.key) == ("0004f2aabbcc", "poly", "VVX 411", 1)
    assert row.secret == "correct-horse-7"
    assert "correct-horse-7" not in repr(row)


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADER}\r\n{ROW}\r\n".encode("utf-8-sig"),
        f"{HEADER}\n{ROW}".replace(",", ";"),
        f"{HEADER}\r{ROW}\r".replace(",", "\t"),
        f"sep=;\r\n{HEADER}\r\n{ROW}\r\n".replace(",", ";"),
        f'{HEADER}\n"{ROW.replace(",", chr(34) + "," + chr(34))}"\n',
        f"{HEADER},,\n{ROW},,\n",
        f"\n{HEADER}\n\n{ROW}\n,,,\n",
        f"{HEADER.upper().replace('MAC', 'MAC-Address').replace('SECRET', 'SIP secret')}\n{ROW}\n",
    ],
    ids=["BOM and CRLF", "semicolons", "tabs and CR", "sep=", "quoted", "empty columns", "blank lines", "other titles"],
)
def test_a_table_is_read_however_it_was_written(content: str | bytes) -> None:
    row = only(content)
    assert (row.user, row.mac, row.secret) == ("Ada Byron", "0004f2aabbcc", "correct-horse-7")


def test_rows_have_the_lines_they_begin_in() -> None:
    sheet = read('user,email\n"Ada, of\tByron",a@example.net\n\n"two\nlines",b@example.net\nGrace,g@example.net\n')
    assert [(one.line, one.user) for one in sheet.rows] == [(6, "Grace")]
    assert [(one.line, one.column) for one in sheet.faults] == [(2, "user"), (4, "user")]


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("mac", "0004f2aabbc", "not a MAC"),
        ("mac", "ff:ff:ff:ff:ff:ff", "everybody"),
        ("email", "ada at example", "@"),
        ("extension", "10 01", "letters, digits"),
        ("extension", "1" * 41, "1 to 40"),
        ("secret", "short", "6 to 64"),
        ("auth user", "a b", "SIP user name"),
        ("line", "0", "1 to 999"),
        ("line", "1e3", "1 to 999"),
        ("line", "٣", "1 to 999"),
        ("user", "x" * 81, "at most 80"),
        ("label", "bell\x07", "U+0007"),
    ],
)
def test_a_wrong_field_costs_its_row_and_is_named(column: str, value: str, told: str) -> None:
    cells = {"user": "Ada", "extension": "1001", "mac": "0004f2aabbcc"} | {column: value}
    table = io.StringIO()
    csv.writer(table).writerows([cells.keys(), cells.values(), ["Grace", "1002"]])
    sheet = read(table.getvalue())
    [fault] = sheet.faults
    assert (fault.line, fault.column) == (2, column)
    assert told in fault.why
    assert [one.user for one in sheet.rows] == ["Grace"]


def test_a_fault_never_shows_a_secret() -> None:
    [fault] = read("user,extension,secret\nAda,1001,tiny\n").faults
    assert "tiny" not in fault.why


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("user,secret\nAda,correct-horse-7\n", "extension"),
        ("user,model\nAda,VVX 411\n", "mac"),
        ("account\nA\n", "user"),
    ],
)
def test_what_belongs_together_is_asked_for(table: str, column: str) -> None:
    assert [one.column for one in read(table).faults] == [column]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x","y")'])
def test_a_formula_is_nothing_but_text(cell: str) -> None:
    table = io.StringIO()
    csv.writer(table).writerows([["user"], [cell]])
    assert only(table.getvalue()).user == cell


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (f"{HEADER}\n", "nothing below"),
        ("usr,email\nAda,a@example.net\n", "column 1: 'usr' is no column; did you mean 'user'?"),
        ("user,user\nAda,Ada\n", "column 2: 'user' stands twice"),
        ("user,\nAda,x\n", "column 2: '' is no column"),
        ("user\nAda,x\n", "line 2, column 2: the row has more cells"),
        ('user\n"Ada\nGrace\n', "line 2, column 1: the cell begins with a quote that is not closed"),
        ('user,mac\nAda,\n"Grace\nHopper","1\nAnn,"2"\n', "line 4, column 2: the cell begins with a quote"),
        ('user,mac\n"Ada"x,1\n', "line 2, column 1: the cell begins with a quote"),
        ('sep=;\r\nuser;mac\r\nAda;"1\r\n', "line 3, column 2: the cell begins with a quote"),
        ('user\n"' + "x\n" * 100_000, "line 2, column 1: the cell begins with a quote"),
        ("user\nAd\0a\n", "line 2, column 3: holds a NUL"),
        (b"user\nAd\xe9\n", "line 2, column 3: is not UTF-8"),
        ("user\nAda\n".encode("utf-16"), "UTF-16"),
        (f"user\n{'x' * (LONGEST + 1)}\n", "line 2, column 1: has 2,001 characters"),
        (",".join(["user"] * (MOST_COLUMNS + 1)) + "\nx\n", "501 columns"),
        ("user\n" + "x\n" * (MOST_ROWS + 1), "more than 50,000 rows"),
        (b"x" * (MOST_BYTES + 1), "bytes, at most"),
    ],
    ids=lambda one: None if isinstance(one, (bytes, str)) and len(one) > 60 else str(one)[:30],
)
def test_a_broken_file_is_refused_as_a_whole(content: str | bytes, told: str) -> None:
    assert told in why(content)


def test_the_second_of_two_files_is_named() -> None:
    assert "file 2, line 2, column 3: holds a NUL" in why(f"{HEADER}\n{ROW}\n", "user\nAd\0a\n")
    assert "1 to 10" in why(*["user\nAda\n"] * 11)


# --- FusionPBX -----------------------------------------------------------------------------------------


def told(sheet: Sheet) -> list[tuple[object, ...]]:
    return [(one.line, one.mac, one.model, one.key, one.extension, one.user) for one in sheet.rows]


def test_fusionpbx_devices_with_their_lines_beside_them() -> None:
    sheet = example("fusionpbx.csv")
    assert sheet.format is Format.FUSIONPBX
    assert told(sheet) == [
        (2, "0004f2aabb11", "vvx411", 1, "2001", "Reception"),
        (2, "0004f2aabb11", "vvx411", 2, "2002", "Night bell"),
        (3, "001565aabb12", "t46s", 1, "2003", "Workshop"),
        (4, "001565aabb13", "t42s", 1, "2004", "Drawer"),
        (5, "0004f2aabb14", "vvx150", 0, "", ""),
    ]
    assert [one.secret for one in sheet.rows][:2] == ["Wq7fMk2xZ9", "Rt5vNp8cLd"]
    assert [one.vendor for one in sheet.rows] == ["poly", "poly", "yealink", "yealink", "poly"]
    assert [bool(one.left_out) for one in sheet.rows] == [False, False, False, True, False]
    assert "server_address" in sheet.unused


@pytest.mark.parametrize("files", [("fusionpbx-devices.csv", "fusionpbx-device-lines.csv")])
@pytest.mark.parametrize("turned", [False, True])
def test_fusionpbx_devices_and_lines_apart(files: Sequence[str], turned: bool) -> None:
    sheet = example(*(reversed(files) if turned else files))
    assert told(sheet) == [
        (2, "0004f2aabb15", "vvx411", 1, "2101", "Lobby"),
        (3, "0004f2aabb15", "vvx411", 2, "2102", "Lobby door"),
        (4, "001565aabb16", "t46s", 1, "2103", "Canteen"),
    ]
    assert [one.left_out for one in sheet.rows][2] == "the line is not enabled in FusionPBX"
    assert {one.file for one in sheet.rows} == {1 if turned else 2}


def test_fusionpbx_lines_need_their_devices() -> None:
    lines = (EXAMPLES / "fusionpbx-device-lines.csv").read_bytes()
    sheet = read(lines)
    assert {one.column for one in sheet.faults} == {"device_uuid"}
    assert "column device_uuid: is missing" in why("line_number,user_id\n1,2001\n")


def test_fusionpbx_repeats_columns_without_a_number_too() -> None:
    table = (
        "device_address,device_template,line_number,user_id,line_number,user_id\n0004f2aabb11,poly/vvx411,1,21,2,22\n"
    )
    assert [(one.key, one.extension) for one in read(table).rows] == [(1, "21"), (2, "22")]


# --- Wazo ----------------------------------------------------------------------------------------------


def test_wazo_devices_of_confd() -> None:
    sheet = example("wazo-confd.json")
    assert (sheet.format, told(sheet)) == (
        Format.WAZO,
        [(1, "001565aabb21", "T46S", 0, "", ""), (2, "0004f2aabb22", "VVX411", 0, "", "")],
    )
    assert [one.vendor for one in sheet.rows] == ["yealink", "poly"]


def test_wazo_devices_of_provd_bring_their_lines() -> None:
    whole = json.loads((EXAMPLES / "wazo-provd.json").read_text("utf-8"))
    apart = [json.dumps({name: whole[name]}) for name in ("devices", "configs")]
    for sheet in (example("wazo-provd.json"), read(*apart), read(json.dumps(whole["devices"]), apart[1])):
        assert told(sheet) == [
            (1, "001565aabb23", "T46S", 1, "3001", "Ada Byron"),
            (1, "001565aabb23", "T46S", 2, "3002", "Sales"),
            (2, "0004f2aabb24", "VVX411", 0, "", ""),
        ]
        assert (sheet.rows[0].auth_user, sheet.rows[0].secret) == ("x7f3kq", "p4Vw8zJm")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "line 1, column 2: is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('[{"mac": ' + "9" * 5000 + "}]", "huge number"),
        ("{}", "holds no list of devices"),
        ("[1]", "line 1, column 1: is no object"),
        ("[]", "nothing below"),
    ],
    ids=["open", "deep", "huge", "empty object", "number", "empty list"],
)
def test_a_broken_document_is_refused_as_a_whole(content: str, told: str) -> None:
    assert told in why(content)


def test_a_device_without_a_mac_costs_its_row() -> None:
    [fault] = read('[{"vendor": "Yealink", "model": "T46S"}]').faults
    assert (fault.line, fault.column) == (1, "mac")


# --- anything ------------------------------------------------------------------------------------------

CELL = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["0004f2aabbcc", "1001", "Ada", "poly", "VVX 411", "1", "", '"', "\r\n", "\0", "=1", "a@b.example"]
    ),
)
TITLES = st.one_of(
    st.sampled_from([*COLUMNS, "device_uuid", "device_address", "line_number", "line_number|2", "user_id", "enabled"]),
    st.text(max_size=8),
)
VALUES: st.SearchStrategy[object] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["items", "devices", "configs", "id", "mac", "config", "raw_config", "sip_lines", "1", "number"]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=20,
)


def taken(files: Sequence[bytes], asked: Format) -> None:
    try:
        sheet = read_sheet(files, asked)
    except Invalid as error:
        assert error.field == "file"
        return
    assert sheet.total
    for row in sheet.rows:
        assert row.line >= 1
        assert all(char.isprintable() or char == "\N{SOFT HYPHEN}" for char in row.secret)
        assert not any(char in f"{row.user}{row.site}{row.label}" for char in "\0\r\n\x1b")


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=3), st.sampled_from(Format))
def test_any_bytes_are_read_or_refused(files: list[bytes], asked: Format) -> None:
    taken(files, asked)


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(TITLES, min_size=1, max_size=6), st.lists(st.lists(CELL, max_size=7), max_size=4), st.sampled_from(Format)
)
def test_any_table_is_read_or_refused(titles: list[str], rows: list[list[str]], asked: Format) -> None:
    table = io.StringIO()
    csv.writer(table).writerows([titles, *rows])
    taken([table.getvalue().encode("utf-8", "surrogatepass")], asked)


@settings(max_examples=examples(150), deadline=None)
@given(VALUES)
def test_any_document_is_read_or_refused(document: object) -> None:
    taken([json.dumps(document).encode()], Format.WAZO)


def test_wazo_devices_that_share_one_configuration_are_counted_while_they_are_read() -> None:
    lines = {str(number): {"username": str(number)} for number in range(1, 600)}
    devices = [{"mac": f"0004f2{number:06x}", "vendor": "poly", "config": "c"} for number in range(600)]
    many = {"configs": [{"id": "c", "raw_config": {"sip_lines": lines}}], "devices": devices}
    assert len(read(json.dumps({**many, "devices": devices[:10]})).rows) == 10 * 599
    with (
        patch("provisioner.imports.wazo._lines", wraps=wazo._lines) as parsed,
        patch("provisioner.imports.wazo.MOST_ROWS", 1000),
        patch("provisioner.imports.wazo.parse_row", wraps=parse_row) as rows,
        pytest.raises(Invalid, match="more than 1,000 lines"),
    ):
        read(json.dumps(many))
    assert (parsed.call_count, rows.call_count) == (1, 1001)


def test_names_are_as_the_use_cases_take_them() -> None:
    """What a mail header would read as something else is a fault of its row by this way, too."""
    sheet = read("user,extension,site\n=?utf-8?q?x?=,7700,\nZed,7701,=?utf-8?b?eA==?=\n")
    assert [(one.column, "encoded word" in one.why) for one in sheet.faults] == [("user", True), ("site", True)]
