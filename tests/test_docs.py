"""The documentation says what the code says: settings, commands, models, file names, links, dependencies."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from provisioner.cli.main import cli
from provisioner.neutral import SETTINGS
from provisioner.settings import knobs

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "bench").glob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
IN_TEXT = re.compile(r"`(?:\.venv/bin/)?provisioner((?: +[a-z][a-z-]*)+)")
IN_BLOCK = re.compile(r"^(?:    )?(?:\$ )?(?:\S*/)?provisioner(?: --data \S+)?((?: +[a-z][a-z-]*)+)", re.MULTILINE)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_reference_is_what_the_code_says() -> None:
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("settings.md", [name for name, _ in knobs()]),
        ("settings.md", list(SETTINGS)),
        ("command-line.md", sorted(cli.commands)),
    ],
    ids=["server settings", "neutral settings", "commands"],
)
def test_reference_names_everything(page: str, words: list[str]) -> None:
    text = (DOCS / "reference" / page).read_text("utf-8")
    assert [word for word in words if f"`{word}`" not in text and f"provisioner {word}`" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [link for link in LINK.findall(page.read_text("utf-8")) if not re.match(r"https?://|mailto:", link)]
    assert [link for link in targets if not _resolves(page, link)] == []


def _resolves(page: Path, link: str) -> bool:
    path, _, fragment = link.partition("#")
    target = (page.parent / path) if path else page
    if not target.exists():
        return False
    return not fragment or fragment in {
        _slug(head) for head in re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.M)
    }


def _slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every `provisioner WORD WORD` in the docs and help texts of the code."""
    code = sorted((ROOT / "provisioner").glob("*.py"))
    for path in [*PAGES, *code, *sorted((ROOT / "examples").rglob("*"))]:
        if path.is_file() and path.suffix in {".md", ".py", ".sh", ".service"}:
            text = path.read_text("utf-8")
            for found in IN_TEXT.findall(text) + (IN_BLOCK.findall(text) if path.suffix != ".py" else []):
                yield name(path), found.split()


def test_every_command_that_is_named_exists() -> None:
    unknown = [f"{where}: provisioner {' '.join(words)}" for where, words in commands() if not _exists(words)]
    assert unknown == []
    assert sum(1 for _ in commands()) > 20


def _exists(words: list[str]) -> bool:
    """The words lead to a command; what follows a command is its own."""
    command: click.Command = cli
    for word in words:
        if not isinstance(command, click.Group):
            return True
        if (found := command.commands.get(word)) is None:
            return False
        command = found
    return True


def test_every_dependency_says_why_it_is_there() -> None:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = [*document["project"]["dependencies"], *document["dependency-groups"]["dev"]]
    wanted += [one for extra in document["project"]["optional-dependencies"].values() for one in extra]
    names = {re.split(r"[\[=<> ]", one)[0] for one in (*wanted, *document["build-system"]["requires"])}
    rows = re.findall(r"^\| (\S+) \| \S.{8,}\|$", (DOCS / "dependencies.md").read_text("utf-8"), re.MULTILINE)
    assert names == set(rows)


def test_targets_named_in_the_readme_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"`make ([a-z-]+)", page.read_text("utf-8"))}
    assert named <= targets
    assert {"run", "test"} <= named


def test_no_page_names_a_path_of_one_machine() -> None:
    paths = re.compile(r"(?<![\w.])/(?:home|root|tmp|work)/")
    told = [f"{name(page)}: {found[0]}" for page in PAGES if (found := paths.search(page.read_text("utf-8")))]
    assert told == []


def test_what_a_person_is_told_to_hear_is_what_the_voice_says() -> None:
    text = (DOCS / "how-to" / "activate-your-phone.md").read_text("utf-8")
    spoken = tomllib.loads((ROOT / "ivr" / "prompts" / "en" / "catalogue.toml").read_text("utf-8"))["prompts"].values()
    said = re.findall(r'"([^"]+)"', text)
    assert len(said) >= 10
    assert [one for one in said if one != "activated" and not any(one.rstrip(".") in full for full in spoken)] == []
