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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Final

from provisioner.diagnosis.facts import Fact, Kind, Source, Witness, of_line
from provisioner.errors import Invalid, Unusable
from provisioner.evidence.key_lines import KeyLog
from provisioner.model import Mac

SECONDS: Final = 600.0
"""s for one reading; a gigabyte takes a tenth of it."""
_MOST: Final = 128 << 20
"""bytes of all lines together: 20,000 facts have 10 MB."""
_LONGEST: Final = 4 << 20
_MOST_ASKED: Final = 512 << 20
"""bytes of what it asks to have opened and sealed: 64 MiB of TLS, twice and as text."""
_ENDS: Final = (0, 3)
"""Its exit codes: done, and nothing could be read, which it says. 1 is a fault of Python's or its own."""
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
class Cut:
    """One phone's frames in a file of their own."""

    file: Path
    frames: int
    sides: int
    opened: int = 0
    """Connections of TLS whose secrets are in it."""
    left: Mapping[str, int] = field(default_factory=dict)
    """How many stay sealed, by the reason."""
    broken: tuple[str, ...] = ()
    """Where a file could not be read any further, and why."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a live capture brought."""

    by: str
    files: tuple[Path, ...]
    frames: int
    dropped: int
    seconds: float


def read(
    files: Sequence[Path],
    mac: Mac | None = None,
    *,
    address: str = "",
    seconds: float = SECONDS,
    told: Told | None = None,
) -> Read:
    """What the files tell of one phone; Unusable says why nothing can be read.

    ``address``: of a phone behind a router, whose MAC nobody knows.
    """
    whose = [*(["--mac", mac] if mac else []), *(["--address", address] if address else [])]
    words = ["read", *whose, *(["--progress"] if told else []), "--", *map(str, files)]
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
    addresses: Sequence[str] = (),
    told: Told | None = None,
) -> Taken:
    """Take frames until the time is over or somebody interrupts; what was taken till then counts.

    ``addresses`` that the phone is known by: behind a router its MAC is in no frame.
    """
    words = ["live", "-i", interface, "--into", str(into), "--seconds", str(seconds), "--megabytes", str(megabytes)]
    words += [*(["--mac", mac] if mac else []), *(["--by", by] if by else [])]
    words += [f"--address={one}" for one in addresses]
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


def live_facts(
    interface: str,
    mac: Mac | None = None,
    seconds: float = 60.0,
    *,
    addresses: Sequence[str] = (),
    told: Told | None = None,
) -> list[Fact]:
    """Take frames for so long, read them, and keep nothing of them; without a MAC of who has the first address.

    What comes from a phone's addresses without its name may be another's behind the same NAT: that is perhaps its own.
    """
    with tempfile.TemporaryDirectory(prefix="provisioner-") as folder:
        taken = live(interface, Path(folder) / "ring", mac, seconds=seconds, addresses=addresses, told=told)
        if not taken.frames:
            return lost(taken)
        if mac is None and addresses:
            return [*lost(taken), *read(taken.files, address=addresses[0]).facts]
        found = facts_of(taken.files, mac)
        if not any(one["connection"] for one in found):
            found += [_perhaps(one) for each in addresses if "/" not in each for one in _at(taken.files, each)]
        return [*lost(taken), *found]


def _at(files: Sequence[Path], address: str) -> list[Fact]:
    return [one for one in read(files, address=address).facts if one["connection"]]


def _perhaps(one: Fact) -> Fact:
    return replace(one, values={**one.values, "whose": "maybe"})


def lost(taken: Taken) -> list[Fact]:
    """What the kernel had no room for: then nothing may be concluded from silence."""
    if not taken.dropped:
        return []
    witness = Witness(Source.CAPTURE, taken.by)
    return [Fact(Kind.DROPPED, time.time(), witness, {"frames": str(taken.dropped)})]


def cut(files: Sequence[Path], mac: Mac, into: Path, keys: KeyLog | None = None, *, seconds: float = SECONDS) -> Cut:
    """Only this phone's frames, without secrets: one pcapng in the folder, each captured side an interface of it.

    ``keys``: TLS secrets that go along, with the connections that they open; nothing in those is a secret any more.
    """
    words = ["cut", "--mac", mac, "--into", str(into), *(["--keys"] if keys else []), "--", *map(str, files)]
    answer = _answering(keys) if keys else None
    made: Line = {}
    for line in lines(words, seconds=seconds, answer=answer):
        if "cut" in line:
            made = _object(line["cut"])
    named = _object(made.get("files", {}))
    if not named:
        raise Unusable("the capture program has ended before anything was written")
    name, frames = next(iter(named.items()))
    told = _object(made.get("keys") or {})
    left = {why: _int(count) for why, count in _object(told.get("left", {})).items()}
    broken = tuple(map(str, _list(made.get("broken"))))
    return Cut(into / name, _int(frames), _int(made.get("sides")), _int(told.get("opened")), left, broken)


def _answering(keys: KeyLog) -> Callable[[Line], Line | None]:
    from provisioner.evidence.resealer import Resealer  # ciphers, which hardly anybody who reads frames waits for

    return Resealer(keys).answer


def lines(
    words: Sequence[str],
    *,
    seconds: float,
    told: Told | None = None,
    gently: bool = False,
    answer: Callable[[Line], Line | None] | None = None,
) -> Iterator[Line]:
    """Each line but progress, which goes to `told`; Unusable for what the program says is wrong.

    gently: at an interruption it is asked to end, and what it says until then is read; otherwise it is killed.
    answer: what the program asks for goes there, and back to it; no other line does.
    """
    with tempfile.TemporaryFile() as complaints, _running(words, complaints, seconds, asks=answer is not None) as child:
        assert child.stdout is not None
        try:
            if answer is not None:
                yield from _conversation(child, answer)
            else:
                yield from _said(child.stdout, told)
        except KeyboardInterrupt:
            if not gently:
                raise
            child.send_signal(signal.SIGINT)
            yield from _said(child.stdout, told)
        code = child.wait(_ENDING)
        if code not in _ENDS:
            raise Unusable(_complaint(complaints, code))


@contextmanager
def _running(
    words: Sequence[str], complaints: IO[bytes], seconds: float, *, asks: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Of our own interpreter and without what lies in the current folder; a session of its own, so we alone end it."""
    command = [sys.executable, "-I", "-m", "provisioner.capture", *words]
    child = subprocess.Popen(  # noqa: S603  # our own program with arguments that are no shell's
        command,
        stdin=subprocess.PIPE if asks else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaints,
        start_new_session=True,
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
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


def _conversation(child: subprocess.Popen[bytes], answer: Callable[[Line], Line | None]) -> Iterator[Line]:
    """In turns: the program waits for an answer wherever it gets one."""
    assert child.stdin is not None
    assert child.stdout is not None
    for line in _said(child.stdout, None, most=_MOST_ASKED, longest=_MOST_ASKED):
        back = answer(line)
        if back is None:
            yield line
            continue
        with suppress(BrokenPipeError):  # it has ended: its exit code says why
            child.stdin.write(json.dumps(back, separators=(",", ":")).encode() + b"\n")
            child.stdin.flush()


def _said(stream: IO[bytes], told: Told | None, *, most: int = _MOST, longest: int = _LONGEST) -> Iterator[Line]:
    size = 0
    while raw := stream.readline(longest):
        size += len(raw)
        if size > most or not raw.endswith(b"\n"):
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
