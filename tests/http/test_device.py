"""The device edge from outside: a real server process, real certificates, the standard library as the phone."""

import asyncio
import contextlib
import hashlib
import json
import socket
import sqlite3
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from house import SECRET, House, ask
from lxml import etree

from provisioner import pki
from provisioner.errors import Invalid, NotFound
from provisioner.model import Mac, Scope

VVX, OTHER_VVX, T46S, OBI = "0004f2000001", "0004f2000004", "001565000002", "9cadef000003"
STRANGE_VVX, STRANGE_T46S = "0004f2ffffff", "001565ffffff"
VVX_UA = "FileTransport PolycomVVX-VVX_411-UA/6.4.7.4560 (SN:0004f2000001) Type/Application"
VVX_FILE, T46S_FILE = f"/{VVX}-user.cfg", f"/{T46S}.cfg"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    built = House.build(tmp_path_factory.mktemp("device"))

    async def fill():
        await built.add(VVX, "poly", "VVX 411", "2001")
        await built.add(OTHER_VVX, "poly", "VVX 411", "2004")
        await built.add(T46S, "yealink", "T46S", "2002")
        await built.add(OBI, "poly", "OBi302", "2003")

    asyncio.run(fill())
    built.start()
    yield built
    built.stop()
    _no_canary_outside_phones(built)


def _no_canary_outside_phones(built):
    """After everything else: the secrets are in no database byte, log, metric or event."""
    for path in built.data.rglob("*"):
        if path.is_file() and path.name != "provisioner.toml":
            assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in built.log()


@pytest.fixture(scope="module")
def vvx(house):
    return house.certificate("poly", VVX)


@pytest.fixture(scope="module")
def t46s(house):
    return house.certificate("yealink", T46S)


def events(house, kind, mac=""):
    """Events of a kind, waited for: they are written in batches."""

    async def read():
        async with house.fleet() as fleet:
            return await fleet.events(kind=kind, mac=mac)

    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if found := asyncio.run(read()):
            return found
        time.sleep(0.1)
    return []


def administer(house, action):
    async def run():
        async with house.fleet() as fleet:
            return await action(fleet)

    return asyncio.run(run())


def soon(condition, seconds):
    """Whether it becomes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


# --- its own configuration and no other -------------------------------------------------------------


def test_a_phone_gets_its_own_configuration_with_length_and_validator(house, vvx):
    status, headers, body = house.get(VVX_FILE, vvx, User_Agent=VVX_UA)
    assert status == 200
    assert f"{SECRET}2001".encode() in body
    assert f"{SECRET}2004".encode() not in body
    assert headers["content-length"] == str(len(body))
    assert "transfer-encoding" not in headers
    assert headers["etag"].startswith('"')
    assert "no-store" in headers["cache-control"]
    assert house.get(VVX_FILE, vvx)[2] == body, "two fetches differ"


def test_the_same_over_one_kept_connection_with_304_and_head(house, t46s):
    with house.connection(t46s) as phone:
        status, headers, body = ask(phone, T46S_FILE)
        assert status == 200
        assert ask(phone, T46S_FILE, If_None_Match=headers["etag"])[::2] == (304, b"")
        assert ask(phone, T46S_FILE, If_None_Match='"x", W/' + headers["etag"])[0] == 304
        assert ask(phone, T46S_FILE, If_None_Match='"other"')[0] == 200
        status, head, nothing = ask(phone, T46S_FILE, method="HEAD")
        assert (status, head["content-length"], nothing) == (200, str(len(body)), b"")


def test_the_obi_gets_its_file_by_the_name_of_its_config_url(house):
    certificate = house.certificate("poly", OBI)
    status, _, body = house.get(f"/{OBI.upper()}.xml", certificate, User_Agent="OBi302")
    assert status == 200
    assert f"{SECRET}2003".encode() in body


def test_another_devices_file_is_refused_alike_whether_that_device_exists(house, vvx, t46s):
    known = house.get(f"/{OTHER_VVX}-user.cfg", vvx)
    unknown = house.get(f"/{STRANGE_VVX}-user.cfg", vvx)
    for answer in (known, unknown):
        answer[1].pop("date")
    assert known == unknown
    assert known[0] == 403
    assert known[2] == b""
    assert house.get(f"/{STRANGE_T46S}.cfg", t46s)[0] == 403
    (event, *_) = events(house, "not_yours", VVX)
    assert event.details["verdict"] == "unique"
    assert event.details["subject"]


def test_wrong_case_of_a_mac_is_the_same_device(house, t46s):
    assert house.get(f"/{T46S.upper()}.cfg", t46s)[0] == 200


def test_another_vendors_name_for_a_known_device_is_a_404(house, vvx):
    assert house.get("/y000000000066.cfg", vvx)[0] == 404


def test_independent_clients_get_the_same_bytes(house, vvx):
    expected = house.get(VVX_FILE, vvx)[2]
    url = f"https://localhost:{house.ports['device']}{VVX_FILE}"
    for extra in (["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3"]):
        command = [
            "curl",
            "-sS",
            "--noproxy",
            "*",
            "--cacert",
            house.ca,
            "--cert",
            vvx[0],
            "--key",
            vvx[1],
            *extra,
            url,
        ]
        assert subprocess.run(command, capture_output=True, check=True, timeout=20).stdout == expected
    shown = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{house.ports['device']}", "-CAfile", house.ca, "-quiet",
         "-cert", vvx[0], "-cert_chain", vvx[0], "-key", vvx[1], "-ign_eof"],
        input=f"GET {VVX_FILE} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(),
        capture_output=True, check=False, timeout=20,
    )  # fmt: skip
    assert shown.stdout.endswith(expected)


# --- who is not let in -----------------------------------------------------------------------------


def test_an_impostor_gets_nothing_and_the_event_says_why(house, tmp_path):
    stranger = House(tmp_path / "data", factories={"yealink": pki.make_factory(
        "yealink", tmp_path / "factory")})  # fmt: skip
    assert house.get(T46S_FILE, stranger.certificate("yealink", T46S), User_Agent="impostor/1")[::2] == (404, b"")
    found = lambda: [e for e in events(house, "not_identified") if e.details.get("user_agent") == "impostor/1"]  # noqa: E731  # short
    assert soon(found, 5)
    (event,) = found()
    assert event.details["verdict"] == "untrusted"
    assert event.details["tls"].startswith("TLSv1.")
    for key in ("subject", "issuer", "not_after", "cipher", "path", "reason"):
        assert event.details[key], key


def test_without_a_certificate_there_is_a_404(house):
    assert house.get(T46S_FILE, None)[::2] == (404, b"")
    assert house.get("/000000000000.cfg", None)[0] == 404


def test_a_generic_certificate_proves_no_device(house):
    generic = house.certificate("yealink", T46S, generic=True)
    assert house.get(T46S_FILE, generic)[0] == 404


def test_an_unknown_device_is_seen_once_and_never_added(house):
    certificate = house.certificate("yealink", "805ec0000009")
    for _ in range(3):
        assert house.get("/805ec0000009.cfg", certificate)[0] == 404
    mac = Mac("805ec0000009")
    found = lambda: [one for one in administer(house, lambda fleet: fleet.seen()) if one.mac == mac]  # noqa: E731  # short
    assert soon(found, 5)
    assert len(found()) == 1
    with pytest.raises(NotFound):
        administer(house, lambda fleet: fleet.device(mac))


def test_a_second_key_for_a_pinned_mac_is_an_alarm_until_an_administrator_accepts_it(house):
    mac = asyncio.run(house.add("001565000010", "yealink", "T46S", "2010"))
    first, second = house.certificate("yealink", mac), house.certificate("yealink", mac, bits=2049)
    assert house.get(f"/{mac}.cfg", first)[0] == 200
    assert soon(lambda: house.get(f"/{mac}.cfg", second)[0] == 404, 5)
    assert house.get(f"/{mac}.cfg", first)[0] == 200
    (event, *_) = events(house, "pin_mismatch", mac)
    assert event.severity == "alarm"
    administer(house, lambda fleet: fleet.accept_pin(mac))
    assert soon(lambda: house.get(f"/{mac}.cfg", second)[0] == 200, 5)
    assert soon(lambda: house.get(f"/{mac}.cfg", first)[0] == 404, 5)


def test_revocation_reaches_an_open_connection_and_a_resumed_session_within_five_seconds(house):
    mac = asyncio.run(house.add("001565000011", "yealink", "T46S", "2011"))
    certificate = house.certificate("yealink", mac)
    context = house.context(certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with house.connection(certificate) as phone, _wrapped(house, context) as before:
        assert ask(phone, f"/{mac}.cfg")[0] == 200
        session = before.session
        with _wrapped(house, context, session) as again:
            assert again.session_reused
            assert _raw(again, f"GET /{mac}.cfg HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200")
        administer(house, lambda fleet: fleet.revoke_device(mac))
        assert soon(lambda: ask(phone, f"/{mac}.cfg")[0] == 404, 5)
        with _wrapped(house, context, session) as again:
            assert again.session_reused
            assert _raw(again, f"GET /{mac}.cfg HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 404")
        administer(house, lambda fleet: fleet.restore_device(mac))
        assert soon(lambda: ask(phone, f"/{mac}.cfg")[0] == 200, 5)


def _dated(house, vendor, certificate, before, after):
    """The same key in a certificate of other dates."""
    key = serialization.load_pem_private_key(certificate[1].read_bytes(), None)
    old = x509.load_pem_x509_certificates(certificate[0].read_bytes())
    signer = house.factories[vendor].issuing
    new = (
        x509.CertificateBuilder(old[0].issuer, old[0].subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(before)
        .not_valid_after(after)
        .sign(signer.key, hashes.SHA256())
    )
    path = certificate[0].with_suffix(f".{after:%Y%m%d}.pem")
    pem = serialization.Encoding.PEM
    path.write_bytes(b"".join(one.public_bytes(pem) for one in (new, *old[1:])))
    return path, certificate[1]


def test_an_expired_leaf_is_good_for_the_device_it_is_pinned_to_and_for_no_other(house):
    now = datetime.now(UTC)
    mac = asyncio.run(house.add("001565000012", "yealink", "T46S", "2012"))
    good = house.certificate("yealink", mac)
    expired = _dated(house, "yealink", good, now - timedelta(900), now - timedelta(400))
    assert house.get(f"/{mac}.cfg", expired)[0] == 404, "not pinned yet"
    assert house.get(f"/{mac}.cfg", good)[0] == 200
    assert soon(lambda: house.get(f"/{mac}.cfg", expired)[0] == 200, 5)
    early = _dated(house, "yealink", good, now + timedelta(10), now + timedelta(800))
    assert house.get(f"/{mac}.cfg", early, User_Agent="early/1")[0] == 404
    told = lambda: [e for e in events(house, "not_identified") if e.details.get("user_agent") == "early/1"]  # noqa: E731  # short
    assert soon(told, 5)
    assert told()[0].details["verdict"] == "not_yet_valid"


# --- certificate-less ladder -----------------------------------------------------------------------


def test_a_token_url_works_in_its_window_and_budget_for_its_device_only(house):
    mac = asyncio.run(house.add("001565000013", "yealink", "T46S", "2013"))

    async def opened(fleet):
        return await fleet.open_token(mac, now=time.time(), window=60, fetches=2)

    administer(house, lambda fleet: fleet.allow(mac, token=True))
    token, path = administer(house, opened)
    administer(house, lambda fleet: fleet.allow(mac, token=False))
    assert soon(lambda: house.get(f"{path}{mac}.cfg", None)[0] == 404, 2), "the device does not say so"
    administer(house, lambda fleet: fleet.allow(mac, token=True))
    token, path = administer(house, opened)
    assert len(token) >= 22, "128 bits"
    assert soon(lambda: house.get(f"{path}{mac}.cfg", None)[0] == 200, 2) is True
    assert house.get(f"{path}{T46S}.cfg", None)[0] == 403
    assert house.get(f"{path}{mac}.cfg", None)[0] == 404, "the budget is spent"
    token, path = administer(house, opened)
    administer(house, lambda fleet: fleet.revoke_tokens(mac))
    assert house.get(f"{path}{mac}.cfg", None)[0] == 404
    assert token not in house.log()
    assert all(token not in json.dumps(dict(event.details)) for event in administer(house, lambda one: one.events()))


# --- change and upload ------------------------------------------------------------------------------


def test_a_change_is_on_an_open_connection_within_a_second(house, vvx):
    with house.connection(vvx) as phone:
        before = ask(phone, VVX_FILE)[2]
        layer = {"time.ntp": "ntp.changed.example"}
        administer(house, lambda fleet: fleet.set_layer(Scope.DEFAULTS, "", layer, {}))
        begun = time.monotonic()
        assert soon(lambda: b"ntp.changed.example" in ask(phone, VVX_FILE)[2], 1.0), time.monotonic() - begun
        administer(house, lambda fleet: fleet.unset_layer(Scope.DEFAULTS, "", ["time.ntp"]))
        assert soon(lambda: ask(phone, VVX_FILE)[2] == before, 1.0)


def test_an_upload_is_kept_and_served_back_and_one_over_its_cap_changes_nothing(house, vvx):
    name = f"/{VVX}-phone.cfg"
    with house.connection(vvx) as phone:
        assert ask(phone, name)[0] == 404
        mine = b'<PHONE_CONFIG><OVERRIDES up.x="1"/></PHONE_CONFIG>'
        assert ask(phone, name, method="PUT", body=mine)[0] in (200, 201, 204)
        assert soon(lambda: ask(phone, name)[::2] == (200, mine), 2)
    assert house.get(name, vvx, method="PUT", body=b"x" * (256 * 1024 + 1))[0] == 413
    assert house.get(name, vvx)[2] == mine
    with _wrapped(house, house.context(vvx)) as broken:
        broken.sendall(f"PUT {name} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this".encode())
    time.sleep(0.2)
    assert house.get(name, vvx)[2] == mine
    assert house.get(f"/{VVX}-app.log", vvx, method="PUT", body=b"l" * 1024 * 1024)[0] == 201
    assert house.get(f"/{VVX}-app.log", vvx, method="PUT", body=b"l" * (1024 * 1024 + 1))[0] == 413
    assert house.get(f"/{OTHER_VVX}-app.log", vvx, method="PUT", body=b"x")[0] == 403
    assert house.get(VVX_FILE, vvx, method="PUT", body=b"x")[0] == 405
    assert house.get(f"/{VVX}-app.log", None, method="PUT", body=b"x")[0] == 404


def test_a_chunked_upload_over_its_cap_is_cut_off(house, vvx):
    with house.connection(vvx) as phone:
        phone.putrequest("PUT", f"/{VVX}-phone.cfg")
        phone.putheader("Transfer-Encoding", "chunked")
        phone.endheaders()
        with contextlib.suppress(OSError):
            for _ in range(40):
                phone.send(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
            phone.send(b"0\r\n\r\n")
        assert phone.getresponse().status == 413


def test_an_uploaded_secret_is_sealed_on_disk(house, vvx):
    body = f'<x reg.1.auth.password="{SECRET}upload"/>'.encode()
    assert house.get(f"/{VVX}-web.cfg", vvx, method="PUT", body=body)[0] == 201
    assert soon(lambda: house.get(f"/{VVX}-web.cfg", vvx)[2] == body, 2)


def test_firmware_is_served_in_ranges_from_disk(house, vvx):
    image = bytes(range(256)) * 4096
    (house.data / "firmware" / "poly").mkdir(parents=True, exist_ok=True)
    (house.data / "firmware" / "poly" / "3111-48450-001.sip.ld").write_bytes(image)
    path = "/3111-48450-001.sip.ld"
    with house.connection(vvx) as phone:
        status, headers, body = ask(phone, path)
        assert (status, hashlib.sha256(body).digest()) == (200, hashlib.sha256(image).digest())
        assert ask(phone, path, Range="bytes=10-19")[::2] == (206, image[10:20])
        assert ask(phone, path, Range="bytes=-5")[::2] == (206, image[-5:])
        assert ask(phone, path, Range="bytes=1048570-")[::2] == (206, image[1048570:])
        assert ask(phone, path, Range="bytes=1048576-")[0] == 416
        assert ask(phone, path, Range="bytes=5-2")[0] == 416
        assert ask(phone, path, Range="bytes=0-1,4-5")[0] == 200
        assert ask(phone, path, Range="bytes=0-1", If_Range='"other"')[0] == 200
        assert ask(phone, path, method="HEAD")[1]["content-length"] == str(len(image))
        assert ask(phone, path, If_None_Match=headers["etag"])[0] == 304
        assert ask(phone, "/3111-00000-001.sip.ld")[0] == 404


def test_firmware_below_the_floor_gets_an_upgrade_and_no_secret(house, vvx):
    old = "FileTransport PolycomVVX-VVX_411-UA/5.5.1.1000 (SN:0004f2000001) Type/Application"
    status, _, body = house.get(VVX_FILE, vvx, User_Agent=old)
    assert status == 200
    assert SECRET.encode() not in body
    needs = lambda: administer(house, lambda fleet: fleet.device(Mac(VVX))).state == "needs_firmware"  # noqa: E731  # short
    assert soon(needs, 5)
    updater = old.replace("Application", "Updater")
    assert SECRET.encode() in house.get(VVX_FILE, vvx, User_Agent=updater)[2]
    assert SECRET.encode() in house.get(VVX_FILE, vvx, User_Agent=VVX_UA)[2]
    assert soon(lambda: not needs(), 5)


# --- bad input -------------------------------------------------------------------------------------

TRICKS = [
    "/../data/master.key", "/%2e%2e/master.key", "/..%2f..%2fetc/passwd", f"//{VVX}-user.cfg", "/a%00b", "/" + "a" * 4096,
    "http://localhost/master.key", "/./x", f"/{VVX}-user.cfg/", f"/t//{VVX}.cfg", "/t/x", "/t", "*",
]  # fmt: skip


@pytest.mark.parametrize("target", TRICKS)
def test_a_path_trick_is_a_clean_404(house, vvx, target):
    with _wrapped(house, house.context(vvx)) as phone:
        answer = _raw(phone, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
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
    with _wrapped(house, house.context(vvx)) as phone:
        answer = _raw(phone, sent)
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
        with socket.create_connection(("127.0.0.1", house.ports["device"]), timeout=5) as raw:
            raw.sendall(sent)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while data := raw.recv(4096):
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


# --- small things ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _wrapped(house, context, session=None):
    with (
        socket.create_connection(("127.0.0.1", house.ports["device"]), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost", session=session) as wrapped,
    ):
        yield wrapped


def _raw(connection, sent):
    sent = sent.encode() if isinstance(sent, str) else sent
    with contextlib.suppress(OSError):
        connection.sendall(sent)
    answer = b""
    with contextlib.suppress(TimeoutError, ConnectionResetError, ssl.SSLError):
        connection.settimeout(5)
        answer = connection.recv(65536)
    return answer
