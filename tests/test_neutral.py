import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import Invalid
from provisioner.neutral import SETTINGS, DialRule, HostPort, LineKey, parse_value, setting_of

GOOD = {
    "sip.server": ("sip.example.net:5061", HostPort("sip.example.net", 5061)),
    "sip.backup": ("[2001:db8::1]:5060", HostPort("2001:db8::1", 5060)),
    "sip.transport": ("udp", "udp"),
    "sip.expiry": ("600", 600),
    "sip.codecs": ("opus, g722", ("opus", "g722")),
    "time.zone": ("Europe/Berlin", "Europe/Berlin"),
    "language": ("de-DE", "de-DE"),
    "net.vlan": (4094, 4094),
    "net.lldp": ("off", False),
    "syslog.server": ("192.0.2.1:514", HostPort("192.0.2.1", 514)),
    "keys": ([{"position": 2, "kind": "blf", "value": "2002", "label": "Alice 😀"}],
             (LineKey(2, "blf", "2002", "Alice 😀"),)),
    "dialplan.rules": (["[2-8]xxx", {"match": "0x.T", "prefix": "9"}], (DialRule("[2-8]xxx"), DialRule("0x.T", "9"))),
    "emergency.numbers": (["112"], ("112",)),
    "hotline.number": ("9000", "9000"),
    "phonebook.url": ("https://example.net/book.xml", "https://example.net/book.xml"),
    "poll.from": ("23:59", "23:59"),
    "password.admin": ('q"<&>\'', 'q"<&>\''),
}  # fmt: skip

BAD = {
    "sip.server": ["a b", "host:0", "host:70000", "http://x", 5, "[::1"],
    "sip.transport": ["sctp", "", 1],
    "sip.expiry": [59, 86401, "x", True, 1.5],
    "sip.codecs": [[], ["g722", "g722"], ["mp3"], 3],
    "time.zone": ["Mars/Base", "", "../etc/passwd", 1],
    "language": ["english", "EN"],
    "net.vlan": [4095, -1, "4095", None],
    "net.lldp": ["maybe", 2],
    "keys": [[{"position": 0}], [{"position": 1}, {"position": 1}], [{"position": 1, "kind": "jump"}], ["x"],
             [{"position": 1, "evil": 1}], [{"position": 1, "value": "a\nb"}]],
    "dialplan.rules": [["9;reboot"], [{"match": ""}], [{"match": "9", "prefix": "a"}], [{"match": "9", "x": 1}]],
    "emergency.numbers": [["11 2"], ["x" * 41]],
    "phonebook.url": ["javascript:alert(1)", "https://a b", "https://x\ny"],
    "poll.from": ["24:00", "1:00"],
    "password.admin": ["a\nb", "x" * 33, "\x00", "\u2028", None],
    "ca.custom": ["-----BEGIN CERTIFICATE-----", 5],
    "firmware.version": ["5.9.x", "../5"],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_good_value_becomes_its_type(name):
    given_value, meant = GOOD[name]
    assert parse_value(name, given_value) == meant


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_bad_value_is_refused_by_name(name, value):
    with pytest.raises(Invalid) as caught:
        parse_value(name, value)
    assert caught.value.field == name


def test_a_per_line_setting_takes_a_line_and_others_do_not():
    assert setting_of("line.2.sip.transport") is SETTINGS["sip.transport"]
    for name in ("line.2.time.zone", "line.0.sip.transport", "line.x.sip.transport", "sip.nothing"):
        with pytest.raises(Invalid):
            setting_of(name)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_default_passes_its_own_parser(name):
    setting = SETTINGS[name]
    if isinstance(setting.default, HostPort) and not setting.default:
        assert setting.parse("") == setting.default
    else:
        assert setting.parse(setting.default) == setting.default


@given(st.sampled_from(sorted(SETTINGS)), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=8,
))  # fmt: skip
def test_nothing_but_invalid_comes_out_of_a_parser(name, value):
    try:
        parse_value(name, value)
    except Invalid as error:
        assert error.field == name
