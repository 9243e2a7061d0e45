"""What bad input gets at the device edge: a clean status or a close, a count, and never a traceback."""

import asyncio
import contextlib
import socket
import sqlite3
import time

import pytest
from house import T46S, VVX, events, raw, wrapped
from lxml import etree

from provisioner.errors import Invalid

STRANGE_VVX, STRANGE_T46S = "0004f2ffffff", "001565ffffff"
VVX_UA = "FileTransport PolycomVVX-VVX_411-UA/6.4.7.4560 (SN:0004f2000001) Type/Application"
VVX_FILE, T46S_FILE = f"/{VVX}-user.cfg", f"/{T46S}.cfg"


# --- bad input -------------------------------------------------------------------------------------

TRICKS = [
    "/../data/master.key", "/%2e%2e/master.key", "/..%2f..%2fetc/passwd", f"//{VVX}-user.cfg", "/a%00b",
    "/" + "a" * 4096,
    "http://localhost/master.key", "/./x", f"/{VVX}-user.cfg/", f"/t//{VVX}.cfg", "/t/x", "/t", "*",
]  # fmt: skip


@pytest.mark.parametrize("target", TRICKS)
def test_a_path_trick_is_a_clean_404(house, vvx, target):
    with wrapped(house, house.context(vvx)) as phone:
        answer = raw(phone, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400", b"HTTP/1.1 414")), answer[:80]
        assert b"Content-Length: 0" in answer


RAW = {
    "unknown method": (b"BREW /x HTTP/1.1\r\nHost: x\r\n\r\n", b" 40"),
    "delete": (b"DELETE /x HTTP/1.1\r\nHost: x\r\n\r\n", b" 405 "),
    "options": (b"OPTIONS /x HTTP/1.1\r\nHost: x\r\n\r\n", b" 405 "),
    "connect": (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", b" 40"),
    "two hosts": (b"GET /x HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", b" 400 "),
    "body on get": (b"GET /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\ny", b" 400 "),
    "two lengths": (b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\ny", b" 400 "),
    "length and chunked": (
        b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b" 400 "),
    "negative length": (b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b" 400 "),
    "not http": (b"\x00\x01\x02\x03\r\n\r\n", b" 400 "),
    "nul in header": (b"GET /x HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n", b" 400 "),
    "huge head": (b"GET /x HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"x" * 9000 + b"\r\n\r\n", b" 4"),
    "many headers": (b"GET /x HTTP/1.1\r\nHost: x\r\n" + b"".join(b"A%d: x\r\n" % n for n in range(3000)), b" 4"),
}  # fmt: skip


@pytest.mark.parametrize("case", RAW)
def test_broken_http_gets_a_clean_status_and_no_word(house, vvx, case):
    sent, status = RAW[case]
    with wrapped(house, house.context(vvx)) as phone:
        answer = raw(phone, sent)
        assert status in answer.split(b"\r\n")[0], answer[:200]
        assert b"Traceback" not in answer
    assert "Traceback" not in house.log()


def test_what_is_not_tls_is_closed_and_counted(house):
    for sent in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x80\x2e\x01\x00\x02" + b"\0" * 43,
        b"\xff" * 600,
        b"SSH-2.0-x\r\n",
    ):
        with socket.create_connection(("127.0.0.1", house.ports["device"]), timeout=5) as plain:
            plain.sendall(sent)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while data := plain.recv(4096):
                    answer += data
            assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"\x15"))
    metrics = house.get("/metrics", None, kind="admin")[2].decode()
    for label in ("plain_http", "sslv2", "not_tls"):
        assert f'reason="{label}"' in metrics


def test_a_thousand_half_open_connections_do_not_stop_a_phone(house, vvx):
    silent = []
    try:
        for _ in range(1000):
            silent.append(socket.create_connection(("127.0.0.1", house.ports["device"]), timeout=5))  # noqa: PERF401  # closed even if one fails
        assert house.get(VVX_FILE, vvx)[0] == 200
    finally:
        for one in silent:
            one.close()
    assert house.get(VVX_FILE, vvx)[0] == 200


def test_a_damaged_row_fails_that_device_only(house, vvx):
    mac = asyncio.run(house.add("001565000015", "yealink", "T46S", "2015"))
    certificate = house.certificate("yealink", mac)
    assert house.get(f"/{mac}.cfg", certificate)[0] == 200
    with contextlib.closing(sqlite3.connect(house.data / "provisioner.db", timeout=10)) as db:
        db.execute("UPDATE extension SET secret = x'00ff' WHERE number = '2015'")
        db.commit()
    assert house.get(f"/{mac}.cfg", certificate)[0] == 500
    assert events(house, "store_failed", mac)
    assert house.get(VVX_FILE, vvx)[0] == 200


def test_a_locked_database_stops_no_boot(house, vvx, t46s):
    with contextlib.closing(sqlite3.connect(house.data / "provisioner.db", timeout=10)) as db:
        db.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        assert house.get(VVX_FILE, vvx)[0] == 200
        assert house.get(T46S_FILE, t46s)[0] == 200
        assert time.monotonic() - begun < 2
        db.rollback()


def test_a_name_is_refused_with_a_control_character_and_arrives_whole_without(house, vvx):
    with pytest.raises(Invalid, match="display_name"):
        asyncio.run(house.add("001565000016", "yealink", "T46S", "2016", display_name="a\nstatic.x = 1"))
    name = "Zoë \"Q\" <&> ]]> 😀 'x'"
    mac = asyncio.run(house.add("0004f2000017", "poly", "VVX 411", "2017", display_name=name))
    body = house.get(f"/{mac}-user.cfg", house.certificate("poly", mac))[2]
    found = [value for element in etree.fromstring(body).iter() for key, value in element.attrib.items()
             if key == "reg.1.displayName"]  # fmt: skip
    assert found == [name]
