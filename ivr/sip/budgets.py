"""Who may speak, decided before anything is read: a lie about a sender costs nobody who can be told from the liar.

1. A registered phone's flow has a budget of its own, and so has what comes on its connection.
2. A connection proves its peer's address. What comes on it shares a large budget with that address' other connections.
3. A datagram proves nothing. All that come as if from one address share a small budget, and all strangers' another.
4. When that is used up, a datagram still passes that shows what only a receiver at its address can know: a nonce, a tag
   or a branch that was sent there. Such datagrams have a large budget of their own.
A message that proves whose it is is then given back, and counts for its phone: an office of 500 phones behind one
address is not one source that asks too much. Where the phone has said too much it is not given back. Long messages
count as several, for they cost as much to read.
Each budget is a number, and there are no more than ``sources`` of a kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ivr.sip.config import CoreConfig
from ivr.sip.effects import Flow
from ivr.sip.limits import Rates, source_of

_ALL: Final = "strangers"
_ONE: Final = 1024
"""Bytes for which a message counts once. The worst that fit into 8 KiB take ten times as long as a phone's request."""


class Budgets:
    """``registered``: whether a phone is registered on this flow; ``told``: rule 4, asked of unread bytes."""

    __slots__ = ("_cost", "_flows", "_paid", "_phones", "_proved", "_registered", "_strangers", "_told", "_udp")

    def __init__(
        self,
        config: CoreConfig,
        registered: Callable[[Flow], bool],
        told: Callable[[bytes, Flow, float], bool],
    ) -> None:
        self._registered = registered
        self._told = told
        rate, burst, keys = config.rate, config.burst, config.sources
        self._flows = Rates(rate, burst, keys)
        self._phones = Rates(rate, burst, keys)
        self._udp = Rates(rate, burst, keys)
        self._proved = Rates(rate * config.proved, burst * config.proved, keys)
        self._strangers = Rates(config.strangers, max(1, int(config.strangers)), 1)
        self._paid: tuple[tuple[Rates, str], ...] = ()
        """What the message that was admitted last was charged to."""
        self._cost = 1

    def __len__(self) -> int:
        """Sources, flows and phones remembered."""
        return sum(len(one) for one in (self._flows, self._phones, self._udp, self._proved))

    def admits(self, data: bytes, flow: Flow, now: float) -> bool:
        """Whether a message may be read."""
        self._cost, self._paid = 1 + len(data) // _ONE, ()
        source = source_of(flow.peer[0])
        if self._registered(flow):
            granted = self._charge(now, (self._flows, f"{flow.key} {flow.peer}"))
        elif flow.reliable:
            return self._charge(now, (self._proved, f"stream {source}"))
        else:
            granted = self._charge(now, (self._udp, source), (self._strangers, _ALL))
        if granted or flow.reliable:
            return granted
        return self._told(data, flow, now) and self._charge(now, (self._proved, f"told {source}"))

    def credit(self, mac: str, now: float) -> bool:
        """The message that was admitted last is this phone's; False when the phone says too much. '': only proven.

        What a phone says too much stays its source's, or one that has proved itself would be read without limit.
        """
        if mac and not self._phones.take(mac, now, self._cost):
            return False
        for rates, key in self._paid:
            rates.give_back(key, self._cost)
        self._paid = ()
        return True

    def _charge(self, now: float, *budgets: tuple[Rates, str]) -> bool:
        """All of them or none."""
        for number, (rates, key) in enumerate(budgets):
            if not rates.take(key, now, self._cost):
                for earlier, paid in budgets[:number]:
                    earlier.give_back(paid, self._cost)
                return False
        self._paid = budgets
        return True
