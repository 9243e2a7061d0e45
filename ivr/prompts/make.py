"""Rule: the same sentence and the same voice give the same bytes; speaks the catalogues, offline, into WAV files.

``python -m ivr.prompts.make`` writes the recordings beside each catalogue, ``--check`` compares instead, and ``--own``
does either for an operator's folder. Needs sox, and flite or espeak-ng, whichever the catalogue's ``[voice]`` names.
The versions are kept in ``made_with.txt``: other versions speak other bytes and are not compared.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from ivr.media import wav
from ivr.prompts import CATALOGUE, SHIPPED, PromptError, section, texts

MADE_WITH: Final = "made_with.txt"
NOT_COMPARABLE: Final = 3
"""Exit status of --check where the tools are missing or are others than those that made the recordings."""

_RATE: Final = ("-r", "8000", "-c", "1", "-b", "16", "-e", "signed-integer")
# A telephone's band, nothing near its upper edge for the phone's own filter to spoil; peak -9 dBFS; silence cut, then
# 0.1 s before and 0.15 s behind, so that prompts can follow each other.
_EFFECTS: Final = (
    *("highpass", "180", "lowpass", "3500", "norm", "-9"),
    *("silence", "1", "0.05", "0.1%", "reverse", "silence", "1", "0.05", "0.1%", "reverse"),
    *("pad", "0.1", "0.15"),
)


class Voice(NamedTuple):
    """Who speaks a catalogue."""

    engine: str
    voice: str


def _flite(voice: str, sentence: Path, sound: Path) -> list[str]:
    return ["flite", "-voice", voice, "-f", str(sentence), "-o", str(sound)]


def _espeak(voice: str, sentence: Path, sound: Path) -> list[str]:
    # -b 1: the sentence is UTF-8, whatever the terminal's locale.
    return ["espeak-ng", "-b", "1", "-v", voice, "-s", "150", "-f", str(sentence), "-w", str(sound)]


_ENGINES: Final[dict[str, Callable[[str, Path, Path], list[str]]]] = {"flite": _flite, "espeak-ng": _espeak}


def voice_of(catalogue: Path) -> Voice:
    """Its ``[voice]``."""
    spoken = section(catalogue, "voice")
    voice = Voice(str(spoken.get("engine", "")), str(spoken.get("voice", "")))
    if voice.engine not in _ENGINES or not re.fullmatch(r"\w[\w+-]*", voice.voice):
        raise PromptError(f"{catalogue}: [voice] wants engine = {' or '.join(_ENGINES)}, and voice = a name of its own")
    return voice


def speak(sentence: str, voice: Voice) -> bytes:
    """The bytes of the WAV file."""
    with tempfile.TemporaryDirectory() as scratch:
        said, raw, pcm = (Path(scratch, name) for name in ("said.txt", "raw.wav", "canonical.raw"))
        said.write_text(f"{sentence}\n", encoding="utf-8")
        _run(_ENGINES[voice.engine](voice.voice, said, raw))
        # -D: dither is noise, and noise is different each time.
        _run(["sox", "-D", str(raw), *_RATE, "-t", "raw", str(pcm), *_EFFECTS])
        return wav.write(pcm.read_bytes())


def tools(engine: str) -> str:
    """What would speak here, with versions; PromptError when a program is missing."""
    missing = [program for program in (engine, "sox") if not shutil.which(program)]
    if missing:
        raise PromptError(f"{' and '.join(missing)} not installed; on Debian: apt-get install {' '.join(missing)}")
    return f"{engine} {_version(engine)}, sox {_version('sox')}, {platform.machine()}"


def _version(program: str) -> str:
    told = _run([program, "--version"])
    found = re.search(r"\d+\.\d+[\w.+-]*", told)
    return found.group() if found else "unknown"


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603  # no shell, and the arguments are ours
    if done.returncode and "--version" not in command:  # flite tells its version and fails
        raise PromptError(f"{' '.join(command)}: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stdout + done.stderr


def differences(catalogue: Path) -> Iterator[str]:
    """Recordings that are not what the catalogue says."""
    voice, said = voice_of(catalogue), texts(catalogue)
    for prompt, sentence in said.items():
        file = catalogue.parent / f"{prompt}.wav"
        if not file.is_file():
            yield f"{file}: not recorded"
        elif file.read_bytes() != speak(sentence, voice):
            yield f"{file}: is not what the catalogue says"
    recorded = {file.stem for file in catalogue.parent.glob("*.wav")}
    yield from (f"{catalogue.parent / prompt}.wav: not in the catalogue" for prompt in sorted(recorded - said.keys()))


def record(catalogue: Path) -> int:
    """Write every recording of a catalogue; how many."""
    voice, said = voice_of(catalogue), texts(catalogue)
    used = tools(voice.engine)
    for prompt, sentence in said.items():
        (catalogue.parent / f"{prompt}.wav").write_bytes(speak(sentence, voice))
    (catalogue.parent / MADE_WITH).write_text(f"{used}\n", encoding="utf-8")
    return len(said)


def check(catalogue: Path) -> tuple[int, list[str]]:
    """Exit status and what to say: 0 the same bytes, 1 not, 3 cannot be compared here."""
    try:
        here = tools(voice_of(catalogue).engine)
    except PromptError as error:
        return NOT_COMPARABLE, [f"{catalogue}: not compared: {error}"]
    made = catalogue.parent / MADE_WITH
    before = made.read_text("utf-8").strip() if made.is_file() else "unknown tools"
    if here != before:
        return NOT_COMPARABLE, [f"{catalogue}: not compared: made with {before}, here is {here}"]
    found = list(differences(catalogue))
    return int(bool(found)), found


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m ivr.prompts.make", description="Speak the prompt catalogues.")
    parser.add_argument("--check", action="store_true", help="compare only; 1: something differs, 3: other tools")
    parser.add_argument("--own", type=Path, default=SHIPPED, metavar="DIR", help="your folder of language folders")
    parser.add_argument("--language", default="*", help="one language only, as its folder is called")
    given = parser.parse_args(arguments)
    catalogues = sorted(given.own.glob(f"{given.language}/{CATALOGUE}"))
    try:
        if not catalogues:
            raise PromptError(f"{given.own}: no {given.language}/{CATALOGUE}")
        return max(_one(catalogue, given.check) for catalogue in catalogues)
    except PromptError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _one(catalogue: Path, only_check: bool) -> int:
    if not only_check:
        sys.stdout.write(f"{catalogue.parent}: {record(catalogue)} recordings\n")
        return 0
    status, found = check(catalogue)
    sys.stdout.write("".join(f"{line}\n" for line in found) or f"{catalogue}: the same bytes\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
