"""Whatever is written, kept, taken back and looked at in whatever order: no event is passed over, and all are told."""

from __future__ import annotations

from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from provisioner.store.settled import Tide


class Journal(RuleBasedStateMachine):
    """Numbers are drawn in order and seen in any; transactions end as they like, between any two steps of a look."""

    def __init__(self) -> None:
        super().__init__()
        self.tide = Tide()
        self.drawn = self.names = 0
        self.open: dict[str, set[int]] = {}
        self.seen: set[int] = set()
        self.looks: list[tuple[int, int, frozenset[str] | None]] = []
        """When each began, the newest that it saw, and who wrote then: two tails look at a time."""

    @rule()
    def begins(self) -> None:
        self.names += 1
        self.open[f"3/{self.names}"] = set()

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def draws(self, data: st.DataObject) -> None:
        self.drawn += 1
        self.open[data.draw(st.sampled_from(sorted(self.open)))].add(self.drawn)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), keeps=st.booleans())
    def ends(self, data: st.DataObject, keeps: bool) -> None:
        numbers = self.open.pop(data.draw(st.sampled_from(sorted(self.open))))
        assert not numbers or min(numbers) > self.tide.reached, "it was passed over"
        self.seen |= numbers if keeps else set()

    @precondition(lambda self: len(self.looks) < 2)
    @rule()
    def looks_at_the_newest(self) -> None:
        self.looks.append((self.tide.looks, max(self.seen, default=0), None))

    @precondition(lambda self: any(one[2] is None for one in self.looks))
    @rule()
    def looks_who_writes(self) -> None:
        place = next(place for place, one in enumerate(self.looks) if one[2] is None)
        writers = frozenset(name for name, numbers in self.open.items() if numbers)
        self.looks[place] = (*self.looks[place][:2], writers)

    @precondition(lambda self: any(one[2] is not None for one in self.looks))
    @rule(data=st.data())
    def takes_in(self, data: st.DataObject) -> None:
        ready = [place for place, one in enumerate(self.looks) if one[2] is not None]
        began, newest, writers = self.looks.pop(data.draw(st.sampled_from(ready)))
        assert writers is not None
        self.tide.rise(began, newest, writers, 0.0)

    def teardown(self) -> None:
        """When all have ended, all is told."""
        newest = max(self.seen | {n for numbers in self.open.values() for n in numbers}, default=0)
        self.tide.rise(self.tide.looks, newest, frozenset(), 0.0)
        assert self.tide.reached == newest


TestJournal = Journal.TestCase
TestJournal.settings = settings(max_examples=examples(100), stateful_step_count=30, deadline=None)


def test_a_look_that_ends_late_takes_nothing_back() -> None:
    tide = Tide()
    tide.rise(0, 9, frozenset({"3/1"}), 0.0)
    began = tide.looks
    tide.rise(began, 12, frozenset({"3/2"}), 0.0)  # 3/2 has drawn 11, and 3/1 has ended
    tide.rise(began, 10, frozenset({"3/1"}), 0.0)
    assert tide.reached == 9, "3/2 is still to be seen"
