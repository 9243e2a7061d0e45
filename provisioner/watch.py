"""Files whose change means a reload; a change counts when two looks in a row agree, so nothing half-written is read.

A look that fails, because a directory vanished while it was listed, tells nothing: the next one does.
"""

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
        self._used: Mapping[Path, Stamp] = {}
        self._seen: Mapping[Path, Stamp] = {}
        self._looked_at = 0.0
        self.taken()

    def changed(self, now: float) -> str:
        """Names of files that are other than when ``taken`` was last called, empty when none is."""
        if now - self._looked_at < _PERIOD:
            return ""
        self._looked_at = now
        found = self._look()
        if found is None:
            return ""
        before, self._seen = self._seen, found
        if self._seen == self._used or self._seen != before:
            return ""
        differ = {path for path in {*self._seen, *self._used} if self._seen.get(path) != self._used.get(path)}
        return ", ".join(sorted(path.name for path in differ)[:_NAMED])

    def taken(self) -> None:
        """The files as they are now are in use (or were refused): only a later change counts."""
        found = self._look()
        self._used = self._seen = self._seen if found is None else found

    def _look(self) -> Mapping[Path, Stamp] | None:
        stamps = {}
        try:
            for path in self._listed():
                with contextlib.suppress(OSError):  # gone: its absence is the change
                    status = path.stat()
                    stamps[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:  # a directory vanished under the listing, or cannot be read just now
            return None
        return stamps
