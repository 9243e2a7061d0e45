# SPDX-License-Identifier: GPL-2.0-only
"""Which devices of a capture are likely to be phones: by their maker, by what they say and ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from provisioner.capture import dhcp
from provisioner.capture.files import CaptureFile, Frame
from provisioner.capture.lines import text
from provisioner.capture.links import CDP, IPV4, LLDP, Link, link_of
from provisioner.capture.packets import TCP, UDP, Datagram, Packet, address, datagram_of, packet_of, segment_of

MAKERS: Final = {
    "0004f2": "Poly",
    "64167f": "Poly",
    "482567": "Poly",
    "00e0db": "Poly",
    "9cadef": "Poly (Obihai)",
    "001565": "Yealink",
    "805ec0": "Yealink",
    "805e0c": "Yealink",
    "249ad8": "Yealink",
    "000b82": "Grandstream",
    "c074ad": "Grandstream",
    "000413": "Snom",
    "00085d": "Mitel",
    "00a859": "Fanvil",
    "0c383e": "Fanvil",
    "7c2f80": "Gigaset",
    "00908f": "AudioCodes",
    "000e08": "Cisco SPA",
}
_MOST: Final = 10_000
_ENDPOINT: Final = re.compile(rb"\x00\x12\xbb\x01..[\x01-\x03]", re.DOTALL)
"""LLDP-MED capabilities of an endpoint; a switch is of type 4."""
_TELEPHONE: Final = re.compile(rb"\x0e\x04...[\x20-\x3f\x60-\x7f\xa0-\xbf\xe0-\xff]", re.DOTALL)
"""LLDP's system capabilities with the telephone enabled."""
_PHONE_CLASS: Final = re.compile(
    r"(?i)poly|yealink|grandstream|snom|aastra|mitel|fanvil|gigaset|cisco.*(phone|spa)|obi|phone"
)
_COMMON_NAME: Final = re.compile(
    rb"\x06\x03U\x04\x03..[^\x30]{0,20}?([0-9A-Fa-f]{2}(?:[:-]?[0-9A-Fa-f]{2}){5})", re.DOTALL
)
_PATH: Final = re.compile(rb"(?:GET|PUT|HEAD) /\S{0,80}?([0-9A-Fa-f]{12})[^0-9A-Fa-f]")
_BOOT_OPTIONS: Final = frozenset({66, 120, 128, 132, 150, 159, 160})
_SIP: Final = (b"REGISTER sip", b"SUBSCRIBE sip")


@dataclass(slots=True)
class Candidate:
    """A device, and why it may be a phone."""

    mac: str
    frames: int = 0
    why: dict[str, int] = field(default_factory=dict)
    addresses: set[str] = field(default_factory=set)

    @property
    def score(self) -> int:
        """How likely it is."""
        return sum(self.why.values())


@dataclass(slots=True)
class Lookout:
    """Reads files once to tell who is in them."""

    found: dict[str, Candidate] = field(default_factory=dict)

    def look(self, file: CaptureFile) -> None:
        """Every frame of a file."""
        for frame in file.frames():
            link = link_of(frame.link, frame.data)
            if link is not None:
                self._look_at(frame, link)

    def likely(self) -> list[Candidate]:
        """The likeliest first; who gives no reason at all is none."""
        reasons = [one for one in self.found.values() if one.score]
        return sorted(reasons, key=lambda one: (-one.score, -one.frames, one.mac))[:50]

    def _look_at(self, frame: Frame, link: Link) -> None:
        if any(link.src) and not link.src[0] & 1:
            one = self._candidate(link.src.hex())
            one.frames += 1
            self._announced(one, link, frame.data)
        if link.kind == IPV4 and (packet := packet_of(frame, link)) is not None:
            self._spoken(packet)

    def _candidate(self, mac: str) -> Candidate:
        if mac in self.found or len(self.found) < _MOST:
            one = self.found.setdefault(mac, Candidate(mac))
        else:
            one = Candidate(mac)
        if not one.frames and (maker := MAKERS.get(mac[:6])):
            one.why[f"{maker} made it"] = 3
        return one

    def _announced(self, one: Candidate, link: Link, data: bytes) -> None:
        if link.kind == LLDP and (_ENDPOINT.search(data) or _TELEPHONE.search(data)):
            one.why["LLDP: a telephone"] = 4
        elif link.kind == CDP and b"Phone" in data:
            one.why["CDP: a phone"] = 4

    def _spoken(self, packet: Packet) -> None:
        if packet.protocol == UDP and (datagram := datagram_of(packet)) is not None:
            self._datagram(datagram)
        elif packet.protocol == TCP and (segment := segment_of(packet)) is not None:
            for mac, why in _within(segment.data):
                self._candidate(mac).why[why] = 2

    def _datagram(self, one: Datagram) -> None:
        if dhcp.PORTS & {one.sport, one.dport}:
            message = dhcp.read(one.data)
            if message is not None and len(message.mac) == 6:
                self._asking(message)
        elif one.data.startswith(_SIP) and any(one.packet.link.src):
            self._candidate(one.packet.link.src.hex()).why["speaks SIP"] = 1

    def _asking(self, message: dhcp.Message) -> None:
        one = self._candidate(message.mac.hex())
        said = text(message.options.get(60, b""))
        if _PHONE_CLASS.search(said):
            one.why[f"DHCP: vendor class {said}"] = 3
        if message.type in ("discover", "request") and _BOOT_OPTIONS & set(message.options.get(55, b"")):
            one.why["DHCP: asks where to boot"] = 1
        if message.type == "ack" and any(message.yours) and len(one.addresses) < 16:
            one.addresses.add(address(message.yours))


def _within(payload: bytes) -> Iterator[tuple[str, str]]:
    """A Mac in a certificate's name or in a path: what a server behind a router sees of a phone."""
    if b"\x06\x03U\x04\x03" in payload:
        for found in _COMMON_NAME.finditer(payload):
            yield _bare(found[1]), "a certificate has its Mac"
    elif b" /" in payload[:8] and (path := _PATH.search(payload[:400])):
        yield _bare(path[1]), "fetches files of its Mac"


def _bare(said: bytes) -> str:
    return said.decode("ascii").replace(":", "").replace("-", "").lower()
