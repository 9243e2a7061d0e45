"""The mail server that takes our mails: encrypted unless it is next door, one connection for what is sent together.

Whatever it answers becomes one of two things: come again (NotNow), or never (Undeliverable). Its words reach the log
without long numbers: a filter that quotes the mail must not write an activation code there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from email.message import EmailMessage
from typing import Final

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from provisioner.errors import NotNow, Undeliverable, Unusable
from provisioner.events import printable
from provisioner.mail_address import Mailbox, parse_mailbox
from provisioner.secret_files import secret_text
from provisioner.settings import Settings

_DIGITS: Final = re.compile(r"\d(?:\D{0,10}\d){6,}")
"""Seven digits or more, whatever a filter that quotes a mail has put between their groups: dashes, markup, a fold."""
_STATUS: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)")
"""RFC 3463: the answer's own number, no part of what it quotes."""
_LONGEST: Final = 160
_CLOSING: Final = 421
"""RFC 5321 section 3.8: the server shuts down, whoever asks."""
_PERMANENT: Final = 500
"""RFC 5321 section 4.2.1: from here on, no."""


class Relay:
    """One a process; ``rest`` says that nothing more is to be sent just now."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.sender = mailbox_of("mail.from", settings.mail_from)
        self.reply_to = mailbox_of("mail.reply_to", settings.mail_reply_to) if settings.mail_reply_to else None
        self._password = _password(settings)
        self._tls = _tls(settings)
        self._smtp: SMTP | None = None

    async def send(self, message: EmailMessage, to: str) -> None:
        """Hand it over; NotNow or Undeliverable says why it was not taken."""
        connected = False
        try:
            async with asyncio.timeout(self._settings.mail_timeout):
                smtp = self._smtp or await self._connect()
                connected = True
                # Its own bytes: send_message() would fold the head once more, and a name could lose its quotes.
                written = message.as_bytes(policy=message.policy.clone(linesep="\r\n", cte_type="7bit"))
                await smtp.sendmail(self.sender.address, [to], written)
        except TimeoutError:  # aiosmtplib's own time-outs are such, too
            self._drop()
            raise NotNow(f"{self._name}: no answer in {self._settings.mail_timeout:g} s", everybody=True) from None
        except (SMTPException, OSError) as error:
            self._drop()
            raise self._meant(error) if connected else self._closed(error) from None

    async def rest(self) -> None:
        """Take leave."""
        smtp, self._smtp = self._smtp, None
        if smtp is None:
            return
        try:
            async with asyncio.timeout(1.0):
                await smtp.quit()
        except (SMTPException, OSError, TimeoutError):  # it has what it was given
            smtp.close()

    @property
    def _name(self) -> str:
        return f"{self._settings.mail_host}:{self._settings.mail_port}"

    async def _connect(self) -> SMTP:
        chosen = self._settings
        user = chosen.mail_user or None
        self._smtp = smtp = SMTP(
            hostname=chosen.mail_host,
            port=chosen.mail_port,
            username=user,
            password=self._password if user else None,
            timeout=chosen.mail_timeout,
            use_tls=chosen.mail_tls == "tls",
            start_tls=chosen.mail_tls == "starttls",  # never "where offered": who stands between could not offer it
            tls_context=self._tls,
        )
        await smtp.connect()
        return smtp

    def _drop(self) -> None:
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            smtp.close()

    def _meant(self, error: SMTPException | OSError) -> NotNow | Undeliverable:
        """What came of a mail that was handed over."""
        if isinstance(error, SMTPRecipientsRefused):
            error = error.recipients[0]
        if not isinstance(error, SMTPResponseException) or isinstance(error, SMTPSenderRefused):
            return self._closed(error)
        told = f"{self._name} says {error.code} {_plain(error.message)}".rstrip()
        if error.code < _PERMANENT:
            return NotNow(told, everybody=error.code == _CLOSING)
        return Undeliverable(told)

    def _closed(self, error: SMTPException | OSError) -> NotNow:
        """It lets nobody in: every mail has to wait until somebody has mended that."""
        if isinstance(error, SMTPAuthenticationError):  # its words may quote what was sent
            return NotNow(f"{self._name} does not take mail.user and its password ({error.code})", everybody=True)
        if isinstance(error, SMTPResponseException):
            return NotNow(f"{self._name} says {error.code} {_plain(error.message)}".rstrip(), everybody=True)
        return NotNow(f"{self._name}: {_said(error)}", everybody=True)


def mailbox_of(setting: str, text: str) -> Mailbox:
    """The mailbox that a setting names; Unusable when it names none."""
    try:
        return parse_mailbox(text)
    except ValueError as error:
        raise Unusable(f"{setting} = {text!r}: {error}, or Name <address>") from error


def _said(error: SMTPException | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror)[:_LONGEST]  # the system's words: an address and a port, nothing of a mail
    return _plain(str(error) or type(error).__name__)


def _plain(text: str) -> str:
    """Printable, short, and without anything that could be a code."""
    words = " ".join(text.split())
    status = found[0] if (found := _STATUS.match(words)) else ""
    return printable(status + _DIGITS.sub("***", words[len(status) :]))[:_LONGEST]


def _password(settings: Settings) -> str:
    if not settings.mail_user:
        return ""
    if settings.mail_tls == "none" and not _is_here(settings.mail_host):
        raise Unusable(
            "mail.tls = none with mail.user: the password would cross the network in the clear; set starttls or tls"
        )
    return secret_text(settings.data / settings.mail_password, "mail.password")


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.mail_tls == "none":
        return None
    try:
        return ssl.create_default_context(cafile=str(settings.data / settings.mail_ca) if settings.mail_ca else None)
    except OSError as error:  # ssl.SSLError is one
        raise Unusable(f"mail.ca = {settings.mail_ca!r} cannot be used: {error}") from error
