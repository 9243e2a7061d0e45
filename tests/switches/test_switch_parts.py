"""What switches say is read without guessing: indexes, bit maps, neighbours, PoE ports, the discovery, the verdict."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from cabinet import CISCO, HP, OTHER
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import Invalid, Unusable
from provisioner.model import Mac
from provisioner.switches import oids, tables, vlans
from provisioner.switches.credentials import Auth, Community, Privacy, community, of_sealed, sealed_form, user
from provisioner.switches.discovery import engine_in, request
from provisioner.switches.engine import check_floor
from provisioner.switches.locate import placed
from provisioner.switches.objections import Circumstances, objections, warnings
from provisioner.switches.oids import Oid
from provisioner.switches.ports import Rule, entity_interfaces, mapped, poe_index, read_map, rule_of, written_map
from provisioner.switches.trap_words import objects, receiver, sentence
from provisioner.switches.values import Neighbour, Poe, Port, VoiceVlan, likeliest
from provisioner.switches.vlans import VlanVerdict

MACS = st.binary(min_size=6, max_size=6).map(lambda octets: Mac(octets.hex()))
NUMBERS = st.integers(0, 2**32 - 1)
INDEXES = st.lists(NUMBERS, min_size=1, max_size=12).map(tuple)
PHONE, PC = Mac("0004f2aabbcc"), Mac("b827eb000001")
AT_DESK = Port(
    "sw1", 10107, "Gi1/0/7", "desk 7", "up", 6, 7, (120,), 2, (PC,), 10, frozenset({120}), frozenset({10}),
    (VoiceVlan(120, True),), VoiceVlan(120, True), Neighbour("VVX", mac=PHONE, capabilities=frozenset({"telephone"})),
    poe=Poe((1, 7), 1, 3, "hp"), seen=(1, 3),
)  # fmt: skip
MAY = Circumstances(writable=True)
CALLS = frozenset({"telephone"})


# --- indexes ----------------------------------------------------------------------------------------------------


@given(MACS, INDEXES)
def test_a_mac_survives_its_index(mac: Mac, before: Oid) -> None:
    assert oids.mac_of((*before, *oids.mac_index(mac))) == mac


@given(INDEXES)
def test_a_name_survives_its_dots(oid: Oid) -> None:
    assert oids.parsed(oids.dotted(oid)) == oid == oids.parsed("." + oids.dotted(oid))


@given(st.text(max_size=30))
def test_what_is_no_name_is_refused(text: str) -> None:
    try:
        assert oids.parsed(oids.dotted(oids.parsed(text))) == oids.parsed(text)
    except Invalid as error:
        assert error.field == "oid"


@given(INDEXES, INDEXES)
def test_an_index_is_what_follows_its_column(root: Oid, index: Oid) -> None:
    assert oids.below(root, (*root, *index)) == index
    assert oids.below(root, root) is None
    assert oids.below((*root, 1), (*root, 2, *index)) is None


@given(st.frozensets(st.integers(1, 512)), st.integers(0, 4))
def test_a_port_list_names_its_ports(ports: frozenset[int], spare: int) -> None:
    """RFC 4363: the leftmost bit is port 1; octets that are not there are zeros."""
    octets = bytearray(max(ports, default=0) // 8 + 1 + spare)
    for port in ports:
        octets[(port - 1) // 8] |= 0x80 >> ((port - 1) % 8)
    assert oids.ports_in(bytes(octets)) == ports


@given(st.one_of(st.none(), st.integers(), st.binary(max_size=40), INDEXES))
def test_any_value_is_read_as_what_it_is(value: object) -> None:
    assert all(sign.isprintable() for sign in oids.text_in(value))
    assert len(oids.text_in(value, 7)) <= 7
    assert oids.number_in(value) == (value if isinstance(value, int) else 0)
    found = oids.mac_in(value)
    assert found is None or len(found) == 12
    assert tables.capabilities_in(value) <= {
        "other", "repeater", "bridge", "access point", "router", "telephone", "cable modem", "station",
    }  # fmt: skip


def test_a_mac_that_could_be_text_is_a_mac() -> None:
    assert oids.mac_in(b"ABCDEF") == Mac("414243444546")
    assert oids.mac_in(b"00:04:F2:AA:BB:CC") == PHONE
    assert oids.mac_in(b"Gi1/0/7") is None


@given(st.dictionaries(st.integers(1, 9), st.integers(-1, 60), max_size=6))
def test_the_port_that_most_databases_name_is_taken(ports: dict[int, int]) -> None:
    found = placed(ports, {fdb: (fdb * 10,) for fdb in ports}, PHONE)
    known = [port for port in ports.values() if port > 0]
    assert (found is None) is (not known)
    if found is not None:
        assert known.count(found.bridge_port) == max(map(known.count, known))
        assert found.vlans == tuple(sorted(fdb * 10 for fdb, port in ports.items() if port == found.bridge_port))
        assert found.seen[-6:] == oids.mac_index(PHONE)


# --- which PoE port ---------------------------------------------------------------------------------------------

PRESENT = [(1, port) for port in range(1, 49)]


@pytest.mark.parametrize(
    ("chosen", "object_id", "rule"),
    [
        (Rule.AUTO, HP, Rule.HP), (Rule.AUTO, CISCO, Rule.CISCO), (Rule.AUTO, OTHER, Rule.CONFIRMED),
        (Rule.AUTO, None, Rule.CONFIRMED), (Rule.HP, CISCO, Rule.HP), (Rule.CONFIRMED, HP, Rule.CONFIRMED),
    ],
)  # fmt: skip
def test_a_rule_counts_only_where_the_maker_is_known(chosen: Rule, object_id: object, rule: Rule) -> None:
    assert rule_of(chosen, object_id) is rule


def test_without_a_rule_and_without_a_word_there_is_no_poe_port() -> None:
    assert mapped(7, Rule.CONFIRMED, {}, PRESENT, {}) is None
    assert mapped(7, Rule.CISCO, {}, PRESENT, {}) is None
    assert mapped(7, Rule.HP, {}, [(1, 7), (2, 7)], {}) is None, "two of that number: which?"
    assert mapped(7, Rule.CISCO, {}, PRESENT, {(1, 3): 7, (1, 4): 7}) is None


@given(st.integers(1, 48), st.sampled_from(Rule), st.dictionaries(st.integers(1, 60), st.sampled_from(PRESENT)))
def test_what_an_administrator_has_said_counts_before_every_rule(port: int, rule: Rule, said: dict[int, Oid]) -> None:
    found = mapped(port, rule, said, PRESENT, {})
    if port in said:
        assert found is not None
        assert (found.index, found.how) == (said[port], "confirmed")
    elif rule is Rule.HP:
        assert found is not None
        assert found.index == (1, port)
    else:
        assert found is None
    assert mapped(port, rule, {port: (9, 9)}, PRESENT, {}) is None, "said of a port that the switch has not"


def test_ciscos_way_leads_from_poe_over_entities_to_interfaces() -> None:
    entities = {(1, 7): 1007, (1, 8): 1008, (1, 9): 0}
    aliases = {(1007, 0): (*oids.IF_INDEX, 10107), (1008, 0): (1, 3, 6), (1009, 0): b"x"}
    assert entity_interfaces(entities, aliases) == {(1, 7): 10107}
    both = {**aliases, (1007, 1): (*oids.IF_INDEX, 10199)}
    assert entity_interfaces(entities, both) == {}, "an entity with two interfaces is none's"


@given(st.dictionaries(st.integers(1, 2**31), st.tuples(st.integers(0, 9), st.integers(0, 999)), max_size=5))
def test_what_was_confirmed_is_kept(said: dict[int, Oid]) -> None:
    assert read_map(written_map(said)) == said


@pytest.mark.parametrize("text", ["", "7", "1.", ".7", "1.7.2", "1,7", "a.b", "1.9999999", "١.٧"])
def test_what_is_no_poe_port_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"group\.port"):
        poe_index(text)
    assert poe_index("1.7") == (1, 7)


# --- power ------------------------------------------------------------------------------------------------------


def test_a_phone_at_its_desk_may_be_switched_off() -> None:
    assert objections(PHONE, AT_DESK, MAY) == []
    assert warnings(AT_DESK) == ["what is connected through the phone loses its link too: b8:27:eb:00:00:01"]


@pytest.mark.parametrize(
    ("port", "around", "why"),
    [
        (AT_DESK, Circumstances(writable=False), "second credential"),
        (replace(AT_DESK, poe=None), MAY, "not known which PoE port"),
        (replace(AT_DESK, poe=Poe((1, 7), 1, 2, "hp")), MAY, "delivers no power (searching)"),
        (replace(AT_DESK, poe=Poe((1, 7), 0, 3, "hp")), MAY, "not read as switched on"),
        (replace(AT_DESK, poe=Poe((1, 7), 2, 3, "hp")), MAY, "not read as switched on"),
        (replace(AT_DESK, poe=Poe((1, 7), 4, 3, "cisco", cisco=True)), MAY, "not read as switched on"),
        (replace(AT_DESK, bridge_port=0), MAY, "how many Macs"),
        (AT_DESK, Circumstances(writable=True, silent=1), "1 switches did not answer"),
        (replace(AT_DESK, macs=4), MAY, "4 Macs"),
        (replace(AT_DESK, macs=None), MAY, "more Macs than were counted"),
        (replace(AT_DESK, kind=161), MAY, "bundle"),
        (replace(AT_DESK, neighbour=Neighbour("ap", capabilities=frozenset({"access point"}))), MAY, "other end"),
        (replace(AT_DESK, neighbour=Neighbour("core", capabilities=frozenset({"bridge"}))), MAY, "core"),
        (replace(AT_DESK, neighbour=Neighbour("VVX", mac=PC, capabilities=CALLS)), MAY, "by LLDP that it is at"),
        (replace(AT_DESK, neighbour=Neighbour("SEP", "", PC, CALLS | {"bridge"}, "cdp")), MAY, "phone says by CDP"),
        (replace(AT_DESK, link="down"), MAY, "not up"),
        (replace(AT_DESK, link=""), MAY, "not up"),
        (AT_DESK, Circumstances(writable=True, lately=6, most=6), "within an hour"),
    ],
)
def test_each_of_these_is_in_the_way_alone(port: Port, around: Circumstances, why: str) -> None:
    found = objections(PHONE, port, around)
    assert len(found) == 1
    assert why in found[0]


@pytest.mark.parametrize("said", [1, 2, 3])
def test_cisco_has_three_words_for_on(said: int) -> None:
    assert objections(PHONE, replace(AT_DESK, poe=Poe((1, 7), said, 3, "cisco", cisco=True)), MAY) == []


@given(st.binary(max_size=40), st.integers(-1, 400))
def test_one_port_is_in_a_list_where_it_is_among_all_of_it(bits: bytes, port: int) -> None:
    assert oids.has_port(bits, port) is (port in oids.ports_in(bits))


def test_a_phone_with_a_pc_behind_it_is_no_uplink() -> None:
    both = frozenset({"telephone", "bridge"})
    assert replace(AT_DESK, neighbour=Neighbour("VVX", capabilities=both)).uplink == ""


@given(st.permutations(["desk", "core", "attic"]))
def test_of_all_that_see_it_the_desk_is_taken(order: list[str]) -> None:
    known = {
        "desk": AT_DESK,
        "core": replace(AT_DESK, switch="core", macs=None, neighbour=None),
        "attic": replace(AT_DESK, switch="attic", macs=40, neighbour=None),
    }
    assert likeliest([known[name] for name in order]) is AT_DESK
    assert likeliest([]) is None


# --- three numbers, one verdict ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("port", "verdict", "word"),
    [
        (AT_DESK, VlanVerdict.RIGHT, "VLAN 120"),
        (replace(AT_DESK, offered=()), VlanVerdict.NOT_OFFERED, "no voice VLAN"),
        (
            replace(AT_DESK, offered=(VoiceVlan(120), VoiceVlan(130, by="cdp"))),
            VlanVerdict.QUARREL, "120 by LLDP and 130 by CDP",
        ),
        (replace(AT_DESK, tagged=frozenset({11})), VlanVerdict.NO_MEMBER, "no member"),
        (
            replace(AT_DESK, tagged=frozenset(), untagged=frozenset({120})),
            VlanVerdict.TAG_MISMATCH, "tagged and sends it without",
        ),
        (replace(AT_DESK, used=VoiceVlan(10)), VlanVerdict.NOT_TAKEN, "uses 10"),
        (replace(AT_DESK, vlans=()), VlanVerdict.UNSEEN, "not learned"),
        (replace(AT_DESK, vlans=(10,)), VlanVerdict.ELSEWHERE, "come in VLAN 10"),
        (replace(AT_DESK, used=None, tagged=frozenset(), untagged=frozenset()), VlanVerdict.RIGHT, "VLAN 120"),
    ],
    ids=lambda one: one.value if isinstance(one, VlanVerdict) else "",
)  # fmt: skip
def test_each_verdict_says_why_and_what_to_do(port: Port, verdict: VlanVerdict, word: str) -> None:
    told = vlans.check(port)
    assert told.verdict is verdict
    assert word in told.why
    assert bool(told.cure) is not told.good


# --- who is asked, and with what --------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.integers(0, 2**31 - 1))
def test_no_answer_to_a_discovery_breaks_anything(answer: bytes, number: int) -> None:
    found = engine_in(answer, number)
    assert found is None or 5 <= len(found) <= 32


@given(st.integers(0, 2**31 - 1), st.data())
def test_a_cut_or_spoilt_answer_is_none_or_the_same(number: int, data: st.DataObject) -> None:
    whole = bytearray(request(number))
    assert engine_in(bytes(whole), number) is None, "nobody is named in a question"
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    assert engine_in(bytes(whole[: data.draw(st.integers(0, len(whole)))]), number) is None or len(whole) > 5


@given(st.text(string.ascii_letters + string.digits, min_size=1, max_size=20))
def test_credentials_survive_and_never_print(word: str) -> None:
    key = f"{word}-long-enough"
    for one in (community(word), user("ann", Auth.SHA256, key, Privacy.AES, key)):
        assert of_sealed(sealed_form(one)) == one
        assert key not in repr(one)
        assert not isinstance(one, Community) or word not in repr(one).replace("Community", "")


@pytest.mark.parametrize(
    ("auth", "auth_key", "privacy", "privacy_key", "field"),
    [
        (Auth.NONE, "", Privacy.AES, "long enough", "privacy"), (Auth.SHA, "short", Privacy.NONE, "", "auth_key"),
        (Auth.SHA, "long enough", Privacy.AES, "", "privacy_key"),
        (Auth.NONE, "long enough", Privacy.NONE, "", "auth_key"),
        (Auth.SHA, "tönt lang genug", Privacy.NONE, "", "auth_key"),
    ],
)  # fmt: skip
def test_a_user_that_no_switch_takes_is_refused(
    auth: Auth, auth_key: str, privacy: Privacy, privacy_key: str, field: str
) -> None:
    with pytest.raises(Invalid) as told:
        user("ann", auth, auth_key, privacy, privacy_key)
    assert told.value.field == field
    assert auth_key == "" or auth_key not in str(told.value)


@pytest.mark.parametrize("word", ["", "two words", "ümlaut", "x" * 65])
def test_a_community_that_no_switch_takes_is_refused(word: str) -> None:
    with pytest.raises(Invalid):
        community(word)


def test_an_older_cryptography_is_named_before_a_key_is_blamed() -> None:
    check_floor("47.0.0")
    with pytest.raises(Unusable, match=r"cryptography 47 or newer, and 46\.0\.3"):
        check_floor("46.0.3")


# --- alarms -----------------------------------------------------------------------------------------------------


def test_receivers_are_read_as_they_are_written() -> None:
    assert receiver("trap://noc.example.net").name == "trap://noc.example.net"
    assert receiver("inform://[::1]:1162").name == "inform://[::1]:1162"
    for text in ("noc", "http://noc", "trap://", "trap://noc:0x", "trap://noc/x", "trap://noc:99999", "trap://a@noc"):
        with pytest.raises(Unusable, match=r"trap\.receivers"):
            receiver(text)


@given(st.floats(0, 1e9), st.dictionaries(st.sampled_from(["kind", "mac", "text"]), st.text(max_size=400)))
def test_an_alarm_is_named_below_the_enterprise_and_fits_a_datagram(uptime: float, said: dict[str, str]) -> None:
    bound = objects(32473, uptime, said)
    assert bound[0][0] == (1, 3, 6, 1, 2, 1, 1, 3, 0)
    assert bound[1][1] == (1, 3, 6, 1, 4, 1, 32473, 1, 0, 1)
    assert all(oid[:8] == (1, 3, 6, 1, 4, 1, 32473, 1) for oid, _ in bound[2:])
    assert all(isinstance(value, bytes) and len(value) <= 255 for _, value in bound[2:])


def test_a_sentence_says_what_and_of_what() -> None:
    told = sentence("pin_mismatch", "a key that is not the pinned one", {"came": "ab", "account": "x", "sni": ""})
    assert told == "a key that is not the pinned one: came ab"
