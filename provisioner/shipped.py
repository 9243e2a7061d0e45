"""Where the files lie that ship with the package: certs/ and templates/, in a wheel or in a checkout."""

from __future__ import annotations

from pathlib import Path

from provisioner.errors import Unusable

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """The directory ``certs`` or ``templates``: inside the installed package, or beside it in a checkout."""
    for candidate in (_PACKAGE / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise Unusable(f"the directory {name!r} is missing from this installation; install the package again")
