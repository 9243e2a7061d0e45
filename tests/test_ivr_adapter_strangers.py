"""Who may not speak to the adapters of a real server: without proof, from elsewhere, too much, too slow, too late."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from adapter_house import (
    KNOWN,
    REST,
    REST_TOKEN,
    Telnyx,
    adapted,
    asking,
    bound,
    build,
    one_phone,
    prompts,
    tried,
    twiml,
)
from house import House, soon

from tests.ivr.adapters.person import Person
from tests.ivr.adapters.web import SECRET
from tests.ivr.scenarios import SCENARIOS


@pytest.fixture(scope="module")
def unstarted(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Keys take their time."""
    return build(tmp_path_factory.mktemp("unstarted"))


@pytest.fixture(scope="module")
def house(unstarted: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """With little patience."""
    built = unstarted.copy(tmp_path_factory.mktemp("strangers"), **adapted(http_head_timeout=1, tls_hello_timeout=1))
    built.start()
    yield built
    built.stop()


def metrics(house: House) -> str:
    return house.get("/metrics", None, kind="admin")[2].decode()


def test_who_cannot_prove_itself_gets_403_and_nothing_else(house: House) -> None:
    mac, _, code = one_phone(house)

    async def life() -> None:
        async with asking(house) as web:
            twilio = twiml(web, Person(SCENARIOS[0]), "twilio", mac)
            form = {"CallSid": "CAstranger", "From": f"sip:{mac}@x", "Digits": code}
            good = twilio.proof("", form)
            for signature in ({}, {"X-Twilio-Signature": "x"}, {"X-Twilio-Signature": good["X-Twilio-Signature"][:-2]}):
                sent = {"Content-Type": "application/x-www-form-urlencoded", **signature}
                answer, body = await web.send("POST", "/activation/twilio", b"CallSid=CAstranger", sent)
                assert (answer.status, body) == (403, b"")
            late = twiml(web, Person(SCENARIOS[0]), "telnyx", mac)
            assert isinstance(late, Telnyx)
            late.late = 301
            assert await late.raw(form) == (403, b"")
            late.late = 0
            assert (await late.raw(form))[0] == 200
            for path in ("/activation/kazoo?CallSid=x", f"/activation/httapi/{SECRET[:-1]}?session_id=x"):
                answer, body = await web.send("GET", path)
                assert (answer.status, body) == (403, b"")
            body = json.dumps({"code": code, "device": {"mac": mac}}).encode()
            answer, _ = await web.send("POST", REST, body, {**KNOWN, "Authorization": "Bearer guessed-guessed-guessed"})
            assert answer.status == 401
            assert (await web.send("GET", "/"))[0].status == 404

    asyncio.run(life())
    assert bound(house, [mac]) == set()
    wanted = ('status="403",system="twilio"', 'status="403",system="telnyx"', 'status="401",system="rest"')
    assert soon(lambda: all(f"provisioner_hook_answers_total{{{one}}}" in metrics(house) for one in wanted))


def test_a_request_of_telnyx_that_is_sent_again_tries_nothing_again(house: House) -> None:
    """Recorded within the five minutes for which its signature is good."""
    mac, _, code = one_phone(house)

    async def life() -> None:
        async with asking(house) as web:
            telnyx = twiml(web, Person(SCENARIOS[0]), "telnyx", mac)
            form = {"CallSid": f"CA{mac}", "From": f"sip:{mac}@x"}
            await telnyx.raw(form)
            typo = {**form, "Digits": code[:-1] + str((int(code[-1]) + 1) % 10)}
            first = await telnyx.raw(typo, "step=1")
            assert await telnyx.raw(typo, "step=1") == first
            await telnyx.raw({**form, "CallStatus": "completed"})

    asyncio.run(life())
    assert prompts(house, [mac], {mac: 3})[mac] == ["started", "mistyped", "gone"]


def test_from_outside_of_the_networks_nobody_is_heard(house: House) -> None:
    with socket.create_connection(("127.0.0.1", house.ports["agi"]), 5, ("127.0.0.2", 0)) as stranger:
        stranger.settimeout(5)
        assert stranger.recv(100) == b""
    with (
        socket.create_connection(("127.0.0.1", house.ports["hooks"]), 5, ("127.0.0.2", 0)) as plain,
        house.context().wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        wrapped.sendall(f"GET /activation/httapi/{SECRET}?session_id=x HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert wrapped.recv(100).startswith(b"HTTP/1.1 403 ")
    assert soon(lambda: 'provisioner_agi_connections_total{outcome="stranger"}' in metrics(house))
    assert "FastAGI: 127.0.0.2 is none of the peers that may connect; closed" in house.log()


@pytest.mark.parametrize("length", ["Content-Length: 10485760", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("path", ["/activation/twilio", f"/activation/httapi/{SECRET}", REST])
def test_of_ten_mebibytes_nothing_is_kept(house: House, path: str, length: str) -> None:
    poured(house, path, length, 2)  # so that all that the process ever loads is loaded
    before = most_memory(house)
    answer = poured(house, path, length, 160)
    if "Content" in length:
        assert answer == (b"HTTP/1.1 413 Req" if path == REST else b"HTTP/1.1 403 For")
    assert most_memory(house) < before + 5 * 1024
    assert "Traceback" not in house.log()


def poured(house: House, path: str, length: str, pieces: int) -> bytes:
    """What is answered to a body of so many pieces of 64 KiB, where it is before the connection is closed."""
    known = f"Authorization: Bearer {REST_TOKEN}\r\n" if path == REST else ""
    piece = b"x" * 65536
    piece = piece if "Content" in length else b"%x\r\n%s\r\n" % (len(piece), piece)
    with (
        socket.create_connection(("127.0.0.1", house.ports["hooks"]), 10) as plain,
        house.context().wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        wrapped.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{known}{length}\r\n\r\n".encode())
        answer = wrapped.recv(16) if "Content" in length else b""
        with contextlib.suppress(OSError):
            for _ in range(pieces):
                wrapped.sendall(piece)
            answer = answer or wrapped.recv(16)
        return answer


def most_memory(house: House) -> int:
    """KiB that the process has ever used."""
    pid = re.findall(r"ivr 1 \(pid (\d+)\) started", house.log())[-1]
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


def test_who_drips_is_closed_and_keeps_nobody_out(house: House) -> None:
    mac, _, code = one_phone(house)
    context = house.context()
    drips = []
    for number in range(40):
        plain = socket.create_connection(("127.0.0.1", house.ports["hooks"]), 10)
        drips.append(plain if number % 2 else context.wrap_socket(plain, server_hostname="localhost"))
        if not number % 2:
            drips[-1].sendall(b"POST /activation/twilio HTT")

    async def life() -> int:
        async with asking(house) as web:
            return (await tried(web, mac, code))[0]

    assert asyncio.run(life()) == 200
    for one in drips:
        one.settimeout(5)
        with contextlib.suppress(ConnectionResetError, ssl.SSLError):
            assert one.recv(100) == b""
        one.close()


def test_calls_of_all_systems_are_counted_as_those_by_sip_are(house: House) -> None:
    mac, _, code = one_phone(house)

    async def life() -> None:
        async with asking(house) as web:
            assert (await tried(web, mac, code))[0] == 200

    asyncio.run(life())
    wanted = (
        'provisioner_ivr_calls_total{outcome="activated"}',
        'provisioner_open_connections{listener="hooks"',
        "provisioner_ivr_calls_now",
    )
    assert soon(lambda: all(one in metrics(house) for one in wanted)), metrics(house)


def test_a_stop_lets_a_call_go_on_and_new_ones_hear_that_all_lines_are_busy(unstarted: House, tmp_path: Path) -> None:
    house = unstarted.copy(tmp_path, **adapted(server_drain=5))
    house.start()
    mac, _, code = one_phone(house)

    async def life() -> None:
        async with asking(house) as web:
            kazoo = twiml(web, Person(SCENARIOS[0]), "kazoo", mac)
            assert (await kazoo.raw({"CallSid": "CA1", "From": f"sip:{mac}@x"}))[0] == 200
            reader, writer = await asyncio.open_connection("127.0.0.1", house.ports["agi"])
            writer.write(b"agi_language: en\n\n")
            assert (await reader.readline()).startswith(b"GET FULL VARIABLE")
            assert house.process is not None
            house.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.8)
            status, _ = await tried(web, mac, code)
            assert status == 503
            _, last = await kazoo.raw({"CallSid": "CA1", "From": f"sip:{mac}@x", "Digits": code}, "step=1")
            assert b"success" in last
            writer.close()

    try:
        asyncio.run(life())
        assert house.process is not None
        assert house.process.wait(10) == 0
    finally:
        house.stop()
    assert "Traceback" not in house.log()
