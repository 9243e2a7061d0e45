# SPDX-License-Identifier: GPL-2.0-only
"""One phone's frames out of many, without anybody's secrets: what may be handed to a vendor."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Final

from provisioner.capture import dhcp
from provisioner.capture.datagrams import is_dhcp
from provisioner.capture.eap import Port
from provisioner.capture.files import ETHERNET, Frame, of_paths
from provisioner.capture.links import ARP, CDP, EAPOL, LLDP, Link, link_of
from provisioner.capture.packets import TCP, UDP, datagram_of, is_part, packet_of, segment_of
from provisioner.capture.redaction import Redactor
from provisioner.capture.survey import Selection, Survey, flow_of
from provisioner.capture.unsealing import Ask, Unsealing
from provisioner.capture.writing import PcapngWriter

COMMENT: Final = (
    "One device's frames. Credentials, tokens, voice, keys, the bodies of files in clear and all that is not read "
    "are blanked; checksums are not renewed."
)
WITH_SECRETS: Final = (
    f"{COMMENT} TLS secrets of its connections are in this file: what they open was cleared by the same rule before it "
    "was sealed again. They open the capture that this was cut from, too, which is not cleared."
)


@dataclass(slots=True)
class _Side:
    """One captured side: what it has of the phone, frame by frame, as often as it is asked for."""

    number: int
    """From 1 on; 0 where it is the only one."""
    survey: Survey
    chosen: Selection
    redactor: Redactor = field(default_factory=Redactor)

    def frames(self) -> Iterator[Frame]:
        """The phone's."""
        port = Port(self.chosen.mac)
        return (one for one in self.survey.file.frames() if _concerns(one, self.chosen, self.survey, port))

    def cleaned(self) -> Iterator[tuple[float, int, Frame, bytes]]:
        """The same in the order of time, with whose they are and what may be shown of them."""
        return ((one.at, self.number, one, self.redactor.clean(one)) for one in self.frames())


def cut(paths: Sequence[Path], mac: bytes, into: Path, ask: Ask | None = None) -> dict[str, object]:
    """One file, in which each captured side is an interface of its own; it appears whole or not at all.

    ``ask`` is who has recorded secrets of the phone's connections: they go along, with what they may open.
    """
    surveys = [Survey(file, mac).look() for file in of_paths(paths)]
    chosen = Selection.of(surveys, mac)
    first = 1 if len(surveys) > 1 else 0
    sides = [_Side(first + place, one, chosen) for place, one in enumerate(sorted(surveys, key=_is_far))]
    unsealing = _unsealed(sides, ask) if ask is not None else None
    into /= f"{mac.hex()}.pcapng"
    frames = _written(sides, into, unsealing.lines if unsealing else [])
    told = {"opened": unsealing.opened, "left": dict(unsealing.left)} if unsealing else None
    broken = [f"{one.ref}: {one.values['why']}" for survey in surveys for one in survey.file.broken]
    return {"files": {into.name: frames}, "frames": frames, "sides": len(sides), "keys": told, "broken": broken}


def _is_far(one: Survey) -> bool:
    return not one.sees_mac


def _unsealed(sides: Sequence[_Side], ask: Ask) -> Unsealing:
    made = Unsealing(ask)
    for side in sides:
        for frame in side.frames():
            link = link_of(frame.link, frame.data)
            packet = packet_of(frame, link) if link is not None else None
            if packet is None or packet.protocol != TCP or is_part(packet):
                continue
            if (segment := segment_of(packet)) is not None:
                made.take(side.number, packet, segment)
    made.settle()
    for side in sides:
        side.redactor.given = made.given(side.number)
    return made


def _written(sides: Sequence[_Side], into: Path, secrets: Sequence[str]) -> int:
    """For its owner alone."""
    part, kept = into.with_name(into.name + ".part"), 0
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as stream:
        writer = PcapngWriter(stream, WITH_SECRETS if secrets else COMMENT)
        if secrets:
            writer.secrets(secrets)
        for side in sides:
            for link in sorted(side.survey.links):
                writer.interface(link, side.number)
        for at, number, frame, data in merge(*(one.cleaned() for one in sides), key=itemgetter(0)):
            writer.frame(round(at * 1e9), frame.link, data, frame.length, number)
            kept += 1
        for side in sides:
            survey = side.survey
            if survey.file.dropped:
                link = next(iter(survey.links), ETHERNET)
                writer.lost(link, survey.file.dropped, round(survey.last * 1e9), side.number)
    part.replace(into)
    return kept


def _concerns(frame: Frame, chosen: Selection, survey: Survey, port: Port) -> bool:
    """Its own frames, and announcements of its switch; of other devices only what names its address."""
    link = link_of(frame.link, frame.data)
    if link is None:
        return False
    if link.kind == EAPOL:
        return port.concerns(frame.data[link.start :], link)
    if chosen.mac in (link.src, link.dst):
        return True
    if link.kind in (LLDP, CDP):
        return survey.sees_mac and bool(link.dst[0] & 1)
    if link.kind == ARP:
        said = frame.data[link.start :]
        return said[14:18] in chosen.addresses or said[24:28] in chosen.addresses
    return _packet_concerns(frame, link, chosen, survey)


def _packet_concerns(frame: Frame, link: Link, chosen: Selection, survey: Survey) -> bool:
    packet = packet_of(frame, link)
    if packet is None:
        return False
    if packet.protocol == UDP and (one := datagram_of(packet)) is not None and is_dhcp(one):
        message = dhcp.read(one.data)
        return message is not None and message.mac == chosen.mac
    if survey.sees_mac and frame.link == ETHERNET:
        return False  # who has its address, or asks for its files, is somebody else
    if packet.protocol == TCP and flow_of(packet) in survey.flows:
        return True
    return packet.src in chosen.addresses or packet.dst in chosen.addresses
