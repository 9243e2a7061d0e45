"""Which row of the catalogue is produced how: python tests/capture/produced.py writes tests/captures/README.md anew."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from kept import FOLDER, HELD_OUT, Kept, kept

from provisioner.diagnosis.catalogue import catalogue

PAGE = FOLDER / "README.md"
_HEAD = """# Captures that are kept

Each is the failure that `rows.json` names, small and without anybody's data: addresses, names and MACs are those for
documentation, but for the first half of phones' MACs. `tests/capture/test_capture_kept.py` reads each and wants the
first line of the diagnosis to name the row. Beside `NAME.pcap` there may lie `NAME.server.pcap`, frames at the server,
and `NAME.server.json`, what this server's own records told.

Those of the laboratory were played by real programs in network namespaces (`tests/lab`, which plays them anew with
`make test-slow`; `LAB_KEEP=1` keeps what is new). Those by hand are made frame by frame (`tests/capture/scenes.py`).
Those in `held_out/` were not used when rules were written, and are judged last. This table is made by
`python tests/capture/produced.py`; a test holds it to the catalogue.

| row | failure | in the laboratory | by hand | held out | not produced here, because |
|---|---|---|---|---|---|
"""


def not_here() -> dict[int, str]:
    """Rows without a capture, and why."""
    return {int(row): why for row, why in tomllib.loads((FOLDER / "not_here.toml").read_text()).items()}


def of_row(row: int | None, folder: list[Kept], *, laboratory: bool) -> list[str]:
    """Names of captures that show it; None: nothing is wrong."""
    return [one.path.stem for one in folder if one.row == row and _is_played(one) is laboratory]


def _is_played(one: Kept) -> bool:
    return isinstance(one.said, dict) and one.said.get("by") == "laboratory"


def page() -> str:
    """The whole of it."""
    return _HEAD + "".join(_lines())


def _lines() -> Iterator[str]:
    why = not_here()
    for ident, row in catalogue().rows.items():
        yield f"| {ident} | {row.title} | {_cells(ident)} | {why.get(ident, '')} |\n"
    yield f"| - | it comes up | {_cells(None)} | |\n"


def _cells(row: int | None) -> str:
    usual, apart = kept(), kept(HELD_OUT)
    names = (of_row(row, usual, laboratory=True), of_row(row, usual, laboratory=False))
    return " | ".join(", ".join(one) for one in (*names, [one.path.stem for one in apart if one.row == row]))


if __name__ == "__main__":
    PAGE.write_text(page())
