"""Facts as tests write them: who saw what, when, in one line each."""

from __future__ import annotations

from collections.abc import Sequence

from provisioner.diagnosis.case import Subject
from provisioner.diagnosis.facts import Fact, Kind, Source, Witness
from provisioner.diagnosis.ladder import Diagnosis, diagnose
from provisioner.model import Mac

MAC = Mac("001565de0003")
OTHER = "0004f2de0001"
YEALINK = Subject(MAC, "yealink", "T46S")
POLY = Subject(MAC, "poly", "VVX 411")
NOW = 100_000.0
OURS = frozenset({"192.0.2.1"})


def _fact(source: Source, kind: str, at: float, ref: str, values: dict[str, object]) -> Fact:
    return Fact(Kind(kind), at, Witness(source, ref), {name.rstrip("_"): str(one) for name, one in values.items()})


def frame(kind: str, at: float, **values: object) -> Fact:
    """Something that was on the wire."""
    return _fact(Source.CAPTURE, kind, at, f"phone.pcap frame {at:g}", values)


def record(kind: str, at: float, connection: str = "0015-1", **values: object) -> Fact:
    """Something that this server has noted of a connection."""
    return _fact(Source.SERVER, kind, at, f"record {connection}", {"connection": connection, **values})


def noted(kind: str, at: float, **values: object) -> Fact:
    """Something that this server has noted beside its connections."""
    return _fact(Source.SERVER, kind, at, f"event {at:g}", values)


def switch(kind: str, at: float, **values: object) -> Fact:
    """Something that a switch says."""
    return _fact(Source.SWITCH, kind, at, "sw1 1.3.6.1.2.1", values)


def device(**values: object) -> Fact:
    """The device's own row."""
    return _fact(Source.INVENTORY, "device", NOW, f"device {MAC}", values)


def tls(connection: str = "0015-1", at: float = 90_000.0) -> list[Fact]:
    """A handshake with this server that came to its end, and a good certificate."""
    return [
        record("accepted", at, connection, address="10.0.0.5"),
        record("hello", at, connection, sni="prov.example.net", versions="TLSv1.3,TLSv1.2"),
        record("tls_done", at + 0.1, connection, version="TLSv1.3", resumed="no"),
        record("verdict", at + 0.1, connection, verdict="unique", vendor="yealink", certificate_mac=MAC),
    ]


def asked(file: str, status: int, connection: str = "0015-1", at: float = 90_001.0, **more: object) -> list[Fact]:
    """One request and its answer, on this server's record."""
    method = more.pop("method", "GET")
    credentials = more.pop("authorization", "")
    return [
        record("request", at, connection, method=method, path=f"/{file}", file=file, authorization=credentials),
        record("answer", at, connection, status=status, file=file, **{"complete": "yes", **more}),
    ]


def booted(at: float = 90_000.0, connection: str = "0015-1") -> list[Fact]:
    """A whole good boot."""
    return [*tls(connection, at), *asked(f"{MAC}.cfg", 200, connection, at + 1, etag="one", bytes=5000)]


def met(at: float = 50.0, connection: str = "a", to: str = "192.0.2.1") -> list[Fact]:
    """On the wire: a connection that was taken, with a ClientHello."""
    return [
        frame("syn", at, connection=connection, to=to, port=443, times=1),
        frame("syn_ack", at + 0.01, connection=connection, times=1),
        frame("hello", at + 0.02, connection=connection, sni="prov.example.net", versions="TLSv1.2",
              signature_algorithms="rsa_sha256", suites="ECDHE-RSA-AES128-GCM-SHA256"),
    ]  # fmt: skip


def of(facts: Sequence[Fact], subject: Subject = YEALINK, now: float = NOW) -> Diagnosis:
    """The diagnosis of these."""
    return diagnose(facts, subject, now)


def row(found: Diagnosis) -> int:
    """The catalogue row that it names; 0 for none."""
    return found.cause.row.id if found.cause else 0
