"""What mails say, in each language: the same facts as text and as a page, and no value that breaks out of its place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from effort import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import html

from provisioner.errors import RenderFailed
from provisioner.mail.text import Letter, Texts, Writer, local_time, png, quick_start, svg
from provisioner.mail_address import Mailbox
from provisioner.shipped import shipped

TEXTS = Texts()
WRITER = Writer(Mailbox("Example, Ltd.", "tel@example.com"), Mailbox("", "help@example.com"))
VALUES: dict[str, Any] = {
    "name": "Ada Byron", "login": "ada@example.net", "number": "1001", "display_name": "Ada B.",
    "account": "Example Ltd",
    "code": "1234-5678-9012", "digits": "123456789012", "until": datetime(2026, 11, 29, 10, 6, tzinfo=UTC),
    "zone": "Europe/Berlin", "link": "https://help.example.com/poly/vvx-411", "dial": "2288", "model": "Poly VVX 411",
    "mac": "00:04:f2:aa:bb:01", "poe": True,
}  # fmt: skip


FACTS = (
    "Ada Byron", "1001", "ada@example.net", "Example Ltd", "1234-5678-9012", "10:06", "Europe/Berlin", "Activate",
    "https://help.example.com/poly/vvx-411", "Poly VVX 411", "00:04:f2:aa:bb:01", "2288",
)  # fmt: skip


def message(
    template: str = "code", language: str = "en", qr: str = "x", name: str = "Ada Byron", **given: Any
) -> EmailMessage:
    letter = Letter(
        template, language, Mailbox(name, "ada@example.net"), "17.1800000000000", 1_800_000_000.0, qr,
        VALUES | {"name": name} | given,
    )  # fmt: skip
    made = message_from_bytes(TEXTS.message(letter, WRITER).as_bytes(), policy=default)
    assert isinstance(made, EmailMessage)
    return made


HEADERS = sorted([
    "From", "To", "Subject", "Reply-To", "Date", "Message-ID", "Auto-Submitted", "Content-Language", "MIME-Version",
    "Content-Type",
])  # fmt: skip


class Worded(Texts):
    """Whose templates of subjects are somebody's own."""

    def __init__(self, subject: str) -> None:
        super().__init__()
        self._subject = subject

    def page(self, name: str, values: Mapping[str, object]) -> str:
        return self._subject if name.endswith(".subject.j2") else super().page(name, values)


def parts(made: EmailMessage) -> tuple[str, str]:
    text, page = made.get_body(("plain",)), made.get_body(("html",))
    assert text is not None and page is not None
    return text.get_content(), page.get_content()


@pytest.mark.parametrize("language", TEXTS.languages())
def test_a_code_comes_with_who_what_and_until_when(language: str) -> None:
    made = message(language=language)
    assert made["From"] == '"Example, Ltd." <tel@example.com>' and made["To"] == "Ada Byron <ada@example.net>"
    assert made["Reply-To"] == "help@example.com" and made["Auto-Submitted"] == "auto-generated"
    assert made["Message-ID"] == "<17.1800000000000@example.com>" and "1001" in made["Subject"]
    assert "1234" not in made["Subject"], "a lock screen shows subjects"
    for said in parts(made):
        for fact in FACTS:
            assert fact in said, fact


@pytest.mark.parametrize("language", TEXTS.languages())
def test_a_phone_that_is_ready_needs_no_code(language: str) -> None:
    made = message("ready", language, qr="")
    for said in parts(made):
        assert "1234" not in said and "Poly VVX 411" in said and "00:04:f2:aa:bb:01" in said
        assert "minute" in said.lower(), "what to do when it does not restart by itself"
    assert [part.get_content_type() for part in made.walk()] == ["multipart/alternative", "text/plain", "text/html"]


def test_the_picture_is_in_the_mail_and_the_page_asks_no_host() -> None:
    made = message(qr="https://help.example.com/")
    kinds = [part.get_content_type() for part in made.walk()]
    assert kinds == ["multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png"]
    picture = list(made.walk())[-1]
    assert picture.get_content() == png("https://help.example.com/")
    page = html.fromstring(parts(made)[1])
    assert [f"<{one.removeprefix('cid:')}>" for one in page.xpath("//img/@src")] == [picture["Content-ID"]]
    assert not page.xpath("//script|//link|//iframe|//object|//style")


@pytest.mark.parametrize("language", TEXTS.languages())
def test_without_a_phone_the_mail_says_that_another_will_come(language: str) -> None:
    said = {"en": "another mail", "de": "weitere Mail"}
    for text in parts(message(language=language, model="", mac="", link="", display_name="")):
        assert said.get(language, "mail") in " ".join(text.split()) and "None" not in text
    for text in parts(message(language=language, model="")):
        assert "00:04:f2:aa:bb:01" in text and said.get(language, "another") not in text


def test_a_name_that_is_markup_stays_a_name() -> None:
    made = message(name="<b>Ada</b> & 'Co'", account='"><script>alert(1)</script>')
    text, page = parts(made)
    assert "<b>Ada</b> & 'Co'" in text
    assert "<script>" not in page and "<b>Ada" not in page and "&lt;b&gt;Ada" in page


@given(st.text(max_size=90))
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])
def test_no_name_makes_a_header_or_a_recipient(name: str) -> None:
    try:
        made = message(name=name)
    except RenderFailed:
        assert any(ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u2028\u2029\ufffe\uffff" for char in name)
        return
    assert [one.addr_spec for one in made["To"].addresses] == ["ada@example.net"]
    assert sorted(made.keys()) == HEADERS and not made.defects


ENCODED = st.builds(
    lambda charset, way, text, end: f"=?{charset}?{way}?{text}{end}",
    st.sampled_from(["utf-8", "us-ascii", "iso-8859-1*en", "x", ""]),
    st.sampled_from("qQbB?"),
    st.sampled_from([
        "Ada=0D=0ABcc:_evil=40x.org", "A=0D=0A=0D=0APay_here", "=0ABcc=3A_x", "DQpCY2M6IGV2aWxAeC5vcmc=", "=0D", "a b",
        "a=3Cevil=40x.org=3E", "Ada=2C_evil=40x.org=2C", "=E2=80=A8",
    ]),
    st.sampled_from(["?=", "?", "=", "", "?==?utf-8?q?=0ABcc:_y?="]),
)  # fmt: skip
"""What the standard library decodes while it writes a header: a line break may stand in it."""
PIECES = st.sampled_from(
    ["=", "?", " ", '"', "\\", "ü", ",", "<a@b>", ",evil@x.org,", "ü" * 40, "x" * 90, "(", ":;"]
)  # fmt: skip
NAMES = st.lists(st.one_of(ENCODED, PIECES, st.text(max_size=5)), max_size=12)


@given(NAMES.map("".join), st.booleans())
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_encoded_word_in_a_name_or_a_subject_stays_what_it_is(text: str, subject: bool) -> None:
    letter = Letter("code", "en", Mailbox("" if subject else text, "ada@example.net"), "1", 0.0, "", VALUES)
    texts = Worded(text) if subject else TEXTS
    try:
        written = texts.message(letter, WRITER).as_bytes()
    except RenderFailed:
        return  # a control character of the text itself
    head, _, body = written.partition(b"\r\n\r\n")
    assert b"\n" not in head.replace(b"\r\n", b"") and b"\r" not in head.replace(b"\r\n", b"")
    read = message_from_bytes(written, policy=default)
    assert sorted(read.keys()) == HEADERS and not read.defects and body.startswith(b"--==")
    assert [one.addr_spec for one in read["To"].addresses] == ["ada@example.net"]
    assert written.isascii() and all(len(line) <= 78 for line in head.split(b"\r\n"))
    told = str(read["Subject"]) if subject else read["To"].addresses[0].display_name
    assert "".join(told.split()) == "".join(text.replace("=?", "= ?").split()), "it is read as it was written"
    assert not any(char in str(value) for value in read.values() for char in "\r\n")


@pytest.mark.parametrize("way", ["q?Ada=0D=0ABcc:_evil=40x.org", "q?A=0D=0A=0D=0APay", "b?DQpCY2M6IGV2aWxAeC5vcmc="])
def test_an_encoded_word_writes_no_header_and_no_body(way: str) -> None:
    name = f"=?utf-8?{way}?= B"
    written = TEXTS.message(Letter("code", "en", Mailbox(name, "ada@example.net"), "1", 0.0, "", VALUES), WRITER)
    read = message_from_bytes(written.as_bytes(), policy=default)
    assert sorted(read.keys()) == HEADERS
    assert read["To"].addresses[0].display_name == name.replace("=?", "= ?"), "it is read as it was written"
    for subject in (f"{name} 1001", f"Hello {name}"):
        made = Worded(subject).message(Letter("code", "en", Mailbox("A", "a@b.c"), "1", 0.0, "", VALUES), WRITER)
        read = message_from_bytes(made.as_bytes(), policy=default)
        assert sorted(read.keys()) == HEADERS and read["Subject"] == subject.replace("=?", "= ?")


def test_an_address_holds_no_encoded_word_either() -> None:
    letter = Letter("code", "en", Mailbox("A", "=?utf-8?q?=0D=0ABcc=3A_x?=@example.net"), "1", 0.0, "", VALUES)
    with pytest.raises(RenderFailed):
        TEXTS.message(letter, WRITER)


@pytest.mark.parametrize("name", ["Ada\r\nBcc: x@y.z", "Ada\nX: y", "Ada\x00", "Ada\u2028", "Ada\x85"])
def test_a_control_character_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(RenderFailed) as refused:
        message(name=name)
    assert "Bcc" not in refused.value.cause


@pytest.mark.parametrize("field", ["account", "display_name", "login", "mac"])
def test_no_value_of_the_body_holds_a_control_character_either(field: str) -> None:
    with pytest.raises(RenderFailed, match="U\\+001B"):
        message(**{field: "x\x1b[31m"})


def test_an_operators_template_is_used_instead_and_a_language_is_added_so(tmp_path: Path) -> None:
    own = tmp_path / "mail" / "nl"
    own.mkdir(parents=True)
    for name in ("code.subject.j2", "code.txt.j2", "code.html.j2"):
        own.joinpath(name).write_text("Hallo {{ name }}: {{ code }}")
    (tmp_path / "mail" / "en").mkdir()
    (tmp_path / "mail" / "en" / "code.subject.j2").write_text("Our own subject {{ number }}")
    texts = Texts(tmp_path)
    assert texts.languages() == ["de", "en", "nl"]
    lacking = [f"nl/{letter}.{part}.j2" for letter in ("ready", "emergency") for part in ("subject", "txt", "html")]
    assert texts.lacking() == [*lacking, "nl/sheet.html.j2"]
    letter = Letter("code", "en", Mailbox("A", "a@b.c"), "1", 0.0, "", VALUES)
    assert texts.message(letter, WRITER)["Subject"] == "Our own subject 1001"
    assert texts.page("nl/code.txt.j2", VALUES) == "Hallo Ada Byron: 1234-5678-9012"


def test_a_template_that_asks_for_what_is_not_there_names_itself_and_no_value(tmp_path: Path) -> None:
    (tmp_path / "mail" / "en").mkdir(parents=True)
    (tmp_path / "mail" / "en" / "code.txt.j2").write_text("{{ code }} {{ nosuch }}")
    with pytest.raises(RenderFailed, match=r"mail/en/code.txt.j2: UndefinedError$"):
        Texts(tmp_path).page("en/code.txt.j2", VALUES)


def test_the_nearest_language_is_spoken() -> None:
    assert TEXTS.spoken("de-AT", "en") == "de" and TEXTS.spoken("en-US") == "en"
    assert TEXTS.spoken("fr-FR", "de") == "de" and TEXTS.spoken("", "tlh") == "en"
    assert TEXTS.spoken("../../etc", "..") == "en"


def test_every_language_has_every_template_and_the_same_facts() -> None:
    assert Texts().lacking() == [] and TEXTS.languages() == ["de", "en"]
    folders = [shipped("templates") / "mail" / one for one in TEXTS.languages()]
    names = [{path.name for path in folder.iterdir()} for folder in folders]
    assert names[0] == names[1]


def test_a_link_is_made_for_the_model_and_a_clock_for_the_place() -> None:
    link = "https://help.example.com/{language}/{vendor}/{model}"
    assert quick_start(link, "poly", "VVX 411", "de") == "https://help.example.com/de/poly/vvx-411"
    assert (
        quick_start(link, "", "", "en") == "https://help.example.com/en/any/any"
        and quick_start("", "a", "b", "c") == ""
    )
    assert local_time(1_800_000_000, "Europe/Berlin").isoformat() == "2027-01-15T09:00:00+01:00"
    assert local_time(1_800_000_000, "Nowhere/At all") == local_time(1_800_000_000, "")


def test_a_qr_code_inside_a_page_brings_no_markup_of_its_text() -> None:
    drawn = svg('"><script>')
    assert drawn.startswith("<svg") and "script" not in drawn
