"""The session description of a simulated phone (RFC 4566, RFC 3264): a stream of G.711 and, where wanted, its keys."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from provisioner.simulator.caller_message import Garbled

PCMU: Final = 0
PCMA: Final = 8
_NAMES: Final = {PCMU: "PCMU", PCMA: "PCMA"}
_EVENTS: Final = re.compile(r"a=rtpmap:([0-9]{1,3}) telephone-event/8000", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"c=IN IP[46] ([0-9A-Fa-f.:]{1,64})(?:/.*)?")
_MEDIA: Final = re.compile(r"m=audio ([0-9]{1,5})(?:/[0-9]+)? RTP/AVP ([0-9 ]{1,256})")


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the other side has chosen: where it listens, its codec, and how it takes keys."""

    address: tuple[str, int]
    codec: int
    events: int | None
    """Payload type of telephone-event; None when it wants none."""


def offer(host: str, port: int, codecs: tuple[int, ...], events: int | None, session: int) -> bytes:
    """What this phone can do; ``events`` None leaves telephone-event out."""
    family = "IP6" if ":" in host else "IP4"
    formats = [*codecs, *([] if events is None else [events])]
    lines = [
        "v=0",
        f"o=phone {session} {session} IN {family} {host}",
        "s=call",
        f"c=IN {family} {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {' '.join(map(str, formats))}",
        *(f"a=rtpmap:{codec} {_NAMES[codec]}/8000" for codec in codecs),
    ]
    if events is not None:
        lines += [f"a=rtpmap:{events} telephone-event/8000", f"a=fmtp:{events} 0-15"]
    return "\r\n".join([*lines, "a=ptime:20", "a=sendrecv", ""]).encode()


def read_answer(body: bytes) -> Agreed:
    """The answer to that offer; Garbled when nobody could talk on it."""
    lines = body.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    media = next((found for line in lines if (found := _MEDIA.fullmatch(line.strip()))), None)
    addresses = [found[1] for line in lines if (found := _ADDRESS.fullmatch(line.strip()))]
    if media is None or not addresses:
        raise Garbled("the answer names no audio and where to send it")
    port, formats = int(media[1]), [int(one) for one in media[2].split()]
    codec = next((one for one in formats if one in _NAMES), None)
    try:
        host = str(ipaddress.ip_address(addresses[-1]))
    except ValueError:
        raise Garbled("the answer's address is none") from None
    if codec is None or not 0 < port < 65_536:
        raise Garbled("the answer refuses the audio")
    told = [int(found[1]) for line in lines if (found := _EVENTS.fullmatch(line.strip()))]
    return Agreed((host, port), codec, next((one for one in told if one in formats), None))
