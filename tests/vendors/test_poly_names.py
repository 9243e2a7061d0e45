"""What Poly devices are called: models, files, User-Agents, leaves."""

from __future__ import annotations

import datetime
import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from poly_phone import MAC, MODELS, POLY, VVX

from provisioner import neutral
from provisioner.model import FileKind, Mac, PeerCert

# --- models ------------------------------------------------------------------------------------


def test_every_named_model_is_there_with_its_dialect_and_floor() -> None:
    ucs = [one for one in MODELS.values() if one.dialect != "obi"]
    assert len(ucs) >= 45
    assert {one.name for one in MODELS.values()} - {one.name for one in ucs} == {
        "OBi200", "OBi202", "OBi300", "OBi302", "OBi504", "ATA 400", "ATA 402", "VVX D230",
    }  # fmt: skip
    assert MODELS["VVX 1500"].lines == 6
    assert MODELS["VVX 101"].min_firmware == "5.9.4.3247"
    assert MODELS["SoundPoint IP 331"].min_firmware == "4.0.15.1047"
    assert all(one.ports == one.lines for one in MODELS.values() if one.dialect == "obi" and not one.dect)


def test_every_model_is_told_apart_by_its_user_agent() -> None:
    tokens = [token for one in MODELS.values() for token in one.agents]
    assert len(set(tokens)) == len(tokens) == len(MODELS)


def test_part_numbers_have_the_makers_form_and_belong_to_one_model() -> None:
    numbers = [one.part_number for one in MODELS.values() if one.part_number]
    assert len(numbers) == len(set(numbers)) >= 33
    assert all(re.fullmatch(r"[0-9]{4}-[0-9]{5}-[0-9]{3}", one) for one in numbers)
    assert MODELS["SoundPoint IP 650"].part_number == "2345-12600-001"


def test_refused_settings_exist_and_say_why() -> None:
    for model in MODELS.values():
        for name, why in model.refuses.items():
            assert name.removeprefix("line.") in neutral.SETTINGS
            assert len(why) > 15


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind", "mac", "upload", "secret"),
    [
        ("0004f2aabbcc.cfg", FileKind.MASTER, MAC, False, False),
        ("0004F2AABBCC.cfg", FileKind.MASTER, MAC, False, False),
        ("000000000000.cfg", FileKind.MASTER, None, False, False),
        ("0004f2aabbcc-user.cfg", FileKind.DEVICE, MAC, False, True),
        ("0004f2aabbcc-phone.cfg", FileKind.OVERRIDES, MAC, True, True),
        ("0004f2aabbcc-web.cfg", FileKind.OVERRIDES, MAC, True, True),
        ("0004f2aabbcc-license.cfg", FileKind.LICENSE, MAC, False, True),
        ("000000000000-license.cfg", FileKind.LICENSE, None, False, False),
        ("0004f2aabbcc-directory.xml", FileKind.DIRECTORY, MAC, True, True),
        ("000000000000-directory.xml", FileKind.DIRECTORY, None, False, False),
        ("0004f2aabbcc-calls.xml", FileKind.CALLS, MAC, True, True),
        ("0004f2aabbcc-app.log", FileKind.LOG, MAC, True, True),
        ("0004f2aabbcc-boot.log", FileKind.LOG, MAC, True, True),
        ("0004f2aabbcc-core.tar.gz", FileKind.LOG, MAC, True, True),
        ("9CADEF100001.xml", FileKind.DEVICE, Mac("9cadef100001"), False, True),
        ("OBi302.xml", FileKind.BOOT, None, False, False),
        ("poly.cfg", FileKind.COMMON, None, False, False),
        ("sip.ld", FileKind.FIRMWARE, None, False, False),
        ("sip.ver", FileKind.FIRMWARE, None, False, False),
        ("2345-12600-001.sip.ld", FileKind.FIRMWARE, None, False, False),
        ("3111-17823-001.dect.ld", FileKind.FIRMWARE, None, False, False),
        ("OBi302-3.2.2.fw", FileKind.FIRMWARE, None, False, False),
        ("languages/Website_dictionary_language_de-de.xml", FileKind.RESOURCE, None, False, False),
        ("SoundPointIPLocalization/German_Germany/SoundPointIP-dictionary.xml", FileKind.RESOURCE, None, False, False),
    ],
)
def test_names_are_understood(path: str, kind: FileKind, mac: Mac | None, upload: bool, secret: bool) -> None:
    file = POLY.match(path, VVX)
    assert file is not None
    assert (file.kind, file.mac, file.upload, file.secret) == (kind, mac, upload, secret)


@pytest.mark.parametrize(
    "path",
    [
        "", "x.cfg", "0004f2aabbcc", "0004f2aabbcc.boot", "y000000000028.cfg", "000000000000-user.cfg",
        "000000000000.xml", "000000000000-app.log", "a/0004f2aabbcc.cfg", "a/b/sip.ld", "../sip.ld",
        "0004f2aabbcc.cfg\n", "0004f2aabbcc-core.tar.gz/x", "cfg0004f2aabbcc.xml", "sip.ld.exe", "\u017fip.ld",
    ],
)  # fmt: skip
def test_other_names_are_not_ours(path: str) -> None:
    assert POLY.match(path, VVX) is None


def test_a_release_folder_becomes_the_first_part_of_the_image_name() -> None:
    found = POLY.match("5.9.6.2327/3111-48840-001.sip.ld", VVX)
    assert found is not None
    assert found.name == "5.9.6.2327_3111-48840-001.sip.ld"


@pytest.mark.parametrize(
    ("agent", "model", "firmware", "mac", "updater"),
    [
        ("FileTransport PolycomSoundPointIP-SPIP_335-UA/3.2.1.0078", "SoundPoint IP 335", "3.2.1.0078", None, False),
        (
            "FileTransport PolycomSoundPointIP-SPIP_550-UA/4.0.15.1047 (SN:0004a11a1a1a) Type/Application",
            "SoundPoint IP 550", "4.0.15.1047", "0004a11a1a1a", False,
        ),
        (
            "FileTransport PolycomSoundStationIP-SSIP_6000-UA/5.0.3.1667 Type/Updater",
            "SoundStation IP 6000", "5.0.3.1667", None, True,
        ),
        ("FileTransport PolyEdge-Edge_E450-UA/8.0.0.15602 Type/Application", "Edge E450", "8.0.0.15602", None, False),
        (
            "FileTransport PolyCCX-CCX_500-UA/9.4.1.0508 (SN:64167f9f4c90) Type/Application",
            "CCX 500", "9.4.1.0508", "64167f9f4c90", False,
        ),
        ("FileTransport PolycomVVX-VVX_999-UA/9.9 Type/Application", "", "9.9", None, False),
        ("Microbrowser/1.1 PolycomVVX-VVX_450-UA/5.9.5.0614 Type/Application", "VVX 450", "5.9.5.0614", None, False),
        ("OBi302", "OBi302", "", None, False),
        ("VVXD230", "VVX D230", "", None, False),
        ("OBi504/3.2.2.5921 9CADEF100001", "OBi504", "3.2.2.5921", "9cadef100001", False),
        ("Yealink SIP-T46S 66.86.0.15 80:5e:c0:00:00:01", "", "", None, False),
        ("curl/8", "", "", None, False),
        ("", "", "", None, False),
    ],
)  # fmt: skip
def test_user_agents_are_read(agent: str, model: str, firmware: str, mac: str | None, updater: bool) -> None:
    file = POLY.match("000000000000.cfg", agent)
    assert file is not None
    assert file.agent == (model, firmware, mac, updater)


@given(st.text(max_size=300), st.text(max_size=400))
def test_no_path_and_no_user_agent_raises(path: str, agent: str) -> None:
    POLY.match(path, agent)
    POLY.match(f"{path}0004f2aabbcc-user.cfg", f"FileTransport PolycomVVX-VVX_450-UA/{agent}")


@given(st.from_regex(r"FileTransport Poly(com)?[A-Za-z]*-\w+-UA/[\d.]*( \(SN:[0-9A-F]{12}\))?( Type/\w+)?"))
def test_agents_of_the_form_never_raise(agent: str) -> None:
    POLY.match("000000000000.cfg", agent)


# --- leaves ------------------------------------------------------------------------------------

KEY = ec.generate_private_key(ec.SECP256R1())


def leaf(*attributes: tuple[x509.ObjectIdentifier, str]) -> PeerCert:
    subject = x509.Name([x509.NameAttribute(oid, value, _validate=False) for oid, value in attributes])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([]))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=1))
    )
    return PeerCert(builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER))


CN, O, SERIAL = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.SERIAL_NUMBER  # noqa: E741  # X.500's name


@pytest.mark.parametrize(
    ("attributes", "mac", "note"),
    [
        ([(CN, "0004F2AABBCC"), (O, "Polycom Inc.")], "0004f2aabbcc", ""),
        ([(CN, "0004f2aabbcc"), (O, "Polycom Inc.")], "0004f2aabbcc", "lower case"),
        ([(CN, "0004F2AABBCC")], "0004f2aabbcc", "O is not"),
        ([(CN, "9C:AD:EF:10:00:01")], "9cadef100001", "inferred"),
        ([(CN, "OBi302"), (SERIAL, "9CADEF100001")], None, "shared"),
        ([(CN, "Polycom Inc.")], None, "shared"),
        ([(CN, "0004F2AABBCC0")], None, "shared"),
        ([(CN, "x0004F2AABBCC")], None, "shared"),
        ([(CN, "0004F2AABBC\u0660")], None, "shared"),
        ([(CN, "0004F2AABBCC"), (CN, "0004F2AABBCD")], None, "more than one"),
        ([(CN, "000000000000")], None, "zeros"),
        ([], None, "shared"),
    ],
)
def test_the_mac_is_taken_from_the_leaf(
    attributes: list[tuple[x509.ObjectIdentifier, str]], mac: str | None, note: str
) -> None:
    found = POLY.identify(leaf(*attributes))
    assert found.mac == mac
    assert note in found.note


@pytest.mark.filterwarnings("ignore:Attribute's length")  # identity silences it around every driver
@given(st.lists(st.tuples(st.sampled_from([CN, O, SERIAL]), st.text(min_size=1, max_size=40)), max_size=4))
def test_any_subject_is_survived(attributes: list[tuple[x509.ObjectIdentifier, str]]) -> None:
    try:
        cert = leaf(*attributes)
    except (ValueError, UnicodeEncodeError):
        return  # cannot be written into a certificate at all
    found = POLY.identify(cert)
    names = [value for oid, value in attributes if oid == CN]
    assert found.mac is None or len(names) <= 1


@given(st.binary(max_size=200))
def test_any_bytes_for_a_leaf_are_survived(data: bytes) -> None:
    assert POLY.identify(PeerCert(data)).mac is None
