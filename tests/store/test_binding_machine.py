"""Whatever is bound, freed, swapped, wiped and fetched in whatever order: what must hold of lines and secrets holds.

An extension is on one phone; a phone that has lost it never knows its secret unless the PBX dictates it; what a phone
knew and has no more is emptied by name for as long as the line is free; a wait ends with a fetch and not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from effort import examples
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from provisioner.errors import Conflict, Invalid, NotFound
from provisioner.fleet.fleet import Fleet
from provisioner.fleet.rebind import Rebinding
from provisioner.fleet.swap import Swap
from provisioner.model import BootView, FetchRecord, Line, ListenerKind, Mac, Proof
from provisioner.settings import Settings
from provisioner.store import migrations
from provisioner.store.database import Store, key_path
from provisioner.store.records import Recorder
from provisioner.store.secretbox import SecretBox, create_key
from provisioner.store.views import Views
from provisioner.vendors import drivers

T = TypeVar("T")
DRIVERS = {one.manifest.name: one for one in drivers()}
PHONES = (Mac("0004f2aabb01"), Mac("0004f2aabb02"), Mac("001565aabb03"))
NUMBERS = ("1001", "1002", "1003")
DICTATED = "1003"
a_phone = st.sampled_from(PHONES)
a_line = st.integers(1, 3)
a_number = st.sampled_from(NUMBERS)

_TEMPLATE = Path(tempfile.mkdtemp(prefix="machine-"))


def template() -> Path:
    path = _TEMPLATE / "provisioner.db"
    if not path.exists():
        migrations.upgrade(f"sqlite:///{path}")
    return path


class Bindings(RuleBasedStateMachine):
    """A house of three phones, and beside it what each phone has in its memory."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.place = Path(tempfile.mkdtemp(prefix="bindings-"))
        self.memory: dict[Mac, dict[int, Line]] = {mac: {} for mac in PHONES}
        self.clock = 1000.0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def now(self) -> float:
        self.clock += 1.0
        return self.clock

    @initialize()
    def furnish(self) -> None:
        shutil.copy(template(), self.place)
        create_key(key_path(self.place))
        url = f"sqlite+aiosqlite:///{self.place}/provisioner.db"
        self.store = Store(url, SecretBox.load(key_path(self.place)), self.place / "uploads")
        self.fleet = Fleet(self.store, DRIVERS, actor="ann", clock=self.now)
        self.lines = Rebinding(self.store, DRIVERS, actor="ann", clock=self.now)
        self.swaps = Swap(self.store, DRIVERS, actor="ann", clock=self.now)
        self.recorder = Recorder(self.store, Settings(data=self.place), lambda *_: None, clock=self.now)
        self.views = Views(self.store)
        self.run(self._furnished())

    async def _furnished(self) -> None:
        await self.views.open()
        await self.fleet.add_account("Acme")
        await self.fleet.add_user("Ann", account="Acme")
        for number in NUMBERS:
            secret = "dictated-by-the-pbx" if number == DICTATED else ""
            await self.fleet.add_extension(number, account="Acme", user="Ann", secret=secret)
        for mac, (vendor, model) in zip(
            PHONES, (("poly", "VVX 411"), ("poly", "VVX 411"), ("yealink", "T46S")), strict=True
        ):
            await self.fleet.add_device(mac, vendor=vendor, model=model, account="Acme")

    def attempt(self, work: Coroutine[Any, Any, object]) -> None:
        """What is refused has changed nothing, which the invariants see."""
        with contextlib.suppress(Conflict, Invalid, NotFound):
            self.run(work)

    @rule(mac=a_phone, line=a_line, number=a_number, replace=st.booleans())
    def bind(self, mac: Mac, line: int, number: str, replace: bool) -> None:
        self.attempt(self.fleet.bind(mac, line, extension=number, replace=replace))

    @rule(mac=a_phone, line=a_line, number=a_number)
    def rebind(self, mac: Mac, line: int, number: str) -> None:
        self.attempt(self.lines.rebind(mac, line, extension=number, replace=True))

    @rule(pick=st.integers(0, 8))
    def unbind(self, pick: int) -> None:
        bound = [(mac, line.number) for mac in PHONES for line in self.view(mac).lines]
        if bound:
            self.run(self.fleet.unbind(*bound[pick % len(bound)]))

    @rule(old=a_phone, new=a_phone)
    def swap(self, old: Mac, new: Mac) -> None:
        async def work() -> None:
            await self.swaps.swap(old, new, plan=(await self.swaps.plan_swap(old, new)).token)

        self.attempt(work())

    @rule(mac=a_phone, unbind=st.booleans())
    def wipe(self, mac: Mac, unbind: bool) -> None:
        self.attempt(self.fleet.wipe_device(mac, unbind=unbind))

    @rule(mac=a_phone)
    def end_wipe(self, mac: Mac) -> None:
        self.attempt(self.fleet.end_wipe(mac))

    @rule(mac=a_phone, lost=st.booleans())
    def fetch(self, mac: Mac, lost: bool) -> None:
        """The phone keeps what its file does not speak of, as the worst of them do. It may be on no record."""
        view, kept = self.view(mac), self.memory[mac]
        for number in (*kept,) if view.wiped else view.emptied:
            kept.pop(number, None)
        kept |= {line.number: line for line in view.lines}
        if lost:
            return
        self.recorder.fetch(
            FetchRecord(
                mac, f"{mac}.cfg", self.now(), 200, 3, "0" * 64, Proof.CERTIFICATE, ListenerKind.DEVICE, "TLSv1.3", "",
                view.revision if view.served < view.changed else -1,
            )
        )  # fmt: skip
        self.run(self.recorder.flush())

    def view(self, mac: Mac) -> BootView:
        view = self.run(self.views.boot_view(mac))
        assert view is not None
        return view

    @precondition(lambda self: hasattr(self, "fleet"))
    @invariant()
    def one_phone_an_extension_and_a_secret_of_its_own(self) -> None:
        """Nobody else knows the secret of an extension that is on a phone, as far as it is ours to change."""
        bound = [(mac, line) for mac in PHONES for line in self.view(mac).lines]
        numbers = [line.extension for _, line in bound]
        assert len(numbers) == len(set(numbers))
        for mac, line in bound:
            others = [one.secret for other in PHONES if other != mac for one in self.memory[other].values()]
            assert line.extension == DICTATED or line.secret not in others, f"{line.extension} on {mac}"

    @precondition(lambda self: hasattr(self, "fleet"))
    @invariant()
    def what_a_phone_knows_and_has_no_more_is_waited_for(self) -> None:
        for mac in PHONES:
            view, wipe = self.view(mac), self.run(self.fleet.wipe(mac))
            bound = {line.number for line in view.lines}
            stale = set(self.memory[mac]) - bound
            assert not (stale and not wipe.pending), f"{mac} still has lines {stale}, and nobody waits for it"
            assert (view.wiped, view.emptied) == (wipe.everything, wipe.lines)
            assert not (view.wiped and bound) and not set(view.emptied) & bound
            assert view.wiped or stale <= set(view.emptied)

    def teardown(self) -> None:
        async def close() -> None:
            await self.views.close()
            await self.store.close()

        if hasattr(self, "store"):
            self.run(close())
        self.loop.close()
        shutil.rmtree(self.place, ignore_errors=True)


TestBindings = Bindings.TestCase
TestBindings.settings = settings(
    max_examples=examples(40), stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
