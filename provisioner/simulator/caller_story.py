"""What came of a simulated activation call, for people and for scripts; keyed digits are masked in both."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from provisioner.simulator.report import BootReport, RegisteredLine


@dataclass(frozen=True, slots=True)
class Told:
    """One line of the story."""

    at: float
    """Seconds since the phone was plugged in."""
    text: str


@dataclass(frozen=True, slots=True)
class CallStory:
    """From plug to owner."""

    vendor: str
    model: str
    mac: str
    url: str
    steps: tuple[Told, ...] = ()
    registered_as: str = ""
    server: str = ""
    dialled: str = ""
    codec: str = ""
    heard: float = 0.0
    """Seconds of sound."""
    spoken: float = 0.0
    """Seconds of it in which somebody spoke."""
    keys: str = ""
    by: str = ""
    ended_by: str = ""
    check_sync: str = ""
    """The Event that told it to fetch again."""
    first: BootReport | None = None
    second: BootReport | None = None
    reason: str = ""
    """Why it is nobody's; empty when it is somebody's."""
    wav: bytes = field(default=b"", repr=False)

    @property
    def good(self) -> bool:
        """Whether the phone is somebody's at the end."""
        return not self.reason


def named(line: RegisteredLine) -> str:
    """A line as the story tells it."""
    shown = f", shown as {line.display_name!r}" if line.display_name not in ("", line.user) else ""
    return f"line {line.number} as {line.user} at {line.server} by {line.transport}{shown}"


def as_text(story: CallStory) -> str:
    """The story for a terminal, its end last."""
    mac = ":".join(story.mac[i : i + 2] for i in range(0, 12, 2))
    lines = [f"{story.vendor} {story.model} {mac} at {story.url}"]
    if story.steps:
        lines += ["", *(f"  {one.at:6.1f} s  {one.text}" for one in story.steps)]
    if story.codec:
        lines += ["", f"  heard {story.heard:.1f} s, {story.spoken:.1f} s of it speech"]
        lines.append(f"  keyed {story.keys or 'nothing'} by {story.by}, {story.ended_by or 'nobody'} hung up")
        lines.append(f"  told to fetch again: {story.check_sync or 'no'}")
    lines.append("")
    lines.append(f"  nobody's: {story.reason}" if story.reason else f"  it is somebody's: {_lines(story.second)}")
    return "\n".join(lines)


def _lines(report: BootReport | None) -> str:
    return "; ".join(map(named, report.lines)) if report is not None else ""


def as_json(story: CallStory) -> str:
    """One JSON object; without the sound."""
    told = {
        "vendor": story.vendor,
        "model": story.model,
        "mac": story.mac,
        "url": story.url,
        "outcome": "owned" if story.good else "nobodys",
        "reason": story.reason,
        "registered_as": story.registered_as,
        "server": story.server,
        "dialled": story.dialled,
        "codec": story.codec,
        "heard": round(story.heard, 2),
        "spoken": round(story.spoken, 2),
        "keys": story.keys,
        "keys_by": story.by,
        "ended_by": story.ended_by,
        "check_sync": story.check_sync,
        "steps": [{"at": round(one.at, 2), "text": one.text} for one in story.steps],
        "lines_before": _shown(story.first),
        "lines_after": _shown(story.second),
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def _shown(report: BootReport | None) -> list[dict[str, str | int]]:
    lines = report.lines if report is not None else ()
    return [
        {"number": one.number, "user": one.user, "server": one.server, "transport": one.transport, "label": one.label}
        for one in lines
    ]
