"""Firmware images lie in DATA/firmware/<vendor>/ and are served from disk; their SHA-256 is kept beside them."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from provisioner.errors import Invalid

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SUM: Final = ".sha256"


@dataclass(frozen=True, slots=True)
class Firmware:
    """One image. ``sha256`` is empty until somebody has computed it (``listing`` and ``add`` do)."""

    vendor: str
    name: str
    path: Path
    size: int
    mtime_ns: int
    sha256: str

    @property
    def etag(self) -> str:
        """Strong validator (RFC 9110 section 8.8.3): the content's hash, or size and time while it is not known."""
        return f'"{self.sha256[:32] or f"{self.size:x}-{self.mtime_ns:x}"}"'


class FirmwareShelf:
    """The images an operator has put there; names never leave their vendor's directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, vendor: str, name: str) -> Firmware | None:
        """The image of that name in any case, or None; nothing is hashed here.

        Drivers write names of paths in lower case, makers and operators as they like.
        """
        if not _NAME.fullmatch(name) or name.endswith(_SUM):
            return None
        path = self._directory / vendor / name
        try:
            if not path.exists():
                path = next(one for one in path.parent.iterdir() if one.name.lower() == name.lower())
            status = path.stat()
        except (OSError, StopIteration):
            return None
        if not path.is_file() or path.is_symlink():
            return None
        return Firmware(vendor, path.name, path, status.st_size, status.st_mtime_ns, _known_sum(path, status))

    def listing(self) -> tuple[Firmware, ...]:
        """Every image with its SHA-256, hashed now where it is not known yet."""
        found = []
        for path in sorted(self._directory.glob("*/*")):
            image = self.find(path.parent.name, path.name)
            if image is not None:
                _keep_sum(path, image.sha256 or _hash(path))
                found.append(self.find(image.vendor, image.name) or image)
        return tuple(found)

    def add(self, vendor: str, source: Path, name: str = "") -> Firmware:
        """Copy an image in, complete or not at all; Invalid when the name is none a phone can ask for."""
        name = name or source.name
        if not _NAME.fullmatch(name) or name.endswith(_SUM):
            raise Invalid("file", f"{name!r} is no name for an image: letters, digits, dot, dash and underscore")
        if not source.is_file():
            raise Invalid("file", f"{source} is not a file")
        target = self._directory / vendor / name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{name}.partial")
        shutil.copyfile(source, partial)
        partial.replace(target)
        _keep_sum(target, _hash(target))
        image = self.find(vendor, name)
        assert image is not None
        return image


def _known_sum(path: Path, status: os.stat_result) -> str:
    try:
        digest, _, stamp = path.with_name(path.name + _SUM).read_text(encoding="ascii").strip().partition(" ")
    except (OSError, UnicodeDecodeError):
        return ""
    return digest if stamp == f"{status.st_size} {status.st_mtime_ns}" else ""


def _keep_sum(path: Path, digest: str) -> None:
    status = path.stat()
    path.with_name(path.name + _SUM).write_text(f"{digest} {status.st_size} {status.st_mtime_ns}\n", encoding="ascii")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
