"""Mails to the people that a site names: phones from which help would be sent nowhere, and addresses that changed.

What waits is noted at the site by the change itself, once however often it happens; a minute later it is one mail each,
which says how things are when it leaves. While mail is off nothing is queued.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from provisioner.emergency import CHANGED
from provisioner.errors import NotWanted
from provisioner.mail.post import preferences
from provisioner.mail.text import Letter, Texts, Writer
from provisioner.mail_address import Mailbox
from provisioner.outbox import Channel, Told
from provisioner.settings import Settings
from provisioner.store import notices, outbox, people
from provisioner.store.database import Change, Store
from provisioner.store.outbox import Draft, Message

if TYPE_CHECKING:
    from provisioner.mail.relay import Relay

EMERGENCY: Final = "mail.emergency"
_SETTLE: Final = 60.0
"""s from the first that is noted: an import of a thousand phones is one mail."""
_SITES: Final = 20
"""Sites that a turn writes to."""
_USEFUL: Final = 2 * 86_400.0
"""s after which such a mail is not sent any more."""
_LISTED: Final = 50
"""Lines that a mail names."""
_MINUTE: Final = 60.0
_SERVER: Final = "server"


class Notices:
    """Queues these mails, makes them and hands them to the mail server."""

    def __init__(self, store: Store, settings: Settings, relay: Relay, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._settings = settings
        self._relay = relay
        self._clock = clock
        self._texts = Texts(settings.data / "templates")

    def channels(self) -> dict[str, Channel]:
        """For the outbox."""
        return {EMERGENCY: Channel(self.emergency, self._settings.mail_timeout, _MINUTE / self._settings.mail_rate)}

    async def turn(self) -> int:
        """Queue what has waited for a minute; how many mails."""
        now = self._clock()
        async with self._store.reading() as connection:
            sites = await notices.waiting(connection, now - _SETTLE, _SITES)
        if not sites:
            return 0
        async with self._store.changing(_SERVER, now) as change:
            return sum([await self._queue(change, site) for site in sites])

    async def _queue(self, change: Change, ident: str) -> int:
        """What still waits to be sent of the same site is sent by these."""
        found = await notices.find_site(change.connection, ident)
        what = await notices.take(change.connection, ident)
        if found is None or not what:
            return 0
        await outbox.drop_about(change.connection, ident, change.at, "it is told anew")
        for to in found.notify:
            payload = {"site": ident, "to": to, "what": what}
            until, title = change.at + _USEFUL, f"emergency address of site {found.name}"
            draft = Draft(EMERGENCY, found.account, f"site/{ident}/{to}", payload, until, ident, title)
            number = await outbox.put(change, self._store.box, draft)
            told = {"site": ident, "account": found.account}
            change.audit("message_queued", what=EMERGENCY, message=str(number), **told)
        return len(found.notify)

    async def emergency(self, message: Message, payload: Mapping[str, str]) -> Told:
        """How things are at the site now."""
        changed, to = payload["what"] == CHANGED, payload["to"]
        async with self._store.reading() as connection:
            site = await notices.find_site(connection, payload["site"])
            if site is None or to not in site.notify:
                raise NotWanted("the site is gone, or names somebody else")
            lines, count = await notices.unlocated(connection, site.id, _LISTED)
            if not lines and not changed:
                raise NotWanted("all phones of the site have an address by now")
            account = next(one for one in await people.find_accounts(connection, site.account))
            language, _ = await preferences(connection, self._store, site.account, site.id)
        values = {
            "site": site.name, "account": account.name, "address": str(site.address), "location": site.location,
            "changed": changed, "more": count - len(lines),
            "lines": [{"mac": one.mac.colons, "line": one.line, "number": one.number} for one in lines],
        }  # fmt: skip
        spoken = self._texts.spoken(language, self._settings.mail_language)
        ident = f"{message.id}.{message.created * 1000:.0f}"
        letter = Letter("emergency", spoken, Mailbox("", to), ident, self._clock(), values=values)
        writer = Writer(self._relay.sender, self._relay.reply_to)
        await self._relay.send(self._texts.message(letter, writer), to)
        return {"site": site.id, "account": site.account}
