"""Strategy: a document of verbs for each step (TwiML, and TeXML after its pattern), in answer to a signed web hook.

Gather plays and collects in one verb. Without keys nothing is posted and the next verb runs: a Redirect back to us, so
that the Flow hears of the silence too. These systems know one pause only: before the first key and between two.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ivr.adapters.callers import first_mac, read_mac, read_source
from ivr.adapters.conversation import Count, uncounted
from ivr.adapters.document_hook import DocumentHook, Step, number_of
from ivr.adapters.documents import Document, DocumentCalls
from ivr.adapters.hooks import Heard
from ivr.adapters.signatures import FirstSteps, Signature
from ivr.desk import Desk
from ivr.flow import Caller, Collect, Digits, Input, Timeout
from ivr.prompts import Prompts

_LARGEST: Final = 16 * 1024
"""Bytes of a form; real ones have one or two thousand."""
_STEP: Final = "step"
_ENDED: Final = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
"""What a status callback says of a call that is over."""
_HEADERS: Final = ("SipHeader_X-MAC-Address", "SipHeader_X-Mac", "SipHeader_MAC")
"""SIP headers of the phone that Twilio hands on [inferred]: hints."""
_KEYS: Final = frozenset("0123456789*#")


@dataclass(frozen=True, slots=True)
class TwimlSettings:
    """How the other side reaches us, and what it plays."""

    public_url: str = field(repr=False)
    """Of this hook, as the other side calls it, with the secret in it where there is one."""
    recordings: str = ""
    """URL of a folder of ``<language>/<prompt>.wav``; empty has the texts spoken by their voice."""
    path: str = "/activation/twiml"
    """Where the hook stands here."""
    language: str = ""
    """Empty is the server's."""
    voice_language: str = ""
    """For the other side's voice, like en-US."""
    own_prompts: Path | None = None
    """The operator's folder of prompts, for its texts."""
    get: bool = False
    """Take GET too: Kazoo's way."""
    user_field: str = ""
    """Field of the user whose password the other side has checked, where each is a Mac; empty: it proves nobody."""
    source_field: str = ""
    """Field of the address that the phone called from, where the other side tells that."""
    calls: int = 200

    def __post_init__(self) -> None:
        """Refused: an address to which no step could be added."""
        url = urlsplit(self.public_url)
        if url.scheme not in ("http", "https") or not url.netloc or url.query or url.fragment:
            raise ValueError("public_url is http(s)://host/path, without ? and #")


class Twiml(DocumentHook):
    """The hook, for Twilio, Telnyx, SignalWire, Kazoo and others of their kind."""

    def __init__(
        self,
        desk: Desk,
        signature: Signature,
        settings: TwimlSettings,
        *,
        name: str = "twiml",
        count: Count = uncounted,
    ) -> None:
        """Refused: GET where the signature leaves out what would stand in the URL; a language that nobody has."""
        if settings.get and not signature.covers_query:
            raise ValueError("this signature covers the body only, so GET would prove nothing")
        calls = DocumentCalls(desk, most=settings.calls, language=settings.language, count=count)
        methods = ("GET", "POST") if settings.get else ("POST",)
        super().__init__(name, settings.path, calls, methods=methods, largest=_LARGEST)
        self._signature = signature
        self._settings = settings
        self._steps = FirstSteps()
        self._voices: dict[str, Prompts] = {}
        if settings.language:
            self._voices[settings.language] = Prompts(settings.own_prompts, settings.language)

    def _proves(self, heard: Heard) -> bool:
        return self._signature.good(heard)

    def _told(self, heard: Heard) -> Mapping[str, str]:
        """Of a query that nobody has signed only the number that we put there, and for each body only its first."""
        if self._signature.covers_query:
            return heard.fields
        return {**replace(heard, query="").fields, _STEP: self._steps.first(heard, heard.fields.get(_STEP, ""))}

    def _read(self, fields: Mapping[str, str]) -> Step:
        digits = fields.get("Digits", "")
        return Step(
            fields.get("CallSid", ""),
            fields.get("CallStatus") in _ENDED,
            number_of(fields.get(_STEP, "")) or 0,
            lambda asked: keyed(digits, asked),
            self._caller(fields),
        )

    def _caller(self, fields: Mapping[str, str]) -> Caller:
        """The caller writes From, and a call of the telephone network has a number there: a hint, as headers are."""
        chosen = self._settings
        user = read_mac(fields.get(chosen.user_field, ""))
        hint = first_mac(fields.get(name, "") for name in ("From", *_HEADERS))
        source = read_source(fields.get(chosen.source_field, ""))
        return Caller(user or hint, source, self.name, authenticated=bool(user))

    def _written(self, document: Document | None) -> bytes:
        response = ET.Element("Response")
        if document is not None:
            self._fill(response, document)
        written: bytes = ET.tostring(response, "utf-8", xml_declaration=True)
        return written

    def _fill(self, response: ET.Element, document: Document) -> None:
        said = document.said
        if said.collect:
            again = f"{self._settings.public_url}?{_STEP}={document.number}"
            method = "GET" if self._settings.get else "POST"
            gather = ET.SubElement(response, "Gather", _gather(said.collect, again, method))
            self._say(gather, document)
            ET.SubElement(response, "Redirect", method=method).text = again
        else:
            self._say(response, document)
            ET.SubElement(response, "Hangup")

    def _say(self, parent: ET.Element, document: Document) -> None:
        if self._settings.recordings:
            folder = f"{self._settings.recordings.rstrip('/')}/{document.language}"
            for prompt in document.said.prompts:
                ET.SubElement(parent, "Play").text = f"{folder}/{prompt}.wav"
            return
        language = {"language": self._settings.voice_language} if self._settings.voice_language else {}
        for text in self._texts(document):
            ET.SubElement(parent, "Say", language).text = text

    def _texts(self, document: Document) -> Iterator[str]:
        """What XML cannot carry is left out of what an operator wrote."""
        if document.language not in self._voices:
            self._voices[document.language] = Prompts(self._settings.own_prompts, document.language)
        for prompt in document.said.prompts:
            text = self._voices[document.language].text(prompt)
            yield "".join(char for char in text if char.isprintable())


def keyed(digits: str, collect: Collect) -> tuple[Input, ...]:
    """What Gather tells: all the keys asked for, or fewer that a "#" or a pause ended, or none at all.

    Which of the two ended them makes no difference to the Flow, but for a "#" alone: that is no silence.
    """
    keys = "".join(key for key in digits[:64] if key in _KEYS)
    if not keys:
        return (Timeout(),)
    if len(keys) >= collect.max_digits or keys == "#":
        return (Digits(keys),)
    return (Digits(keys), Timeout())


def _gather(collect: Collect, action: str, method: str) -> dict[str, str]:
    return {
        "input": "dtmf",
        "numDigits": str(collect.max_digits),
        "finishOnKey": collect.terminator,
        "timeout": str(math.ceil(collect.first_s)),
        "action": action,
        "method": method,
    }
