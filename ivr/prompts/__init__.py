"""Rule: a prompt is a text in a catalogue and a recording beside it; the operator's own folder is asked before ours.

A language is a folder: ``en``, ``de``. One with a region, ``en-GB``, needs only what it says differently; the rest
comes from ``en``. A recording that is there but cannot be played is an error, never passed over for another voice.
"""

from __future__ import annotations

import re
import tomllib
from array import array
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final

from ivr.flow_table import prompts
from ivr.media import wav
from ivr.media.g711 import RATE

SHIPPED: Final = Path(__file__).resolve().parent
IDS: Final = tuple(sorted(prompts()))
"""Every prompt that the Flow can say."""
CATALOGUE: Final = "catalogue.toml"
LOUDEST: Final = 10 ** (-3 / 20)
"""Peak of full scale, -3 dBFS: above it G.711 and a handset distort."""
QUIETEST: Final = 10 ** (-20 / 20)
_LONGEST: Final = 30.0
"""Seconds: a call lasts three minutes, and a prompt of all of it is a mistake in the file."""
_LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a file that is worth reading to say what is wrong with it."""
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


class PromptError(Exception):
    """A prompt cannot be played; says which file, what is wrong and what to do."""


class Prompts:
    """The recordings of one language; ``own`` is the operator's folder of language folders."""

    def __init__(self, own: Path | None = None, language: str = "en") -> None:
        """Refused: a language that nobody has, an own folder that is not there."""
        if not _LANGUAGE.fullmatch(language):
            raise PromptError(f"{language!r} is no language; they are written like en or en-GB")
        if own is not None and not own.is_dir():
            raise PromptError(f"{own}: no such folder of prompts")
        self.language = language
        roots = (own, SHIPPED) if own else (SHIPPED,)
        self._folders = tuple(root / name for root in roots for name in _fallbacks(language))
        self._loaded: dict[str, bytes] = {}
        if not any(folder.is_dir() for folder in self._folders):
            raise PromptError(f"no prompts in {language!r}; there are {', '.join(languages(own))}")

    def load(self, prompt: str) -> bytes:
        """PCM of a prompt: signed 16 bit little-endian, mono, 8 kHz; read once."""
        if prompt not in self._loaded:
            self._loaded[prompt] = _read(self.path(prompt))
        return self._loaded[prompt]

    def path(self, prompt: str) -> Path:
        """The file that will be played."""
        if prompt not in IDS:
            raise PromptError(f"{prompt!r} is no prompt; they are {', '.join(IDS)}")
        found = next((file for folder in self._folders if (file := folder / f"{prompt}.wav").is_file()), None)
        if found is None:
            looked = ", ".join(str(folder) for folder in self._folders)
            raise PromptError(f"{prompt}.wav: not recorded in {self.language!r}; looked in {looked}")
        return found

    def text(self, prompt: str) -> str:
        """What it says, or nothing where the operator recorded without writing it down."""
        return next((texts[prompt] for texts in self._texts if prompt in texts), "")

    @cached_property
    def _texts(self) -> tuple[dict[str, str], ...]:
        files = [folder / CATALOGUE for folder in self._folders]
        return tuple(texts(file) for file in files if file.is_file())

    def problems(self) -> Iterator[str]:
        """All that is wrong with this language, for whoever sets it up: nothing when every prompt can be played."""
        for prompt in IDS:
            try:
                peak = loudness(self.load(prompt))
            except PromptError as error:
                yield str(error)
                continue
            if not QUIETEST <= peak <= LOUDEST:
                yield f"{self.path(prompt)}: its peak is at {peak:.0%} of full scale, and good is 10 to 70 %"
        for folder in self._folders:
            for file in sorted(folder.glob("*.wav")):
                if file.stem not in IDS:
                    yield f"{file}: no prompt has this name; they are {', '.join(IDS)}"


def languages(own: Path | None = None) -> tuple[str, ...]:
    """Languages that have a folder."""
    roots = (own, SHIPPED) if own and own.is_dir() else (SHIPPED,)
    found = {path.name for root in roots for path in root.iterdir() if path.is_dir()}
    return tuple(sorted(name for name in found if _LANGUAGE.fullmatch(name)))


def section(catalogue: Path, name: str) -> dict[str, object]:
    """A table of a catalogue, empty where it has none."""
    try:
        found = tomllib.loads(catalogue.read_text("utf-8")).get(name, {})
    except (OSError, ValueError) as error:
        raise PromptError(f"{catalogue}: {error}") from error
    if not isinstance(found, dict):
        raise PromptError(f"{catalogue}: {name} is a table: [{name}]")
    return found


def texts(catalogue: Path) -> dict[str, str]:
    """The sentences of a catalogue, all of them known and none empty."""
    said = {}
    for prompt, sentence in section(catalogue, "prompts").items():
        if prompt not in IDS:
            raise PromptError(f"{catalogue}: {prompt!r} is no prompt; they are {', '.join(IDS)}")
        if not isinstance(sentence, str) or not sentence.strip():
            raise PromptError(f"{catalogue}: {prompt} says nothing")
        said[prompt] = sentence
    return said


def loudness(pcm: bytes) -> float:
    """The peak, 1.0 being full scale."""
    samples = array("h", pcm)
    return max(max(samples), -min(samples)) / 32768


def _fallbacks(language: str) -> Iterator[str]:
    """``en-GB``, then ``en``."""
    while language:
        yield language
        language = language.rpartition("-")[0]


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size > _LARGEST:
            raise PromptError(f"{file}: over 16 MiB; a prompt is a sentence or two, mono, {RATE} Hz, 16 bit")
        pcm = wav.read(file.read_bytes())
    except OSError as error:
        raise PromptError(f"{file}: {error.strerror}") from error
    except wav.WavError as error:
        raise PromptError(f"{file}: {error}") from error
    seconds = len(pcm) / 2 / RATE
    if seconds > _LONGEST:
        raise PromptError(f"{file}: {seconds:.0f} s long; a prompt is a sentence or two, {_LONGEST:g} s at most")
    return pcm
