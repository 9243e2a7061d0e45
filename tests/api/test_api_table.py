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

from provisioner.events import KINDS
from provisioner.http.api import browse
from provisioner.http.api.application import openapi, table
from provisioner.http.api.problems import CURES, titles
from provisioner.http.api.routes import AnyCall, Routes, Table
from provisioner.rights import Right

PRODUCT = Path(__file__).resolve().parents[2] / "provisioner"
ONE_OF = {
    "account": "accounts", "site": "sites", "user": "users", "extension": "extensions", "license": "licenses",
    "number": "numbers", "range": "ranges", "code": "codes", "key": "keys", "event": "events", "line": "bindings",
    "message": "messages", "source": "sources", "posted_message": "posted", "administrator": "administrators",
    "hook": "hooks", "job": "job_page", "pin": "pins", "layer_revision": "layer_revisions", "bind": "bound",
}  # fmt: skip
"""Where one of them is not asked for by itself, the list has it."""
PAGES = {
    f"{name}_page": f"{name}s"
    for name in ("account", "site", "user", "extension", "license", "number", "code", "event")
} | {"device_page": "devices"}
"""What the API has page by page the command line lists as a whole."""
NOT_IN_API = {
    "bind": "rebind does it, with everything that follows",
    "bound": "rebind does it, with everything that follows",
    "unbind": "release does it, with everything that follows",
    "tell": "a part of rebind and release",
    "sweep": "the server does it each hour",
    "rotate_key": "whoever changes the master key sits at the machine that has it",
    "set_password": "nobody sets another's password but at the machine itself; others make a link",
    "stages": "the status of each device tells it",
    "cards": "what is printed is made where it is printed; the API reveals one code at a time",
    "mail": "a code is mailed with issue and reissue",
    "mails": "the messages tell it",
    "ping_hook": "the server sends its pings itself, outside of any call: queue_ping",
    "set_layer": "change_layer does it, with everything that follows",
    "unset_layer": "change_layer does it, with everything that follows",
    "read": "a part of begin_import",
    "names": "the API tells ids, and each has a call of its own",
    "plan_import": "begin_import does it as a job",
    "apply_import": "begin_import does it as a job",
    "begin_in": "a step of begin, for a rollout within its own change",
    "note_same": "a step of begin, for a rollout within its own change",
}
NOT_ON_COMMAND_LINE = {
    "only_of": "a part of whatever begins a job",
    "set_layer": "change_layer does it, with everything that follows",
    "unset_layer": "change_layer does it, with everything that follows",
    "tell": "a part of rebind and release",
    "sweep": "the server does it each hour",
    "events_after": "the live feed asks so",
    "standing": "`device show`, `device fetches` and `events` show it",
    "census": "the metrics have it",
    "stages": "`device show` tells it of each",
    "begin_job": "a shell repeats commands itself",
    "begin_import": "`import` does it at once and waits",
    "queue_ping": "`hook test` sends at once and says what came of it",
    "begin_in": "a step of begin, for a rollout within its own change",
    "note_same": "a step of begin, for a rollout within its own change",
}


def trees(folder: Path) -> list[ast.Module]:
    return [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py"))]


BOUNDED = {
    "list_flights": "the newest, in rings", "list_strangers": "the newest, in rings",
    "list_troubles": "groups, the 500 largest", "list_failures": "as many as the catalogue has",
    "list_refusals": "groups, as many as recorder.refused",
    "list_lines": "a device has as many as its model", "list_tokens": "of one device, which has a few",
    "list_uploads": "of one device, 32 names a user", "list_phones": "an extension has ten at most",
    "list_certificates": "of one device, the last three", "list_files": "of one device",
    "show_settings": "of one device", "list_knobs": "as many as this program has",
    "list_meanings": "as many as this program knows", "list_models": "as many as this program knows",
    "show_census": "vendors by states", "list_shaped": "a few for each vendor",
    "list_cards": "profile.cards, 500 of them at most",
    "list_key_recordings": "one a device, those of the last days",
    "list_standings": "who is next, as many as are asked for; the counts tell of all",
}  # fmt: skip
"""Lists that are told whole."""


@pytest.fixture(scope="module")
def use_cases() -> dict[str, str]:
    """Public methods of every class that is a Desk, whichever module it stands in, and the class of each."""
    classes = [node for tree in trees(PRODUCT) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    desks, before = {"Desk"}, 0
    while len(desks) > before:
        before = len(desks)
        desks |= {one.name for one in classes if {base.id for base in one.bases if isinstance(base, ast.Name)} & desks}
    classes = [
        one for one in classes if "Protocol" not in {base.id for base in one.bases if isinstance(base, ast.Name)}
    ]
    methods = [(node, one.name) for one in classes if one.name in desks for node in one.body]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name: name for node, name in methods if isinstance(node, kinds) and not node.name.startswith("_")}


def called(folder: Path) -> set[str]:
    """Names of methods that are called anywhere in these modules."""
    calls = [node.func for tree in trees(folder) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {one.attr for one in calls if isinstance(one, ast.Attribute)}


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
    apart |= {("*", one.full_path) for one in table().rows if "{" not in one.path}  # says which methods it takes
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
            if route.path in ("/resyncs", "/storm-values", "/devices/{mac}/tokens", "/devices/{mac}/wipe"):
                continue  # lists, which have no version of their own
            assert route.version is not None, route.path
            assert route.must_match, route.path


def test_every_document_can_be_told_in_part() -> None:
    """What is only told once, as it happens or as a file is told as a whole."""
    for route in table().rows:
        if route.method == "GET" and route.media == "application/json" and not route.secret:
            assert "fields" in route.query.model_fields, route.name


def test_every_long_list_is_turned() -> None:
    lists = {one.name for one in table().rows if one.method == "GET" and one.lists and not one.turns}
    assert lists - set(BOUNDED) == set(), "a list that grows has pages"
    assert set(BOUNDED) <= {one.name for one in table().rows}


UNVERSIONED = {
    "reveal_file": "changes nothing", "reveal_code": "changes nothing", "reveal_secret": "changes nothing",
    "test_switch": "changes nothing",
    "try_source": "changes nothing", "release_extension": "a hold is of whoever asked for it",
    "wipe_device": "asked twice it is asked once", "end_wipe": "ended twice it is ended",
    "swap_device": "refused where the phone has no lines any more",
}  # fmt: skip
"""Changes beside something shown that two people cannot overwrite each other's with."""


def test_every_change_of_something_shown_may_say_its_version() -> None:
    """If-Match counts wherever a change is of something that has an ETag: itself, or what it stands below."""
    shown = {one.path for one in table().rows if one.method == "GET" and one.tagged and "{" in one.path}
    for route in table().rows:
        below = any(route.path == path or route.path.startswith(path + "/") for path in shown)
        if route.changes and below and not route.version and not route.path.startswith(("/users/{user}/licenses",)):
            assert route.name in UNVERSIONED or route.made_at or route.status in (201, 202), route.name


def test_each_use_case_is_reachable_by_api_and_command_line(use_cases: dict[str, str]) -> None:
    in_api, on_line = called(PRODUCT / "http" / "api"), called(PRODUCT / "cli")
    whole = {listed: page for page, listed in PAGES.items()}
    missing = {one for one in use_cases if not {one, whole.get(one, one)} & in_api} - set(NOT_IN_API)
    assert {one: use_cases[one] for one in missing} == {}, "no route leads there"
    alike = {one: {one, PAGES.get(one, one), ONE_OF.get(one, one)} for one in use_cases}
    missing = {one for one in use_cases if not alike[one] & on_line} - set(NOT_ON_COMMAND_LINE)
    assert {one: use_cases[one] for one in missing} == {}, "no command leads there"


def test_no_excuse_outlives_its_reason(use_cases: dict[str, str]) -> None:
    assert set(NOT_IN_API) | set(NOT_ON_COMMAND_LINE) | set(PAGES) <= set(use_cases)
    assert len(NOT_IN_API) + len(NOT_ON_COMMAND_LINE) <= 34, "the exceptions are few"


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


@pytest.mark.slow  # six seconds
def test_the_document_keeps_to_openapi() -> None:
    import jsonschema_rs  # comes with schemathesis

    for name, schema in openapi()["components"]["schemas"].items():
        whole = {**schema, "components": openapi()["components"]}
        assert jsonschema_rs.Draft202012Validator(whole), name


def test_every_kind_of_problem_has_a_cure_and_a_page() -> None:
    assert [title for title, _ in titles().values() if "`" in title] == [], "words for people, not for a page of code"
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
    found: Any = await house.get("/event-kinds?limit=500")
    assert {one["kind"] for one in found["items"]} == set(KINDS)
