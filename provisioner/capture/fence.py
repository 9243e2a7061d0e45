# SPDX-License-Identifier: GPL-2.0-only
"""What a hostile frame may do to a dissector: nothing beyond its own frame, which is then reported as broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from provisioner.capture.files import Frame
from provisioner.capture.lines import Fact, fact
from provisioner.capture.scapy_layers import NoScapy


def fenced(what: str, dissect: Callable[[], Iterable[Fact]], frame: Frame) -> Iterator[Fact]:
    """The facts of one dissector about one frame; whatever goes wrong in it is a fact, too."""
    try:
        yield from list(dissect())
    except NoScapy:
        raise
    except Exception as error:  # noqa: BLE001  # one hostile frame's end: scapy raises whatever its bytes lead it to
        yield fact("broken", frame.at, frame.ref, why=f"{what}: {type(error).__name__}: {error}")
