# SPDX-License-Identifier: GPL-2.0-only
"""SIP as far as a boot needs it: registration, plug and play, and the NOTIFY that tells a phone to fetch again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from provisioner.capture.files import Frame
from provisioner.capture.lines import Fact, fact, scheme_of, url_without_secrets, words_without_secrets

_METHODS: Final = (
    "REGISTER",
    "SUBSCRIBE",
    "NOTIFY",
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "INFO",
    "MESSAGE",
    "PUBLISH",
    "PRACK",
    "UPDATE",
    "REFER",
)
_FIRST: Final = re.compile(r"(?:({}) (\S{{1,500}}) SIP/2\.0|SIP/2\.0 (\d{{3}})\b.*)".format("|".join(_METHODS)))
_URL: Final = re.compile(r"\b(?:https?|tftp|ftps?)://[^\s<>\"']{3,300}")
_USER: Final = re.compile(r"sips?:([^@;>\s]{1,100})@")
_PASSWORD: Final = re.compile(r"(sips?:)[^@;>\s]{1,200}@")
_COMPACT: Final = {
    "f": "from",
    "t": "to",
    "i": "call-id",
    "o": "event",
    "l": "content-length",
    "m": "contact",
    "v": "via",
}
_LONGEST: Final = 64 * 1024
_PROVISIONING: Final = "ua-profile"
"""Event package of plug and play: a phone SUBSCRIBEs to it at 224.0.1.75, a server NOTIFYs the URL (RFC 6080)."""
_PREFIX: Final = re.compile(rb"SIP/2\.0 \d{3}|(?:%s) \S" % "|".join(_METHODS).encode())


@dataclass(frozen=True, slots=True)
class Message:
    """The parts of one message that count here."""

    method: str
    """Of an answer: the one of its CSeq."""
    uri: str
    status: int
    headers: dict[str, str]
    body: str


def is_sip(data: bytes) -> bool:
    """Whether a message begins here; OPTIONS is HTTP's as well, so its version decides."""
    return bool(_PREFIX.match(data)) and b"SIP/2.0" in data[:600]


def read(data: bytes) -> Message | None:
    """One message; None for what is none."""
    head, _, body = data[:_LONGEST].partition(b"\r\n\r\n")
    first, *rest = head.decode("utf-8", "replace").split("\r\n")
    found = _FIRST.fullmatch(first)
    if found is None:
        return None
    headers: dict[str, str] = {}
    for line in rest[:200]:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        headers.setdefault(_COMPACT.get(name, name), value.strip())
    method = found[1] or headers.get("cseq", "").rpartition(" ")[2]
    return Message(method, found[2] or "", int(found[3] or 0), headers, body.decode("utf-8", "replace"))


def facts_of(message: Message, frame: Frame, source: str, *, by_phone: bool, to: str = "") -> Iterator[Fact]:
    """What the diagnosis wants of it; calls are nobody's business here."""
    if message.method == "REGISTER":
        yield _registration(message, frame, to)
    elif message.method == "SUBSCRIBE" and _PROVISIONING in message.headers.get("event", "") and not message.status:
        yield fact("pnp", frame.at, frame.ref, type="subscribe", from_=source)
    elif message.method == "NOTIFY":
        yield from _notification(message, frame, source, by_phone=by_phone)


def _registration(message: Message, frame: Frame, to: str) -> Fact:
    user = _USER.search(message.headers.get("to", ""))
    return fact(
        "register",
        frame.at,
        frame.ref,
        type="answer" if message.status else "request",
        status=message.status or None,
        to=to,
        registrar=words_without_secrets(_PASSWORD.sub(r"\1...@", message.uri.partition(";")[0])),
        user=words_without_secrets(user[1].partition(":")[0]) if user else "",
        authorization=scheme_of(message.headers.get("authorization", "")),
        reason=words_without_secrets(message.headers.get("reason") or message.headers.get("warning") or ""),
    )


def _notification(message: Message, frame: Frame, source: str, *, by_phone: bool) -> Iterator[Fact]:
    event = message.headers.get("event", "")
    if message.status and by_phone:
        result = "taken" if message.status < 300 else "refused"
        yield fact("notify", frame.at, frame.ref, status=message.status, result=result)
    elif _PROVISIONING in event:
        found = _URL.search(message.body)
        yield fact(
            "pnp", frame.at, frame.ref, type="notify", from_=source, url=url_without_secrets(found[0]) if found else ""
        )
    elif not message.status and not by_phone:
        yield fact("notify", frame.at, frame.ref, event=words_without_secrets(event), result="sent")


@dataclass(slots=True)
class SipTalk:
    """SIP over TCP: cut by Content-Length."""

    connection: str
    stage: str = "request"
    answered: int = 0
    _buffers: dict[str, bytearray] = field(default_factory=lambda: {"phone": bytearray(), "server": bytearray()})

    def data(self, by: str, piece: bytes, frame: Frame) -> Iterator[Fact]:
        """Each message that is whole."""
        buffer = self._buffers[by]
        buffer += piece
        if by == "server":
            self.stage, self.answered = "answer", self.answered + len(piece)
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            message = read(bytes(buffer[: end + 4]).lstrip(b"\r\n"))
            length = message.headers.get("content-length", "0") if message else "0"
            whole = end + 4 + (int(length) if length.isascii() and length.isdigit() and len(length) < 7 else 0)
            if len(buffer) < whole:
                break
            if message := read(bytes(buffer[:whole]).lstrip(b"\r\n")):
                yield from facts_of(message, frame, self.connection, by_phone=by == "phone", to=self._to(by))
            del buffer[:whole]
        if len(buffer) > _LONGEST:
            buffer.clear()

    def _to(self, by: str) -> str:
        return self.connection.partition(">")[2] if by == "phone" else ""

    def gap(self, by: str, count: int) -> None:  # noqa: ARG002  # how much is missing does not help to find the next one
        """Begin again with the next message."""
        self._buffers[by].clear()
