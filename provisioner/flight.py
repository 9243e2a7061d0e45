"""The record of one connection as it is kept: frozen, printable, without secrets, small. Pure.

``told`` is what JSON holds; ``flight_facts`` says what it means. Its names are short: there are many of them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from provisioner.diagnosis.facts import Fact
from provisioner.flight_facts import facts_of

_FAMILIAR: Final = (
    b'"l":"legacy""l":"bootstrap""x":"idle_timeout""x":"truncated""x":"handshake_timeout","al":"no_shared_cipher'
    b'"unknown_ca""old_version""i":["untrusted","","its issuer is unknown","","","none","no client certificate was '
    b'presented"Mozilla/5.0 FileTransport PolycomVVX-VVX_411-UA/5.9 Yealink SIP-T46S 66.86.0.15 Digest"ho":"localhost:'
    b'8443""k":[0,0,0,0,0,0,1500],"au":"","not_identified","unknown_device","revoked","pin_mismatch","not_yours",404,0,'
    b'"","no_such_file","p2"],[0.1,"PUT","-app.log",201,"000000000000.cfg",200,"-phone.cfg""y000000000000.boot",'
    b'"GET","0004f2.cfg",200,5000,"0","","p1"],"RSA",2048,"sha256"]],"n":3,"CN=","O=Polycom Inc., L=","serialNumber='
    b'{"a":"192.168.10.","p":50000,"l":"device","e":0.1,"w":0,"g":"known","h":[[772,771],"1302130313'
    b'01c02bc02fc02cc030cca9cca8009c009d002f003500ff","040308040401050308050501080606010203020","prov.example.net"],'
    b'"t":["TLSv1.2","ECDHE-RSA-AES128-GCM-SHA256",0],"t":["TLSv1.3","TLS_AES_128_GCM_SHA256",1],'
    b'"i":["unique","poly","","0004f2","yealink"],"u":"","r":[[0,'
)
"""What most records say, so that the compression of a short text has something to refer to. Changing it makes what is
stored unreadable: another one needs another first byte."""
_written: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
_FORM: Final = b"\x01"
_LARGEST: Final = 64 * 1024
"""Bytes that a record may be unpacked to: what is written has under 20 KiB."""


@dataclass(frozen=True, slots=True)
class Flight:
    """One connection, or several good ones of one boot right behind each other."""

    owner: str
    """The device's Mac; empty for a connection on which no known device has proven itself."""
    number: int
    """Of this owner's, in their order."""
    at: float
    """When it came, Unix time."""
    mac: str
    """The owner; of a stranger the Mac that he claims by certificate, path or User-Agent, or empty."""
    address: str
    trouble: bool
    label: str
    """What it came to in one word: ok, alert_unknown_ca, no_shared_cipher, verdict_untrusted, not_yours..."""
    model: str = ""
    """As the User-Agent claims."""
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """By which a witness names it: ``0004f2aabbcc-17``; strangers' begin with ``x``."""
        return f"{self.owner or 'x'}-{self.number}"

    @property
    def proven(self) -> bool:
        """A known device has proven that it is itself."""
        return bool(self.owner)

    @property
    def place(self) -> str:
        """The address as ``gate.address_key`` has it: of IPv6 its /64."""
        return str(self.told.get("ak", self.address))

    @property
    def ended(self) -> float:
        """When it was over, Unix time."""
        return self.at + float(self.told.get("e", 0.0))

    @property
    def port(self) -> int:
        """The source port."""
        return int(self.told.get("p", 0))

    @property
    def listener(self) -> str:
        """On which listener."""
        return str(self.told.get("l", ""))

    def facts(self) -> list[Fact]:
        """What it witnesses, in the order in which it happened."""
        return facts_of(self.id, self.at, self.address, self.told)


def packed(told: Mapping[str, Any]) -> bytes:
    """As it is stored: a third of the text."""
    text = _written(told).encode()
    work = zlib.compressobj(6, zlib.DEFLATED, -12, 5, zlib.Z_DEFAULT_STRATEGY, _FAMILIAR)
    return _FORM + work.compress(text) + work.flush()


def unpacked(body: bytes) -> Mapping[str, Any]:
    """What was stored; empty for what another version of the program, or a broken disk, has left there."""
    if body[:1] != _FORM:
        return {}
    try:
        text = zlib.decompressobj(-12, zdict=_FAMILIAR).decompress(body[1:], _LARGEST)
        told = json.loads(text)
    except (zlib.error, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
