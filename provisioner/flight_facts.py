"""What a record of the flight recorder witnesses, as facts; and what came of telling a device, out of its events. Pure.

Rule: a fact is given only for what was seen. What is inferred says so: ``sure`` is "no" then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from provisioner.diagnosis.facts import Fact, Kind, Source, Witness
from provisioner.tls_names import ALERTS, BY_FAULT, SIGNATURES, SUITES, VERSIONS, alert_code, named

_FAULTS: Final = frozenset({*BY_FAULT, "handshake_failed"})
_GATE: Final = "gate_"
_ALERT: Final = "alert_"
_EARLY: Final = frozenset({"deferred", "paused", "busy"})
_STALLS: Final = {
    "handshake_timeout": "handshake", "hello_timeout": "hello", "hello_crowded_out": "hello",
    "head_timeout": "request", "stalled": "answer",
}  # fmt: skip
_SIP: Final = re.compile(r"SIP ([1-6][0-9]{2})\b")
_STEP: Final = 1e-6
"""s between facts of which the record knows the order and the same millisecond."""
_TCP: Final = ("retransmits", "unacked", "sacked", "lost", "resent", "rtt", "path_mtu")


class Told(Protocol):
    """An event."""

    @property
    def at(self) -> float:
        """Unix time."""

    @property
    def kind(self) -> str:
        """What happened."""

    @property
    def id(self) -> int:
        """Its number in the log."""

    @property
    def details(self) -> Mapping[str, str]:
        """The rest."""


def facts_of(ident: str, at: float, address: str, told: Mapping[str, Any]) -> list[Fact]:
    """All of one record."""
    return list(_Reader(ident, at, address, told))


def notify_facts(events: Iterable[Told]) -> list[Fact]:
    """What came of telling a device to fetch again."""
    return [
        Fact(Kind.NOTIFY, one.at, Witness(Source.SERVER, f"event {one.id}"), _told_how(one.details))
        for one in events
        if one.kind == "resync_told"
    ]


def _told_how(details: Mapping[str, str]) -> Mapping[str, str]:
    result = details.get("result", "")
    status = {"status": found[1]} if (found := _SIP.match(result)) else {}
    return {"result": result, **status, **({"way": details["way"]} if details.get("way") else {})}


class _Reader:
    """Reads ``told``; what is missing there gives no fact."""

    def __init__(self, ident: str, at: float, address: str, told: Mapping[str, Any]) -> None:
        self._ident = ident
        self._at = at
        self._end = at + float(told.get("e", 0.0)) + (2 * len(told.get("r", ())) + 1) * _STEP
        self._address = address
        self._told = told
        self._label = str(told.get("x", ""))
        self._why = str(told.get("why", ""))
        self._done = bool(told.get("t")) and not told.get("broke")

    def __iter__(self) -> Iterator[Fact]:
        yield self._fact(Kind.ACCEPTED, self._at, address=self._address, port=self._told.get("p"),
                         listener=self._told.get("l"))  # fmt: skip
        yield from self._gate()
        yield from self._hello()
        yield from self._server_hello()
        yield from self._chain()
        yield from self._alerts()
        yield from self._outcome()
        yield from self._verdict()
        for place, row in enumerate(self._told.get("r", ())):
            yield from self._request(row, self._at + row[0] + place * 2 * _STEP)
        yield from self._stalled()
        yield from self._closed()

    def _fact(self, kind: Kind, at: float, **values: object) -> Fact:
        said = {name.rstrip("_"): str(value) for name, value in values.items() if value not in (None, "")}
        return Fact(kind, at, Witness(Source.SERVER, f"record {self._ident}"), {"connection": self._ident, **said})

    # --- before the request ---------------------------------------------------------------------------

    def _gate(self) -> Iterable[Fact]:
        if self._label.startswith(_GATE):
            yield self._fact(Kind.REFUSED_EARLY, self._end, by="gate", why=self._label.removeprefix(_GATE))

    def _hello(self) -> Iterable[Fact]:
        hello = self._told.get("h")
        if not hello:
            return
        versions, suites, signatures, name, *random = hello  # records of older releases have no random
        said = {"signature_algorithms": named(numbers(signatures), SIGNATURES)}
        said |= {} if name is None else {"sni": name}  # None: it was taken out
        known = self._fact(
            Kind.HELLO, self._at, by="phone", versions=named(versions, VERSIONS),
            suites=named(numbers(suites), SUITES), random="".join(random),
        )  # fmt: skip
        yield replace(known, values={**known.values, **said})  # that there is none is something seen, too

    def _server_hello(self) -> Iterable[Fact]:
        agreed = self._told.get("t") or self._told.get("broke")
        if agreed and agreed[1]:
            yield self._fact(Kind.SERVER_HELLO, self._at, version=agreed[0], suite=agreed[1])

    def _chain(self) -> Iterable[Fact]:
        chain: Sequence[Sequence[Any]] = self._told.get("c", ())
        if not chain:
            if self._done and not self._told["t"][2]:
                yield self._fact(Kind.CHAIN, self._at, by="phone", length=0)
            return
        subject, issuer, begins, ends, key, bits, hashed = chain[0]
        resumed = self._done and self._told["t"][2]
        yield self._fact(
            Kind.CHAIN, self._at, by="phone", length=None if resumed else self._told.get("n", len(chain)),
            subject=subject, issuer=issuer, not_before=begins, not_after=ends, key=f"{key} {bits}", signature=hashed,
            root=None if resumed else chain[-1][1],
        )  # fmt: skip

    def _alerts(self) -> Iterable[Fact]:
        if self._label.startswith(_ALERT):
            name = self._label.removeprefix(_ALERT)
            code = alert_code(name)
            yield self._fact(Kind.ALERT, self._end, by="phone", code=code if code >= 0 else None, name=name)
        elif (sent := int(self._told.get("al", 0))) != 0:
            code = sent if sent > 0 else BY_FAULT.get(self._label, 0)
            if code:
                sure = "yes" if sent > 0 else "no"
                yield self._fact(Kind.ALERT, self._end, by="server", code=code, name=ALERTS.get(code), sure=sure)

    def _outcome(self) -> Iterable[Fact]:
        """Whether there was TLS in the end, and who did not want it."""
        if self._done:
            version, suite, resumed = self._told["t"]
            yield self._fact(Kind.TLS_DONE, self._at, version=version, suite=suite, resumed="yes" if resumed else "no")
        elif self._label.startswith(_ALERT):
            yield self._fact(Kind.TLS_REFUSED, self._end, by="phone", why=self._label.removeprefix(_ALERT), sure="yes")
        elif self._label in _FAULTS or self._label in ("plain_http", "sslv2", "not_tls"):
            yield self._fact(Kind.TLS_REFUSED, self._end, by="server", why=self._label, sure="yes")

    def _verdict(self) -> Iterable[Fact]:
        if found := self._told.get("i"):
            verdict, vendor, why, mac = found
            leaf = next(iter(self._told.get("c", ())), ("", ""))
            yield self._fact(
                Kind.VERDICT, self._at, verdict=verdict, why=why, vendor=vendor, subject=leaf[0], issuer=leaf[1],
                certificate_mac=mac,
            )  # fmt: skip

    # --- requests ---------------------------------------------------------------------------------------

    def _request(self, row: Sequence[Any], at: float) -> Iterable[Fact]:
        _, method, name, is_file, status, size, etag, reason, rank, held, retry_after = row
        file = name if is_file else ""
        yield self._fact(
            Kind.REQUEST, at, method=method, path=name, file=file, user_agent=self._told.get("u"),
            host=self._told.get("ho"), authorization=self._told.get("au"), class_=rank,
        )  # fmt: skip
        if reason in _EARLY:
            yield self._fact(Kind.REFUSED_EARLY, at, by="admission", why=reason, retry_after=retry_after or None)
        why = self._why if reason not in ("", "no_such_file") else ""
        self._why = "" if why else self._why
        last = row is self._told["r"][-1]
        yield self._fact(
            Kind.ANSWER, at + _STEP, status=status, bytes=size, etag=etag, reason=reason, why=why, file=file,
            complete=self._whole() if last else "yes", retry_after=retry_after or None, held=held or None,
        )  # fmt: skip
        if method in ("PUT", "POST") and status < 300:
            yield self._fact(Kind.UPLOAD, at + _STEP, file=name, bytes=size)

    def _whole(self) -> str:
        """Of the last answer. At an RST the kernel drops what it had; only what it never got is surely lost."""
        if self._label == "stalled" or (self._label == "reset" and self._told.get("q")):
            return "no"
        return "" if self._label == "reset" else "yes"

    # --- the end ----------------------------------------------------------------------------------------

    def _stalled(self) -> Iterable[Fact]:
        tcp = self._told.get("k")
        if self._label in _STALLS:
            known = dict(zip(_TCP, tcp or (), strict=False))
            yield self._fact(Kind.STALLED, self._end, in_=_STALLS[self._label], **known)

    def _closed(self) -> Iterable[Fact]:
        if self._label == "reset":
            yield self._fact(Kind.RESET, self._end, by="phone", after=self._after())
        elif self._label in ("left", "truncated"):
            yield self._fact(Kind.CLOSED, self._end, by="phone", after=self._after())
        else:
            yield self._fact(Kind.CLOSED, self._end, by="server" if self._label else None, after=self._after())

    def _after(self) -> str:
        if self._told.get("r"):
            return "answer"
        if self._done:
            return "handshake"
        return "hello" if self._told.get("h") else "syn"


def numbers(text: str) -> list[int]:
    """Four hex digits each."""
    return [int(text[at : at + 4], 16) for at in range(0, len(text) - 3, 4)]
