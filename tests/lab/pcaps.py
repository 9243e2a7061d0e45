"""Captures as the tests write them: classic pcap, which every program reads; and one long tape cut into its scenes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from provisioner.capture.files import Frame, of_paths


def written(frames: Iterable[Frame], path: Path) -> Path:
    """These frames, with times to the microsecond."""
    made = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)]
    for one in frames:
        seconds, part = divmod(round(one.at * 1_000_000), 1_000_000)
        made.append(struct.pack("<IIII", seconds, part, len(one.data), one.length) + one.data)
    path.write_bytes(b"".join(made))
    return path


def scenes(tape: Path, begun: Mapping[str, float], into: Path) -> dict[str, Path]:
    """A file for each: what was seen from its begin until that of the next."""
    names = sorted(begun, key=begun.__getitem__)
    parts: dict[str, list[Frame]] = {name: [] for name in names}
    for frame in of_paths([tape])[0].frames():
        last = [name for name in names if begun[name] <= frame.at][-1:]
        if last:
            parts[last[0]].append(frame)
    return {name: written(found, into / f"{name}.pcap") for name, found in parts.items()}
