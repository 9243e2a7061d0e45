"""How many wrong codes are borne from whom: a rate an hour a budget, as numbers that survive a restart. Pure.

Each budget is a rate with a burst (as in ``gcra``): a wrong code moves its turn on by one interval, and who is an hour
ahead of the clock has to wait. Only wrong codes move it, so a right one costs nothing, nor does asking.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from provisioner.model import Mac

HOUR: Final = 3600.0
"""s"""
TOTAL: Final = "total"
"""The budget that all attempts share; its row is held first, so attempts take turns in the database."""
_ROUNDING: Final = 1e-6
_DOUBLINGS: Final = 16


@dataclass(frozen=True, slots=True)
class Limit:
    """Wrong codes an hour, and as many at once; then a lock that doubles from ``lock_first`` up to ``lock_most`` s."""

    tries: float
    lock_first: float = 0.0
    lock_most: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Of every kind of budget."""

    device: Limit
    source: Limit
    network: Limit
    account: Limit
    total: Limit
    unproven: Limit
    """Of all callers together whose device is not proven: they can never use up what the proven ones have."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a budget's row says; a row that is not there says this."""

    turn: float = 0.0
    locked_until: float = 0.0
    locks: int = 0
    told: float = 0.0
    """When it was last told that it is used up."""


class Budget(NamedTuple):
    """Whose tries are counted, under which key and to which limit."""

    kind: str
    key: str
    limit: Limit


def wait(standing: Standing, limit: Limit, now: float) -> float:
    """Seconds until another try is allowed; 0 when it is now. A clock that was put back makes nobody wait for ever."""
    locked = min(standing.locked_until, now + limit.lock_most) - now
    left = max(locked, _turn(standing, now) + HOUR / limit.tries - HOUR - now)
    return left if left > _ROUNDING else 0.0


def charged(standing: Standing, limit: Limit, now: float) -> Standing:
    """After one more wrong code; the one that uses the budget up begins a lock, each twice as long as the one before.

    A whole ``lock_most`` without trouble makes the next lock a first one again.
    """
    after = replace(standing, turn=_turn(standing, now) + HOUR / limit.tries)
    if not limit.lock_first or not wait(after, limit, now):
        return after
    calm = now - standing.locked_until > limit.lock_most
    locks = 0 if calm else standing.locks
    lock = min(limit.lock_first * 2 ** min(locks, _DOUBLINGS), limit.lock_most)
    return replace(after, locked_until=now + lock, locks=locks + 1)


def _turn(standing: Standing, now: float) -> float:
    return min(max(standing.turn, now), now + HOUR)


def source_key(address: str) -> str:
    """An IP address in one spelling; empty for what is none, such as the channel of a PBX."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def network_key(source: str) -> str:
    """The neighbourhood of an address: its /24, or its /64 where it is IPv6 (RFC 6177: no site gets less)."""
    if not source:
        return ""
    prefix = 64 if ":" in source else 24
    return str(ipaddress.ip_network((source, prefix), strict=False))


def budgets(limits: Limits, mac: Mac, address: str, account: str, *, proven: bool) -> tuple[Budget, ...]:
    """All that an attempt is counted against.

    Who only claims a device is counted apart from the device itself, so nobody can lock another's phone out by using
    its name or sharing its address. Nor does a claim begin a lock that doubles: whom it would keep out did not ask.
    """
    who = "proven" if proven else "claimed"
    device = limits.device if proven else Limit(limits.device.tries)
    source = source_key(address)
    found = [Budget(TOTAL, TOTAL, limits.total), Budget("device", f"device/{who}/{mac}", device)]
    if source:
        found.append(Budget("source", f"source/{who}/{source}", limits.source))
        found.append(Budget("network", f"network/{who}/{network_key(source)}", limits.network))
    if account:
        found.append(Budget("account", f"account/{who}/{account}", limits.account))
    if not proven:
        found.append(Budget("unproven", "unproven", limits.unproven))
    return tuple(found)
