"""Who has refused whom and why, where one alert has several causes: 802.1X, names, versions, registrations."""

from __future__ import annotations

import pytest
from seen import MAC, frame, met, of, row

from provisioner.diagnosis.catalogue import Party, Rung
from provisioner.diagnosis.facts import Fact
from provisioner.diagnosis.ladder import Diagnosis, State

DOT1X = "802.1X"


def eap(at: float, code: str, **values: object) -> Fact:
    return frame("eap", at, code=code, **values)


def tls(at: float, kind: str, **values: object) -> Fact:
    return frame(kind, at, connection=DOT1X, **values)


def let_in(*told: Fact) -> Diagnosis:
    return of([eap(1, "request", method="identity"), eap(1.1, "response", method="identity"), *told])


def says(found: Diagnosis) -> str:
    return found.cause.says if found.cause else ""


@pytest.mark.parametrize(("told", "ident", "who", "words"), [
    ([eap(2, "failure")], 8, Party.NETWORK, "its name is not known there"),
    ([eap(2, "request", method="md5"), eap(2.1, "response", method="nak"), eap(3, "failure")], 8, Party.NETWORK,
     "another method"),
    ([eap(2, "request", method="peap"), eap(3, "failure")], 8, Party.NETWORK, "(peap)"),
    ([tls(2, "chain", by="phone", length=0), eap(3, "failure")], 8, Party.NETWORK, "no certificate"),
    ([tls(2, "chain", by="phone", length=1, issuer="CN=F", not_after=1, not_before=0), eap(3, "failure")], 8,
     Party.NETWORK, "CN=F, which has expired"),
    ([tls(2, "alert", by="server", code=45, name="certificate_expired"), eap(3, "failure")], 8, Party.NETWORK,
     "its certificate is refused: alert 45"),
    ([tls(2, "alert", by="phone", code=48, name="unknown_ca"), eap(3, "failure")], 86, Party.PHONE, "alert 48"),
    ([tls(2, "alert", by="phone", code=48, name="unknown_ca")], 86, Party.PHONE, "alert 48"),
])  # fmt: skip
def test_why_it_is_not_let_in(told: list[Fact], ident: int, who: Party, words: str) -> None:
    found = let_in(*told)
    assert (row(found), found.refused) == (ident, who)
    assert words in says(found)


def test_a_later_success_ends_it_and_nothing_of_the_first_try_is_left() -> None:
    found = let_in(tls(2, "alert", by="phone", code=48), eap(3, "failure"), eap(10, "start"), eap(11, "success"))
    assert row(found) == 0
    assert next(one for one in found.steps if one.rung is Rung.DOT1X).state is State.GOOD


def test_a_switch_that_says_nothing_matters_only_where_the_phone_waits_for_it() -> None:
    starts = [eap(at, "start", by="phone") for at in (1, 31)]
    found = of(starts)
    assert row(found) == 8 and found.cause and not found.cause.sure
    assert row(of([*starts, *(frame("dhcp", at, type="discover", vlan=0) for at in (40, 44))])) == 10
    assert row(of(starts[:1])) == 0, "one may have been lost"
    assert row(of([*starts, frame("dropped", 2, frames=3)])) == 0


def chain(names: str, **more: object) -> Fact:
    return frame("chain", 50.3, connection="a", by="server", length=2, subject="CN=other.example", names=names,
                 issuer="CN=X", **more)  # fmt: skip


BAD = frame("alert", 51, connection="a", by="phone", code=42, name="bad_certificate")
LEFT = [
    frame("tls_done", 51, connection="a", version="TLSv1.2"),
    frame("closed", 52, connection="a", by="phone", after="handshake"),
]


@pytest.mark.parametrize(("names", "ident"), [
    ("prov.example.net", 25), ("*.example.net", 25), ("www.example.org", 43), ("*.net", 43), ("", 43),
    ("www.example.org,PROV.example.net", 25),
])  # fmt: skip
def test_a_bad_certificate_is_one_for_another_name(names: str, ident: int) -> None:
    found = of([*met(), chain(names), BAD])
    assert row(found) == ident
    assert found.cause and found.cause.sure is (ident == 43)


def test_who_leaves_without_a_word_had_its_reason_in_the_certificate() -> None:
    other = of([*met(), chain("www.example.org"), *LEFT])
    assert (row(other), other.cause and other.cause.sure) == (43, True)
    fits = of([*met(), chain("prov.example.net"), *LEFT])
    assert (row(fits), fits.cause and fits.cause.sure) == (39, False)
    hidden = of([*met(), *LEFT])
    assert (row(hidden), hidden.cause and hidden.cause.sure) == (43, False)


def version(by: str, offered: str, chosen: str = "") -> Diagnosis:
    hello = [*met()[:2], frame("hello", 50.1, connection="a", sni="h", versions=offered)]
    took = [frame("server_hello", 50.2, connection="a", version=chosen)] if chosen else []
    return of([*hello, *took, frame("alert", 51, connection="a", by=by, code=70, name="protocol_version")])


def test_the_older_end_is_to_blame_for_a_version() -> None:
    old_phone = version("server", "TLSv1")
    assert (row(old_phone), old_phone.refused) == (46, Party.SERVER)
    refused = version("server", "TLSv1.3,TLSv1.2")
    assert (row(refused), refused.refused) == (87, Party.SERVER)
    refuses = version("phone", "TLSv1.3,TLSv1.2", "TLSv1")
    assert (row(refuses), refuses.refused) == (87, Party.PHONE)


def register(at: float, **values: object) -> Fact:
    return frame("register", at, to="192.0.2.9:5060", **values)


def test_a_line_that_nobody_answers_is_not_one_that_is_refused() -> None:
    asked = [register(at, type="request") for at in (1, 1.5, 2.5)]
    assert row(of(asked)) == 90 and "3 times: no answer" in says(of(asked))
    closed = frame("unreachable", 3, by="192.0.2.9", code="port", to="192.0.2.9", port=5060)
    assert "port unreachable" in says(of([*asked, closed]))
    assert row(of([closed])) == 0, "a closed port of UDP is no matter of the way to the server"
    assert row(of(asked[:2])) == 0
    assert row(of([*asked, frame("dropped", 4, frames=1)])) == 0
    assert row(of([*asked, register(4, type="answer", status=480)])) == 90
    assert row(of([*asked, register(4, type="answer", status=404)])) == 74
    assert row(of([*asked, register(4, type="answer", status=200)])) == 0


def test_a_password_in_place_of_a_certificate_is_judged_by_its_answer() -> None:
    told = [
        frame("verdict", 5, connection="a", verdict="none"),
        frame("request", 5.1, connection="a", method="GET", path=f"/{MAC}.cfg", authorization="Digest"),
        frame("answer", 5.2, connection="a", status=401),
    ]
    assert row(of([*met(4), *told])) == 61
