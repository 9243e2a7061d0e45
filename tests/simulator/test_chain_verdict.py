"""A phone's verdict on a chain: each fault with its certificate, and nothing claimed that is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chain_maker import NOW, Family, certificate
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from provisioner.simulator import load_persona, personas
from provisioner.simulator.chain import Eyes, Fault, Finding, Outcome, Verdict, judge
from provisioner.simulator.trust_stores import store_of

AT = NOW.timestamp()
FAMILY = Family()
STRANGE = Family("Strange")
TRUSTING = Eyes((FAMILY.root.cert,), complete=True, checks_name=True)
POOL = (FAMILY.root.cert, FAMILY.between.cert)


def verdict(sent: list[bytes], eyes: Eyes = TRUSTING, host: str = "localhost", at: float = AT) -> Verdict:
    return judge(sent, host, eyes, at, POOL)


def only(found: Verdict) -> Finding:
    [one] = found.findings
    return one


def test_a_good_chain_ends_at_the_phones_root() -> None:
    found = verdict(FAMILY.chain)
    assert found == Verdict(Outcome.ACCEPTS, (), ("localhost", "Example Issuing", "Example Root"), "Example Root")
    assert verdict([*FAMILY.chain, FAMILY.root.der]).outcome is Outcome.ACCEPTS
    assert verdict(FAMILY.chain, host="127.0.0.1").outcome is Outcome.ACCEPTS


def test_an_unknown_root_is_told_from_a_missing_intermediate() -> None:
    found = verdict(STRANGE.chain)
    assert (found.outcome, only(found).fault, only(found).place) == (Outcome.REFUSES, Fault.UNKNOWN_ISSUER, 2)
    found = verdict([*STRANGE.chain, STRANGE.root.der])
    assert (only(found).fault, only(found).place, only(found).subject) == (Fault.UNKNOWN_ROOT, 3, "Strange Root")
    found = verdict([FAMILY.leaf.der])
    assert (found.outcome, only(found).fault, only(found).place) == (Outcome.REFUSES, Fault.MISSING_INTERMEDIATE, 1)
    assert "Example Issuing" in only(found).why
    found = verdict([FAMILY.leaf.der], replace(TRUSTING, roots=(STRANGE.root.cert,)))
    assert {one.fault for one in found.findings} == {Fault.MISSING_INTERMEDIATE, Fault.UNKNOWN_ROOT}


def test_a_self_signed_certificate_is_an_unknown_root() -> None:
    alone = certificate("localhost", names=["localhost"])
    assert only(verdict([alone.der])).fault is Fault.UNKNOWN_ROOT
    assert verdict([alone.der], Eyes((alone.cert,), complete=True)).outcome is Outcome.ACCEPTS


def test_dates_go_by_the_phones_clock() -> None:
    for days, fault in (((-20, -10), Fault.EXPIRED), ((10, 20), Fault.NOT_YET_VALID)):
        leaf = certificate("localhost", FAMILY.between, days=days, names=["localhost"])
        found = verdict([leaf.der, FAMILY.between.der])
        assert (found.outcome, only(found).fault, only(found).place) == (Outcome.REFUSES, fault, 1)
    found = verdict(FAMILY.chain, at=0.0)
    assert {one.fault for one in found.findings} == {Fault.NOT_YET_VALID}
    assert [one.place for one in found.findings] == [1, 2, 0]
    assert "1970-01-01" in found.findings[0].why


@pytest.mark.parametrize(
    ("names", "host", "fits"),
    [
        (["prov.example.net"], "PROV.example.net.", True),
        (["*.example.net"], "prov.example.net", True),
        (["*.example.net"], "a.prov.example.net", False),
        (["*.example.net"], "example.net", False),
        (["10.0.0.1"], "10.0.0.1", True),
        (["10.0.0.1"], "10.0.0.2", False),
        ([], "localhost", True),  # the common name, where there is nothing else
        (["other.example.net"], "localhost", False),  # and only there
    ],
)
def test_names(names: list[str], host: str, fits: bool) -> None:
    leaf = certificate("localhost", FAMILY.between, names=names)
    found = verdict([leaf.der, FAMILY.between.der], host=host)
    assert (found.outcome is Outcome.ACCEPTS) is fits
    if not fits:
        assert (only(found).fault, only(found).place) == (Fault.WRONG_NAME, 1)


def test_whether_names_are_compared_may_not_be_known() -> None:
    for checked, outcome in ((None, Outcome.DEPENDS), (False, Outcome.ACCEPTS), (True, Outcome.REFUSES)):
        assert verdict(FAMILY.chain, replace(TRUSTING, checks_name=checked), host="other").outcome is outcome


def test_what_is_not_known_is_not_claimed() -> None:
    unknown = Eyes(checks_name=True)
    assert verdict([*STRANGE.chain, STRANGE.root.der], unknown) == Verdict(
        Outcome.NOT_KNOWN, (), ("localhost", "Strange Issuing", "Strange Root")
    )
    assert verdict(STRANGE.chain, unknown).outcome is Outcome.NOT_KNOWN
    doubtful = replace(unknown, doubtful=("Strange Root",))
    found = verdict([*STRANGE.chain, STRANGE.root.der], doubtful)
    assert (found.outcome, only(found).sure) == (Outcome.DEPENDS, False)
    never = replace(unknown, never=(FAMILY.root.cert,))
    found = verdict(FAMILY.chain, never)
    assert (found.outcome, only(found).fault, only(found).place) == (Outcome.REFUSES, Fault.UNKNOWN_ROOT, 0)


def test_keys_and_hashes_that_are_too_new() -> None:
    leaf = certificate("localhost", FAMILY.between, names=["localhost"], hashed=hashes.SHA384())
    sent = [leaf.der, FAMILY.between.der]
    found = verdict(sent, replace(TRUSTING, hashes=frozenset({"sha1", "sha256"})))
    assert (only(found).fault, only(found).place) == (Fault.TOO_NEW, 1)
    assert "sha384" in only(found).why
    found = verdict(sent, replace(TRUSTING, keys=frozenset({"RSA"})))
    assert [one.fault for one in found.findings] == [Fault.TOO_NEW] * 3
    newest = certificate("localhost", FAMILY.between, names=["localhost"], key=ed25519.Ed25519PrivateKey.generate())
    assert verdict([newest.der, FAMILY.between.der]).outcome is Outcome.ACCEPTS
    found = verdict([newest.der, FAMILY.between.der], replace(TRUSTING, tls_max="1.0"))
    assert only(found).fault is Fault.TOO_NEW


def test_order_and_authority() -> None:
    between = certificate("Lower", FAMILY.between, ca=True)
    leaf = certificate("localhost", between, names=["localhost"])
    found = verdict([leaf.der, FAMILY.between.der, between.der])
    assert (found.outcome, only(found).fault) == (Outcome.DEPENDS, Fault.OUT_OF_ORDER)
    nobody = certificate("Nobody", FAMILY.between)
    leaf = certificate("localhost", nobody, names=["localhost"])
    found = verdict([leaf.der, nobody.der, FAMILY.between.der])
    assert (found.outcome, only(found).fault, only(found).place) == (Outcome.REFUSES, Fault.NOT_A_CA, 2)


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_whatever_a_server_sends_is_judged(sent: list[bytes]) -> None:
    found = verdict(sent)
    assert (found.outcome, only(found).fault) == (Outcome.REFUSES, Fault.UNREADABLE)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_bent_certificate_is_never_accepted_where_it_counts(place: int, value: int) -> None:
    bent = bytearray(FAMILY.leaf.der)
    before = bent[place % len(bent)]
    bent[place % len(bent)] = value
    found = verdict([bytes(bent), FAMILY.between.der])
    assert (found.outcome is Outcome.ACCEPTS) == (before == value)


def test_every_persona_has_a_store_and_none_is_invented() -> None:
    for persona in personas():
        store = store_of(persona)
        assert store.label in ("source", "inferred"), persona.model
        assert "not known" in store.roots
        assert store.newest == "not known"
    assert store_of(load_persona("yealink", "T58A")).count == 186
    assert store_of(load_persona("yealink", "T46U")).label == "inferred"
    assert store_of(load_persona("poly", "VVX 411")).doubtful == ()
    assert "ISRG Root X1" in store_of(load_persona("poly", "SoundPoint IP 331")).doubtful
