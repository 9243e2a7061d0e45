"""Which CAs may vouch for devices: the shipped catalogue and the operator's DATA/trust, less what is untrusted.

Every file is named by its SHA-256; a file that is not the named one stops the server. Untrusting never deletes: a
CA's key is then refused wherever it appears in a chain, because phones send their CAs along.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from provisioner.certificates import (
    MODERN,
    Anchors,
    CertFacts,
    Unreadable,
    ca_objection,
    chain_to,
    fingerprint,
    issuers_of,
    read,
    stamp,
    to_der,
    to_pem,
    weakness,
)
from provisioner.errors import Conflict, Invalid, NotFound, Unusable
from provisioner.shipped import shipped

_PATIENCE: Final = 5.0
"""s that a change of the list waits for another one."""
VENDORS: Final = ("poly", "yealink", "grandstream", "cisco", "snom", "fanvil", "audiocodes", "algo", "gigaset")
"""Makers whose factory CAs may be trusted, with or without a driver here."""
WARN_DAYS: Final = (7, 30, 90)

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_LARGEST_FILE: Final = 1024 * 1024  # bytes
_DAY: Final = 86_400  # s


@dataclass(frozen=True, slots=True)
class Ca:
    """One CA known here, for tables and for the chain."""

    vendor: str
    role: str
    """root: a chain may end here; issuing: helps a phone that sends only its leaf."""
    subject: str
    fingerprint: str
    not_before: str
    not_after: str
    origin: str
    """shipped or operator."""
    state: str
    """trusted, distrusted, or known: by fingerprint only, no file ships."""
    file: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()
    der: bytes = field(default=b"", repr=False)
    spki: str = ""


@dataclass(frozen=True, slots=True)
class Expiry:
    """A certificate whose end is near or past."""

    kind: str
    """root, issuing, server or pinned."""
    name: str
    not_after: str
    days: int
    """Whole days left; negative when past."""

    @property
    def text(self) -> str:
        """For people."""
        if self.days < 0:
            return f"{self.kind} {self.name} expired at {self.not_after}"
        return f"{self.kind} {self.name} expires in {self.days} days, at {self.not_after}"

    @property
    def severity(self) -> str:
        """Alarm when it is past or a week away, otherwise warning."""
        return "alarm" if self.days < WARN_DAYS[0] else "warning"


@dataclass(frozen=True, slots=True)
class Trust:
    """All CAs known here and the keys that prove nothing."""

    cas: tuple[Ca, ...]
    denied: Mapping[str, str]
    """SPKI -> why."""

    @property
    def trusted(self) -> tuple[Ca, ...]:
        """The CAs in force."""
        return tuple(ca for ca in self.cas if ca.state == "trusted")

    @property
    def anchors(self) -> Anchors:
        """What identity judges by."""
        roots = {ca.fingerprint: (ca.vendor, ca.subject) for ca in self.trusted if ca.role == "root"}
        return Anchors(MappingProxyType(roots), tuple(ca.der for ca in self.trusted), self.denied)

    @property
    def pem_bundle(self) -> bytes:
        """Roots and issuing CAs for the TLS store, so that a phone that sends only its leaf verifies."""
        return b"".join(to_pem(ca.der) for ca in self.trusted)

    def find(self, name: str) -> Ca:
        """The CA with this fingerprint, colons and case as you like, or its first 16 digits or more."""
        wanted = name.replace(":", "").replace(" ", "").lower()
        if not re.fullmatch(r"[0-9a-f]{16,64}", wanted):
            raise Invalid("fingerprint", "must be a SHA-256 in hex digits, or at least its first 16")
        found = [ca for ca in self.cas if ca.fingerprint.startswith(wanted)]
        if len(found) != 1:
            raise NotFound(f"no CA with fingerprint {wanted}; `provisioner certs list` shows all")
        return found[0]

    def check(
        self, now: float, server_certs: Sequence[Path] = (), pinned: Iterable[tuple[str, str]] = ()
    ) -> tuple[Expiry, ...]:
        """What has expired or will within 90 days, soonest first. ``pinned`` is (Mac, not_after) of the pins."""
        ends = [(ca.role, ca.subject, ca.not_after) for ca in self.trusted]
        ends += [("server", f"{path}", stamp(_first(path).not_after)) for path in server_certs]
        ends += [("pinned", mac, not_after) for mac, not_after in pinned if not_after]
        found = [Expiry(kind, name, end, _days(end, now)) for kind, name, end in ends]
        return tuple(sorted((one for one in found if one.days < WARN_DAYS[-1]), key=lambda one: one.days))


def withdrawn(before: Trust, after: Trust) -> bool:
    """Whether something that was good before no longer is: a CA was taken back, or a key is denied now."""
    still = {(ca.vendor, ca.fingerprint) for ca in after.trusted}
    gone = {(ca.vendor, ca.fingerprint) for ca in before.trusted} - still
    return bool(gone or after.denied.keys() - before.denied.keys())


def _days(not_after: str, now: float) -> int:
    return int((datetime.fromisoformat(not_after) - datetime.fromtimestamp(now, UTC)).total_seconds() // _DAY)


def _first(path: Path) -> CertFacts:
    """The first certificate of a server's PEM file."""
    try:
        return read(to_der(path.read_bytes())[0])
    except (OSError, Unreadable) as error:
        told = (error.strerror if isinstance(error, OSError) else "") or error
        raise Unusable(
            f"{path}: no certificate can be read from it ({told}); `provisioner certs renew-server` makes one"
        ) from error


# --- loading --------------------------------------------------------------------------------------


def load(data: Path, certs: Path | None = None) -> Trust:
    """The catalogue and DATA/trust; Unusable when a file is missing, forged or broken."""
    catalogue = certs or shipped("certs")
    cas, denied = _catalogue(catalogue)
    added, distrusted = _additions(data / "trust")
    every = [*cas, *(ca for ca in added if ca.fingerprint not in {one.fingerprint for one in cas if one.der})]
    with_file = {ca.fingerprint for ca in every if ca.der}
    every = [ca for ca in every if ca.der or ca.fingerprint not in with_file]
    marked = tuple(replace(ca, state="distrusted") if ca.fingerprint in distrusted else ca for ca in every)
    denied |= {ca.spki: "the operator does not trust it" for ca in marked if ca.state == "distrusted" and ca.spki}
    return Trust(marked, MappingProxyType(denied))


def _catalogue(directory: Path) -> tuple[list[Ca], dict[str, str]]:
    path = directory / "catalogue.toml"
    document = _toml(path, "install the package again")
    try:
        cas = [_shipped_ca(directory, row) for row in document.get("ca", [])]
        denied = {str(row["spki"]): str(row["why"]) for row in document.get("deny", [])}
    except (KeyError, TypeError) as error:
        raise Unusable(f"{path}: a row lacks {error}; install the package again") from error
    if not cas:
        raise Unusable(f"{path} names no CA; install the package again")
    return cas, denied


def _shipped_ca(directory: Path, row: Mapping[str, str]) -> Ca:
    ca = Ca(
        vendor=row["vendor"],
        role=row["role"],
        subject=row["subject"],
        fingerprint=row["sha256"],
        not_before=row["not_before"],
        not_after=row["not_after"],
        origin="shipped",
        state="known",
        source=row["source"],
        notes=tuple(row.get("notes", ())),
    )
    if "file" not in row:
        return ca
    advice = "the file or catalogue.toml was changed; install the package again"
    der, facts = _named(directory / row["file"], ca.fingerprint, advice)
    told = (ca.role, ca.subject, ca.not_before, ca.not_after)
    if told != (_role(facts), facts.subject, stamp(facts.not_before), stamp(facts.not_after)):
        raise Unusable(f"{directory / row['file']}: catalogue.toml tells another role, subject or validity; {advice}")
    return replace(ca, state="trusted", file=row["file"], der=der, spki=facts.spki)


def _named(path: Path, sha256: str, advice: str) -> tuple[bytes, CertFacts]:
    """The one certificate of a file, which must be the one that is named."""
    try:
        ders = to_der(path.read_bytes())
        if len(ders) != 1 or fingerprint(ders[0]) != sha256:
            raise Unusable(f"{path}: its SHA-256 is not {sha256}; {advice}")
        return ders[0], read(ders[0])
    except (OSError, Unreadable) as error:
        raise Unusable(f"{path}: {error}; {advice}") from error


def _additions(directory: Path) -> tuple[list[Ca], frozenset[str]]:
    path = directory / "trust.toml"
    if not path.exists():
        return [], frozenset()
    advice = f"restore it from a backup, or delete {path} and trust the CAs again"
    document = _toml(path, advice)
    try:
        rows = [(str(row["vendor"]), str(row["sha256"])) for row in document.get("ca", [])]
        distrusted = frozenset(str(one) for one in document.get("distrusted", []))
    except (KeyError, TypeError) as error:
        raise Unusable(f"{path}: a row lacks {error}; {advice}") from error
    for sha256 in (*(sha256 for _, sha256 in rows), *distrusted):  # before it becomes the name of a file
        if not _SHA256.fullmatch(sha256):
            raise Unusable(f"{path}: {sha256[:80]!a} is no SHA-256, which is 64 digits 0-9a-f; {advice}")
    found = []
    for vendor, sha256 in rows:
        der, facts = _named(directory / f"{sha256}.pem", sha256, advice)
        found.append(_operators(vendor, der, facts))
    return found, distrusted


def _operators(vendor: str, der: bytes, facts: CertFacts) -> Ca:
    role = _role(facts)
    return Ca(
        vendor=vendor,
        role=role,
        subject=facts.subject,
        fingerprint=facts.fingerprint,
        not_before=stamp(facts.not_before),
        not_after=stamp(facts.not_after),
        origin="operator",
        state="trusted",
        file=f"{facts.fingerprint}.pem",
        source="added by the operator",
        notes=_notes(facts, role),
        der=der,
        spki=facts.spki,
    )


def _role(facts: CertFacts) -> str:
    return "root" if facts.subject == facts.issuer else "issuing"


def _notes(facts: CertFacts, role: str) -> tuple[str, ...]:
    weak = weakness(facts, MODERN, anchor=role == "root")
    notes = [f"Only the legacy listener takes chains with it: {weak}."] if weak else []
    if facts.common_name.startswith("Demo "):
        notes.append("A demo CA: its key lies on this disk. Untrust it before real phones come.")
    return tuple(notes)


def _toml(path: Path, advice: str) -> dict[str, list[dict[str, str]]]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise Unusable(f"{path} cannot be read: {error}; {advice}") from error


# --- changing -----------------------------------------------------------------------------------


def show(path: Path) -> tuple[Ca, ...]:
    """What is in a certificate file, trusted or not; for ``certs show``."""
    return tuple(
        replace(_operators("", der, facts), origin="file", state="known", file=path.name, source="")
        for der, facts in _from_file(path)
    )


def add(data: Path, vendor: str, path: Path, certs: Path | None = None) -> tuple[Ca, ...]:
    """Trust every CA of a PEM or DER file for a vendor, all or none; Invalid or Conflict says why not.

    The notes of what is returned tell its weaknesses. In force at the next start or reload.
    """
    return _add(data, vendor, lambda: _from_file(path), certs)


def add_presented(data: Path, vendor: str, ders: Sequence[bytes], certs: Path | None = None) -> tuple[Ca, ...]:
    """The same for the CAs that a device has presented, its own certificate first; all or none of those above it.

    Those that are trusted already are left out; Invalid where none is there.
    """
    try:
        cas = [(der, read(der)) for der in issuers_of(ders[0], ders[1:])]
    except Unreadable as error:
        raise Invalid("chain", f"one of its certificates cannot be read: {error}") from error
    if not cas:
        raise Invalid("chain", "none of its certificates has issued the device's")
    known = {one.fingerprint for one in load(data, certs).trusted}
    fresh = [(der, facts) for der, facts in cas if facts.fingerprint not in known]
    if not fresh:
        raise Conflict("every CA in its chain is trusted already")
    return _add(data, vendor, lambda: fresh, certs)


def _add(
    data: Path, vendor: str, given: Callable[[], Sequence[tuple[bytes, CertFacts]]], certs: Path | None
) -> tuple[Ca, ...]:
    if vendor not in VENDORS:
        raise Invalid("vendor", f"must be one of {', '.join(VENDORS)}")
    with _locked(data / "trust") as directory:
        before = load(data, certs)
        found = tuple(_addable(before, vendor, der, facts) for der, facts in given())
        found = tuple(_rooted(ca, before, found) for ca in found)
        _store_additions(directory, before, found)
    return found


def remove(data: Path, name: str, certs: Path | None = None) -> Ca:
    """Untrust the CA with this fingerprint, shipped or added: its key is refused in every chain from then on."""
    with _locked(data / "trust") as directory:
        before = load(data, certs)
        ca = before.find(name)
        if ca.state != "trusted":
            raise Conflict(f"{ca.subject} is not trusted, so there is nothing to take back")
        gone = replace(ca, state="distrusted")
        after = replace(before, cas=tuple(gone if one is ca else one for one in before.cas))
        _write_list(directory, after)
    return gone


def _from_file(path: Path) -> list[tuple[bytes, CertFacts]]:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise Invalid("file", f"{path} is larger than 1 MiB; that is no list of CAs")
        return [(der, read(der)) for der in to_der(path.read_bytes())]
    except (OSError, Unreadable) as error:
        raise Invalid("file", f"{path}: {error}") from error


def _addable(trust: Trust, vendor: str, der: bytes, facts: CertFacts) -> Ca:
    if why := ca_objection(der):
        raise Invalid("file", f"{facts.subject} {why}; trust the CA that issued it instead")
    if _role(facts) == "root" and not chain_to([der], der, self_signed=True):
        raise Invalid("file", f"{facts.subject} names itself as its issuer but its signature is not its own")
    for known in trust.cas:
        same = known.fingerprint == facts.fingerprint
        if not same and known.spki != facts.spki:
            continue
        if not same and known.state == "distrusted":
            raise Conflict(f"{facts.subject} has the key of a CA that is distrusted; trust {known.fingerprint} first")
        if known.vendor != vendor and not (known.origin == "operator" and known.state == "distrusted"):
            raise Conflict(f"{facts.subject} is a CA of {known.vendor}, not of {vendor}")
        if same and known.state == "trusted":
            raise Conflict(f"{facts.subject} is trusted already")
    return _operators(vendor, der, facts)


def _rooted(ca: Ca, before: Trust, others: Sequence[Ca]) -> Ca:
    """An issuing CA must hang under a root of its own vendor; without any root it is told to be of no use yet."""
    if ca.role == "root":
        return ca
    pool = {one.fingerprint: one for one in (*before.trusted, *others)}
    chain = chain_to([one.der for one in pool.values() if one is not ca], ca.der)
    if not chain:
        note = "Its root is not trusted yet: phones below it stay untrusted until it is."
        return replace(ca, notes=(*ca.notes, note))
    root = pool[fingerprint(chain[-1])]
    if root.vendor != ca.vendor:
        raise Conflict(f"{ca.subject} hangs under a root of {root.vendor}, so its phones are {root.vendor}'s")
    return ca


# --- writing ------------------------------------------------------------------------------------


@contextmanager
def _locked(directory: Path) -> Iterator[Path]:
    """One change at a time: two administrators must not write over each other's list; Conflict while one lasts."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / ".lock").open("a") as lock:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise Conflict(f"another process is changing the trusted CAs, and holds {lock.name}") from None
            time.sleep(0.05)
        yield directory


def _store_additions(directory: Path, before: Trust, found: Sequence[Ca]) -> None:
    new = {ca.fingerprint: ca for ca in found}
    for ca in found:
        _replace_file(directory / ca.file, to_pem(ca.der))
    kept = []
    for ca in before.cas:
        again = new.get(ca.fingerprint)
        if again is None:
            kept.append(ca)
        elif ca.origin == "shipped" and ca.der:
            kept.append(replace(ca, state="trusted"))
            del new[ca.fingerprint]
    _write_list(directory, replace(before, cas=(*kept, *new.values())))


def _write_list(directory: Path, trust: Trust) -> None:
    lines = ["# Written by `provisioner certs trust` and `untrust`."]
    distrusted = (f'"{ca.fingerprint}"' for ca in trust.cas if ca.state == "distrusted")
    lines.append(f"distrusted = [{', '.join(distrusted)}]")
    for ca in trust.cas:
        if ca.origin == "operator":
            lines += ["", "[[ca]]", f'vendor = "{ca.vendor}"', f'sha256 = "{ca.fingerprint}"']
    _replace_file(directory / "trust.toml", ("\n".join(lines) + "\n").encode())


def _replace_file(path: Path, content: bytes) -> None:
    """Durable and whole: a crash leaves the old file or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
