"""The mail with a link to set a password: queued in the transaction that makes the link, made when it is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from provisioner.admin_address import bound_url
from provisioner.errors import NotWanted
from provisioner.mail.text import Letter, Texts, Writer, local_time
from provisioner.mail_address import Mailbox
from provisioner.model import ListenerKind
from provisioner.outbox import Channel, Told
from provisioner.run_directory import read_addresses
from provisioner.settings import Settings
from provisioner.store import administrators, outbox, sign_in
from provisioner.store.administrators import Administrator
from provisioner.store.database import Change, Store
from provisioner.store.outbox import Draft, Message
from provisioner.store.secretbox import SecretBox

if TYPE_CHECKING:
    from provisioner.mail.relay import Relay

RESET: Final = "mail.reset"
_MINUTE: Final = 60.0


def console_url(settings: Settings) -> str:
    """Where administrators reach the console, with a trailing slash: as it is set, else where it is bound now.

    A server that runs may have been given another port than the file has; while none runs it is the file's.
    """
    if settings.login_url:
        return settings.login_url.rstrip("/") + "/"
    return bound_url(settings, read_addresses(settings.data).get(ListenerKind.ADMIN))


def link_url(settings: Settings, token: str) -> str:
    """The page that a one-time link opens."""
    return f"{console_url(settings)}login/link?token={token}"


async def queue_reset(change: Change, box: SecretBox, who: Administrator, token: str, until: float) -> int:
    """Queue it; links of one administrator leave in their order, and the ones before are of no use any more."""
    await outbox.drop_about(change.connection, who.id, change.at, "another link was asked for")
    payload = {"administrator": who.id, "token": token}
    draft = Draft(RESET, "", f"administrator/{who.id}", payload, until, who.id, f"password link for {who.email}")
    return await outbox.put(change, box, draft)


class ResetPost:
    """Makes these mails and hands them to the mail server."""

    def __init__(self, store: Store, settings: Settings, relay: Relay, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._settings = settings
        self._relay = relay
        self._clock = clock
        self._texts = Texts(settings.data / "templates")

    def channels(self) -> dict[str, Channel]:
        """For the outbox."""
        return {RESET: Channel(self.reset, self._settings.mail_timeout, _MINUTE / self._settings.mail_rate)}

    async def reset(self, message: Message, payload: Mapping[str, str]) -> Told:
        """A link to set a password, unless it was used or replaced meanwhile."""
        now = self._clock()
        async with self._store.reading() as connection:
            ident = await sign_in.find_link(connection, payload["token"], now)
            found = await administrators.find_administrator(connection, ident) if ident else None
        if found is None or found.id != payload["administrator"]:
            raise NotWanted("the link was used, replaced or is too old")
        link = link_url(self._settings, payload["token"])
        values = {"login": found.email, "name": found.name or found.email, "link": link,
                  "until": local_time(message.until, "UTC"), "zone": "UTC"}  # fmt: skip
        language = self._texts.spoken(self._settings.mail_language)
        ident = f"{message.id}.{message.created * 1000:.0f}"
        letter = Letter("reset", language, Mailbox(found.name, found.email), ident, now, values=values)
        writer = Writer(self._relay.sender, self._relay.reply_to)
        await self._relay.send(self._texts.message(letter, writer), found.email)
        return {"administrator": found.id}
