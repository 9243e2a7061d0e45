# SPDX-License-Identifier: GPL-2.0-only
"""One phone's frames out of many, without anybody's secrets: what may be handed to a vendor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from provisioner.capture import dhcp
from provisioner.capture.datagrams import is_dhcp
from provisioner.capture.eap import Port
from provisioner.capture.files import ETHERNET, Frame, of_paths
from provisioner.capture.links import ARP, CDP, EAPOL, LLDP, Link, link_of
from provisioner.capture.packets import TCP, UDP, datagram_of, packet_of
from provisioner.capture.redaction import Redactor
from provisioner.capture.survey import Selection, Survey, flow_of
from provisioner.capture.writing import PcapngWriter

COMMENT: Final = (
    "One device's frames. Credentials, tokens, voice, keys, the bodies of files in clear and all that is not read "
    "are blanked; checksums are not renewed."
)


def cut(paths: Sequence[Path], mac: bytes, into: Path) -> dict[str, object]:
    """One file for each side that was captured; each appears whole or not at all, for its owner alone."""
    surveys = [Survey(file, mac).look() for file in of_paths(paths)]
    chosen = Selection.of(surveys, mac)
    counts: dict[str, int] = {}
    for survey in sorted(surveys, key=lambda one: not one.sees_mac):
        name = f"{mac.hex()}{f'-{len(counts) + 1}' if counts else ''}.pcapng"
        counts[name] = _written(survey, chosen, into / name)
    return {"files": counts, "frames": sum(counts.values())}


def _written(survey: Survey, chosen: Selection, into: Path) -> int:
    part, kept, redactor = into.with_name(into.name + ".part"), 0, Redactor()
    port = Port(chosen.mac)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as stream:
        writer = PcapngWriter(stream, COMMENT)
        for frame in survey.file.frames():
            if _concerns(frame, chosen, survey, port):
                writer.frame(round(frame.at * 1e9), frame.link, redactor.clean(frame), frame.length)
                kept += 1
        if survey.file.dropped:
            writer.lost(next(iter(survey.links), 1), survey.file.dropped, round(survey.last * 1e9))
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
