"""Use-cases of the administrator: a code is mailed again, codes are printed, and what became of the mails.

Reading digits for a sheet is an event for each code, written before they are told: all of them, or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from provisioner.activation.codes import Codes
from provisioner.codes import ActivationCode, CodeEvent, CodeState, another, grouped, require
from provisioner.desk import user_of
from provisioner.errors import Conflict, Invalid
from provisioner.mail.post import full_name, preferences
from provisioner.mail.text import local_time, quick_start
from provisioner.model import Mac
from provisioner.store import codes, outbox, people
from provisioner.store.database import Change
from provisioner.store.outbox import Message
from provisioner.welcome import Mailed

_MOST = 500
"""Cards of one sheet: 60 pages."""


@dataclass(frozen=True, slots=True)
class Card:
    """One person's code, to be printed."""

    name: str
    number: str
    account: str
    code: str = field(repr=False)
    """Grouped."""
    digits: str = field(repr=False)
    expires: float
    zone: str
    language: str
    only_for: str
    link: str

    def until(self) -> object:
        """As a clock at the place shows it."""
        return local_time(self.expires, self.zone)


class CodeLetters(Codes):
    """Codes on paper and by mail."""

    async def mail(self, extension: str, *, account: str = "") -> Mailed:
        """Send the code of an extension to its user, once more where it was sent before."""
        async with self._change() as change:
            found, one = await self._current(change, extension, account)
            if one.state is not CodeState.ISSUED:
                why = f"the code of extension {found.number} is {one.state} and is not mailed"
                raise Conflict(why, cure=another(one.state, found.number))
            return await self._welcome.again(change, found, one)

    async def cards(self, extensions: Sequence[str], *, account: str = "") -> list[Card]:
        """The codes of these extensions for a sheet; an error, and none is told, where one has none."""
        if len(extensions) > _MOST:
            raise Invalid("extension", f"a sheet has {_MOST} codes at most")
        asked = list(dict.fromkeys(extensions))
        async with self._change() as change:
            try:
                return [await self._card(change, one, account) for one in asked]
            except Conflict as error:
                raise Conflict(
                    f"no code was read: {error.cause}, or leave it out of the sheet", cure=error.cure
                ) from error

    async def mails(self, listed: Sequence[ActivationCode]) -> dict[str, Message]:
        """The newest mail about each of these codes, by the code's id."""
        async with self._store.reading() as connection:
            return await outbox.about(connection, [one.id for one in listed])

    # --- parts ------------------------------------------------------------------------------------------

    async def _card(self, change: Change, extension: str, account: str) -> Card:
        connection = change.connection
        found, one = await self._current(change, extension, account)
        require(one.state, CodeEvent.REVEAL, found.number)
        sealed = await codes.read_sealed(connection, one.id)
        told = {"activation": one.id, "extension": one.extension, "number": one.number, "cause": "sheet"}
        change.audit("code_revealed", mac=one.mac, severity="warning", **told)
        user = await user_of(connection, found.user, found.account)
        owner = next(row for row in await people.find_accounts(connection, found.account) if row.id == found.account)
        language, zone = await preferences(connection, self._store, found.account, one.site)
        digits = codes.opened(self._store.box, one.id, sealed)
        model = self._named(one.model, one.vendor)
        place = next((row.name for row in await people.find_sites(connection, one.site)), "") if one.site else ""
        ties = [full_name(self._drivers, model) if model else "", Mac(one.mac).colons if one.mac else "", place]
        link = quick_start(self._settings.mail_link, one.vendor, one.model, language)
        return Card(
            user.name, found.number, owner.name, grouped(digits), digits, one.expires, zone, language,
            ", ".join(word for word in ties if word), link,
        )  # fmt: skip
