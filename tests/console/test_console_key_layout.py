"""Keys as they are drawn: every line once, what administrators have set at its place, and nothing beyond the model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from provisioner.http.console.key_layout import layout
from provisioner.model import Mac, Model
from provisioner.neutral import LineKey
from provisioner.store.rows import Binding

MAC = Mac("0004f2000001")


def bound(line: int) -> Binding:
    return Binding(MAC, line, f"e{line}", f"{1000 + line}", "", 1.0, None, "ann", "bind")


def model(lines: int = 12, line_keys: int = 12, ports: int = 0) -> Model:
    return Model("poly", "VVX", "vvx", "ucs", lines=lines, line_keys=line_keys, ports=ports)


def test_a_phone_shows_its_lines_on_its_first_keys() -> None:
    drawn = layout(model(), [bound(1), bound(3)], [])
    assert (drawn.what, len(drawn.keys), drawn.more, drawn.next_free) == ("Keys", 12, 0, 2)
    assert [one.position for one in drawn.keys if one.on] == [1, 3]


def test_a_key_that_is_set_is_what_it_is_set_to() -> None:
    keys = [LineKey(1, "blf", "1009", "Eve"), LineKey(2, "line", line=1), LineKey(3, "none"), LineKey(40, "park", "7")]
    drawn = layout(model(), [bound(1), bound(3)], keys)
    assert [(one.kind, one.line) for one in drawn.keys[:4]] == [("blf", 0), ("", 1), ("", 0), ("", 4)]
    assert drawn.keys[1].on == bound(1)
    assert drawn.beyond == [bound(3)], "its own key does something else"
    assert drawn.first(1) == 2


def test_ports_lines_and_models_that_are_gone() -> None:
    ata = layout(model(lines=8, line_keys=0, ports=8), [bound(8)], [LineKey(1, "blf", "1")])
    assert (ata.what, len(ata.keys), ata.keys[7].on, ata.keys[0].kind) == ("Ports", 8, bound(8), "")
    keyless = layout(model(lines=2, line_keys=0), [], [])
    assert (keyless.what, len(keyless.keys), keyless.next_free) == ("Lines", 2, 1)
    gone = layout(None, [bound(5)], [])
    assert (len(gone.keys), gone.keys[4].on) == (5, bound(5))


def test_many_keys_are_drawn_as_far_as_they_are_used() -> None:
    assert [len(layout(model(16, 48), [bound(line) for line in on], []).keys) for on in ((), (1,), (16,))] == [
        12,
        12,
        16,
    ]
    assert layout(model(16, 48), [], []).more == 36


_KEYS = st.lists(
    st.builds(LineKey, st.integers(1, 60), st.sampled_from(["line", "blf", "none"]), line=st.integers(1, 20)),
    max_size=9,
    unique_by=lambda one: one.position,
)


@given(st.integers(1, 16), st.integers(0, 48), st.integers(0, 8), st.sets(st.integers(1, 16), max_size=6), _KEYS)
def test_everybody_who_is_on_a_line_is_shown(
    lines: int, line_keys: int, ports: int, on: set[int], keys: list[LineKey]
) -> None:
    drawn = layout(model(lines, line_keys, ports), [bound(line) for line in on], keys)
    seen = {one.on.line for one in drawn.keys if one.on} | {one.line for one in drawn.beyond}
    assert seen == on
    assert [one.position for one in drawn.keys] == list(range(1, len(drawn.keys) + 1))
    assert drawn.next_free not in on
