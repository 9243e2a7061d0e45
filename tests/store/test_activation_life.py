"""The life of codes against a model: whatever is done in whatever order, the store does what the table says."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import pytest
from activation_office import DESK, Office
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from provisioner.activation_verdict import Outcome
from provisioner.codes import ACTIVE, TRANSITIONS, CodeEvent, CodeState
from provisioner.errors import Conflict, NotFound
from provisioner.model import Mac
from provisioner.store.database import Store, key_path
from provisioner.store.secretbox import SecretBox, create_key

WEEK = 604_800


class Life(RuleBasedStateMachine):
    """One extension and its codes, oldest first, as the table has them; the same in a real store."""

    template: ClassVar[Path]
    drivers: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.place = Path(tempfile.mkdtemp())
        self.expected: list[tuple[str, CodeState, float]] = []
        self.office = self.runner.run(self.opened())

    async def opened(self) -> Office:
        path = shutil.copy(self.template, self.place)
        create_key(key_path(self.place))
        store = Store(f"sqlite:///{path}", SecretBox.load(key_path(self.place)), self.place / "uploads")
        return await Office.opened(store, self.drivers, self.place, activation_tries_device=1000,
                                   activation_tries_source=1000, activation_tries_network=1000,
                                   activation_tries_account=1000, activation_tries_total=2000,
                                   activation_keep=3650)  # fmt: skip

    def teardown(self) -> None:
        self.runner.run(self.office.store.close())
        self.runner.close()
        shutil.rmtree(self.place)

    def state(self, number: int = -1) -> CodeState:
        _, state, expires = self.expected[number]
        return CodeState.EXPIRED if state in ACTIVE and expires <= self.office.clock() else state

    def become(self, number: int, event: CodeEvent) -> None:
        code, state, expires = self.expected[number]
        self.expected[number] = (code, TRANSITIONS[state][event], expires)

    def is_bound(self) -> bool:
        return bool(self.runner.run(self.office.fleet.bindings(DESK, active=True)))

    def asked(self, verb: str, **given: Any) -> Any:
        return self.runner.run(getattr(self.office.codes, verb)("1001", account="Acme", **given))

    @rule(tied=st.booleans())
    def issue(self, tied: bool) -> None:
        given: dict[str, Any] = {"mac": Mac("0004f2aabb99")} if tied else {}
        if self.is_bound() or (self.expected and self.state() in ACTIVE):
            with pytest.raises(Conflict):
                self.asked("issue", **given)
            return
        self.expected.append((self.asked("issue", **given).code, CodeState.ISSUED, self.office.clock() + WEEK))

    @rule()
    def reissue(self) -> None:
        allowed = self.expected and (
            self.state() is CodeState.EXPIRED or CodeEvent.REISSUE in TRANSITIONS[self.state()]
        )
        if self.is_bound() or not allowed:
            with pytest.raises((Conflict, NotFound)):
                self.asked("reissue")
            return
        if self.state() in ACTIVE:
            self.become(-1, CodeEvent.REISSUE)
        self.expected.append((self.asked("reissue").code, CodeState.ISSUED, self.office.clock() + WEEK))

    @rule(event=st.sampled_from([CodeEvent.REVEAL, CodeEvent.REVOKE]))
    def look_or_revoke(self, event: CodeEvent) -> None:
        if not self.expected or event not in TRANSITIONS[self.state()]:
            with pytest.raises((Conflict, NotFound)):
                self.asked(event.value)
            return
        answer = self.asked(event.value)
        if event is CodeEvent.REVEAL:
            assert answer.code == self.expected[-1][0]
        self.become(-1, event)

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def key_in(self, data: st.DataObject) -> None:
        """Any code that there ever was; tied ones are another phone's and are locked at the third time."""
        number = data.draw(st.integers(0, len(self.expected) - 1))
        before = self.state(number)
        heard = self.runner.run(self.office.key_in(self.expected[number][0])).outcome
        if before is not CodeState.ISSUED:
            again = before is CodeState.USED and self.is_bound()
            told = {CodeState.USED: Outcome.USED}.get(before, Outcome.EXPIRED)
            assert heard in ({told, Outcome.ACCEPTED} if again else {told})
            return
        if heard is Outcome.ACCEPTED:
            self.become(number, CodeEvent.REDEEM)
            return
        assert heard is Outcome.WRONG_DEVICE
        if self.misused(number) >= 3:
            self.become(number, CodeEvent.LOCK)

    def misused(self, number: int) -> int:
        listed = self.runner.run(self.office.codes.codes())
        return sorted(listed, key=lambda one: one.created)[number].misused

    @precondition(lambda self: self.is_bound())
    @rule()
    def unbind(self) -> None:
        self.runner.run(self.office.fleet.unbind(DESK, 1))

    @rule(days=st.sampled_from([0, 3, 7]))
    def time_passes(self, days: int) -> None:
        if days == 7:
            self.runner.run(self.office.codes.sweep())
        self.office.clock.now += days * 86_400
        if days == 3:
            self.runner.run(self.office.codes.sweep())

    @invariant()
    def the_store_agrees(self) -> None:
        self.office.clock.now += 1  # so that codes have an order
        listed = self.runner.run(self.office.codes.codes())
        found = [one.state for one in sorted(listed, key=lambda one: one.created)]
        assert found == [self.state(number) for number in range(len(self.expected))]
        assert sum(state in ACTIVE for state in found) <= 1


@pytest.mark.slow
def test_the_store_does_what_the_table_says(sqlite_template: Path, drivers: Any) -> None:
    Life.template, Life.drivers = sqlite_template, drivers
    few = settings(max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Life, settings=few)
