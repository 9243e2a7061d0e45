"""What holds for every diagnosis: ranked by rung, healed by a good boot, the same for the same facts."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seen import MAC, NOW, POLY, YEALINK, asked, booted, device, frame, met, of, record, row, tls

from provisioner.cli.cures import typed
from provisioner.diagnosis.case import Rules, Subject
from provisioner.diagnosis.catalogue import Party, Rung, catalogue
from provisioner.diagnosis.facts import Fact, Kind, Source, Witness
from provisioner.diagnosis.ladder import Diagnosis, Outcome, State, diagnose
from provisioner.diagnosis.words import as_document, headline, screen

CFG = f"{MAC}.cfg"


def state(found: Diagnosis, rung: Rung) -> State:
    return next(one.state for one in found.steps if one.rung is rung)


def test_the_lowest_broken_rung_is_the_cause_however_bad_the_others_look() -> None:
    no_offer = [frame("dhcp", 90_010 + at, type="discover", vlan=0) for at in (0, 4)]
    expired = [*tls()[:3], record("verdict", 90_000.1, verdict="expired", why="it ended in 2019")]
    found = of([*expired, *no_offer])
    assert row(found) == 10
    assert [one.row.id for one in found.also] == [51], "and what else is wrong is not forgotten"
    assert found.refused is Party.NETWORK


def test_a_good_boot_heals_what_was_wrong_before_and_nothing_that_came_after() -> None:
    bad = [*tls("x-1", 80_000)[:3], record("verdict", 80_000.1, "x-1", verdict="untrusted", why="who knows")]
    assert row(of([*bad, *booted(90_000)])) == 0
    assert row(of([*bad, *booted(70_000)])) == 49
    assert "over since" in " ".join(of([*bad, *booted(90_000)]).notes)


def test_who_has_proven_itself_before_may_be_somebody_else_now() -> None:
    later = [*tls("x-1", 95_000)[:3], record("verdict", 95_000.1, "x-1", verdict="untrusted", why="who knows")]
    assert any("somebody else" in note for note in of([*booted(), *later]).notes)
    assert not any("somebody else" in note for note in of(later).notes)


@pytest.mark.parametrize(
    ("version", "after", "trusted"),
    [("TLSv1.2", "answer", State.GOOD), ("TLSv1.3", "answer", State.UNKNOWN)],
)
def test_who_speaks_inside_tls_trusts_the_server(version: str, after: str, trusted: State) -> None:
    done = frame("tls_done", 51, connection="a", version=version)
    found = of([*met(), done, frame("closed", 60, connection="a", by="", after=after)], now=61)
    assert state(found, Rung.PHONE_TRUSTS) is trusted


def test_a_polycom_without_a_master_file_of_its_own_misses_nothing() -> None:
    common = asked("000000000000.cfg", 200, at=90_001.1)
    own = asked(f"{MAC}-phone1.cfg", 200, at=90_001.2)
    whole = of([*tls(), *asked(CFG, 404, at=90_001, reason="no_such_file"), *common, *own], POLY)
    assert (whole.outcome, [note for note in whole.notes if "62" in note]) == (Outcome.UP, [])
    assert row(of([*tls(), *asked(CFG, 404, at=90_001, reason="no_such_file")], POLY)) == 62
    assert row(of([*tls(), *common, *asked(CFG, 404, at=90_001.3, reason="no_such_file")])) == 62, "asked for behind it"


def test_who_shows_another_certificate_in_the_name_of_a_phone_that_is_well_is_somebody_else() -> None:
    def came(verdict: str) -> list[Fact]:
        told = [*tls("x-1", 95_000)[:3], record("verdict", 95_000.1, "x-1", verdict=verdict, why="who knows")]
        return [replace(one, values={**one.values, "whose": "maybe"}) for one in told]

    found = of([*booted(), *came("untrusted")])
    assert (found.outcome, found.exit, [one.row.id for one in found.also]) == (Outcome.UP, 0, [49])
    assert headline(found).endswith("comes from a CA that is not trusted here [49]")
    assert of([*booted(), *came("none")]).outcome is Outcome.UNDECIDED, "its own may be gone"
    by_token = [one for one in booted() if one.kind is not Kind.VERDICT]
    assert of([*by_token, *came("untrusted")]).outcome is Outcome.UNDECIDED, "perhaps it never had a good one"


def test_an_rst_behind_the_phones_own_fin_is_no_cause() -> None:
    ended = [frame("closed", 60, connection="a", by="phone", after="answer"),
             frame("reset", 60.1, connection="a", by="server", after="answer")]  # fmt: skip
    whole = [*met(), frame("request", 51, connection="a", path=f"/{CFG}", method="GET")]
    assert row(of([*whole, *ended], now=61)) == 0
    assert row(of([*whole, ended[1]], now=61)) == 65, "without the FIN it is one"


def test_nor_is_it_one_before_tls_has_begun_to_speak() -> None:
    ended = [frame("closed", 50.1, connection="a", by="phone", after="hello"),
             frame("reset", 50.2, connection="a", by="server", after="hello")]  # fmt: skip
    assert row(of([*met(), ended[1]], now=61)) == 33
    assert row(of([*met(), *ended], now=61)) != 33


def test_an_rst_behind_an_alert_is_not_the_cause() -> None:
    found = of([*met(), frame("alert", 50.2, connection="a", by="phone", code=48),
                frame("reset", 50.3, connection="a", by="server", after="hello")])  # fmt: skip
    assert row(found) == 39


def test_that_tls_is_done_is_never_the_last_word() -> None:
    found = of([*met(), frame("tls_done", 50.5, connection="a", version="TLSv1.3")], now=51)
    assert state(found, Rung.PHONE_TRUSTS) is State.UNKNOWN
    assert found.outcome is Outcome.UNDECIDED


@pytest.mark.parametrize("silent", [
    [frame("dhcp", at, type="discover", vlan=0) for at in (1, 5, 13)],
    [frame("frame", 9, silent="yes")],
    [frame("eap", at, code="request") for at in (1, 31)],
    [frame("dns", at, type="query", name="p.example", record="A") for at in (1, 5)],
    [frame("ntp", at, type="query", server="10.0.0.9") for at in (1, 5)],
    [frame("syn", 1, connection="a", to="192.0.2.1", port=443, times=6)],
    [*met(), frame("closed", 60, connection="a", by="phone", after="hello")],
    [frame("tftp", 1, type="request", file=CFG)],
])  # fmt: skip
def test_lost_frames_forbid_conclusions_from_silence(silent: list[Fact]) -> None:
    assert row(of(silent)) != 0
    found = of([*silent, frame("dropped", 0.5, frames=3)])
    assert row(found) == 0
    assert found.outcome is Outcome.UNDECIDED
    assert any("lost" in one.why for one in found.missing)
    assert row(of([*silent, frame("dropped", 0.5, frames=0)])) != 0, "none lost is none lost"


def test_optional_files_are_said_to_be_optional() -> None:
    found = of([*booted(), *asked(f"{MAC}.boot", 404), *asked(f"{MAC}-local.cfg", 404)])
    assert found.outcome is Outcome.UP
    assert any(f"{MAC}-local.cfg" in note and "normal" in note for note in found.notes)


def test_who_is_missing_is_named_with_the_command_that_asks() -> None:
    found = of([frame("syn", 1, connection="a", to="192.0.2.1", port=443, times=5)])
    assert (row(found), found.cause and found.cause.sure) == (27, False)
    there = "provisioner capture live -i IFACE --keep DIR (on the server, while it starts)"
    assert [typed(one.by) for one in found.missing] == [there], "whose MAC is behind a router is no filter there"
    sure = of([frame("syn", 1, connection="a", to="192.0.2.1", port=443, times=5, at_server="no")])
    assert (row(sure), sure.missing) == (27, ())


def test_who_never_came_is_looked_for_at_its_cable() -> None:
    found = of([device(state="assigned", lines=1, configuration="current")])
    assert (found.outcome, found.exit, found.broken) == (Outcome.UNDECIDED, 20, None)
    assert typed(found.missing[0].by) == f"provisioner why {MAC} --switch"


def test_what_was_good_days_ago_is_no_answer() -> None:
    rules = Rules(silent_after=3600)
    found = of(booted(NOW - 7200), replace(YEALINK, rules=rules))
    assert found.outcome is Outcome.UNDECIDED
    assert state(found, Rung.DNS) is State.UNKNOWN
    assert any("nothing has been heard" in note for note in found.notes)
    assert of(booted(NOW - 1800), replace(YEALINK, rules=rules)).outcome is Outcome.UP


def test_a_loop_is_counted_as_it_is_set_and_ends_when_it_ends() -> None:
    loop = [fact for turn in range(4) for fact in booted(NOW - 400 + 100 * turn, f"0015-{turn}")]
    assert row(of(loop)) == 0
    eager = replace(YEALINK, rules=Rules(loop_fetches=4))
    assert row(of(loop, eager)) == 68
    assert row(of(loop, eager, NOW + 3600)) == 0
    changing = [replace(one, values={**one.values, "etag": f"e{n}"}) if one.kind is Kind.ANSWER else one
                for n, one in enumerate(loop)]  # fmt: skip
    assert row(of(changing, eager)) == 0, "other bytes each time are a phone that is being set up"


def test_another_phone_at_the_same_address_may_have_done_it() -> None:
    facts = [*booted(80_000), *tls("x-7", 90_000)[:2], record("alert", 90_000.2, "x-7", by="phone", code=48)]
    doubted = [replace(one, values={**one.values, "whose": "maybe"}) if one["connection"] == "x-7" else one
               for one in facts]  # fmt: skip
    assert (row(of(facts)), row(of(doubted))) == (39, 0)
    found = of(doubted)
    assert (found.outcome, found.exit, [one.row.id for one in found.also]) == (Outcome.UNDECIDED, 20, [39])
    assert any("another phone" in note for note in found.notes)
    assert headline(found).startswith("It cannot be decided; perhaps: The phone does not know the CA")
    assert of([*doubted, *booted(95_000, "0015-8")]).outcome is Outcome.UP, "it has come since, itself"
    own = [*tls("0015-9", 95_000), *asked("0004f2de0001.cfg", 403, "0015-9", 95_001, reason="not_yours")]
    assert row(of([*doubted, *own])) == 57, "what was surely its own comes first, whatever the rung"


def test_what_a_stranger_did_well_heals_nothing() -> None:
    bad = [*tls("0015-1", 80_000)[:3], record("verdict", 80_000.1, "0015-1", verdict="expired", why="over")]
    good = [replace(one, values={**one.values, "whose": "maybe"}) for one in booted(90_000, "x-9")]
    assert row(of([*bad, *good])) == 51


def test_the_cure_is_for_this_maker() -> None:
    lease = [frame("dhcp", 4, type="ack", address="10.0.0.5", option_160="https://a/", option_66="https://b/")]
    assert [one.vendor for one in of(lease, POLY).cures] == ["", "poly"]
    assert [one.vendor for one in of(lease, Subject(MAC)).cures] == [""]
    speaks = [*lease, frame("dhcp", 1, type="discover", vendor_class="yealink")]
    assert [one.vendor for one in of(speaks, Subject(MAC)).cures] == ["", "yealink"]


def test_the_mac_stands_in_the_commands() -> None:
    found = of([*tls(), *asked(CFG, 404, reason="revoked")])
    assert found.cures[0].by is not None
    assert typed(found.cures[0].by) == f"provisioner device restore {MAC}"


def test_one_screen_says_all_of_it() -> None:
    found = of([*booted(80_000), *tls("x-4")[:3],
                record("verdict", 90_000.1, "x-4", verdict="untrusted", why="its issuer is unknown")])  # fmt: skip
    text = screen(found, NOW, typed)
    for wanted in ("the SERVER refused the phone", "record x-4", "BROKEN  server trusts phone", "What helps",
                   "the last good one: phone trusts server", MAC.colons):  # fmt: skip
        assert wanted in text
    assert len(text.splitlines()) <= 40, "one screen"
    assert headline(of([])) == "It cannot be decided: a witness is missing"


# --- whatever is handed in -----------------------------------------------------------------------------

_NAMES = [
    "connection", "by", "code", "name", "why", "to", "port", "times", "after", "ttl", "ttl_syn_ack", "sni",
    "versions", "suites", "signature_algorithms", "length", "subject", "issuer", "not_before", "not_after", "key",
    "signature", "status", "reason", "file", "path", "method", "etag", "bytes", "complete", "type", "vlan", "tagged",
    "option_66", "option_160", "option_43", "asked", "server", "address", "rcode", "addresses", "record", "stratum",
    "time", "link", "poe", "in", "retransmits", "sacked", "lost", "unacked", "verdict", "certificate_mac", "state",
    "lines", "configuration", "frames", "silent", "result", "registrar", "url", "from", "authorization",
    "user_agent", "retry_after", "vendor", "wiped", "whose", "at_server",
]  # fmt: skip
_WORDS = [
    "", "0", "1", "2", "40", "48", "120", "200", "401", "403", "404", "503", "phone", "server", "between", "yes", "no",
    "syn", "hello", "handshake", "answer", "discover", "offer", "ack", "nak", "query", "lldp", "cdp", "dhcp", "a", "b",
    "unique", "untrusted", "expired", "none", "up", "down", "fault", "searching", CFG, f"/{CFG}", "-1", "1e300", "nan",
    "https://p/", "not_yours", "revoked", "behind", "maybe", "request", "error", "\x00", "é", "TLSv1.2", MAC,
]  # fmt: skip
_FACTS = st.builds(
    Fact,
    st.sampled_from(Kind),
    st.sampled_from([0.0, 1.0, 1.5, 99_000.0, 1e18, -5.0, math.inf, math.nan]) | st.floats(0, 200_000),
    st.builds(Witness, st.sampled_from(Source), st.sampled_from(["r1", "r2", "frame 3"])),
    st.dictionaries(st.sampled_from(_NAMES), st.sampled_from(_WORDS) | st.text(max_size=6), max_size=8),
)
_KNOWN = replace(YEALINK, names=frozenset({"p"}), addresses=frozenset({"1"}), begins=0.0, ends=5.0)
_SUBJECTS = st.sampled_from([Subject(), YEALINK, POLY, Subject(MAC, "cisco", "SPA2102"), _KNOWN])


@given(st.lists(_FACTS, max_size=25), _SUBJECTS)
def test_no_sequence_of_facts_breaks_it(facts: list[Fact], subject: Subject) -> None:
    found = diagnose(facts, subject, NOW)
    assert [one.rung for one in found.steps] == list(Rung)
    assert (found.cause is None) == (found.broken is None)
    assert (found.outcome is Outcome.BROKEN) == (found.cause is not None)
    if found.cause is not None:
        assert state(found, found.cause.row.rung) is State.BROKEN
        surely = [one for one in found.also if one.doubtful == found.cause.doubtful]
        assert all(one.row.rung.height >= found.cause.row.rung.height for one in surely)
        assert found.cures
    assert screen(found, NOW, typed)
    assert as_document(found, typed)["exit"] == found.exit


@given(st.lists(_FACTS, max_size=20), _SUBJECTS, st.randoms(use_true_random=False))
def test_the_order_in_which_facts_are_handed_in_does_not_count(
    facts: list[Fact], subject: Subject, order: random.Random
) -> None:
    shuffled = list(facts)
    order.shuffle(shuffled)
    assert as_document(diagnose(facts, subject, NOW), typed) == as_document(diagnose(shuffled, subject, NOW), typed)
    assert as_document(diagnose([*facts, *shuffled], subject, NOW), typed) == as_document(
        diagnose(facts, subject, NOW), typed
    )


_IDLE = st.builds(
    Fact,
    st.sampled_from([one for one in Kind if one is not Kind.BROKEN and one is not Kind.UPLOAD]),
    st.floats(0, 200_000),
    st.builds(Witness, st.just(Source.SERVER), st.just("elsewhere")),
)


@given(st.lists(_FACTS, max_size=15), st.lists(_IDLE, max_size=5))
def test_facts_that_say_nothing_change_nothing(facts: list[Fact], idle: list[Fact]) -> None:
    told = {Kind.FRAME, Kind.TLS_DONE, Kind.ADDRESS_CONFLICT, Kind.SYN, Kind.SYN_ACK, Kind.HELLO, Kind.SERVER_HELLO,
            Kind.CHAIN, Kind.ACCEPTED}  # fmt: skip  # that these are there at all says something
    empty = [one for one in idle if one.kind not in told]
    with_them, without = diagnose([*facts, *empty], YEALINK, NOW), diagnose(facts, YEALINK, NOW)
    assert row(with_them) == row(without)
    assert with_them.outcome is without.outcome


def test_every_exit_code_has_one_class() -> None:
    places = catalogue().places.values()
    assert len({one.exit_class for one in places}) == len({one.exit for one in places}) == 10
