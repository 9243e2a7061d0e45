"""The API as it is served: by `provisioner serve`, over HTTPS, with keys that the command line makes."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography import x509
from house import House, soon

from provisioner.admin_address import is_here
from provisioner.admin_app import base_urls, tls_files
from provisioner.cli.main import cli
from provisioner.model import ListenerKind
from provisioner.settings import Settings

VVX = "0004f2000001"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House.build(tmp_path_factory.mktemp("served"), admin_tls="on")
    house.start()
    try:
        yield house
    finally:
        house.stop()


def key(house: House, *scopes: str) -> str:
    words = ["--data", str(house.data), "apikey", "create", "script", "--json"]
    words += [word for scope in scopes for word in ("--scope", scope)]
    return json.loads(CliRunner().invoke(cli, words).stdout)["key"]


def ask(house: House, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, bytes]:
    context = ssl.create_default_context(cafile=str(house.ca))
    connection = http.client.HTTPSConnection("localhost", house.ports["admin"], timeout=20, context=context)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        sent["Content-Type"] = "application/json"
    connection.request(method, path, None if body is None else json.dumps(body), sent)
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


def test_a_script_binds_a_phone_over_https_with_a_key(served: House) -> None:
    scopes = ("account.write", "people.write", "device.write", "device.read", "device.bind", "layer.read")
    held = {"Authorization": f"Bearer {key(served, *scopes)}"}
    assert ask(served, "POST", "/api/v1/accounts", {"name": "Acme"}, **held)[0] == 201
    assert ask(served, "POST", "/api/v1/users", {"name": "Ada", "account": "Acme"}, **held)[0] == 201
    number = {"number": "1001", "account": "Acme", "user": "Ada"}
    assert ask(served, "POST", "/api/v1/extensions", number, **held)[0] == 201
    phone = {"mac": VVX, "vendor": "poly", "model": "VVX 411", "account": "Acme"}
    assert ask(served, "POST", "/api/v1/devices", phone, **held)[0] == 201
    status, _, body = ask(served, "PUT", f"/api/v1/devices/{VVX}/lines/1", {"user": "Ada"}, **held)
    assert (status, json.loads(body)["line"]["number"]) == (200, "1001")
    files = json.loads(ask(served, "GET", f"/api/v1/devices/{VVX}/files", **held)[2])["items"]
    certificate = served.certificate("poly", VVX)

    def lines_are_there() -> bool:
        return any(b"1001" in served.get(f"/{one['name']}", certificate)[2] for one in files)

    assert soon(lines_are_there)
    assert ask(served, "GET", "/api/v1/audit/verify", **held)[0] == 403


def test_a_job_goes_on_by_itself(served: House) -> None:
    held = {"Authorization": f"Bearer {key(served, 'account.write', 'device.write', 'job.write', 'job.read')}"}
    assert ask(served, "POST", "/api/v1/accounts", {"name": "Bulk"}, **held)[0] == 201
    rows = [{"mac": f"0004f25{one:05x}", "vendor": "poly", "model": "VVX 411", "account": "Bulk"} for one in range(50)]
    status, headers, _ = ask(served, "POST", "/api/v1/bulk/devices", {"rows": rows}, **held)
    assert status == 202

    def done() -> bool:
        return json.loads(ask(served, "GET", headers["Location"], **held)[2])["state"] == "done"

    assert soon(done, 20)


def test_without_a_key_there_are_only_health_and_words(served: House) -> None:
    assert ask(served, "GET", "/api/v1/devices")[0] == 401
    assert ask(served, "GET", "/api/v1/devices", Authorization="Bearer prov_nonsense")[0] == 401
    assert ask(served, "GET", "/api/v1/devices", Authorization="Basic eDp5")[0] == 401
    assert ask(served, "GET", "/api/v1/docs")[0] == 200
    assert ask(served, "GET", "/api/v1/openapi.json")[0] == 200
    status, headers, _ = ask(served, "GET", "/health")
    assert status == 200
    assert "Server" not in headers
    assert ask(served, "POST", "/health", {})[0] == 405


def test_a_renewed_certificate_is_used_without_a_restart(served: House) -> None:
    def serial() -> int:
        context = ssl.create_default_context(cafile=str(served.ca))
        with (
            socket.create_connection(("localhost", served.ports["admin"]), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as made,
        ):
            return x509.load_der_x509_certificate(made.getpeercert(binary_form=True) or b"").serial_number

    before = serial()
    words = ["--data", str(served.data), "certs", "renew-server"]
    assert CliRunner().invoke(cli, words).exit_code == 0
    assert soon(lambda: serial() != before, 15)


def test_https_unless_nobody_else_can_listen_in(tmp_path: Path) -> None:
    assert [is_here(one) for one in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "192.0.2.1", "prov.example.net")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    assert tls_files(Settings(data=tmp_path)) == ()
    assert len(tls_files(Settings(data=tmp_path, admin_host="0.0.0.0"))) == 2
    assert tls_files(Settings(data=tmp_path, admin_host="0.0.0.0", admin_tls="off")) == ()
    assert len(tls_files(Settings(data=tmp_path, admin_tls="on"))) == 2


def test_phones_are_told_the_name_and_the_ports_that_are_bound(served: House) -> None:
    urls = base_urls(Settings(data=served.data, server_name="::1", legacy_port=8444))
    assert urls[ListenerKind.DEVICE] == f"https://[::1]:{served.ports['device']}/"
    assert urls[ListenerKind.LEGACY] == "https://[::1]:8444/"
