"""Hostile bytes in place of a certificate: a verdict comes out, never an exception."""

from __future__ import annotations

import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from effort import examples
from handshakes import anchored
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.certificates import to_der
from provisioner.identity import Identifier
from provisioner.model import Identity, ListenerKind, Mac, PeerCert, Verdict
from provisioner.pki import Factory, make_factory

MAC = Mac("0004f28b54f4")
NOW = time.time()


@pytest.fixture(scope="session")
def poly(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    return make_factory("poly", tmp_path_factory.mktemp("poly"))


@pytest.fixture(scope="session")
def genuine(poly: Factory) -> PeerCert:
    leaf = to_der(poly.leaf(MAC)[0])[0]
    return PeerCert(leaf, (leaf, *(one.public_bytes(Encoding.DER) for one in poly.issuing.chain)))


@settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_certificates_never_raise(genuine: PeerCert, poly: Factory, data: st.DataObject) -> None:
    """Even if TLS had let them pass without an error and with our root at the end."""
    leaf = bytearray(genuine.leaf)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(leaf) - 1))
        leaf[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    resumed = data.draw(st.booleans())
    peer = PeerCert(bytes(leaf), () if resumed else (bytes(leaf), *genuine.chain[1:]), resumed=resumed)
    identity = Identifier(anchored(poly), {}, 9).judge(peer, data.draw(st.sampled_from(ListenerKind)), NOW)
    assert isinstance(identity, Identity)
    assert identity.subject.isprintable()
    if resumed and bytes(leaf) != genuine.leaf:
        assert identity.verdict is Verdict.UNTRUSTED


@settings(max_examples=examples(150), deadline=None)
@given(
    der=st.binary(max_size=400),
    chain=st.lists(st.binary(max_size=40), max_size=9),
    errors=st.lists(st.tuples(st.integers(-1, 120), st.integers(-1, 9)), max_size=3),
    resumed=st.booleans(),
)
def test_garbage_never_raises(
    poly: Factory, der: bytes, chain: list[bytes], errors: list[tuple[int, int]], resumed: bool
) -> None:
    peer = PeerCert(der, (der, *chain), tuple(errors), resumed)
    verdict = Identifier(anchored(poly), {}, 9).judge(peer, ListenerKind.DEVICE, NOW).verdict
    assert verdict in {Verdict.UNTRUSTED, Verdict.SELF_SIGNED}
