"""What a browser sends: fields of a form, text in UTF-8, bounded. A field that is not there is empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from provisioner.errors import BodyTooLarge, Malformed, WrongMedia

_LARGEST: Final = 512 * 1024
"""bytes of a form: a layer with some long certificates in it."""
_FIELDS: Final = 5000


@dataclass(frozen=True, slots=True)
class Form:
    """The fields that were filled in."""

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def text(self, name: str) -> str:
        """One field, without blanks around it."""
        return self.raw(name).strip()

    def raw(self, name: str) -> str:
        """One field as it is: a password may begin with a blank."""
        return next(iter(self.fields.get(name, ())), "")

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


async def read_form(request: web.Request) -> Form:
    """The body of a POST; refused where it is no form, or none that this console makes."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise WrongMedia("send the form as application/x-www-form-urlencoded")
    whole = bytearray()
    async for chunk in request.content.iter_chunked(64 * 1024):
        whole += chunk
        if len(whole) > _LARGEST:
            raise BodyTooLarge(f"a form has at most {_LARGEST} bytes")
    return parsed(bytes(whole))


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
        if "\0" in name or "\0" in value:
            raise Malformed("the form holds what no field of it can")
        found[name] = (*found.get(name, ()), value.replace("\r\n", "\n"))
    return Form(found)
