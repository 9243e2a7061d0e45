"""A mail server that nobody here wrote (aiosmtpd), on a free port of this machine, and what it was given."""

from __future__ import annotations

import asyncio
import contextlib
import email
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "provisioner", "only-for-tests"


@dataclass
class MailServer:
    """``answers``: what is said to a recipient, or at the end of a mail, instead of yes."""

    mails: list[EmailMessage] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    port: int = 0

    async def handle_MAIL(  # noqa: N802  # the package's name for it
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if "sender" in self.answers:
            return self.answers["sender"]
        self.sessions.append(session)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802  # the package's name for it
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  # its name
        if "silence" in self.answers:
            await asyncio.sleep(30)
        if "data" in self.answers:
            return self.answers["data"]
        assert isinstance(envelope.content, bytes)
        message = email.message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.mails.append(message)
        self.envelopes.append(envelope)
        return "250 taken"

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: Any) -> AuthResult:
        right = LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=given == right, handled=False)


def tls_of(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@contextlib.asynccontextmanager
async def serving(
    *, tls: ssl.SSLContext | None = None, implicit: bool = False, login: bool = False
) -> AsyncIterator[MailServer]:
    """In the test's own loop; where there is a certificate STARTTLS is demanded, or TLS from the first byte."""
    mailbox = MailServer()
    options: dict[str, Any] = {"hostname": "mail.example.net"}
    if tls and not implicit:
        options |= {"tls_context": tls, "require_starttls": True}
    if login:
        options |= {"authenticator": mailbox.authenticate, "auth_required": True, "auth_require_tls": tls is not None}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(mailbox, loop=loop, **options), "127.0.0.1", 0, ssl=tls if implicit else None
    )
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()
        await server.wait_closed()


@contextlib.contextmanager
def in_a_thread() -> Iterator[MailServer]:
    """For tests whose own loop belongs to the command or the server that they run."""
    started, ended, given = threading.Event(), threading.Event(), []

    async def run() -> None:
        async with serving() as mailbox:
            given.append(mailbox)
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert started.wait(10)
    try:
        yield given[0]
    finally:
        ended.set()
        thread.join(10)
