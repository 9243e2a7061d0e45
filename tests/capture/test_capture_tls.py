"""Real handshakes of real ends, cut into frames: who offered what, whose certificate it was, and who refused whom."""

from __future__ import annotations

import contextlib
import ssl
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from read_here import facts, of, one
from wire import RST, Talk, Tape, spoken

from provisioner.capture import der
from provisioner.capture.der import NotDer

Turns = list[tuple[str, bytes]]
Contexts = Callable[..., Turns]
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
OLD, NEW = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
CN = "0004F2AABBCC"
HIDDEN_ALERT = b"\x17\x03\x03\x00\x13" + bytes(19)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def factory() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def handshake(ca: trustme.CA, factory: trustme.CA) -> Contexts:
    def make(version: ssl.TLSVersion, *, phone: str = "good", trusts: bool = True, asks: bool = True,
             name: str | None = "prov.example.net", **more: bytes) -> Turns:  # fmt: skip
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("prov.example.net").configure_cert(server)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = name is not None
        if trusts:
            ca.configure_trust(client)
        if asks:
            server.verify_mode = ssl.CERT_REQUIRED
            factory.configure_trust(server)
        if phone != "none":
            issuer = factory if phone == "good" else trustme.CA()
            issuer.issue_cert(common_name=CN).configure_cert(client)
        for context in (client, server):
            context.minimum_version = context.maximum_version = version
        return list(spoken(client, server, name, **more))

    return make


def read(tmp_path: Path, turns: Turns, *, closed: str = "phone", size: int = 1448) -> list:  # type: ignore[type-arg]
    tape = Tape()
    talk = Talk(tape, size=size).open().flow(turns)
    if closed:
        talk.close(closed)
    return facts(tmp_path, tape)


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize("size", [1448, 100])
def test_a_handshake_that_works(tmp_path: Path, handshake: Contexts, version: ssl.TLSVersion, size: int) -> None:
    found = read(tmp_path, handshake(version, request=b"GET /x HTTP/1.1\r\n\r\n", answer=b"a" * 3000), size=size)
    name = "TLSv1.2" if version is OLD else "TLSv1.3"
    hello = one(found, "hello")
    assert hello["sni"] == "prov.example.net" and hello["versions"] == name
    assert "ECDHE-RSA-AES128-GCM-SHA256" in hello["suites"] or "TLS_AES_128_GCM_SHA256" in hello["suites"]
    assert "rsa_pss_rsae_sha256" in hello["signature_algorithms"]
    assert one(found, "server_hello")["version"] == name
    assert one(found, "tls_done")["resumed"] == "no"
    closed = one(found, "closed")
    assert (closed["by"], closed["after"]) == ("phone", "answer")
    assert 3000 < int(closed["bytes"]) < 6000
    assert not of(found, "alert") and not of(found, "tls_refused") and not of(found, "broken")


def test_up_to_12_both_chains_are_in_clear(tmp_path: Path, handshake: Contexts) -> None:
    found = read(tmp_path, handshake(OLD))
    server, phone = one(found, "chain", by="server"), one(found, "chain", by="phone")
    assert server["names"] == "prov.example.net" and phone["subject"].endswith(f"CN={CN}")
    assert server["issuer"] == server["root"] and server["length"] == "1"
    assert phone["key"] in ("EC P-256", "RSA 2048") and phone["signature"] == "sha256"
    assert float(phone["not_before"]) < datetime.now(UTC).timestamp() < float(phone["not_after"])
    assert one(found, "certificate_request")["names"] == "0", "load_verify_locations names no CA to the client"


def test_13_hides_them(tmp_path: Path, handshake: Contexts) -> None:
    assert not of(read(tmp_path, handshake(NEW)), "chain")


@pytest.mark.parametrize("version", [OLD, NEW])
def test_the_phone_refuses_the_server(tmp_path: Path, handshake: Contexts, version: ssl.TLSVersion) -> None:
    """OpenSSL says it in clear, in 1.3 as well."""
    found = read(tmp_path, handshake(version, trusts=False))
    alert = one(found, "alert")
    assert (alert["by"], alert["code"], alert["name"]) == ("phone", "48", "unknown_ca")
    assert not of(found, "tls_done")


def test_a_reset_behind_an_alert_is_not_the_cause(tmp_path: Path, handshake: Contexts) -> None:
    tape = Tape()
    Talk(tape).open().flow(handshake(OLD, phone="stranger")).segment("server", RST)
    found = facts(tmp_path, tape)
    assert one(found, "alert")["by"] == "server" and not of(found, "reset")


@pytest.mark.parametrize("version", [OLD, NEW])
def test_a_phone_that_does_not_like_the_name_just_closes(
    tmp_path: Path, handshake: Contexts, version: ssl.TLSVersion
) -> None:
    found = read(tmp_path, [*handshake(version), *([("phone", HIDDEN_ALERT)] if version is NEW else [])])
    assert one(found, "tls_done")
    assert one(found, "closed") == {
        "connection": "10.0.0.5:40000>192.0.2.1:443", "by": "phone", "after": "handshake", "bytes": "0",
    }  # fmt: skip


def test_the_server_refuses_the_phone_in_12(tmp_path: Path, handshake: Contexts) -> None:
    found = read(tmp_path, handshake(OLD, phone="stranger"), closed="server")
    assert one(found, "alert")["by"] == "server"
    assert one(found, "chain", by="phone")["length"] == "1" and not of(found, "tls_done")


@pytest.mark.parametrize("phone", ["stranger", "none"])
def test_the_server_refuses_the_phone_in_13_by_the_shape_of_its_record(
    tmp_path: Path, handshake: Contexts, phone: str
) -> None:
    found = read(tmp_path, handshake(NEW, phone=phone, request=b"GET /"), closed="server")
    refused = one(found, "tls_refused")
    assert refused == {"connection": refused["connection"], "by": "server", "why": "record_shape", "sure": "no"}
    assert not of(found, "tls_done")
    empty = of(found, "chain", by="phone", length="0", sure="no")
    assert len(empty) == (1 if phone == "none" else 0)


def test_no_certificate_in_12(tmp_path: Path, handshake: Contexts) -> None:
    found = read(tmp_path, handshake(OLD, phone="none"), closed="server")
    assert one(found, "chain", by="phone") == {
        "connection": "10.0.0.5:40000>192.0.2.1:443", "by": "phone", "length": "0",
    }  # fmt: skip
    assert one(found, "alert")["name"] == "handshake_failure"


def test_a_hello_without_a_name(tmp_path: Path, handshake: Contexts) -> None:
    assert one(read(tmp_path, handshake(OLD, name=None)), "hello")["sni"] == ""


def test_only_what_was_agreed_is_read_when_nobody_asks_for_a_certificate(tmp_path: Path, handshake: Contexts) -> None:
    found = read(tmp_path, handshake(NEW, asks=False, phone="none", request=b"GET /", answer=b"ok"))
    assert one(found, "tls_done") and not of(found, "chain") and not of(found, "tls_refused")


def test_a_phone_that_says_goodbye_after_the_handshake_was_not_refused(tmp_path: Path) -> None:
    """TLS 1.3 without tickets: the server's only word is its answer to the phone's close_notify."""

    def record(length: int) -> bytes:
        return b"\x17\x03\x03" + length.to_bytes(2, "big") + bytes(length)

    hello = b"\x03\x03" + bytes(32) + b"\0" + b"\x13\x01" + b"\0" + b"\0\x06\0\x2b\0\x02\x03\x04"
    server = b"\x16\x03\x03" + (len(hello) + 4).to_bytes(2, "big") + b"\x02" + len(hello).to_bytes(3, "big") + hello
    turns = [("server", server + record(23) + record(900) + record(53)), ("phone", record(53) + record(19))]
    assert not of(read(tmp_path, [*turns, ("server", record(19))]), "tls_refused")
    silent = [turns[0], ("phone", record(900) + record(281) + record(53)), ("server", record(19))]
    assert one(read(tmp_path, silent), "tls_refused")["by"] == "server"
    phone = [turns[0], ("phone", record(19))]
    assert one(read(tmp_path, phone), "tls_refused")["by"] == "phone"


def test_http_on_a_tls_port_and_the_other_way_round(tmp_path: Path, handshake: Contexts) -> None:
    hello = handshake(OLD)[0][1]
    found = read(tmp_path, [("phone", hello), ("server", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")])
    assert one(found, "hello") and not of(found, "server_hello")
    found = read(tmp_path, [("phone", b"GET / HTTP/1.1\r\n\r\n"), ("server", b"\x15\x03\x01\x00\x02\x02\x46")])
    assert one(found, "request")["path"] == "/"


@pytest.mark.parametrize("cut", [0, 1, 5])
def test_bytes_that_the_capture_has_lost_are_no_refusal(tmp_path: Path, handshake: Contexts, cut: int) -> None:
    tape = Tape()
    Talk(tape, size=600).open().flow(handshake(OLD, request=b"GET /", answer=b"a" * 9000)).close()
    full = [place for place, (_, frame) in enumerate(tape.frames) if len(frame) > 600]
    del tape.frames[full[cut]]
    found = facts(tmp_path, tape)
    assert one(found, "dropped")["frames"] == "1"
    assert not of(found, "stalled") and not of(found, "alert") and not of(found, "tls_refused")


# --- certificates ----------------------------------------------------------------------------------


def certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, subject: list[x509.NameAttribute]
) -> x509.Certificate:
    name = x509.Name(subject)
    now = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    return (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(7).not_valid_before(now).not_valid_after(now + timedelta(days=9000))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example"), x509.DNSName("b.example")]), False)
        .sign(key, hashes.SHA384())
    )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (lambda: rsa.generate_private_key(65537, 1024), "RSA 1024"),
        (lambda: ec.generate_private_key(ec.SECP256R1()), "EC P-256"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), "EC P-384"),
    ],
)
def test_a_certificate_is_read_as_its_makers_library_reads_it(key: Callable[[], Key], words: str) -> None:
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Polycom Inc."),
        x509.NameAttribute(NameOID.COMMON_NAME, "0004F2AABBCC é"),
    ]
    made = certificate(key(), subject)
    found = der.read(made.public_bytes(serialization.Encoding.DER))
    assert found.key == words and found.signature == "sha384"
    assert found.subject == found.issuer == "O=Polycom Inc., CN=0004F2AABBCC é"
    assert found.not_before == made.not_valid_before_utc.timestamp()
    assert found.not_after == made.not_valid_after_utc.timestamp()
    assert found.names == ("a.example", "b.example")


def shipped() -> Iterator[bytes]:
    for path in sorted((Path(__file__).parents[2] / "certs").rglob("*.pem")):
        with warnings.catch_warnings(action="ignore"):  # one of them has the serial number 0
            found = x509.load_pem_x509_certificates(path.read_bytes())
        yield from (one_ca.public_bytes(serialization.Encoding.DER) for one_ca in found)


def test_every_factory_ca_can_be_read() -> None:
    ders = list(shipped())
    assert len(ders) > 10
    with warnings.catch_warnings(action="ignore"):
        for each in ders:
            assert der.read(each).not_after == x509.load_der_x509_certificate(each).not_valid_after_utc.timestamp()


@given(st.data())
def test_no_change_of_a_certificate_breaks_the_reader(data: st.DataObject) -> None:
    whole = bytearray(next(shipped()))
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NotDer):
        der.read(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
