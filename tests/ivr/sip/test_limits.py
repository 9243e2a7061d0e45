"""What strangers, phones and calls may take: rates, places, and how large an answer may be."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sip_phone import KEY, SDP, SECRETS, US, Line, Phone, tcp, udp

from ivr.sip.config import CoreConfig
from ivr.sip.effects import Close, Hungup, Invited, Send, Stranger, Why
from ivr.sip.limits import SCANNERS, Places, Rates, is_scanner, source_of

MACS = [mac for mac in SECRETS if len(mac) == 12]


# --- rates ----------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.sampled_from("abc")), max_size=200),
    st.integers(1, 20),
    st.integers(1, 30),
)
def test_never_more_than_burst_and_rate(asked: list[tuple[float, str]], rate: int, burst: int) -> None:
    rates, now = Rates(rate, burst, 10), 0.0
    granted: Counter[str] = Counter()
    for pause, key in asked:
        now += pause
        granted[key] += rates.take(key, now)
    assert all(count <= burst + rate * now + 1e-6 for count in granted.values())


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 12)), max_size=200),
    st.integers(1, 20),
    st.integers(1, 30),
    st.floats(0, 3),
)
def test_what_costs_more_counts_more_and_who_waits_is_granted_later(
    asked: list[tuple[float, int]], rate: int, burst: int, most: float
) -> None:
    rates, now, spent = Rates(rate, burst, 10), 0.0, 0
    for pause, cost in asked:
        now += pause
        wait = rates.wait("a", now, most, cost)
        if wait is not None:
            assert 0 <= wait <= most + 1e-6
            spent += min(cost, burst)
            assert spent <= burst + rate * (now + wait) + 1e-6
    assert rates.take("a", now + most + burst, 100), "what costs more than a burst costs a burst"


@given(st.integers(1, 50), st.integers(1, 50))
def test_who_keeps_to_the_rate_is_never_refused(rate: int, burst: int) -> None:
    rates = Rates(rate, burst, 10)
    assert all(rates.take("a", n / rate) for n in range(200))


def test_the_whole_burst_is_granted_at_once_and_no_more() -> None:
    rates = Rates(20, 60, 10)
    assert [rates.take("a", 5.0) for _ in range(61)] == [True] * 60 + [False]
    assert not rates.take("a", 5.04)
    assert rates.take("a", 5.06)


def test_what_is_given_back_may_be_taken_again() -> None:
    rates = Rates(1, 2, 10)
    assert rates.take("a", 0)
    assert rates.take("a", 0)
    rates.give_back("a")
    rates.give_back("unknown")
    assert rates.take("a", 0)
    assert not rates.take("a", 0)


@given(st.lists(st.integers(0, 500), max_size=400))
def test_the_table_of_sources_is_bounded(sources: list[int]) -> None:
    rates = Rates(1, 1, 16)
    for at, source in enumerate(sources):
        rates.take(str(source), at * 0.01)
        assert len(rates) <= 16


def test_who_asked_last_is_not_the_one_to_be_forgotten() -> None:
    rates = Rates(0.001, 1, 2)
    for key in ("greedy", "one", "greedy", "two"):
        rates.take(key, 0.0)
    assert not rates.take("greedy", 0.0)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_a_source_is_an_address_or_a_64(address: str, source: str) -> None:
    assert source_of(address) == source


def test_a_flood_is_dropped_before_it_is_read() -> None:
    line = Line()
    answers = [line.core.feed(Phone().request("OPTIONS", uri=f"sip:{US}"), udp(), line.now) for _ in range(200)]
    assert [bool(one) for one in answers] == [True] * 60 + [False] * 140
    assert line.core.dropped[Stranger.TOO_MANY] == 140
    line.core.feed(b"\xff" * 60_000, udp(), line.now)
    assert line.core.dropped[Stranger.GARBAGE] == 0
    assert line.core.feed(Phone().request("OPTIONS", uri=f"sip:{US}"), udp("192.0.2.18"), line.now)


def test_a_phone_that_proves_itself_costs_its_source_nothing() -> None:
    line = Line(CoreConfig(KEY, rate=1, burst=4, calls_of_source=9))
    phone = Phone()
    line.talk(phone)  # one INVITE without proof and its ACK were a stranger's
    for _ in range(3):
        assert line.say(phone.request("OPTIONS"), phone.flow)
    other = Phone(mac=MACS[3], call_id="call-2")
    assert line.say(other.request("REGISTER", uri="sip:ivr.example.com"), phone.flow)


def test_a_phone_has_a_rate_of_its_own() -> None:
    line = Line(CoreConfig(KEY, rate=1, burst=10))
    phone = Phone()
    line.talk(phone)
    answered = [bool(line.say(phone.request("OPTIONS"), phone.flow)) for _ in range(30)]
    assert answered.count(True) == 9  # the INVITE was the first of its ten
    line.now += 3
    assert line.say(phone.request("OPTIONS"), phone.flow)


def test_our_own_proxy_has_no_rate() -> None:
    line = Line(CoreConfig(KEY, trusted=frozenset({"192.0.2.17"})))
    assert all(line.core.feed(Phone().request("OPTIONS", uri=f"sip:{US}"), udp(), 1.0) for _ in range(500))


# --- calls ----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["", "s1", "s2"]), st.sampled_from("abc"), st.booleans()), max_size=100))
def test_places_are_counted(moves: list[tuple[str, str, bool]]) -> None:
    places, taken = Places(6, 4, 2), Counter[tuple[str, str]]()
    for source, mac, leaves in moves:
        if leaves and taken[source, mac]:
            taken[source, mac] -= 1
            places.free(source, mac)
        elif not leaves:
            room = (
                taken.total() < 6
                and sum(n for (_, one), n in taken.items() if one == mac) < 2
                and (not source or sum(n for (one, _), n in taken.items() if one == source) < 4)
            )
            assert places.take(source, mac) is room
            taken[source, mac] += room
        assert len(places) == taken.total()


def dial(line: Line, mac: str, host: str, number: int) -> int:
    phone = Phone(mac=mac, flow=udp(host), call_id=f"call-{number}")
    return line.heard(line.ask(phone, "INVITE", uri=f"sip:{US}", body=SDP))[0].status


@pytest.mark.parametrize(
    ("config", "callers", "answers"),
    [
        (CoreConfig(KEY, calls=2), [(0, 1), (1, 2), (2, 3)], [100, 100, 503]),
        (CoreConfig(KEY, calls_of_source=2), [(0, 1), (1, 1), (2, 1), (2, 2)], [100, 100, 503, 100]),
        (CoreConfig(KEY, calls_of_mac=1), [(0, 1), (0, 2), (1, 1)], [100, 503, 100]),
        (
            CoreConfig(KEY, calls_of_source=1, trusted=frozenset({"192.0.2.1"})),
            [(0, 1), (1, 1), (2, 1)],
            [100, 100, 100],
        ),
    ],
)
def test_calls_have_places(config: CoreConfig, callers: list[tuple[int, int]], answers: list[int]) -> None:
    line = Line(config)
    assert [dial(line, MACS[mac], f"192.0.2.{host}", number) for number, (mac, host) in enumerate(callers)] == answers


def test_who_finds_no_place_is_told_when_to_come_back_and_the_shell_hears_nothing() -> None:
    line = Line(CoreConfig(KEY, calls=0, retry_after=17))
    phone = Phone()
    effects = line.ask(phone, "INVITE", uri=f"sip:{US}", body=SDP)
    (busy,) = line.heard(effects)
    assert (busy.status, busy.get("Retry-After")) == (503, "17")
    assert len(effects) == 1


def test_a_place_is_free_again_however_a_call_ends() -> None:
    line = Line(CoreConfig(KEY, calls=1, rate=1000))
    for number in range(3):
        phone = Phone(call_id=f"call-{number}")
        call = line.talk(phone)
        assert dial(line, MACS[1], "192.0.2.9", 100 + number) == 503
        if number == 0:
            line.feed(phone.request("BYE"), phone.flow)
        elif number == 1:
            line.core.bye(call, line.now)
            line.wait(33)
        else:
            line.core.closed(phone.flow, line.now)
    assert line.core.held.calls == 0


def test_transactions_are_bounded() -> None:
    line = Line(CoreConfig(KEY, transactions=1))
    phone = Phone()
    line.invite(phone)
    effects = line.ask(Phone(mac=MACS[1], call_id="x"), "REGISTER", uri="sip:ivr.example.com")
    assert [one.status for one in line.heard(effects)] == [503]
    assert line.core.held.transactions == 1


def test_no_phone_fills_the_table_of_transactions_for_others() -> None:
    line = Line(CoreConfig(KEY, transactions_of_mac=5, rate=1000, burst=1000))
    phone, other = Phone(), Phone(mac=MACS[1], flow=udp("192.0.2.9"), call_id="other")
    line.talk(phone)  # one
    keys = [phone.request("INFO", body=b"Signal=5\r\n", kind="application/dtmf-relay") for _ in range(8)]
    assert [one.status for key in keys for one in line.say(key, phone.flow)] == [200] * 4 + [503] * 4
    line.talk(other)
    assert [one.status for one in line.say(phone.request("BYE"), phone.flow)] == [200], (
        "there is always room to hang up"
    )
    line.wait(40.0)
    assert line.core.held.transactions == 0
    line.talk(Phone(call_id="again"))


def test_a_full_table_still_lets_callers_hang_up() -> None:
    line = Line(CoreConfig(KEY, transactions=1))
    phone = Phone()
    call = line.talk(phone)
    effects = line.feed(phone.request("BYE"), phone.flow)
    assert [one.status for one in line.heard(effects)] == [200]
    assert effects[-1] == Hungup(call, Why.CALLER)


# --- strangers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCANNERS)
def test_scanners_meet_silence(name: str) -> None:
    line = Line()
    assert line.core.feed(Phone(agent=f"x {name.upper()} 1.0").request("OPTIONS"), udp(), 1.0) == []
    assert line.core.dropped[Stranger.SCANNER] == 1


def test_a_scanner_on_a_connection_is_shown_out() -> None:
    assert Line().core.feed(Phone(agent="sipvicious", flow=tcp()).request("OPTIONS"), tcp(), 1.0) == [Close(tcp())]


def test_phones_are_no_scanners() -> None:
    agents = (
        "Yealink SIP-T54W 96.86.0.20",
        "PolycomVVX-VVX_150-UA/6.4.1",
        "Linphone/5.1",
        "baresip v1.0.0 (x86_64)",
        "",
    )
    assert not any(is_scanner(one, SCANNERS) for one in agents)


@pytest.mark.parametrize(
    "uri",
    [
        "sip:100@ivr.example.com",
        "sip:activate@elsewhere.example",
        "sip:ivr.example.com",
        "sip:+15551234567@ivr.example.com",
    ],
)
def test_calls_to_anybody_else_meet_silence(uri: str) -> None:
    line, phone = Line(), Phone()
    assert line.feed(phone.request("INVITE", uri=uri, body=SDP), phone.flow) == []
    assert line.core.dropped[Stranger.NOT_OURS] == 1


def test_a_register_for_another_host_meets_silence() -> None:
    line, phone = Line(), Phone()
    assert line.feed(phone.request("REGISTER", uri="sip:elsewhere.example"), phone.flow) == []
    assert line.feed(phone.request("REGISTER", uri="sip:198.51.100.7"), phone.flow) != []


def test_a_message_longer_than_any_phones_is_not_read() -> None:
    line, phone = Line(CoreConfig(KEY, trusted=frozenset({"192.0.2.99"}))), Phone()

    def options(size: int) -> bytes:
        short = phone.request("OPTIONS", "X-Pad: ")
        return short.replace(b"X-Pad: ", b"X-Pad: " + b"x" * (size - len(short)))

    assert line.say(options(8192), phone.flow)
    assert line.say(options(8193), phone.flow) == []
    assert line.core.dropped[Stranger.GARBAGE] == 1
    assert line.say(options(8192), tcp())
    assert line.feed(options(8193), tcp()) == [Close(tcp())]
    assert line.say(options(8193), udp("192.0.2.99"))
    assert line.say(options(60_000), tcp(9, "192.0.2.99")), "proxies add to messages, and are ours"


def test_strangers_leave_nothing_behind() -> None:
    line = Line(CoreConfig(KEY, rate=1e6, burst=10**6))
    for number in range(300):
        phone = Phone(call_id=f"c{number}", flow=udp(f"203.0.113.{number % 200}"))
        for method in ("INVITE", "REGISTER", "OPTIONS", "BYE", "CANCEL", "INFO", "SUBSCRIBE", "FROB"):
            line.feed(phone.request(method, uri=f"sip:{US}", body=SDP), phone.flow)
    assert line.core.held[:3] == (0, 0, 0)
    assert line.core.due() is None


@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "OPTIONS", "BYE", "SUBSCRIBE", "FROB"])
def test_an_answer_to_a_stranger_is_not_much_longer_than_what_he_sent(method: str) -> None:
    line, phone = Line(), Phone()
    uri = "sip:ivr.example.com" if method == "REGISTER" else f"sip:{US}"
    data = phone.request(method, uri=uri)
    (answered,) = line.say(data, phone.flow)
    assert len(answered.data) <= 1.5 * len(data)


def shortest(method: str, transport: str = "UDP") -> bytes:
    lines = [
        f"{method} sip:{US} SIP/2.0",
        f"v:SIP/2.0/{transport} h;branch=z9hG4bK1",
        "f:<sip:a@b>;tag=1",
        "t:<sip:a@b>",
        "i:1",
        f"CSeq:1 {method}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def test_what_would_be_much_longer_is_shortened_or_not_said() -> None:
    line = Line()
    data = shortest("OPTIONS")
    assert all(len(one.data) <= 1.5 * len(data) for one in line.say(data, udp()))
    assert line.say(shortest("INVITE"), udp()) == []
    assert line.core.dropped[Stranger.AMPLIFIES] == 1
    (answered,) = line.say(shortest("INVITE", "TCP"), tcp())
    assert answered.status == 401


def test_only_who_was_heard_is_ever_answered() -> None:
    """A Via may name any host and port: the answer goes back to where the request came from (RFC 3581)."""
    line, phone = Line(), Phone(flow=udp("203.0.113.8", 33_333))
    effects = line.feed(phone.request("OPTIONS"), phone.flow)
    (sent,) = (one for one in effects if isinstance(one, Send))
    assert sent.flow == phone.flow
    via = line.heard(effects)[0].get("Via")
    assert "rport=33333" in via
    assert "received=203.0.113.8" in via


def test_an_invitation_is_told_to_the_shell_once() -> None:
    line, phone = Line(), Phone()
    line.invite(phone)
    for _ in range(5):
        assert not any(isinstance(one, Invited) for one in line.feed(line.last, phone.flow))
    assert line.core.held.calls == 1
