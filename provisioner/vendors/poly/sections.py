"""A UCS file is a frame and sections. The template lays the frame out, one empty element for each section; a
section's parameters become the attributes of its element. Both are re-parsed: a frame once a shape, a section
each time its values are new. Attributes that parse in one element parse in every other, so their sum is the file.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

from lxml import etree

from provisioner.errors import RenderFailed
from provisioner.rendering import Templates, is_plain, one_line, parse_xml

_SPECIAL: Final = '&<>"'
_VALUES: Final = etree.XPath("@*", smart_strings=False)
"""All attribute values of an element in one pass; asking for them one by one takes time with their square."""


class Section(NamedTuple):
    """Parameters that belong together, and their attributes as text: escaped, parsed again and found equal."""

    name: str
    values: Mapping[str, str]
    text: str

    def without(self, names: Mapping[str, str]) -> Section:
        """The section without the parameters that something stronger sets."""
        if names.keys().isdisjoint(self.values):
            return self
        return section(self.name, {key: value for key, value in self.values.items() if key not in names})


def section(name: str, values: Mapping[str, str]) -> Section:
    """Lay the parameters out; RenderFailed when they would not be read back as they are meant."""
    if not values:
        return Section(name, values, "")
    joined = "".join(values.values())
    if not is_plain(joined) or "\n" in joined:
        one_line(joined)  # refuses control characters, which a parser would turn into blanks
    pairs: Iterable[tuple[str, str]] = values.items()
    if any(map(joined.__contains__, _SPECIAL)):
        pairs = [(key, html.escape(value)) for key, value in pairs]
    text = '" '.join(map('="'.join, pairs)) + '"'
    if not _reads_as(text, values):
        raise RenderFailed(f"section {name}: the phone would not read what was meant")
    return Section(name, values, text)


def _reads_as(text: str, values: Mapping[str, str]) -> bool:
    """Whether a parser takes the attributes for these names and values, in this order, and nothing else.

    A parsed element that is written again as the same text was read as it was meant, for every value has one spelling
    only and none of them holds a quote: that costs a third less than asking for each, 15 µs of a full VVX file. What
    has another spelling too (an apostrophe, other scripts) is asked for.
    """
    whole = f"<s {text}/>".encode()
    element = parse_xml(whole)
    if etree.tostring(element) == whole and text.count('="') == len(values) == len(element.attrib):
        return True
    return element.keys() == [*values] and _VALUES(element) == [*values.values()] and not len(element)


class Frame(NamedTuple):
    """What the template wrote around the sections."""

    head: str
    slots: tuple[tuple[str, str], ...]
    """Section name and the text after it, in document order."""
    extras: Mapping[str, str]
    """Parameters that an operator's template adds before its last section: they win over the sections'."""


def frame(templates: Templates, template: str, model: str, names: tuple[str, ...]) -> Frame:
    """Render and parse the frame; RenderFailed when a section's place is missing, doubled or not an element."""
    text = templates.xml(template, model=model, sections=names).decode()
    order = _places(text, names)
    head, slots = text, []
    for name in reversed(order):
        head, mark, tail = head.partition(f"<{name}/>")
        if not mark or f"<{name}/>" in tail:
            raise RenderFailed(f"template {template}: write the section {name} once, as <{name}/>")
        slots.append((name, tail))
    return Frame(head, tuple(reversed(slots)), _extras(text, names))


def _places(text: str, names: Sequence[str]) -> list[str]:
    """The sections in document order, each an empty element without attributes."""
    found = [element for element in parse_xml(text.encode()).iter(etree.Element) if element.tag in names]
    order = [str(element.tag) for element in found]
    if sorted(order) != sorted(names) or any(len(one) or one.text or one.attrib for one in found):
        raise RenderFailed(f"the template must hold each of the sections once and empty: {', '.join(names)}")
    return order


def _extras(text: str, names: Sequence[str]) -> Mapping[str, str]:
    before: dict[str, str] = {}
    pending: dict[str, str] = {}
    for element in parse_xml(text.encode()).iter(etree.Element):
        for name, value in element.items():
            pending.setdefault(str(name), str(value))
        if element.tag in names:
            before = {**pending}
    return before


def assemble(laid: Frame, sections: Iterable[Section]) -> bytes:
    """The file. The first occurrence of a parameter wins on the phone, so nothing may stand before a section's own."""
    by_name = {one.name: one for one in sections}
    for name, value in laid.extras.items():
        if any(one.values.get(name, value) != value for one in by_name.values()):
            raise RenderFailed(f"the template sets {name}, which the configuration sets; set it there, or after")
    parts = ((f"<{name} ", by_name[name].text, "/>", tail) for name, tail in laid.slots)
    return "".join([laid.head, *chain.from_iterable(parts)]).encode()


def read(document: bytes) -> dict[str, str]:
    """A whole file as the phone reads it: every attribute of every element, the first occurrence wins."""
    values: dict[str, str] = {}
    for element in parse_xml(document).iter(etree.Element):
        for name, value in element.items():
            values.setdefault(str(name), str(value))
    return values
