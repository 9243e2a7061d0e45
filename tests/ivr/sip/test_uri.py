"""Addresses: what they mean, that they are written as they are read, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivr.sip.errors import SipError
from ivr.sip.uri import NameAddr, Uri, Via


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:a@b", Uri("sip", "a", "b")),
        ("SIPS:A@B.Example:5061", Uri("sips", "A", "b.example", 5061)),
        ("sip:b.example", Uri("sip", "", "b.example")),
        ("sip:192.0.2.1:5060;transport=TCP;lr", Uri("sip", "", "192.0.2.1", 5060, {"transport": "TCP", "lr": ""})),
        ("sip:a@[2001:DB8::1]:5060", Uri("sip", "a", "2001:db8::1", 5060)),
        ("sip:a:secret@b", Uri("sip", "a", "b", password="secret")),
        ("sip:a@b?Subject=x&a=b", Uri("sip", "a", "b", headers="Subject=x&a=b")),
        ("sip:%61%2b%2F@b", Uri("sip", "a%2B%2F", "b")),
        ("sip:*98#@b", Uri("sip", "*98#", "b")),
        ("sip:;x;y@b;x=1", Uri("sip", ";x;y", "b", None, {"x": "1"})),
    ],
)
def test_uris_are_read_and_written(text: str, uri: Uri) -> None:
    assert Uri.parse(text) == uri
    assert Uri.parse(str(uri)) == uri


def test_equal_users_are_equal_strings() -> None:
    assert Uri.parse("sip:%30004f2aabbcc@b").user == "0004f2aabbcc"
    assert len({Uri.parse("sip:%61@B;x=1"), Uri.parse("sip:a@b;X=1")}) == 1


def test_passwords_do_not_print() -> None:
    assert "hunter2" not in repr(NameAddr.parse("<sip:a:hunter2@b>"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip:",
        "a@b",
        "sip:@b",
        "sip:a@",
        "sip:a@b:",
        "sip:a@b:99999",
        "sip:a b@c",
        "sip:a@b@c",
        "sip:a@b;x;X",
        "sip:a@b;",
        "sip:a@b;=1",
        "sip:a@[::1",
        "sip:a@[:::1]",
        "sip:[fe80::1%eth0]",
        "sip:a@b c",
        "sip:a%g0@b",
        "sip:<a>@b",
        'sip:"a"@b',
        "sip:a@b>",
        "sip:\u00e4@b\u00fc",
        "sip:a@b\r\n",
        "1sip:a",
        "tel: 1",
        "sip:a@b,c",
        "sip:a@b;c,d",
    ],
)
def test_what_is_no_uri_is_a_bad_request(text: str) -> None:
    with pytest.raises(SipError) as caught:
        Uri.parse(text)
    assert caught.value.status == 400


@pytest.mark.parametrize("text", ["tel:+1-201-555-0123;x=1", "urn:uuid:1", "isbn:2983792873", "http://b.example/?a"])
def test_other_schemes_name_somebody_but_are_not_acted_upon(text: str) -> None:
    assert str(Uri.parse_any(text)) == text
    with pytest.raises(SipError) as caught:
        Uri.parse(text)
    assert caught.value.status == 416


@pytest.mark.parametrize(
    ("text", "display", "params"),
    [
        ("sip:a@b;tag=1", "", {"tag": "1"}),
        ("<sip:a@b>", "", {}),
        ("Reception desk <sip:a@b> ; tag = 1", "Reception desk", {"tag": "1"}),
        ("B\u00fcro 1 (Nord)<sip:a@b>", "B\u00fcro 1 (Nord)", {}),
        ('"a \\"b\\" \\\\, <sip:x>" <sip:a@b>;x="1;2,\\"3\\""', 'a "b" \\, <sip:x>', {"x": '1;2,"3"'}),
        ('""<sip:a@b>;flag;q=0.5', "", {"flag": "", "q": "0.5"}),
        ("<sip:a@b>;tag=a@b=c", "", {"tag": "a@b=c"}),
        ('sip:a@b;+sip.instance="<urn:uuid:0>"', "", {"+sip.instance": "<urn:uuid:0>"}),
    ],
)
def test_names_with_addresses_are_read_and_written(text: str, display: str, params: dict[str, str]) -> None:
    read = NameAddr.parse(text)
    assert read == NameAddr(Uri("sip", "a", "b"), display, params)
    assert NameAddr.parse(str(read)) == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<>",
        "<sip:a@b",
        "sip:a@b>",
        '"a <sip:a@b>',
        '"a" b <sip:a@b>',
        "a, b <sip:a@b>",
        "< sip:a@b>",
        "<sip:a@b >",
        "<sip:a@b>x",
        "<sip:a@b>;",
        "<sip:a@b>;;x",
        "<sip:a@b>;x=",
        "<sip:a@b>;x;X",
        "sip:a@b?x",
        "sip:a@b,sip:c@d",
        "<sip:a@b>;x=\u00a0 y",
        "<<sip:a@b>>",
        "sip:a@b x",
        "Name sip:a@b",
    ],
)
def test_what_is_no_address_is_a_bad_request(text: str) -> None:
    with pytest.raises(SipError) as caught:
        NameAddr.parse(text)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("text", "via"),
    [
        ("SIP/2.0/UDP a.example;branch=z9hG4bK1", Via("UDP", "a.example", None, {"branch": "z9hG4bK1"})),
        ("sip / 2.0 / tcp [::1] : 5061 ;rport", Via("TCP", "::1", 5061, {"rport": ""})),
        ("SIP/2.0/TLS a;received=2001:db8::9", Via("TLS", "a", None, {"received": "2001:db8::9"})),
        ("SIP/2.0/TLS a;received=[2001:db8::9]", Via("TLS", "a", None, {"received": "[2001:db8::9]"})),
        ("SIP/7.0/UDP a", Via("UDP", "a", protocol="SIP/7.0")),
    ],
)
def test_vias_are_read_and_written(text: str, via: Via) -> None:
    assert Via.parse(text) == via
    assert Via.parse(str(via)) == via


@pytest.mark.parametrize(
    "text", ["", "SIP/2.0/UDP", "SIP/2.0 a", "SIP/2.0/UDP a b", "UDP a", "SIP/2.0/UDP a:x", "SIP/2.0/UDP ;x"]
)
def test_what_is_no_via_is_a_bad_request(text: str) -> None:
    with pytest.raises(SipError) as caught:
        Via.parse(text)
    assert caught.value.status == 400


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=20)
TOKENS = st.from_regex(r"[a-z0-9!%'*+.\-_`~]{1,10}", fullmatch=True)


@settings(deadline=None)
@given(
    WORDS.map(lambda text: text.strip(" \t")),
    st.dictionaries(TOKENS, WORDS),
    st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True),
)
def test_any_name_and_parameter_survives_writing(display: str, params: dict[str, str], user: str) -> None:
    written = NameAddr(Uri("sip", user, "b.example"), display, params)
    assert NameAddr.parse(str(written)) == written


@settings(deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"""["<sip:]*[a-z0-9@%;=?\[\]",<> :]{0,30}"""))
def test_any_text_is_read_or_refused(text: str) -> None:
    for kind in (Uri, NameAddr, Via):
        try:
            read = kind.parse(text)
        except SipError:
            continue
        assert kind.parse(str(read)) == read
