"""The registrar: who may, for how long, how it ends; and NOTIFY on the way that the phone has opened."""

from __future__ import annotations

import pytest
from sip_phone import KEY, MAC, OTHER, SECRETS, US, Heard, Line, Phone, tcp, udp

from ivr.sip.config import CoreConfig
from ivr.sip.effects import (
    Credential,
    Effect,
    Notified,
    Refused,
    Registered,
    Send,
    Stranger,
    Unregistered,
)

REGISTRAR = "sip:ivr.example.com"
CHECK_SYNC = "check-sync;reboot=true"


def status(line: Line, effects: list[Effect]) -> int:
    (heard,) = line.heard(effects)
    return heard.status


# --- granting -------------------------------------------------------------------------------------------


def test_a_phone_registers_and_the_shell_hears_of_it_after_the_answer() -> None:
    line, phone = Line(), Phone()
    effects = line.register(phone, "Expires: 120")
    sent, told = effects
    assert isinstance(sent, Send)
    heard = Heard(sent.data)
    assert heard.status == 200
    assert heard.get("Contact") == f"<sip:{MAC}@192.0.2.17:5062>;expires=120"
    assert told == Registered(MAC, phone.flow, f"sip:{MAC}@192.0.2.17:5062", 120, phone.agent)


def test_the_user_that_proves_may_say_more_than_the_mac() -> None:
    line, phone = Line(), Phone(user=f"{MAC}-77")
    assert status(line, line.register(phone)) == 200


@pytest.mark.parametrize("spelled", ["0004F2AABBCC", "00-04-f2-aa-bb-cc", "00%3A04%3Af2%3Aaa%3abb%3acc"])
def test_a_mac_may_be_spelled_as_phones_do(spelled: str) -> None:
    line = Line()
    phone = Phone(mac=spelled, user=MAC)
    assert status(line, line.register(phone)) == 200


@pytest.mark.parametrize(
    ("headers", "granted"),
    [
        ((), 300),
        (("Expires: 60",), 60),
        (("Expires: 99999999",), 3600),
        (("Expires: soon",), 300),
        ((f"Contact: <sip:{MAC}@192.0.2.17:5062>;expires=90", "Expires: 60"), 90),
    ],
)
def test_how_long(headers: tuple[str, ...], granted: int) -> None:
    line, phone = Line(), Phone()
    assert [one.expires for one in line.register(phone, *headers) if isinstance(one, Registered)] == [granted]
    effects = line.wait(granted - 1)
    assert effects == []
    assert Unregistered(MAC) in line.wait(2)
    assert line.core.held.registrations == 0


def test_too_short_a_time_is_423() -> None:
    line, phone = Line(), Phone()
    (heard,) = line.heard(line.register(phone, "Expires: 59"))
    assert (heard.status, heard.get("Min-Expires")) == (423, "60")
    assert line.core.held.registrations == 0


def test_without_a_contact_the_phone_is_told_what_stands() -> None:
    line, phone = Line(), Phone()
    line.register(phone)
    line.wait(100)
    (heard,) = line.heard(line.register(phone, "Contact: -"))
    assert heard.get("Contact") == f"<sip:{MAC}@192.0.2.17:5062>;expires=200"
    (nothing,) = line.heard(line.register(Phone(mac=OTHER), "Contact: -"))
    assert (nothing.status, nothing.get("Contact")) == (200, "")


def test_one_binding_a_mac_the_last_one() -> None:
    line = Line()
    line.register(Phone())
    again = Phone(flow=udp(port=7000), call_id="after-reboot")
    line.register(again)
    assert line.core.held.registrations == 1
    effects = line.core.notify(MAC, CHECK_SYNC, (), line.now, "t")
    assert [one.flow for one in effects if isinstance(one, Send)] == [again.flow]


def test_an_old_register_does_not_undo_a_newer_one() -> None:
    line, phone = Line(), Phone()
    line.register(phone)
    phone.cseq -= 3
    assert status(line, line.register(phone, "Expires: 0")) == 500
    assert line.core.held.registrations == 1


# --- taking back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers", [("Expires: 0",), ("Contact: *", "Expires: 0"), (f"Contact: <sip:{MAC}@192.0.2.17:5062>;expires=0",)]
)
def test_a_phone_takes_its_registration_back(headers: tuple[str, ...]) -> None:
    line, phone = Line(), Phone()
    line.register(phone)
    effects = line.register(phone, *headers)
    assert status(line, effects) == 200
    assert effects[-1] == Unregistered(MAC)
    assert line.core.held.registrations == 0


@pytest.mark.parametrize(
    "headers",
    [
        ("Contact: *",),
        ("Contact: *", "Expires: 60"),
        (f"Contact: *, <sip:{MAC}@192.0.2.17>", "Expires: 0"),
        ("Contact: <tel:+15551234>",),
        ("Contact: " + ", ".join(f"<sip:{MAC}@192.0.2.{n}>" for n in range(1, 12)),),
    ],
)
def test_what_cannot_be_meant_is_400(headers: tuple[str, ...]) -> None:
    line, phone = Line(), Phone()
    line.register(phone)
    assert status(line, line.register(phone, *headers)) == 400
    assert line.core.held.registrations == 1


@pytest.mark.parametrize(
    "headers",
    [
        (f"Contact: <sip:{MAC}@192.0.2.17;x={'y' * 2048}>",),
        (f"Path: <sip:p.example.com;lr;x={'y' * 2048}>",),
        ("Contact: " + ", ".join(f"<sip:{MAC}@192.0.2.{number}>" for number in range(11)),),
        ("Path: " + ", ".join(["<sip:p.example.com;lr>"] * 11),),
    ],
)
def test_a_registration_takes_no_more_memory_than_a_phones(headers: tuple[str, ...]) -> None:
    line, phone = Line(), Phone()
    assert status(line, line.register(phone, *headers)) == 400
    assert line.core.held.registrations == 0


def test_a_phone_that_names_ten_contacts_has_one() -> None:
    line, phone = Line(), Phone()
    contacts = ", ".join(f"<sip:{MAC}@192.0.2.{number}>" for number in range(10))
    assert status(line, line.register(phone, f"Contact: {contacts}")) == 200
    assert line.core.held.registrations == 1


def test_taking_back_an_old_contact_leaves_the_new_one() -> None:
    line, phone = Line(), Phone()
    line.register(phone)
    line.register(phone, f"Contact: <sip:{MAC}@192.0.2.17:4000>;expires=0")
    assert line.core.held.registrations == 1
    line.register(phone, f"Contact: <sip:{MAC}@192.0.2.17:5062>;expires=0, <sip:{MAC}@192.0.2.17:7070>;expires=100")
    assert line.core.held.registrations == 1


def test_a_lost_connection_takes_its_registrations_along() -> None:
    line = Line()
    line.register(Phone(flow=tcp()))
    assert line.note(line.core.closed(tcp(), line.now)) == [Unregistered(MAC)]
    assert line.core.notify(MAC, CHECK_SYNC, (), line.now, "t") == [Notified("t", 0)]


def test_a_registration_that_moved_survives_its_old_connection() -> None:
    line = Line()
    line.register(Phone(flow=tcp(1)))
    line.register(Phone(flow=tcp(2, port=40_002), call_id="again"))
    assert line.note(line.core.closed(tcp(1), line.now)) == []
    assert line.core.notify(tcp(1), CHECK_SYNC, (), line.now, "t") == [Notified("t", 0)]
    assert line.core.held.registrations == 1


def test_the_table_is_bounded() -> None:
    line = Line(CoreConfig(KEY, registrations=2))
    phones = [Phone(mac=mac, flow=udp(f"192.0.2.{n}"), call_id=mac) for n, mac in enumerate(list(SECRETS)[2:5], 1)]
    answers = [line.heard(line.register(phone))[0] for phone in phones]
    assert [one.status for one in answers] == [200, 200, 503]
    assert answers[2].get("Retry-After") == "60"
    assert status(line, line.register(phones[0])) == 200


# --- who may --------------------------------------------------------------------------------------------


def test_another_phones_secret_is_403_and_told() -> None:
    line, phone = Line(), Phone(mac=OTHER, user=MAC)
    effects = line.register(phone)
    assert status(line, effects) == 403
    assert Refused(phone.flow, Stranger.OTHERS_SECRET, MAC) in effects
    assert line.core.held[:3] == (0, 0, 0)


def test_a_register_for_another_phone_is_403() -> None:
    line, phone = Line(), Phone()
    (challenged,) = line.say(phone.request("REGISTER", uri=REGISTRAR), phone.flow)
    proof = phone.proof(challenged.get("WWW-Authenticate"), "REGISTER", REGISTRAR)
    data = phone.request("REGISTER", proof, uri=REGISTRAR).replace(f"To: <sip:{MAC}".encode(), b"To: <sip:" + b"0" * 12)
    assert [one.status for one in line.say(data, phone.flow)] == [403]


def test_wrong_secret_unknown_user_and_no_proof_get_the_same_answer() -> None:
    line = Line()
    answers = []
    for phone in (Phone(secret="wrong"), Phone(mac=MAC, user="nobody-here", secret="x")):
        (challenged,) = line.say(phone.request("REGISTER", uri=REGISTRAR), phone.flow)
        proof = phone.proof(challenged.get("WWW-Authenticate"), "REGISTER", REGISTRAR)
        effects = line.feed(phone.request("REGISTER", proof, uri=REGISTRAR), phone.flow)
        answers += [challenged, *line.heard(effects)]
        assert Refused(phone.flow, Stranger.WRONG_SECRET, "") in effects
    shapes = {tuple(name for name, _ in one.headers) for one in answers}
    assert len(shapes) == 1
    assert {len(one.data) for one in answers} == {len(answers[0].data)}
    assert line.core.held[:3] == (0, 0, 0)


def test_a_proof_counts_once() -> None:
    line, phone = Line(), Phone()
    line.register(phone)
    line.wait(33)
    copied = line.last.replace(b"branch=z9hG4bK", b"branch=z9hG4bKother")
    (again,) = line.say(copied, udp("203.0.113.66"))
    assert (again.status, "stale=true" in again.get("WWW-Authenticate").lower()) == (401, True)


def test_an_old_nonce_is_stale() -> None:
    line, phone = Line(), Phone()
    (challenged,) = line.say(phone.request("REGISTER", uri=REGISTRAR), phone.flow)
    line.wait(301)
    proof = phone.proof(challenged.get("WWW-Authenticate"), "REGISTER", REGISTRAR)
    (again,) = line.say(phone.request("REGISTER", proof, uri=REGISTRAR), phone.flow)
    assert (again.status, "stale=true" in again.get("WWW-Authenticate").lower()) == (401, True)


def test_sha_256_is_offered_when_asked_for() -> None:
    line = Line(CoreConfig(KEY, algorithms=("SHA-256", "MD5")))
    phone = Phone()
    (challenged,) = line.say(phone.request("REGISTER", uri=REGISTRAR), phone.flow)
    assert ["SHA-256" in one for one in challenged.all("WWW-Authenticate")] == [True, False]
    assert status(line, line.register(phone)) == 200


def test_a_secret_does_not_print() -> None:
    assert "s3cret" not in repr(Credential(MAC, "s3cret")) + repr(CoreConfig(b"s3cret"))
    assert US in Phone().request("OPTIONS").decode()
