"""NOTIFY on the way that the phone has opened: repeated, proved, bounded, and never to somebody else."""

from __future__ import annotations

import pytest
from sip_phone import KEY, MAC, OTHER, Heard, Line, Phone, reply, tcp, udp

from ivr.sip.config import CoreConfig
from ivr.sip.effects import Flow, Login, Notified, Send, Unregistered

CHECK_SYNC = "check-sync;reboot=true"


def notify(line: Line, **wishes: object) -> Heard:
    effects = line.note(line.core.notify(MAC, CHECK_SYNC, (), line.now, "t", **wishes))  # type: ignore[arg-type]  # credentials
    (heard,) = line.heard(effects)
    return heard


def test_a_notify_goes_where_the_phone_registered_from() -> None:
    line, phone = Line(), Phone(flow=udp("203.0.113.5", 40_000), contact=f"<sip:{MAC}@10.0.0.5:5060;line=1>")
    line.register(phone)
    effects = line.note(line.core.notify(MAC, CHECK_SYNC, (("X-Why", "activated"),), line.now, "token-1"))
    (sent,) = effects
    assert isinstance(sent, Send)
    assert sent.flow == phone.flow
    heard = Heard(sent.data)
    assert heard.start == f"NOTIFY sip:{MAC}@10.0.0.5:5060;line=1 SIP/2.0"
    assert heard.get("Event") == CHECK_SYNC
    assert heard.get("Subscription-State") == "terminated"
    assert heard.get("X-Why") == "activated"
    assert heard.get("To") == f"<sip:{MAC}@198.51.100.7>"
    assert heard.get("CSeq") == "1 NOTIFY"
    assert line.feed(reply(heard, 200), phone.flow) == [Notified("token-1", 200)]
    assert line.feed(reply(heard, 200), phone.flow) == []
    line.wait(5.1)
    assert line.core.held.transactions == 1  # the REGISTER's own, until timer J


def test_a_lost_notify_is_repeated_and_given_up() -> None:
    line, phone = Line(), Phone()
    line.register(phone)
    began = line.now
    notify(line)
    effects = line.wait(40)
    assert line.times(began, "NOTIFY") == [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert effects[-1] == Notified("t", 0)


def test_a_notify_on_a_connection_is_sent_once() -> None:
    line = Line()
    line.register(Phone(flow=tcp()))
    began = line.now
    notify(line)
    assert Notified("t", 0) in line.wait(33)
    assert line.times(began, "NOTIFY") == [0.0]


def test_a_connection_lost_under_a_notify_is_told_at_once() -> None:
    line = Line()
    line.register(Phone(flow=tcp()))
    notify(line)
    assert line.note(line.core.closed(tcp(), line.now)) == [Notified("t", 0), Unregistered(MAC)]


@pytest.mark.parametrize(
    ("code", "asks", "proves"),
    [(401, "WWW-Authenticate", "Authorization"), (407, "Proxy-Authenticate", "Proxy-Authorization")],
)
def test_a_challenged_notify_is_proved(code: int, asks: str, proves: str) -> None:
    line, phone = Line(), Phone()
    line.register(phone)
    first = notify(line)
    (second,) = line.say(reply(first, code, f'{asks}: Digest realm="gs", nonce="n1", qop="auth"'), phone.flow)
    assert (second.get("CSeq"), second.get("Call-ID")) == ("2 NOTIFY", first.get("Call-ID"))
    assert second.get("Via") != first.get("Via")
    assert second.tag("From") == first.tag("From")
    proof = second.get(proves)
    assert f'username="{MAC}"' in proof
    assert f'uri="{second.uri}"' in proof
    assert line.feed(reply(second, 200), phone.flow) == [Notified("t", 200)]


def test_other_credentials_may_be_given() -> None:
    line, phone = Line(), Phone()
    line.register(phone)
    first = notify(line, credentials=Login("admin", "pw"))
    challenge = 'WWW-Authenticate: Digest realm="gs", nonce="n1"'
    (second,) = line.say(reply(first, 401, challenge), phone.flow)
    assert 'username="admin"' in second.get("Authorization")
    assert "pw" not in repr(Login("admin", "pw"))


def test_a_second_challenge_is_answered_only_when_the_nonce_was_stale() -> None:
    line, phone = Line(), Phone()
    line.register(phone)
    challenge = 'WWW-Authenticate: Digest realm="gs", nonce="n{}", stale={}'
    (second,) = line.say(reply(notify(line), 401, challenge.format(1, "false")), phone.flow)
    (third,) = line.say(reply(second, 401, challenge.format(2, "TRUE")), phone.flow)
    assert third.get("CSeq") == "3 NOTIFY"
    assert 'nonce="n2"' in third.get("Authorization")
    assert third.headers.count(("Authorization", third.get("Authorization"))) == len(third.all("Authorization"))
    assert line.feed(reply(third, 401, challenge.format(3, "true")), phone.flow) == [Notified("t", 401)]


def test_a_wrong_secret_is_not_tried_for_ever() -> None:
    line, phone = Line(), Phone()
    line.register(phone)
    challenge = 'WWW-Authenticate: Digest realm="gs", nonce="n1"'
    (second,) = line.say(reply(notify(line), 401, challenge), phone.flow)
    assert line.feed(reply(second, 401, challenge), phone.flow) == [Notified("t", 401)]


@pytest.mark.parametrize("challenge", ["Basic realm=x", "Digest realm=x, nonce=n, algorithm=TEA", "", '"'])
def test_a_challenge_that_we_do_not_speak_is_the_result(challenge: str) -> None:
    line, phone = Line(), Phone()
    line.register(phone)
    assert line.feed(reply(notify(line), 401, f"WWW-Authenticate: {challenge}"), phone.flow) == [Notified("t", 401)]


@pytest.mark.parametrize(
    ("event", "headers"),
    [("check-sync\r\nX: y", ()), ("check-sync", (("X", "a\nb"),)), ("check-sync", (("X\r\nY", "a"),))],
)
def test_a_line_break_is_refused(event: str, headers: tuple[tuple[str, str], ...]) -> None:
    line = Line()
    line.register(Phone())
    with pytest.raises(ValueError, match="header field"):
        line.core.notify(MAC, event, headers, line.now, "t")


def test_who_is_not_registered_cannot_be_notified() -> None:
    line = Line()
    assert line.core.notify(MAC, CHECK_SYNC, (), line.now, "t") == [Notified("t", 0)]
    assert line.core.notify(udp(), CHECK_SYNC, (), line.now, "u") == [Notified("u", 0)]


def test_a_phone_that_only_called_can_be_notified_for_a_while() -> None:
    line, phone = Line(), Phone()
    line.talk(phone)
    line.feed(phone.request("BYE"), phone.flow)
    line.wait(2)
    effects = line.note(line.core.notify(phone.flow, CHECK_SYNC, (), line.now, "t"))
    assert [one.uri for one in line.heard(effects)] == [f"sip:{MAC}@192.0.2.17:5062"]
    assert Unregistered(MAC) not in line.wait(40)
    assert line.core.held.registrations == 0
    assert line.core.notify(MAC, CHECK_SYNC, (), line.now, "t") == [Notified("t", 0)]


def test_a_call_does_not_move_a_registration() -> None:
    line = Line()
    registered = Phone(flow=udp(port=5070), call_id="reg")
    line.register(registered)
    phone = Phone()
    line.talk(phone)
    line.feed(phone.request("BYE"), phone.flow)
    effects = line.core.notify(MAC, CHECK_SYNC, (), line.now, "t")
    assert [one.flow for one in effects if isinstance(one, Send)] == [registered.flow]


def test_proxies_on_the_way_are_passed_again() -> None:
    line = Line()
    paths = ("Path: <sip:p2.example.com;lr>, <sip:p1.example.com;lr>", "Supported: path")
    (granted,) = line.heard(line.register(Phone(), *paths))
    assert granted.all("Path") == ["<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>"]
    heard = notify(line)
    assert heard.all("Route") == ["<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>"]
    assert heard.uri == f"sip:{MAC}@192.0.2.17:5062"


def test_a_proxys_flow_is_no_phone() -> None:
    line, proxy = Line(), udp("192.0.2.200")
    for mac in (MAC, OTHER):
        line.register(Phone(mac=mac, flow=proxy, call_id=mac))
    assert line.core.notify(proxy, CHECK_SYNC, (), line.now, "t") == [Notified("t", 0)]
    assert line.core.notify(OTHER, CHECK_SYNC, (), line.now, "u") != [Notified("u", 0)]


def test_a_phone_with_an_ipv6_address() -> None:
    line = Line()
    flow = Flow("udp", ("2001:db8::17", 5062), 0, ("2001:db8::7", 5060))
    effects = line.register(Phone(flow=flow, contact=f"<sip:{MAC}@[2001:db8::17]:5062>"))
    (granted,) = line.heard(effects)
    assert "2001:db8::17" in granted.get("Via")
    heard = notify(line)
    assert heard.uri == f"sip:{MAC}@[2001:db8::17]:5062"
    assert heard.get("Via").startswith("SIP/2.0/UDP [2001:db8::7]:5060;")
    assert heard.get("To") == f"<sip:{MAC}@[2001:db8::7]>"
    assert line.feed(reply(heard, 200), flow) == [Notified("t", 200)]


def test_errands_are_bounded() -> None:
    line = Line(CoreConfig(KEY, errands=2))
    line.register(Phone())
    told = [line.core.notify(MAC, CHECK_SYNC, (), line.now, str(n)) for n in range(3)]
    assert told[2] == [Notified("2", 503)]


def test_a_response_that_went_astray_is_dropped() -> None:
    line, phone = Line(), Phone()
    line.register(phone)
    heard = notify(line)
    good = reply(heard, 200)
    assert line.feed(good.replace(b"NOTIFY", b"OPTIONS"), phone.flow) == []
    astray = good.replace(b"From: ", b"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\nFrom: ", 1)
    assert line.feed(astray, phone.flow) == []
    assert line.feed(good.replace(b"branch=z9hG4bK", b"branch=z9hG4bK0"), phone.flow) == []
    assert line.feed(good, phone.flow) == [Notified("t", 200)]
