from hypothesis import given
from hypothesis import strategies as st

from provisioner.layers import merge, resolve
from provisioner.model import ConfigLayer, Line, Mac, Model, Scope
from provisioner.neutral import NTP_SERVER, SIP_TRANSPORT

NAMES = st.sampled_from(["a", "b", "c"])
LAYERS = st.lists(
    st.builds(
        ConfigLayer,
        scope=st.sampled_from(list(Scope)),
        key=st.text(max_size=2),
        values=st.dictionaries(NAMES, st.integers()),
        raw=st.dictionaries(NAMES, st.text(max_size=3)),
    ),
    max_size=7,
    unique_by=lambda layer: layer.scope,
)


@given(LAYERS)
def test_the_strongest_scope_that_speaks_wins_and_the_order_given_does_not_matter(layers):
    forwards, backwards = merge(layers), merge(reversed(layers))
    assert forwards == backwards
    order = list(Scope)
    for name, sourced in forwards[0].items():
        speaking = [layer for layer in layers if name in layer.values]
        strongest = max(speaking, key=lambda layer: order.index(layer.scope))
        assert (sourced.value, sourced.scope) == (strongest.values[name], strongest.scope)
        assert len(sourced.overrode) == len(speaking) - 1
        assert [order.index(scope) for scope, _ in sourced.overrode] == sorted(
            (order.index(scope) for scope, _ in sourced.overrode), reverse=True
        )


@given(LAYERS, st.dictionaries(NAMES, st.integers()))
def test_merging_onto_a_result_is_merging_all_at_once(layers, own):
    shared = [layer for layer in layers if layer.scope is not Scope.DEVICE]
    device = ConfigLayer(Scope.DEVICE, "m", own)
    onto = merge(shared)
    before = dict(onto[0])
    assert merge([device], onto=onto) == merge([*shared, device])
    assert dict(onto[0]) == before, "the shared result must stay as it was"


def test_a_line_has_its_own_value_before_the_device_has():
    model = Model("poly", "VVX 411", "vvx", "ucs", 12)
    layer = ConfigLayer(Scope.SITE, "s", {"sip.transport": "tcp", "line.2.sip.transport": "udp"})
    config = resolve(Mac.parse("0004f2000001"), model, [Line(1, "2001", "2001", "x")], merge([layer]))
    assert config.on_line(SIP_TRANSPORT, 1) == "tcp"
    assert config.on_line(SIP_TRANSPORT, 2) == "udp"
    assert config.get(NTP_SERVER) == NTP_SERVER.default
    assert not config.is_set(NTP_SERVER)


def test_a_line_does_not_print_its_secret():
    assert "hush" not in repr(Line(1, "2001", "2001", "hush"))
