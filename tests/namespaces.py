"""Whether this machine lets us have networks of our own; where it does not, which rows are not played is said aloud."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

UNSHARE: Final = (
    "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private",
)  # fmt: skip
PATIENCE: Final = 30.0
"""s that a program may take to start, on a machine that is five times slower than it should be."""
_ROWS: Final = Path(__file__).with_name("captures") / "rows.json"


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Servers and tools of the network are where an ordinary user's PATH does not lead."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return {**os.environ, "PATH": path, "LC_ALL": "C", **(more or {})}


def done(words: list[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    """A program to its end."""
    return subprocess.run(
        words, input=text, capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment()
    )


@cache
def refused() -> str:
    """Why there can be no laboratory here; empty where there can."""
    if sys.platform != "linux":
        return "namespaces are Linux's, and this is another system"
    try:
        made = done([*UNSHARE, "ip", "link"])
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return " ".join(made.stderr.split()) or f"unshare: exit {made.returncode}" if made.returncode else ""


def not_played() -> str:
    """For whoever runs the tests; empty where everything is played."""
    why = refused()
    if not why:
        return ""
    said = json.loads(_ROWS.read_text()).values()
    rows = {one["row"] for one in said if isinstance(one, dict) and one.get("by") == "laboratory" and one["row"]}
    return (
        f"No network namespaces here ({why}), so the laboratory in tests/lab is left out. Not played anew, and judged "
        f"by their kept captures alone: rows {', '.join(map(str, sorted(rows)))} of the catalogue."
    )
