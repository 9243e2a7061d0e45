"""Transactions as tables: everything that RFC 3261 §17 and RFC 6026 say of their states stands in this file.

A machine is its steps and the timers that run in each of its states. A timer that runs goes on as long as it belongs
to the state, a timer of the new state that does not run is started, all others stop. A timer that went off within
its own state is therefore started again, which is how retransmission comes about. What is not in a table is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from ivr.sip.effects import Flow
from ivr.sip.message import Request

T1: Final = 0.5
"""s, a round trip (RFC 3261 §17.1.1.1)."""
T2: Final = 4.0
"""s, the longest interval between retransmissions."""
T4: Final = 5.0
"""s for which the network may hold a message."""
LIFE: Final = 64 * T1
"""s after which the peer has surely given up."""
MAGIC: Final = "z9hG4bK"
"""How the branch of an RFC 3261 peer begins (§8.1.1.7)."""


class State(StrEnum):
    """The states of the RFC's figures 6 to 8 and of RFC 6026's figure 2."""

    TRYING = "trying"
    PROCEEDING = "proceeding"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


class Cause(StrEnum):
    """What happens to a transaction; the timers bear the RFC's letters."""

    REQUEST = "the request again"
    ACK = "ACK"
    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    FAILURE = "300-699"
    BROKEN = "connection lost"
    E = "timer E"
    F = "timer F"
    G = "timer G"
    H = "timer H"
    I = "timer I"  # noqa: E741  # the RFC's name
    J = "timer J"
    K = "timer K"
    L = "timer L"


class Act(StrEnum):
    """What a step makes the exchange do."""

    SEND = "send it"
    AGAIN = "send the last one again"
    DELIVER = "tell who asked"
    GIVE_UP = "tell that nobody answered"


class Step(NamedTuple):
    """Where a cause leads, and what is done on the way."""

    to: State
    acts: tuple[Act, ...] = ()


Steps = Mapping[tuple[State, Cause], Step]
Timers = Mapping[State, tuple[Cause, ...]]


@dataclass(frozen=True, slots=True)
class Machine:
    """One kind of transaction."""

    name: str
    start: State
    steps: Steps
    timers: Timers


def machine(name: str, start: State, timers: Timers, rows: Mapping[State, Mapping[Cause, Step]]) -> Machine:
    """From rows as they are read: for each state, what may happen in it."""
    steps = {(state, cause): step for state, row in rows.items() for cause, step in row.items()}
    return Machine(name, start, MappingProxyType(steps), MappingProxyType(dict(timers)))


_S, _C = State, Cause

INVITE_SERVER: Final = machine(
    "INVITE server",
    State.PROCEEDING,
    {_S.ACCEPTED: (_C.L,), _S.COMPLETED: (_C.G, _C.H), _S.CONFIRMED: (_C.I,)},
    {
        _S.PROCEEDING: {
            _C.REQUEST: Step(_S.PROCEEDING, (Act.AGAIN,)),
            _C.PROVISIONAL: Step(_S.PROCEEDING, (Act.SEND,)),
            _C.SUCCESS: Step(_S.ACCEPTED, (Act.SEND,)),
            _C.FAILURE: Step(_S.COMPLETED, (Act.SEND,)),
            _C.BROKEN: Step(_S.TERMINATED),
        },
        # RFC 6026 §7.1. Who repeats the INVITE has not got the 2xx: it goes out at once and does not wait for its turn.
        _S.ACCEPTED: {
            _C.REQUEST: Step(_S.ACCEPTED, (Act.AGAIN,)),
            _C.SUCCESS: Step(_S.ACCEPTED, (Act.SEND,)),
            _C.L: Step(_S.TERMINATED),
            _C.BROKEN: Step(_S.TERMINATED),
        },
        _S.COMPLETED: {
            _C.REQUEST: Step(_S.COMPLETED, (Act.AGAIN,)),
            _C.G: Step(_S.COMPLETED, (Act.AGAIN,)),
            _C.ACK: Step(_S.CONFIRMED),
            _C.H: Step(_S.TERMINATED),
            _C.BROKEN: Step(_S.TERMINATED),
        },
        _S.CONFIRMED: {_C.I: Step(_S.TERMINATED), _C.BROKEN: Step(_S.TERMINATED)},
    },
)

SERVER: Final = machine(
    "non-INVITE server",
    State.TRYING,
    {_S.COMPLETED: (_C.J,)},
    {
        _S.TRYING: {
            _C.PROVISIONAL: Step(_S.PROCEEDING, (Act.SEND,)),
            _C.SUCCESS: Step(_S.COMPLETED, (Act.SEND,)),
            _C.FAILURE: Step(_S.COMPLETED, (Act.SEND,)),
            _C.BROKEN: Step(_S.TERMINATED),
        },
        _S.PROCEEDING: {
            _C.REQUEST: Step(_S.PROCEEDING, (Act.AGAIN,)),
            _C.PROVISIONAL: Step(_S.PROCEEDING, (Act.SEND,)),
            _C.SUCCESS: Step(_S.COMPLETED, (Act.SEND,)),
            _C.FAILURE: Step(_S.COMPLETED, (Act.SEND,)),
            _C.BROKEN: Step(_S.TERMINATED),
        },
        _S.COMPLETED: {
            _C.REQUEST: Step(_S.COMPLETED, (Act.AGAIN,)),
            _C.J: Step(_S.TERMINATED),
            _C.BROKEN: Step(_S.TERMINATED),
        },
    },
)

CLIENT: Final = machine(
    "non-INVITE client",
    State.TRYING,
    {_S.TRYING: (_C.E, _C.F), _S.PROCEEDING: (_C.E, _C.F), _S.COMPLETED: (_C.K,)},
    {
        _S.TRYING: {
            _C.E: Step(_S.TRYING, (Act.AGAIN,)),
            _C.F: Step(_S.TERMINATED, (Act.GIVE_UP,)),
            _C.PROVISIONAL: Step(_S.PROCEEDING),
            _C.SUCCESS: Step(_S.COMPLETED, (Act.DELIVER,)),
            _C.FAILURE: Step(_S.COMPLETED, (Act.DELIVER,)),
            _C.BROKEN: Step(_S.TERMINATED, (Act.GIVE_UP,)),
        },
        _S.PROCEEDING: {
            _C.E: Step(_S.PROCEEDING, (Act.AGAIN,)),
            _C.F: Step(_S.TERMINATED, (Act.GIVE_UP,)),
            _C.SUCCESS: Step(_S.COMPLETED, (Act.DELIVER,)),
            _C.FAILURE: Step(_S.COMPLETED, (Act.DELIVER,)),
            _C.BROKEN: Step(_S.TERMINATED, (Act.GIVE_UP,)),
        },
        _S.COMPLETED: {_C.K: Step(_S.TERMINATED), _C.BROKEN: Step(_S.TERMINATED)},
    },
)

MACHINES: Final = (INVITE_SERVER, SERVER, CLIENT)

_ONLY_UNRELIABLE: Final = frozenset({Cause.E, Cause.G})
_ABSORBING: Final = frozenset({Cause.I, Cause.J, Cause.K})
"""They wait for what a network may still hold: nothing on a connection (§17.1.2.2, §17.2.1, §17.2.2)."""


def interval(timer: Cause, state: State, reliable: bool, gone_off: int) -> float | None:
    """Seconds until ``timer`` goes off when it is started in ``state`` for the nth time; None: it does not run."""
    if timer in _ONLY_UNRELIABLE:
        if reliable:
            return None
        patient = timer is Cause.E and state is State.PROCEEDING  # §17.1.2.2: T2 at once after a 1xx
        return T2 if patient else min(T1 * 2 ** min(gone_off, 8), T2)
    if timer in _ABSORBING:
        return 0.0 if reliable else LIFE if timer is Cause.J else T4
    return LIFE


def cause_of(status: int) -> Cause:
    """What a response with this status is to a transaction."""
    if status < 200:
        return Cause.PROVISIONAL
    return Cause.SUCCESS if status < 300 else Cause.FAILURE


class Key(NamedTuple):
    """What a request shares with its retransmissions and its CANCEL or ACK (§17.2.3)."""

    branch: str
    sent_by: str
    method: str

    @classmethod
    def of(cls, request: Request, method: str = "") -> Key:
        """``method``: of the request that a CANCEL is about. An ACK always is about an INVITE."""
        via = request.vias[0]
        asked = method or ("INVITE" if request.method == "ACK" else request.method)
        sent_by = f"{via.host}:{via.port}".lower()
        if via.branch.startswith(MAGIC) and len(via.branch) > len(MAGIC):
            return cls(via.branch, sent_by, asked)
        # RFC 2543 peers: the whole Via, and what §17.2.3 adds to it. The To tag is left out, as an ACK has ours.
        return cls(f"{via}|{request.uri}|{request.call_id}|{request.from_.tag}|{request.cseq}", sent_by, asked)


class Transaction:
    """One machine at work: its state, its timers and the last message that it sent."""

    __slots__ = ("_gone_off", "_machine", "_timers", "flow", "last", "state")

    def __init__(self, kind: Machine, flow: Flow, now: float, last: bytes = b"") -> None:
        self._machine = kind
        self._timers: dict[Cause, float] = {}
        self._gone_off: dict[Cause, int] = {}
        self.flow = flow
        self.last = last
        self.state = kind.start
        self._run(now)

    @property
    def over(self) -> bool:
        """Whether it may be forgotten."""
        return self.state is State.TERMINATED

    @property
    def wake(self) -> float | None:
        """When its next timer goes off."""
        return min(self._timers.values(), default=None)

    def happen(self, cause: Cause, now: float) -> tuple[Act, ...]:
        """Take the step for ``cause``, if there is one, and say what is to be done."""
        step = self._machine.steps.get((self.state, cause))
        if step is None:
            return ()
        self.state = step.to
        self._run(now)
        return step.acts

    def tick(self, now: float) -> tuple[Act, ...]:
        """Let the first timer whose time has come go off."""
        due = min(self._timers, key=self._timers.__getitem__, default=None)
        if due is None or self._timers[due] > now:
            return ()
        del self._timers[due]
        self._gone_off[due] = self._gone_off.get(due, 0) + 1
        return self.happen(due, now)

    def _run(self, now: float) -> None:
        wanted = self._machine.timers.get(self.state, ())
        for timer in self._timers.keys() - set(wanted):
            del self._timers[timer]
        for timer in wanted:
            if timer not in self._timers:
                after = interval(timer, self.state, self.flow.reliable, self._gone_off.get(timer, 0))
                if after is not None:
                    self._timers[timer] = now + after
