"""What the demonstration says: one row a phone, the phone's word beside the server's, and where to look next."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from provisioner.admin_address import admin_url
from provisioner.demo.cast import CAST, NEWCOMERS, SIP_SERVER, VVX, Part
from provisioner.model import ListenerKind
from provisioner.settings import Settings
from provisioner.simulator import BootReport, Outcome, Step
from provisioner.simulator.caller_story import CallStory
from provisioner.terminal import console, show

Addresses = Mapping[ListenerKind, tuple[str, int]]
_COLUMNS: Final = {
    "phone": 19,
    "the server's verdict": 12,
    "file": 29,
    "status": 6,
    "bytes": 6,
    "line, or why not": 27,
    "as it should": 6,
}
"""Head and width in characters, where the terminal has the room."""
_SHRINKING: Final = {"file": 12, "line, or why not": 12, "phone": 10, "the server's verdict": 9}
"""What gives way on a narrow terminal, and the least that it keeps; the widest goes first."""
_BETWEEN: Final = 3
"""Characters between two columns in this box."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One phone's boot as both sides saw it."""

    part: Part
    report: BootReport
    verdict: str
    """The server's own words about the certificate."""
    refusal: str = ""
    """Kind of the event that the server wrote about a refusal, empty when there is none."""
    reason: str = ""
    """What that event says to the administrator."""
    story: CallStory | None = None
    """Of a phone that had to call first: ``report`` is the boot after it."""

    @property
    def as_it_should(self) -> bool:
        """Whether the boot ended as the part says."""
        if self.part.waits and not (self.story and self.story.good and self.story.check_sync and self._began_alone):
            return False
        if self.part.refusal:
            return (
                self.report.outcome is Outcome.REFUSED and self.refusal == self.part.refusal and not self.report.lines
            )
        numbers = [line.user for line in self.report.lines]
        servers = {line.server.partition(":")[0] for line in self.report.lines}
        return self.verdict.startswith("unique") and numbers == [self.part.number] and servers == {SIP_SERVER}

    @property
    def _began_alone(self) -> bool:
        """Whether the phone had nobody's number before it called, and has been told of its owner by the server."""
        lines = self.story.first.lines if self.story and self.story.first else ()
        return [one.user for one in lines] == [self.part.mac] and self.verdict.endswith("activated")

    @property
    def steps(self) -> tuple[tuple[str, str, str], ...]:
        """File, status and bytes of what the phone asked for; what it did on the telephone stands in between."""
        asked = tuple(map(_asked, self.report.steps))
        if self.story is None or self.story.second is None or self.story.first is None:
            return asked
        return (*map(_asked, self.story.first.steps), *((text, "", "") for text in _called(self.story)), *asked)

    @property
    def outcome(self) -> str:
        """What the phone would register, or why not."""
        if self.story is not None and self.story.reason:
            return self.story.reason
        if self.report.lines:
            return "\n".join(f"{one.user} at {one.server} ({one.transport})" for one in self.report.lines)
        if self.refusal:
            return f"refused ({self.refusal}): {self.reason}"
        return self.report.refused_because or self.report.no_line_because


def show_scenes(scenes: Sequence[Scene], as_json: bool) -> None:
    """The table, or the same in JSON."""
    if as_json:
        show([_row(scene) for scene in scenes], as_json=True)
        return
    out = console()
    rows = [_texts(scene) for scene in scenes]
    widths = _widths(out.width, rows)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, show_lines=False)
    for head, width in widths.items():
        table.add_column(head, overflow="fold", width=width, justify="right" if head == "bytes" else "left")
    for scene, texts in zip(scenes, rows, strict=True):
        _add(table, scene, texts, widths["file"])
    out.print(table)


def _widths(room: int, rows: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, int]:
    """Each column's width: every one is fixed, so that a file's status can be put beside it."""
    widths = {}
    for head, most in _COLUMNS.items():
        told = [line for row in rows for text in row[head] for line in text.split("\n")]
        widths[head] = min(most, max(map(cell_len, [*head.split(), *told])))
    spare = room - sum(widths.values()) - _BETWEEN * (len(widths) - 1)
    while spare < 0 and (left := [head for head, least in _SHRINKING.items() if widths[head] > least]):
        widths[max(left, key=widths.__getitem__)] -= 1
        spare += 1
    return widths


def note(text: str) -> None:
    """Say that it goes on; on stderr, where it is in no script's way."""
    console(stderr=True).print(text, style="dim", markup=False)


def _texts(scene: Scene) -> Mapping[str, Sequence[str]]:
    """What stands in each column; file, status and bytes have an entry for each file."""
    steps = scene.steps
    return {
        "phone": [f"{scene.part.title}\n{scene.part.mac.colons}"],
        "the server's verdict": [scene.verdict],
        "file": [file for file, _, _ in steps],
        "status": [status for _, status, _ in steps],
        "bytes": [size for _, _, size in steps],
        "line, or why not": [scene.outcome],
        "as it should": ["yes" if scene.as_it_should else "NO"],
    }


def _add(table: Table, scene: Scene, texts: Mapping[str, Sequence[str]], width: int) -> None:
    """One phone; a file's name may take several lines, and its status and size stand on the first of them."""
    files = [_folded(name, width) for name in texts["file"]]
    beside = {head: map(_beside, files, texts[head]) for head in ("status", "bytes")}
    cells = {**texts, "file": [line for lines in files for line in lines], **beside}
    styles = {"as it should": "green" if scene.as_it_should else "bold red"}
    table.add_row(*(Text("\n".join(cells[head]), style=styles.get(head, "")) for head in _COLUMNS), end_section=True)


def _folded(text: str, width: int) -> list[str]:
    """The text in lines that fit: no name is ever cut off."""
    lines = [""]
    for char in text:
        if lines[-1] and cell_len(lines[-1] + char) > width:
            lines.append("")
        lines[-1] += char
    return lines


def _beside(lines: list[str], text: str) -> str:
    return text + "\n" * (len(lines) - 1)


def _asked(step: Step) -> tuple[str, str, str]:
    """The file's name, its status and size; a phone may have been given a whole URL."""
    name = step.path.rpartition("/")[2]
    return name if step.method == "GET" else f"{step.method} {name}", str(step.status or "-"), f"{step.size:,}"


def _called(story: CallStory) -> tuple[str, ...]:
    """What happened between its two boots, in words that fit into the column of files."""
    shown = next((one.label or one.display_name for one in story.first.lines), "") if story.first else ""
    told = f"NOTIFY {story.check_sync.partition(';')[0]}" if story.check_sync else "no NOTIFY"
    return (shown, f"calls {story.dialled}, keys {story.keys}", told)


def _row(scene: Scene) -> Mapping[str, object]:
    return {
        "phone": scene.part.title,
        "mac": scene.part.mac,
        "verdict": scene.verdict,
        "files": _files(scene.report),
        "lines": [{"user": one.user, "server": one.server, "transport": one.transport} for one in scene.report.lines],
        "refused": scene.refusal,
        "reason": scene.reason,
        "call": _call(scene.story),
        "as_it_should": scene.as_it_should,
    }


def _files(report: BootReport) -> list[Mapping[str, object]]:
    return [{"method": one.method, "path": one.path, "status": one.status, "bytes": one.size} for one in report.steps]


def _call(story: CallStory | None) -> Mapping[str, object] | None:
    """What a phone did before it was somebody's; None for one that was so from the start."""
    if story is None:
        return None
    return {
        "files": _files(story.first) if story.first else [],
        "shown": [one.label or one.display_name for one in story.first.lines] if story.first else [],
        "registered_as": story.registered_as,
        "dialled": story.dialled,
        "keys": story.keys,
        "check_sync": story.check_sync,
        "reason": story.reason,
    }


def farewell(configured: Settings, addresses: Addresses, link: str) -> None:
    """Where the server listens, how to sign in to its console, what to try, how to stop it."""
    data = configured.data
    schemes = {ListenerKind.DEVICE: "https", ListenerKind.LEGACY: "https"}
    schemes |= {ListenerKind.IVR: "sip", ListenerKind.IVR_TCP: "sip", ListenerKind.IVR_TLS: "sips"}
    out = console(stderr=True)
    out.print("Serving, with demo CAs trusted: not for real phones. Stop with Ctrl-C.")
    for kind, (host, port) in addresses.items():
        shown = configured.server_name if kind is ListenerKind.DEVICE else host
        if kind is ListenerKind.ADMIN:
            root = admin_url(configured, host, port)
            out.print(f"  {kind:<10} {root}health", markup=False)
            out.print(f"  {'':<10} {root}storm shows who is served when", markup=False)
            continue
        out.print(f"  {kind:<10} {schemes.get(kind, 'http')}://{shown}:{port}/", markup=False)
    out.print("The console: open this link and set a password. It works once, within the hour.")
    out.print(f"  {link}", markup=False, soft_wrap=True)
    if addresses[ListenerKind.ADMIN][1] != configured.admin_port:
        own = admin_url(configured)
        out.print(f"  These ports are this demonstration's; `provisioner serve` is reached at {own}", markup=False)
    out.print("Try, in another terminal:")
    for words in (f"render {VVX} --explain", "events --limit 10", "device list", "doctor"):
        out.print(f"  {_program()} --data {data} {words}", markup=False)
    out.print("Ask what became of the impostor, and why the phone with another's file does not come up:")
    for part in CAST:
        if part.refusal:
            out.print(f"  {_program()} --data {data} why {part.mac}", markup=False)
    out.print("Activate a phone yourself, and play what it hears:")
    for words in (
        f"code issue {NEWCOMERS.number}",
        f"simulate call --mac {NEWCOMERS.mac} --code CODE --save heard.wav",
    ):
        out.print(f"  {_program()} --data {data} {words}", markup=False)


def _program() -> str:
    """What to type for this program, from where the reader is."""
    installed = Path(sys.executable).with_name("provisioner")
    if not installed.exists():
        return f"{sys.executable} -m provisioner"
    return str(installed.relative_to(Path.cwd())) if installed.is_relative_to(Path.cwd()) else str(installed)
