# SPDX-License-Identifier: GPL-2.0-only
"""Take frames by whoever does it best here: dumpcap, tcpdump, or a socket of our own; drops are always counted."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from provisioner.capture import ring
from provisioner.capture.filters import expression, program
from provisioner.capture.lines import Say

_ENDING: Final = 10.0
"""Seconds that a program has to write its last frames after it was asked to stop."""
_TURN: Final = 0.2
_DUMPCAP_DROPS: Final = re.compile(r"dropped on interface .*?: (\d+)/(\d+)")
_TCPDUMP_DROPS: Final = re.compile(r"(\d+) packets? dropped by (?:kernel|interface)")
_NO_RIGHT: Final = re.compile(r"(?i)permission|not permitted|don't have permission|CAP_NET")
WITHOUT_RIGHT: Final = (
    "taking frames needs the right CAP_NET_RAW, which this user has not: run it as root, or give it to the program "
    "that takes them (`setcap cap_net_raw,cap_net_admin+ep /usr/bin/dumpcap`). Reading files needs no right: take "
    "the frames elsewhere and hand them to `capture read`"
)
ANY: Final = (
    "frames of `any` come without the receiver's MAC, so one phone's cannot be picked out while they are taken: name "
    "the interface at which it is, or take all (`capture live -i any --keep DIR`) and name the phone to `capture read`"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be taken, and where it goes."""

    interface: str
    into: Path
    mac: bytes | None
    seconds: float
    megabytes: int
    addresses: tuple[str, ...] = ()
    """The phone's as they are known: behind a router they are all that tells its frames."""

    @property
    def filter(self) -> str:
        """Empty takes everything."""
        return expression(self.mac, self.addresses)


class Failed(Exception):
    """It could not be begun; the text says why."""


def take(wanted: Wanted, by: str | None, say: Say) -> bool:
    """Take frames for so long, or until SIGINT or SIGTERM; False where it could not be begun."""
    program = by or next((one for one in ("dumpcap", "tcpdump") if shutil.which(one)), "socket")
    stopped = _stops()
    until = time.monotonic() + wanted.seconds
    begun = time.monotonic()
    say({"live": {"by": program, "interface": wanted.interface, "filter": wanted.filter}})

    def goes_on() -> bool:
        return time.monotonic() < until and not stopped()

    try:
        if wanted.interface == "any" and wanted.mac is not None:
            raise Failed(ANY)
        wanted.into.mkdir(mode=0o700, parents=True, exist_ok=True)
        taken = _TAKERS[program](wanted, goes_on)
    except PermissionError:
        say({"error": WITHOUT_RIGHT})
        return False
    except (Failed, OSError) as error:
        say({"error": _why(wanted.interface, str(error))})
        return False
    say(
        {
            "taken": {
                "by": program,
                "files": [str(one) for one in taken.files],
                "frames": taken.frames,
                "dropped": taken.dropped,
                "seconds": round(time.monotonic() - begun, 1),
            }
        }
    )
    return True


def _why(interface: str, words: str) -> str:
    """In words that say what to do; what a program says of it alone where it knows better."""
    if _NO_RIGHT.search(words):
        return WITHOUT_RIGHT
    there = [name for _, name in socket.if_nameindex()]
    if interface in there or interface == "any":
        return words
    return f"there is no interface {interface!r} on this machine; there are: {', '.join(there)}"


def _stops() -> Callable[[], bool]:
    """Whether somebody wants it to end: then what was taken is still written."""
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda one, _frame: asked.append(one))
    return lambda: bool(asked)


def _by_socket(wanted: Wanted, goes_on: Callable[[], bool]) -> ring.Taken:
    chosen = program(wanted.mac, wanted.addresses) if wanted.filter else []
    return ring.take(wanted.interface, wanted.into, chosen, wanted.megabytes, goes_on)


def _by_dumpcap(wanted: Wanted, goes_on: Callable[[], bool]) -> ring.Taken:
    each = max(wanted.megabytes * 1000 // ring.FILES, 1)
    command = ["dumpcap", "-q", "-i", wanted.interface, "-b", f"filesize:{each}", "-b", f"files:{ring.FILES}"]
    told = ["-f", wanted.filter] if wanted.filter else []
    said = _run([*command, "-w", str(wanted.into / "ring.pcapng"), *told], goes_on)
    found = _DUMPCAP_DROPS.search(said)
    frames, dropped = (int(found[1]), int(found[2])) if found else (0, 0)
    return ring.Taken(frames, dropped, _files(wanted.into))


def _by_tcpdump(wanted: Wanted, goes_on: Callable[[], bool]) -> ring.Taken:
    """Without --immediate-mode and -U its last second is lost; with -Z root it may still write its files."""
    each = max(wanted.megabytes // ring.FILES, 1)
    command = ["tcpdump", "-i", wanted.interface, "-n", "--immediate-mode", "-U", "-s", "0", "-C", str(each)]
    owner = ["-Z", "root"] if os.getuid() == 0 else []
    target = ["-W", str(ring.FILES), "-w", str(wanted.into / "ring.pcap")]
    said = _run([*command, *owner, *target, *([wanted.filter] if wanted.filter else [])], goes_on)
    frames = re.search(r"(\d+) packets? captured", said)
    dropped = sum(int(one) for one in _TCPDUMP_DROPS.findall(said))
    return ring.Taken(int(frames[1]) if frames else 0, dropped, _files(wanted.into))


_TAKERS: Final[dict[str, Callable[[Wanted, Callable[[], bool]], ring.Taken]]] = {
    "dumpcap": _by_dumpcap,
    "tcpdump": _by_tcpdump,
    "socket": _by_socket,
}


def _run(command: list[str], goes_on: Callable[[], bool]) -> str:
    """What it said on stderr. It is stopped by SIGINT: at SIGTERM it would throw its last frames away."""
    with subprocess.Popen(  # noqa: S603  # a program of the system's with arguments that are checked
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        umask=0o077,
    ) as child:
        try:
            while goes_on() and child.poll() is None:
                time.sleep(_TURN)
        finally:
            ended = child.poll() is not None
            if not ended:
                child.send_signal(signal.SIGINT)
            try:
                said = child.communicate(timeout=_ENDING)[1]
            except subprocess.TimeoutExpired:
                child.kill()
                said = child.communicate()[1]
        if ended and child.returncode:
            raise Failed(f"{command[0]}: {' '.join(said.split())[:400]}")
    return said


def _files(into: Path) -> list[Path]:
    return sorted(
        (one for one in into.iterdir() if one.name.startswith("ring")), key=lambda one: one.stat().st_mtime_ns
    )
