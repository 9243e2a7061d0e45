"""Rule: a file with a secret in it is its owner's alone, or nothing is done with it; its content is in no message."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from provisioner.errors import Unusable

_LARGEST: Final = 64 * 1024
"""Bytes; a secret is a line, and a file of keys or tokens has a few."""


def secret_text(path: Path, what: str, advice: str = "", *, missing: str = "") -> str:
    """The text of a file, without empty lines around it; Unusable names it by ``what`` it is for.

    ``advice``: what to do where it cannot be read; ``missing``: what is said where there is none. The mode is that of
    the file which is read, whatever becomes of its name meanwhile.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_LARGEST + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if missing and isinstance(error, FileNotFoundError):
            raise Unusable(missing) from None
        # An error of decoding holds what it could not decode, so it is nobody's cause.
        raise Unusable(f"{path} ({what}) cannot be read: {type(error).__name__}{advice}") from None
    if mode & 0o077:
        raise Unusable(f"{path} ({what}) can be read by others ({mode:04o}): run `chmod 600 {path}`")
    if len(content) > _LARGEST:
        raise Unusable(f"{path} ({what}) has more than {_LARGEST} bytes, which no secret has{advice}")
    return text.strip("\r\n")
