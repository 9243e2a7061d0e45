"""Strangers by the thousand and requests of any bytes: a status or a close, the same worker, the same memory."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from effort import examples
from house import House
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from stage import add, boots_once, certificate, no_canary, no_traceback, phone, resident, secret_of, soon, url, workers

from provisioner.simulator import Outcome

VVX, T46S = "0004f2ad0001", "001565ad0002"
MIB = 1024
"""KiB."""
CONNECTIONS = 3000
WAVE = 500


@pytest.fixture(scope="module")
def house(blank: House, room: Path) -> Iterator[House]:
    limits = {"tls_hello_timeout": 1, "tls_handshake_timeout": 1.5, "http_head_timeout": 1, "http_idle_timeout": 2}
    built = blank.copy(room, store_flush=0.2, legacy_port=0, legacy_models="T46S", **limits)
    add(built, (VVX, "poly", "VVX 411", "21001"), (T46S, "yealink", "T46S", "21002"))
    built.start()
    yield built
    built.stop()
    no_traceback(built)
    no_canary(built)


@pytest.fixture(scope="module")
def worker(house: House) -> Iterator[int]:
    """The one worker, which is the same one in the end."""
    (pid,) = workers(house)
    yield pid
    assert workers(house) == [pid]


# --- strangers --------------------------------------------------------------------------------------


def hello() -> bytes:
    """A ClientHello as a phone sends it."""
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = ssl._create_unverified_context().wrap_bio(inward, outward, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        caller.do_handshake()
    return outward.read()


HELLO = hello()
DICE = random.Random(7)
STRANGERS: dict[str, Callable[[], bytes]] = {
    "silent": lambda: b"",
    "garbage": lambda: DICE.randbytes(DICE.randint(1, 3000)),
    "half a hello": lambda: HELLO[: DICE.randint(1, len(HELLO) - 1)],
    "a hello and no more": lambda: HELLO,
    "a hello and garbage": lambda: HELLO + DICE.randbytes(500),
    "a huge record": lambda: b"\x16\x03\x01\xff\xff" + DICE.randbytes(2000),
    "plain http": lambda: b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * DICE.randint(0, 50),
}


def wave(house: House, kind: str, patience: float = 0.3) -> None:
    """So many at once, each of some sort; some stay until they are thrown out, some break off."""
    callers = []
    try:
        for _ in range(WAVE):
            caller = socket.create_connection(("127.0.0.1", house.ports[kind]), timeout=10)
            callers.append(caller)
            with contextlib.suppress(OSError):
                caller.sendall(STRANGERS[DICE.choice(list(STRANGERS))]())
        for caller in DICE.sample(callers, WAVE // 3):
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not a goodbye
            caller.close()
        time.sleep(patience)
    finally:
        for caller in callers:
            caller.close()


def slow_ones(house: House, owner: tuple[Path, Path]) -> None:
    """Good phones whose requests never end."""
    context = house.context(owner)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", house.ports["device"]), timeout=10))
            wrapped = stack.enter_context(context.wrap_socket(raw, server_hostname="localhost"))
            wrapped.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\nA: " + b"x" * DICE.randint(0, 7000))


def settled(pid: int) -> int:
    """KiB once the connections are gone."""
    soon(lambda: len(os.listdir(f"/proc/{pid}/fd")) < 60, 10)  # noqa: PTH208  # a count
    time.sleep(1.5)
    return resident(pid)


@pytest.mark.slow  # three thousand handshakes
def test_three_thousand_strangers_leave_no_memory_behind(house: House, worker: int) -> None:
    owner = certificate(house, "yealink", T46S)
    for kind in ("device", "legacy", "bootstrap"):
        wave(house, kind)  # what is built once is built now
    slow_ones(house, owner)
    before, files = settled(worker), len(os.listdir(f"/proc/{worker}/fd"))  # noqa: PTH208  # a count
    for turn in range(CONNECTIONS // WAVE):
        wave(house, ("device", "legacy", "device", "bootstrap")[turn % 4], patience=turn * 0.5)
        slow_ones(house, owner)
        report = boots_once(phone(house, "T46S", "yealink", T46S), url(house))
        assert report.outcome is Outcome.REGISTERED, "a phone comes up in the midst of it"
    after = settled(worker)
    assert after - before < 10 * MIB, (before, after)
    assert len(os.listdir(f"/proc/{worker}/fd")) <= files + 5  # noqa: PTH208  # a count
    metrics = house.get("/metrics", None, kind="admin")[2].decode()
    for reason in ("hello_timeout", "plain_http", "not_tls"):
        assert f'reason="{reason}"' in metrics, reason


# --- any bytes --------------------------------------------------------------------------------------

PIECES = [
    b"GET ", b"PUT ", b"HEAD ", b"\r\n", b" HTTP/1.1\r\n", b"Host: x\r\n", b"Content-Length: 5\r\n", b"\0", b"/",
    f"/{VVX}-user.cfg".encode(), f"/{VVX}-phone.cfg".encode(), b"Transfer-Encoding: chunked\r\n", b"..", b"%00",
    b"Expect: 100-continue\r\n", b"Range: bytes=0-\r\n", b"Authorization: Digest x\r\n", b"If-None-Match: *\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"User-Agent: \xff\xfe\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"t/",
    b"http://x/",
    b"\xf0\x9f\x98\x80", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]  # fmt: skip
WORDS = st.sampled_from(PIECES)
REQUESTS = st.one_of(
    st.binary(max_size=600),
    st.lists(st.one_of(WORDS, st.binary(max_size=20)), max_size=25).map(b"".join),
    st.tuples(
        st.sampled_from([b"GET", b"PUT", b"HEAD", b"POST", b"OPTIONS"]),
        st.one_of(st.binary(min_size=1, max_size=60), st.text(max_size=40).map(str.encode)),
        st.lists(st.one_of(WORDS, st.binary(max_size=30)), max_size=6).map(b"".join),
    ).map(lambda parts: parts[0] + b" /" + parts[1] + b" HTTP/1.1\r\nHost: x\r\n" + parts[2] + b"\r\n\r\n"),
)


def all_of(caller: socket.socket, sent: bytes, context: ssl.SSLContext | None) -> bytes:
    """What comes back until the server closes; we say that we are done, and it may not keep us waiting."""
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = None
    if context is not None:
        tls = context.wrap_bio(inward, outward, server_hostname="localhost")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                caller.sendall(outward.read())
                inward.write(caller.recv(65536))
        if sent:
            tls.write(sent)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()  # our close_notify; what it still says can be read
        sent = outward.read()
    answer = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        caller.sendall(sent)
        caller.shutdown(socket.SHUT_WR)
        while data := caller.recv(65536):
            answer += data
    if tls is None:
        return answer
    inward.write(answer)
    answer = b""
    with contextlib.suppress(ssl.SSLError):
        while data := tls.read(65536):
            answer += data
    return answer


@pytest.mark.parametrize("kind", ["device", "bootstrap"])
def test_any_bytes_get_a_status_or_a_close(house: House, worker: int, kind: str) -> None:
    context = house.context(certificate(house, "poly", VVX))
    foreign = secret_of(T46S, "21002").encode()

    @settings(max_examples=examples(150), deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(sent=REQUESTS)
    @example(sent=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 40)
    @example(
        sent=b"PUT /" + VVX.encode() + b"-phone.cfg HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n"
    )
    @example(sent=b"GET /\xe2\x80\xae HTTP/1.1\r\nHost: x\r\nUser-Agent: \xed\xa0\x80\r\n\r\n")
    @example(sent=b"GET /%F0%9F%98%80%ED%A0%80.cfg HTTP/1.1\r\nHost: x\r\n\r\n")
    def ask(sent: bytes) -> None:
        with socket.create_connection(("127.0.0.1", house.ports[kind]), timeout=8) as caller:
            answer = all_of(caller, sent, context if kind == "device" else None)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")), answer[:60]
        assert foreign not in answer
        assert b"Traceback" not in answer

    ask()
    assert workers(house) == [worker]
    no_traceback(house)
    assert house.get(f"/{VVX}-user.cfg", certificate(house, "poly", VVX))[0] == 200


def test_the_way_the_bytes_go_does_bring_answers(house: House) -> None:
    """The counter-proof: a good request among them is answered whole, half-closed as they are."""
    context = house.context(certificate(house, "poly", VVX))
    with socket.create_connection(("127.0.0.1", house.ports["device"]), timeout=8) as caller:
        answer = all_of(caller, f"GET /{VVX}-user.cfg HTTP/1.1\r\nHost: x\r\n\r\n".encode(), context)
    assert answer.startswith(b"HTTP/1.1 200")
    assert secret_of(VVX, "21001").encode() in answer
