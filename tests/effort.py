"""What the tests spare themselves: most examples, the disk, and making the same SQL again in each of a thousand stores.

The examples of one day differ from the next day's, so what is tried grows with each run; `make test-slow` tries all.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any, Final

from hypothesis import settings
from sqlalchemy import event

from provisioner.store import engine as engines

WHOLE: Final = 100
"""Examples of a property that names no number of its own."""
SOME: Final = 25
LEAST: Final = 10
MEMORY: Final = "/dev/shm"
ROOM: Final = 3 << 30
"""bytes; what has passed is removed at once, so that even the whole run needs less."""


def examples(count: int) -> int:
    """So many, or as large a part of them as is tried of every other property."""
    return max(LEAST, count * settings().max_examples // WHOLE)


def spare_the_disk() -> None:
    """Let temporary files be in memory: databases here are synced to disk thousands of times for nobody."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return
    found = os.statvfs(MEMORY)
    if found.f_bavail * found.f_frsize > ROOM:
        tempfile.tempdir = os.environ["TMPDIR"] = MEMORY


def remember_sql() -> None:
    """Let an engine have the dialect of the first of its kind that has connected, and the SQL that was made for it."""
    made, known = engines.make_engine, {}

    def make_engine(url: Any, **chosen: Any) -> Any:
        engine = made(url, **chosen)
        sync = engine.sync_engine
        if url.drivername in known:
            sync.dialect, sync._compiled_cache = known[url.drivername]
        else:
            first = sync.dialect, sync._compiled_cache
            event.listen(sync, "connect", lambda *_: known.setdefault(url.drivername, first))
        return engine

    engines.make_engine = make_engine
