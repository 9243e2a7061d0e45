"""Watched files: what counts as a change, and that a listing that fails harms nobody."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from provisioner.watch import FileWatch


def looks(watch: FileWatch, start: float, times: int = 4) -> list[str]:
    """What each of some looks, more than a second apart, says."""
    return [watch.changed(start + 2 * number) for number in range(times)]


def test_a_change_counts_once_two_looks_agree(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    watch = FileWatch(lambda: tmp_path.iterdir())
    assert looks(watch, 10) == [""] * 4
    (tmp_path / "a").write_text("other")
    (tmp_path / "b").write_text("new")
    assert looks(watch, 20, 2) == ["", "a, b"]
    watch.taken()
    assert looks(watch, 30) == [""] * 4


def test_a_directory_that_vanishes_while_it_is_listed(tmp_path: Path) -> None:
    inner = tmp_path / "templates" / "poly"
    inner.mkdir(parents=True)
    (inner / "x.j2").write_text("x")
    failing = False

    def listed() -> Iterator[Path]:
        yield tmp_path / "fixed"
        for path in inner.iterdir():
            if failing:
                shutil.rmtree(inner)
                next(inner.iterdir())
            yield path

    (tmp_path / "fixed").write_text("x")
    watch = FileWatch(listed)
    failing = True
    assert looks(watch, 10) == [""] * 4
    watch.taken()
    assert looks(watch, 20) == [""] * 4
    inner.mkdir()
    failing = False
    assert looks(watch, 30, 2) == ["", "x.j2"], "it went, and that is told once the listing works"


def test_a_look_that_fails_does_not_count_as_the_second_one(tmp_path: Path) -> None:
    failing = True

    def listed() -> Iterator[Path]:
        if failing:
            raise FileNotFoundError
        yield from tmp_path.iterdir()

    watch = FileWatch(listed)
    failing = False
    assert looks(watch, 10) == [""] * 4
    (tmp_path / "a").write_text("one")
    assert watch.changed(20) == ""
    failing = True
    assert looks(watch, 30) == [""] * 4
    failing = False
    assert watch.changed(40) == "a"
