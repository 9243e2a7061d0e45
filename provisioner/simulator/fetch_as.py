"""Ask as one phone would, and say what it would make of the server's certificate and of each answer.

The certificate is judged apart from the requests (chain.py): with the roots that are known or given, and by no word of
this machine's OpenSSL. Requests follow only where the phone would make them, or where it is asked to go on anyway.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from cryptography import x509

from provisioner.simulator.boot import boot
from provisioner.simulator.chain import Eyes, Outcome, Verdict, hash_of, judge, key_of, subject_of
from provisioner.simulator.handshake import describe_certificate
from provisioner.simulator.persona import Sequence as Order
from provisioner.simulator.phone import Flash, Phone
from provisioner.simulator.presented import Presented, presented
from provisioner.simulator.report import BootReport, Step, masked_url
from provisioner.simulator.trust_stores import TrustStore, store_of
from provisioner.simulator.walk import MISSING, Link, split_url
from provisioner.simulator.wire import Answer, Origin, TlsSeen, Wire

_PATIENCE: Final = 30.0
"""s: nobody who looks on waits the ten minutes that an OBi would."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One certificate that the server sends."""

    place: int
    subject: str
    issuer: str
    valid: str
    key: str
    hash: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, its answer, and what the phone makes of it."""

    method: str
    path: str
    status: int
    """0 where no answer came."""
    bytes: int
    etag: str
    md5: str
    """Of the body: what a Yealink compares."""
    does: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class FetchReport:
    """All of it."""

    vendor: str
    model: str
    mac: str
    url: str
    agent: str
    certificate: str
    """The phone's own; empty: it presented none."""
    store: TrustStore
    """What is known of such phones."""
    trusts: str
    """What this one is taken to trust."""
    tls: str
    """Version and suite; empty without TLS."""
    offered: str
    sent: tuple[Sent, ...]
    verdict: Verdict | None
    """None without TLS."""
    asked: tuple[Asked, ...]
    ends: str
    """Why no request followed, or why the phone was not served; empty where all went well."""
    lines: int
    notes: tuple[str, ...] = ()

    @property
    def trusted(self) -> bool:
        """The phone would go on after the handshake, as far as anybody knows."""
        return self.verdict is None or self.verdict.outcome in (Outcome.ACCEPTS, Outcome.NOT_KNOWN)


@dataclass(slots=True)
class _Onlooker:
    """A phone's connection, with somebody who writes down what goes over it."""

    wire: Link
    heard: list[tuple[str, Answer]] = field(default_factory=list)

    async def exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        answer = await self.wire.exchange(method, target, headers, body)
        self.heard.append((headers.get("User-Agent", ""), answer))
        return answer

    async def close(self) -> None:
        await self.wire.close()


async def fetch_as(
    phone: Phone, url: str, eyes: Eyes, now: float, *, pool: Sequence[x509.Certificate] = (), anyway: bool = False
) -> FetchReport:
    """Fetch as this phone. Unreachable and NoTls where there is nothing to judge, Invalid for a strange URL.

    ``anyway`` goes on where the phone would have left.
    """
    origin = Origin.of(split_url(url))
    phone = _watched(phone)
    shown: Presented | None = None
    verdict: Verdict | None = None
    if origin.scheme == "https":
        shown = await presented(phone, origin, min(phone.patience or _PATIENCE, _PATIENCE))
        verdict = judge(shown.chain, origin.host, replace(eyes, tls_max=_highest(phone)), now, pool)
    if verdict is not None and verdict.outcome is Outcome.REFUSES and not anyway:
        own = describe_certificate(phone.certificate)
        report = BootReport(phone.persona.vendor, phone.persona.model, str(phone.mac), masked_url(url), own)
        return _report(phone, eyes, report, [], shown, verdict, "the phone ends the connection and asks for nothing")
    heard: list[tuple[str, Answer]] = []
    flash = Flash()

    def connect(at: Origin, seen: TlsSeen) -> Link:
        return _Onlooker(Wire(at, phone, flash, seen), heard)

    found = await boot(phone, url, flash, connect)
    return _report(phone, eyes, found, heard, shown, verdict, found.refused_because)


def fetch_as_now(
    phone: Phone, url: str, eyes: Eyes, now: float, *, pool: Sequence[x509.Certificate] = (), anyway: bool = False
) -> FetchReport:
    """For callers without an event loop."""
    return asyncio.run(fetch_as(phone, url, eyes, now, pool=pool, anyway=anyway))


def _watched(phone: Phone) -> Phone:
    """One attempt each, nothing uploaded, and the server's certificate judged here alone."""
    patience = min(phone.patience or phone.persona.patience, _PATIENCE)
    return replace(
        phone, check_server=False, trust=None, attempts=1, retry_delay=0.0, upload_log=False, patience=patience
    )


def _highest(phone: Phone) -> str:
    return phone.tls_max or phone.persona.tls_max


def _agent(phone: Phone) -> str:
    """As its walk begins: a Yealink tells its Mac, a Poly does not until it is told to."""
    serial = phone.persona.sequence is Order.YEALINK
    return phone.persona.user_agent(phone.mac, firmware=phone.firmware, serial=serial)


def _trusts(store: TrustStore, eyes: Eyes) -> str:
    if eyes.complete:
        return f"what was given for it ({len(eyes.roots)}), and nothing else"
    return f"{store.roots}; and {len(eyes.roots)} of this installation" if eyes.roots else store.roots


def _report(
    phone: Phone,
    eyes: Eyes,
    found: BootReport,
    heard: Sequence[tuple[str, Answer]],
    shown: Presented | None,
    verdict: Verdict | None,
    ends: str,
) -> FetchReport:
    lowest, highest = phone.tls_min or phone.persona.tls_min, _highest(phone)
    store = store_of(phone.persona)
    return FetchReport(
        vendor=phone.persona.vendor,
        model=phone.persona.model,
        mac=str(phone.mac),
        url=found.url,
        agent=heard[-1][0] if heard else _agent(phone),
        certificate=found.certificate,
        store=store,
        trusts=_trusts(store, eyes),
        tls=f"{shown.version} {shown.cipher}" if shown else "",
        offered=lowest if lowest == highest else f"{lowest} to {highest}",
        sent=_sent(shown),
        verdict=verdict,
        asked=tuple(_joined(found.steps, [answer for _, answer in heard])),
        ends=ends,
        lines=len(found.lines),
        notes=tuple(filter(None, (found.no_line_because, *found.notes))),
    )


def _sent(shown: Presented | None) -> tuple[Sent, ...]:
    return tuple(_one(place, der) for place, der in enumerate(shown.chain if shown else (), 1))


def _one(place: int, der: bytes) -> Sent:
    sha256 = hashlib.sha256(der).hexdigest()
    try:
        one = x509.load_der_x509_certificate(der)
        kind, bits = key_of(one)
        return Sent(
            place, subject_of(one), one.issuer.rfc4514_string(),
            f"{one.not_valid_before_utc:%Y-%m-%d} to {one.not_valid_after_utc:%Y-%m-%d}",
            f"{kind} {bits}" if bits else kind, hash_of(one), sha256,
        )  # fmt: skip
    except ValueError:
        return Sent(place, "cannot be read", "", "", "", "", sha256)


def _joined(steps: Sequence[Step], answers: Sequence[Answer]) -> list[Asked]:
    """Each step with the answer it came from: in one order, and a step without a status had none."""
    waiting, rows = iter(answers), []
    for step in steps:
        answer = next(waiting, None) if step.status else None
        body = answer.body if answer is not None and step.method == "GET" else b""
        etag = answer.first("etag") if answer is not None else ""
        md5 = hashlib.md5(body, usedforsecurity=False).hexdigest() if body else ""
        rows.append(Asked(step.method, step.path, step.status, step.size, etag, md5, _does(step), step.fault))
    return rows


def _does(step: Step) -> str:
    """What the phone does next, in words."""
    note = f" ({step.note})" if step.note else ""
    if not step.status:
        return f"stops asking{note}"
    if step.fault:
        return f"does not use it{note}"
    if step.status == 200:
        return f"reads it{note}"
    if step.status in MISSING:
        return f"goes on to the next name{note}"
    if step.status == 401:
        return f"answers with its credentials where it has some{note}"
    return f"counts it as a failure{note}"
