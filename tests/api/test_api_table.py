"""The table of routes holds the API together: rights, models, documents, and the use-cases behind it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from api_house import House
from samples import BODIES

from provisioner.activation.letters import CodeLetters
from provisioner.audit_log import AuditLog
from provisioner.events import KINDS
from provisioner.fleet.assign import Assignment
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.jobs import Jobs
from provisioner.fleet.search import Search
from provisioner.hooks.hooks import Hooks
from provisioner.hooks.inbox import Inbox
from provisioner.hooks.sources import Sources
from provisioner.http.api import browse
from provisioner.http.api.application import openapi, table
from provisioner.http.api.problems import CURES, titles
from provisioner.http.api.routes import AnyCall, Routes, Table
from provisioner.keys_desk import ApiKeys
from provisioner.outbox_desk import OutboxDesk
from provisioner.resync.resync import Resync
from provisioner.rights import Right
from provisioner.roster import Roster

PRODUCT = Path(__file__).resolve().parents[2] / "provisioner"
DESKS = (
    Fleet,
    CodeLetters,
    Resync,
    OutboxDesk,
    Roster,
    ApiKeys,
    AuditLog,
    Jobs,
    Search,
    Assignment,
    Hooks,
    Sources,
    Inbox,
)
PAGED = "the API has it page by page"
NOT_IN_API = {
    "accounts": PAGED,
    "sites": PAGED,
    "users": PAGED,
    "extensions": PAGED,
    "devices": PAGED,
    "codes": PAGED,
    "licenses": PAGED,
    "numbers": PAGED,
    "events": PAGED,
    "bind": "assign does it, with everything that follows",
    "unbind": "release does it, with everything that follows",
    "sweep": "the server does it each hour",
    "rotate_key": "whoever changes the master key sits at the machine that has it",
    "set_password": "nobody sets another's password but at the machine itself; others make a link",
    "tell": "a part of assign and release",
    "stages": "the status of each device tells it",
    "cards": "what is printed is made where it is printed; the API reveals one code at a time",
    "mail": "a code is mailed with issue and reissue",
    "mails": "the messages tell it",
    "ping_hook": "the server sends its pings itself, outside of any call: queue_ping",
}
NOT_ON_COMMAND_LINE = {
    **{name: "the command line lists as much as it is asked for" for name in dir(Search) if name.endswith("_page")},
    "account": "a list shows it",
    "site": "a list shows it",
    "user": "a list shows it",
    "extension": "a list shows it",
    "line": "`device bindings` shows it",
    "events_after": "`events --follow` reads the list",
    "standing": "`device show`, `device fetches` and `events` show it",
    "tell": "a part of assign and release",
    "census": "the metrics have it",
    "stages": "`device show` tells it of each",
    "begin_job": "a shell repeats commands itself",
    "job": "jobs are the API's",
    "job_page": "jobs are the API's",
    "job_rows": "jobs are the API's",
    "stop_job": "jobs are the API's",
    "sweep": "the server does it each hour",
    "queue_ping": "`hook test` sends at once and says what came of it",
}


def test_a_route_without_a_right_cannot_be_registered() -> None:
    routes = Routes("things", "Things.")
    with pytest.raises(TypeError, match="declares no right"):
        routes.get("/things", None, None)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        routes.get("/things", told=None)  # type: ignore[call-arg]  # that is the point


def test_a_route_says_what_it_does_and_stands_once() -> None:
    routes = Routes("things", "Things.")

    async def silent(call: AnyCall) -> None:
        del call

    with pytest.raises(TypeError, match="does not say"):
        routes.get("/things", Right.DEVICE_READ, None)(silent)

    async def list_things(call: AnyCall) -> None:
        """All things."""
        del call

    routes.get("/things/{one}", Right.DEVICE_READ, None)(list_things)
    Table([routes])
    routes.get("/things/{other}", Right.DEVICE_READ, None)(list_things)
    with pytest.raises(TypeError, match="stands twice"):
        Table([routes])


def test_everything_that_is_served_is_in_the_table(house_routes: set[tuple[str, str]]) -> None:
    apart = {("*", "/api/v1{tail}"), ("GET", "/api/v1/openapi.json"), ("GET", "/api/v1/docs")}
    apart |= {("GET", "/api/v1/problems/{kind}"), ("*", "/{path}")}
    apart |= {("HEAD", path) for method, path in apart if method == "GET"}
    known = {(one.method, one.full_path) for one in table().rows}
    known |= {("HEAD", path) for method, path in known if method == "GET"}
    assert house_routes - known - apart == set()


@pytest.fixture
def house_routes() -> set[tuple[str, str]]:
    from aiohttp import web

    from provisioner.http.api.application import add_api

    made = web.Application()

    class Means:
        class settings:  # noqa: N801  # stands for an attribute
            api_rate, api_burst = 1.0, 1

    add_api(made, Means())  # type: ignore[arg-type]  # nothing is asked
    found = {(one.method, one.resource.canonical) for one in made.router.routes() if one.resource}
    return found | {("*", "/{path}")}


def test_every_change_of_what_is_there_says_which_version_it_means() -> None:
    """A resource that has a version is replaced, changed in part and removed only by it."""
    shown = {one.path: one for one in table().rows if one.method == "GET"}
    for route in table().rows:
        if route.method in ("PATCH", "DELETE") and route.path in shown and not shown[route.path].turns:
            if route.path in ("/resyncs", "/storm-values", "/devices/{mac}/tokens"):
                continue  # lists, which have no version of their own
            assert route.version is not None, route.path
            assert route.must_match, route.path


@pytest.mark.parametrize("desk", DESKS, ids=lambda one: one.__name__)
def test_each_use_case_is_reachable_by_api_and_command_line(desk: type) -> None:
    methods = {name for name in dir(desk) if not name.startswith("_") and callable(getattr(desk, name))}
    in_api, on_line = called(PRODUCT / "http" / "api"), called(PRODUCT, "cli_*.py")
    assert methods - in_api - set(NOT_IN_API) == set(), "no route leads there"
    assert methods - on_line - set(NOT_ON_COMMAND_LINE) == set(), "no command leads there"


def test_no_excuse_outlives_its_reason() -> None:
    methods = {name for desk in DESKS for name in dir(desk)}
    assert set(NOT_IN_API) | set(NOT_ON_COMMAND_LINE) <= methods


def called(folder: Path, pattern: str = "*.py") -> set[str]:
    """Names of methods that are called anywhere in these modules."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in folder.glob(pattern)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def test_device_workers_never_load_what_the_api_is_made_of() -> None:
    code = "import sys, provisioner.app; print(sorted({'pydantic', 'provisioner.http.api'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


# --- the document ---------------------------------------------------------------------------------------


def test_the_document_is_whole() -> None:
    found = openapi()
    assert found["openapi"] == "3.1.0"
    names = set(found["components"]["schemas"])
    refs = set(re.findall(r"#/components/schemas/([A-Za-z0-9_]+)", repr(found)))
    assert refs <= names
    assert not [one for one in names if "__" in one.replace("Paged_", "")], "two models have one name"
    operations = [one for methods in found["paths"].values() for one in methods.values()]
    assert len(operations) == len(table().rows)
    assert len({one["operationId"] for one in operations}) == len(operations)
    for one in operations:
        assert one["x-right"] in set(Right)
        assert one["summary"]
    assert {one.body.__name__ for one in table().rows if one.body} == set(BODIES)


def test_the_document_keeps_to_openapi() -> None:
    import jsonschema_rs  # comes with schemathesis

    for name, schema in openapi()["components"]["schemas"].items():
        whole = {**schema, "components": openapi()["components"]}
        assert jsonschema_rs.Draft202012Validator(whole), name


def test_every_kind_of_problem_has_a_cure_and_a_page() -> None:
    assert set(titles()) == set(CURES)
    for kind in CURES:
        assert CURES[kind].split(":")[0] in (browse.problem_page(kind) or "").replace("&#x27;", "'").replace(
            "<code>", "`"
        ).replace("</code>", "`"), kind
    assert browse.problem_page("nonsense") is None


@pytest.mark.asyncio
async def test_the_page_needs_nothing_from_anywhere(house: House) -> None:
    answer = await house.ask("GET", "/docs", who="nobody")
    assert answer.status == 200
    text = answer.body.decode()
    assert not re.findall(r"(?:src|href)=\"(?!#|/api/v1/)", text)
    assert "<script" not in text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    for route in table().rows:
        assert f'id="{route.name}"' in text
    assert len(set(re.findall(r' id="([^"]+)"', text))) == len(re.findall(r' id="([^"]+)"', text))
    for target in set(re.findall(r'href="#([^"]+)"', text)):
        assert f'id="{target}"' in text, target


@pytest.mark.asyncio
async def test_kinds_of_events_are_told(house: House) -> None:
    found: Any = await house.get("/event-kinds")
    assert {one["kind"] for one in found["items"]} == set(KINDS)
