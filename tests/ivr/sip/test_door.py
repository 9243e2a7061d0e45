"""Who is denounced and how often, and which of several secrets counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sip_phone import KEY, MAC, SECRETS, US, Line, Phone, tcp, udp

from ivr.sip.config import CoreConfig
from ivr.sip.core import Core
from ivr.sip.effects import Credential, Effect, Flow, Invited, Refused, Stranger

REGISTRAR = "sip:ivr.example.com"
OLDER = ("s3cret-before", "s3cret-long-before")


def denounced(effects: list[Effect]) -> list[Stranger]:
    return [one.why for one in effects if isinstance(one, Refused)]


def guess(line: Line, flow: Flow, call_id: str = "guess") -> list[Effect]:
    return line.register(Phone(flow=flow, secret="guess", call_id=call_id))


@pytest.mark.parametrize("flow", [udp("198.51.100.1"), tcp(host="198.51.100.1")])
def test_one_message_with_an_invented_nonce_denounces_nobody(flow: Flow) -> None:
    line, phone = Line(), Phone(flow=flow, secret="guess")
    proof = phone.proof('Digest realm="activation", nonce="invented"', "REGISTER", REGISTRAR)
    effects = line.feed(phone.request("REGISTER", proof, uri=REGISTRAR), flow)
    assert [one.status for one in line.heard(effects)] == [401]
    assert denounced(effects) == []
    assert line.core.dropped[Stranger.WRONG_SECRET] == 0


def test_who_answers_our_challenge_wrongly_is_denounced_now_and_then() -> None:
    line = Line()
    flow = tcp(host="198.51.100.1")
    told = [denounced(guess(line, flow, f"guess-{number}")) for number in range(20)]
    assert [len(one) for one in told] == [1] * 5 + [0] * 15
    assert line.core.dropped[Stranger.WRONG_SECRET] == 20, "all are counted"
    assert denounced(guess(line, tcp(2, host="198.51.100.2"))) == [Stranger.WRONG_SECRET]
    line.wait(11)
    assert denounced(guess(line, flow, "later")) == [Stranger.WRONG_SECRET]


def test_our_own_proxy_is_never_denounced() -> None:
    line = Line(CoreConfig(KEY, trusted=frozenset({"198.51.100.1"})))
    assert denounced(guess(line, tcp(host="198.51.100.1"))) == []
    other = line.register(Phone(mac="0004f2ddeeff", user=MAC, flow=tcp(host="198.51.100.1")))
    assert denounced(other) == []
    assert line.core.dropped[Stranger.WRONG_SECRET] == line.core.dropped[Stranger.OTHERS_SECRET] == 1


@pytest.mark.parametrize(
    ("secret", "status"), [(SECRETS[MAC].secret, 200), (OLDER[0], 200), (OLDER[1], 200), ("guess", 401)]
)
def test_secrets_of_all_keys_count(secret: str, status: int) -> None:
    line = Line()
    known = Credential(MAC, SECRETS[MAC].secret, OLDER)
    line.core = Core(line.config, {MAC: known}.get, line.rng.randbytes)
    phone = Phone(secret=secret)
    effects = line.register(phone)
    assert [one.status for one in line.heard(effects)] == [status]
    assert len(denounced(effects)) == (status == 401)
    line.wait(33)
    again = line.last.replace(b"branch=z9hG4bK", b"branch=z9hG4bKother")
    assert [one.status for one in line.say(again, udp("203.0.113.66"))] == [401], "counts once"
    assert all(one not in repr(known) for one in OLDER)


def test_a_recorded_call_is_worth_nothing_after_a_restart() -> None:
    """With a key of its own a later process does not know the nonce, whatever its clock and its memory say."""
    line, phone = Line(), Phone()
    line.invite(phone)
    later = Line(replace(line.config, key=b"another" * 5))
    effects = later.feed(line.last, udp("203.0.113.66"))
    assert not [one for one in effects if isinstance(one, Invited)]
    assert [one.status for one in later.heard(effects)] == [401]
    assert f"sip:{US}".encode() in line.last
