"""A simulated phone as a SIP user agent (RFC 3261): asks with retransmission and digest, answers what it is asked.

Small on purpose: one registration, one call at a time, and every wait has an end.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from provisioner.simulator.caller_message import Message, request, response, uri_of
from provisioner.simulator.caller_wire import Unreached, Wire
from provisioner.simulator.credentials import Credentials

T1: Final = 0.5
"""s to the first retransmission (section 17.1.1.1)."""
T2: Final = 4.0
"""s between retransmissions at most."""
_ALLOW: Final = "INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY"
_PROOFS: Final = {401: ("www-authenticate", "authorization"), 407: ("proxy-authenticate", "proxy-authorization")}
_TRIES: Final = 3
"""Bare, with the answer to a challenge, and once more where its nonce was too old."""
_REMEMBERED: Final = 64
"""Answers kept for requests that come again."""


@dataclass
class Dialog:
    """What its requests have in common; a registration's and a call's alike (section 12)."""

    target: str
    local: str
    remote: str
    call_id: str = field(default_factory=lambda: secrets.token_hex(12))
    routes: tuple[str, ...] = ()
    cseq: int = 0

    def begin(self, method: str) -> tuple[tuple[str, str], ...]:
        """The headers of its next request, the Via left out."""
        self.cseq += 1
        return self.headers(method)

    def headers(self, method: str) -> tuple[tuple[str, str], ...]:
        """Those of the request that is under way, for its ACK."""
        return (
            *(("route", one) for one in self.routes),
            ("max-forwards", "70"),
            ("from", self.local),
            ("to", self.remote),
            ("call-id", self.call_id),
            ("cseq", f"{self.cseq} {method}"),
        )

    def confirm(self, answer: Message) -> None:
        """A 2xx makes it a dialog: who it is with, and by which way (section 12.1.2)."""
        self.remote = answer.one("to") or self.remote
        self.routes = tuple(reversed(answer.entries("record-route")))
        if contact := next(iter(answer.entries("contact")), ""):
            self.target = uri_of(contact)


class Agent:
    """Requests go out by ``wire``; what comes in is handed to ``heard`` and ``lost``."""

    def __init__(self, user: str, credentials: Credentials, agent: str, patience: float = 64 * T1) -> None:
        self.wire: Wire | None = None
        self._user, self._credentials, self._agent, self._patience = user, credentials, agent, patience
        self._tag = secrets.token_hex(8)
        self._waiting: dict[tuple[str, str], asyncio.Queue[Message | None]] = {}
        self._answered: dict[tuple[str, str, int], Message] = {}
        self._acks: dict[str, Message] = {}
        self.handlers: dict[str, Callable[[Message], Message]] = {"OPTIONS": self._options}
        self.gone = ""
        """Why the server cannot be reached any more."""

    # --- what goes out ------------------------------------------------------------------------------------

    def dialog(self, target: str, remote: str, host: str) -> Dialog:
        """A new one, with this phone's user at that host as its From."""
        return Dialog(target, f"<sip:{self._user}@{host}>;tag={secrets.token_hex(8)}", f"<{remote}>")

    @property
    def local_host(self) -> str:
        """The address that the server sees this phone at, where no router lies between."""
        return self._wired().local[0]

    @property
    def contact(self) -> str:
        """Where this phone is reached."""
        wire = self._wired()
        host, port = wire.local
        shown = f"[{host}]" if ":" in host else host
        suffix = "" if wire.transport == "udp" else f";transport={wire.transport}"
        return f"<sip:{self._user}@{shown}:{port}{suffix}>"

    async def ask(
        self, dialog: Dialog, method: str, headers: Mapping[str, str] = MappingProxyType({}), body: bytes = b""
    ) -> Message:
        """The final answer to a request, proved by digest where that is asked for; Unreached when none comes."""
        proof: tuple[tuple[str, str], ...] = ()
        for _ in range(_TRIES):
            own = (*dialog.begin(method), ("contact", self.contact), *headers.items(), *proof)
            asked = self._signed(method, dialog.target, own, body)
            answer = await self._exchange(asked)
            if method == "INVITE":
                self._acknowledge(dialog, asked, answer)
            challenge, header = _PROOFS.get(answer.status, ("", ""))
            challenges = answer.all(challenge)
            if not challenge or (proof and "stale=true" not in " ".join(challenges).lower()):
                break
            if not self._credentials.take(challenges):
                break
            proof = ((header, self._credentials.header(method, dialog.target)),)
        return answer

    def leave(self, dialog: Dialog) -> None:
        """Hang up without waiting for an answer: whoever plays the phone is about to end."""
        if self.wire is not None and not self.gone:
            self.wire.send(self._signed("BYE", dialog.target, (*dialog.begin("BYE"), ("contact", self.contact))))

    def _signed(self, method: str, uri: str, headers: tuple[tuple[str, str], ...], body: bytes = b"") -> Message:
        via = ("via", self._via(f"z9hG4bK{secrets.token_hex(10)}"))
        return request(method, uri, (via, *headers, ("user-agent", self._agent)), body)

    def _via(self, branch: str) -> str:
        wire = self._wired()
        host, port = wire.local
        shown = f"[{host}]" if ":" in host else host
        return f"SIP/2.0/{wire.transport.upper()} {shown}:{port};branch={branch};rport"

    def _wired(self) -> Wire:
        if self.wire is None:
            raise Unreached("there is no connection yet")
        return self.wire

    async def _exchange(self, asked: Message) -> Message:
        if self.gone:
            raise Unreached(self.gone)
        key = (asked.branch, asked.method)
        answers: asyncio.Queue[Message | None] = asyncio.Queue(_REMEMBERED)
        self._waiting[key] = answers
        try:
            async with asyncio.timeout(self._patience):
                answer = await self._final(asked, answers)
        except TimeoutError:
            raise Unreached(f"{asked.method} is not answered within {self._patience:g} s") from None
        finally:
            del self._waiting[key]
        if answer is None:
            raise Unreached(self.gone)
        return answer

    async def _final(self, asked: Message, answers: asyncio.Queue[Message | None]) -> Message | None:
        """Send until it is answered (sections 17.1.1.2 and 17.1.2.2); None when the server is gone."""
        wire = self._wired()
        pause: float | None = T1 if wire.transport == "udp" else None
        wire.send(asked)
        while True:
            try:
                answer = await asyncio.wait_for(answers.get(), pause)
            except TimeoutError:
                wire.send(asked)
                pause = min(2 * (pause or T1), T2)
                continue
            if answer is None or answer.status >= 200:
                return answer
            pause = None if asked.method == "INVITE" or pause is None else T2

    def _acknowledge(self, dialog: Dialog, asked: Message, answer: Message) -> None:
        """A 2xx by a request of the dialog, everything else within the transaction (sections 13.2.2.4, 17.1.1.3)."""
        if answer.status < 300:
            dialog.confirm(answer)
            ack = self._signed("ACK", dialog.target, dialog.headers("ACK"))
            self._acks[dialog.call_id] = ack
        else:
            told = {"to": answer.one("to") or asked.one("to"), "cseq": f"{asked.cseq[0]} ACK"}
            kept = ("via", "route", "max-forwards", "from", "to", "call-id", "cseq")
            headers = tuple((name, told.get(name, value)) for name, value in asked.headers if name in kept)
            ack = request("ACK", asked.first.split(" ")[1], headers)
        self._wired().send(ack)

    # --- what comes in ------------------------------------------------------------------------------------

    def heard(self, message: Message) -> None:
        """One message of the server's."""
        if not message.status:
            self._serve(message)
        elif waiting := self._waiting.get((message.branch, message.cseq[1])):
            if not waiting.full():
                waiting.put_nowait(message)
        elif message.cseq[1] == "INVITE" and 200 <= message.status < 300 and self.wire is not None:
            ack = self._acks.get(message.one("call-id"))
            if ack is not None:  # ours was lost
                self.wire.send(ack)

    def lost(self, why: str) -> None:
        """The server cannot be reached: nobody waits any longer."""
        self.gone = self.gone or why
        for waiting in self._waiting.values():
            if not waiting.full():
                waiting.put_nowait(None)

    def _serve(self, asked: Message) -> None:
        if asked.method == "ACK" or self.wire is None:
            return
        key = (asked.branch, asked.method, asked.cseq[0])
        if key not in self._answered:
            handler = self.handlers.get(asked.method)
            self._answered[key] = handler(asked) if handler else self._refusal(asked)
            if len(self._answered) > _REMEMBERED:
                del self._answered[next(iter(self._answered))]
        self.wire.send(self._answered[key])

    def answer(
        self, asked: Message, status: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Message:
        """A response of this phone's."""
        own = {"contact": self.contact, "user-agent": self._agent, **(headers or {})}
        return response(asked, status, self._tag, own.items(), body)

    def _options(self, asked: Message) -> Message:
        return self.answer(asked, "200 OK", {"allow": _ALLOW, "accept": "application/sdp"})

    def _refusal(self, asked: Message) -> Message:
        if asked.method in ("BYE", "CANCEL", "INFO", "UPDATE"):
            return self.answer(asked, "481 Call Does Not Exist")
        return self.answer(asked, "405 Method Not Allowed", {"allow": _ALLOW})
