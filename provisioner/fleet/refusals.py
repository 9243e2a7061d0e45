"""Use-cases of the mailbox of refused certificates: look at them, trust their issuer, or say that they are expected."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner import trust
from provisioner.certificates import fingerprint, issuers_of
from provisioner.desk import SettingsDesk, text_of
from provisioner.errors import Conflict, Forbidden, Invalid, NotFound
from provisioner.rights import Right
from provisioner.store import refusals as rows
from provisioner.store.refusals import Refusal, Silence
from provisioner.trust import Ca

_NOTE = 200
"""Characters."""
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Refusals(SettingsDesk):
    """Only for who reaches every account: a certificate that is refused is nobody's."""

    async def refusals(self, *, everything: bool = False) -> list[Refusal]:
        """Refused certificates by issuer and verdict, as far as nobody has said that they are expected; or all."""
        self._require_all(Right.SERVER_READ)
        async with self._store.reading() as connection:
            return await rows.list_refusals(connection, everything=everything)

    async def refusal(self, ident: str) -> Refusal:
        """One group of them."""
        self._require_all(Right.SERVER_READ)
        async with self._store.reading() as connection:
            return await _one(connection, ident)

    async def trust_issuer(self, ident: str, *, fingerprints: Collection[str] = (), vendor: str = "") -> tuple[Ca, ...]:
        """Let the CAs that came with it vouch for a vendor's devices; the notes of what is returned tell their limits.

        ``fingerprints`` are the SHA-256 of all of them, as the maker has told them: anybody can send a CA of any name.
        In force on a running server within a moment. Without a vendor it is the one whose models came with it.
        """
        self._require_all(Right.TRUST_WRITE)
        if self._principal.is_key:
            raise Forbidden("a key trusts no CA: sign in", right=Right.TRUST_WRITE.value)
        async with self._store.reading() as connection:
            one = await _one(connection, ident)
        chosen = _confirmed(one, fingerprints)
        whose = vendor or self._vendor_of(one)
        # Told before it is written to disk and after, so that no CA is trusted of which the audit says nothing. And
        # outside of both transactions: another process may hold the list, a disk may be slow, and phones wait behind
        # the store's turn.
        async with self._change() as change:
            named = " ".join(sorted(fingerprint(der) for der in chosen[1:]))
            change.audit("issuer_trust_begun", vendor=whose, refusal=one.id, fingerprints=named)
        added = await asyncio.to_thread(trust.add_presented, self._settings.data, whose, chosen)
        async with self._change() as change:
            for ca in added:
                change.audit(
                    "issuer_trusted", severity="warning", vendor=ca.vendor, subject=ca.subject,
                    fingerprint=ca.fingerprint, refusal=one.id,
                )  # fmt: skip
        return added

    async def expect_refusals(self, ident: str, *, models: Collection[str], note: str) -> Refusal:
        """Say that refusals of these models are expected; an empty name is for who says nothing of their model."""
        self._require_all(Right.TRUST_WRITE)
        async with self._change() as change:
            one = await _one(change.connection, ident)
            known = {*one.models, *(name for driver in self._drivers.values() for name in driver.manifest.models)}
            if strange := sorted(set(models) - known):
                raise Invalid("model", f"{strange[0]!r} is no model that is known or has come with this certificate")
            if not models:
                raise Invalid("model", "name at least one")
            said = Silence(text_of("note", note, _NOTE), change.actor, change.at)
            await rows.silence(change.connection, one, models, said)
            about = {"issuer": one.issuer, "models": ", ".join(models), "note": said.note}
            change.audit("refusal_expected", refusal=one.id, **about)
            return await _one(change.connection, ident)

    async def dismiss_refusal(self, ident: str, *, note: str = "dismissed") -> Refusal:
        """Put a group aside until it comes with a model that it has not come with so far."""
        found = await self.refusal(ident)
        new = [name for name in found.models if name not in found.silenced]
        return await self.expect_refusals(ident, models=new or list(found.models) or [""], note=note)

    def _vendor_of(self, one: Refusal) -> str:
        models = one.models.keys() - {""}
        found = {name for name, driver in self._drivers.items() if models & driver.manifest.models.keys()}
        if len(found) != 1:
            raise Invalid("vendor", f"say whose CA it is, one of {', '.join(trust.VENDORS)}")
        return found.pop()


def _confirmed(one: Refusal, fingerprints: Collection[str]) -> tuple[bytes, ...]:
    """The device's own certificate and the CAs above it; these must be the named ones, and all of them."""
    named = {_digits(each) for each in fingerprints}
    cas = _issuers(one)
    stored = [fingerprint(der) for der in cas]
    if not named:
        raise Invalid(
            "fingerprint",
            f"name the SHA-256 of each CA that is to be trusted. Here came {' and '.join(stored)}: compare with what "
            "the maker says by another way, such as its site or the phone, for anybody can send a CA of that name",
        )
    if strange := sorted(named - set(stored)):
        raise Conflict(
            f"the CA {strange[0]} is not, or no longer, what came with it: look at the group again and compare anew"
        )
    if unnamed := [each for each in stored if each not in named]:
        raise Conflict(f"the CA {unnamed[0]} came with it, too: compare it with the maker's word and name it as well")
    return (one.chain[0], *cas)


def _digits(text: str) -> str:
    """A fingerprint with colons and case as you like."""
    digits = re.sub(r"[:\s]", "", text).lower()
    if not _SHA256.fullmatch(digits):
        raise Invalid("fingerprint", "must be a whole SHA-256, which is 64 hex digits")
    return digits


def _issuers(one: Refusal) -> tuple[bytes, ...]:
    if not one.chain:
        raise Conflict("none of its certificates was kept")
    if found := issuers_of(one.chain[0], one.chain[1:]):
        return found
    raise Conflict(
        f"only the device's own certificate came with it: get the certificate of its issuer, {one.issuer}, from "
        "the maker, and have that trusted on the server's machine"
    )


async def _one(connection: AsyncConnection, ident: str) -> Refusal:
    found = await rows.find_refusal(connection, ident)
    if found is None:
        raise NotFound(f"there is no group of refused certificates {ident!r}")
    return found
