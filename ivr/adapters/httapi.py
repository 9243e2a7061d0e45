"""Strategy: FreeSWITCH's mod_httapi asks for a document after each thing done; every key is told as it is pressed.

A pattern for a whole code would lose the keys before a pause: mod_httapi reports only what has matched. So the binding
is one key, and the Flow keeps time and count as in a call of our own. FreeSWITCH signs nothing: a secret in the path or
a password, and a list of peers.
"""

from __future__ import annotations

import base64
import hmac
import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ivr.adapters.callers import Peers, first_mac, read_mac, read_source
from ivr.adapters.conversation import Count, uncounted
from ivr.adapters.document_hook import DocumentHook, Step, number_of
from ivr.adapters.documents import Document, DocumentCalls
from ivr.adapters.hooks import Heard
from ivr.adapters.signatures import SharedSecret
from ivr.desk import Desk
from ivr.flow import Caller, Collect, Digits, Input, Timeout

_LARGEST: Final = 64 * 1024
"""Bytes of a form: with ``extended-data`` FreeSWITCH tells all it knows of a channel."""
_ONE_KEY: Final = "~^[0-9*#]$"
_NAME: Final = "code"
_STEP: Final = "step"
_KEYS: Final = frozenset("0123456789*#")


@dataclass(frozen=True, slots=True)
class HttapiSettings:
    """Who may ask, and where its recordings are."""

    recordings: str
    """Folder on the FreeSWITCH, or URL, of ``<language>/<prompt>.wav``."""
    secret: str = field(default="", repr=False)
    """Last part of the path; or a user and a password."""
    user: str = ""
    password: str = field(default="", repr=False)
    peers: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    path: str = "/activation/httapi"
    language: str = ""
    """Empty is the server's."""
    users_proven: bool = False
    """FreeSWITCH challenges these calls, and each phone's user there is its Mac."""
    calls: int = 200

    def __post_init__(self) -> None:
        """Refused: a hook that anybody could use, recordings that would be several."""
        if not self.secret and not (self.user and self.password):
            raise ValueError("FreeSWITCH signs nothing: set a secret, or a user and a password")
        if not self.recordings or "!" in self.recordings:
            raise ValueError("recordings is a folder or URL, and has no ! in it")


class Httapi(DocumentHook):
    """The hook; ``source`` of a request is the FreeSWITCH's address."""

    def __init__(self, desk: Desk, settings: HttapiSettings, *, count: Count = uncounted) -> None:
        """Refused: a weak secret, peers that are no networks."""
        calls = DocumentCalls(desk, most=settings.calls, language=settings.language, count=count)
        super().__init__("httapi", settings.path, calls, methods=("GET", "POST"), largest=_LARGEST)
        self._settings = settings
        self._peers = Peers(settings.peers)
        self._secret = SharedSecret(settings.secret) if settings.secret else None
        word = base64.b64encode(f"{settings.user}:{settings.password}".encode())
        self._credentials = b"Basic " + word if settings.user and settings.password else b""

    def _expects(self, source: str) -> bool:
        return self._peers.allows(source)

    def _proves(self, heard: Heard) -> bool:
        """All that is set has to be right."""
        if self._secret and not self._secret.good(heard):
            return False
        told = heard.headers("Authorization").encode("utf-8", "replace")
        return not self._credentials or hmac.compare_digest(told, self._credentials)

    def _read(self, fields: Mapping[str, str]) -> Step:
        """Without its set-params permission FreeSWITCH tells no step; it never sends a request twice by itself."""
        code = fields.get(_NAME, "")
        return Step(
            fields.get("session_id", ""),
            fields.get("exiting") == "true",
            number_of(fields.get(_STEP, "")),
            lambda asked: keyed(code, asked),
            self._caller(fields),
        )

    def _caller(self, fields: Mapping[str, str]) -> Caller:
        """``auth``, ``mac`` and ``source`` come from the dialplan, the others with ``extended-data``."""
        user = first_mac(fields.get(name, "") for name in ("auth", "variable_sip_auth_username"))
        names = ("mac", "variable_sip_from_user", "Caller-Caller-ID-Number")
        proven = self._settings.users_proven and bool(user)
        mac = user if proven else first_mac(fields.get(name, "") for name in names) or read_mac(user)
        source = read_source(fields.get("source", "")) or read_source(fields.get("variable_sip_network_ip", ""))
        return Caller(mac, source, "httapi", authenticated=proven)

    def _written(self, document: Document | None) -> bytes:
        root = ET.Element("document", type="xml/freeswitch-httapi")
        params, work = ET.SubElement(root, "params"), ET.SubElement(root, "work")
        if document is not None:
            ET.SubElement(params, _STEP).text = str(document.number)
            self._fill(work, document)
        written: bytes = ET.tostring(root, "utf-8", xml_declaration=True)
        return written

    def _fill(self, work: ET.Element, document: Document) -> None:
        said = document.said
        if said.collect:
            self._gather(work, document, said.collect)
            return
        if said.prompts:
            ET.SubElement(work, "playback", file=self._files(document))
        ET.SubElement(work, "hangup", cause="NORMAL_CLEARING")

    def _gather(self, work: ET.Element, document: Document, collect: Collect) -> None:
        """A pause that has a binding waits for keys in silence."""
        wait = str(math.ceil(collect.first_s * 1000))
        timing = {"name": _NAME, "digit-timeout": wait, "input-timeout": wait}
        if document.said.prompts:
            verb = ET.SubElement(work, "playback", {**timing, "file": self._files(document), "loops": "0"})
        else:
            verb = ET.SubElement(work, "pause", {**timing, "milliseconds": wait, "loops": "0"})
        ET.SubElement(verb, "bind").text = _ONE_KEY

    def _files(self, document: Document) -> str:
        """Several files in one verb: after a key in the first of two verbs FreeSWITCH would still play the second."""
        folder = f"{self._settings.recordings.rstrip('/')}/{document.language}"
        files = [f"{folder}/{prompt}.wav" for prompt in document.said.prompts]
        return files[0] if len(files) == 1 else "file_string://" + "!".join(files)


def keyed(code: str, collect: Collect) -> tuple[Input, ...]:
    """The key that was pressed; ``invalid`` or nothing for none."""
    keys = "".join(key for key in code[: max(64, collect.max_digits)] if key in _KEYS)
    return (Digits(keys),) if keys else (Timeout(),)
