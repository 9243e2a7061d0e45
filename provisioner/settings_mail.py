"""Settings of what leaves this server by itself: mails, and the outbox that they wait in; part of Settings."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.knobs import knob
from provisioner.settings_pbx import PbxSettings


@dataclass(frozen=True, slots=True)
class MailSettings(PbxSettings):
    """``mail.*`` and ``outbox.*``; dataclasses with slots are stacked, not mixed."""

    mail_host: str = knob("", "host name", "the mail server that takes our mails; empty: nobody is written to")
    mail_port: int = knob(587, "port", "587 submission, 465 with mail.tls = tls, 25 a relay next door", 1, 65535)
    mail_tls: str = knob("starttls", "starttls | tls | none", "none is for a relay on this machine")
    mail_ca: str = knob("", "PEM file", "whose certificate the mail server has; empty: the system's CAs")
    mail_user: str = knob("", "name", "to log in with; empty: the mail server takes ours without")
    mail_password: str = knob("mail.secret", "file", "below DATA, holds that name's password in one line")
    mail_from: str = knob("", "Name <address>", "who writes; needed while mail.host is set")
    mail_reply_to: str = knob("", "Name <address>", "who reads the answers; empty: mail.from")
    mail_language: str = knob("en", "language", "en, de or one of templates/mail, where an account has none set")
    mail_link: str = knob(
        "", "URL", "quick-start pages for people, may hold {vendor}, {model}, {language}; empty: no link"
    )
    mail_on_issue: bool = knob(False, "true | false", "every activation code is mailed, without --mail")
    mail_timeout: float = knob(30.0, "s", "for one mail, from connecting to the last answer", 1, 300)
    mail_rate: float = knob(60.0, "mails/min", "no faster: mail servers slow down or refuse who sends more", 0.1, 6000)

    outbox_tries: int = knob(30, "attempts", "five days, with the waits between; then it is given up", 1, 100)
    outbox_retry_first: float = knob(30.0, "s", "after the first failed attempt; doubled after each", 1, 3600)
    outbox_retry_most: float = knob(21_600.0, "s", "the longest wait between two attempts", 1, 86_400)
    outbox_keep: int = knob(90, "days", "what was sent or dropped stays in the list", 1, 3650)
