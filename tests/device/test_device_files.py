"""The device edge from outside: a real server process, real certificates, the standard library as the phone."""

import asyncio
import contextlib
import hashlib
import json
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from house import OBI, OTHER_VVX, SECRET, T46S, VVX, House, administer, ask, events, raw, soon, wrapped

from provisioner import pki
from provisioner.errors import NotFound
from provisioner.model import Mac, Scope

STRANGE_VVX, STRANGE_T46S = "0004f2ffffff", "001565ffffff"
VVX_UA = "FileTransport PolycomVVX-VVX_411-UA/6.4.7.4560 (SN:0004f2000001) Type/Application"
VVX_FILE, T46S_FILE = f"/{VVX}-user.cfg", f"/{T46S}.cfg"


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
    with house.connection(certificate) as phone, wrapped(house, context) as before:
        assert ask(phone, f"/{mac}.cfg")[0] == 200
        session = before.session
        with wrapped(house, context, session) as again:
            assert again.session_reused
            assert raw(again, f"GET /{mac}.cfg HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200")
        administer(house, lambda fleet: fleet.revoke_device(mac))
        assert soon(lambda: ask(phone, f"/{mac}.cfg")[0] == 404, 5)
        with wrapped(house, context, session) as again:
            assert again.session_reused
            assert raw(again, f"GET /{mac}.cfg HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 404")
        (event, *_) = events(house, "revoked", mac)
        assert event.details["verdict"] == "revoked"
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
    with wrapped(house, house.context(vvx)) as broken:
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
