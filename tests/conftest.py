"""For all tests: the network ends at this machine, nothing of the user's environment leaks in; and a command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from effort import SOME, WHOLE, remember_sql, spare_the_disk
from hypothesis import settings
from namespaces import not_played, refused
from pytest_socket import socket_allow_hosts

from provisioner.cli.main import cli
from provisioner.installation import init

Run = Callable[..., Result]
Asked = Callable[..., Any]
MAC = "0004f2aabbcc"
SECRET = "correct-horse-7"

LONG = (
    "test_demo.py",
    "test_supervisor.py",
    "test_app.py",
    "test_ivr_app.py",
    "test_device_admission.py",
    "test_ivr_adapters.py",
    "test_baresip.py",
    "test_scenario_boots.py",
    "test_scenario_containment.py",
    "test_ivr_app_trials.py",
    "test_ivr_server.py",
)
"""Files that take longest: begun first, so that at the end nobody waits for one of them."""
LABORATORY = Path(__file__).with_name("lab")
LOOPBACK = ["127.0.0.0/8", "::1", "localhost"]
spare_the_disk()
remember_sql()
_RESOLVED: dict[str, set[str]] = {}

# A busy machine is no fault of a property's. What must pass before anything lands tries the same examples each time;
# `make search` tries others with each run.
settings.register_profile("search", max_examples=WHOLE, deadline=None, print_blob=True)
settings.register_profile("whole", max_examples=WHOLE, deadline=None, derandomize=True)
settings.register_profile("some", max_examples=SOME, deadline=None, derandomize=True)
settings.load_profile("some")  # --hypothesis-profile comes after this, and before the tests' modules


def pytest_configure() -> None:
    """As at a terminal: what a shell puts in the background begins with Ctrl-C ignored, and so do its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    """What this machine leaves out; said again at the end."""
    return [not_played()] if refused() else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """After all else, where it is seen."""
    if refused():
        terminalreporter.section("left out")
        terminalreporter.line(not_played())


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """The laboratory needs namespaces; nothing else does."""
    within = LABORATORY in (collection_path, *collection_path.parents)
    return True if within and refused() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, held-out cases last; a file stays together, and in its own order."""
    items.sort(key=lambda one: LONG.index(one.path.name) if one.path.name in LONG else len(LONG) + _is_held_out(one))


def _is_held_out(one: pytest.Item) -> bool:
    return "held_out" in one.nodeid


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup() -> None:
    """A connection beyond this machine raises; sockets of the file system are fine."""
    socket_allow_hosts(LOOPBACK, allow_unix_socket=True, resolution_cache=_RESOLVED)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """PROVISIONER_* of the shell that runs the tests must not change what is tested."""
    for name in [one for one in os.environ if one.startswith("PROVISIONER_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One installation a process, to copy from: its keys take a second to make."""
    data = tmp_path_factory.mktemp("made") / "data"
    init(data, "prov.example.net")
    return data


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "data"))


@pytest.fixture
def run(data: Path) -> Run:
    def call(*words: str, code: int = 0, text: str | None = None) -> Result:
        result = CliRunner().invoke(cli, ["--data", str(data), *words], input=text)
        assert result.exit_code == code, (words, result.output, result.exception)
        return result

    return call


@pytest.fixture
def asked(run: Run) -> Asked:
    """The JSON that a command answers."""
    return lambda *words, **options: json.loads(run(*words, "--json", **options).stdout)


@pytest.fixture
def office(run: Run) -> None:
    run("account", "add", "Example Ltd")
    run("site", "add", "Head Office", "--account", "Example Ltd", "--time-zone", "Europe/Berlin")
    run("user", "add", "Ada Byron", "--account", "Example Ltd")
    run("extension", "add", "1001", "--account", "Example Ltd", "--user", "Ada Byron", "--secret", SECRET)
    place = ["--account", "Example Ltd", "--site", "Head Office"]
    run("device", "add", "00:04:F2:AA:BB:CC", "--vendor", "poly", "--model", "VVX 411", *place)
    run("device", "bind", MAC, "1", "--extension", "1001")
