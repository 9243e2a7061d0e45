"""Yealink: what its User-Agents claim, whom its leaves name, and which file a name means."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from provisioner.model import DeviceFile, FileKind, Mac, PeerCert
from provisioner.rendering import Templates
from provisioner.shipped import shipped
from provisioner.vendors.yealink import Yealink
from provisioner.vendors.yealink.agents import claim, tokens

DRIVER = Yealink(Templates([shipped("templates") / "yealink"]))
MODELS = DRIVER.manifest.models
MAC = Mac("805ec0aabbcc")

# --- User-Agents -----------------------------------------------------------------------------------

AGENTS = [
    ("Yealink SIP-T46G 28.72.0.1 00:15:65:4a:a9:37", "T46G", "28.72.0.1", "0015654aa937"),
    ("Yealink SIP-T19P_E2 53.80.0.3 00:15:65:4c:4c:26", "T19P E2", "53.80.0.3", "0015654c4c26"),
    ("Yealink SIP-T31G 124.85.257.55 80:5e:c0:d5:7d:72", "T31G", "124.85.257.55", "805ec0d57d72"),
    ("Yealink SIP-T77U 185.87.0.10 44:db:d2:bd:b5:69", "T77U", "185.87.0.10", "44dbd2bdb569"),
    ("Yealink SIP-T85W 185.87.0.10 44:db:d2:67:58:4b", "T85W", "185.87.0.10", "44dbd267584b"),
    ("Yealink SIP-CP920 78.85.0.5 00:15:65:5e:16:7c", "CP920", "78.85.0.5", "0015655e167c"),
    ("Yealink CP860 37.72.0.5 00:15:65:8a:37:86", "CP860", "37.72.0.5", "0015658a3786"),
    ("Yealink SIP VP-T49G 51.80.0.10 00:15:65:9b:5a:44", "T49G", "51.80.0.10", "0015659b5a44"),
    ("Yealink W60B 77.81.0.35 80:5e:c0:09:ab:dc", "W60B", "77.81.0.35", "805ec009abdc"),
    ("Yealink W80B 103.87.0.10 24:9a:d8:d1:a6:31", "W80B", "103.87.0.10", "249ad8d1a631"),
    ("Yealink W90DM 130.87.0.10 80:5e:c0:d9:c7:44", "W90DM", "130.87.0.10", "805ec0d9c744"),
    ("Yealink W75B 175.87.0.10 24:9a:d8:df:fb:11", "W75B", "175.87.0.10", "249ad8dffb11"),
    ("W52P 25.30.0.2 00:15:65:44:b3:7c", "W52P", "25.30.0.2", "00156544b37c"),
    ("VP530P 23.70.0.40 00:15:65:31:4b:c0", "VP530", "23.70.0.40", "001565314bc0"),
    ("Yealink-T46G 28.71.0.81 28.1.0.128.0.0.0", "T46G", "28.71.0.81", None),
    ("yealink SIP-T28P 2.70.0.140 00:15:65:13:ae:0b", "T28P", "2.70.0.140", "00156513ae0b"),
    ("Yealink SIP-T38G  38.70.0.125 00:15:65:00:00:00", "T38G", "38.70.0.125", "001565000000"),
    ("Yealink SIP-T56A  58.80.0.25 001565f429a4", "T56A", "58.80.0.25", "001565f429a4"),
    ("Yealink SIP-T46U 108.86.0.20", "T46U", "108.86.0.20", None),
    ("Yealink SIP-T999 1.2.3.4 00:15:65:4a:a9:37", "", "1.2.3.4", "0015654aa937"),
]
KNOWN = tokens(MODELS)


@pytest.mark.parametrize(("text", "model", "firmware", "mac"), AGENTS)
def test_user_agents_name_model_firmware_and_mac(text: str, model: str, firmware: str, mac: str | None) -> None:
    assert claim(text, KNOWN) == (model, firmware, mac, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "FileTransport PolycomVVX-VVX_411-UA/6.4.7.4560 (SN:0004f2aabbcc) Type/Application",
        "Mozilla/5.0 (X11; Linux x86_64)",
        "curl/8.0",
        "Fanvil X5U 2.4.10 0c383e123456",
        "Yealink",
        "W52P",
        "Yealink SIP-T46G 28.72.0.1 00:15:65:4a:a9:37 and more",
        "Yealink SIP-T46G " + "1." * 400,
    ],
)
def test_other_user_agents_claim_nothing(text: str) -> None:
    assert claim(text, KNOWN) == ("", "", None, False)


@given(st.text(max_size=200))
def test_no_user_agent_breaks_the_parser(text: str) -> None:
    found = claim(text, KNOWN)
    assert found.model in {"", *MODELS}
    DRIVER.match(f"{MAC}.cfg", text)


# --- leaves ----------------------------------------------------------------------------------------


def leaf(*common_names: str) -> PeerCert:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in common_names])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return PeerCert(made.public_bytes(serialization.Encoding.DER))


@pytest.mark.parametrize(
    "text", ["805EC0AABBCC", "805ec0aabbcc", "80:5E:C0:aa:bb:cc", "80-5e-c0-AA-BB-CC", "805e.c0aa.bbcc"]
)
def test_a_mac_in_any_spelling_makes_the_leaf_unique(text: str) -> None:
    assert DRIVER.identify(leaf(text)).mac == MAC


@pytest.mark.parametrize(
    "text", ["Yealink", "0004F2AABBCC", "000000000000", "805EC0AABBC", "805EC0AABBCC.example", "SIP 805ec0aabbcc"]
)
def test_anything_else_is_the_generic_certificate(text: str) -> None:
    found = DRIVER.identify(leaf(text))
    assert found.mac is None
    assert found.note


def test_two_common_names_are_no_identity() -> None:
    assert DRIVER.identify(leaf("805EC0AABBCC", "805EC0AABBCD")).mac is None


# --- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind", "upload", "secret"),
    [
        (f"{MAC}.boot", FileKind.BOOT, False, True),
        (f"{MAC.upper()}.CFG", FileKind.DEVICE, False, True),
        (f"{MAC}-local.cfg", FileKind.OVERRIDES, True, True),
        (f"{MAC}-all.cfg", FileKind.OVERRIDES, True, True),
        (f"{MAC}-contact.xml", FileKind.DIRECTORY, True, True),
        (f"{MAC}-calllog.xml", FileKind.CALLS, True, True),
        (f"{MAC}-boot.log", FileKind.LOG, True, True),
        (f"{MAC}-sys.log", FileKind.LOG, True, True),
        ("y000000000000.boot", FileKind.BOOT, False, False),
        ("yealink.cfg", FileKind.COMMON, False, False),
        ("y000000000108.cfg", FileKind.COMMON, False, False),
        ("yealink-ca.pem", FileKind.RESOURCE, False, False),
        ("108.86.0.118.rom", FileKind.FIRMWARE, False, False),
        ("firmware/T46U-108.86.0.118.rom", FileKind.FIRMWARE, False, False),
    ],
)
def test_names(path: str, kind: FileKind, upload: bool, secret: bool) -> None:
    file = DRIVER.match(path, "")
    assert file is not None
    assert (file.kind, file.upload, file.secret) == (kind, upload, secret)
    assert (file.mac == MAC) is (MAC in path.lower())


@pytest.mark.parametrize(
    "path",
    [
        f"{MAC}_Security.enc",
        f"{MAC}.enc",
        "y000000000108.enc",
        "y000000000108_Security.enc",
        "y000000000108.boot",
        "y108.cfg",
        "000000000000.cfg",
        f"{MAC}-phone.cfg",
        f"{MAC}.cfg/x",
        f"x/{MAC}.cfg",
        f"{MAC}.cfg\n",
        "../x.rom",
        ".rom",
        f"{MAC[:11]}١.cfg",
    ],
)
def test_names_of_nobody(path: str) -> None:
    assert DRIVER.match(path, "Yealink SIP-T46G 28.72.0.1 00:15:65:4a:a9:37") is None


@given(st.text(max_size=60))
def test_no_path_breaks_match(path: str) -> None:
    file = DRIVER.match(path, "")
    assert file is None or isinstance(file, DeviceFile)


def test_resync_event() -> None:
    assert DRIVER.resync_event(MODELS["T46U"], True) == "check-sync;reboot=true"
    assert DRIVER.resync_event(MODELS["T46U"], False) == "check-sync;reboot=false"
