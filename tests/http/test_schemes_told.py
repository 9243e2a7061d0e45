"""What a client proves itself with stands in no note of it, however oddly it was sent."""

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from provisioner.flight_notes import FlightNotes
from provisioner.http.jotting import jot_plain
from provisioner.http.schemes import scheme_of, scheme_word
from provisioner.http.wire import Wire
from provisioner.model import ListenerKind

KNOWN = {"Basic", "Digest", "Bearer", "NTLM", "Negotiate"}


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("SecretWithoutScheme", "other"), ("Secret of three", "other"), ("bearer abc", "Bearer"), ("NTLM x", "NTLM"),
        ("Basic\tabc", "Basic"), ("Basic:abc", "other"), ("Digest=abc", "other"), ("negotiate", "Negotiate"), ("", ""),
    ],
)  # fmt: skip
def test_the_five_are_told_by_name(sent: str, told: str) -> None:
    assert scheme_word(sent) == told


@given(st.text())
def test_nothing_else_is_told(sent: str) -> None:
    assert scheme_word(sent) in KNOWN | {"other", ""}
    assert scheme_of(sent).partition(" ")[0] in KNOWN | {"other", ""}
    assert scheme_of(f"Digest algorithm={sent}").removeprefix("Digest ") in {
        "MD5", "MD5-SESS", "SHA-256", "SHA-256-SESS", "SHA-512-256", "SHA-512-256-SESS", "other",
    }  # fmt: skip


def test_a_bare_secret_is_not_jotted_down(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = FlightNotes(1.0, None, ListenerKind.DEVICE)
    monkeypatch.setattr("provisioner.http.jotting.notes_of", lambda _request: notes)
    request = make_mocked_request("GET", "/a.cfg", headers={"authorization": "hunter2secret"})
    jot_plain(request, Wire(404, {}, b""), "x")
    assert notes.authorization == "other"
