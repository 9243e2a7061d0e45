"""Trust as an operator changes it: additions, untrusting, forged files and ends that come near."""

from __future__ import annotations

import fcntl
import shutil
import threading
import tomllib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from provisioner import trust
from provisioner.certificates import fingerprint, read, stamp, to_der
from provisioner.errors import Conflict, Invalid, NotFound, ProvisionerError, Unusable
from provisioner.identity import Identifier
from provisioner.model import ListenerKind, PeerCert, Verdict
from provisioner.pki import Factory, Signer, make_ca, make_factory, make_server
from provisioner.shipped import shipped

NOW = datetime.now(UTC).timestamp()
DAY = 86_400


@pytest.fixture(scope="session")
def yealink(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    return make_factory("yealink", tmp_path_factory.mktemp("yealink"))


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    def write(*signers: Signer) -> Path:
        path = tmp_path / "given.pem"
        path.write_bytes(b"".join(one.certificate.public_bytes(Encoding.PEM) for one in signers))
        return path

    return write


def the(known: trust.Trust, name: str) -> trust.Ca:
    return next(ca for ca in known.cas if name in ca.subject)


def test_without_additions_the_catalogue_is_trusted(tmp_path: Path) -> None:
    known = trust.load(tmp_path)
    assert {ca.vendor for ca in known.trusted} == {"poly", "grandstream", "cisco"}
    assert {ca.state for ca in known.cas if ca.vendor == "snom"} == {"known"}
    assert sorted(to_der(known.pem_bundle)) == sorted(ca.der for ca in known.trusted)
    anchors = known.anchors
    assert {vendor for vendor, _ in anchors.roots.values()} == {"poly", "grandstream", "cisco"}
    assert the(known, "Polycom Equipment Issuing CA 1").fingerprint not in anchors.roots
    assert not (tmp_path / "trust").exists()


@pytest.mark.parametrize("issuing_too", [True, False])
def test_added_factory_identifies_its_phones(tmp_path: Path, yealink: Factory, issuing_too: bool) -> None:
    added = trust.add(tmp_path, "yealink", yealink.cas_pem if issuing_too else yealink.root_pem)
    assert [ca.role for ca in added] == (["root", "issuing", "issuing"] if issuing_too else ["root"])
    assert any("demo CA" in note for note in added[0].notes)
    identifier = Identifier(trust.load(tmp_path).anchors, {}, 9)
    leaf = to_der(yealink.leaf("805ec0123456")[0])[0]
    identity = identifier.judge(PeerCert(leaf, resumed=True), ListenerKind.DEVICE, NOW)
    assert identity.verdict is (Verdict.UNIQUE if issuing_too else Verdict.UNTRUSTED)
    assert identity.vendor == ("yealink" if issuing_too else "")


def test_der_file_is_taken_too(tmp_path: Path, yealink: Factory) -> None:
    path = tmp_path / "root.crt"
    path.write_bytes(yealink.root.certificate.public_bytes(Encoding.DER))
    assert trust.add(tmp_path, "yealink", path)[0].role == "root"
    assert [ca.subject for ca in trust.show(path)] == [trust.load(tmp_path).cas[-1].subject]


# --- what is not taken ------------------------------------------------------------------------------


def refused(tmp_path: Path, vendor: str, path: Path) -> ProvisionerError:
    before = {one: one.read_bytes() for one in (tmp_path / "trust").glob("*.*")}
    with pytest.raises(ProvisionerError) as caught:
        trust.add(tmp_path, vendor, path)
    after = {one: one.read_bytes() for one in (tmp_path / "trust").glob("*.*") if one.name != ".lock"}
    assert after == {one: content for one, content in before.items() if one.name != ".lock"}
    return caught.value


def test_device_certificate_is_no_ca(tmp_path: Path, yealink: Factory) -> None:
    path = tmp_path / "leaf.pem"
    path.write_bytes(yealink.leaf("805ec0123456")[0])
    error = refused(tmp_path, "yealink", path)
    assert isinstance(error, Invalid)
    assert "not a CA's" in error.cause


def test_all_or_none_of_a_file(tmp_path: Path, yealink: Factory) -> None:
    path = tmp_path / "mixed.pem"
    path.write_bytes(yealink.cas_pem.read_bytes() + yealink.leaf("805ec0123456")[0])
    assert isinstance(refused(tmp_path, "yealink", path), Invalid)
    assert not any(ca.vendor == "yealink" for ca in trust.load(tmp_path).cas)


def test_ca_without_the_right_to_sign_is_refused(tmp_path: Path) -> None:
    signer = make_ca("Odd CA")
    builder = x509.CertificateBuilder().subject_name(signer.certificate.subject)
    builder = builder.issuer_name(signer.certificate.subject).public_key(signer.key.public_key()).serial_number(3)
    builder = builder.not_valid_before(datetime.now(UTC) - timedelta(days=1))
    builder = builder.not_valid_after(datetime.now(UTC) + timedelta(days=1))
    bare = builder.sign(signer.key, hashes.SHA256())
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    basic = builder.add_extension(x509.BasicConstraints(True, None), True)
    wrong = basic.add_extension(usage, True).sign(signer.key, hashes.SHA256())
    path = tmp_path / "odd.pem"
    for certificate, word in ((bare, "does not say that it is a CA"), (wrong, "keyUsage")):
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        assert word in refused(tmp_path, "snom", path).cause
    path.write_bytes(basic.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.PEM))
    assert trust.add(tmp_path, "snom", path)[0].role == "root"  # no keyUsage at all is allowed by RFC 5280


def test_root_that_somebody_else_signed_is_refused(tmp_path: Path, put: Callable[..., Path]) -> None:
    signer, other = make_ca("Forged root"), make_ca("Forger")
    forged = make_ca(signer.certificate.subject, Signer(signer.certificate, other.key))
    assert "not its own" in refused(tmp_path, "snom", put(forged)).cause


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x30\x03\x02\x01\x05", b"\x30" * 2_000_000])
def test_unparsable_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.pem"
    path.write_bytes(content)
    assert isinstance(refused(tmp_path, "yealink", path), Invalid)
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\n" + content[:99] + b"?\n-----END CERTIFICATE-----\n")
    assert isinstance(refused(tmp_path, "yealink", path), Invalid)
    assert isinstance(refused(tmp_path, "yealink", tmp_path / "missing.pem"), Invalid)


def test_misspelt_vendor_is_refused(tmp_path: Path, yealink: Factory) -> None:
    assert "poly, yealink" in refused(tmp_path, "yaelink", yealink.root_pem).cause


def test_duplicates_are_refused(tmp_path: Path, yealink: Factory) -> None:
    trust.add(tmp_path, "yealink", yealink.root_pem)
    assert isinstance(refused(tmp_path, "yealink", yealink.root_pem), Conflict)
    assert isinstance(refused(tmp_path, "poly", shipped("certs") / "polycom_root_ca.pem"), Conflict)


def test_a_ca_belongs_to_one_vendor(tmp_path: Path, yealink: Factory) -> None:
    trust.add(tmp_path, "yealink", yealink.root_pem)
    assert "a CA of yealink" in refused(tmp_path, "snom", yealink.root_pem).cause
    assert "a CA of poly" in refused(tmp_path, "snom", shipped("certs") / "polycom_root_ca.pem").cause
    issuing = tmp_path / "issuing.pem"
    issuing.write_bytes(yealink.policy.certificate.public_bytes(Encoding.PEM))
    assert "hangs under a root of yealink" in refused(tmp_path, "snom", issuing).cause


def test_issuing_ca_without_its_root_is_said_to_be_of_no_use(
    tmp_path: Path, yealink: Factory, put: Callable[..., Path]
) -> None:
    assert "not trusted yet" in trust.add(tmp_path, "yealink", put(yealink.policy))[0].notes[-1]


def test_weakness_is_told(tmp_path: Path, put: Callable[..., Path]) -> None:
    added = trust.add(tmp_path, "fanvil", put(make_ca("Old root", bits=1024)))
    assert "1024 bits" in added[0].notes[0]


def test_known_by_fingerprint_only_is_filled_in(tmp_path: Path) -> None:
    """Snom's roots do not ship, but which vendor a file of theirs belongs to is known."""
    known = trust.load(tmp_path)
    given = make_ca(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Snom-like root")]))
    row = the(known, "SHA-256 CA")
    certs = tmp_path / "certs"
    shutil.copytree(shipped("certs"), certs)
    der = given.certificate.public_bytes(Encoding.DER)
    catalogue = (certs / "catalogue.toml").read_text("utf-8").replace(row.fingerprint, fingerprint(der))
    (certs / "catalogue.toml").write_text(catalogue, "utf-8")
    path = tmp_path / "snom.pem"
    path.write_bytes(given.certificate.public_bytes(Encoding.PEM))
    with pytest.raises(Conflict, match="a CA of snom"):
        trust.add(tmp_path, "yealink", path, certs)
    trust.add(tmp_path, "snom", path, certs)
    found = [ca for ca in trust.load(tmp_path, certs).cas if ca.fingerprint == fingerprint(der)]
    assert [(ca.vendor, ca.state) for ca in found] == [("snom", "trusted")]


# --- untrusting ---------------------------------------------------------------------------------------


def test_untrusted_shipped_root_is_gone_and_can_come_back(tmp_path: Path) -> None:
    root = the(trust.load(tmp_path), "Polycom Root CA")
    colons = ":".join(root.fingerprint[i : i + 2] for i in range(0, 64, 2)).upper()
    assert trust.remove(tmp_path, colons).state == "distrusted"
    known = trust.load(tmp_path)
    assert root.fingerprint not in known.anchors.roots
    assert root.der not in to_der(known.pem_bundle)
    assert root.spki in known.denied
    with pytest.raises(Conflict):
        trust.remove(tmp_path, root.fingerprint[:16])
    trust.add(tmp_path, "poly", shipped("certs") / "polycom_root_ca.pem")
    assert trust.load(tmp_path) == trust.load(tmp_path / "elsewhere")


def test_untrusted_issuing_ca_is_refused_in_a_chain(tmp_path: Path, yealink: Factory) -> None:
    trust.add(tmp_path, "yealink", yealink.cas_pem)
    leaf = to_der(yealink.leaf("805ec0123456")[0])[0]
    peer = PeerCert(leaf, (leaf, *(one.public_bytes(Encoding.DER) for one in yealink.issuing.chain)))
    trust.remove(tmp_path, the(trust.load(tmp_path), "Demo Yealink Factory Issuing").fingerprint)
    identity = Identifier(trust.load(tmp_path).anchors, {}, 9).judge(peer, ListenerKind.DEVICE, NOW)
    assert identity.verdict is Verdict.UNTRUSTED
    assert "operator" in identity.why


def test_wrong_vendor_is_corrected_by_untrusting_first(tmp_path: Path, yealink: Factory) -> None:
    trust.add(tmp_path, "snom", yealink.root_pem)
    trust.remove(tmp_path, trust.load(tmp_path).cas[-1].fingerprint)
    trust.add(tmp_path, "yealink", yealink.root_pem)
    found = [ca for ca in trust.load(tmp_path).cas if ca.subject.startswith("CN=Demo Yealink")]
    assert [(ca.vendor, ca.state) for ca in found] == [("yealink", "trusted")]


def test_new_certificate_for_a_distrusted_key_is_refused(
    tmp_path: Path, yealink: Factory, put: Callable[..., Path]
) -> None:
    trust.add(tmp_path, "yealink", yealink.root_pem)
    trust.remove(tmp_path, trust.load(tmp_path).cas[-1].fingerprint)
    again = make_ca("another name")
    builder = x509.CertificateBuilder().subject_name(again.certificate.subject)
    builder = builder.issuer_name(again.certificate.subject).public_key(yealink.root.key.public_key())
    builder = builder.serial_number(5).not_valid_before(again.certificate.not_valid_before_utc)
    builder = builder.not_valid_after(again.certificate.not_valid_after_utc)
    builder = builder.add_extension(x509.BasicConstraints(True, None), True)
    path = put(Signer(builder.sign(yealink.root.key, hashes.SHA256()), yealink.root.key))
    assert "distrusted" in refused(tmp_path, "yealink", path).cause


@pytest.mark.parametrize(
    ("name", "error"), [("00" * 32, NotFound), ("5a9a", Invalid), ("../x", Invalid), ("", Invalid)]
)
def test_unknown_fingerprint(tmp_path: Path, name: str, error: type[ProvisionerError]) -> None:
    with pytest.raises(error):
        trust.remove(tmp_path, name)


# --- files that are not what they say --------------------------------------------------------------------


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    shutil.copytree(shipped("certs"), tmp_path / "certs")
    return tmp_path / "certs"


def test_changed_file_stops_the_server(tmp_path: Path, certs: Path, put: Callable[..., Path]) -> None:
    shutil.copy(put(make_ca("Polycom Root CA")), certs / "polycom_root_ca.pem")
    with pytest.raises(Unusable, match=r"polycom_root_ca\.pem: its SHA-256 is not 5a9a.*install the package again"):
        trust.load(tmp_path, certs)


def test_missing_file_stops_the_server(tmp_path: Path, certs: Path) -> None:
    (certs / "polycom_root_ca.pem").unlink()
    with pytest.raises(Unusable, match="install the package again"):
        trust.load(tmp_path, certs)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('subject = "CN=Polycom Root CA"', 'subject = "CN=Another"'),
        ("2044-03-09", "2045-03-09"),
        ('vendor = "poly"', 'maker = "poly"'),
        ('role = "root"', 'role = "issuing"'),
        ("not_after = ", "not_after "),
    ],
)
def test_forged_catalogue_stops_the_server(tmp_path: Path, certs: Path, old: str, new: str) -> None:
    path = certs / "catalogue.toml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(Unusable, match="install the package again"):
        trust.load(tmp_path, certs)


def test_changed_addition_stops_the_server(tmp_path: Path, yealink: Factory) -> None:
    added = trust.add(tmp_path, "yealink", yealink.root_pem)
    (tmp_path / "trust" / added[0].file).write_bytes(yealink.policy.certificate.public_bytes(Encoding.PEM))
    with pytest.raises(Unusable, match="restore it from a backup"):
        trust.load(tmp_path)
    (tmp_path / "trust" / "trust.toml").write_text("ca = 5 =")
    with pytest.raises(Unusable, match=r"trust\.toml"):
        trust.load(tmp_path)


@pytest.mark.parametrize("row", ['[[ca]]\nvendor = "snom"\nsha256 = {}', "distrusted = [{}]"])
@pytest.mark.parametrize("name", ['"a\\u0000b"', '"../../x"', '""', f'"{"A" * 64}"', f'"{"a" * 64}\\n"', "5"])
def test_a_name_that_is_no_sha256_is_never_opened(tmp_path: Path, row: str, name: str) -> None:
    (tmp_path / "trust").mkdir()
    (tmp_path / "trust" / "trust.toml").write_text(row.format(name))
    with pytest.raises(Unusable, match=r"trust\.toml: .* is no SHA-256.*restore it from a backup"):
        trust.load(tmp_path)


def test_a_list_nested_beyond_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "trust").mkdir()
    (tmp_path / "trust" / "trust.toml").write_text("ca = " + "[" * 5000)
    with pytest.raises(Unusable, match="cannot be read"):
        trust.load(tmp_path)


def test_list_is_toml_and_leaves_no_half_written_file(tmp_path: Path, yealink: Factory) -> None:
    trust.add(tmp_path, "yealink", yealink.cas_pem)
    document = tomllib.loads((tmp_path / "trust" / "trust.toml").read_text("utf-8"))
    assert [row["vendor"] for row in document["ca"]] == ["yealink"] * 3
    assert list((tmp_path / "trust").glob("*.new")) == []


def _add(data: Path, path: Path) -> None:
    trust.add(data, "snom", path)


def test_two_administrators_at_once_lose_nothing(tmp_path: Path) -> None:
    paths = []
    for number in range(4):
        paths.append(tmp_path / f"{number}.pem")
        paths[-1].write_bytes(make_ca(f"Root {number}").certificate.public_bytes(Encoding.PEM))
    context = get_context("spawn")
    running = [context.Process(target=_add, args=(tmp_path, path)) for path in paths]
    for one in running:
        one.start()
    for one in running:
        one.join(60)
    assert [one.exitcode for one in running] == [0, 0, 0, 0]
    assert {ca.subject for ca in trust.load(tmp_path).cas if ca.origin == "operator"} == {
        f"CN=Root {number}" for number in range(4)
    }


def test_a_change_waits_for_the_one_under_way(tmp_path: Path, yealink: Factory) -> None:
    (tmp_path / "trust").mkdir()
    adding = threading.Thread(target=trust.add, args=(tmp_path, "yealink", yealink.root_pem))
    with (tmp_path / "trust" / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        adding.start()
        adding.join(0.3)
        assert adding.is_alive()
        assert not (tmp_path / "trust" / "trust.toml").exists()
    adding.join(20)
    assert (tmp_path / "trust" / "trust.toml").exists()


def test_only_what_is_taken_back_counts_as_withdrawn(tmp_path: Path, yealink: Factory) -> None:
    states = [trust.load(tmp_path)]
    trust.add(tmp_path, "yealink", yealink.cas_pem)
    states.append(trust.load(tmp_path))
    trust.remove(tmp_path, the(states[-1], "Demo Yealink Factory Issuing").fingerprint)
    states.append(trust.load(tmp_path))
    bare, added, removed = states
    assert [trust.withdrawn(*pair) for pair in ((bare, bare), (bare, added), (removed, added))] == [False] * 3
    assert [trust.withdrawn(*pair) for pair in ((added, removed), (added, bare))] == [True] * 2
    denying = replace(bare, denied={**bare.denied, "aa" * 32: "its key is public"})
    assert trust.withdrawn(bare, denying)


# --- ends ---------------------------------------------------------------------------------------------------


def test_check_warns_of_every_kind_90_30_and_7_days_before(tmp_path: Path) -> None:
    known = trust.load(tmp_path)
    end = datetime(2027, 6, 11, 1, 53, tzinfo=UTC).timestamp()  # Grandstream's old root
    server = make_server(tmp_path / "tls", "prov.example.net").certificates[0]
    pins = [("0004f28b54f4", stamp(end + 3 * DAY)), ("0004f28b54f5", stamp(end + 500 * DAY)), ("0004f28b54f6", "")]

    def kinds(days: float) -> list[tuple[str, int, str]]:
        found = known.check(end - days * DAY, [server], pins)
        return [(one.kind, one.days, one.severity) for one in found]

    assert kinds(93.5) == []
    assert kinds(91.5) == []
    assert kinds(88.5) == [("root", 88, "warning")]
    assert kinds(29.5) == [("root", 29, "warning"), ("pinned", 32, "warning")]
    assert kinds(6.5) == [("root", 6, "alarm"), ("pinned", 9, "warning")]
    assert kinds(-0.5) == [("root", -1, "alarm"), ("pinned", 2, "alarm")]
    late = read(to_der(server.read_bytes())[0]).not_after - 10 * DAY
    texts = [one.text for one in known.check(late, [server], [])]
    assert any(text.startswith("server ") and "expires in 10 days" in text for text in texts)
    assert any("expired at 2027-06-11T01:53:00Z" in text for text in texts)


def test_check_leaves_out_what_is_distrusted(tmp_path: Path) -> None:
    end = datetime(2027, 6, 11, 1, 53, tzinfo=UTC).timestamp()
    trust.remove(tmp_path, the(trust.load(tmp_path), "CN=VPN").fingerprint)
    assert trust.load(tmp_path).check(end - 5 * DAY) == ()


def test_check_of_a_missing_server_certificate_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"No such file.*provisioner certs renew-server"):
        trust.load(tmp_path).check(NOW, [tmp_path / "none.pem"])
