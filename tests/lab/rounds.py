"""Scene after scene at one desk: a phone is plugged in, does what it does, and its piece of the tape tells of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from expecting import Expected
from office import ROUTER_IP, Office, colons
from pcaps import scenes


@dataclass(frozen=True)
class Scene:
    """What the phone runs, one after the other, and what has to be told of it."""

    name: str
    expected: Expected
    runs: Sequence[Sequence[str]]
    killed_after: float = 0.0
    """s: it loses its power in the middle."""


FILES: Final = "{files}/"
"""In a scene's words: the folder where certificates and the like are."""
OWN: Final = "{own}"
"""The phone's address."""


def play(here: Office, asked: Sequence[Scene], into: Path, files: Path) -> dict[str, Path]:
    """Each scene's frames, at the switch's port; each has an address of its own."""
    begun = {}
    into.mkdir()
    here.phone.knob("net.ipv6.conf.default.disable_ipv6", 1)
    here.phone.knob("net.ipv6.conf.eth0.disable_ipv6", 1)
    with here.tape("rounds") as tape:
        for number, one in enumerate(asked):
            own = f"192.0.2.{100 + number}"
            _plug_in(here, one.expected.mac, own)
            begun[one.name] = time.time()
            for words in one.runs:
                placed = [word.replace(FILES, f"{files}/").replace(OWN, own) for word in words]
                here.phone.run(*placed, seconds=one.killed_after or 20.0)
    return scenes(tape, begun, into)


def _plug_in(here: Office, mac: str, own: str) -> None:
    """Another phone at the same port. Its link stays up: once down, a bridge lets nothing through for a while."""
    here.phone.ip(
        "addr flush dev eth0", "neigh flush dev eth0", f"link set eth0 address {colons(mac)}",
        f"addr add {own}/24 dev eth0", f"route replace default via {ROUTER_IP}",
    )  # fmt: skip
