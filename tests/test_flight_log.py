"""What a worker keeps of each connection: failures before good boots, one record a boot, all bounded and counted."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner import flight_log
from provisioner.diagnosis.case import Case, Subject
from provisioner.diagnosis.facts import Kind
from provisioner.diagnosis.rungs.exchanges import exchanges
from provisioner.events import masked
from provisioner.flight import Flight, packed, unpacked
from provisioner.flight_draft import Claim, Draft, claims_by, draft, label_of
from provisioner.flight_facts import notify_facts
from provisioner.flight_log import FlightLog
from provisioner.flight_notes import REQUESTS, Asked, FlightNotes, TcpState, TlsSeen
from provisioner.model import (
    AgentClaim,
    BootView,
    Device,
    DeviceFile,
    DeviceState,
    FileKind,
    Identity,
    ListenerKind,
    Mac,
    Peer,
    TlsFacts,
    Verdict,
)
from provisioner.settings import Settings
from provisioner.store.database import Store
from provisioner.store.rows import StoredEvent

MAC, OTHER = Mac("0004f2aabb01"), Mac("0004f2aabb02")
TOKEN = "s3cretTokenOf128BitsInBase64url"
NOBODY = Identity(Verdict.NONE)


PHONE = DeviceFile("poly", FileKind.OVERRIDES, f"{MAC}-phone.cfg", Mac(MAC), upload=True)
MASTER = DeviceFile("poly", FileKind.MASTER, "000000000000.cfg")
OWN_MASTER = DeviceFile("poly", FileKind.MASTER, f"{MAC}.cfg", Mac(MAC))


def asked(status: int = 200, reason: str = "", **about: Any) -> Asked:
    file = DeviceFile("poly", FileKind.DEVICE, f"{MAC}-phone1.cfg", MAC)
    given: dict[str, Any] = {"at": 100.2, "method": "GET", "target": f"/{file.name}", "file": file, "size": 5000,
                             "headers": 'ETag: "0123456789abcdef0123"\r\n', "why": "because", "held": 0.0,
                             "retry_after": 0}  # fmt: skip
    return Asked(status=status, reason=reason, **(given | about))


def notes(
    *requests: Asked, mac: str = MAC, identity: Identity | None = None, known: bool = True, address: str = "192.0.2.7"
) -> FlightNotes:
    made = FlightNotes(100.0, (address, 1000), ListenerKind.DEVICE)
    judged = identity or Identity(Verdict.UNIQUE, "poly", Mac(mac))
    made.peer = Peer(judged, TlsFacts("TLSv1.3"), ListenerKind.DEVICE, address)
    if known:
        made.view = BootView(Device(Mac(mac), "poly", "VVX 411", DeviceState.ASSIGNED, "a"), served=3, changed=3)
    for one in requests or (asked(),):
        made.ask(one)
    return made


@dataclass
class Bench:
    """A log without a database; ``now`` is both clocks."""

    now: float = 100.0
    counts: Counter[str] = field(default_factory=Counter)
    chosen: dict[str, Any] = field(default_factory=dict)
    looked: int = 0

    def __post_init__(self) -> None:
        def count(name: str, label: str) -> None:
            self.counts[f"{name} {label}"] += 1

        settings = Settings(**self.chosen)
        self.log = FlightLog(
            cast("Store", None), settings, count, lambda _t, _a: Claim(), lambda: self.now, lambda: self.now
        )

    def over(self, one: FlightNotes) -> None:
        self.log.over(one, self._seen)

    def _seen(self) -> TlsSeen:
        self.looked += 1
        return TlsSeen("TLSv1.3", "TLS_AES_128_GCM_SHA256", False, True, ())

    @property
    def waiting(self) -> list[Draft]:
        return self.log._batch.flights

    @property
    def settling(self) -> list[Draft]:
        return list(self.log._settling.values())


# --- what is kept -------------------------------------------------------------------------------------


def test_good_connections_right_behind_each_other_are_one_boot() -> None:
    bench = Bench()
    for number in range(4):
        bench.now = 100.0 + number
        bench.over(notes(asked(at=bench.now), asked(at=bench.now)))
    (one,) = bench.settling
    assert (len(one.told["r"]), one.told["co"], one.told["e"]) == (8, 4, 3.0)
    assert bench.looked == 1, "of the first alone anything is asked"
    bench.log._settle_due(bench.now + 4.9)
    assert bench.waiting == []
    bench.log._settle_due(bench.now + 5)
    assert bench.waiting == [one]


def test_requests_beyond_the_bound_are_counted_alone() -> None:
    bench = Bench()
    bench.over(notes(*[asked()] * (REQUESTS + 5)))
    bench.over(notes(*[asked()] * 3))
    (one,) = bench.settling
    assert (len(one.told["r"]), one.told["m"]) == (REQUESTS, 8)


def test_trouble_ends_the_boot_before_it_and_stands_behind_it() -> None:
    bench = Bench()
    bench.over(notes())
    bench.over(notes(asked(404, "pin_mismatch")))
    assert [one.label for one in bench.waiting] == ["ok", "pin_mismatch"]


def test_in_a_storm_good_boots_are_left_out_and_nothing_is_asked_for_them() -> None:
    bench = Bench(chosen={"recorder_good": 10.0})
    for number in range(100):
        bench.over(notes(mac=f"0004f200{number:04x}"))
    assert len(bench.settling) == bench.looked == 20
    assert bench.counts["flights left_out"] == 80


def test_boots_like_the_last_one_are_left_out_first() -> None:
    bench = Bench(chosen={"recorder_good": 10.0})
    for number in range(11):
        bench.over(notes(mac=f"0004f200{number:04x}"))
        bench.log._settle(f"0004f200{number:04x}")
    bench.over(notes(mac="0004f2000000"))
    assert bench.counts["flights left_out"] == 1, "half of what may come is for others"
    bench.over(notes(mac="0004f2000000", address="192.0.2.99"))
    assert bench.counts["flights left_out"] == 1
    assert "0004f2000000" in bench.log._settling


def test_the_first_good_boot_after_trouble_is_kept_whatever_else_goes_on() -> None:
    bench = Bench(chosen={"recorder_good": 1.0})
    bench.over(notes(asked(404, "revoked")))
    for number in range(50):
        bench.over(notes(mac=f"0004f200{number:04x}"))
    bench.over(notes())
    assert MAC in bench.log._settling


def test_a_flood_of_failures_is_kept_within_its_pace() -> None:
    bench = Bench(chosen={"recorder_trouble": 10.0})
    for number in range(100):
        bench.over(notes(asked(404, "revoked"), mac=f"0004f200{number:04x}"))
    assert len(bench.waiting) == 20
    assert bench.counts["flights dropped"] == 80


def test_one_address_of_strangers_does_not_fill_the_ring() -> None:
    bench = Bench()
    for _ in range(100):
        bench.log.turned_away(FlightNotes(1.0, ("192.0.2.1", 5), ListenerKind.DEVICE))
    bench.over(notes(asked(404, "not_identified"), identity=NOBODY, known=False, address="192.0.2.2"))
    assert (len(bench.waiting), bench.counts["flights address"]) == (31, 70)


def test_a_full_queue_gives_good_ones_away_for_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_log, "_QUEUE", 3)
    bench = Bench()
    for mac in (MAC, OTHER):
        bench.over(notes(mac=mac))
        bench.log._settle(mac)
    for _ in range(4):
        bench.over(notes(asked(404, "revoked")))
    assert [one.label for one in bench.waiting] == ["revoked"] * 3
    bench.over(notes(mac=OTHER))
    bench.log._settle(OTHER)
    assert [one.label for one in bench.waiting] == ["revoked"] * 3
    assert bench.counts["flights dropped"] == 4


def test_refused_certificates_are_grouped_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_log, "_GROUPS", 2)
    bench = Bench()
    for issuer, mac in (("A", MAC), ("A", OTHER), ("B", MAC), ("C", MAC)):
        judged = Identity(Verdict.UNTRUSTED, subject=f"CN={mac}", issuer=issuer, why="its issuer is unknown")
        one = notes(asked(404, "not_identified"), identity=judged, known=False)
        bench.log.over(one, lambda: TlsSeen("TLSv1.3", "x", False, True, (b"leaf", b"ca")))
    first, second = bench.log._batch.groups.values()
    assert (first.issuer, first.times, [*first.macs]) == ("A", 2, [MAC, OTHER])
    assert (second.issuer, second.times, second.chain) == ("B", 1, (b"leaf", b"ca"))
    assert bench.counts["flights group"] == 1


def come(bench: Bench, issuer: str, mac: str, address: str = "192.0.2.7") -> None:
    judged = Identity(Verdict.UNTRUSTED, subject=f"CN={mac}", issuer=issuer, why="its issuer is unknown")
    one = notes(asked(404, "not_identified"), identity=judged, known=False, address=address)
    bench.log.over(one, lambda: TlsSeen("TLSv1.3", "x", False, True, (b"leaf",)))


def test_who_gets_no_record_any_more_is_still_counted_in_the_mailbox() -> None:
    bench = Bench()
    for number in range(100):
        come(bench, "A", f"0004f200{number:04x}")
    (group,) = bench.log._batch.groups.values()
    assert (group.times, len(bench.waiting), bench.counts["flights address"]) == (100, 30, 70)
    bench.log._batch.groups.clear()
    come(bench, "A", MAC)
    assert [one.times for one in bench.log._batch.groups.values()] == [1], "after a batch was written, too"


def test_one_address_makes_no_more_groups_than_records_and_counting_has_its_pace() -> None:
    bench = Bench(chosen={"recorder_trouble": 100.0})
    for number in range(400):
        come(bench, f"made up {number}", MAC)
    assert len(bench.log._batch.groups) == 30
    for _ in range(10):
        come(bench, "made up 0", MAC)
    assert bench.log._batch.groups.popitem()[1].times == 1
    assert bench.counts["flights group"] == 380, "nothing is looked at beyond the pace"
    come(bench, "honest", OTHER, address="192.0.2.99")
    assert "honest" in {one.issuer for one in bench.log._batch.groups.values()}


def test_what_was_served_is_no_refused_certificate() -> None:
    bench = Bench()
    bench.over(notes(identity=Identity(Verdict.EXPIRED, "poly", MAC)))
    bench.over(notes(asked(404, "not_identified"), identity=NOBODY, known=False))
    assert bench.log._batch.groups == {}


# --- what it came to ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requests", "known", "label"),
    [
        ([asked()], True, "ok"),
        ([asked(404, "no_such_file", file=PHONE), asked()], True, "ok"),
        ([asked(404, "no_such_file", file=PHONE)], True, "ok"),
        ([asked(404, "no_such_file", file=None)], True, "ok"),
        ([asked(404, "no_such_file", file=OWN_MASTER)], True, "ok"),
        ([asked(404, "no_such_file", file=MASTER)], True, "no_such_file"),
        ([asked(404, "no_such_file")], True, "no_such_file"),
        ([asked(404, "no_such_file"), asked()], True, "no_such_file"),
        ([asked(404, "no_such_file", file=PHONE)], False, "no_such_file"),
        ([asked(401, "needs_credentials"), asked()], True, "ok"),
        ([asked(), asked(401, "needs_credentials")], True, "needs_credentials"),
        ([asked(), asked(500, "render_failed")], True, "render_failed"),
        ([asked(503, "deferred")], True, "deferred"),
        ([asked(403, "not_yours")], False, "not_yours"),
    ],
)
def test_one_word_says_what_a_connection_came_to(requests: list[Asked], known: bool, label: str) -> None:
    assert label_of(notes(*requests, known=known)) == label


def test_a_refusal_for_its_certificate_says_the_verdict() -> None:
    for verdict in (Verdict.UNTRUSTED, Verdict.NONE, Verdict.EXPIRED):
        one = notes(asked(404, "not_identified"), identity=Identity(verdict), known=False)
        assert label_of(one) == f"verdict_{verdict.value}"


def test_how_it_ended_counts_where_all_requests_were_good() -> None:
    for end, label in (("idle_timeout", "ok"), ("reset", "ok"), ("stalled", "stalled"), ("tls_broken", "tls_broken")):
        one = notes()
        one.end = end
        assert label_of(one) == label
    nothing = FlightNotes(1.0, None, ListenerKind.DEVICE)
    assert label_of(nothing) == "no_request"
    nothing.end = "handshake_timeout"
    assert label_of(nothing) == "handshake_timeout"


# --- secrets and hostile text -------------------------------------------------------------------------


def test_no_token_no_credentials_and_no_query_are_in_a_record() -> None:
    one = notes(
        asked(file=None, target=f"/t/{TOKEN}/{MAC}.cfg"),
        asked(404, "not_identified", file=None, target=f"/x/{TOKEN}?password=hunter2", why=f"token {TOKEN} is unknown"),
        asked(404, "no_such_file", file=DeviceFile("poly", FileKind.RESOURCE, TOKEN), target=f"/{TOKEN}"),
    )
    one.authorization = "Digest"
    made = draft(one, TlsSeen(), 101.0, "not_identified", lambda _t, _a: Claim())
    text = json.dumps(made.told)
    assert TOKEN not in text and "hunter2" not in text
    assert made.told["au"] == "Digest" and made.told["r"][0][2] == masked(f"t/{TOKEN}/{MAC}.cfg")


@given(st.text(max_size=400), st.text(max_size=60), st.binary(max_size=200))
def test_whatever_a_stranger_says_is_printable_bounded_and_comes_back(target: str, agent: str, hello: bytes) -> None:
    one = notes(asked(404, "bad_path", file=None, target=target), identity=NOBODY, known=False)
    one.agent, one.host, one.end, one.hello = agent, target[:300], "truncated", hello
    one.tcp = TcpState(3, 1, 1, 1, 4, 20, 1400)
    made = draft(one, TlsSeen(chain=(hello,)), 101.0, label_of(one), lambda _t, _a: Claim())
    told = unpacked(packed(made.told))
    assert told == json.loads(json.dumps(made.told))
    flight = Flight("", 7, made.at, made.mac, made.address, made.trouble, made.label, made.model, told)
    for fact in flight.facts():
        assert fact["connection"] == "x-7"
        assert all(value.isprintable() and len(value) <= 2500 for value in fact.values.values())


def test_an_address_of_ipv6_is_told_as_it_is_and_kept_by_its_network() -> None:
    made = draft(notes(address="2001:db8::5"), TlsSeen(), 101.0, "ok", lambda _t, _a: Claim())
    assert (made.told["a"], made.address, made.told["ak"]) == ("2001:db8::5", "2001:db8::/64", "2001:db8::/64")
    mapped = draft(notes(address="::ffff:192.0.2.1"), TlsSeen(), 101.0, "ok", lambda _t, _a: Claim())
    assert (mapped.told["a"], mapped.address) == ("192.0.2.1", "192.0.2.1") and "ak" not in mapped.told


@given(st.binary(max_size=300))
def test_what_a_broken_disk_leaves_is_an_empty_record(body: bytes) -> None:
    assert isinstance(unpacked(body), dict)
    assert isinstance(unpacked(b"\x01" + body), dict)


# --- who it claims to be ------------------------------------------------------------------------------


def test_a_stranger_claims_by_certificate_before_path_before_user_agent() -> None:
    def match(path: str, agent: str) -> DeviceFile | None:
        mac = Mac(path[:12]) if path.endswith(".cfg") else None
        return DeviceFile("poly", FileKind.DEVICE, path, mac, agent=AgentClaim("VVX 411", mac=OTHER)) if agent else None

    claims = claims_by([match, lambda _p, _a: None])
    assert claims(f"/{MAC}.cfg?x", "VVX") == (MAC, "poly", "VVX 411")
    assert claims("/about", "VVX") == (OTHER, "poly", "VVX 411")
    assert claims("/../%00", "VVX") == claims("/x", "") == Claim()
    shown = Identity(Verdict.UNTRUSTED, subject="CN=00:04:F2:AA:BB:09, O=Nobody")
    one = notes(asked(404, "not_identified", target=f"/{MAC}.cfg"), identity=shown, known=False)
    one.agent = "VVX"
    made = draft(one, TlsSeen(), 101.0, "verdict_untrusted", claims)
    assert (made.owner, made.mac, made.model) == ("", "0004f2aabb09", "VVX 411")
    bare = notes(asked(404, "not_identified", target=f"/0/{MAC.upper()}.cfg"), identity=NOBODY, known=False)
    assert draft(bare, TlsSeen(), 101.0, "verdict_none", lambda _t, _a: Claim()).mac == MAC
    zeros = notes(asked(404, "not_identified", target="/000000000000.cfg"), identity=NOBODY, known=False)
    assert draft(zeros, TlsSeen(), 101.0, "verdict_none", lambda _t, _a: Claim()).mac == ""


# --- what it says -------------------------------------------------------------------------------------


def test_requests_answers_uploads_and_what_admission_did() -> None:
    one = notes(
        asked(held=1.25), asked(503, "deferred", retry_after=60), asked(201, method="PUT", size=77),
        asked(404, "no_such_file", size=0, headers=""),
    )  # fmt: skip
    one.agent, one.host = "FileTransport PolycomVVX-VVX_411-UA/5.9.4", "localhost:8443"
    made = draft(one, TlsSeen(), 101.0, "deferred", lambda _t, _a: Claim())
    found = Flight(MAC, 9, made.at, MAC, "192.0.2.7", True, "deferred", "", unpacked(packed(made.told))).facts()
    request = next(fact for fact in found if fact.kind is Kind.REQUEST)
    assert (request["method"], request["file"], request["class"]) == ("GET", f"{MAC}-phone1.cfg", "p2")
    assert (request["user_agent"], request["host"]) == (one.agent, one.host)
    answers = [fact for fact in found if fact.kind is Kind.ANSWER]
    assert [fact["status"] for fact in answers] == ["200", "503", "201", "404"]
    assert (answers[0]["etag"], answers[0]["held"], answers[0]["bytes"]) == ("0123456789abcdef", "1.25", "5000")
    assert (answers[3]["reason"], answers[3]["etag"]) == ("no_such_file", "")
    early = next(fact for fact in found if fact.kind is Kind.REFUSED_EARLY)
    assert (early["by"], early["why"], early["retry_after"]) == ("admission", "deferred", "60")
    (upload,) = [fact for fact in found if fact.kind is Kind.UPLOAD]
    assert (upload["file"], upload["bytes"]) == (f"{MAC}-phone1.cfg", "77")
    (verdict,) = [fact for fact in found if fact.kind is Kind.VERDICT]
    assert (verdict["verdict"], verdict["vendor"], verdict["certificate_mac"]) == ("unique", "poly", MAC)


def test_a_stalled_answer_is_incomplete_and_says_what_the_kernel_knows() -> None:
    one = notes(asked(), asked())
    one.end, one.tcp = "stalled", TcpState(5, 4, 1, 2, 9, 31, 1500)
    made = draft(one, TlsSeen(), 190.0, "stalled", lambda _t, _a: Claim())
    found = Flight(MAC, 9, made.at, MAC, "192.0.2.7", True, "stalled", "", made.told).facts()
    assert [fact["complete"] for fact in found if fact.kind is Kind.ANSWER] == ["yes", "no"]
    (stalled,) = [fact for fact in found if fact.kind is Kind.STALLED]
    named = ("in", "retransmits", "unacked", "sacked", "lost", "resent", "rtt", "path_mtu")
    assert [stalled[name] for name in named] == ["answer", "5", "4", "1", "2", "9", "31", "1500"]


def test_what_came_within_a_millisecond_stays_in_its_order() -> None:
    rows = [asked(403 if number % 2 else 404, "not_yours" if number % 2 else "no_such_file", at=100.2, file=None)
            for number in range(9)]  # fmt: skip
    made = draft(notes(*rows), TlsSeen(), 100.2, "not_yours", lambda _t, _a: Claim())
    found = Flight(MAC, 9, made.at, MAC, "192.0.2.7", True, "not_yours", "", made.told).facts()
    case = Case.of(reversed(found), Subject(MAC), 101.0)
    assert [one.status for one in exchanges(case)] == [404, 403] * 4 + [404]
    assert case.facts[-1].kind is Kind.CLOSED


def test_an_encrypted_alert_of_ours_is_told_by_its_cause_and_as_not_sure() -> None:
    one = FlightNotes(100.0, ("192.0.2.7", 1000), ListenerKind.DEVICE)
    one.end, one.alert = "bad_signature", -1
    made = draft(one, TlsSeen("TLSv1.3", "TLS_AES_128_GCM_SHA256"), 101.0, "bad_signature", lambda _t, _a: Claim())
    found = Flight("", 9, made.at, "", "192.0.2.7", True, "bad_signature", "", made.told).facts()
    (alert,) = [fact for fact in found if fact.kind is Kind.ALERT]
    assert (alert["by"], alert["code"], alert["sure"]) == ("server", "51", "no")
    assert not [fact for fact in found if fact.kind is Kind.TLS_DONE]


def test_what_came_of_telling_a_device_is_a_fact_too() -> None:
    def event(kind: str, **details: str) -> StoredEvent:
        return StoredEvent(7, 9.0, kind, MAC, "info", "server", details)

    told = [
        event("resync_told", result="SIP 200", way="sip"),
        event("pin_set"),
        event("resync_told", result="no answer"),
    ]
    first, second = notify_facts(told)
    assert (first.kind, str(first.witness), dict(first.values)) == (
        Kind.NOTIFY, "server: event 7", {"result": "SIP 200", "status": "200", "way": "sip"}
    )  # fmt: skip
    assert dict(second.values) == {"result": "no answer"}
