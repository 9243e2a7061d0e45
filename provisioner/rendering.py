"""Strict Jinja2 in two formats, lines and XML; an operator's template is used instead of the shipped one.

A missing value is an error, a control character is an error, and drivers re-parse what comes out.
Templates are read once a process: a changed one is taken up on reload (SIGHUP).
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateSyntaxError
from lxml import etree

from provisioner.errors import RenderFailed

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
"""C0 and C1 controls, line separators, and what XML 1.0 section 2.2 forbids: no phone's file can carry them."""

_CONTROL_BYTES: Final = bytes(code for code in (*range(0x20), 0x7F) if code != 0x0A)


class Block(str):
    """Lines laid out and checked already, the only value with newlines that a template takes; see ``block``."""

    __slots__ = ()


def block(lines: Sequence[str]) -> Block:
    """Lines as one value: the same check as for each of them, paid once."""
    text = "\n".join(lines)
    if not is_plain(text) or text.count("\n") != max(len(lines) - 1, 0):
        for line in lines:
            one_line(line)
    return Block(text)


def is_plain(text: str) -> bool:
    """Whether all is ASCII that ``one_line`` lets pass, or a newline; False means that it has to be asked.

    Deleting from bytes is what CPython does fastest; only other scripts and refusals take the second way.
    """
    return text.isascii() and len(text.encode().translate(None, _CONTROL_BYTES)) == len(text)


def one_line(value: object) -> object:
    """Refuse a value that could open a second line or is not XML text."""
    if value.__class__ is Block:
        return value
    if value.__class__ is not str:
        value = str(value)
    assert isinstance(value, str)
    if (found := _CONTROL.search(value)) is not None:
        raise RenderFailed(f"a value holds the character U+{ord(found[0]):04X}, which would break out of its line")
    return value


class Templates:
    """The templates of one vendor: ``operator`` directories first, then the shipped one."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._lines = self._environment(directories, autoescape=False)
        self._xml = self._environment(directories, autoescape=True)

    @staticmethod
    def _environment(directories: Sequence[Path], *, autoescape: bool) -> Environment:
        return Environment(
            loader=FileSystemLoader(directories, encoding="utf-8"),
            undefined=StrictUndefined,
            autoescape=autoescape,  # noqa: S701  # line formats have no markup; their values pass one_line
            finalize=one_line,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            auto_reload=False,
        )

    def lines(self, name: str, /, **values: object) -> bytes:
        """Render a line format (``key = value``) as UTF-8."""
        return self._render(self._lines, name, values)

    def xml(self, name: str, /, **values: object) -> bytes:
        """Render XML with every value escaped, as UTF-8."""
        return self._render(self._xml, name, values)

    @staticmethod
    def _render(environment: Environment, name: str, values: dict[str, object]) -> bytes:
        try:
            return environment.get_template(name).render(values).encode("utf-8")
        except (
            TemplateError,
            UnicodeEncodeError,
            TypeError,
            ValueError,
            ArithmeticError,
            LookupError,
            AttributeError,
        ) as error:
            # Neither its text nor the error itself: both may quote a secret.
            raise RenderFailed(f"template {name}{_where(error)}: {_what(error)}") from None


def _what(error: Exception) -> str:
    """The error without its text, which may quote a value; a syntax error has none to quote."""
    name = type(error).__name__
    return f"{name}: {error.message}" if isinstance(error, TemplateSyntaxError) else name


def _where(error: Exception) -> str:
    """`` line N`` of the innermost template on the way to the error."""
    if isinstance(error, TemplateSyntaxError):
        return f" line {error.lineno}"
    frames = traceback.walk_tb(error.__traceback__)
    lines = [number for frame, number in frames if frame.f_code.co_filename.endswith(".j2")]
    return f" line {lines[-1]}" if lines else ""


_PARSER: Final = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def parse_xml(data: bytes) -> etree._Element:
    """Parse rendered XML again, as the phone will; RenderFailed when it is not well-formed."""
    try:
        return etree.fromstring(data, _PARSER)
    except etree.XMLSyntaxError as error:
        raise RenderFailed(f"the rendered file is not well-formed XML, line {error.lineno}") from None
