"""Messages to begin from: a plain request whose parts a test exchanges, and some as phones send them."""

from __future__ import annotations

from collections.abc import Iterable

CRLF = "\r\n"

USUAL = {
    "via": "SIP/2.0/UDP 192.0.2.17:5060;rport;branch=z9hG4bK-74bf9",
    "from": '"Lobby" <sip:0004f2aabbcc@ivr.example.net>;tag=9fxced76sl',
    "to": "<sip:activate@ivr.example.net>",
    "call-id": "3848276298220188511@192.0.2.17",
    "cseq": "1 {method}",
    "max-forwards": "70",
}
SPELLED = {
    "via": "Via",
    "from": "From",
    "to": "To",
    "call-id": "Call-ID",
    "cseq": "CSeq",
    "max-forwards": "Max-Forwards",
    "content-length": "Content-Length",
}


def message(
    start: str = "OPTIONS sip:activate@ivr.example.net SIP/2.0",
    *more: str,
    body: bytes = b"",
    without: Iterable[str] = (),
    **changed: str,
) -> bytes:
    """``more``: header lines behind the usual ones; ``changed``: by name, _ for -, and from_ for From."""
    fields = USUAL | {name.rstrip("_").replace("_", "-"): value for name, value in changed.items()}
    fields.setdefault("content-length", str(len(body)))
    method = start.split(" ", 1)[0]
    kept = {name: value for name, value in fields.items() if name not in without}
    lines = [start, *(f"{SPELLED[name]}: {value.replace('{method}', method)}" for name, value in kept.items()), *more]
    return CRLF.join([*lines, "", ""]).encode() + body


OFFER = CRLF.join(
    [
        "v=0",
        "o=0004f2aabbcc 1511 1511 IN IP4 192.0.2.17",
        "s=call",
        "c=IN IP4 192.0.2.17",
        "t=0 0",
        "m=audio 2226 RTP/AVP 9 0 8 18 127",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:18 G729/8000",
        "a=fmtp:18 annexb=no",
        "a=rtpmap:127 telephone-event/8000",
        "a=fmtp:127 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "",
    ]
).encode()

INVITE = message(
    "INVITE sip:activate@ivr.example.net;user=phone SIP/2.0",
    "Contact: <sip:0004f2aabbcc@192.0.2.17:5060;transport=udp>",
    "Supported: 100rel,replaces",
    "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, NOTIFY",
    "User-Agent: PolycomVVX-VVX_411-UA/6.4.1.2280_0004f2aabbcc",
    'Authorization: Digest username="0004f2aabbcc", realm="activation", nonce="5f1e", uri="sip:activate@ivr", '
    'response="6629fae49393a05397450978507c4ef1", qop=auth, nc=00000001, cnonce="0a4f113b", algorithm=MD5',
    "Content-Type: application/sdp",
    body=OFFER,
)
REGISTER = message(
    "REGISTER sip:ivr.example.net SIP/2.0",
    'Contact: "Lobby" <sip:0004f2aabbcc@192.0.2.17:5060;line=x1>;expires=3600;'
    '+sip.instance="<urn:uuid:00000000-0000-1000-8000-0004f2aabbcc>"',
    "Expires: 3600",
    "MAC: 00:04:f2:aa:bb:cc",
    to="<sip:0004f2aabbcc@ivr.example.net>",
)
OK = message(
    "SIP/2.0 200 OK",
    "Contact: <sip:activate@192.0.2.1>",
    "Record-Route: <sip:192.0.2.3;lr>, <sip:192.0.2.2;lr>",
    cseq="1 INVITE",
    without=("max-forwards",),
)
COMPACT = CRLF.join(
    [
        "INFO sip:activate@[2001:db8::1]:5062 SIP/2.0",
        "v: SIP/2.0/TLS [2001:db8::17];branch=z9hG4bKa, SIP/2.0/UDP pc.example.net;branch=z9hG4bKb;received=::1",
        "f: sip:caller@example.net;tag=1",
        "t: sip:activate@example.net;tag=2",
        "i: 7",
        "CSeq: 3 INFO",
        "c: application/dtmf-relay",
        "l: 24",
        "",
        "Signal=5\r\nDuration=160\r\n",
    ]
).encode()

SAMPLES = {"invite": INVITE, "register": REGISTER, "ok": OK, "compact": COMPACT, "plain": message()}
