"""Webhooks on the command line: what an operator types, and what a script reads; secrets are told once."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from provisioner.hooks.post import HookPost
from provisioner.hooks.senders import HookSenders
from provisioner.hooks.wire import Wire
from provisioner.settings import load
from provisioner.store.database import Store

Run = Callable[..., Result]
Asked = Callable[..., Any]
RULES = """
[[rules]]
action = "user.left"
when = { "$.type" = "left" }
fields = { user = "$.who" }
"""


@pytest.fixture
def endpoint() -> Iterator[str]:
    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204 if self.path == "/good" else 500)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody listens."""

    server = HTTPServer(("127.0.0.1", 0), Taking)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONER_WEBHOOK_ALLOW", "127.0.0.0/8")


def test_an_endpoint_from_its_first_to_its_last_day(
    run: Run, asked: Asked, office: None, endpoint: str, allowed: None
) -> None:
    made = asked("hook", "add", f"{endpoint}/good", "--account", "Example Ltd", "--name", "pbx", "--event", "binding.*")
    assert made["secret"].startswith("whsec_") and made["about"]["events"] == "binding.*"
    assert "204" in run("hook", "test", "pbx").stdout
    run("device", "unbind", "0004f2aabbcc", "1")
    [one] = asked("hook", "list")
    assert (one["about"]["name"], one["waiting"], one["dead"]) == ("pbx", 1, 0)
    assert one["about"]["id"] in run("hook", "list").stdout
    run("hook", "set", "pbx", "--url", f"{endpoint}/bad", "--rename", "our pbx", "--event", "*")
    told = run("hook", "test", "our pbx", code=1).stdout
    assert "answers 500" in told
    assert [one["status"] for one in asked("hook", "deliveries", "our pbx")] == [500, 204]
    assert "answers 500" in run("hook", "deliveries", "our pbx").stdout
    run("hook", "disable", "our pbx")
    assert "disabled by" in run("hook", "show", "our pbx").stdout
    run("hook", "enable", "our pbx")
    rotated = asked("hook", "rotate", "our pbx")
    assert rotated["secret"] != made["secret"] and rotated["about"]["before_until"] > 0
    assert "0 messages" in run("hook", "replay", "our pbx").stdout
    everything = run("hook", "list").stdout + run("hook", "show", "our pbx").stdout + run("events").stdout
    assert made["secret"] not in everything and rotated["secret"] not in everything
    run("hook", "remove", "our pbx")
    assert asked("hook", "list") == []
    kinds = {one["kind"] for one in asked("events")}
    assert {"hook_added", "hook_changed", "hook_disabled", "hook_enabled", "hook_rotated", "hook_removed"} <= kinds


async def failing(data: Path, **settings: object) -> None:
    """What waits is sent; the endpoint says no, until it is given up."""
    configured = load(data, {}, webhook_allow=("127.0.0.0/8",), webhook_tries=1, **settings)
    async with Store.of(configured) as store:
        senders = HookSenders(store, configured, HookPost(store, configured, Wire(configured)), lambda *_: None)
        await senders.turn()
        await senders.stop()


def test_an_endpoint_that_fails_is_told_with_what_to_do(
    run: Run, asked: Asked, office: None, endpoint: str, allowed: None, data: Path
) -> None:
    run("hook", "add", f"{endpoint}/bad", "--name", "our crm")
    assert "not called yet" in run("hook", "show", "our crm").stdout
    run("device", "unbind", "0004f2aabbcc", "1")
    asyncio.run(failing(data))
    [one] = asked("hook", "list")
    assert one["about"]["failures"] >= 1 and one["dead"] >= 1 and one["last_error"].startswith("answers 500")
    for said in (run("hook", "list").stdout, run("hook", "show", "our crm").stdout):
        assert re.search(r"answers 500.* at 20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ", said)
        assert re.search(r"failing since.*20\d\d-", said, re.DOTALL)
        assert "`provisioner hook deliveries 'our crm'`" in said and "`provisioner hook replay 'our crm'`" in said
    run("hook", "disable", "our crm")
    said = run("hook", "show", "our crm").stdout
    assert "disabled (disabled by" in said and "`provisioner hook enable 'our crm'`" in said


def test_what_cannot_be_meant_is_said(run: Run, office: None) -> None:
    assert "webhook.allow" in run("hook", "add", "http://example.net/", code=1).stderr
    assert "webhook.allow" in run("hook", "add", "https://127.0.0.1/", code=1).stderr
    assert "no type of event" in run("hook", "add", "https://example.net/", "--event", "x.y", code=1).stderr
    assert "no webhook endpoint" in run("hook", "show", "nobody", code=1).stderr


def test_a_source_and_what_it_has_posted(run: Run, asked: Asked, office: None, tmp_path: Path) -> None:
    rules, secret, document = tmp_path / "hr.toml", tmp_path / "secret", tmp_path / "sample.json"
    rules.write_text(RULES)
    secret.write_text("of-their-own-making-16\n")
    document.write_text(json.dumps({"type": "left", "who": "Ada Byron"}))
    add = ("hook", "source", "add", "hr", "--account", "Example Ltd", "--rules", str(rules))
    made = asked(*add, "--scheme", "bearer", "--secret-file", str(secret))
    assert made["secret"] == "of-their-own-making-16"
    tried = asked("hook", "source", "try", "hr", str(document))
    assert (tried["action"], tried["fields"]) == ("user.left", {"user": "Ada Byron"})
    assert "user.left" in run("hook", "source", "try", "hr", str(document)).stdout
    assert "user.left" in run("hook", "source", "show", "hr").stdout
    rules.write_text("rules = 1")
    assert "rules: must be a list" in run("hook", "source", "set", "hr", "--rules", str(rules), code=1).stderr
    assert "is off" in run("hook", "source", "set", "hr", "--disable").stdout
    assert [one["enabled"] for one in asked("hook", "source", "list")] == [False]
    assert made["secret"] not in run("hook", "source", "rotate", "hr").stdout
    assert asked("hook", "inbox", "list") == []
    for verb in ("show", "replay", "drop"):
        assert "no message 7" in run("hook", "inbox", verb, "7", code=1).stderr
    run("hook", "source", "remove", "hr")
    assert "no source 'hr'" in run("hook", "source", "show", "hr", code=1).stderr
