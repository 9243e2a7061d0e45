"""What a mail says: templates of a language, the operator's before the shipped ones, and the message made of them.

Names and subjects are encoded here and written as they are: the standard library's policy would decode encoded words of
RFC 2047 in what it is given, line breaks included, and loses quotes where it folds. The pages escape every value. A
missing value is an error, as in the phones' templates.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import EmailPolicy
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, TemplateError

from provisioner.errors import RenderFailed
from provisioner.mail_address import Mailbox, domain_of, parse_address
from provisioner.rendering import one_line
from provisioner.shipped import shipped

FALLBACK: Final = "en"
_WANTED: Final = (
    *(f"{letter}.{part}.j2" for letter in ("code", "ready", "emergency") for part in ("subject", "txt", "html")),
    "sheet.html.j2",
)
_PICTURE: Final = "qr"
_BORDER: Final = 4
"""Modules of white around a QR code: ISO/IEC 18004 asks for four."""
_SCALE: Final = 5
"""Pixels a module in a mail: a phone's camera reads it from a screen."""


_LINE: Final = 60
"""Characters that stand on a header's first line behind its name: RFC 5322 section 2.1.1 asks for 78 at most."""
_FOLD: Final = "\r\n "
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")


class _AsWritten(EmailPolicy):
    """Names and subjects come encoded and folded."""

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        """Kept as it is."""
        if name in {"From", "To", "Reply-To", "Subject"}:
            return name, value
        return super().header_store_parse(name, value)


_WRITTEN: Final = _AsWritten(linesep="\r\n", refold_source="none", cte_type="7bit")


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail before it is made."""

    template: str
    language: str
    to: Mailbox
    ident: str
    """Stays the same when it is sent again, so that a mailbox may show it once."""
    at: float
    qr: str = field(default="", repr=False)
    """What the picture says; empty: none."""
    values: Mapping[str, object] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, and who reads the answers."""

    sender: Mailbox
    reply_to: Mailbox | None = None


class Texts:
    """The templates of all languages; a changed one is used from the next mail on."""

    def __init__(self, own: Path | None = None) -> None:
        self._places = [one for one in (own, shipped("templates")) if one is not None]
        self._environment = Environment(
            loader=ChoiceLoader([FileSystemLoader(one / "mail", encoding="utf-8") for one in self._places]),
            undefined=StrictUndefined,
            autoescape=_is_page,  # noqa: S701  # plain text has no markup to break out of
            finalize=_checked,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def languages(self) -> list[str]:
        """Those that there are templates in."""
        found = {path.parent.name for place in self._places for path in (place / "mail").glob("*/code.txt.j2")}
        return sorted(found)

    def lacking(self) -> list[str]:
        """Templates that a language should have and has not."""
        wanted = [f"{one}/{name}" for one in self.languages() for name in _WANTED]
        return [one for one in wanted if not any((place / "mail" / one).is_file() for place in self._places)]

    def spoken(self, *wanted: str) -> str:
        """The first of these languages that there is; en-US is taken for en."""
        known = self.languages()
        for one in wanted:
            for name in (one, one.partition("-")[0]):
                if name in known:
                    return name
        return FALLBACK

    def page(self, name: str, values: Mapping[str, object]) -> str:
        """One template with its values; RenderFailed names the template and never a value."""
        try:
            return self._environment.get_template(name).render(values)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise RenderFailed(f"template mail/{name}: {type(error).__name__}") from None

    def message(self, letter: Letter, writer: Writer) -> EmailMessage:
        """Text, and the same as a page with its picture, in one message."""
        name = f"{letter.language}/{letter.template}"
        picture = f"{_PICTURE}.{letter.ident}@{domain_of(writer.sender.address)}"
        values = {**letter.values, "picture": f"cid:{picture}" if letter.qr else "", "language": letter.language}
        message = _headed(letter, writer, self.page(f"{name}.subject.j2", values).strip())
        message.set_content(self.page(f"{name}.txt.j2", values))
        message.add_alternative(self.page(f"{name}.html.j2", values), subtype="html")
        message["Content-Language"] = letter.language
        if letter.qr:
            page = list(message.iter_parts())[-1]
            assert isinstance(page, EmailMessage)
            page.add_related(png(letter.qr), "image", "png", cid=f"<{picture}>", disposition="inline")
        return message


def _headed(letter: Letter, writer: Writer, subject: str) -> EmailMessage:
    """Its head; RenderFailed where a name or the subject holds what no header may."""
    message = EmailMessage(policy=_WRITTEN)
    try:
        message["From"] = _mailbox(writer.sender)
        message["To"] = _mailbox(letter.to)
        message["Subject"] = _phrase(subject, quoted=False)
        if writer.reply_to:
            message["Reply-To"] = _mailbox(writer.reply_to)
        for value in message.values():
            one_line(value)
    except ValueError as error:
        raise RenderFailed(f"a header of the mail cannot be written: {type(error).__name__}") from None
    message["Date"] = datetime.fromtimestamp(letter.at, UTC)
    message["Message-ID"] = f"<{letter.ident}@{domain_of(writer.sender.address)}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence note answers it
    return message


def _is_page(name: str | None) -> bool:
    return name is not None and ".html." in name


def _checked(value: object) -> object:
    """The value as it is, unless it holds a control character."""
    one_line(value)
    return value


def _mailbox(one: Mailbox) -> str:
    """A name and its address, folded in between where they are long; ValueError where that is no address."""
    name, address = _phrase(one.name.strip(), quoted=True), parse_address(one.address)
    if not name:
        return address
    return f"{name}{' ' if len(name) + len(address) < _LINE else _FOLD}<{address}>"


def _phrase(text: str, *, quoted: bool) -> str:
    """Text as a header has it: plain or quoted where that is ASCII and short, else in encoded words of RFC 2047.

    Whoever decodes once too often finds none in the text either: what would begin one is taken apart.
    """
    text = str(one_line(text)).replace("=?", "= ?")
    if not text.isascii() or len(text) > _LINE:
        return Header(text, "utf-8", header_name="Reply-To").encode(linesep="\r\n")
    if not quoted or _ATOMS.fullmatch(text):
        return text
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'


def png(text: str) -> bytes:
    """A QR code as a picture."""
    import segno  # only who draws one waits for it

    out = io.BytesIO()
    segno.make_qr(text, error="m").save(out, kind="png", scale=_SCALE, border=_BORDER)
    return out.getvalue()


def svg(text: str) -> str:
    """A QR code to stand inside a page, as large as the page says."""
    import segno

    return str(segno.make_qr(text, error="m").svg_inline(border=_BORDER, omitsize=True, svgclass="qr", lineclass=None))


def local_time(at: float, zone: str) -> datetime:
    """As a clock there shows it; UTC where the zone is not known."""
    try:
        return datetime.fromtimestamp(at, ZoneInfo(zone or "UTC"))
    except (OSError, ValueError, KeyError):  # the last is ZoneInfoNotFoundError
        return datetime.fromtimestamp(at, UTC)


def quick_start(link: str, vendor: str, model: str, language: str) -> str:
    """The page for a model, or for all where the model is not known; empty where there is none."""
    slug = "-".join(model.lower().replace("/", " ").split())
    values = {"vendor": vendor or "any", "model": slug or "any", "language": language}
    for name, value in values.items():
        link = link.replace(f"{{{name}}}", quote(value, safe=""))
    return link
