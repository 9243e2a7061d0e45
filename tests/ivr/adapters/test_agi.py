"""The lines of AGI: what is sent cannot break out of its quotes, what comes cannot do more than raise AgiError."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ivr.adapters.agi import LONGEST, AgiError, Environment, HungUp, Inbox, Reply, command, key, quote
from tests.ivr.adapters.asterisk import words

PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=40)
LINES = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from([b"\n", b"agi_x: y\n", b"HANGUP\n", b"200 result=1\n", b"520-Invalid\n", b"100 Trying\n"]),
        st.builds(
            lambda head, tail: head + tail, st.sampled_from([b"200 result=", b"agi_", b"511 ", b"520 "]), st.binary()
        ),
    ),
    max_size=20,
)


def started() -> Inbox:
    inbox = Inbox()
    assert isinstance(inbox.told(b"\n"), Environment)
    return inbox


@given(st.lists(PRINTABLE, max_size=4))
@example(['a "quoted" \\ thing', "", "${SHELL(rm)}", "\\"])
def test_what_is_quoted_comes_apart_as_it_was(arguments: list[str]) -> None:
    line = command("SET VARIABLE", *arguments)
    assert line.count(b"\n") == 1
    assert words(line.decode()) == ["SET", "VARIABLE", *arguments]


@pytest.mark.parametrize("text", ["a\nHANGUP", "a\rb", "\x00", "\x7f"])
def test_a_command_cannot_be_two(text: str) -> None:
    with pytest.raises(AgiError, match="control character"):
        quote(text)


@given(LINES)
def test_whatever_comes_is_read_or_refused(lines: list[bytes]) -> None:
    inbox = Inbox()
    with suppress(AgiError):
        for line in lines:
            told = inbox.told(line)
            assert told is None or isinstance(told, Environment | Reply | HungUp)


def test_the_environment_ends_with_an_empty_line() -> None:
    inbox = Inbox()
    lines = [b"agi_request: agi://x/activate\n", b"agi_callerid: unknown\n", b"agi_arg_1: a: b\n", b"agi_arg_2:\n"]
    assert [inbox.told(line) for line in lines] == [None] * 4
    environment = inbox.told(b"\n")
    assert isinstance(environment, Environment)
    assert environment.get("request") == "agi://x/activate"
    assert environment.get("callerid") == "" == environment.get("dnid")
    assert environment.arguments == ("a: b", "")


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\n", b"agi_\n", b"200 result=1\n", b"agi_x: " + b"a" * LONGEST])
def test_what_is_no_environment_is_refused(line: bytes) -> None:
    with pytest.raises(AgiError):
        Inbox().told(line)


def test_an_environment_without_end_is_refused() -> None:
    inbox = Inbox()
    with pytest.raises(AgiError, match="lines without an answer"):
        for number in range(1000):
            inbox.told(b"agi_arg_%d: x\n" % (number % 2))


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"200 result=1234\n", Reply(200, "1234")),
        (b"200 result=12*4 (timeout)\r\n", Reply(200, "12*4", "timeout")),
        (b"200 result= (timeout)\n", Reply(200, "", "timeout")),
        (b"200 result=\n", Reply(200)),
        (b"200 result=-1\n", Reply(200, "-1")),
        (b"200 result=53 endpos=4000\n", Reply(200, "53", "", 4000)),
        (b"200 result=1 (sip:a@b (c) d)\n", Reply(200, "1", "sip:a@b (c) d")),
        (b"200 result=1 ()\n", Reply(200, "1")),
        (b"510 Invalid or unknown command\n", Reply(510)),
        (b"511 Command Not Permitted on a dead channel\n", Reply(511)),
        (b"520 Invalid command syntax.\n", Reply(520)),
        (b"HANGUP\n", HungUp()),
        (b"100 Trying...\n", None),
    ],
)
def test_answers(line: bytes, reply: Reply | HungUp | None) -> None:
    assert started().told(line) == reply


@pytest.mark.parametrize(
    "line", [b"\n", b"hello\n", b"200\n", b"200 \n", b"200 ok\n", b"200 result=1 (cut\n", b"2000 result=1\n"]
)
def test_what_is_no_answer_is_refused(line: bytes) -> None:
    with pytest.raises(AgiError, match="answer"):
        started().told(line)


def test_an_explanation_is_one_answer() -> None:
    inbox = started()
    lines = [b"520-Invalid command syntax.  Proper usage follows:\n", b"Usage: GET DATA <file>\n", b"200 result=1\n"]
    assert [inbox.told(line) for line in lines[:2]] == [None, None]
    assert inbox.told(b"520 End of proper usage.\n") == Reply(520)
    assert inbox.told(b"200 result=1\n") == Reply(200, "1")


@pytest.mark.parametrize("line", [b"520-and so on\n", b"100 Trying...\n", b"HANGUP\n"])
def test_lines_without_end_are_refused(line: bytes) -> None:
    inbox = started()
    with pytest.raises(AgiError, match="lines without an answer"):
        for _ in range(1000):
            inbox.told(line)


def test_keys_by_their_code() -> None:
    assert [key(code) for code in ("48", "57", "42", "35")] == ["0", "9", "*", "#"]
    assert [key(code) for code in ("0", "-1", "", "65", "4848", "99999999999", "٤٨")] == [""] * 7


def test_what_was_keyed_never_prints() -> None:
    assert "1234" not in repr(started().told(b"200 result=1234 (5678)\n"))
    with pytest.raises(AgiError) as caught:
        started().told(b"1234 314159\n")
    assert "3141" not in str(caught.value)
