"""Files whose change means a reload; a change counts when two looks in a row agree, so nothing half-written is read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

_PERIOD: Final = 1.0
"""s between two looks."""
_NAMED: Final = 5

Stamp = tuple[int, int, int]


class FileWatch:
    """Looks at modification time, size and inode of the files that ``listed`` names at that moment."""

    def __init__(self, listed: Callable[[], Iterable[Path]]) -> None:
        self._listed = listed
        self._used = self._seen = self._look()
        self._looked_at = 0.0

    def changed(self, now: float) -> str:
        """Names of files that are other than when ``taken`` was last called, empty when none is."""
        if now - self._looked_at < _PERIOD:
            return ""
        self._looked_at = now
        before, self._seen = self._seen, self._look()
        if self._seen == self._used or self._seen != before:
            return ""
        differ = {path for path in {*self._seen, *self._used} if self._seen.get(path) != self._used.get(path)}
        return ", ".join(sorted(path.name for path in differ)[:_NAMED])

    def taken(self) -> None:
        """The files as they are now are in use (or were refused): only a later change counts."""
        self._used = self._seen = self._look()

    def _look(self) -> Mapping[Path, Stamp]:
        stamps = {}
        for path in self._listed():
            with contextlib.suppress(OSError):  # gone: its absence is the change
                status = path.stat()
                stamps[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
        return stamps
