"""Requests beside their answers, and which of a phone's files it cannot do without. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from provisioner.diagnosis.case import Case, Connection, number
from provisioner.diagnosis.facts import Fact, Kind, Source, Witness

_OWN: Final = re.compile(
    r"(?:cfg)?(?:sep)?(?:algom)?(?:[0-9a-f]{2}[-:]?){5}[0-9a-f]{2}(?:-user)?(?:\.cfg|\.xml|\.html?|\.conf|\.cnf\.xml)?",
    re.I,
)
"""Files that hold a phone's own configuration, in the names of several makers."""
_SHARED: Final = re.compile(
    r"0{12}\.cfg|y0{6,10}\d{2,6}\.cfg|spa[\w-]*\.(?:cfg|xml)|cfg\.xml|snom\w*\.(?:htm|xml)", re.I
)
_FIRMWARE: Final = re.compile(r"\.(?:ld|rom|bin|img|fw|loads|zip|ver)$|\.tar\.gz$", re.I)
_LOG: Final = re.compile(r"\.(?:log|txt)$|core\.tar\.gz$", re.I)
_OPTIONAL: Final = re.compile(
    r"-(?:phone|web|license|directory|calls|local|contact|calllog|flk|all)\.(?:cfg|xml)$|\.boot$|\.enc$|\.(?:jpe?g|png|wav|gif)$"
    r"|^(?:000000000000-|Website_dictionary|sip\.ver)|_language_",
    re.I,
)
"""Files that phones ask for and do well without."""
GOOD: Final = frozenset({200, 201, 204, 206, 304})
_PACKED: Final = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd"})
_SCRAMBLED: Final = re.compile(r"\.enc$", re.I)
"""Files that are meant to be read by nobody on the way."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came of it."""

    at: float
    witness: Witness
    method: str
    file: str
    """The last part of its path."""
    status: int
    """0 where only somebody inside TLS knows it."""
    etag: str
    reason: str
    whole: bool
    """It was sent to its end, as far as is known."""
    media: str
    credentials: bool
    """It came with an Authorization."""
    retry_after: str
    looks: str
    """What its first bytes are, where they were seen: page, gzip, binary or text."""
    packed: bool
    """It came compressed, and the phone had not asked for that."""
    owner: str
    """Whose the file says it is."""
    port: int
    """0 where it was asked inside TLS, or nobody knows."""
    ended_by: str
    """Who has ended the connection within the answer."""
    seen: tuple[Witness, ...]

    @property
    def good(self) -> bool:
        """It got what it asked for, all of it."""
        return self.status in GOOD and self.whole and not (self.is_page or self.packed)

    @property
    def is_page(self) -> bool:
        """A web page where a phone's file was asked for."""
        foreign = self.witness.source is not Source.SERVER
        page = self.looks == "page" or ("html" in self.media.lower() and self.looks != "text")
        return foreign and self.status == 200 and page and not self.file.endswith(("htm", "html"))

    @property
    def unreadable(self) -> bool:
        """A configuration that is no text."""
        return self.status == 200 and self.config and self.looks == "binary" and not _SCRAMBLED.search(self.file)

    @property
    def own(self) -> bool:
        """It asks for a configuration that only this phone gets; all zeros are everybody's."""
        return bool(_OWN.fullmatch(self.file)) and not self.file.startswith("000000000000")

    @property
    def config(self) -> bool:
        """It asks for a configuration, its own or one that many share."""
        return self.own or bool(_SHARED.fullmatch(self.file))

    @property
    def firmware(self) -> bool:
        """It asks for an image."""
        return bool(_FIRMWARE.search(self.file)) and not _LOG.search(self.file)

    @property
    def sends(self) -> bool:
        """The phone brings something."""
        return self.method in {"PUT", "POST"}

    @property
    def optional(self) -> bool:
        """It does well without it."""
        return self.log or self.firmware or bool(_OPTIONAL.search(self.file))

    @property
    def missed(self) -> bool:
        """It asked in vain for something that it does not need."""
        return self.status == 404 and self.optional and not self.sends and self.reason in {"", "no_such_file"}

    @property
    def log(self) -> bool:
        """A log, which nobody needs to take."""
        return bool(_LOG.search(self.file))


def exchanges(case: Case) -> list[Exchange]:
    """Of all connections with our server, the earliest first."""
    found = [each for one in case.ours() for each in _of(one)]
    return sorted(found, key=lambda one: (one.at, str(one.witness), one.file, one.status))


def _of(one: Connection) -> Iterator[Exchange]:
    asked = one.of(Kind.REQUEST)
    for answer in one.of(Kind.ANSWER):
        request = _request(asked, answer)
        if request is not None:
            asked.remove(request)
        yield _exchange(one, answer, request)


def _request(asked: Sequence[Fact], answer: Fact) -> Fact | None:
    """The one for the same file; where the answer names none, the next one."""
    if answer["file"]:
        same = [one for one in asked if _file(one) == _name(answer["file"])]
        return same[0] if same else None
    return next((one for one in asked if one.at <= answer.at), None)


def _exchange(one: Connection, answer: Fact, request: Fact | None) -> Exchange:
    file = _name(answer["file"]) or (_file(request) if request else "")
    seen = (answer.witness,) if request is None else (answer.witness, request.witness)
    return Exchange(
        at=answer.at,
        witness=answer.witness,
        method=(request["method"] if request else "").upper() or "GET",
        file=file,
        status=number(answer["status"]),
        etag=answer["etag"] or (f"{answer['bytes']} bytes" if answer["bytes"] else ""),
        reason=answer["reason"],
        whole=answer["complete"] != "no",
        media=answer["type"],
        credentials=bool(request and request["authorization"]),
        retry_after=answer["retry_after"],
        looks=answer["looks"],
        packed=_is_packed(answer, request, file),
        owner=answer["mac"],
        port=0 if one.has(Kind.HELLO, Kind.TLS_DONE) else number(one.said(Kind.SYN, "port")),
        ended_by=_ended_by(one),
        seen=tuple(dict.fromkeys(seen)),
    )


def _is_packed(answer: Fact, request: Fact | None, file: str) -> bool:
    """By its own word, or by its first bytes where it gives none: then nobody unpacks it."""
    if answer["looks"] == "gzip" and not answer["encoding"]:
        return not file.lower().endswith((".gz", ".tgz"))
    asked = request["accepts"].lower() if request is not None else ""
    known = request is not None and "accepts" in request.values
    said = answer["encoding"].strip().lower()
    return known and said in _PACKED and said.removeprefix("x-") not in asked and "*" not in asked


def _ended_by(one: Connection) -> str:
    ends = [fact for fact in one.of(Kind.RESET, Kind.CLOSED) if fact["after"] in {"answer", "request"}]
    return ends[0]["by"] if ends else ""


def _file(request: Fact) -> str:
    return _name(request["file"] or request["path"])


def _name(path: str) -> str:
    return path.partition("?")[0].rpartition("/")[2]
