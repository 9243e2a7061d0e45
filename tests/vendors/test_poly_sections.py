"""Sections of UCS files: a parser reads exactly the names and values that were laid out, or nothing is laid out."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from provisioner.errors import RenderFailed
from provisioner.vendors.poly.sections import section

NAMES = st.sampled_from(
    [
        "reg.1.label",
        "reg.1.address",
        "a",
        'a="1" b',
        " a",
        "a ",
        "a b",
        "a/><x b",
        "",
        "a'",
        'a"',
        "xmlns",
        "xmlns:a",
        "é",
    ]
) | st.text(max_size=5)
VALUES = st.text(max_size=12) | st.text("&<>\"' ;#x27", max_size=8)


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=6))
@example({"xmlns": "urn:x", 'a="1" b': "2"})
@example({'a="1" b': "2", "b": "3"})
@example({"a": "&amp;", "b": "'", "c": "Zoë"})
def test_a_section_reads_as_it_was_meant_or_is_refused(values: dict[str, str]) -> None:
    try:
        laid = section("lines", values)
    except RenderFailed:
        return
    element = etree.fromstring(f"<lines {laid.text}/>".encode())
    assert [(str(name), str(value)) for name, value in element.items()] == [*values.items()]
    assert not len(element)


def test_ordinary_parameters_are_laid_out() -> None:
    values = {"reg.1.label": 'Zoë\'s <desk> & "chair"', "reg.1.address": "2001"}
    assert section("lines", values).values == values
