"""Run the capture program and read its lines: bounded in time and size, ended by its process id, nothing of it loaded.

It is a program of its own because of its license; all that goes to and fro are arguments and JSON lines.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from provisioner.diagnosis.facts import Fact, Kind, Source, Witness, of_line
from provisioner.errors import Invalid, Unusable
from provisioner.model import Mac

SECONDS: Final = 600.0
"""s for one reading; a gigabyte takes a tenth of it."""
_MOST: Final = 128 << 20
"""bytes of all lines together: 20,000 facts have 10 MB."""
_LONGEST: Final = 4 << 20
_ENDING: Final = 15.0
"""s from asking it to end until it is killed."""

Line = Mapping[str, object]
Told = Callable[[Line], None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A device of the capture that may be a phone."""

    mac: Mac
    why: tuple[str, ...]
    frames: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """What captures tell. Without a Mac nobody has said which phone is meant, and several may be."""

    facts: tuple[Fact, ...]
    phones: tuple[Candidate, ...]
    mac: Mac | None
    frames: int


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One frame, without secrets."""

    ref: str
    at: float
    length: int
    data: bytes
    fields: tuple[tuple[str, str, str], ...]
    """Layer, name, value."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a live capture brought."""

    by: str
    files: tuple[Path, ...]
    frames: int
    dropped: int
    seconds: float


def read(files: Sequence[Path], mac: Mac | None = None, *, seconds: float = SECONDS, told: Told | None = None) -> Read:
    """What the files tell of one phone; Unusable says why nothing can be read."""
    words = ["read", *(["--mac", mac] if mac else []), *(["--progress"] if told else []), "--", *map(str, files)]
    facts: list[Fact] = []
    phones: list[Candidate] = []
    done: Line = {}
    for line in lines(words, seconds=seconds, told=told):
        if "kind" in line:
            facts.append(of_line(line))
        elif "phones" in line:
            phones = [_candidate(one) for one in _list(line["phones"])]
        elif "done" in line:
            done = _object(line["done"])
    if not done:
        raise Unusable("the capture program has ended before it was done")
    chosen = str(done.get("mac", ""))
    return Read(tuple(facts), tuple(phones), Mac.parse(chosen) if chosen else None, _int(done.get("frames")))


def facts_of(files: Sequence[Path], mac: Mac | None = None, seconds: float = SECONDS) -> list[Fact]:
    """What the files tell of one phone, in the order of time; Unusable where it is not plain which one is meant."""
    found = read(files, mac, seconds=seconds)
    if found.mac is None and found.phones:
        there = ", ".join(one.mac.colons for one in found.phones[:8])
        raise Unusable(f"several phones are in the capture; name one by its MAC: {there}")
    if found.mac is None:
        why = next((one["why"] for one in found.facts if one["why"]), "no phone shows itself in it")
        raise Unusable(f"the capture does not say whose it is ({why}); name the phone by its MAC")
    return list(found.facts)


def exhibits(files: Sequence[Path], refs: Iterable[str], *, seconds: float = SECONDS) -> list[Exhibit]:
    """The frames that facts cite, with every field named."""
    asked = [f"--frame={ref}" for ref in dict.fromkeys(refs)]
    if not asked:
        return []
    return [
        _exhibit(_object(line["frame"]))
        for line in lines(["frames", *asked, "--", *map(str, files)], seconds=seconds)
        if "frame" in line
    ]


def live(
    interface: str,
    into: Path,
    mac: Mac | None = None,
    *,
    seconds: float = 60.0,
    megabytes: int = 64,
    by: str = "",
    told: Told | None = None,
) -> Taken:
    """Take frames until the time is over or somebody interrupts; what was taken till then counts."""
    words = ["live", "-i", interface, "--into", str(into), "--seconds", str(seconds), "--megabytes", str(megabytes)]
    words += [*(["--mac", mac] if mac else []), *(["--by", by] if by else [])]
    taken = None
    for line in lines(words, seconds=seconds + SECONDS, told=told, gently=True):
        if "taken" in line:
            taken = _object(line["taken"])
    if taken is None:
        raise Unusable("the capture has ended before anything was taken")
    return Taken(
        str(taken.get("by", "")),
        tuple(Path(str(one)) for one in _list(taken.get("files"))),
        _int(taken.get("frames")),
        _int(taken.get("dropped")),
        float(str(taken.get("seconds", 0))),
    )


def live_facts(interface: str, mac: Mac | None = None, seconds: float = 60.0, told: Told | None = None) -> list[Fact]:
    """Take frames for so long, read them, and keep nothing of them."""
    with tempfile.TemporaryDirectory(prefix="provisioner-") as folder:
        taken = live(interface, Path(folder) / "ring", mac, seconds=seconds, told=told)
        return [*lost(taken), *(facts_of(taken.files, mac) if taken.frames else [])]


def lost(taken: Taken) -> list[Fact]:
    """What the kernel had no room for: then nothing may be concluded from silence."""
    if not taken.dropped:
        return []
    witness = Witness(Source.CAPTURE, taken.by)
    return [Fact(Kind.DROPPED, time.time(), witness, {"frames": str(taken.dropped)})]


def cut(files: Sequence[Path], mac: Mac, into: Path, *, seconds: float = SECONDS) -> dict[Path, int]:
    """Only this phone's frames, without secrets: a pcapng in the folder for each captured side, and how many it has."""
    made: dict[Path, int] = {}
    for line in lines(["cut", "--mac", mac, "--into", str(into), "--", *map(str, files)], seconds=seconds):
        if "cut" in line:
            counts = _object(_object(line["cut"]).get("files", {}))
            made = {into / name: _int(frames) for name, frames in counts.items()}
    return made


def lines(words: Sequence[str], *, seconds: float, told: Told | None = None, gently: bool = False) -> Iterator[Line]:
    """Each line but progress, which goes to `told`; Unusable for what the program says is wrong.

    gently: at an interruption it is asked to end, and what it says until then is read; otherwise it is killed.
    """
    with tempfile.TemporaryFile() as complaints, _running(words, complaints, seconds) as child:
        assert child.stdout is not None
        try:
            yield from _said(child.stdout, told)
        except KeyboardInterrupt:
            if not gently:
                raise
            child.send_signal(signal.SIGINT)
            yield from _said(child.stdout, told)
        code = child.wait(_ENDING)
        if code not in (0, 1):
            raise Unusable(_complaint(complaints, code))


@contextmanager
def _running(words: Sequence[str], complaints: IO[bytes], seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """Of our own interpreter and without what lies in the current folder; a session of its own, so we alone end it."""
    command = [sys.executable, "-I", "-m", "provisioner.capture", *words]
    child = subprocess.Popen(  # noqa: S603  # our own program with arguments that are no shell's
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, start_new_session=True
    )
    watch = threading.Timer(seconds, child.kill)
    watch.daemon = True
    watch.start()
    try:
        yield child
    finally:
        watch.cancel()
        if child.poll() is None:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(_ENDING)
            child.kill()
            child.wait()
        if child.stdout:
            child.stdout.close()


def _said(stream: IO[bytes], told: Told | None) -> Iterator[Line]:
    size = 0
    while raw := stream.readline(_LONGEST):
        size += len(raw)
        if size > _MOST or not raw.endswith(b"\n"):
            raise Unusable("the capture program says more than anybody could read")
        line = _line(raw)
        if "error" in line:
            raise Unusable(str(line["error"]))
        if "progress" in line or "live" in line:
            if told is not None:
                told(line)
            continue
        yield line


def _line(raw: bytes) -> Line:
    try:
        return _object(json.loads(raw))
    except ValueError as error:
        raise Unusable("the capture program says what is no JSON") from error


def _complaint(complaints: IO[bytes], code: int) -> str:
    complaints.seek(0)
    said = complaints.read(1 << 16).decode("utf-8", "replace").strip().splitlines()
    why = "it took too long" if code == -signal.SIGKILL else said[-1] if said else f"it has ended with {code}"
    return f"the capture program has failed: {why}"


def _candidate(said: object) -> Candidate:
    one = _object(said)
    return Candidate(
        Mac.parse(str(one.get("mac"))),
        tuple(map(str, _list(one.get("why")))),
        _int(one.get("frames")),
        tuple(map(str, _list(one.get("addresses")))),
    )


def _exhibit(one: Line) -> Exhibit:
    fields = [tuple(map(str, _list(each))) for each in _list(one.get("fields"))]
    return Exhibit(
        str(one.get("ref", "")),
        float(str(one.get("at", 0))),
        _int(one.get("length")),
        bytes.fromhex(str(one.get("hex", ""))),
        tuple((each[0], each[1], each[2]) for each in fields if len(each) == 3),
    )


def _object(said: object) -> Line:
    if not isinstance(said, dict):
        raise Invalid("line", "the capture program says what is no object")
    return said


def _list(said: object) -> list[object]:
    return said if isinstance(said, list) else []


def _int(said: object) -> int:
    return said if isinstance(said, int) else 0
