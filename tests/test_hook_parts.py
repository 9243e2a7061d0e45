"""Parts of webhooks that touch nothing: paths into foreign documents, rules, signatures, addresses, names of events."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provisioner.errors import Invalid, NotSignedIn, Unusable
from provisioner.events import KINDS
from provisioner.hook_events import OUTWARD, TYPES, checked, subject_of, wants
from provisioner.hooks.mapping import FIELDS, Action, MappingError, load_rules, moment_of
from provisioner.hooks.paths import PathError, parse_path
from provisioner.hooks.signing import Scheme, check_secret, key_of, new_secret, prove, signature, signed
from provisioner.hooks.target import parse_target, refusal
from provisioner.networks import allow_list, allowed

NOW = 1_800_000_000.0
SECRET = new_secret(bytes(range(32)))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)

# --- paths -------------------------------------------------------------------------------------------------------

DOCUMENT = {
    "data": {"person": {"id": 7, "odd name": "x", "it's": "y"}, "active": True},
    "phones": [{"kind": "desk", "mac": "a"}, {"kind": "ata", "mac": "b"}, 3],
    "rate": 1.5,
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", DOCUMENT),
        ("$.data.person.id", 7),
        ("$.data['person']['odd name']", "x"),
        ('$.data.person["it\'s"]', "y"),
        ("$.phones[0].mac", "a"),
        ("$.phones[-2].mac", "b"),
        ("$.phones[9].mac", None),
        ("$.phones[-9]", None),
        ("$.phones[?kind='ata'].mac", "b"),
        ('$.phones[ ? kind == "ata" ].mac', "b"),
        ("$.phones[?kind='gone'].mac", None),
        ("$.phones.mac", None),
        ("$.data[0]", None),
        ("$.rate.more", None),
        ("$.data.nothing.here", None),
        ("$.phones[2].mac", None),
    ],
)
def test_a_path_leads_somewhere_or_nowhere(path: str, value: Any) -> None:
    assert parse_path(path).find(DOCUMENT) == value


@pytest.mark.parametrize(
    "path",
    ["", "data", "$data", "$.", "$..id", "$.a[", "$.a[]", "$.a[1.5]", "$.a[*]", "$.a[?b]", "$.a b", "$.a['x]", "$\n.a",
     "$.a[0001000000]", "$" + ".a" * 33, "$." + "a" * 600, "$.ä"],
)  # fmt: skip
def test_what_is_no_path_is_said(path: str) -> None:
    with pytest.raises(PathError):
        parse_path(path)


@given(text=st.text(max_size=40) | st.text("$.[]'\"?=-ab0 ", max_size=20).map("$".__add__), document=JSON)
@example(text="$[?a='b'][0]['']", document=[{"a": "b"}])
@example(text="$[-0]", document=[])
def test_a_path_never_raises_but_its_own_error(text: str, document: Any) -> None:
    try:
        path = parse_path(text)
    except PathError:
        return
    path.find(document)


# --- rules -------------------------------------------------------------------------------------------------------

RULES = """
id = "$.event.id"
occurred_at = "$.event.time"

[[rules]]
action = "user.left"
when = { "$.event.type" = ["terminated", "left"], "$.person.kind" = "employee" }
fields = { user = "$.person.email" }

[[rules]]
action = "device.shipped"
when = { "$.event.type" = "shipped" }
[rules.fields]
mac = "$.attributes[?name='mac'].value"
model = { path = "$.sku", map = { "2200-48820-025" = "VVX 411" }, default = "VVX 150" }
vendor = "poly"

[[rules]]
action = "ignore"
when = { "$.event.type" = "heartbeat" }
"""


def event(kind: str, **more: Any) -> dict[str, Any]:
    return {"event": {"id": 12, "time": "2026-11-22T08:00:00+01:00", "type": kind}, **more}


def test_the_first_rule_that_fits_decides() -> None:
    rules = load_rules(RULES)
    left = rules.understand(event("left", person={"kind": "employee", "email": "Ada@example.net"}))
    assert (left.action, dict(left.fields)) == (Action.LEFT, {"user": "Ada@example.net"})
    assert (left.ident, left.at, left.subject) == ("12", 1795330800.0, "")
    shipped = rules.understand(
        event("shipped", attributes=[{"name": "mac", "value": "0004F2AABB01"}], sku="2200-48820-025")
    )
    assert dict(shipped.fields) == {"mac": "0004F2AABB01", "model": "VVX 411", "vendor": "poly"}
    other = rules.understand(event("shipped", attributes=[{"name": "mac", "value": "0004F2AABB01"}], sku="?"))
    assert other.fields["model"] == "VVX 150"
    assert rules.understand(event("heartbeat")).action is Action.IGNORE


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (event("left", person={"kind": "contractor"}), "none of the source's rules"),
        (event("left", person={"kind": "employee"}), "user: is not in the document"),
        (event("shipped", attributes=[]), "mac: is not in the document"),
        (event("left", person={"kind": "employee", "email": "x" * 300}), "longer than 254"),
        ([], "none of the source's rules"),
        (None, "none of the source's rules"),
    ],
)
def test_what_is_not_understood_is_said(document: Any, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        load_rules(RULES).understand(document)


def rule(**given: Any) -> str:
    return json.dumps({"rules": [{"action": "user.left", "fields": {"user": "$.u"}, **given}]})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "rules: must be a list"),
        ("[", "neither TOML nor JSON"),
        ("{", "neither TOML nor JSON"),
        ("[1]", "'1' is none of id"),
        ('{"rules": [], "x": 1}', "'x' is none of"),
        ('{"rules": [1]}', r"rules\[0\]: must be a table"),
        (rule(action="user.gone"), "must be one of extension.assign"),
        (rule(fields={}), "user.left needs user"),
        (rule(fields={"user": "$.u", "mac": "$.m"}), "'mac' is none of user"),
        (rule(fields={"user": "$.u["}), "cannot be read from character 4"),
        (rule(fields={"user": {"path": 1}}), "path must be a path"),
        (rule(fields={"user": {"path": "$.u", "map": {"a": []}}}), "values must be text"),
        (rule(fields={"user": None}), "must be a path, a constant"),
        (rule(when={"u": "x"}), "a path begins with"),
        (rule(when={"$.u": []}), "is text, a number, or a list"),
        (rule(when=1), "must be tables"),
        (rule(more=1), "'more' is none of"),
        ("x = 1\n" * 9000, "at most 32768"),
    ],
)
def test_rules_are_checked_when_they_are_loaded(text: str, why: str) -> None:
    with pytest.raises(MappingError, match=why):
        load_rules(text)


@given(document=JSON)
@example(document={"u": "\ud800"})
@example(document={"u": "a\x00b"})
def test_no_document_is_too_strange(document: Any) -> None:
    rules = load_rules(json.dumps({"id": "$.u", "occurred_at": "$.t", "rules": [
        {"action": "user.left", "fields": {"user": "$.u"}}]}))  # fmt: skip
    try:
        asked = rules.understand(document)
    except Invalid:
        return
    for text in (asked.ident, asked.subject, *asked.fields.values()):
        assert text.encode("utf-8") == text.encode("utf-8", "replace") and text.isprintable()


@given(text=st.text(max_size=200) | JSON.map(json.dumps))
def test_no_table_is_too_strange(text: str) -> None:
    with pytest.raises(MappingError):
        load_rules(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", None), ("1795330800", 1795330800.0), ("1795330800123", 1795330800.123), ("1795330800.5", 1795330800.5),
        ("2026-11-22T07:00:00Z", 1795330800.0), ("2026-11-22 08:00:00+01:00", 1795330800.0),
    ],
)  # fmt: skip
def test_times_are_read_as_systems_write_them(text: str, at: float | None) -> None:
    assert moment_of(text) == at


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-11-22T07:00:00", "nan", "inf", "-1", "0", "1e300", "2026-13-01T00:00Z"]
)
def test_a_time_that_is_none_is_said(text: str) -> None:
    with pytest.raises(Invalid):
        moment_of(text)


def test_each_action_says_what_it_takes() -> None:
    assert set(FIELDS) == set(Action)


# --- signatures --------------------------------------------------------------------------------------------------


def test_a_signature_is_the_one_of_the_specification() -> None:
    """The example of the Standard Webhooks specification."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    ident, at, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    assert signature(secret, ident, at, body) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(body=st.binary(max_size=200), ident=st.from_regex(r"[!-~]{1,40}", fullmatch=True), late=st.floats(-299, 299))
def test_what_is_signed_is_proven(body: bytes, ident: str, late: float) -> None:
    headers = signed([SECRET], ident, int(NOW), body)
    proof = prove(
        Scheme.STANDARD, ["whsec_" + base64.b64encode(b"x" * 32).decode(), SECRET], headers, body, NOW + late, 300
    )
    assert (proof.ident, proof.at) == (ident, NOW)


@pytest.mark.parametrize(
    ("change", "body", "now"),
    [
        ({}, b"{ }", NOW),
        ({"webhook-id": "msg_2"}, b"{}", NOW),
        ({"webhook-timestamp": str(int(NOW) + 1)}, b"{}", NOW),
        ({"webhook-timestamp": f"0{int(NOW)}"}, b"{}", NOW),
        ({"webhook-timestamp": "-5"}, b"{}", NOW),
        ({"webhook-timestamp": ""}, b"{}", NOW),
        ({"webhook-id": ""}, b"{}", NOW),
        ({"webhook-signature": ""}, b"{}", NOW),
        ({"webhook-signature": "v1,\udcff v2,x"}, b"{}", NOW),
        ({}, b"{}", NOW + 301),
        ({}, b"{}", NOW - 301),
    ],
)
def test_whatever_was_changed_on_the_way_is_refused(change: dict[str, str], body: bytes, now: float) -> None:
    headers = signed([SECRET], "msg_1", int(NOW), b"{}") | change
    with pytest.raises(NotSignedIn):
        prove(Scheme.STANDARD, [SECRET], headers, body, now, 300)


def test_a_bare_hmac_and_a_bearer_secret_prove_as_well() -> None:
    secret, body = "sixteen-or-more!", b'{"a":1}'
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    for name in ("x-signature-256", "x-hub-signature-256"):
        assert prove(Scheme.HMAC, [secret], {name: f"sha256={digest}"}, body, NOW, 300).ident == ""
        with pytest.raises(NotSignedIn):
            prove(Scheme.HMAC, [secret], {name: f"sha256={digest}"}, body + b" ", NOW, 300)
    assert prove(Scheme.BEARER, ["other-one-16-long", secret], {"authorization": f"Bearer {secret}"}, body, NOW, 300)
    for wrong in ("", f"Basic {secret}", "Bearer sixteen-or-more", "Bearer ", secret):
        with pytest.raises(NotSignedIn):
            prove(Scheme.BEARER, [secret], {"authorization": wrong}, body, NOW, 300)


@given(headers=st.dictionaries(
    st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "authorization", "x-signature-256"]),
    st.text(max_size=30) | st.sampled_from(["1800000000", "v1,", "sha256=", "Bearer "]),
), scheme=st.sampled_from(Scheme))  # fmt: skip
def test_no_header_proves_anything_by_chance(headers: dict[str, str], scheme: Scheme) -> None:
    with pytest.raises(NotSignedIn):
        prove(scheme, [SECRET], headers, b"{}", NOW, 300)


def test_secrets_are_checked_and_never_told() -> None:
    assert key_of(SECRET) == bytes(range(32)) and check_secret(Scheme.STANDARD, SECRET) == SECRET
    for scheme, wrong in ((Scheme.STANDARD, "whsec_c2hvcnQ="), (Scheme.STANDARD, "whsec_%%%"),
                          (Scheme.HMAC, "too short"),
                          (Scheme.BEARER, "with blanks in between")):  # fmt: skip
        with pytest.raises(Invalid) as told:
            check_secret(scheme, wrong)
        assert wrong not in str(told.value)


# --- addresses ---------------------------------------------------------------------------------------------------

INSIDE = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
    "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:10.1.2.3", "::ffff:0:169.254.169.254", "::127.0.0.1", "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8", "2002:7f00:1::1", "2002:a9fe:a9fe::", "2001:0:1::1",
    "fe80::1", "fe80::1%lo", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "100::1", "2001:db8::1",
]  # fmt: skip
OUTSIDE = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_inside_is_not_called(address: str) -> None:
    assert refusal(ipaddress.ip_address(address), "https", ())


@pytest.mark.parametrize("address", OUTSIDE)
def test_what_is_outside_is_called_by_https_alone(address: str) -> None:
    assert not refusal(ipaddress.ip_address(address), "https", ())
    assert "https only" in refusal(ipaddress.ip_address(address), "http", ())


def test_the_operator_may_allow_more() -> None:
    allow = allow_list("webhook.allow", ["10.20.0.0/16", "fd00:1::/64"])
    for inside in ("10.20.3.4", "::ffff:10.20.3.4", "fd00:1::5"):
        for scheme in ("http", "https"):
            assert not refusal(ipaddress.ip_address(inside), scheme, allow), inside
    for beyond in ("10.21.0.1", "fd00:2::1", "64:ff9b::10.20.3.4", "2002:a14:304::1", "fd00:1::5%eth0"):
        assert refusal(ipaddress.ip_address(beyond), "https", allow), beyond
    assert not allowed(ipaddress.ip_address("0.0.0.1"), allow)
    with pytest.raises(Unusable, match=r"webhook\.allow"):
        allow_list("webhook.allow", ["10.20.0.1/16"])


@given(inner=st.ip_addresses(v=4), form=st.sampled_from(["::ffff:{}", "::ffff:0:{}", "64:ff9b::{}", "::{}", "6to4"]))
def test_an_address_inside_another_is_judged_like_itself(inner: ipaddress.IPv4Address, form: str) -> None:
    outer = ipaddress.IPv6Address(0x2002 << 112 | int(inner) << 80) if form == "6to4" else None
    outer = outer or ipaddress.IPv6Address(form.format(inner))
    if refusal(inner, "https", ()):
        assert refusal(outer, "https", ()), (inner, outer)


@given(address=st.ip_addresses())
def test_nothing_that_python_calls_private_is_called(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
    ):
        nat64 = isinstance(address, ipaddress.IPv6Address) and str(address).startswith("64:ff9b::")
        assert refusal(address, "https", ()) or nat64 or getattr(address, "ipv4_mapped", None)


@given(text=st.text(max_size=60) | st.text("htps:/@[]%.#?\\:0123456789abcdef", max_size=40).map("https://".__add__))
def test_no_url_is_too_strange(text: str) -> None:
    try:
        target = parse_target(text)
    except Invalid:
        return
    assert target.scheme in {"http", "https"} and target.host and 0 < target.port < 65536


@pytest.mark.parametrize(
    "url",
    ["https://", "https:///x", "https://a b/", "https://user@host/", "https://host:0/", "https://host:99999/",
     "//host/",     "https://host/#x", "file:///etc/passwd", "gopher://host/", "https://[fe80::1%25lo]/", "https://host\\@other/",
     "https://-/",     "https://ho\nst/", "https://höst/", "https://[::1/", "https://a..b/"],
)  # fmt: skip
def test_what_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        parse_target(url)


# --- events ------------------------------------------------------------------------------------------------------


def test_every_name_outside_has_a_kind_inside() -> None:
    assert set(OUTWARD) <= set(KINDS)
    assert not [name for name in TYPES if name.count(".") != 1]


def test_filters_take_types_families_and_everything() -> None:
    assert checked([]) == "*" and checked(["device.*", "binding.created"]) == "binding.created device.*"
    assert wants("binding.created device.*", "device.online") and not wants("device.*", "binding.created")
    assert wants("*", "person.left") and not wants("person.lef", "person.left")
    for wrong in ("device", "device.gone", "devices.*", "*.created", "device.*x", "DEVICE.*"):
        with pytest.raises(Invalid, match="no type of event"):
            checked([wrong])


@pytest.mark.parametrize(
    ("mac", "account", "details", "subject"),
    [
        ("0004f2aabb01", "a", {"extension": "x"}, "device:0004f2aabb01"),
        ("", "a", {"extension": "x", "user": "u"}, "extension:x"),
        ("", "a", {"user": "u"}, "user:u"),
        ("", "", {"scope": "vendor", "key": "poly"}, "layer:vendor:poly"),
        ("", "a", {}, "account:a"),
        ("", "", {}, "server"),
    ],
)
def test_an_event_is_about_one_thing(mac: str, account: str, details: dict[str, str], subject: str) -> None:
    assert subject_of(mac, account, details) == subject
