"""What strangers and second keys try: to outlive a pin, to drown an alarm, to leave something behind."""

import asyncio
import re
import socket
import time
from datetime import UTC, datetime, timedelta

from house import OTHER_VVX, SECRET, VVX, administer, ask, events, raw, soon
from test_device_files import _dated

from provisioner.model import Mac


def test_a_second_key_on_an_open_connection_is_refused_once_the_first_is_pinned(house):
    mac = asyncio.run(house.add("001565000030", "yealink", "T46S", "2030"))
    first, second = house.certificate("yealink", mac), house.certificate("yealink", mac, bits=2049)
    with house.connection(first) as owner, house.connection(second) as other:
        assert ask(owner, f"/{mac}.cfg")[0] == 200
        assert ask(other, f"/{mac}.cfg")[0] == 404, "within the batch that pins the first"
        assert soon(lambda: administer(house, lambda fleet: fleet.device(mac)).pinned, 5)
        time.sleep(0.5)
        assert ask(other, f"/{mac}.cfg")[0] == 404
        assert ask(owner, f"/{mac}.cfg")[0] == 200
    (event, *_) = events(house, "pin_mismatch", mac)
    assert len(event.details["came"]) == len(event.details["pinned"]) == 64


def test_a_flood_of_refusals_is_few_events(house):
    before = len(administer(house, lambda fleet: fleet.events(limit=1000)))
    with house.connection(None) as stranger:
        for number in range(300):
            assert ask(stranger, f"/{number}%")[0] == 404
    time.sleep(1.5)
    assert len(administer(house, lambda fleet: fleet.events(limit=1000))) - before <= 2


def test_names_without_number_leave_no_row(house, vvx):
    with house.connection(vvx) as phone:
        for number in range(50):
            assert ask(phone, f"/{VVX}-core{number}.tar.gz")[0] == 404
            assert ask(phone, f"/languages/{number}.xml")[0] == 404
    time.sleep(1.5)
    names = {one.file for one in administer(house, lambda fleet: fleet.fetches(Mac(VVX)))}
    assert not {name for name in names if "core" in name or "languages" in name}


def _opened(mac):
    async def opened(fleet):
        await fleet.allow(mac, token=True)
        return await fleet.open_token(mac, now=time.time(), window=60, fetches=20)

    return opened


def test_a_phone_whose_leaf_expired_before_it_was_first_seen_takes_a_token(house):
    now = datetime.now(UTC)
    mac = asyncio.run(house.add("001565000031", "yealink", "T46S", "2031"))
    expired = _dated(house, "yealink", house.certificate("yealink", mac), now - timedelta(900), now - timedelta(400))
    assert house.get(f"/{mac}.cfg", expired)[0] == 404
    _, path = administer(house, _opened(mac))
    status, _, body = house.get(f"{path}{mac}.cfg", expired)
    assert status == 200
    assert f"{SECRET}2031".encode() in body
    other = asyncio.run(house.add("001565000032", "yealink", "T46S", "2032"))
    _, others = administer(house, _opened(other))
    assert house.get(f"{others}{other}.cfg", expired)[0] == 403, "its certificate names another device"


def test_a_good_certificate_on_a_token_url_is_what_counts_and_costs_no_fetch(house):
    mac = asyncio.run(house.add("001565000033", "yealink", "T46S", "2033"))
    _, path = administer(house, _opened(mac))
    assert house.get(f"{path}{mac}.cfg", house.certificate("yealink", mac))[0] == 200
    (token,) = administer(house, lambda fleet: fleet.tokens(mac))
    assert token.spent == 0


def test_nothing_is_uploaded_by_a_token(house):
    mac = asyncio.run(house.add("0004f2000034", "poly", "VVX 411", "2034"))
    _, path = administer(house, _opened(mac))
    evil = b'<x reg.1.server.1.address="evil.example"/>'
    assert house.get(f"{path}{mac}-phone.cfg", None, method="PUT", body=evil)[0] == 405
    assert house.get(f"/{mac}-phone.cfg", house.certificate("poly", mac))[0] == 404


def test_a_token_is_in_no_event_wherever_a_stranger_puts_it(house):
    token = "q" * 22
    for target in (f"/prov/t/{token}/f", f"/./t/{token}", f"/%74/{token}", f"/x?u=/t/{token}", f"/t//{token}"):
        house.get(target, None)
    time.sleep(1.5)
    told = administer(house, lambda fleet: fleet.events(limit=1000))
    assert all(token not in str(dict(event.details)) for event in told)


def test_an_encoded_upload_is_refused(house, vvx):
    sent = house.get(f"/{VVX}-app.log", vvx, method="PUT", body=b"x" * 40, Content_Encoding="gzip")
    assert sent[0] == 400


def test_neither_host_nor_server_name_decides_what_is_served(house, vvx):
    """The certificate does, on each request: also for another Host or server name, and on a resumed session."""
    context = house.context(vvx)
    context.check_hostname = False

    def ask(path, host, name, session=None):
        with (
            socket.create_connection(("127.0.0.1", house.ports["device"]), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name, session=session) as phone,
        ):
            answer = raw(phone, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            head, _, body = answer.partition(b"\r\n\r\n")
            return (re.sub(rb"\r\nDate: [^\r]*", b"", head), body), phone.session

    own, other = f"/{VVX}-user.cfg", f"/{OTHER_VVX}-user.cfg"
    (head, body), session = ask(own, "localhost", "localhost")
    assert head.startswith(b"HTTP/1.1 200") and body
    names = [("localhost", "other.example"), ("other.example", "localhost"), ("192.0.2.7:1", None), ("", "a.example")]
    for host, name in names:
        for held in (None, session):
            assert ask(own, host, name, held)[0] == (head, body)
            assert ask(other, host, name, held)[0][0].startswith(b"HTTP/1.1 403")
