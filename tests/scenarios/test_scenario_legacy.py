"""The listener for phones that know TLS 1.0 only: its own list, its own tickets, its own weaknesses and no others."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House
from stage import (
    add,
    administer,
    boots_once,
    certificate,
    no_canary,
    no_traceback,
    old_tls,
    phone,
    secret_of,
    soon,
    url,
)

from provisioner.simulator import Outcome

T28, T22, UNLISTED, WEAK, UPGRADED = "001565e00001", "001565e00002", "001565e00003", "001565e00004", "001565e00005"
IP330, TINY = "0004f2e00006", "0004f2e00007"
MODELS = {T28: "T28P", T22: "T22P", UNLISTED: "T46S", WEAK: "T28P", UPGRADED: "T28P"}
WEAK_LEAF = {"bits": 1024, "algorithm": "sha1"}


@pytest.fixture(scope="module")
def house(blank: House, room: Path) -> Iterator[House]:
    built = blank.copy(room, legacy_port=0, legacy_models="T28P,T22P,SoundPoint IP 330", store_flush=0.2)
    add(built, *((mac, "yealink", model, f"5{mac[-4:]}") for mac, model in MODELS.items()))
    add(built, *((mac, "poly", "SoundPoint IP 330", f"5{mac[-4:]}") for mac in (IP330, TINY)))
    built.start()
    yield built
    built.stop()
    no_traceback(built)
    no_canary(built)


@contextlib.contextmanager
def connected(house: House, kind: str, context: ssl.SSLContext, session: ssl.SSLSession | None = None):  # type: ignore[no-untyped-def]  # a socket
    with (
        socket.create_connection(("127.0.0.1", house.ports[kind]), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost", session=session) as wrapped,
    ):
        yield wrapped


def fetch(wrapped: ssl.SSLSocket, name: str) -> tuple[int, bytes]:
    wrapped.sendall(f"GET /{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = b""
    with contextlib.suppress(ssl.SSLEOFError):
        while data := wrapped.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def get(house: House, kind: str, mac: str, context: ssl.SSLContext) -> tuple[int, bytes]:
    with connected(house, kind, context) as wrapped:
        return fetch(wrapped, f"{mac}.cfg")


def of_1999(house: House, mac: str, vendor: str = "yealink", **leaf: object) -> ssl.SSLContext:
    return old_tls(house, certificate(house, vendor, mac, **(leaf or {"bits": 2048})), highest="TLSv1")


@pytest.mark.parametrize(("model", "vendor", "mac"), [("T28P", "yealink", T28), ("SoundPoint IP 330", "poly", IP330)])
def test_a_phone_on_the_list_comes_up_by_tls_1_0(house: House, model: str, vendor: str, mac: str) -> None:
    born = certificate(house, vendor, mac, bits=2048)
    report = boots_once(phone(house, model, vendor, mac, certificate=born[0], key=born[1]), url(house, "legacy"))
    assert (report.outcome, report.tls_version) == (Outcome.REGISTERED, "TLSv1")
    assert [one.secret for one in report.lines] == [secret_of(mac, f"5{mac[-4:]}")]
    assert house.ports["legacy"] != house.ports["device"]
    told = "\n".join(report.parameters.values())
    assert f"https://localhost:{house.ports['legacy']}" in told, "it is sent back to the listener it can speak to"
    assert f"https://localhost:{house.ports['device']}" not in told


def test_openssl_with_everything_that_is_old(house: House) -> None:
    chain, key = certificate(house, "yealink", T22, bits=2048)
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{house.ports['legacy']}", "-tls1",
         "-cipher", "ALL:@SECLEVEL=0", "-CAfile", house.ca, "-verify_return_error", "-cert", chain,
         "-cert_chain", chain, "-key", key, "-quiet", "-ign_eof"],
        input=f"GET /{T22}.cfg HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(),
        capture_output=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.stdout.startswith(b"HTTP/1.1 200"), done.stderr
    assert secret_of(T22, f"5{T22[-4:]}").encode() in done.stdout


def test_the_modern_listener_speaks_no_tls_1_0(house: House) -> None:
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        get(house, "device", T28, of_1999(house, T28))


def test_a_model_that_is_not_on_the_list_is_refused_there(house: House) -> None:
    assert get(house, "legacy", UNLISTED, of_1999(house, UNLISTED)) == (404, b"")
    assert soon(lambda: administer(house, lambda fleet: fleet.events(kind="wrong_listener", mac=UNLISTED)))
    (event, *_) = administer(house, lambda fleet: fleet.events(kind="wrong_listener", mac=UNLISTED))
    assert event.details["tls"] == "TLSv1"


def test_a_phone_that_has_learned_tls_1_2_does_not_go_back(house: House) -> None:
    born = certificate(house, "yealink", UPGRADED, bits=2048)
    assert get(house, "legacy", UPGRADED, of_1999(house, UPGRADED))[0] == 200
    assert get(house, "device", UPGRADED, house.context(born))[0] == 200
    assert soon(lambda: get(house, "legacy", UPGRADED, of_1999(house, UPGRADED)) == (404, b""), 5)
    assert get(house, "device", UPGRADED, house.context(born))[0] == 200


@pytest.mark.parametrize(("vendor", "mac", "name"), [("yealink", WEAK, ".cfg"), ("poly", TINY, "-user.cfg")])
def test_a_weak_certificate_is_good_enough_there_and_nowhere_else(
    house: House, vendor: str, mac: str, name: str
) -> None:
    def ask(kind: str, context: ssl.SSLContext) -> int:
        with connected(house, kind, context) as wrapped:
            return fetch(wrapped, f"{mac}{name}")[0]

    assert ask("device", old_tls(house, certificate(house, vendor, mac, **WEAK_LEAF), lowest="TLSv1_2")) == 404
    weak = lambda: [  # noqa: E731  # short
        one
        for one in administer(house, lambda fleet: fleet.events(kind="not_identified"))
        if one.details["verdict"] == "weak" and mac in one.details["subject"].lower()
    ]
    assert soon(weak)
    assert ask("legacy", of_1999(house, mac, vendor, **WEAK_LEAF)) == 200
    md5 = of_1999(house, mac, vendor, bits=1024, algorithm="md5")
    assert ask("legacy", md5) == 404, "MD5 has been forged: it is good for nothing"


@pytest.mark.parametrize(("here", "there"), [("device", "legacy"), ("legacy", "device")])
def test_a_ticket_of_one_listener_is_nothing_to_the_other(house: House, here: str, there: str) -> None:
    context = old_tls(house, certificate(house, "yealink", T28, bits=2048), lowest="TLSv1_2", highest="TLSv1_2")
    with connected(house, here, context) as wrapped:
        session = wrapped.session
    assert session.has_ticket
    with connected(house, here, context, session) as wrapped:
        assert wrapped.session_reused
    with connected(house, there, context, session) as wrapped:
        assert not wrapped.session_reused


@pytest.mark.parametrize("kind", ["device", "legacy"])
@pytest.mark.parametrize("ciphers", ["DHE", "kDHE", "aNULL", "eNULL", "PSK", "SRP", "RC4", "EXPORT"])
def test_no_cipher_that_costs_the_server_or_protects_nobody(house: House, kind: str, ciphers: str) -> None:
    versions = ["-tls1_2"] if kind == "device" else ["-tls1", "-tls1_1", "-tls1_2"]
    for version in versions:
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{house.ports[kind]}", version,
             "-cipher", f"{ciphers}:@SECLEVEL=0"],
            input=b"", capture_output=True, check=False, timeout=20,
        )  # fmt: skip
        assert b"Cipher is (NONE)" in done.stdout or b"no cipher match" in done.stderr, done.stdout[-800:]
