"""Whatever bytes come: each reader returns or says Unreadable, and XML has no entities."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import Invalid
from provisioner.model import Mac
from provisioner.simulator import Flash, Phone, Unreadable, load_persona, obi, poly, yealink
from provisioner.simulator.credentials import Credentials, read_challenge
from provisioner.simulator.walk import Walk
from provisioner.simulator.wire import MAX_BODY, NoAnswer, TlsSeen, body_length, read_head

MAC = Mac.parse("0004f2aabbcc")
VVX = load_persona("poly", "VVX 411")

READERS: dict[str, Callable[[bytes], object]] = {
    "poly master": lambda body: poly.read_master(body, VVX, MAC),
    "poly": poly.read_config,
    "obi": obi.read_script,
    "yealink": yealink.read_config,
    "yealink boot": yealink.read_boot,
}
XML = ["poly master", "poly", "obi"]
pieces = st.sampled_from(
    [b"<", b">", b"/", b'"', b"=", b"&", b"a", b"<?xml version='1.0' encoding='", b"utf-16", b"ibm037", b"x'?>",
     b"<APPLICATION ", b"CONFIG_FILES", b"<ParameterList>", b"</ParameterList>", b"<O>", b"</O>", b"<N>", b"</N>",
     b"<P>", b"</P>", b"<V>", b"</V>", b"A.", b"<!DOCTYPE a>", b"<![CDATA[", b"]]>", b"\x00", b"\xff", b"\n",
     b"#!version:1.0.0.1\n", b"include:config ", b" = ", b"%NULL%"]
)  # fmt: skip
bodies = st.one_of(st.binary(max_size=400), st.lists(pieces, max_size=40).map(b"".join))


@pytest.mark.parametrize("reader", READERS)
@given(body=bodies)
def test_garbage_is_read_or_refused(reader: str, body: bytes) -> None:
    try:
        READERS[reader](body)
    except Unreadable as error:
        assert error.cause


names = st.from_regex(r"\A[a-zA-Z][a-zA-Z0-9]{0,8}(\.[a-zA-Z0-9]{1,8}){0,3}\Z")
texts = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\ufffe\uffff"), max_size=40
)


@given(st.dictionaries(names, texts, max_size=8))
def test_what_a_poly_uploads_it_reads_back(values: dict[str, str]) -> None:
    assert poly.read_config(poly.config_text("X", values)) == values


@given(st.dictionaries(names, texts.map(str.strip), max_size=8))
def test_what_a_yealink_uploads_it_reads_back(values: dict[str, str]) -> None:
    pairs, odd = yealink.read_config(yealink.config_text(values))
    assert (dict(pairs), odd) == (values, [])


BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;">
<!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;">]>
<APPLICATION CONFIG_FILES="&e;&e;&e;&e;"/>"""


@pytest.mark.parametrize("reader", XML)
@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><APPLICATION/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><ParameterList>&x;</ParameterList>',
    ],
)
def test_entities_are_refused_before_they_are_declared(reader: str, body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match="DOCTYPE"):
            READERS[reader](body)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("reader", XML)
def test_an_undeclared_entity_and_deep_nesting(reader: str) -> None:
    with pytest.raises(Unreadable):
        READERS[reader](b"<APPLICATION>&x;</APPLICATION>")
    with pytest.raises(Unreadable):
        READERS[reader](b"<a>" * 50_000)


@given(st.binary(max_size=200))
def test_any_head_is_http_or_no_answer(head: bytes) -> None:
    for text in (head, b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n"):
        try:
            answer = read_head(text)
        except NoAnswer:
            continue
        length, fault = body_length("GET", answer)
        assert 0 <= length <= MAX_BODY
        assert length == 0 or not fault


@given(st.text(max_size=200))
def test_any_challenge_is_parsed_or_passed_over(value: str) -> None:
    read_challenge(value)
    read_challenge(f"Digest {value}")
    credentials = Credentials("u", "p", ("MD5", "SHA-256"))
    if credentials.take([f'Digest nonce="x", {value}']):
        assert credentials.header("GET", "/").startswith("Digest ")


parameters = st.dictionaries(
    st.from_regex(r"\A(reg|account)\.[0-9]{1,5}\.(address|enable|user_name|server\.1\.address|auth\.password)\Z"),
    st.one_of(st.sampled_from(["", "0", "1", "pbx"]), st.text(max_size=5)),
    max_size=12,
)


@given(parameters, st.integers(0, 30))
def test_any_parameters_give_lines_within_the_model(told: dict[str, str], most: int) -> None:
    for lines, why in (poly.lines_of(told, most), yealink.lines_of(told, most)):
        assert len(lines) <= most
        assert all(1 <= line.number <= most and line.user and line.server for line in lines)
        assert lines or why


urls = st.one_of(
    st.text(max_size=40),
    st.text(max_size=30).map("https://{}".format),
    st.text(max_size=30).map("https://host/{}".format),
    st.text(st.sampled_from("[]:/@?#%.a1\0\r\n \u2100"), max_size=20).map("http:/{}".format),
)


@given(urls)
def test_any_url_is_walked_or_refused(url: str) -> None:
    phone = Phone(VVX, MAC)
    try:
        Walk(phone, url, Flash(), TlsSeen())
    except Invalid as error:
        assert error.field == "url"


@given(urls)
def test_any_name_in_a_file_list_becomes_one_clean_request_target(name: str) -> None:
    walk = Walk(Phone(VVX, MAC), "https://host/t/x/", Flash(), TlsSeen())
    try:
        origin, target = walk.resolve(name)
    except NoAnswer as error:
        assert error.final
    else:
        assert re.fullmatch(r"/[!-~]*", target)
        assert re.fullmatch(r"[!-~]+", origin.authority)
