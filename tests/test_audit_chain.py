"""Whatever is done to a chain of audit rows, following it finds out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provisioner.audit_chain import Head, Row, Walk, changed, is_sealed, link, sealed

text = st.text(max_size=12)
rows = st.builds(
    Row,
    seq=st.just(0),
    at=st.floats(allow_nan=False, allow_infinity=False),
    kind=text,
    mac=text,
    severity=text,
    actor=text,
    account=text,
    details=text,
)


def chain(given: list[Row]) -> list[Row]:
    made: list[Row] = []
    head = Head()
    for number, row in enumerate(given, 1):
        one = replace(row, seq=number)
        head = Head(number, link(head.hash, one))
        made.append(replace(one, hash=head.hash))
    return made


def head_of(made: list[Row]) -> Head:
    return Head(made[-1].seq, made[-1].hash) if made else Head()


def faults(made: list[Row], head: Head) -> list[str]:
    walk = Walk({"the head": head})
    for row in made:
        walk.step(row)
    return walk.end()


@given(st.lists(rows, max_size=8))
def test_what_was_written_is_in_order(given: list[Row]) -> None:
    made = chain(given)
    assert faults(made, head_of(made)) == []


@given(st.lists(rows, min_size=1, max_size=8), st.data())
def test_an_edited_row_is_found(given: list[Row], data: st.DataObject) -> None:
    made = chain(given)
    number = data.draw(st.integers(0, len(made) - 1))
    field = data.draw(st.sampled_from(["kind", "mac", "severity", "actor", "account", "details", "at"]))
    value = data.draw(st.floats(allow_nan=False)) if field == "at" else data.draw(text)
    edited = replace(made[number], **{field: value})
    assume(repr(getattr(edited, field)) != repr(getattr(made[number], field)))
    assert faults([*made[:number], edited, *made[number + 1 :]], head_of(made))


@given(st.lists(rows, min_size=2, max_size=8), st.data())
def test_a_removed_reordered_or_repeated_row_is_found(given: list[Row], data: st.DataObject) -> None:
    made = chain(given)
    first, second = sorted(data.draw(st.lists(st.integers(0, len(made) - 1), min_size=2, max_size=2, unique=True)))
    swapped = [*made]
    swapped[first], swapped[second] = made[second], made[first]
    renumbered = [replace(row, seq=number) for number, row in enumerate(swapped, 1)]
    for wrong in (made[:first] + made[first + 1 :], swapped, renumbered, [*made, made[first]], made[:second]):
        assert faults(wrong, head_of(made))


@given(st.lists(rows, min_size=2, max_size=8), st.data())
def test_a_chain_written_anew_is_found_by_what_is_kept_elsewhere(given: list[Row], data: st.DataObject) -> None:
    made = chain(given)
    number = data.draw(st.integers(0, len(made) - 1))
    anew = chain([*given[:number], replace(given[number], actor=given[number].actor + "x"), *given[number + 1 :]])
    assert faults(anew, head_of(anew)) == []
    assert faults(anew, head_of(made))
    assert faults(anew, head_of(made[: number + 1]))


def test_what_is_wrong_is_said_in_words() -> None:
    made = chain([Row(0, float(number), "k", "", "info", "ann", "", "{}") for number in range(6)])
    assert faults(made[:1] + made[3:], head_of(made)) == ["rows 2 to 3 are missing"]
    assert faults(made[:4], head_of(made)) == ["rows 5 to 6 are missing at the end: the head knows 6"]
    edited = [*made[:2], replace(made[2], actor="eve"), *made[3:]]
    assert faults(edited, head_of(made)) == ["row 3 (k) is not what was written, or not in its place"]


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e22, 1732233600.123456, -0.0])
def test_a_time_reads_back_as_it_was_hashed(value: float) -> None:
    row = Row(1, value, "k", "", "info", "ann", "", "{}")
    assert link("x", row) == link("x", replace(row, at=float(repr(value))))


def test_fields_cannot_flow_into_each_other() -> None:
    one, other = Row(1, 0.0, "ab", "c", "", "", "", ""), Row(1, 0.0, "a", "bc", "", "", "", "")
    assert link("x", one) != link("x", other)


def test_a_seal_needs_its_key_and_its_head() -> None:
    head = Head(5, "ab")
    whole = replace(head, seal=sealed(b"k" * 32, head))
    assert is_sealed([b"n" * 32, b"k" * 32], whole)
    assert not is_sealed([b"n" * 32], whole)
    assert not is_sealed([b"k" * 32], replace(whole, seq=4))
    assert not is_sealed([b"k" * 32], replace(whole, hash="ac"))
    assert not is_sealed([b"k" * 32], head)


def test_a_change_tells_what_differs() -> None:
    assert changed({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == {
        "b_before": "2", "b": "3", "c_before": "", "c": "4",
    }  # fmt: skip
