"""The CAs that ship: each is the catalogued one, they verify among themselves, and the shared sample leaf is nobody."""

from __future__ import annotations

import subprocess
import time
import tomllib
from pathlib import Path

import pytest

from provisioner import trust
from provisioner.certificates import chain_to, read, to_der
from provisioner.identity import Identifier
from provisioner.model import ListenerKind, PeerCert, Verdict
from provisioner.shipped import shipped

CERTS = shipped("certs")
CATALOGUE = tomllib.loads((CERTS / "catalogue.toml").read_text("utf-8"))
FILES = [row for row in CATALOGUE["ca"] if "file" in row]
ISSUING = [row for row in FILES if row["role"] == "issuing"]

HT500 = """-----BEGIN CERTIFICATE-----
MIIDtjCCAx+gAwIBAgIBIzANBgkqhkiG9w0BAQQFADCBoDELMAkGA1UEBhMCVVMx
EzARBgNVBAgTCkNhbGlmb3JuaWExFDASBgNVBAcTC0xvcyBBbmdlbGVzMSMwIQYD
VQQKExpHcmFuZHN0cmVhbSBOZXR3b3JrcywgSW5jLjEPMA0GA1UECxMGTEEgRElW
MQwwCgYDVQQDEwNWUE4xIjAgBgkqhkiG9w0BCQEWE3h4dUBncmFuZHN0cmVhbS5j
b20wHhcNMDYwNzIwMTgxMzM2WhcNMTYwNzE3MTgxMzM2WjBxMQswCQYDVQQGEwJV
UzETMBEGA1UECBMKQ2FsaWZvcm5pYTEUMBIGA1UEBxMLTG9zIEFuZ2VsZXMxIzAh
BgNVBAoTGkdyYW5kc3RyZWFtIE5ldHdvcmtzLCBJbmMuMRIwEAYDVQQDEwlIVDUw
MCBBVEEwgZ8wDQYJKoZIhvcNAQEBBQADgY0AMIGJAoGBAMvs0BlYm8xfslKkss5C
q1ukSP4H5lOwd1IuYP/1xYdy7gV4KCaWY7PJ/Ads/mdBaa1sUqUUaH1VN+YcSRSz
bWEWBUham+7w69AziC5bkNPrMUvHZBC6fiDKc81XufC9A+o8jJV5wcsTGwmyojA0
r3AbOk8N1h0xPCth8wlrDbvZAgMBAAGjggEsMIIBKDAJBgNVHRMEAjAAMCwGCWCG
SAGG+EIBDQQfFh1PcGVuU1NMIEdlbmVyYXRlZCBDZXJ0aWZpY2F0ZTAdBgNVHQ4E
FgQUQ8XoT46ZOHIfExi2CwJq1SDxFIQwgc0GA1UdIwSBxTCBwoAU6pMpD0c2KUYT
1KZB8SSCag1xJK6hgaakgaMwgaAxCzAJBgNVBAYTAlVTMRMwEQYDVQQIEwpDYWxp
Zm9ybmlhMRQwEgYDVQQHEwtMb3MgQW5nZWxlczEjMCEGA1UEChMaR3JhbmRzdHJl
YW0gTmV0d29ya3MsIEluYy4xDzANBgNVBAsTBkxBIERJVjEMMAoGA1UEAxMDVlBO
MSIwIAYJKoZIhvcNAQkBFhN4eHVAZ3JhbmRzdHJlYW0uY29tggEAMA0GCSqGSIb3
DQEBBAUAA4GBADtmPcbAF0V2G/w7ys28glGW9UoM2h3DyA3Mc0I8nzi9bbWnRVg7
G+c2tS84LNtZKFckX3ZbVpEPLJI3fInyQgwua/Wlj3aPy+M9MxE2irHZjletaMWo
cLUrrkxZEB6lXwWjCFLdxK/XX31xTsC6zJdN1TQa8ZplRK6DFEJ/vlsX
-----END CERTIFICATE-----
"""
"""Grandstream's shared SIP-TLS certificate, as it stands in public provisioning templates."""


def der(row: dict[str, str]) -> bytes:
    return to_der((CERTS / row["file"]).read_bytes())[0]


def test_every_file_is_catalogued_and_the_other_way_round() -> None:
    assert {path.name for path in CERTS.glob("*.pem")} == {row["file"] for row in FILES}
    assert {row["vendor"] for row in FILES} == {"poly", "grandstream", "cisco"}
    assert [row["subject"].partition("CN=")[2][:22] for row in CATALOGUE["ca"] if "file" not in row] == [
        "Snom Technology AG CA,",
        "snom technology AG SHA",
    ]


def test_no_private_key_ships() -> None:
    assert [path.name for path in CERTS.iterdir() if b"PRIVATE" in path.read_bytes()] == []


@pytest.mark.parametrize("row", FILES, ids=lambda row: row["file"])
def test_openssl_reads_the_catalogued_facts(row: dict[str, str]) -> None:
    command = ["openssl", "x509", "-in", str(CERTS / row["file"]), "-noout", "-fingerprint", "-sha256", "-enddate"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    assert told.splitlines()[0].partition("=")[2].replace(":", "").lower() == row["sha256"]
    assert told.splitlines()[1].rstrip().endswith(f"{row['not_after'][:4]} GMT")


@pytest.mark.parametrize("row", FILES, ids=lambda row: row["file"])
def test_roots_sign_themselves_and_issuing_cas_hang_under_a_root_of_their_vendor(row: dict[str, str]) -> None:
    roots = {der(one): one["vendor"] for one in FILES if one["role"] == "root"}
    if row["role"] == "root":
        assert chain_to([der(row)], der(row), self_signed=True) == (der(row),)
    else:
        chain = chain_to([der(one) for one in FILES if one is not row], der(row))
        assert roots[chain[-1]] == row["vendor"]


@pytest.mark.parametrize("row", ISSUING, ids=lambda row: row["file"])
def test_debians_openssl_verifies_the_issuing_cas_too(tmp_path: Path, row: dict[str, str]) -> None:
    (tmp_path / "all.pem").write_bytes(trust.load(tmp_path).pem_bundle)
    command = ["openssl", "verify", "-auth_level", "0", "-CAfile", str(tmp_path / "all.pem"), str(CERTS / row["file"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 0, done.stderr


def test_weakness_is_noted_where_there_is_any() -> None:
    for row in FILES:
        facts = read(der(row))
        if facts.hash in {"md5", "sha1"} or (facts.key == "RSA" and facts.bits < 2048):
            assert row.get("notes"), row["file"]


@pytest.mark.parametrize("listener", [ListenerKind.DEVICE, ListenerKind.LEGACY])
@pytest.mark.parametrize("resumed", [False, True])
def test_shared_grandstream_leaf_is_never_unique(tmp_path: Path, listener: ListenerKind, resumed: bool) -> None:
    """Not by its own issuer, and not if somebody managed to hang it under the real old root."""
    known = trust.load(tmp_path)
    identifier = Identifier(known.anchors, {}, 9)
    leaf = to_der(HT500.encode())[0]
    assert "CN=HT500 ATA" in read(leaf).subject
    old_root = next(ca.der for ca in known.cas if ca.file == "grandstream_legacy_vpn_ca_1024_md5.pem")
    for now in (time.time(), 1_400_000_000.0):  # now, and when it was valid
        peer = PeerCert(leaf, () if resumed else (leaf, old_root), resumed=resumed)
        assert identifier.judge(peer, listener, now).verdict is Verdict.UNTRUSTED
    bare = Identifier(trust.Trust(known.cas, {}).anchors, {}, 9)
    identity = bare.judge(PeerCert(leaf, (leaf, old_root)), listener, 1_400_000_000.0)
    assert identity.verdict is Verdict.WEAK
    assert identity.mac is None
