"""What came of a simulated boot, for people and for scripts; whatever is secret is masked in both."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

MASK = "********"
_SECRET_NAME = re.compile(r"passw|secret|\.key$|_key\b|aes_key|pass$|\bpin\b|token", re.IGNORECASE)
_IN_URL = ((re.compile(r"(://[^/\s:@]*:)[^/\s@]*@"), rf"\1{MASK}@"), (re.compile(r"/t/[^/\s]+"), f"/t/{MASK}"))


class Outcome(StrEnum):
    """In one word: would it ring."""

    REGISTERED = "registered"
    IDLE = "idle"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Step:
    """One request and its answer. ``status`` is 0 where no HTTP answer came."""

    method: str
    path: str
    """Relative to the provisioning URL."""
    status: int
    size: int
    note: str = ""
    """What the phone made of it."""
    fault: str = ""
    """What the server did that some phone cannot bear."""
    sha256: str = ""
    """Of the body, empty when none came."""


@dataclass(frozen=True, slots=True)
class RegisteredLine:
    """A line the phone would register. Transport is ``udp``, ``tcp``, ``tls`` or ``naptr``."""

    number: int
    user: str
    auth_user: str
    server: str
    transport: str
    display_name: str = ""
    backup: str = ""
    secret: str = field(default="", repr=False)
    label: str = ""
    """What stands beside its key; empty where the phone shows none."""
    hotline: str = ""
    """Dialled as soon as the handset or the speaker is picked up."""


@dataclass(frozen=True, slots=True)
class BootReport:
    """All of one boot; equal digests mean equal requests, answers, parameters and lines."""

    vendor: str
    model: str
    mac: str
    url: str
    """Where it asked, credentials and token masked."""
    certificate: str = ""
    """Subject and end of validity of the client certificate; empty when it has none."""
    tls_version: str = ""
    tls_cipher: str = ""
    connections: int = 0
    resumed: int = 0
    """How many of the connections resumed a TLS session."""
    steps: tuple[Step, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Applied in this boot; empty when nothing had changed."""
    lines: tuple[RegisteredLine, ...] = ()
    ignored: tuple[str, ...] = ()
    """Parameters that the phone read and does not heed, with the why."""
    notes: tuple[str, ...] = ()
    refused_because: str = ""
    no_line_because: str = ""
    next_url: str = ""
    """Another provisioning URL that the configuration told the phone to use from now on."""
    digest: str = ""

    @property
    def outcome(self) -> Outcome:
        """Refused goes first: a phone on its old settings was still not served."""
        if self.refused_because:
            return Outcome.REFUSED
        return Outcome.REGISTERED if self.lines else Outcome.IDLE

    @property
    def faults(self) -> tuple[str, ...]:
        """Every fault with the file it happened on."""
        return tuple(f"{step.path}: {step.fault}" for step in self.steps if step.fault)


def masked_url(text: str) -> str:
    """The text without the password of a URL and without an access token in its path."""
    for pattern, replacement in _IN_URL:
        text = pattern.sub(replacement, text)
    return text


def masked(name: str, value: str) -> str:
    """A parameter's value as it may be shown."""
    return MASK if value and _SECRET_NAME.search(name) else masked_url(value)


def digest_of(steps: tuple[Step, ...], parameters: Mapping[str, str], lines: tuple[RegisteredLine, ...]) -> str:
    """SHA-256 (hex) over all that the phone asked, got and made of it, secrets included."""
    told = {
        "steps": [(s.method, s.path, s.status, s.size, s.sha256) for s in steps],
        "parameters": sorted(parameters.items()),
        "lines": [(*_shown(line).values(), line.secret) for line in lines],
    }
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _shown(line: RegisteredLine) -> dict[str, str | int]:
    return {
        "number": line.number,
        "user": line.user,
        "auth_user": line.auth_user,
        "server": line.server,
        "backup": line.backup,
        "transport": line.transport,
        "display_name": line.display_name,
        "label": line.label,
        "hotline": line.hotline,
    }


def as_json(report: BootReport) -> str:
    """One JSON object, secrets masked."""
    told = {
        "vendor": report.vendor,
        "model": report.model,
        "mac": report.mac,
        "url": report.url,
        "outcome": report.outcome,
        "refused_because": report.refused_because,
        "no_line_because": report.no_line_because,
        "certificate": report.certificate,
        "tls": {"version": report.tls_version, "cipher": report.tls_cipher},
        "connections": report.connections,
        "resumed": report.resumed,
        "steps": [_step(step) for step in report.steps],
        "lines": [_shown(line) for line in report.lines],
        "parameters": {name: masked(name, value) for name, value in report.parameters.items()},
        "ignored": list(report.ignored),
        "notes": list(report.notes),
        "next_url": report.next_url,
        "digest": report.digest,
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def _step(step: Step) -> dict[str, str | int]:
    told: dict[str, str | int] = {
        "method": step.method,
        "path": step.path,
        "status": step.status,
        "bytes": step.size,
        "note": step.note,
    }
    return {**told, "fault": step.fault} if step.fault else told


def as_text(report: BootReport) -> str:
    """A table for a terminal: who, each request, each line or why there is none."""
    mac = ":".join(report.mac[i : i + 2] for i in range(0, 12, 2))
    tls = f"{report.tls_version} {report.tls_cipher}" if report.tls_version else "no TLS"
    head = [
        f"{report.vendor} {report.model} {mac} at {report.url}",
        f"  certificate  {report.certificate or 'none'}",
        f"  connection   {tls}, {report.connections} made, {report.resumed} resumed",
    ]
    return "\n".join([*head, "", *_requests(report), "", *_endings(report)])


def _requests(report: BootReport) -> list[str]:
    rows = [("method", "path", "status", "bytes", "")]
    for step in report.steps:
        note = "; ".join(filter(None, (step.note, f"FAULT {step.fault}" if step.fault else "")))
        rows.append((step.method, step.path, str(step.status or "-"), str(step.size), note))
    path = max(len(row[1]) for row in rows)
    return [f"  {m:<6} {p:<{path}} {s:>6} {b:>8}  {n}".rstrip() for m, p, s, b, n in rows]


def _endings(report: BootReport) -> list[str]:
    endings = [
        f"  line {line.number}: {line.user} at {line.server} by {line.transport}"
        + (f", backup {line.backup}" if line.backup else "")
        + (f", shown as {line.display_name!r}" if line.display_name else "")
        + (f", labelled {line.label!r}" if line.label not in ("", line.user, line.display_name) else "")
        + (f", dials {line.hotline} when picked up" if line.hotline else "")
        for line in report.lines
    ]
    if report.no_line_because:
        endings.append(f"  no line: {report.no_line_because}")
    if report.refused_because:
        endings.append(f"  refused: {report.refused_because}")
    if report.next_url:
        endings.append(f"  from now on it asks at {report.next_url}")
    endings += [f"  ignored: {text}" for text in report.ignored]
    endings += [f"  note: {text}" for text in report.notes]
    endings.append(f"  {len(report.parameters)} parameters applied, outcome: {report.outcome}")
    return endings
