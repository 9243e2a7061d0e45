"""What each rung of the ladder is judged by, a file for rungs that look at the same facts. Pure."""

from __future__ import annotations

from provisioner.diagnosis.case import Case, Judged
from provisioner.diagnosis.rungs import (
    addressing,
    dot1x,
    files,
    ground,
    handshake,
    heading,
    inventory,
    names,
    path,
    times,
)


def judged(case: Case) -> Judged:
    """All that any rung has to say."""
    for judge in (ground, dot1x, addressing, heading, names, times, path, handshake, files, inventory):
        yield from judge.judge(case)
