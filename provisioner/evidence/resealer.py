"""Answers the capture program where it asks to have a connection opened, and sealed again with what may be read. Pure.

Secrets stay here until the connection was made so: those of others never go over the pipe.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping

from provisioner.evidence.key_lines import PHONE, SERVER, KeyLog
from provisioner.evidence.resealing import Opened
from provisioner.evidence.tls_layout import Unopened

Line = Mapping[str, object]


class Resealer:
    """One run of the program: a connection at a time."""

    def __init__(self, keys: KeyLog) -> None:
        self._keys = keys
        self._opened: Opened | None = None

    def answer(self, line: Line) -> Line | None:
        """What goes back; None where nothing was asked."""
        try:
            if "sealed" in line:
                return self._open(_object(line["sealed"]))
            if "cleared" in line:
                return self._seal(_object(line["cleared"]))
        except Unopened as why:
            return {"refused": str(why)}
        return None

    def _open(self, both: Line) -> Line:
        self._opened = None
        self._opened = one = Opened(_bytes(both.get(PHONE)), _bytes(both.get(SERVER)), self._keys)
        return {"opened": {by: [*map(_text, one.texts(by))] for by in (PHONE, SERVER)}}

    def _seal(self, both: Line) -> Line:
        one, self._opened = self._opened, None
        if one is None:
            raise Unopened("nothing was opened before")
        made = {by: _text(one.resealed(by, _pieces(both.get(by)))) for by in (PHONE, SERVER)}
        return {"resealed": made, "lines": self._keys.lines(one.random)}


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _bytes(said: object) -> bytes:
    try:
        return b64decode(str(said), validate=True)
    except ValueError as error:
        raise Unopened("what came over the pipe is no text of bytes") from error


def _pieces(said: object) -> list[bytes]:
    return [_bytes(one) for one in said] if isinstance(said, list) else []


def _object(said: object) -> Line:
    return said if isinstance(said, dict) else {}
