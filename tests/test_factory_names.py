"""What each maker's rule reads in a subject, and that no other text becomes a Mac."""

from __future__ import annotations

import time
import warnings
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from provisioner.certificates import Anchors, fingerprint, read
from provisioner.factory_names import RULES
from provisioner.identity import Identifier
from provisioner.model import FactoryName, ListenerKind, PeerCert, Verdict
from provisioner.pki import Factory, make_factory

NOW = time.time()
DAY = timedelta(days=1)
TODAY = datetime.now(UTC)


@pytest.fixture(scope="session")
def poly(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    return make_factory("poly", tmp_path_factory.mktemp("poly"))


def named(vendor: str, *names: tuple[x509.ObjectIdentifier, str]) -> FactoryName:
    """What the built-in rule of a vendor reads in a subject."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in names])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(TODAY - DAY).not_valid_after(TODAY + DAY)
    return RULES[vendor](read(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)))


CN, O, ST, L, OU = (  # noqa: E741  # the names X.509 has for them
    NameOID.COMMON_NAME,
    NameOID.ORGANIZATION_NAME,
    NameOID.STATE_OR_PROVINCE_NAME,
    NameOID.LOCALITY_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
)
GS = (O, "Grandstream Networks, Inc.")
SPA = "SPA-525G2, MAC: 708105B37234, Serial: CBT153908BX"

NAMES = [
    ("grandstream", [(CN, "000B82123456"), GS], "000b82123456"),
    ("grandstream", [(CN, "000B82123456"), (O, "Somebody")], None),
    ("grandstream", [(CN, "HT500 ATA"), GS], None),
    ("snom", [(CN, "000413abcdef")], "000413abcdef"),
    ("snom", [(CN, "000413ABCDEF snom")], None),
    ("snom", [(CN, "00:04:13:ab:cd:ef")], None),
    ("snom", [(CN, "000413abcdef"), (CN, "000413abcde0")], None),
    ("snom", [(O, "snom technology AG")], None),
    ("yealink", [(CN, "80:5E:C0:12:34:56")], "805ec0123456"),
    ("yealink", [(CN, "805ec0-123456")], "805ec0123456"),
    ("yealink", [(CN, "Yealink Generic")], None),
    ("yealink", [(CN, "000000000000")], None),
    ("poly", [(CN, "0004F28B54F4"), (O, "Polycom Inc.")], "0004f28b54f4"),
    ("cisco", [(ST, "708105B37234"), (L, "CBT153908BX"), (OU, "SPA-962")], "708105b37234"),
    ("cisco", [(ST, "708105B37234"), (L, "CBT153908BX"), (CN, SPA)], "708105b37234"),
    ("cisco", [(CN, SPA)], "708105b37234"),
    ("cisco", [(CN, "CP-7962G-SEP0023EB123456")], "0023eb123456"),
    ("cisco", [(OU, "cisco.com"), (L, "ciscogeneric"), (ST, "ciscogeneric")], None),
    ("cisco", [(L, "ciscogeneric"), (CN, SPA)], None),
    ("cisco", [(ST, "708105B37235"), (CN, SPA)], None),
    ("cisco", [(CN, "X, MAC: 708105B37234, MAC: 708105B37235")], None),
    ("cisco", [(CN, "MAC: 708105B37234AA")], None),
]


@pytest.mark.parametrize(("vendor", "names", "mac"), NAMES, ids=lambda value: str(value)[:60])
def test_built_in_rule(vendor: str, names: list[tuple[x509.ObjectIdentifier, str]], mac: str | None) -> None:
    found = named(vendor, *names)
    assert found.mac == mac
    assert bool(found.note) is (mac is None)


def test_cisco_serial() -> None:
    assert named("cisco", (CN, SPA)).serial == "CBT153908BX"
    assert named("cisco", (ST, "708105B37234"), (L, "CBT153908BX")).serial == "CBT153908BX"


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60) | st.from_regex(
    r"[0-9A-Fa-f:. -]{10,20}", fullmatch=True
)


@settings(max_examples=examples(100), deadline=None)
@example(cn="00001::::.", org="Grandstream")
@given(cn=TEXT, org=TEXT | st.just("Grandstream"))
@pytest.mark.parametrize("vendor", ["poly", "grandstream", "cisco", "snom", "yealink"])
def test_weird_subjects_are_never_a_mac_by_luck(poly: Factory, vendor: str, cn: str, org: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    with warnings.catch_warnings(action="ignore"):  # too long for X.520, which is the point
        subject = x509.Name([x509.NameAttribute(oid, text, _validate=False) for oid, text in ((CN, cn), (O, org))])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(poly.root.certificate.subject)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(TODAY - DAY).not_valid_after(TODAY + DAY)
    leaf = builder.sign(poly.root.key, hashes.SHA256()).public_bytes(Encoding.DER)
    root = poly.root.certificate.public_bytes(Encoding.DER)
    identifier = Identifier(Anchors({fingerprint(root): (vendor, "root")}, (root,)), {}, 9)
    identity = identifier.judge(PeerCert(leaf, (leaf, root)), ListenerKind.DEVICE, NOW)
    assert identity.subject.isprintable()
    if identity.verdict is Verdict.UNIQUE:
        digits = cn.lower().translate(str.maketrans("", "", ":-. "))
        assert identity.mac is not None
        assert identity.mac in digits
    else:
        assert identity.verdict in {Verdict.GENERIC, Verdict.UNTRUSTED}
