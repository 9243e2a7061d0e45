"""Who comes in, and what is said at the door; whoever has proved nothing costs no memory.

A stranger's answer is computed from his request alone, is not much larger than it, and is forgotten as it leaves
(RFC 3261 §8.2.7). Requests that are for nobody here meet silence.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from ivr.sip.budgets import Budgets
from ivr.sip.config import CoreConfig
from ivr.sip.digest import Answer, Challenger
from ivr.sip.effects import Credential, Effect, Flow, Login, Refused, Send, Stranger
from ivr.sip.errors import SipError
from ivr.sip.limits import Rates, is_scanner, source_of
from ivr.sip.message import Request, Response, reply
from ivr.sip.rules import Refusal

SecretOf = Callable[[str], Credential | None]
Pairs = tuple[tuple[str, str], ...]

_AMPLIFIES: Final = 1.5
"""An answer to a stranger over UDP may be so many times as long as what he sent: he may have lied about who he is."""
_EACH_ALGORITHM: Final = 0.5
"""More for each algorithm beside the first, which a challenge of its own has to offer; MD5 alone is the default."""
_SPARED: Final = ("Server", "Accept-Language", "Accept-Encoding", "Accept", "Allow")
"""Left out, one after the other, of a friendly answer that would be longer than that; of others only the first."""
_DENOUNCED: Final = 10.0
"""s between two denunciations of one source, in the long run: a log that anybody can fill is of no use."""
_AT_ONCE: Final = 5
"""Denunciations that may come together."""
_LOOKED_AT: Final = 8 * 1024
"""Bytes of an unread message that are looked at; no phone's are more."""
_AUTHORIZATIONS: Final = 3
"""Credentials looked at in one request; there are some for each proxy on the way."""
_NAMELESS: Final = frozenset({"REGISTER", "OPTIONS"})
"""They may be addressed to a host (§10.2, §11)."""


class Proven(NamedTuple):
    """A phone, and the name with which it proved its secret."""

    mac: str
    user: str


class Door:
    """One for all flows. ``emit`` takes what is to be sent and told; ``registered`` and ``told`` as in Budgets."""

    __slots__ = (
        "_amplifies",
        "_budgets",
        "_challenger",
        "_config",
        "_denounced",
        "_emit",
        "_secret_of",
        "_tag_key",
        "_told",
        "dropped",
    )

    def __init__(
        self,
        config: CoreConfig,
        secret_of: SecretOf,
        tag_key: bytes,
        emit: Callable[[Effect], None],
        *,
        registered: Callable[[Flow], bool],
        told: Callable[[bytes, Flow], bool],
    ) -> None:
        self._config = config
        self._secret_of = secret_of
        self._tag_key = tag_key
        self._emit = emit
        self._challenger = Challenger(config.key, config.realm, config.algorithms, config.nonce_life)
        self._amplifies = _AMPLIFIES + _EACH_ALGORITHM * (len(config.algorithms) - 1)
        self._told = told
        self._budgets = Budgets(config, registered, self._shows)
        self._denounced = Rates(1 / _DENOUNCED, _AT_ONCE, config.sources)
        self.dropped: Counter[Stranger] = Counter()

    def __len__(self) -> int:
        """Sources whose rate is remembered."""
        return len(self._budgets)

    # --- before anything is read ----------------------------------------------------------------------

    def admits(self, data: bytes, flow: Flow, now: float) -> bool:
        """Whether there is a budget for this message."""
        if self._trusts(flow) or self._budgets.admits(data, flow, now):
            return True
        self.dropped[Stranger.TOO_MANY] += 1
        return False

    def credits(self, flow: Flow, mac: str, now: float) -> bool:
        """The message counts for its phone and no longer for its source; False when the phone says too much."""
        if self._trusts(flow) or self._budgets.credit(mac, now):
            return True
        self.dropped[Stranger.TOO_MANY] += 1
        return False

    def _shows(self, data: bytes, flow: Flow, now: float) -> bool:
        """Whether unread bytes show something that was sent to their sender."""
        data = data[:_LOOKED_AT]
        return self._challenger.shown(data, now, self._source(flow)) or self._told(data, flow)

    # --- what kind of request it is -------------------------------------------------------------------

    def knows_as_scanner(self, request: Request) -> bool:
        """Whether a program that looks for SIP servers says its name."""
        if not is_scanner(request.headers.get("User-Agent"), self._config.scanners):
            return False
        self.dropped[Stranger.SCANNER] += 1
        return True

    def welcomes(self, request: Request, flow: Flow) -> bool:
        """Whether a request is for us. Others meet silence: no call leaves this machine, and nobody learns why."""
        try:
            target = request.target()
        except SipError as wrong:
            return wrong.status == 416  # for nobody at all: that may be said
        named = target.user in self._config.users or (not target.user and request.method in _NAMELESS)
        if named and self._config.is_ours(target.host, flow):
            return True
        self.dropped[Stranger.NOT_OURS] += 1
        return False

    # --- who it is ------------------------------------------------------------------------------------

    def proves(self, request: Request, flow: Flow, now: float) -> Proven | None:
        """Whose secret a request was made with: 401 without a right one, 403 for another phone's (§22.1).

        Unknown users and wrong secrets cannot be told apart: the same answer after the same work. None: this phone
        says too much.
        """
        answer = self._judge(request, flow, now)
        if answer.verdict != "ok":
            if answer.verdict == "wrong":
                self._denounce(flow, Stranger.WRONG_SECRET, "", now)
            challenges = self._challenger.challenge(now, self._source(flow), stale=answer.verdict == "stale")
            raise Refusal(401, "no right secret", *(("WWW-Authenticate", one) for one in challenges))
        credential = self._secret_of(answer.user)
        mac = credential.mac if credential else ""
        if not mac or any(_plain(user) != mac for user in _users(request)):
            self._denounce(flow, Stranger.OTHERS_SECRET, mac, now)
            raise SipError(403, "another phone's secret")
        return Proven(mac, answer.user) if self.credits(flow, mac, now) else None

    def login_of(self, user: str) -> Login | None:
        """With what we answer a phone that challenges us: the secret that it proved to know."""
        credential = self._secret_of(user)
        return Login(user, credential.secret) if credential else None

    def _judge(self, request: Request, flow: Flow, now: float) -> Answer:
        answer = Answer("", "missing")
        for one in request.headers.all("Authorization")[:_AUTHORIZATIONS]:
            answer = self._verify(one, request, self._source(flow), now)
            if answer.verdict != "missing":
                break
        return answer

    def _verify(self, authorization: str, request: Request, source: str, now: float) -> Answer:
        """Against the secret, then against older ones: what is not right uses nothing up and may be looked at again."""
        answer = self._challenger.verify(authorization, request.method, self._secret, now, source, request.body)
        if answer.verdict not in {"wrong", "missing"}:
            return answer
        credential = self._secret_of(answer.user)
        for one in credential.older if credential else ():
            older = partial(_always, one)
            again = self._challenger.verify(authorization, request.method, older, now, source, request.body)
            if again.verdict in {"ok", "stale"}:
                return again
        return answer

    def _secret(self, user: str) -> str | None:
        credential = self._secret_of(user)
        return credential.secret if credential else None

    def _denounce(self, flow: Flow, why: Stranger, mac: str, now: float) -> None:
        """Told now and then; never of our own proxies, behind which everybody is."""
        self.dropped[why] += 1
        if not self._trusts(flow) and self._denounced.take(source_of(flow.peer[0]), now):
            self._emit(Refused(flow, why, mac))

    def _source(self, flow: Flow) -> str:
        """To whom a nonce is sent; our own proxies are one, as a phone's requests may come through any of them."""
        return "" if self._trusts(flow) else flow.peer[0]

    def _trusts(self, flow: Flow) -> bool:
        return flow.peer[0] in self._config.trusted

    # --- what is said ---------------------------------------------------------------------------------

    def refuse(self, request: Request, flow: Flow, size: int, wrong: SipError) -> None:
        """Say what is wrong with a request, unless silence is the answer to it, as to every ACK (§17.1.1.3)."""
        if wrong.status:
            self.tell(request, flow, size, wrong.status, wrong.headers if isinstance(wrong, Refusal) else ())

    def tell(self, request: Request, flow: Flow, size: int, status: int, headers: Pairs = (), tag: str = "") -> None:
        """The same request gets the same answer, so its copies need not be known. ``size``: bytes of the request."""
        answer = reply(request, status, tag=tag or self.tag(request), headers=headers)
        data = answer.encode()
        if not flow.reliable and not self._trusts(flow):
            data = _no_longer_than(int(self._amplifies * size), answer, data)
        if data:
            self._emit(Send(flow, data))
        else:
            self.dropped[Stranger.AMPLIFIES] += 1

    def tag(self, request: Request) -> str:
        """Our tag in an answer to a request of which we keep nothing."""
        seed = f"{request.call_id} {request.from_.tag} {request.cseq}".encode("utf-8", "replace")
        return hmac.digest(self._tag_key, seed, "sha256").hex()[:16]


def _always(secret: str, _user: str) -> str:
    return secret


def _no_longer_than(most: int, answer: Response, data: bytes) -> bytes:
    headers = answer.headers
    for name in _SPARED if answer.status < 300 else _SPARED[:1]:
        if len(data) <= most:
            break
        headers = headers.without(name)
        data = Response(answer.status, answer.reason, headers).encode()
    return data if len(data) <= most else b""


def _users(request: Request) -> tuple[str, ...]:
    """Who a request says that it is from; a REGISTER also says for whom."""
    sender = request.from_.uri.user
    return (sender, request.to.uri.user) if request.method == "REGISTER" else (sender,)


def _plain(user: str) -> str:
    """A Mac as phones may spell it: capitals, colons (escaped in a URI) or hyphens."""
    return user.lower().replace("%3a", "").replace(":", "").replace("-", "")
