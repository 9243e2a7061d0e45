"""PeerCert -> verdict and Mac. The vendor is the trust anchor at which the verified chain ends, never a name. Pure.

TLS lets every certificate through (it only proves possession of the key); what it is worth is decided here, in the
order of docs/identity.md: trust, strength, time, name.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from OpenSSL import crypto

from provisioner.certificates import (
    BROKEN,
    MODERN,
    Anchors,
    CertFacts,
    Policy,
    Unreadable,
    ca_store,
    read,
    stamp,
    weakness,
)
from provisioner.errors import ProvisionerError
from provisioner.factory_names import RULES, plain_name
from provisioner.model import NOBODY, FactoryName, Identity, ListenerKind, PeerCert, Verdict

__all__ = ["POLICIES", "Anchors", "Identifier", "Policy"]

# --- what OpenSSL reports (openssl-verification-options(1), x509_vfy.h) ----------------------------

_SELF_SIGNED: Final = 18
_WRONG_PURPOSE: Final = 26
_WEIGHED_HERE: Final = frozenset({9, 10, 66, 67, 68})
"""Not yet valid, expired, key too small (leaf, CA), hash too weak: judged below from the certificates themselves, so
that a resumed session without any error list gets the same verdict."""
_WORDS: Final = MappingProxyType(
    {
        2: "the issuer of one of its CAs is unknown",
        7: "a signature in its chain is wrong",
        18: "it signed itself",
        19: "its chain ends in a root that is not trusted here",
        20: "its issuer is unknown",
        21: "its issuer is unknown and it came without a chain",
        22: "its chain is too long",
        24: "one of its issuers is not a CA",
        26: "one of its issuers may not vouch for TLS clients",
        79: "one of its issuers is not a CA",
    }
)
_DEEPEST: Final = 6
"""Certificates in a chain: leaf, at most four CAs, root. The longest known (Polycom) has four."""
_KEPT_CAS: Final = 256
"""Intermediates remembered: each vendor has a handful; a sibling worker's resumed sessions are verified with them."""


POLICIES: Final[Mapping[ListenerKind, Policy]] = MappingProxyType(
    {kind: MODERN for kind in ListenerKind}
    | {ListenerKind.LEGACY: Policy(min_rsa_bits=1024, min_ec_bits=224, weak_hashes=frozenset({"md5"}))}
)


@dataclass(frozen=True, slots=True)
class _Proven:
    """A leaf whose chain was verified to end at an anchor: all that does not depend on the clock or the listener."""

    identity: Identity
    """As it is while the chain is strong and valid: unique or generic."""
    path: int
    """Hash of the chain above the leaf."""
    begins: float
    begins_why: str
    ends: float
    ends_why: str
    weak: Mapping[ListenerKind, str]


_STRONG: Final[Mapping[ListenerKind, str]] = MappingProxyType({})


class _Refused(Exception):
    """Why a chain does not count; stays in this module."""

    def __init__(self, verdict: Verdict, why: str) -> None:
        super().__init__(why)
        self.verdict = verdict
        self.why = why


class Identifier:
    """Judges certificates; remembers proven leaves by fingerprint, so resumed sessions keep their identity."""

    def __init__(
        self,
        anchors: Anchors,
        drivers_identify: Mapping[str, Callable[[PeerCert], FactoryName]],
        memory: int,
        *,
        key_bits: Mapping[str, int] | None = None,
        policies: Mapping[ListenerKind, Policy] = POLICIES,
    ) -> None:
        """``memory`` is the number of leaves; ``key_bits`` the RSA size a vendor's leaves have on modern listeners."""
        self._anchors = anchors
        self._drivers = drivers_identify
        self._memory: OrderedDict[bytes, _Proven] = OrderedDict()
        self._most = memory
        self._key_bits = key_bits or {}
        self._policies = policies
        self._cas: OrderedDict[bytes, CertFacts] = OrderedDict()
        self._own = {der: read(der) for der in anchors.cas}
        self._store = ca_store(anchors.cas)
        self._learned: tuple[crypto.X509, ...] | None = None

    def judge(self, cert: PeerCert | None, listener: ListenerKind, now: float) -> Identity:
        """The verdict on what a peer presented; never raises, whatever the certificate holds."""
        if cert is None:
            return NOBODY
        try:
            proven = self._recall(cert.leaf) if cert.resumed else self._prove(cert)
        except _Refused as refused:
            return _refusal(cert.leaf, refused.verdict, refused.why)
        return _weigh(proven, listener, now)

    # --- trust ----------------------------------------------------------------------------------

    def _prove(self, cert: PeerCert) -> _Proven:
        """A full handshake: the chain counts only when nothing speaks against it and it ends at an anchor."""
        _check_errors(cert.errors)
        if not 2 <= len(cert.chain) <= _DEEPEST or cert.chain[0] != cert.leaf:
            raise _Refused(Verdict.UNTRUSTED, f"its chain of {len(cert.chain)} certificates is not one of a device")
        digest, path = hashlib.sha256(cert.leaf).digest(), hash(cert.chain[1:])
        known = self._memory.get(digest)
        if known is not None and known.path == path:
            self._memory.move_to_end(digest)
            return known
        return self._learn(digest, path, cert)

    def _recall(self, leaf: bytes) -> _Proven:
        """A resumed session shows a leaf and no chain: remembered, or verified again with the CAs known here."""
        digest = hashlib.sha256(leaf).digest()
        known = self._memory.get(digest)
        if known is not None:
            self._memory.move_to_end(digest)
            return known
        try:
            chain = self._rebuild(leaf)
        except (crypto.X509StoreContextError, crypto.Error, Unreadable) as error:
            why = "resumed session whose chain is not known here"
            raise _Refused(Verdict.UNTRUSTED, why) from error
        return self._learn(digest, hash(chain[1:]), PeerCert(leaf, chain, resumed=True))

    def _rebuild(self, leaf: bytes) -> tuple[bytes, ...]:
        facts = read(leaf)
        if facts.key == "RSA" and facts.bits > MODERN.max_rsa_bits:
            raise Unreadable("a key too large to verify with")
        if self._learned is None:
            self._learned = tuple(crypto.load_certificate(crypto.FILETYPE_ASN1, der) for der in self._cas)
        certificate = crypto.load_certificate(crypto.FILETYPE_ASN1, leaf)
        chain = crypto.X509StoreContext(self._store, certificate, self._learned).get_verified_chain()
        return tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in chain)

    def _learn(self, digest: bytes, path: int, cert: PeerCert) -> _Proven:
        """Read a verified chain once and remember what it proves."""
        try:
            leaf = read(cert.leaf)
            above = tuple(self._ca(der) for der in cert.chain[1:])
        except Unreadable as error:
            raise _Refused(Verdict.UNTRUSTED, f"it cannot be read: {error}") from error
        vendor, _ = self._anchors.roots.get(above[-1].fingerprint, ("", "")) if above else ("", "")
        if not vendor:
            shown = above[-1].subject if above else leaf.subject
            raise _Refused(Verdict.UNTRUSTED, f"its chain ends in {shown}, which is not trusted here")
        for one in (leaf, *above):
            if one.spki in self._anchors.denied:
                why = f"the key of {one.subject} is distrusted: {self._anchors.denied[one.spki]}"
                raise _Refused(Verdict.UNTRUSTED, why)
        self._keep_cas(cert.chain[1:-1], above)
        proven = self._proven(path, vendor, self._name(vendor, leaf, cert), (leaf, *above))
        self._memory[digest] = proven
        if len(self._memory) > self._most:
            self._memory.popitem(last=False)
        return proven

    def _ca(self, der: bytes) -> CertFacts:
        return self._own.get(der) or self._cas.get(der) or read(der)

    def _keep_cas(self, ders: Sequence[bytes], facts: Sequence[CertFacts]) -> None:
        """Only CAs of chains that were proven, so a stranger cannot fill this."""
        for der, one in zip(ders, facts, strict=False):
            if der not in self._cas and der not in self._own:
                self._cas[der] = one
                self._learned = None
            if len(self._cas) > _KEPT_CAS:
                self._cas.popitem(last=False)

    # --- name and strength ------------------------------------------------------------------------

    def _name(self, vendor: str, leaf: CertFacts, cert: PeerCert) -> FactoryName:
        driver = self._drivers.get(vendor)
        if driver is None:
            return RULES.get(vendor, plain_name)(leaf)
        try:
            with warnings.catch_warnings(action="ignore"):
                return driver(cert)
        except (*BROKEN, LookupError, ProvisionerError) as error:
            return FactoryName(None, note=f"its names cannot be read: {type(error).__name__}")

    def _proven(self, path: int, vendor: str, name: FactoryName, chain: tuple[CertFacts, ...]) -> _Proven:
        leaf = chain[0]
        begins = max(chain, key=lambda one: one.not_before)
        ends = min(chain, key=lambda one: one.not_after)
        note = name.note or "the certificate names no single device"
        return _Proven(
            identity=Identity(
                Verdict.UNIQUE if name.mac else Verdict.GENERIC,
                vendor,
                name.mac,
                leaf.spki,
                leaf.subject,
                leaf.issuer,
                stamp(leaf.not_before),
                stamp(leaf.not_after),
                why=name.note if name.mac else f"generic: {note}",
            ),
            path=path,
            begins=begins.not_before,
            begins_why=_whose(begins, leaf),
            ends=ends.not_after,
            ends_why=_whose(ends, leaf),
            weak=self._weakness(vendor, chain) or _STRONG,
        )

    def _weakness(self, vendor: str, chain: tuple[CertFacts, ...]) -> dict[ListenerKind, str]:
        found = {}
        for kind, policy in self._policies.items():
            if kind is not ListenerKind.LEGACY and vendor in self._key_bits:
                leaf_policy = replace(policy, min_rsa_bits=self._key_bits[vendor])
            else:
                leaf_policy = policy
            why = weakness(chain[0], leaf_policy)
            why = why or next(filter(None, (weakness(one, policy) for one in chain[1:-1])), "")
            if why := why or weakness(chain[-1], policy, anchor=True):
                found[kind] = f"{why}; the {kind} listener does not take it"
        return found


def _check_errors(errors: Sequence[tuple[int, int]]) -> None:
    """One error that is not ours to weigh makes the chain a stranger's story: OpenSSL then follows *his* root.

    A leaf that may not be a TLS client by its own key usage (26 at depth 0) is forgiven: factory leaves were made for
    the phone's web page, and the factory CA says whose key it is, whatever it was meant for.
    """
    serious = [
        (code, depth)
        for code, depth in errors
        if code not in _WEIGHED_HERE and not (code == _WRONG_PURPOSE and depth == 0)
    ]
    if not serious:
        return
    codes = {code for code, _ in serious}
    verdict = Verdict.SELF_SIGNED if codes == {_SELF_SIGNED} else Verdict.UNTRUSTED
    code = serious[0][0]
    raise _Refused(verdict, _WORDS.get(code, f"OpenSSL verification error {code}"))


def _refusal(leaf: bytes, verdict: Verdict, why: str) -> Identity:
    """No vendor and no Mac: nothing of it is proven. The names are for the event."""
    try:
        facts = read(leaf)
    except Unreadable as error:
        return Identity(verdict, why=f"{why}; it cannot be read: {error}")
    return Identity(
        verdict,
        spki=facts.spki,
        subject=facts.subject,
        issuer=facts.issuer,
        not_before=stamp(facts.not_before),
        not_after=stamp(facts.not_after),
        why=why,
    )


def _weigh(proven: _Proven, listener: ListenerKind, now: float) -> Identity:
    """Strength before time: an expired leaf may be forgiven later, a weak one never."""
    identity = proven.identity
    if why := proven.weak.get(listener):
        return replace(identity, verdict=Verdict.WEAK, why=why)
    if now < proven.begins:
        why = f"{proven.begins_why} is valid from {stamp(proven.begins)} and the clock here says {stamp(now)}: check it"
        return replace(identity, verdict=Verdict.NOT_YET_VALID, why=why)
    if now > proven.ends:
        return replace(identity, verdict=Verdict.EXPIRED, why=f"{proven.ends_why} expired at {stamp(proven.ends)}")
    return identity


def _whose(one: CertFacts, leaf: CertFacts) -> str:
    return "the device's certificate" if one is leaf else f"the CA {one.common_name[:80]!r}"
