"""The shape of the house, held by machine: rooms, sizes, names, and a reason beside every exception to a rule."""

from __future__ import annotations

import ast
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_socket import SocketConnectBlockedError

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("provisioner", "ivr")
OWN = (*PRODUCT, "tests", "bench", "docs", "examples", ".ci")
LONGEST_FILE = 450
LONGEST_FUNCTION = 45
MEDIAN_FUNCTION = 10
BANNED = {
    "utils.py",
    "util.py",
    "helpers.py",
    "helper.py",
    "common.py",
    "base.py",
    "const.py",
    "constants.py",
    "misc.py",
}
EDGES = {
    "provisioner/http/device.py": {"DeviceEdge._outermost"},
    "provisioner/http/api/edge.py": {"ApiEdge.answer"},
    "provisioner/http/console/edge.py": {"ConsoleEdge.answer"},
    "provisioner/app.py": {"_told"},
    "provisioner/background.py": {"contained", "Fence.holds"},
    "provisioner/capture/fence.py": {"fenced"},
    "ivr/server.py": {"Server.contained"},
}
"""The only functions that may catch everything: one request's end, one process's end, one turn of a background task,
one call to the prompts, one frame of a stranger's, one look of who only watches."""

IVR_SHELLS = re.compile(r"ivr/(server(_[a-z]+)?\.py|adapters/.*|prompts/make\.py)")
"""What may wait, send and ask the time; all else in ivr/ is given the time and its entropy."""
DOING_IO = {"asyncio", "random", "secrets", "select", "socket", "ssl", "subprocess", "threading", "time"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in found if "__pycache__" not in path.parts)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[Function]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def length(node: Function) -> int:
    """Lines from the signature to the end, the docstring left out: words are not what makes a function long."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


@pytest.mark.slow  # make test has asked import-linter before it begins with the tests
def test_imports_run_one_way() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_ivr_needs_only_the_standard_library() -> None:
    others = {name(path): imported(path) - sys.stdlib_module_names - {"ivr"} for path in sources("ivr")}
    hooks = {path: roots - {"aiohttp", "cryptography"} for path, roots in others.items() if "/adapters/" in path}
    assert {path: roots for path, roots in {**others, **hooks}.items() if roots} == {}
    assert len(others) > 10


def test_the_ivr_does_io_only_in_its_shells() -> None:
    """Of modules that import-linter has no contract for yet as well: a new one is pure until it is called a shell."""
    doing = {name(path): imported(path) & DOING_IO for path in sources("ivr") if not IVR_SHELLS.match(name(path))}
    assert {path: roots for path, roots in doing.items() if roots} == {}


def imported(path: Path) -> set[str]:
    """The top-level names of all that a module imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    froms = {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {one.partition(".")[0] for one in plain | froms}


def test_no_file_outgrows_its_room() -> None:
    long = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources(*OWN)}
    assert {path: lines for path, lines in long.items() if lines > LONGEST_FILE} == {}


def test_no_function_outgrows_a_screen() -> None:
    long = [
        f"{name(path)}:{node.lineno} {node.name} has {length(node)} lines"
        for path in sources(*PRODUCT)
        for node in functions(path)
        if length(node) > LONGEST_FUNCTION and "migrations" not in path.parts  # a list of columns, once
    ]
    assert long == []


def test_half_of_all_functions_are_short() -> None:
    lengths = sorted(length(node) for path in sources(*PRODUCT) for node in functions(path))
    assert lengths[len(lengths) // 2] <= MEDIAN_FUNCTION


def test_no_module_is_named_after_nothing() -> None:
    assert [name(path) for path in sources(*PRODUCT) if path.name in BANNED] == []


@pytest.mark.parametrize("path", sources(*PRODUCT), ids=name)
def test_first_line_says_the_modules_rule(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, "a module opens with its rule or strategy in one sentence"
    assert len(docstring.splitlines()[0]) >= 20


def test_every_exception_to_a_rule_gives_its_reason() -> None:
    """``# noqa: S105  # the word, not a secret``: the code, and after a second # the why."""
    marker = re.compile(r"#\s*(noqa|type:\s*ignore)(?P<code>[:\[][^#]*)?(?P<reason>#\s*\S.{5,})?")
    bare = [
        f"{name(path)}:{number}: {line.strip()}"
        for path in sources(*PRODUCT, "bench", "examples")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (found := marker.search(line)) and not (found["code"] and found["reason"])
    ]
    assert bare == []


def test_everything_is_caught_only_at_the_outer_edges() -> None:
    """Each of those functions once, and none that no longer does."""
    found = [
        (name(path), where)
        for path in sources(*PRODUCT)
        for where in _catching_everything(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert sorted(found) == sorted((path, where) for path, functions in EDGES.items() for where in functions)


def test_a_net_is_found_wherever_it_hangs() -> None:
    code = """
try: pass
except: pass
class A:
    async def b(self):
        def c():
            try: pass
            except (OSError, Exception): pass
        try: pass
        except ValueError: pass
        try: pass
        except BaseException:
            d()
            raise
        with suppress(KeyError, BaseException): pass
        with suppress(KeyError): pass
"""
    assert sorted(_catching_everything(ast.parse(code))) == ["", "A.b", "A.b.c"]


def _catching_everything(node: ast.AST, within: str = "") -> Iterator[str]:
    """The qualified names of the functions that do, once for each time."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.ClassDef, *Function.__args__)):
            yield from _catching_everything(child, f"{within}.{child.name}".lstrip("."))
            continue
        if (isinstance(child, ast.ExceptHandler) and _is_broad(child)) or _is_broad_suppress(child):
            yield within
        yield from _catching_everything(child, within)


def _is_broad_suppress(node: ast.AST) -> bool:
    """``contextlib.suppress`` is the same net by another name."""
    called = node.func if isinstance(node, ast.Call) else None
    named = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return named == "suppress" and any(_is_everything(one) for one in node.args)  # type: ignore[attr-defined]  # a Call


def _is_broad(handler: ast.ExceptHandler) -> bool:
    """Whether it keeps whatever comes; one that tidies up and ends in a bare ``raise`` keeps nothing."""
    if isinstance(last := handler.body[-1], ast.Raise) and last.exc is None:
        return False
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(one is None or _is_everything(one) for one in caught)


def _is_everything(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in {"Exception", "BaseException"}


def test_open_dicts_stay_at_the_rims() -> None:
    """A signature says what it takes: ``dict[str, Any]`` only where JSON or rows come in."""
    loose = [
        f"{name(path)}:{node.lineno} {node.name}"
        for path in sources(*PRODUCT)
        if not {"http", "store"} & set(path.parts)
        for node in functions(path)
        if "dict[str, Any]" in ast.unparse(node.args) + (ast.unparse(node.returns) if node.returns else "")
    ]
    assert loose == []


def test_tests_are_not_skipped() -> None:
    """A test that may be skipped hides its failure; what it needs is installed by ``make test``."""
    words = re.compile(r"pytest\.skip\(|mark\.(skip|skipif|xfail)\b")
    hidden = [
        name(path) for path in sources("tests") if path != Path(__file__) and words.search(path.read_text("utf-8"))
    ]
    assert hidden == []


def test_no_package_index_is_named() -> None:
    """Where packages come from is the business of whoever installs them."""
    files = [ROOT / one for one in ("Makefile", "pyproject.toml", "constraints.txt", ".ci/run", ".ci/packages")]
    named = [name(path) for path in files if re.search(r"https?://|--index-url|--extra-index", path.read_text("utf-8"))]
    assert named == []


def test_every_pin_of_the_project_is_a_constraint() -> None:
    pinned = re.findall(r'"([A-Za-z0-9_-]+)(?:\[[a-z]+\])?==([^"]+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    constraints = (ROOT / "constraints.txt").read_text("utf-8").lower().replace("_", "-").splitlines()
    assert [f"{one}=={version}" for one, version in pinned if f"{one}=={version}".lower() not in constraints] == []
    assert len(pinned) > 20


def test_the_network_ends_at_this_machine() -> None:
    """192.0.2.0/24 is nobody's (RFC 5737); a test that leaves the loopback fails, it does not time out."""
    with pytest.raises((SocketConnectBlockedError, UserWarning)):
        socket.create_connection(("192.0.2.1", 80), 0.2)
