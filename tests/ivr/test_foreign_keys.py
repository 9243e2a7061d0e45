"""Digits and sound of others, over real sockets: who is not the phone keys nothing, and gets nothing sent to it."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.call_phone import CallPhone
from tests.ivr.answering import Answering, OneCodeDesk, answering, login
from tests.ivr.scenarios import GOOD

pytestmark = pytest.mark.asyncio
MAC = "0004f2aabb00"


@contextmanager
def somebody(host: str) -> Iterator[socket.socket]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.setblocking(False)
    with sock:
        yield sock


def keys_in(sock: socket.socket, to: tuple[str, int]) -> None:
    """A whole code, each key in the one packet that is enough."""
    for n, key in enumerate(GOOD):
        head = struct.pack("!BBHII", 0x80, 101 | 0x80, n, 1000 + n * 1600, 0xDEAD)
        sock.sendto(head + struct.pack("!BBH", int(key), 0x8A, 400), to)


async def phone_of(there: Answering) -> CallPhone:
    user, secret = login(MAC)
    return await CallPhone.open(MAC, user, secret, ("127.0.0.1", there.port))


async def answered(phone: CallPhone, listens: tuple[str, int]) -> tuple[str, int]:
    """A call that is answered and not acknowledged yet; where our sound goes."""
    sdp = (
        f"v=0\r\no=- 1 1 IN IP4 {listens[0]}\r\ns=-\r\nc=IN IP4 {listens[0]}\r\nt=0 0\r\n"
        f"m=audio {listens[1]} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
    )
    phone.uri, phone.events, phone.codec = "sip:activate@localhost", 101, 0
    phone.agreed = await phone.ask("INVITE", phone.uri, "Content-Type: application/sdp", body=sdp.encode())
    assert phone.agreed.status == 200
    media = re.search(r"m=audio (\d+)", phone.agreed.body.decode())
    assert media
    phone.media_to = ("127.0.0.1", int(media[1]))
    return phone.media_to


def acknowledge(phone: CallPhone) -> bytes:
    assert phone.agreed is not None
    phone._to = phone.agreed.get("To")
    phone.uri = phone.agreed.get("Contact").strip("<>")
    return phone.request("ACK", phone.uri, cseq=int(phone.agreed.get("CSeq").split()[0]))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9"])
async def test_what_lay_at_the_port_before_the_call_keys_nothing(host: str) -> None:
    desk = OneCodeDesk()
    async with answering(desk) as there:
        phone = await phone_of(there)
        with somebody(host) as other:
            port = await answered(phone, phone._rtp_address())
            for _ in range(30):
                keys_in(other, port)
            await asyncio.sleep(0.1)
            phone.send(acknowledge(phone))
            phone._talking = asyncio.create_task(phone._talk())
            await asyncio.sleep(0.5)
            with pytest.raises(BlockingIOError):
                other.recv(2000)
        assert len(phone.frames) > 10, "it is the phone that is spoken to"
        await phone.key(GOOD)
        await asyncio.sleep(0.2)
        assert desk.keyed == [GOOD]
        phone.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9"])
async def test_another_socket_keys_nothing_into_a_call(host: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    desk = OneCodeDesk()
    async with answering(desk) as there:
        phone = await phone_of(there)
        assert await phone.call() == 200
        await asyncio.sleep(0.3)
        with somebody(host) as other:
            keys_in(other, phone.media_to)
            await asyncio.sleep(0.3)
        assert desk.keyed == []
        await phone.key(GOOD)
        await asyncio.sleep(0.2)
        assert desk.keyed == [GOOD]
        assert await phone.hang_up() == 200
        phone.close()
    assert f"sip call of {MAC}: {len(GOOD)} packets with keys came from elsewhere, ignored" in caplog.text
    assert GOOD not in caplog.text


async def test_an_acknowledgement_from_elsewhere_turns_no_sound_there() -> None:
    async with answering(OneCodeDesk()) as there:
        phone = await phone_of(there)
        with somebody("127.0.0.77") as victim, somebody("127.0.0.77") as liar:
            await answered(phone, victim.getsockname())
            liar.sendto(acknowledge(phone), ("127.0.0.1", there.port))
            await asyncio.sleep(0.5)
            for one in (victim, liar):
                with pytest.raises(BlockingIOError):
                    one.recv(2000)
            phone.send(acknowledge(phone))
            await asyncio.sleep(0.5)
            with pytest.raises(BlockingIOError):
                victim.recv(2000)
        phone.close()


async def test_a_key_told_by_info_from_elsewhere_is_challenged() -> None:
    desk = OneCodeDesk()
    async with answering(desk) as there:
        phone = await phone_of(there)
        assert await phone.call() == 200
        with somebody("127.0.0.66") as other:
            for key in GOOD:
                body = f"Signal={key}\r\n".encode()
                told = phone.request("INFO", phone.uri, "Content-Type: application/dtmf-relay", body=body)
                other.sendto(told, ("127.0.0.1", there.port))
            await asyncio.sleep(0.3)
            assert other.recv(2000).startswith(b"SIP/2.0 401 ")
        assert desk.keyed == []
        await phone.key(GOOD, "info")
        await asyncio.sleep(0.2)
        assert desk.keyed == [GOOD]
        phone.close()
