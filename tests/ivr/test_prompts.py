"""Every prompt has words and a voice in every language; an operator's own go first, and broken ones are named."""

from __future__ import annotations

import shutil
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivr.flow import FlowSettings
from ivr.flow_table import prompts
from ivr.media import wav
from ivr.prompts import CATALOGUE, IDS, LOUDEST, QUIETEST, SHIPPED, PromptError, Prompts, languages, loudness, texts
from ivr.prompts.make import MADE_WITH, NOT_COMPARABLE, check, main, voice_of

WHOLE = [language for language in languages() if "-" not in language]
TONE = (b"\x00\x10" * 4 + b"\x00\xf0" * 4) * 200
"""A fifth of a second of a rough 1 kHz, at an eighth of full scale."""


def record(folder: Path, prompt: str, pcm: bytes = TONE, rate: int = 8000, channels: int = 1) -> Path:
    """With the standard library's writer, as other programs write."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{prompt}.wav"
    with wave.open(str(file), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(pcm)
    return file


def seconds(pcm: bytes) -> float:
    return len(pcm) / 2 / 8000


def test_english_and_another_language_are_shipped() -> None:
    assert {"en", "de"} <= set(WHOLE)
    assert prompts() == set(IDS)


@pytest.mark.parametrize("language", languages())
def test_every_prompt_can_be_read_and_heard(language: str) -> None:
    said = Prompts(language=language)
    assert list(said.problems()) == []
    assert [prompt for prompt in IDS if not said.text(prompt)] == []
    peaks = {prompt: loudness(said.load(prompt)) for prompt in IDS}
    assert {prompt: peak for prompt, peak in peaks.items() if not QUIETEST <= peak <= LOUDEST} == {}
    assert len({said.load(prompt) for prompt in IDS}) == len(IDS), "two prompts sound the same"


@pytest.mark.parametrize("language", languages())
def test_catalogue_and_folder_fit_together(language: str) -> None:
    folder = SHIPPED / language
    said = set(texts(folder / CATALOGUE))
    assert said == {file.stem for file in folder.glob("*.wav")}
    assert said == set(IDS) or language not in WHOLE


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*/*.wav")), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_format_of_every_recording(file: Path) -> None:
    """By a second reader."""
    with wave.open(str(file)) as sound:
        form = sound.getparams()
        assert (form.nchannels, form.sampwidth, form.framerate, form.comptype) == (1, 2, 8000, "NONE")
        pcm = sound.readframes(form.nframes)
    assert pcm == wav.read(file.read_bytes())
    spoken = [abs(sample) for sample in memoryview(pcm).cast("h")]
    assert 0.3 < seconds(pcm) < 10
    assert max(spoken[: 8 * 90]) < 400, "begins with a little silence: the first packets of a call are lost easily"
    assert max(spoken[: 8 * 250]) > 400, "and not with much"


@pytest.mark.parametrize("language", languages())
def test_farewells_fit_into_the_time_kept_for_them(language: str) -> None:
    said = Prompts(language=language)
    longest = max(seconds(said.load(prompt)) for prompt in ("goodbye", "system_error"))
    assert longest < FlowSettings().farewell


def test_the_docs_tell_every_sentence() -> None:
    page = (SHIPPED.parent.parent / "docs/how-to/record-own-prompts.md").read_text("utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    told = {row[1].strip(" `"): row[3].strip() for row in rows if "digit" not in row[1]}
    english = Prompts(language="en")
    assert told == {prompt: english.text(prompt) for prompt in IDS if not prompt.startswith("digit_")}


def test_recordings_stay_small() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.glob("*/*.wav")) < 2.5e6


def test_the_key_under_the_nine_has_two_names() -> None:
    american, british = Prompts(language="en"), Prompts(language="en-GB")
    assert ("pound" in american.text("enter"), "hash" in british.text("enter")) == (True, True)
    assert american.load("enter") != british.load("enter")
    assert american.load("welcome") == british.load("welcome")
    assert british.path("welcome").parent.name == "en"


def test_own_recordings_are_found_first(tmp_path: Path) -> None:
    record(tmp_path / "en", "enter")
    for language in ("en", "en-GB"):
        said = Prompts(tmp_path, language)
        assert said.load("enter") == TONE, "also where a shipped one is nearer to the region"
        assert said.path("busy").parent == SHIPPED / "en"
    assert list(Prompts(tmp_path, "en").problems()) == []


def test_a_language_of_ones_own(tmp_path: Path) -> None:
    for prompt in IDS:
        record(tmp_path / "fr", prompt)
    said = Prompts(tmp_path, "fr")
    assert list(said.problems()) == []
    assert said.text("busy") == ""
    assert languages(tmp_path) == tuple(sorted([*languages(), "fr"]))
    (tmp_path / "fr" / "busy.wav").unlink()
    with pytest.raises(PromptError, match=r"busy\.wav: not recorded in 'fr'; looked in .*/fr"):
        Prompts(tmp_path, "fr").load("busy")


def test_own_words_go_before_ours(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / CATALOGUE).write_text('[prompts]\nbusy = "Not now."\n')
    said = Prompts(tmp_path, "en")
    assert (said.text("busy"), said.text("wrong")) == ("Not now.", "This code is not valid.")


def test_a_wrong_format_is_named_with_what_is_wanted(tmp_path: Path) -> None:
    file = record(tmp_path / "en", "enter", rate=44100, channels=2)
    with pytest.raises(PromptError) as refused:
        Prompts(tmp_path, "en").load("enter")
    told = str(refused.value)
    assert [
        word for word in (str(file), "44100 Hz", "2 channel", "8000 Hz", "mono", "16 bit") if word not in told
    ] == []


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "too short"), (b"ID3 this is an MP3 file", "no WAV"), (wav.write(TONE)[:-1], "cut off")],
    ids=["empty", "mp3", "cut"],
)
def test_what_is_no_recording_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    file = record(tmp_path / "en", "enter")
    file.write_bytes(content)
    with pytest.raises(PromptError, match=f"{file}.*{told}"):
        Prompts(tmp_path, "en").load("enter")


@given(cut=st.integers(0, 1700), flip=st.integers(0, 60), bits=st.integers(1, 255))
def test_a_damaged_recording_is_a_prompt_error_or_a_sound(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int, bits: int
) -> None:
    damaged = bytearray(wav.write(TONE))
    damaged[flip] ^= bits
    folder = tmp_path_factory.mktemp("damaged")
    record(folder / "en", "enter").write_bytes(bytes(damaged[:cut]))
    try:
        assert Prompts(folder, "en").load("enter")
    except PromptError as error:
        assert "enter.wav" in str(error)
    finally:
        shutil.rmtree(folder)


def test_a_recording_too_long_is_refused(tmp_path: Path) -> None:
    file = record(tmp_path / "en", "enter", TONE * 160)
    with pytest.raises(PromptError, match=r"enter\.wav: 32 s long"):
        Prompts(tmp_path, "en").load("enter")
    with file.open("r+b") as sparse:
        sparse.truncate(17 * 1024 * 1024)
    with pytest.raises(PromptError, match="over 16 MiB"):
        Prompts(tmp_path, "en").load("enter")


@pytest.mark.parametrize("language", ["", "EN", "../en", "en/..", "en-", "english", "."])
def test_what_is_no_language_never_becomes_a_path(language: str) -> None:
    with pytest.raises(PromptError, match="is no language"):
        Prompts(language=language)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"no prompts in 'xx'; there are de, en, en-GB"):
        Prompts(language="xx")
    with pytest.raises(PromptError, match="no such folder"):
        Prompts(tmp_path / "nowhere")
    with pytest.raises(PromptError, match=r"'\.\./\.\./secret' is no prompt"):
        Prompts().load("../../secret")


def test_problems_name_all_that_is_wrong(tmp_path: Path) -> None:
    record(tmp_path / "en", "enter", rate=16000)
    record(tmp_path / "en", "busy", b"\x01\x00" * 4000)
    record(tmp_path / "en", "welcom")
    told = list(Prompts(tmp_path, "en").problems())
    assert len(told) == 3
    for words in (("enter.wav", "16000 Hz"), ("busy.wav", "its peak"), ("welcom.wav", "no prompt has this name")):
        assert [line for line in told if all(word in line for word in words)], words


@pytest.mark.parametrize(
    ("catalogue", "told"),
    [
        ("[prompts", "catalogue.toml"),
        ("prompts = 1", "is a table"),
        ('[prompts]\nbuzy = "x"', "'buzy' is no prompt"),
        ('[prompts]\nbusy = " "', "busy says nothing"),
        ("[prompts]\nbusy = 3", "busy says nothing"),
    ],
)
def test_a_catalogue_that_cannot_be_used_is_named(tmp_path: Path, catalogue: str, told: str) -> None:
    file = tmp_path / CATALOGUE
    file.write_text(catalogue)
    with pytest.raises(PromptError, match=told):
        texts(file)


def spoken(tmp_path: Path, language: str = "en", **changed: str) -> Path:
    """An own catalogue of a few short prompts."""
    folder = tmp_path / language
    folder.mkdir(exist_ok=True)
    said = {"digit_1": "one", "digit_2": "two"} | changed
    lines = ['[voice]\nengine = "flite"\nvoice = "slt"\n[prompts]', *(f'{key} = "{said[key]}"' for key in said)]
    (folder / CATALOGUE).write_text("\n".join(lines))
    return folder / CATALOGUE


@pytest.mark.parametrize("language", languages())
def test_same_text_gives_the_same_bytes(language: str) -> None:
    status, told = check(SHIPPED / language / CATALOGUE)
    if status == NOT_COMPARABLE:  # made with other versions of the tools: then it says so, and claims no difference
        assert told
    else:
        assert (status, told) == (0, [])


def test_the_maker_speaks_an_operators_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoken(tmp_path)
    assert main(["--own", str(tmp_path), "--language", "en"]) == 0
    assert "2 recordings" in capsys.readouterr().out
    assert list(Prompts(tmp_path, "en").problems()) == []
    assert main(["--own", str(tmp_path), "--check"]) == 0
    assert "the same bytes" in capsys.readouterr().out
    spoken(tmp_path, digit_2="twenty", digit_3="three")
    record(tmp_path / "en", "digit_4")
    assert main(["--own", str(tmp_path), "--check"]) == 1
    assert [line.split(": ")[-1] for line in capsys.readouterr().out.splitlines()] == [
        "is not what the catalogue says",
        "not recorded",
        "not in the catalogue",
    ]


def test_other_tools_are_not_compared(tmp_path: Path) -> None:
    catalogue = spoken(tmp_path)
    (tmp_path / "en" / MADE_WITH).write_text("flite 1.0, sox 12, vax\n")
    status, told = check(catalogue)
    assert status == NOT_COMPARABLE
    assert "made with flite 1.0, sox 12, vax, here is flite" in told[0]


def test_missing_tools_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    spoken(tmp_path)
    assert main(["--own", str(tmp_path), "--check"]) == NOT_COMPARABLE
    assert "flite and sox not installed; on Debian: apt-get install flite sox" in capsys.readouterr().out
    assert main(["--own", str(tmp_path)]) == 1
    assert not list(tmp_path.rglob("*.wav"))


@pytest.mark.parametrize("voice", ['engine = "rm"\nvoice = "en"', 'engine = "flite"\nvoice = "-o/etc/x"', ""])
def test_the_maker_runs_its_own_programs_only(tmp_path: Path, voice: str) -> None:
    catalogue = tmp_path / CATALOGUE
    catalogue.write_text(f"[voice]\n{voice}\n")
    with pytest.raises(PromptError, match=r"\[voice\] wants"):
        voice_of(catalogue)


def test_no_catalogue_no_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--own", str(tmp_path), "--language", "fr"]) == 1
    assert "no fr/catalogue.toml" in capsys.readouterr().err
