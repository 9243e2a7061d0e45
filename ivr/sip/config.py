"""What one core goes by: who it is, whom it believes and how much of everything it holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ivr.sip.effects import Flow
from ivr.sip.limits import SCANNERS
from ivr.sip.message import LONGEST

_LONGEST: Final = 8 * 1024
"""A phone's INVITE has two to three thousand bytes, and what is held of a message is bounded by its length. A flood of
larger ones, whose senders may all be lies, then costs no more than its arrival."""


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """Seconds, and numbers of things; every table of the core has its bound here."""

    key: bytes = field(repr=False)
    """Signs nonces. Random at each start when the clock begins anew at each start, as monotonic ones do."""
    users: frozenset[str] = frozenset({"activate"})
    """Users that may be called; the first in the alphabet is who we are in what we send."""
    hosts: frozenset[str] = frozenset()
    """Names and addresses that are ours, in lower case, beside the one a message reached. None: any name will do."""
    address: str = ""
    """Our address as phones see it, when it is not the one that their messages reach (1:1 NAT)."""
    realm: str = "activation"
    algorithms: tuple[str, ...] = ("MD5",)
    """MD5 alone: phones of ten years ago refuse to register when SHA-256 is offered beside it."""
    nonce_life: float = 300.0
    trusted: frozenset[str] = frozenset()
    """Addresses of our own proxies: no message rate and no limit of calls per source."""
    scanners: tuple[str, ...] = SCANNERS

    rate: float = 20.0
    """Messages a second from an address that has proved nothing, on one registered flow, or of one phone."""
    burst: int = 60
    proved: int = 10
    """Times as much from an address that has proved to be one: an office of 500 phones begins to speak at once."""
    strangers: float = 500.0
    """Messages a second over UDP of all who have proved nothing: a tenth of a core, whatever they hold."""
    sources: int = 10_000
    """Sources, flows and phones whose rate is remembered."""
    calls: int = 100
    calls_of_source: int = 50
    """An office behind one address activates its phones together."""
    calls_of_mac: int = 2
    """A phone that lost its power in a call may call again before the first call is known to be dead."""
    retry_after: int = 60
    """Seconds told to a caller for whom there is no room."""
    patience: float = 32.0
    """Seconds the shell may take to answer a call; the transaction is worth nothing afterwards."""
    transactions: int = 10_000
    transactions_of_mac: int = 300
    """Keys told twice each by INFO for the half minute that a transaction is remembered."""
    errands: int = 1_000
    """Requests of our own that wait for an answer."""

    registrations: int = 10_000
    least_expires: int = 60
    expires: int = 300
    """Granted to phones that name no time."""
    most_expires: int = 3600
    reach: float = 30.0
    """Seconds after a call for which a phone that never registered can be notified."""

    def longest(self, host: str) -> int:
        """Bytes of a message from there that is read."""
        return LONGEST if host in self.trusted else _LONGEST

    @property
    def user(self) -> str:
        """Who we are in From and Contact."""
        return min(self.users)

    def here(self, flow: Flow) -> str:
        """Host and port under which the peer of this flow reaches us."""
        host = self.address or flow.local[0]
        return f"[{host}]:{flow.local[1]}" if ":" in host else f"{host}:{flow.local[1]}"

    def contact(self, flow: Flow, scheme: str = "sip") -> str:
        """Our Contact on this flow (RFC 3261 §8.1.1.8)."""
        transport = "" if flow.transport == "udp" else f";transport={flow.transport}"
        return f"<{scheme}:{self.user}@{self.here(flow)}{transport}>"

    def is_ours(self, host: str, flow: Flow) -> bool:
        """Whether a URI with this host is meant for us."""
        plain = host.strip("[]").lower()
        return not self.hosts or plain in self.hosts or plain in {self.address.lower(), flow.local[0].lower()}
