"""The transaction layer at work: matches messages to transactions, sends what their tables say, forgets them in time.

Only who proved something has a server transaction; what strangers are told is computed anew each time (RFC 3261
§8.2.7) and costs no memory.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from ivr.sip.agenda import Agenda
from ivr.sip.config import CoreConfig
from ivr.sip.digest import authorize
from ivr.sip.effects import Effect, Flow, Login, Send
from ivr.sip.errors import SipError
from ivr.sip.headers import Headers
from ivr.sip.message import Request, Response
from ivr.sip.transaction import CLIENT, INVITE_SERVER, MAGIC, SERVER, Act, Cause, Key, Transaction, cause_of

Done = Callable[[int, float], None]
"""Told the final status of an errand (0: nobody answered) and the time."""

_BRANCH: Final = re.compile(rb";[ \t]{0,8}+(?i:branch)[ \t]{0,8}+=[ \t]{0,8}+(z9hG4bK[0-9a-f]{24})")
"""A branch of ours in a message that nobody has read."""
_BRANCHES: Final = 2
"""Branches looked at there."""
_CHALLENGES: Final = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}


class Asked(NamedTuple):
    """A request that waits for its answer, and where it came from."""

    request: Request
    flow: Flow
    key: Key


class Merge(NamedTuple):
    """What two copies of one request share that came on different ways (RFC 3261 §8.2.2.2)."""

    call_id: str
    tag: str
    cseq: int
    method: str

    @classmethod
    def of(cls, request: Request) -> Merge:
        """The same for every copy, whatever its branch."""
        return cls(request.call_id, request.from_.tag, request.cseq, request.method)


class Served(NamedTuple):
    """A server transaction, and the phone that proved what it began with."""

    transaction: Transaction
    merge: Merge
    mac: str


@dataclass(slots=True)
class Errand:
    """A request of ours until it has its final answer; each sending gives it a Via of its own."""

    request: Request
    flow: Flow
    done: Done
    login: Login | None = None
    proved: int = 0
    """Challenges answered so far."""


@dataclass(slots=True)
class _Sent:
    """A client transaction and what it is for."""

    transaction: Transaction
    errand: Errand
    response: Response | None = field(default=None, repr=False)


class Exchange:
    """All transactions, on all flows."""

    __slots__ = ("_agenda", "_clients", "_config", "_emit", "_entropy", "_merged", "_of_mac", "_on", "_servers")

    def __init__(self, config: CoreConfig, entropy: Callable[[int], bytes], emit: Callable[[Effect], None]) -> None:
        self._config = config
        self._entropy = entropy
        self._emit = emit
        self._servers: dict[Key, Served] = {}
        self._of_mac: Counter[str] = Counter()
        """Server transactions of each phone."""
        self._merged: dict[Merge, Key] = {}
        self._clients: dict[str, _Sent] = {}
        self._on: defaultdict[Flow, set[Key | str]] = defaultdict(set)
        """What ends with a connection; UDP has none."""
        self._agenda: Agenda[Key | str] = Agenda()

    def __len__(self) -> int:
        """Transactions held."""
        return len(self._servers) + len(self._clients)

    @property
    def serving(self) -> int:
        """Server transactions held."""
        return len(self._servers)

    @property
    def due(self) -> float | None:
        """When ``tick`` has something to do."""
        return self._agenda.next()

    # --- requests of others ---------------------------------------------------------------------------

    def repeat(self, request: Request, flow: Flow, now: float) -> None:
        """A transaction has had this request, or it is the ACK to it: its last answer goes out again, or no more."""
        self._happen(Key.of(request), Cause.ACK if request.method == "ACK" else Cause.REQUEST, now, flow)

    def served(self, key: Key) -> Served | None:
        """The server transaction with this key."""
        return self._servers.get(key)

    def is_merged(self, request: Request) -> bool:
        """Whether the same request has come on another way."""
        return not request.to.tag and Merge.of(request) in self._merged

    def is_ours(self, request: Request) -> bool:
        """Whether we sent this request ourselves: it has come round in a loop."""
        return any(via.branch in self._clients for via in request.vias)

    def named(self, data: bytes, flow: Flow) -> bool:
        """Whether unread bytes hold the branch of a request that we have sent to this host."""
        found = (self._clients.get(one[1].decode("ascii")) for one in islice(_BRANCH.finditer(data), _BRANCHES))
        return any(sent.errand.flow.shares_host(flow) for sent in found if sent is not None)

    def open(self, request: Request, flow: Flow, mac: str, now: float) -> Asked | None:
        """A transaction for the request, None when there is no room for it; to hang up there always is."""
        kept_free = self._config.calls if request.method == "BYE" else 0
        if len(self._servers) >= self._config.transactions + kept_free:
            return None
        if self._of_mac[mac] >= self._config.transactions_of_mac + kept_free:
            return None
        self._of_mac[mac] += 1
        key, merge = Key.of(request), Merge.of(request)
        kind = INVITE_SERVER if request.method == "INVITE" else SERVER
        self._servers[key] = Served(Transaction(kind, flow, now), merge, mac)
        self._merged.setdefault(merge, key)
        self._note(key, flow)
        return Asked(request, flow, key)

    def respond(self, asked: Asked, response: Response, now: float) -> None:
        """Answer; once the transaction is over nobody waits for it any more."""
        held = self._servers.get(asked.key)
        if held is not None:
            self._happen(asked.key, cause_of(response.status), now, data=response.encode())

    # --- requests of ours -----------------------------------------------------------------------------

    def ask(self, errand: Errand, now: float) -> bool:
        """Send a request and see to its retransmission; False when too many are under way."""
        if len(self._clients) >= self._config.errands:
            return False
        branch = MAGIC + self._entropy(12).hex()
        where = self._config.here(errand.flow)
        via = f"SIP/2.0/{errand.flow.transport.upper()} {where};rport;branch={branch}"
        asked = errand.request
        headers = Headers((("Via", via), *asked.headers.without("Via").items()))
        errand.request = Request(asked.method, asked.uri, headers, asked.body)
        data = errand.request.encode()
        self._clients[branch] = _Sent(Transaction(CLIENT, errand.flow, now, data), errand)
        self._note(branch, errand.flow)
        self._emit(Send(errand.flow, data))
        return True

    def answered(self, response: Response, flow: Flow, now: float) -> bool:
        """Whether a response is for us, from the host that was asked; one with a second Via went astray (§8.1.3.3)."""
        vias = response.vias
        sent = self._clients.get(vias[0].branch) if len(vias) == 1 else None
        if sent is None or response.cseq_method != sent.errand.request.method:
            return False
        if not sent.errand.flow.shares_host(flow):
            return False
        sent.response = response
        self._happen(vias[0].branch, cause_of(response.status), now)
        return True

    # --- time and connections -------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Let go off what is due."""
        while (key := self._agenda.pop(now)) is not None:
            transaction = self._transaction(key)
            if transaction is not None:
                self._perform(key, transaction, transaction.tick(now), now)

    def closed(self, flow: Flow, now: float) -> None:
        """The connection is gone, and with it what was said on it."""
        for key in sorted(self._on.pop(flow, ()), key=str):
            self._happen(key, Cause.BROKEN, now)

    # --- the table's steps ----------------------------------------------------------------------------

    def _transaction(self, key: Key | str) -> Transaction | None:
        if isinstance(key, Key):
            held = self._servers.get(key)
            return held.transaction if held else None
        sent = self._clients.get(key)
        return sent.transaction if sent else None

    def _happen(
        self, key: Key | str, cause: Cause, now: float, flow: Flow | None = None, data: bytes | None = None
    ) -> None:
        transaction = self._transaction(key)
        if transaction is None:
            return
        acts = transaction.happen(cause, now)
        if data is not None and Act.SEND in acts:
            transaction.last = data
        self._perform(key, transaction, acts, now, flow)

    def _perform(
        self, key: Key | str, transaction: Transaction, acts: tuple[Act, ...], now: float, flow: Flow | None = None
    ) -> None:
        if (Act.SEND in acts or Act.AGAIN in acts) and transaction.last:
            self._emit(Send(flow or transaction.flow, transaction.last))
        sent = None if isinstance(key, Key) else self._clients[key]
        if transaction.over:
            self._forget(key, transaction.flow)
        else:
            self._agenda.set(key, transaction.wake)
        if sent is not None and Act.GIVE_UP in acts:
            sent.errand.done(0, now)
        if sent is not None and Act.DELIVER in acts and sent.response is not None:
            self._deliver(sent.errand, sent.response, now)

    def _note(self, key: Key | str, flow: Flow) -> None:
        if flow.reliable:
            self._on[flow].add(key)
        transaction = self._transaction(key)
        if transaction is not None:
            self._agenda.set(key, transaction.wake)

    def _forget(self, key: Key | str, flow: Flow) -> None:
        self._agenda.set(key, None)
        if isinstance(key, Key):
            served = self._servers.pop(key)
            if self._merged.get(served.merge) == key:
                del self._merged[served.merge]
            self._of_mac[served.mac] -= 1
            if not self._of_mac[served.mac]:
                del self._of_mac[served.mac]
        else:
            del self._clients[key]
        if flow in self._on:
            self._on[flow].discard(key)
            if not self._on[flow]:
                del self._on[flow]

    # --- challenges -----------------------------------------------------------------------------------

    def _deliver(self, errand: Errand, response: Response, now: float) -> None:
        proof = self._proof(errand, response)
        if proof is None:
            errand.done(response.status, now)
            return
        asked, number = errand.request, errand.request.cseq + 1
        headers = asked.headers.without(proof[0]).without("CSeq").with_(("CSeq", f"{number} {asked.method}"), proof)
        errand.request = Request(asked.method, asked.uri, headers, asked.body)
        errand.proved += 1
        if not self.ask(errand, now):
            errand.done(response.status, now)

    def _proof(self, errand: Errand, response: Response) -> tuple[str, str] | None:
        """The header that answers the challenge. A second one is answered when it says that the nonce was too old."""
        names = _CHALLENGES.get(response.status)
        if names is None or errand.login is None or errand.proved > 1:
            return None
        for challenge in response.headers.all(names[0]):
            if errand.proved and "stale=true" not in challenge.replace(" ", "").lower():
                continue
            try:
                return (names[1], self._authorize(challenge, errand, errand.login))
            except SipError:
                continue  # an algorithm or a protection that we do not speak; another may stand beside it
        return None

    def _authorize(self, challenge: str, errand: Errand, login: Login) -> str:
        asked = errand.request
        return authorize(challenge, asked.method, asked.uri, login.user, login.secret, self._entropy(8).hex())
