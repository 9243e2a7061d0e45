"""Links into the console have the scheme that the console speaks, and an address that can be opened."""

from __future__ import annotations

import dataclasses
import re
import socket
from pathlib import Path

import pytest

from provisioner.admin_address import admin_url, is_here, speaks_tls
from provisioner.demo import demo, table
from provisioner.mail.reset import console_url, link_url
from provisioner.model import ListenerKind
from provisioner.run_directory import RunDirectory
from provisioner.settings import Settings, load


def settings(tmp_path: Path, **chosen: object) -> Settings:
    return dataclasses.replace(Settings(data=tmp_path, server_name="prov.example.net"), **chosen)  # type: ignore[arg-type]  # names of settings


@pytest.mark.parametrize(
    ("host", "tls", "url"),
    [
        ("127.0.0.1", "auto", "http://127.0.0.1:8081/"),
        ("localhost", "auto", "http://localhost:8081/"),
        ("::1", "auto", "http://[::1]:8081/"),
        ("127.0.0.1", "on", "https://127.0.0.1:8081/"),
        ("192.0.2.7", "auto", "https://192.0.2.7:8081/"),
        ("2001:db8::7", "auto", "https://[2001:db8::7]:8081/"),
        ("192.0.2.7", "off", "http://192.0.2.7:8081/"),
        ("0.0.0.0", "auto", "https://prov.example.net:8081/"),
        ("::", "off", "http://prov.example.net:8081/"),
        ("console.example.net", "auto", "https://console.example.net:8081/"),
    ],
)
def test_the_scheme_is_the_one_that_is_spoken(tmp_path: Path, host: str, tls: str, url: str) -> None:
    configured = settings(tmp_path, admin_host=host, admin_port=8081, admin_tls=tls)
    assert admin_url(configured) == url
    assert speaks_tls(configured) is url.startswith("https")
    assert link_url(configured, "T") == f"{url}login/link?token=T"


def test_where_the_console_is_reached_otherwise_links_lead_there(tmp_path: Path) -> None:
    configured = settings(tmp_path, login_url="https://phones.example.net/admin/")
    assert link_url(configured, "T") == "https://phones.example.net/admin/login/link?token=T"


@pytest.mark.parametrize(
    ("chosen", "bound", "url"),
    [
        ({}, "127.0.0.1", "http://127.0.0.1:PORT/"),
        ({"admin_host": "console.example.net"}, "127.0.0.1", "https://console.example.net:PORT/"),
        ({"admin_host": "127.0.0.1"}, "0.0.0.0", "https://prov.example.net:PORT/"),
        ({"login_url": "https://phones.example.net"}, "127.0.0.1", "https://phones.example.net/"),
    ],
)
def test_a_link_names_what_the_running_server_has_bound(
    tmp_path: Path, chosen: dict[str, object], bound: str, url: str
) -> None:
    configured = settings(tmp_path, **chosen)
    running = RunDirectory(tmp_path)
    running.claim()
    with socket.create_server((bound, 0)) as sock:
        running.write_addresses({ListenerKind.ADMIN: sock})
        there = url.replace("PORT", str(sock.getsockname()[1]))
        assert (console_url(configured), link_url(configured, "T")) == (there, f"{there}login/link?token=T")
    running.release()
    assert ":8081/" in console_url(configured) or configured.login_url, "while none runs, as it is set"


def test_a_new_demonstration_keeps_its_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "vendors", lambda: ())
    demo.prepare(tmp_path / "data", 9000)
    found = load(tmp_path / "data", {})
    assert (found.device_port, found.bootstrap_port, found.admin_port) == (9000, 9001, 9002)
    demo.prepare(tmp_path / "data", 9500)
    assert load(tmp_path / "data", {}).admin_port == 9002, "what is there stays"


def test_where_serve_is_reached_otherwise_the_demonstration_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    addresses = {ListenerKind.DEVICE: ("127.0.0.1", 8443), ListenerKind.ADMIN: ("127.0.0.1", 4711)}
    table.farewell(settings(tmp_path), addresses, "LINK")
    assert "`provisioner serve` is reached at http://127.0.0.1:8081/" in capsys.readouterr().err
    table.farewell(settings(tmp_path, admin_port=4711), addresses, "LINK")
    assert "`provisioner serve`" not in capsys.readouterr().err


def test_only_this_machine_is_here() -> None:
    assert is_here("127.9.9.9") and is_here("localhost") and is_here("::1")
    assert not is_here("192.0.2.1") and not is_here("0.0.0.0") and not is_here("localhost.example.net")  # compared


@pytest.mark.parametrize(("tls", "scheme"), [("on", "https"), ("off", "http")])
def test_the_demonstration_tells_the_same(
    tmp_path: Path, tls: str, scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configured = settings(tmp_path, admin_tls=tls)
    addresses = {ListenerKind.DEVICE: ("127.0.0.1", 8443), ListenerKind.ADMIN: ("127.0.0.1", 4711)}
    table.farewell(configured, addresses, "LINK")
    told = capsys.readouterr().err
    found = re.findall(r"(https?)://127\.0\.0\.1:4711/(health|storm)", told)
    assert found == [(scheme, "health"), (scheme, "storm")]
    assert "https://prov.example.net:8443/" in told
