# SPDX-License-Identifier: GPL-2.0-only
"""Single frames for a report: their bytes without secrets, and every field by its name as scapy knows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from provisioner.capture import tls_words as words
from provisioner.capture.fence import fenced
from provisioner.capture.files import Frame, of_paths
from provisioner.capture.lines import Fact, fact, text
from provisioner.capture.links import link_of
from provisioner.capture.packets import TCP, packet_of, segment_of
from provisioner.capture.redaction import Redactor
from provisioner.capture.scapy_layers import fields_of, layer
from provisioner.capture.tls_records import ALERT, CHANGE, DATA, HANDSHAKE

_ROOTS: Final = {1: ("layers.l2", "Ether"), 113: ("layers.l2", "CookedLinux"), 101: ("layers.inet", "IP")}
_LAYERS: Final = (
    "layers.inet",
    "layers.inet6",
    "layers.dhcp",
    "layers.dhcp6",
    "layers.dns",
    "layers.eap",
    "layers.ntp",
    "layers.tftp",
    "contrib.lldp",
    "contrib.cdp",
)
_KINDS: Final = {CHANGE: "ChangeCipherSpec", ALERT: "Alert", HANDSHAKE: "Handshake", DATA: "ApplicationData"}
_MESSAGES: Final = {
    1: "ClientHello",
    2: "ServerHello",
    4: "NewSessionTicket",
    11: "Certificate",
    12: "ServerKeyExchange",
    13: "CertificateRequest",
    14: "ServerHelloDone",
    15: "CertificateVerify",
    16: "ClientKeyExchange",
}
_LONGEST: Final = 2048
"""Bytes of one frame in a report."""
_MOST_FIELDS: Final = 200


def exhibits(paths: Sequence[Path], refs: Iterable[str]) -> Iterator[dict[str, object]]:
    """The frames that these references mean, in the files' order."""
    wanted = set(refs)
    for file in of_paths(paths):
        redactor = Redactor()
        left = sum(one.startswith(f"{name} frame ") for one in wanted for _, name in file.parts)
        if not left:
            continue
        for frame in file.frames():
            data = redactor.clean(frame)
            if frame.ref in wanted:
                left -= 1
                yield _exhibit(frame, data)
                if not left:
                    break


def _exhibit(frame: Frame, data: bytes) -> dict[str, object]:
    told: list[tuple[str, str, str]] = []
    broken = list(fenced("fields", lambda: _fields(frame, data, told), frame))
    return {
        "ref": frame.ref,
        "at": frame.at,
        "length": frame.length,
        "hex": data[:_LONGEST].hex(),
        "fields": [[where, name, text(value)] for where, name, value in told[:_MOST_FIELDS]],
        "broken": broken[0].values["why"] if broken else "",
    }


def _fields(frame: Frame, data: bytes, told: list[tuple[str, str, str]]) -> Iterator[Fact]:
    for one in _LAYERS:
        layer(one)
    layer("config").conf.contribs["LLDP"].strict_mode_disable()
    module, name = _ROOTS.get(frame.link, ("", ""))
    if not module:
        yield fact("broken", frame.at, frame.ref, why=f"fields of link type {frame.link} have no names here")
        return
    root: Any = getattr(layer(module), name)
    told.extend(fields_of(root(data)))
    link = link_of(frame.link, data)
    packet = packet_of(frame._replace(data=data), link) if link else None
    if packet and packet.protocol == TCP and (segment := segment_of(packet)):
        told.extend(_records(segment.data))


def _records(data: bytes) -> Iterator[tuple[str, str, str]]:
    """The TLS records that begin in a segment; scapy would want the whole connection, and cryptography."""
    at = 0
    while at + 5 <= len(data) and data[at] in _KINDS and data[at + 1] == 3:
        length = data[at + 3] << 8 | data[at + 4]
        body = data[at + 5 : at + 5 + length]
        yield "TLS", "record", f"{_KINDS[data[at]]}, {words.version(data[at + 1] << 8 | data[at + 2])}, {length} bytes"
        if data[at] == HANDSHAKE and body and body[0] in _MESSAGES:
            yield "TLS", "message", _MESSAGES[body[0]]
        elif data[at] == ALERT and length == 2 == len(body):
            yield "TLS", "alert", f"{body[1]} {words.ALERTS.get(body[1], 'unknown')}"
        at += 5 + length
