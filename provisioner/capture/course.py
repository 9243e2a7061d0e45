# SPDX-License-Identifier: GPL-2.0-only
"""The course of a reading: all files are looked at first, then read, so that each side helps to find the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from provisioner.capture.files import CaptureFile, of_paths
from provisioner.capture.lines import Fact, Say, fact
from provisioner.capture.phones import Lookout
from provisioner.capture.reading import Reading, joined
from provisioner.capture.survey import NOBODY, Selection, Survey

_PAUSE: Final = 0.2
"""Seconds between two words on how far it is."""


class Course:
    """Several files, one phone."""

    def __init__(self, paths: Sequence[Path], told: Say | None = None) -> None:
        self.files = of_paths(paths)
        self.frames = 0
        self._told = told
        self._said = 0.0
        self._phase = "look"
        for file in self.files:
            file.moved = self._watch(file) if told else None

    def phones(self) -> list[dict[str, object]]:
        """The likeliest first."""
        lookout = Lookout()
        self._phase = "who"
        for file in self.files:
            lookout.look(file)
        self.frames = sum(one.frames for one in lookout.found.values())
        return [
            {
                "mac": one.mac,
                "why": sorted(one.why),
                "score": one.score,
                "frames": one.frames,
                "addresses": sorted(one.addresses),
            }
            for one in lookout.likely()
        ]

    @staticmethod
    def only_one(phones: list[dict[str, object]]) -> bytes | None:
        """The phone that is meant when nobody has said which: there is no other."""
        return bytes.fromhex(str(phones[0]["mac"])) if len(phones) == 1 else None

    def facts(self, mac: bytes | None, addresses: Sequence[bytes] = ()) -> list[Fact]:
        """What the files tell of one phone, in the order of time; without a Mac of whoever has those addresses."""
        mac = mac or NOBODY
        self._phase = "look"
        surveys = [Survey(file, mac).look() for file in self.files]
        self.frames = sum(one.seen for one in surveys)
        chosen = Selection.of(surveys, mac, addresses)
        self._phase = "read"
        readings = [Reading(chosen, one) for one in surveys]
        for one in readings:
            one.read()
        return joined(readings)

    def broken(self) -> list[Fact]:
        """What could not be read and what was lost, where no phone is chosen."""
        lost = [fact("dropped", 0.0, one.name, frames=one.dropped) for one in self.files if one.dropped]
        return [*(one for file in self.files for one in file.broken), *lost]

    def _watch(self, file: CaptureFile) -> Callable[[int], None]:
        size = file.size

        def moved(read: int) -> None:
            now = time.monotonic()
            if self._told and now - self._said > _PAUSE:
                self._said = now
                self._told({"progress": {"file": file.name, "phase": self._phase, "read": read, "of": size}})

        return moved
