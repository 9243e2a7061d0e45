"""Who a process is, so that another one knows whether it is still there: in doubt it is.

A container may have the name of another one, and numbers its processes for itself: the boot and the PID namespace tell.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path


def myself() -> str:
    """Who this process is: where, its number, and when it began, as numbers come again."""
    return f"{_here()}/{os.getpid()}/{_began(os.getpid())}"


def _here() -> str:
    """Host, boot and PID namespace: containers may have one name, and number their processes each for itself."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{socket.gethostname()}/{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def is_dead(owner: str) -> bool:
    """Whether it is known to be over: it was a process of this machine and namespace, and it is not there any more."""
    where, _, number = owner.rpartition("/")[0].rpartition("/")
    began = owner.rpartition("/")[2]
    if not where or where != _here() or not number.isdecimal() or not began:
        return False
    return _began(int(number)) != began


def _began(number: int) -> str:
    """When a process began, in ticks since the machine did (proc(5), field 22); empty: it is not there."""
    try:
        text = Path(f"/proc/{number}/stat").read_text("ascii", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]
