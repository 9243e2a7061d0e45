"""The server's own certificates with a client that checks them, and the pretended factories."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from provisioner.certificates import read, to_der
from provisioner.errors import Invalid, Unusable
from provisioner.pki import (
    ServerFiles,
    make_factory,
    make_server,
    require_server_certificates,
    server_certificates_state,
)

NAME = "prov.example.net"
NOW = time.time()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> ServerFiles:
    return make_server(tmp_path_factory.mktemp("tls"), NAME)


def test_files_and_their_modes(files: ServerFiles) -> None:
    assert [path.name for path in files.certificates] == ["server-rsa.pem", "server-ec.pem"]
    assert [path.stat().st_mode & 0o777 for path in (*files.certificates, files.ca_key)] == [0o600] * 3
    assert b"PRIVATE" not in files.ca.read_bytes()
    assert read(to_der(files.ca.read_bytes())[0]).subject == f"CN={NAME} provisioning CA"
    assert [(one.key, one.problem, one.hint) for one in server_certificates_state(files.certificates, NAME, NOW)] == [
        ("RSA 2048", "", ""),
        ("EC 256", "", ""),
    ]
    require_server_certificates(files.certificates, NAME, NOW)


@pytest.mark.parametrize("called", [NAME, "localhost", "127.0.0.1", "::1"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_checking_client_accepts_each_name(files: ServerFiles, called: str, which: int) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificates[which])
    client = ssl.create_default_context(cafile=str(files.ca))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()
    accepted = threading.Thread(target=lambda: server.wrap_socket(ours, server_side=True).close())
    accepted.start()
    with client.wrap_socket(theirs, server_hostname=called) as phone:
        assert phone.getpeercert()
    accepted.join(10)


def test_debians_openssl_verifies_the_chain(files: ServerFiles) -> None:
    for path in files.certificates:
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", NAME]
        done = subprocess.run([*command, "-CAfile", str(files.ca), str(path)], capture_output=True, timeout=10)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["10.1.2.3", "fd00::1", "prov"])
def test_server_may_be_named_by_its_address(tmp_path: Path, name: str) -> None:
    made = make_server(tmp_path / "tls", name)
    assert [one.hint for one in server_certificates_state(made.certificates, name, NOW)] == ["", ""]


@pytest.mark.parametrize("name", ["", "two words", "a\nb", "bücher.example", "x" * 300])
def test_impossible_server_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match=r"server\.name"):
        make_server(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_state_tells_each_trouble_and_what_to_do(tmp_path: Path, files: ServerFiles) -> None:
    rsa, ec = files.certificates
    crossed = tmp_path / "crossed.pem"
    crossed.write_bytes(_key_of(rsa) + _certificates_of(ec))
    open_to_all = tmp_path / "open.pem"
    open_to_all.write_bytes(rsa.read_bytes())
    open_to_all.chmod(0o644)
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    paths = [tmp_path / "missing.pem", empty, crossed, open_to_all]
    found = server_certificates_state(paths, "other.example.net", NOW)
    assert [bool(one.problem) for one in found] == [True, True, True, False]
    assert "provisioner certs renew-server" in found[0].problem
    assert "does not belong" in found[2].problem
    assert "chmod 600" in found[3].hint
    assert "other.example.net" in found[3].hint
    with pytest.raises(Unusable, match=r"missing\.pem"):
        require_server_certificates(paths, NAME, NOW)
    with pytest.raises(Unusable, match="no server certificate"):
        require_server_certificates([], NAME, NOW)


def _key_of(path: Path) -> bytes:
    return path.read_bytes().partition(b"-----BEGIN CERTIFICATE")[0]


def _certificates_of(path: Path) -> bytes:
    return b"-----BEGIN CERTIFICATE" + path.read_bytes().partition(b"-----BEGIN CERTIFICATE")[2]


@pytest.mark.parametrize("years", [-1, 6])
def test_expired_or_early_server_certificate_stops_the_start(files: ServerFiles, years: int) -> None:
    with pytest.raises(Unusable, match="not now; check the clock"):
        require_server_certificates(files.certificates, NAME, NOW + years * 365 * 86_400)


def test_key_is_never_readable_by_others_not_even_at_first(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = make_server(tmp_path / "tls", NAME)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o077 for path in (*made.certificates, made.ca_key)] == [0, 0, 0]


# --- factories --------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", ["poly", "yealink", "grandstream"])
def test_factory_is_named_as_no_factory_and_made_once(tmp_path: Path, vendor: str) -> None:
    factory = make_factory(vendor, tmp_path)
    for der in to_der(factory.cas_pem.read_bytes()):
        subject = read(der).subject
        assert subject.startswith("CN=Demo ")
        assert subject.endswith("not for production")
    assert make_factory(vendor, tmp_path).issuing.certificate == factory.issuing.certificate
    assert [path.stat().st_mode & 0o777 for path in tmp_path.glob("*-key.pem")] == [0o600] * 3


def test_leaf_hangs_under_its_root_for_debians_openssl(tmp_path: Path) -> None:
    factory = make_factory("poly", tmp_path)
    leaf, key, chain = factory.leaf("0004f28b54f4")
    (tmp_path / "leaf.pem").write_bytes(leaf)
    (tmp_path / "chain.pem").write_bytes(chain)
    assert b"PRIVATE KEY" in key
    assert len(to_der(chain)) == 2
    command = ["openssl", "verify", "-purpose", "sslclient", "-CAfile", str(factory.root_pem)]
    command += ["-untrusted", str(tmp_path / "chain.pem"), str(tmp_path / "leaf.pem")]
    done = subprocess.run(command, capture_output=True, timeout=10)
    assert done.returncode == 0, done.stderr
    facts = read(to_der(leaf)[0])
    assert facts.subject == "CN=0004F28B54F4, O=Polycom Inc."
    assert (facts.key, facts.bits, facts.hash) == ("RSA", 2048, "sha256")


@pytest.mark.parametrize("algorithm", ["sha1", "md5"])
def test_old_signatures_are_right_signatures(tmp_path: Path, algorithm: str) -> None:
    """Otherwise a test of weak certificates would only see a broken one refused."""
    factory = make_factory("poly", tmp_path)
    leaf, _, chain = factory.leaf("0004f28b54f4", algorithm=algorithm, bits=1024)
    assert read(to_der(leaf)[0]).hash == algorithm
    (tmp_path / "leaf.pem").write_bytes(leaf)
    (tmp_path / "cas.pem").write_bytes(chain + factory.root.certificate.public_bytes(Encoding.PEM))
    command = [
        "openssl",
        "verify",
        "-auth_level",
        "0",
        "-CAfile",
        str(tmp_path / "cas.pem"),
        str(tmp_path / "leaf.pem"),
    ]
    done = subprocess.run(command, capture_output=True, timeout=10)
    assert done.returncode == 0, done.stderr


def test_leaf_as_asked(tmp_path: Path) -> None:
    factory = make_factory("cisco", tmp_path)
    begin, end = datetime(2010, 1, 1, tzinfo=UTC), datetime(2012, 1, 1, tzinfo=UTC)
    unique = read(to_der(factory.leaf("708105b37234", not_before=begin, not_after=end)[0])[0])
    assert "MAC: 708105B37234" in unique.subject
    assert (unique.not_before, unique.not_after) == (begin.timestamp(), end.timestamp())
    generic = read(to_der(factory.leaf("708105b37234", generic=True)[0])[0])
    assert "ciscogeneric" in generic.subject
    assert read(to_der(factory.leaf("708105b37234", common_name="x")[0])[0]).common_name == "x"
