"""New certificates while phones are connected, and two workers that share their tickets and what was revoked."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House, ask
from stage import add, administer, certificate, children, no_canary, no_traceback, secret_of, soon, workers

from provisioner import pki
from provisioner.model import Mac

T46S, VVX, FALLEN = "001565aa0001", "0004f2aa0002", "001565aa0003"
ROM = "T46S-66.86.0.88.rom"
SIZE = 20 * 1024 * 1024


@pytest.fixture(scope="module")
def house(blank: House, room: Path) -> Iterator[House]:
    # A stopped worker is not to be replaced here: that is how the tests choose who answers.
    built = blank.copy(room, server_workers=2, server_stall=60, store_flush=0.2)
    add(
        built,
        (T46S, "yealink", "T46S", "31001"),
        (VVX, "poly", "VVX 411", "31002"),
        (FALLEN, "yealink", "T46S", "31003"),
    )
    (built.data / "firmware" / "yealink" / ROM).write_bytes(os.urandom(1024) * (SIZE // 1024))
    built.start()
    assert soon(lambda: len(workers(built)) == 2, 20)
    yield built
    built.stop()
    no_traceback(built)
    no_canary(built)


@contextlib.contextmanager
def connected(house: House, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", house.ports["device"]), timeout=30) as raw,
        context.wrap_socket(raw, server_hostname="localhost", session=session) as wrapped,
    ):
        yield wrapped


def fetch(wrapped: ssl.SSLSocket, mac: str) -> int:
    wrapped.sendall(f"GET /{mac}.cfg HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return int(wrapped.recv(65536).split()[1])


def shown(house: House) -> bytes:
    """The certificate that a new caller sees."""
    with connected(house, ssl._create_unverified_context()) as wrapped:
        return wrapped.getpeercert(binary_form=True) or b""


# --- renewal --------------------------------------------------------------------------------------


def test_a_new_certificate_drops_nobody(house: House) -> None:
    before, first = workers(house), shown(house)
    context = house.context(certificate(house, "yealink", T46S))
    image = (house.data / "firmware" / "yealink" / ROM).read_bytes()
    with connected(house, context) as slow, house.connection(certificate(house, "poly", VVX)) as idle:
        assert ask(idle, f"/{VVX}-user.cfg")[0] == 200
        slow.sendall(f"GET /{ROM} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = bytearray(slow.recv(10_000))
        pki.make_server(house.data / "tls", "localhost")
        assert house.process is not None
        house.process.send_signal(signal.SIGHUP)
        assert soon(lambda: (now := workers(house)) and not set(now) & set(before), 20)
        assert shown(house) != first
        assert soon(lambda: {shown(house) for _ in range(6)}.isdisjoint({first}))
        assert ask(idle, f"/{VVX}-user.cfg")[0] == 200
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        assert f"Content-Length: {SIZE}".encode() in head
        digest, got = hashlib.sha256(body), len(body)
        while got < SIZE:
            data = slow.recv(1024 * 1024)
            assert data, f"dropped after {got} bytes"
            digest.update(data)
            got += len(data)
        assert digest.digest() == hashlib.sha256(image).digest()
        assert fetch(slow, T46S) == 200, "and the connection goes on"
    assert soon(lambda: not set(children(house.process.pid)) & set(before), 10), "then the old workers leave"
    with connected(house, house.context(certificate(house, "yealink", T46S))) as fresh:
        assert fetch(fresh, T46S) == 200


# --- two workers ----------------------------------------------------------------------------------


@contextlib.contextmanager
def only(house: House, number: int) -> Iterator[None]:
    """One of the two workers answers; the other one stands still."""
    other = workers(house)[1 - number]
    os.kill(other, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(other, signal.SIGCONT)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ticket_of_one_worker_is_good_at_the_other(house: House, version: ssl.TLSVersion) -> None:
    for number in (0, 1):
        mac = f"001565ab{version - 768:02x}{number:02x}"  # a leaf that no worker has seen
        add(house, (mac, "yealink", "T46S", f"32{version % 256:03d}{number}"))
        context = house.context(certificate(house, "yealink", mac))
        context.minimum_version = context.maximum_version = version
        with only(house, number), connected(house, context) as wrapped:
            assert fetch(wrapped, mac) == 200
            session = wrapped.session
        for answers in (1 - number, number, 1 - number):
            with only(house, answers):
                for _ in range(3):
                    with connected(house, context, session) as again:
                        assert again.session_reused
                        assert fetch(again, mac) == 200
                        session = again.session or session


def test_many_resumptions_wherever_they_land(house: House) -> None:
    context = house.context(certificate(house, "yealink", T46S))
    session, resumed = None, 0
    for _ in range(40):
        with connected(house, context, session) as wrapped:
            assert fetch(wrapped, T46S) == 200
            resumed += bool(wrapped.session_reused)
            session = wrapped.session
    assert resumed == 39


def test_a_revocation_reaches_both_workers_and_their_resumed_sessions(house: House) -> None:
    context = house.context(certificate(house, "yealink", FALLEN))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connected(house, context) as wrapped:
        assert fetch(wrapped, FALLEN) == 200
        session = wrapped.session

    def answer(number: int) -> int:
        with only(house, number), connected(house, context, session) as again:
            assert again.session_reused
            return fetch(again, FALLEN)

    assert (answer(0), answer(1)) == (200, 200)
    administer(house, lambda fleet: fleet.revoke_device(Mac(FALLEN)))
    began = time.monotonic()
    assert soon(lambda: (answer(0), answer(1)) == (404, 404), 5)
    assert time.monotonic() - began < 5
    administer(house, lambda fleet: fleet.restore_device(Mac(FALLEN)))
    assert soon(lambda: (answer(0), answer(1)) == (200, 200), 5)


@pytest.mark.slow
def test_what_was_fetched_just_before_a_hand_over_is_told_all_the_same(blank: House, tmp_path: Path) -> None:
    """The worker that leaves writes what it knows, whatever it was doing when it was told to go."""
    house = blank.copy(tmp_path, store_flush=0.05, log_level="warning")
    add(house, (T46S, "yealink", "T46S", "33001"))
    owner = certificate(house, "yealink", T46S)
    house.start()

    def newest() -> float:
        return max((one.at for one in administer(house, lambda fleet: fleet.fetches(Mac(T46S)))), default=0.0)

    try:
        for _ in range(12):
            before = workers(house)
            assert house.process is not None
            house.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 10
            while True:
                asked = time.time()
                assert house.get(f"/{T46S}.cfg", owner)[0] == 200
                if workers(house) != before or time.monotonic() > deadline:
                    break
            assert soon(lambda since=asked: newest() >= since, 5), "the last fetch before it is not recorded"
    finally:
        house.stop()


def test_phones_boot_while_certificates_change_again_and_again(house: House) -> None:
    """A caller in the very moment of a hand-over is served by the one or the other."""
    owner = certificate(house, "yealink", T46S)
    context = house.context(owner)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    wrong: list[str] = []
    served = 0
    end = threading.Event()

    def call() -> None:
        nonlocal served
        while not end.is_set():
            try:
                with connected(house, context) as wrapped:
                    if (status := fetch(wrapped, T46S)) != 200:
                        wrong.append(str(status))
            except OSError as error:
                wrong.append(repr(error))
            served += 1

    caller = threading.Thread(target=call)
    caller.start()
    try:
        for _ in range(3):
            first = shown(house)
            pki.make_server(house.data / "tls", "localhost")
            assert house.process is not None
            house.process.send_signal(signal.SIGHUP)
            assert soon(lambda first=first: shown(house) != first, 20)
    finally:
        end.set()
        caller.join()
    assert served > 30
    assert not wrong
    assert secret_of(T46S, "31001") not in house.log()
