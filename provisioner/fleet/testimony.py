"""What the inventory, the last fetches and the events say of a phone, as facts. Pure.

Refusals and last fetches are the witnesses where the flight recorder has nothing: switched off, or not yet there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from provisioner.diagnosis.facts import Fact, Kind, Source, Witness
from provisioner.errors import Refused
from provisioner.model import Device, DeviceState, Proof, Verdict
from provisioner.store.rows import Fetch, Seen, StoredEvent

_MAC: Final = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{2}[:-]?){5}[0-9a-f]{2}(?![0-9a-f])", re.I)
_STATUSES: Final[Mapping[str, int]] = {one.kind: one.status for one in Refused.__subclasses__()}
_FAILED: Final = frozenset({"render_failed", "store_failed", "internal"})


def device_fact(
    device: Device, *, lines: int, current: bool, wiped: bool, min_firmware: str, needs_firmware: bool, now: float,
    changed: float | None = None,
) -> Fact:  # fmt: skip
    """What administrators have said of it, as of now."""
    state = device.state
    if needs_firmware and state is not DeviceState.REVOKED:
        state = DeviceState.NEEDS_FIRMWARE
    values = {
        "state": state.value, "vendor": device.vendor, "model": device.model, "account": device.account,
        "lines": str(lines), "firmware": device.firmware, "min_firmware": min_firmware,
        "configuration": "current" if current else "behind", "wiped": "yes" if wiped else "",
        "changed": "" if changed is None else f"{changed:.0f}",
    }  # fmt: skip
    return Fact(Kind.DEVICE, now, Witness(Source.INVENTORY, f"device {device.mac}"), _told(values))


def unknown_facts(seen: Seen | None) -> list[Fact]:
    """Of a phone that has proven itself and that nobody has added; none of one that never came."""
    if seen is None:
        return []
    values = {"state": "unknown", "vendor": seen.vendor, "model": seen.model}
    return [Fact(Kind.DEVICE, seen.last, Witness(Source.SERVER, f"seen {seen.mac}"), _told(values))]


def _told(values: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in values.items() if text}


# --- beside the recorder -------------------------------------------------------------------------------


def registered_facts(events: Iterable[StoredEvent]) -> list[Fact]:
    """The PBX has seen it."""
    return [
        Fact(Kind.REGISTER, one.at, _event(one), {"type": "answer", "status": "200"})
        for one in events
        if one.kind == "registration_seen"
    ]


def _event(one: StoredEvent) -> Witness:
    return Witness(Source.SERVER, f"event {one.id}")


def _connected(ident: str, version: str, at: float, witness: Witness) -> Iterator[Fact]:
    if version:
        yield Fact(Kind.TLS_DONE, at, witness, {"connection": ident, "version": version, "resumed": "no"})


# --- in its place --------------------------------------------------------------------------------------


def fetch_facts(fetches: Iterable[Fetch]) -> Iterator[Fact]:
    """The last fetch of each file: a proven phone and an answer."""
    for one in fetches:
        ident, witness = f"fetch {one.file}", Witness(Source.SERVER, f"last fetch of {one.file}")
        yield from _connected(ident, one.tls_version, one.at, witness)
        if one.proof is Proof.CERTIFICATE:
            proven = {"connection": ident, "verdict": Verdict.UNIQUE.value, "certificate_mac": str(one.mac)}
            yield Fact(Kind.VERDICT, one.at, witness, proven)
        yield Fact(Kind.REQUEST, one.at, witness, {"connection": ident, "method": "GET", "file": one.file})
        values = {"connection": ident, "status": str(one.status), "bytes": str(one.size), "file": one.file,
                  "etag": one.digest[:32], "complete": "yes"}  # fmt: skip
        yield Fact(Kind.ANSWER, one.at, witness, values)


def refusal_facts(events: Iterable[StoredEvent], *, known: bool = False) -> Iterator[Fact]:
    """Refusals at the device edge: the verdict that they tell, and their own kind.

    ``known``: the device has proven itself before, so who does not and has its name may be anybody.
    """
    for one in events:
        if one.kind in _STATUSES or one.kind in _FAILED:
            told = list(_refused(one))
            yield from perhaps(told) if known and not one.mac else told


def perhaps(facts: Iterable[Fact]) -> list[Fact]:
    """The same, of somebody who may be another."""
    return [replace(one, values={**one.values, "whose": "maybe"}) for one in facts]


def left_facts(now: float) -> list[Fact]:
    """Somebody at a phone's address has left in the handshake since it was here; not told: who, when and how."""
    witness = Witness(Source.SERVER, "a connection from its address, of whoever is there")
    values = {"connection": "of a neighbour", "by": "phone"}
    return perhaps(Fact(kind, now, witness, {**values, **more}) for kind, more in _LEAVING.items())


_LEAVING: Final[Mapping[Kind, Mapping[str, str]]] = {Kind.HELLO: {}, Kind.CLOSED: {"after": "hello"}}


def _refused(one: StoredEvent) -> Iterator[Fact]:
    ident, witness, told = f"event {one.id}", _event(one), one.details
    yield from _connected(ident, told.get("tls", ""), one.at, witness)
    if told.get("verdict"):
        named = _MAC.search(told.get("subject", ""))
        values = {
            "connection": ident, "verdict": told["verdict"], "why": told.get("verdict_why", ""),
            "vendor": told.get("vendor", ""), "subject": told.get("subject", ""), "issuer": told.get("issuer", ""),
            "certificate_mac": (one.mac or (named[0] if named else "")) if told["verdict"] == "unique" else "",
        }  # fmt: skip
        yield Fact(Kind.VERDICT, one.at, witness, _told(values))
    path, status = told.get("path", ""), str(_STATUSES.get(one.kind, 500))
    asked = {"connection": ident, "path": path, "user_agent": told.get("user_agent", "")}
    yield Fact(Kind.REQUEST, one.at, witness, _told(asked))
    answer = {"connection": ident, "status": status, "reason": one.kind, "file": path.rpartition("/")[2]}
    yield Fact(Kind.ANSWER, one.at, witness, _told(answer))
