"""Signatures: the right one passes, and nothing else does or raises."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from ivr.adapters.hooks import Heard
from ivr.adapters.signatures import SharedSecret, TelnyxSignature, TwilioSignature

FORM = "application/x-www-form-urlencoded"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.b64encode(KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
NOW = 1_795_334_400.0


def heard(
    headers: Mapping[str, str], *, body: bytes = b"", query: str = "", path: str = "/x", method: str = "POST"
) -> Heard:
    return Heard(method, path, query, body, lambda name: headers.get(name, ""))


def posted(form: Mapping[str, str] | list[tuple[str, str]], signature: str, query: str = "") -> Heard:
    return heard({"Content-Type": FORM, "X-Twilio-Signature": signature}, body=urlencode(form).encode(), query=query)


PUBLISHED = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}
"""The example of Twilio's documentation of its signature."""


def test_twilios_published_example() -> None:
    signature = TwilioSignature("12345", "https://mycompany.com/myapp.php")
    assert signature.good(posted(PUBLISHED, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "foo=1&bar=2"))
    assert not signature.good(posted(PUBLISHED | {"Digits": "1235"}, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "foo=1&bar=2"))
    assert not signature.good(posted(PUBLISHED, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "foo=1&bar=3"))
    assert not signature.good(posted(PUBLISHED, "", "foo=1&bar=2"))
    assert not TwilioSignature("12346", "https://mycompany.com/myapp.php").good(
        posted(PUBLISHED, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "foo=1&bar=2")
    )


def test_a_field_sent_twice_counts_once_for_each_value() -> None:
    signature = TwilioSignature("12345", "https://x/y")
    once = [("a", "1"), ("a", "2"), ("b", "3")]
    expected = "a1a2b3"
    import hashlib
    import hmac

    told = base64.b64encode(hmac.new(b"12345", f"https://x/y{expected}".encode(), hashlib.sha1).digest()).decode()
    assert signature.good(posted([once[1], once[0], once[2], once[0]], told))


def test_twilio_with_too_many_fields_is_not_twilio() -> None:
    assert not TwilioSignature("12345", "https://x/y").good(posted({f"f{n}": "" for n in range(500)}, "x"))


def telnyx(body: bytes, stamp: str, signed: bytes | None = None) -> Heard:
    signature = base64.b64encode(KEY.sign(signed if signed is not None else f"{stamp}|".encode() + body)).decode()
    return heard({"telnyx-timestamp": stamp, "telnyx-signature-ed25519": signature}, body=body)


def test_telnyx_within_its_window() -> None:
    signature = TelnyxSignature(PUBLIC, clock=lambda: NOW)
    stamps = [f"{NOW + off:.0f}" for off in (0, -300, 300, -301, 301, -90_000)]
    assert [signature.good(telnyx(b"CallSid=x", stamp)) for stamp in stamps] == [True, True, True, False, False, False]


def test_telnyx_over_time_and_body() -> None:
    signature, stamp = TelnyxSignature(PUBLIC, clock=lambda: NOW), f"{NOW:.0f}"
    assert not signature.good(telnyx(b"CallSid=x", stamp, f"{stamp}|CallSid=y".encode()))
    assert not signature.good(telnyx(b"CallSid=x", stamp, b"1|CallSid=x"))
    assert not signature.good(telnyx(b"CallSid=x", "", b"|CallSid=x"))
    assert not signature.good(telnyx(b"CallSid=x", "١٢٣"))
    assert not signature.good(heard({"telnyx-timestamp": stamp, "telnyx-signature-ed25519": "!"}, body=b"x"))


@pytest.mark.parametrize("key", ["", "x", "AAAA", PUBLIC + "AAAA"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        TelnyxSignature(key)


def test_a_shared_secret_is_the_end_of_the_path() -> None:
    secret = SharedSecret("0123456789abcdef")
    paths = ["/x/0123456789abcdef", "/x/0123456789abcdeg", "/x/", "/0123456789abcdef/", "/x/ünïcode"]
    assert [secret.good(heard({}, path=path)) for path in paths] == [True, False, False, False, False]


@pytest.mark.parametrize("secret", ["", "short", "0123456789abcde", "0123456789abcdef/", "0123456789abcdeü", "a b" * 9])
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="at least 16"):
        SharedSecret(secret)


def test_an_empty_token_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        TwilioSignature("", "https://x")


TEXT = st.text(max_size=40)


@given(TEXT, TEXT, TEXT, st.binary(max_size=80), TEXT)
def test_whatever_comes_is_not_signed(first: str, second: str, third: str, body: bytes, query: str) -> None:
    headers = {
        "X-Twilio-Signature": first,
        "telnyx-signature-ed25519": second,
        "telnyx-timestamp": third,
        "Content-Type": FORM,
    }
    came = heard(headers, body=body, query=query, path="/" + first)
    known = (TwilioSignature("12345", "https://x"), TelnyxSignature(PUBLIC), SharedSecret("0123456789abcdef"))
    assert not any(signature.good(came) for signature in known)
