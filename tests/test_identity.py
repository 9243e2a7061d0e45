"""Verdicts on certificates that real OpenSSL handshakes carried, each as docs/identity.md promises it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from handshakes import DAY, LONG_AGO, TODAY, Leaf, Tls, anchored, cas_of, presented

from provisioner.certificates import Anchors, fingerprint, read, to_der
from provisioner.errors import Invalid
from provisioner.identity import Identifier
from provisioner.model import NOBODY, FactoryName, Identity, ListenerKind, Mac, PeerCert, Verdict
from provisioner.pki import Factory, Signer, make_ca, make_factory

MAC = Mac("0004f28b54f4")
NOW = time.time()
DEVICE, LEGACY = ListenerKind.DEVICE, ListenerKind.LEGACY


@pytest.fixture(scope="session")
def poly(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    return make_factory("poly", tmp_path_factory.mktemp("poly"))


@pytest.fixture(scope="session")
def yealink(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    return make_factory("yealink", tmp_path_factory.mktemp("yealink"))


@pytest.fixture
def identifier(poly: Factory, yealink: Factory) -> Identifier:
    return Identifier(anchored(poly, yealink), {}, 100)


@pytest.fixture
def judged(tmp_path: Path, poly: Factory, yealink: Factory, identifier: Identifier) -> Callable[..., Identity]:
    """Hand a certificate to a server that trusts both factories, and judge it."""

    def judge(leaf: Leaf, listener: ListenerKind = DEVICE, level: int = 2, now: float = NOW) -> Identity:
        return identifier.judge(presented(tmp_path, cas_of(poly, yealink), leaf, level=level), listener, now)

    return judge


# --- what is accepted --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("chain_sent", [True, False])
def test_factory_leaf_is_unique_with_or_without_its_chain(
    tmp_path: Path, poly: Factory, yealink: Factory, identifier: Identifier, version: int, chain_sent: bool
) -> None:
    leaf, key, chain = poly.leaf(MAC)
    shown = (leaf, key, chain if chain_sent else b"")
    peer = presented(tmp_path, cas_of(poly, yealink), shown, version=version)
    assert peer.errors == ()
    assert len(peer.chain) == 4
    identity = identifier.judge(peer, DEVICE, NOW)
    assert (identity.verdict, identity.vendor, identity.mac) == (Verdict.UNIQUE, "poly", MAC)
    assert identity.spki == read(to_der(leaf)[0]).spki
    assert "CN=0004F28B54F4" in identity.subject
    assert "Demo Poly Factory Issuing CA" in identity.issuer
    assert datetime.fromisoformat(identity.not_before) < TODAY < datetime.fromisoformat(identity.not_after)


def test_elliptic_leaf_is_unique(poly: Factory, judged: Callable[..., Identity]) -> None:
    assert judged(poly.leaf(MAC, curve=ec.SECP256R1())).verdict is Verdict.UNIQUE


@pytest.mark.parametrize("purposes", [None, (ExtendedKeyUsageOID.SERVER_AUTH,)])
def test_leaf_made_for_another_purpose_is_forgiven(
    tmp_path: Path, poly: Factory, identifier: Identifier, purposes: tuple[x509.ObjectIdentifier, ...] | None
) -> None:
    peer = presented(tmp_path, cas_of(poly), poly.leaf(MAC, purposes=purposes))
    assert peer.errors == (() if purposes is None else ((26, 0),))
    assert identifier.judge(peer, DEVICE, NOW).verdict is Verdict.UNIQUE


def test_nobody_is_none(identifier: Identifier) -> None:
    assert identifier.judge(None, DEVICE, NOW) is NOBODY


def test_generic_certificate_proves_vendor_and_no_mac(poly: Factory, judged: Callable[..., Identity]) -> None:
    identity = judged(poly.leaf(MAC, generic=True))
    assert (identity.verdict, identity.vendor, identity.mac) == (Verdict.GENERIC, "poly", None)


# --- who vouches ---------------------------------------------------------------------------------------


def test_sub_ca_with_another_vendors_name_stays_with_its_root(
    poly: Factory, yealink: Factory, judged: Callable[..., Identity]
) -> None:
    rogue = yealink.sub_ca("Demo Poly Factory Issuing CA - not for production")
    identity = judged(poly.leaf(MAC, signer=rogue))
    assert "Demo Poly Factory Issuing CA" in identity.issuer
    assert (identity.verdict, identity.vendor) == (Verdict.UNIQUE, "yealink")


def strangers_copy(poly: Factory) -> tuple[Signer, Signer]:
    """A root and an issuing CA that differ from the factory's in nothing but their keys."""
    root = make_ca(poly.root.certificate.subject)
    return root, make_ca(poly.issuing.certificate.subject, root)


@pytest.mark.parametrize("root_sent", [True, False])
def test_strangers_copy_of_a_root_is_untrusted(poly: Factory, judged: Callable[..., Identity], root_sent: bool) -> None:
    root, issuing = strangers_copy(poly)
    leaf, key, chain = poly.leaf(MAC, signer=issuing)
    sent = chain + (root.certificate.public_bytes(Encoding.PEM) if root_sent else b"")
    identity = judged((leaf, key, sent))
    assert identity.verdict is Verdict.UNTRUSTED
    assert (identity.vendor, identity.mac) == ("", None)
    assert "CN=0004F28B54F4" in identity.subject  # for the event


def test_the_trap_overridden_error_ends_in_the_strangers_root(
    tmp_path: Path, poly: Factory, identifier: Identifier
) -> None:
    """OpenSSL hands back a "verified" chain all the same; a copy of our root at its end must not help either."""
    root = make_ca("Stranger")
    leaf, key, chain = poly.leaf(MAC, signer=make_ca("Stranger's issuing", root))
    sent = (leaf, key, chain + root.certificate.public_bytes(Encoding.PEM))
    peer = presented(tmp_path, cas_of(poly), sent)
    assert peer.chain[-1] == root.certificate.public_bytes(Encoding.DER)
    assert (19, 2) in peer.errors
    assert identifier.judge(peer, DEVICE, NOW).verdict is Verdict.UNTRUSTED
    assert identifier.judge(replace(peer, errors=()), DEVICE, NOW).verdict is Verdict.UNTRUSTED
    ours = poly.root.certificate.public_bytes(Encoding.DER)
    assert identifier.judge(replace(peer, chain=(*peer.chain[:-1], ours)), DEVICE, NOW).verdict is Verdict.UNTRUSTED


def test_real_root_sent_behind_a_strangers_leaf_does_not_help(poly: Factory, judged: Callable[..., Identity]) -> None:
    _, issuing = strangers_copy(poly)
    leaf, key, _ = poly.leaf(MAC, signer=issuing)
    sent = b"".join(one.certificate.public_bytes(Encoding.PEM) for one in (poly.issuing, poly.policy, poly.root))
    assert judged((leaf, key, sent)).verdict is Verdict.UNTRUSTED


def test_remembered_leaf_behind_a_bad_chain_is_refused(tmp_path: Path, poly: Factory, identifier: Identifier) -> None:
    peer = presented(tmp_path, cas_of(poly), poly.leaf(MAC))
    assert identifier.judge(peer, DEVICE, NOW).verdict is Verdict.UNIQUE
    assert identifier.judge(replace(peer, errors=((20, 0),)), DEVICE, NOW).verdict is Verdict.UNTRUSTED


def self_signed(**when: datetime) -> Leaf:
    me = make_ca("0004F28B54F4")
    pem = me.certificate.public_bytes(Encoding.PEM)
    if when:
        builder = x509.CertificateBuilder().subject_name(me.certificate.subject).issuer_name(me.certificate.subject)
        builder = builder.public_key(me.key.public_key()).serial_number(2)
        builder = builder.not_valid_before(when["not_before"]).not_valid_after(when["not_after"])
        pem = builder.sign(me.key, hashes.SHA256()).public_bytes(Encoding.PEM)
    key = me.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, key, b""


@pytest.mark.parametrize("when", [{}, LONG_AGO])
def test_self_signed_is_self_signed_expired_or_not(judged: Callable[..., Identity], when: dict[str, datetime]) -> None:
    identity = judged(self_signed(**when))
    assert (identity.verdict, identity.mac) == (Verdict.SELF_SIGNED, None)


def test_self_signed_with_a_wrong_signature_is_not_even_that(poly: Factory, identifier: Identifier) -> None:
    leaf = to_der(self_signed()[0])[0]
    assert identifier.judge(PeerCert(leaf, (leaf,), ((18, 0),)), DEVICE, NOW).verdict is Verdict.SELF_SIGNED
    assert identifier.judge(PeerCert(leaf, (leaf,), ((18, 0), (7, 0))), DEVICE, NOW).verdict is Verdict.UNTRUSTED


def test_issuing_ca_that_may_not_vouch_for_clients_is_untrusted(poly: Factory, identifier: Identifier) -> None:
    leaf = to_der(poly.leaf(MAC)[0])[0]
    above = tuple(one.public_bytes(Encoding.DER) for one in poly.issuing.chain)
    assert identifier.judge(PeerCert(leaf, (leaf, *above)), DEVICE, NOW).verdict is Verdict.UNIQUE
    assert identifier.judge(PeerCert(leaf, (leaf, *above), ((26, 1),)), DEVICE, NOW).verdict is Verdict.UNTRUSTED


def test_device_certificate_cannot_issue_another(tmp_path: Path, poly: Factory, identifier: Identifier) -> None:
    """Whoever owns one phone must not make certificates for others with its key."""
    leaf, pem, chain = poly.leaf(MAC)
    key = load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    device = Signer(x509.load_pem_x509_certificate(leaf), key, poly.issuing.chain)
    forged = poly.leaf("0004f2000001", signer=device)
    peer = presented(tmp_path, cas_of(poly), (forged[0], forged[1], leaf + chain))
    assert peer.chain[-1] == poly.root.certificate.public_bytes(Encoding.DER)
    assert identifier.judge(peer, DEVICE, NOW).verdict is Verdict.UNTRUSTED


def test_forged_signature_is_untrusted(tmp_path: Path, poly: Factory, identifier: Identifier) -> None:
    """All names and key identifiers are right, and the chain ends in our root; only the signature is not."""
    mallory = Signer(poly.issuing.certificate, make_ca("Mallory").key, poly.issuing.above)
    peer = presented(tmp_path, cas_of(poly), poly.leaf(MAC, signer=mallory))
    assert peer.chain[-1] == poly.root.certificate.public_bytes(Encoding.DER)
    assert peer.errors == ((7, 0),)
    assert identifier.judge(peer, DEVICE, NOW).verdict is Verdict.UNTRUSTED
    assert identifier.judge(PeerCert(peer.leaf, resumed=True), DEVICE, NOW).verdict is Verdict.UNTRUSTED


def test_distrusted_ca_is_refused_though_the_phone_sends_it(tmp_path: Path, poly: Factory) -> None:
    issuing = poly.issuing.certificate.public_bytes(Encoding.DER)
    anchors = anchored(poly, issuing=False, denied={read(issuing).spki: "compromised"})
    peer = presented(tmp_path, cas_of(poly, issuing=False), poly.leaf(MAC))
    assert Identifier(anchored(poly), {}, 9).judge(peer, DEVICE, NOW).verdict is Verdict.UNIQUE
    identity = Identifier(anchors, {}, 9).judge(peer, DEVICE, NOW)
    assert identity.verdict is Verdict.UNTRUSTED
    assert "compromised" in identity.why


def test_denied_device_key_is_refused(tmp_path: Path, poly: Factory) -> None:
    peer = presented(tmp_path, cas_of(poly), poly.leaf(MAC))
    anchors = anchored(poly, denied={read(peer.leaf).spki: "its key is public"})
    assert Identifier(anchors, {}, 9).judge(peer, DEVICE, NOW).verdict is Verdict.UNTRUSTED


# --- time -----------------------------------------------------------------------------------------------


def test_expired_keeps_what_a_pin_is_compared_with(poly: Factory, judged: Callable[..., Identity]) -> None:
    leaf = poly.leaf(MAC, **LONG_AGO)
    identity = judged(leaf)
    assert (identity.verdict, identity.vendor, identity.mac) == (Verdict.EXPIRED, "poly", MAC)
    assert identity.spki == read(to_der(leaf[0])[0]).spki


def test_expired_of_an_unknown_ca_is_untrusted(poly: Factory, judged: Callable[..., Identity]) -> None:
    _, issuing = strangers_copy(poly)
    assert judged(poly.leaf(MAC, signer=issuing, **LONG_AGO)).verdict is Verdict.UNTRUSTED


def test_not_yet_valid_tells_to_look_at_the_clock(poly: Factory, judged: Callable[..., Identity]) -> None:
    identity = judged(poly.leaf(MAC, not_before=TODAY + DAY, not_after=TODAY + 9 * DAY))
    assert identity.verdict is Verdict.NOT_YET_VALID
    assert "clock" in identity.why


def test_expired_ca_makes_its_leaves_expired(poly: Factory, judged: Callable[..., Identity]) -> None:
    old = make_ca("Demo old issuing", poly.root, days=1)
    identity = judged(poly.leaf(MAC, signer=old), now=NOW + 2 * 86400)
    assert identity.verdict is Verdict.EXPIRED
    assert "Demo old issuing" in identity.why


def test_verdict_follows_the_clock_while_remembered(tmp_path: Path, poly: Factory, identifier: Identifier) -> None:
    leaf = poly.leaf(MAC, not_after=TODAY + DAY)
    peer = presented(tmp_path, cas_of(poly), leaf)
    resumed = PeerCert(peer.leaf, resumed=True)
    assert identifier.judge(peer, DEVICE, NOW).verdict is Verdict.UNIQUE
    assert identifier.judge(peer, DEVICE, NOW + 2 * 86400).verdict is Verdict.EXPIRED
    assert identifier.judge(resumed, DEVICE, NOW + 2 * 86400).verdict is Verdict.EXPIRED
    assert identifier.judge(resumed, DEVICE, NOW).verdict is Verdict.UNIQUE
    assert identifier.judge(resumed, DEVICE, NOW - 2 * 86400).verdict is Verdict.NOT_YET_VALID


# --- strength ---------------------------------------------------------------------------------------------

WEAK_LEAVES = [
    ({"bits": 1024}, (66, 0), Verdict.UNIQUE),
    ({"algorithm": "sha1"}, (68, 0), Verdict.UNIQUE),
    ({"algorithm": "md5"}, (68, 0), Verdict.WEAK),
    ({"bits": 1024, "algorithm": "sha1"}, (66, 0), Verdict.UNIQUE),
]


@pytest.mark.parametrize(("how", "error", "on_legacy"), WEAK_LEAVES, ids=lambda value: str(value))
@pytest.mark.parametrize("level", [0, 2])
def test_weak_leaf_passes_on_the_legacy_listener_at_most(
    tmp_path: Path,
    poly: Factory,
    identifier: Identifier,
    how: dict[str, object],
    error: tuple[int, int],
    on_legacy: Verdict,
    level: int,
) -> None:
    """Whether OpenSSL was told to complain (security level 2) or not (0), the verdict is the same."""
    peer = presented(tmp_path, cas_of(poly), poly.leaf(MAC, **how), level=level)  # type: ignore[arg-type]
    assert (error in peer.errors) is (level == 2)
    on_device = identifier.judge(peer, DEVICE, NOW)
    assert on_device.verdict is Verdict.WEAK
    assert "device listener" in on_device.why
    assert identifier.judge(peer, LEGACY, NOW).verdict is on_legacy
    assert identifier.judge(PeerCert(peer.leaf, resumed=True), DEVICE, NOW).verdict is Verdict.WEAK


def test_weak_is_told_before_expired(poly: Factory, judged: Callable[..., Identity]) -> None:
    """An expired leaf may be forgiven by its pin; a forgeable one must not take that way."""
    assert judged(poly.leaf(MAC, bits=1024, **LONG_AGO)).verdict is Verdict.WEAK


def test_weak_ca_makes_its_leaves_weak(poly: Factory, judged: Callable[..., Identity]) -> None:
    weak = make_ca("Demo weak issuing", poly.root, bits=1024)
    identity = judged(poly.leaf(MAC, signer=weak))
    assert identity.verdict is Verdict.WEAK
    assert "Demo weak issuing" in identity.why


def test_weak_root_counts_by_its_key(tmp_path: Path, poly: Factory) -> None:
    root = make_ca("Demo weak root", bits=1024)
    leaf = poly.leaf(MAC, signer=root)
    pem = root.certificate.public_bytes(Encoding.PEM)
    der = to_der(pem)[0]
    identifier = Identifier(Anchors({fingerprint(der): ("poly", "weak")}, (der,)), {}, 9)
    peer = presented(tmp_path, pem, leaf)
    assert identifier.judge(peer, DEVICE, NOW).verdict is Verdict.WEAK
    assert identifier.judge(peer, LEGACY, NOW).verdict is Verdict.UNIQUE


def test_a_vendors_smaller_keys_can_be_allowed(tmp_path: Path, poly: Factory) -> None:
    peer = presented(tmp_path, cas_of(poly), poly.leaf(MAC, bits=1024))
    lenient = Identifier(anchored(poly), {}, 9, key_bits={"poly": 1024})
    assert lenient.judge(peer, DEVICE, NOW).verdict is Verdict.UNIQUE


@pytest.mark.parametrize("resumed", [False, True])
def test_absurd_rsa_key_is_refused_cheaply(poly: Factory, identifier: Identifier, resumed: bool) -> None:
    public = rsa.RSAPublicNumbers(65537, (1 << 16383) + 1).public_key()
    builder = x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, MAC)]))
    builder = builder.issuer_name(poly.issuing.certificate.subject).public_key(public).serial_number(7)
    builder = builder.not_valid_before(TODAY - DAY).not_valid_after(TODAY + DAY)
    leaf = builder.sign(poly.issuing.key, hashes.SHA256()).public_bytes(Encoding.DER)
    above = tuple(one.public_bytes(Encoding.DER) for one in poly.issuing.chain)
    peer = PeerCert(leaf, resumed=True) if resumed else PeerCert(leaf, (leaf, *above))
    began = time.process_time()
    identity = identifier.judge(peer, LEGACY, NOW)
    assert identity.verdict is (Verdict.UNTRUSTED if resumed else Verdict.WEAK)
    assert time.process_time() - began < 0.1


# --- resumed sessions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_resumed_session_keeps_its_identity(
    tmp_path: Path, poly: Factory, identifier: Identifier, version: int
) -> None:
    tls = Tls(cas_of(poly), version=version)
    phone = tls.client(tmp_path, *poly.leaf(MAC))
    first, session = tls.meet(phone)
    again, _ = tls.meet(phone, session)
    assert (again.resumed, again.chain) == (True, ())
    assert identifier.judge(first, DEVICE, NOW) == identifier.judge(again, DEVICE, NOW)
    sibling = Identifier(anchored(poly), {}, 9)  # never saw the chain: verifies again with its own CAs
    assert sibling.judge(again, DEVICE, NOW) == identifier.judge(first, DEVICE, NOW)


def test_resumed_stranger_stays_untrusted(tmp_path: Path, poly: Factory, identifier: Identifier) -> None:
    tls = Tls(cas_of(poly))
    phone = tls.client(tmp_path, *poly.leaf(MAC, signer=strangers_copy(poly)[1]))
    _, session = tls.meet(phone)
    again, _ = tls.meet(phone, session)
    assert again.resumed
    identity = identifier.judge(again, DEVICE, NOW)
    assert identity.verdict is Verdict.UNTRUSTED
    assert identity.why.startswith("resumed")


def test_resumed_leaf_verifies_with_cas_learned_from_other_phones(poly: Factory) -> None:
    """Grandstream and Snom phones bring CAs that do not ship; one proven chain teaches them."""
    identifier = Identifier(anchored(poly, issuing=False), {}, 9)
    one, other = (to_der(poly.leaf(mac)[0])[0] for mac in (MAC, "0004f2000001"))
    above = tuple(ca.public_bytes(Encoding.DER) for ca in poly.issuing.chain)
    assert identifier.judge(PeerCert(other, resumed=True), DEVICE, NOW).verdict is Verdict.UNTRUSTED
    assert identifier.judge(PeerCert(one, (one, *above)), DEVICE, NOW).verdict is Verdict.UNIQUE
    assert identifier.judge(PeerCert(other, resumed=True), DEVICE, NOW).mac == "0004f2000001"


@pytest.mark.parametrize("resumed", [False, True])
def test_memory_is_bounded_and_forgets_the_longest_unused(poly: Factory, resumed: bool) -> None:
    read_by_driver: list[bytes] = []

    def spy(cert: PeerCert) -> FactoryName:
        read_by_driver.append(cert.leaf)
        return FactoryName(MAC)

    identifier = Identifier(anchored(poly), {"poly": spy}, 2)
    above = tuple(ca.public_bytes(Encoding.DER) for ca in poly.issuing.chain)
    leaves = [to_der(poly.leaf(MAC, curve=ec.SECP256R1())[0])[0] for _ in range(3)]

    def meet(number: int) -> int:
        """How often the driver was asked."""
        before, leaf = len(read_by_driver), leaves[number]
        peer = PeerCert(leaf, resumed=True) if resumed else PeerCert(leaf, (leaf, *above))
        assert identifier.judge(peer, DEVICE, NOW).mac == MAC
        return len(read_by_driver) - before

    assert [meet(number) for number in (0, 1, 0, 1, 0, 2, 0, 1)] == [1, 1, 0, 0, 0, 1, 0, 1]


def test_better_chain_of_a_remembered_leaf_counts(poly: Factory, identifier: Identifier) -> None:
    """One issuing key, certified twice: by the certificate that has expired and by its successor."""
    old = x509.CertificateBuilder().subject_name(poly.issuing.certificate.subject)
    old = old.issuer_name(poly.root.certificate.subject).public_key(poly.issuing.key.public_key()).serial_number(1)
    old = old.not_valid_before(TODAY - 9 * DAY).not_valid_after(TODAY - DAY)
    expired = old.add_extension(x509.BasicConstraints(True, None), True).sign(poly.root.key, hashes.SHA256())
    leaf, root = to_der(poly.leaf(MAC)[0])[0], poly.root.certificate.public_bytes(Encoding.DER)
    late = PeerCert(leaf, (leaf, expired.public_bytes(Encoding.DER), root), ((10, 1),))
    good = PeerCert(leaf, (leaf, *(one.public_bytes(Encoding.DER) for one in poly.issuing.chain)))
    assert identifier.judge(late, DEVICE, NOW).verdict is Verdict.EXPIRED
    assert identifier.judge(good, DEVICE, NOW).verdict is Verdict.UNIQUE
    assert identifier.judge(PeerCert(leaf, resumed=True), DEVICE, NOW).verdict is Verdict.UNIQUE


# --- names ----------------------------------------------------------------------------------------------------


def test_the_driver_of_the_anchors_vendor_reads_the_name(tmp_path: Path, poly: Factory, yealink: Factory) -> None:
    drivers = {"poly": lambda _cert: FactoryName(MAC), "yealink": lambda _cert: FactoryName(None, note="no way")}
    identifier = Identifier(anchored(poly, yealink), drivers, 9)
    cas = cas_of(poly, yealink)
    assert identifier.judge(presented(tmp_path, cas, poly.leaf(MAC, generic=True)), DEVICE, NOW).mac == MAC
    identity = identifier.judge(presented(tmp_path, cas, yealink.leaf(MAC)), DEVICE, NOW)
    assert (identity.verdict, identity.why) == (Verdict.GENERIC, "generic: no way")


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), Invalid("mac", "x"), TypeError("x")])
def test_a_driver_that_fails_on_a_name_makes_it_generic(poly: Factory, error: Exception) -> None:
    def fail(_cert: PeerCert) -> FactoryName:
        raise error

    leaf = to_der(poly.leaf(MAC)[0])[0]
    peer = PeerCert(leaf, (leaf, *(one.public_bytes(Encoding.DER) for one in poly.issuing.chain)))
    assert Identifier(anchored(poly), {"poly": fail}, 9).judge(peer, DEVICE, NOW).verdict is Verdict.GENERIC
