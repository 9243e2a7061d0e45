"""What a browser sends: fields of a form, text in UTF-8, and files where a page takes them; bounded.

A field that is not there is empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from provisioner.errors import BodyTooLarge, Invalid, Malformed, WrongMedia

_LARGEST: Final = 512 * 1024
"""bytes of a form: a layer with some long certificates in it."""
_FIELDS: Final = 5000
_DIGITS: Final = 18
_HEAD: Final = 4096
"""bytes above a part: its name, and that of a file."""
_BOUNDARY: Final = re.compile(r"boundary=\"?([0-9A-Za-z'()+_,./:=?-]{1,70})\"?", re.IGNORECASE)
_PART: Final = re.compile(
    r'^content-disposition: *form-data; *name="([^"\r\n]*)"(?:; *filename="([^"\r\n]*)")? *$',
    re.IGNORECASE | re.MULTILINE,
)
_MEDIA: Final = "application/x-www-form-urlencoded"
_PARTS: Final = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that somebody chose."""

    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Form:
    """The fields that were filled in."""

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    files: Mapping[str, tuple[Upload, ...]] = field(default_factory=dict, repr=False)

    def text(self, name: str) -> str:
        """One field, without blanks around it."""
        return self.raw(name).strip()

    def raw(self, name: str) -> str:
        """One field as it is: a password may begin with a blank."""
        return next(iter(self.fields.get(name, ())), "")

    def typed(self, name: str, now: str) -> str:
        """What was typed into a field; what is so already where the form was not sent yet."""
        return self.raw(name) if name in self.fields else now

    def number(self, name: str, least: int, most: int, empty: int | None = None) -> int:
        """A whole number within bounds; Invalid says them. ``empty``: what an empty field means."""
        text = self.text(name)
        if not text and empty is not None:
            return empty
        if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS and least <= int(text) <= most):
            raise Invalid(name, f"must be a number from {least} to {most}")
        return int(text)

    def flag(self, name: str) -> bool:
        """Whether a box was ticked."""
        return bool(self.raw(name))

    def many(self, name: str) -> tuple[str, ...]:
        """All fields of the name."""
        return self.fields.get(name, ())

    def below(self, prefix: str) -> Mapping[str, str]:
        """Fields whose names begin so, without that beginning."""
        cut = len(prefix)
        return {name[cut:]: values[0] for name, values in self.fields.items() if name.startswith(prefix) and values}


async def read_form(request: web.Request, files: int = 0) -> Form:
    """The body of a POST, with so many bytes of files; refused where it is no form, or none that this console makes."""
    if request.content_type == _MEDIA:
        return parsed(await _body(request, _LARGEST))
    if not files or request.content_type != _PARTS:
        raise WrongMedia(f"send the form as {_MEDIA}{f' or {_PARTS}' if files else ''}")
    found = _BOUNDARY.search(request.headers.get("Content-Type", ""))
    if found is None:
        raise Malformed("the form does not say what stands between its parts")
    return parsed_parts(await _body(request, _LARGEST + files), found[1])


async def _body(request: web.Request, most: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.content.iter_chunked(64 * 1024):
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            raise BodyTooLarge(f"a form has at most {most} bytes here")
    return b"".join(chunks)


def parsed(body: bytes) -> Form:
    """Fields in the order in which they came; Malformed where they cannot be read."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", encoding="utf-8", max_num_fields=_FIELDS
        )
    except (ValueError, UnicodeError) as error:
        raise Malformed("the form cannot be read") from error
    found: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        _put(found, name, value)
    return Form(found)


def _put(found: dict[str, tuple[str, ...]], name: str, value: str) -> None:
    if "\0" in name or "\0" in value:
        raise Malformed("the form holds what no field of it can")
    found[name] = (*found.get(name, ()), value.replace("\r\n", "\n"))


def parsed_parts(body: bytes, boundary: str) -> Form:
    """The same for a form with files in it (RFC 7578); a file that was not chosen is not there."""
    fields: dict[str, tuple[str, ...]] = {}
    files: dict[str, tuple[Upload, ...]] = {}
    try:
        for head, content in _parts(body, f"--{boundary}".encode("ascii")):
            said = _PART.search(head.decode("utf-8").replace("\r\n", "\n"))
            if said is None:
                raise Malformed("a part of the form has no name")
            name, file = said[1].replace("%22", '"'), said[2]
            if file is None:
                _put(fields, name, content.decode("utf-8"))
            elif file or content:
                files[name] = (*files.get(name, ()), Upload(file.replace("%22", '"'), content))
    except UnicodeError as error:
        raise Malformed("the form holds text that is no UTF-8") from error
    return Form(fields, files)


def _parts(body: bytes, mark: bytes) -> Iterator[tuple[bytes, bytes]]:
    """What stands between the marks: a head, and what it is about (RFC 2046 section 5.1.1)."""
    if not body.startswith(mark):
        raise Malformed("the form does not begin with a part")
    at = len(mark)
    for _ in range(_FIELDS):
        if body.startswith(b"--", at):
            return
        begins = body.find(b"\r\n\r\n", at, at + _HEAD)
        ends = body.find(b"\r\n" + mark, begins + 4)
        if begins < 0 or ends < 0:
            break
        yield body[at + 2 : begins], body[begins + 4 : ends]
        at = ends + 2 + len(mark)
    raise Malformed("the form has no end")
