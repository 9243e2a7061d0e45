"""Mail addresses: what mail servers take, and nothing that could become a header or a command."""

from __future__ import annotations

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.mail_address import Mailbox, domain_of, parse_address, parse_mailbox

GOOD = ["ann@example.com", "a.b+c@sub.example.co.uk", "o'neil@example.com", "x@localhost", "ann@xn--mller-kva.example"]
BAD = [
    "", "ann", "@example.com", "ann@", "a b@example.com", "ann@example.com\n", "ann@example.com\r\nBcc: x@y",
    "ä@example.com", ".ann@example.com", "ann.@example.com", "a..b@example.com", "ann@-example.com", "ann@example..com",
    "ann@[127.0.0.1]", '"ann b"@example.com', "ann@example.com, bob@example.com", "<ann@example.com>",
    "ann@exämple.com", "a" * 65 + "@b.c", "a@" + "b" * 64 + ".c", "a@" + ".".join(["b" * 60] * 5),
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_usual_addresses_are_taken_as_they_are(text: str) -> None:
    assert parse_address(text) == text


@pytest.mark.parametrize("text", BAD)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ann@example"):
        parse_address(text)


def test_a_mailbox_has_a_name_or_none() -> None:
    assert parse_mailbox("Example Ltd <tel@example.com>") == Mailbox("Example Ltd", "tel@example.com")
    assert parse_mailbox('"Example, Ltd." <tel@example.com>') == Mailbox("Example, Ltd.", "tel@example.com")
    assert parse_mailbox(" tel@example.com ") == Mailbox("", "tel@example.com")
    assert domain_of("tel@example.com") == "example.com"
    for wrong in ("", "Example", "A <b@c> <d@e>", "A\r\nBcc: x <b@c>", "A <>", "A <b@c", "A\x00 <b@c>"):
        with pytest.raises(ValueError, match="mail address"):
            parse_mailbox(wrong)


@given(st.text(max_size=300))
def test_whatever_is_taken_stands_in_one_header_as_it_is(text: str) -> None:
    try:
        found = parse_mailbox(text)
    except ValueError:
        return
    message = EmailMessage(policy=SMTP)
    message["To"] = Address(found.name, addr_spec=found.address)
    assert len(message.keys()) == 1
    assert message["To"].addresses[0].addr_spec == found.address
    assert found.address.isascii() and not set(found.address) & set(' <>"\r\n')
