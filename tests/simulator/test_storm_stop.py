"""What the two signals do to a storm, and that they are left as they were found."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.simulator.storm_stop import Stop, listening

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def undisturbed() -> Iterator[None]:
    before = [signal.getsignal(one) for one in BOTH]
    yield
    assert [signal.getsignal(one) for one in BOTH] == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_of_a_storm_is_noted_and_the_second_ends_all(
    undisturbed: None, number: signal.Signals, code: int
) -> None:
    with listening() as stop:
        assert not stop()
        with pytest.raises(KeyboardInterrupt), stop.playing():
            signal.raise_signal(number)
            assert stop()
            signal.raise_signal(number)
    assert stop.exit_code == code


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_before_or_after_the_storm_ends_what_is_being_done(undisturbed: None, number: signal.Signals) -> None:
    with listening(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    with listening() as stop:
        with stop.playing():
            pass
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_who_is_told_to_ignore_ctrl_c_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with listening() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@given(st.lists(st.sampled_from(["begin", "end", *BOTH]), max_size=8))
def test_in_every_order_only_the_first_signal_of_a_storm_lets_it_go_on(events: list[str | signal.Signals]) -> None:
    stop, heard, on = Stop(), 0, False
    playing = stop.playing()
    for event in events:
        if event == "begin" and not on:
            playing = stop.playing()
            playing.__enter__()
            on = True
        elif event == "end" and on:
            playing.__exit__(None, None, None)
            on = False
        elif isinstance(event, signal.Signals):
            if on and not heard:
                stop.hear(event)
            else:
                with pytest.raises(KeyboardInterrupt):
                    stop.hear(event)
            heard = event
        assert stop() is bool(heard)
    assert stop.exit_code == 128 + (heard or signal.SIGINT)
