"""Errors name what helps, and each edge says how that is done there: every deed, by words that are really taken."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

from provisioner.cli.cures import COMMANDS, command_of, told, typed
from provisioner.cli.main import cli
from provisioner.deeds import BY_HAND, Cure, Deed
from provisioner.errors import Conflict
from provisioner.http.api.application import table
from provisioner.http.api.cures import CALLS, call_of
from provisioner.http.api.problems import problem_of
from provisioner.http.console.application import pages
from provisioner.http.console.cures import WAYS
from provisioner.http.console.pages import Page

PRODUCT = Path(__file__).parents[1] / "provisioner"
EVERY = pytest.mark.parametrize("deed", list(Deed))
AT_THE_MACHINE = (
    "__main__.py", "cli/", "demo/", "simulator/", "doctor.py", "installation.py", "pki.py", "trust.py", "capacity.py",
    "contradictions.py", "secret_files.py", "run_directory.py", "settings", "storm_", "store/database.py",
    "http/contexts.py", "activation/sheet.py", "imports/report.py", "store/migrations/", "capture/", "evidence/",
)  # fmt: skip
"""What speaks only to whoever sits at the machine: there is no other edge at which it could be done."""
_COMMAND = re.compile(r"`provisioner |(?<![\w<(-])--[a-z]{3,}|provisioner [a-z]+ [a-z-]+`")


def command(line: str) -> None:
    """Raises unless the command line has this command with these options."""
    words = shlex.split(line)
    assert words.pop(0) == "provisioner"
    found: click.Command = cli
    while isinstance(found, click.Group):
        found = found.commands[words.pop(0)]
    known = {name for one in found.params for name in (*one.opts, *one.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known, line


@EVERY
def test_the_command_line_has_what_is_said_to_help(deed: Deed) -> None:
    said = command_of(Cure(deed, "it's", "an account"))
    for line in re.findall(r"`([^`]*)`", said):
        command(line.replace("`", ""))
    assert "{" not in said and COMMANDS[deed]


@EVERY
def test_the_api_has_it(deed: Deed) -> None:
    routes = {(route.method, re.sub(r"\{[^}]*\}", "{}", route.path)) for route in table().rows}
    calls = re.findall(r"`([A-Z]+) ([^`]*)`", CALLS[deed].replace("{{", "{").replace("}}", "}"))
    assert bool(calls) is (deed not in BY_HAND)
    for method, path in calls:
        assert (method, re.sub(r"\{[^}]*\}", "{}", path)) in routes, path
    assert "/a%20b%2Fc" in call_of(Cure(deed, "a b/c", "a b/c")) or "{of}" not in CALLS[deed]


@EVERY
def test_the_console_has_a_page_for_it_with_that_very_right(deed: Deed) -> None:
    path = re.sub(r"\{[^}]*\}", "{}", WAYS[deed].path.partition("?")[0])
    if deed in BY_HAND:
        assert not path and WAYS[deed].text
        return
    shown: list[Page] = [one for one in pages() if one.method == "GET" and re.sub(r"\{[^}]*\}", "{}", one.path) == path]
    assert shown, path
    assert WAYS[deed].right is shown[0].allowed or path == "/accounts/{}", "whoever sees the link may see the page"


def test_what_is_told_at_each_edge() -> None:
    error = Conflict("no range", cure=Cure(Deed.SET_RANGE, "Demo Company", "a1"))
    assert told(error) == "no range; `provisioner extension range 1000-1999 --account 'Demo Company'` sets one"
    problem = problem_of(error)
    assert (problem.cause, problem.cure) == ("no range", "set one: `PUT /accounts/a1/range`")
    assert problem_of(Conflict("no")).cure == "change what the cause names first, then send it again"
    assert told(Conflict("no")) == "no" and told(None) == ""
    assert typed(Cure(Deed.RESTORE_DEVICE, "0004f2aabbcc")) == "provisioner device restore 0004f2aabbcc"
    assert typed(Cure(Deed.ASK_SERVER, "0004f2aabbcc")) == "provisioner why 0004f2aabbcc (on the server)"


def texts(tree: ast.Module) -> list[str]:
    """What a module may say; its documentation is for whoever reads it."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, kinds)]
    told = {id(one.value) for body in bodies for one in body if isinstance(one, ast.Expr)}
    found = [one for one in ast.walk(tree) if isinstance(one, ast.Constant) and id(one) not in told]
    return [one.value for one in found if isinstance(one.value, str) and "var(--" not in one.value]


def test_nothing_that_another_edge_may_tell_names_a_command() -> None:
    found = {
        f"{name}: {text}"
        for path in sorted(PRODUCT.rglob("*.py"))
        if not (name := str(path.relative_to(PRODUCT))).startswith(AT_THE_MACHINE)
        for text in texts(ast.parse(path.read_text("utf-8")))
        if _COMMAND.search(text)
    }
    assert found == set()
    assert _COMMAND.search("say --replace") and _COMMAND.search("`provisioner code issue` makes one")
