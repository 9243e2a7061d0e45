"""Print the development dependencies of pyproject.toml, one a line: pip learnt --group only in 25.1."""

import sys
import tomllib
from pathlib import Path

_PROJECT = Path(__file__).parent.parent / "pyproject.toml"

sys.stdout.write("\n".join(tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["dependency-groups"]["dev"]) + "\n")
