"""A whole server with a profile listener: shut until it is opened, gone after its time; and fetch-as against it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chain_maker import certificate
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding
from house import OTHER_VVX, VVX, House
from spare_port import spare_port

from provisioner.cli.main import cli

PORT = spare_port()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House.build(tmp_path_factory.mktemp("profile"), profile_port=PORT)
    made.start()
    asyncio.run(made.add(VVX, "poly", "VVX 411", "1001"))
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def order(house: House, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PROVISIONER_PROFILE_PORT", str(PORT))

    def call(*words: str, code: int = 0) -> Any:
        done = CliRunner().invoke(cli, ["--data", str(house.data), *words, "--json"])
        assert done.exit_code == code, (words, done.output, done.exception)
        return json.loads(done.stdout) if done.stdout else None

    return call


def reached() -> bool:
    try:
        socket.create_connection(("127.0.0.1", PORT), timeout=2).close()
    except ConnectionRefusedError:
        return False
    return True


def until(happened: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_it_is_shut_until_it_is_opened_and_after_its_time(house: House, order: Any) -> None:
    assert not reached()
    assert order("profile", "show")["open"] is False
    told = order("profile", "open", "--minutes", "1")
    assert (told["open"], told["listening"]) == (True, f"127.0.0.1:{PORT}")
    phone = house.context(house.certificate("poly", VVX))
    with (
        socket.create_connection(("127.0.0.1", PORT), 5) as raw,
        phone.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        tls.sendall(f"GET /{VVX}.cfg HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = tls.recv(4096)
    assert answer.startswith(b"HTTP/1.1 404 "), "not even to the device itself"
    until(lambda: order("profile", "cards", VVX))
    [card] = order("profile", "cards", VVX)
    assert (card["proven"], card["abilities"]["worth here"]) == (True, "unique")
    assert card["abilities"]["asked for"] == f"/{VVX}.cfg"
    assert order("profile", "cards", OTHER_VVX) == []
    order("profile", "open", "--minutes", "0.04")  # 2.4 s from now, in place of the minute
    until(lambda: not reached())
    assert order("profile", "show") == {
        "open": False, "until": pytest.approx(time.time(), abs=15), "actor": told["actor"], "ask": "", "listening": "",
        "trouble": "",
    }  # fmt: skip
    order("profile", "open")
    assert order("profile", "close") == {"closed": True}
    until(lambda: not reached())
    assert "the profile listener is open" in house.log()


def test_a_port_that_is_taken_is_said(house: House, order: Any) -> None:
    with socket.create_server(("127.0.0.1", PORT)):
        told = order("profile", "open", "--minutes", "1")
    assert (told["open"], told["listening"]) == (True, "")
    assert "is taken by another program" in told["trouble"]
    assert "profile.port" in told["trouble"]
    order("profile", "close")


def test_fetch_as_a_device_at_its_own_server(house: House, order: Any, tmp_path: Path) -> None:
    chain, key = map(str, house.certificate("poly", VVX))
    own = ["--cert", chain, "--key", key]
    found = order("fetch-as", VVX, *own, code=1)
    [fault] = found["verdict"]["findings"]
    assert (fault["fault"], "no maker puts into a phone" in fault["why"]) == ("unknown_root", True)
    found = order("fetch-as", VVX, "--trust-our-ca", "--check-name", *own)
    assert (found["verdict"]["outcome"], found["served"]) == ("accepts", True)
    assert found["notes"] == ["reg.1 is not registered: it has no server"], "as it is: nobody has said which PBX"
    got = [one for one in found["asked"] if one["status"] == 200]
    assert len(got) >= 2
    for one in got:
        _, headers, body = house.get(f"/{one['path']}", house.certificate("poly", VVX))
        assert (one["etag"], one["bytes"]) == (headers["etag"], len(body))
        assert one["md5"] == hashlib.md5(body, usedforsecurity=False).hexdigest()
    assert {one["method"] for one in found["asked"]} == {"GET"}, "nothing is uploaded"
    assert "Zq7" not in json.dumps(found), "no secret of its files is told"
    found = order("fetch-as", VVX, "--trust-our-ca", code=6)
    assert (found["certificate"], found["served"], found["asked"][0]["status"]) == ("", False, 404)
    wrong = tmp_path / "wrong.pem"
    wrong.write_bytes(certificate("Wrong", ca=True).cert.public_bytes(Encoding.PEM))
    found = order("fetch-as", VVX, "--roots", str(wrong), *own, code=1)
    assert found["asked"] == []
    found = order("fetch-as", VVX, "--trust-our-ca", "--clock", "1970-01-01", *own, code=1)
    assert {one["fault"] for one in found["verdict"]["findings"]} == {"not_yet_valid"}


def test_the_context_of_the_device_listener_is_none_the_weaker(house: House) -> None:
    """Old TLS is for the profile listener alone."""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1
    with socket.create_connection(("127.0.0.1", house.ports["device"]), 5) as raw, pytest.raises(OSError):
        old.wrap_socket(raw)
