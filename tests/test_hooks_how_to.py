"""The how-to of webhooks, as it is pasted: its signatures, its rules, its commands, through a running server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from house import VVX, House, soon

from provisioner.hooks.mapping import Action, load_rules
from provisioner.hooks.signing import new_secret, signed
from provisioner.model import Mac

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "how-to" / "hooks.md").read_text("utf-8")
SECRET = new_secret(b"k" * 32)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def shell(*having: str) -> str:
    [found] = [one for one in blocks("sh") if all(word in one for word in having)]
    return found


@pytest.mark.parametrize("body", [b"{}", b'{"a": "\xc3\xa4"}\n', b""])
def test_both_ways_to_check_a_signature_tell_good_from_forged(tmp_path: Path, body: bytes) -> None:
    [python] = blocks("python")
    names: dict[str, Any] = {}
    exec(python, names)  # what the page says is what is tested
    old = new_secret(b"o" * 32)
    headers = signed([old, SECRET], "evt_1_ab", int(time.time()), body)
    assert names["is_ours"](SECRET, headers, body) and names["is_ours"](old, headers, body)
    assert not names["is_ours"](SECRET, headers, body + b" ") and not names["is_ours"](
        new_secret(b"x" * 32), headers, body
    )
    assert not names["is_ours"](SECRET, signed([SECRET], "evt_1_ab", int(time.time()) - 400, body), body)
    (tmp_path / "body").write_bytes(body)
    given = {"ID": headers["webhook-id"], "AT": headers["webhook-timestamp"], "GIVEN": headers["webhook-signature"]}
    for secret, said in ((SECRET, "good"), (old, "good"), (new_secret(b"x" * 32), "forged")):
        done = subprocess.run(
            ["/bin/sh", "-c", shell("echo forged")], env={**os.environ, **given, "SECRET": secret}, cwd=tmp_path,
            capture_output=True, text=True, check=True, timeout=20,
        )  # fmt: skip
        assert done.stdout.strip() == said


def rules(having: str) -> Any:
    [found] = [one for one in blocks("toml") if having in one]
    return load_rules(found)


def test_the_rules_of_all_three_systems_mean_what_is_said() -> None:
    pbx, hr, crm = rules("phone.provisioned"), rules("EMPLOYEE_TERMINATED"), rules("shipment.item")
    asked = pbx.understand(
        {"event": "phone.provisioned", "event_id": 7, "at": 1795330800, "device": {"mac": "0004f2aabbcc"},
         "extension": {"number": "1001"}}
    )  # fmt: skip
    assert (asked.action, asked.ident, asked.at) == (Action.ASSIGN, "7", 1795330800.0)
    assert dict(asked.fields) == {"mac": "0004f2aabbcc", "line": "1", "extension": "1001", "replace": "yes"}
    assert pbx.understand({"event": "call.ended"}).action is Action.IGNORE
    emails = [{"use": "home", "address": "a@home.example"}, {"use": "work", "address": "ada@example.com"}]
    left = hr.understand({"type": "LEAVE_STARTED", "worker": {"contact": {"emails": emails}}})
    assert (left.action, dict(left.fields)) == (Action.LEFT, {"user": "ada@example.com"})
    assert hr.understand({"type": "PAY_CHANGED"}).action is Action.IGNORE
    item = {"serials": [{"kind": "mac", "value": "0004F2AABBCC"}], "sku": "2200-48820-025"}
    shipped = crm.understand({"meta": {"topic": "shipment.item"}, "item": item, "ship_to": {"branch": "HH"}})
    assert dict(shipped.fields) == {"mac": "0004F2AABBCC", "model": "VVX 411", "site": "Hamburg"}


class Taking(BaseHTTPRequestHandler):
    """Takes everything, checks it as the page says, and remembers."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        names: dict[str, Any] = {}
        exec(blocks("python")[0], names)  # what the page says is what is tested
        headers = {name.lower(): value for name, value in self.headers.items()}
        server: Any = self.server
        server.got.append((json.loads(body), any(names["is_ours"](one, headers, body) for one in server.secrets)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody listens."""


@pytest.fixture
def pbx() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    server.got, server.secrets = [], []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow  # a whole server, its sender and a PBX: both ways, end to end
def test_a_pbx_assigns_by_one_post_and_hears_of_it(tmp_path: Path, pbx: Any) -> None:
    house = House.build(tmp_path, webhook_allow="127.0.0.0/8", webhook_retry_first="0.2")
    asyncio.run(house.add(VVX, "poly", "VVX 411"))
    environment = {**os.environ, **house.environment}

    def run(*words: str) -> Any:
        line = [sys.executable, "-m", "provisioner", "--data", str(house.data), *words, "--json"]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    run("user", "add", "Ada", "--account", "Acme")
    run("extension", "add", "1001", "--account", "Acme", "--user", "Ada")
    url = f"http://127.0.0.1:{pbx.server_address[1]}/in"
    pbx.secrets.append(run("hook", "add", url, "--account", "Acme", "--event", "binding.*")["secret"])
    assert run("hook", "test", url)["outcome"] == "delivered"
    (tmp_path / "pbx.toml").write_text(next(one for one in blocks("toml") if "phone.provisioned" in one))
    secret = run("hook", "source", "add", "our-pbx", "--account", "Acme", "--rules", str(tmp_path / "pbx.toml"))[
        "secret"
    ]
    document = {"event": "phone.provisioned", "event_id": 1, "device": {"mac": VVX}, "extension": {"number": "1001"}}
    (tmp_path / "body").write_text(json.dumps(document))
    house.start()
    try:
        base = f"http://127.0.0.1:{house.ports['admin']}"
        post = ["/bin/sh", "-c", shell("hooks/in/our-pbx", "curl")]
        given = {**os.environ, "SECRET": secret, "URL": base, "no_proxy": "*"}
        done = subprocess.run(post, env=given, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30)
        answer = json.loads(done.stdout)
        assert (answer["state"], answer["why"]) == ("applied", f"extension 1001 is on line 1 of {Mac(VVX).colons}")
        assert soon(lambda: len(pbx.got) == 2, 20), house.log()
        assert [(one["type"], good) for one, good in pbx.got] == [("ping", True), ("binding.created", True)]
        assert pbx.got[1][0]["actor"] == "hook/our-pbx" and pbx.got[1][0]["data"]["number"] == "1001"
        request = urllib.request.Request(f"{base}/hooks/in/our-pbx", b"{}", method="POST")
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10)
        refused.value.close()
        [log] = [one for one in run("hook", "deliveries", url) if one["message"]]
        assert (log["status"], log["outcome"]) == (204, "delivered")
        assert secret not in house.log() and pbx.secrets[0] not in house.log()
        metrics = house.get("/metrics", None, kind="admin")[2].decode()
        assert 'provisioner_outbox_total{kind="hook",outcome="send"}' in metrics
    finally:
        house.stop()
