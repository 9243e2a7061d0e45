"""What a person is told about their phone by mail, queued in the transaction that makes it so.

Of a code only its id is queued: its digits stay in one place, so a code that is used, replaced or over by then is not
sent. Who was mailed a code is told when an administrator sets a phone aside for them instead.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.codes import ActivationCode, CodeState
from provisioner.deeds import Cure, Deed
from provisioner.desk import user_of
from provisioner.errors import Conflict, MailOff, NoAddress
from provisioner.licensing import CodeMails
from provisioner.mail_address import parse_address
from provisioner.model import Device
from provisioner.outbox_states import MessageState
from provisioner.settings import Settings
from provisioner.store import codes, devices, outbox, people
from provisioner.store.database import Change
from provisioner.store.outbox import Draft
from provisioner.store.policies import policy_of
from provisioner.store.rows import Binding, Extension, User
from provisioner.store.secretbox import SecretBox

CODE: Final = "mail.code"
READY: Final = "mail.ready"
SET_ASIDE: Final = "a phone was set aside instead"
"""Why a code is not mailed; it is after all when that phone is taken away again."""
_READY_FOR: Final = 7 * 86_400.0
"""s after which nobody needs to hear any more that a phone is ready."""


class Mailed(NamedTuple):
    """What became of the wish to mail: the message's number, or why there is none."""

    ident: int = 0
    to: str = ""
    why_not: str = ""


NOT_MAILED: Final = Mailed()


def subject_of(extension: str) -> str:
    """All mails about one extension leave in their order."""
    return f"extension/{extension}"


class Welcome:
    """Queues the mails of activation."""

    def __init__(self, box: SecretBox, settings: Settings) -> None:
        self._box = box
        self._host = settings.mail_host
        self._always = settings.mail_on_issue

    async def of_code(
        self, change: Change, found: Extension, one: ActivationCode, mail: bool | None, before: str = ""
    ) -> Mailed:
        """Mail a code that this change makes; ``mail``: yes, no, or as its account's policy says, else mail.on_issue.

        ``before`` is the id of the code that this one replaces: whoever was mailed that one gets this one, too, unless
        told otherwise. MailOff or NoAddress where it was asked for and cannot be.
        """
        if before:
            await outbox.drop_about(change.connection, before, change.at, "the code was replaced")
        wanted = await self._is_usual(change.connection, found.account, before) if mail is None else mail
        if not wanted:
            return NOT_MAILED
        try:
            user = await self._reader(change.connection, found)
        except Conflict as error:
            if mail:
                raise
            return Mailed(why_not=error.cause)
        return await self._queue(change, found, one, user)

    async def _is_usual(self, connection: AsyncConnection, account: str, before: str) -> bool:
        mails = (await policy_of(connection, account)).mails
        always = self._always if mails is CodeMails.HOUSE else mails is CodeMails.ALL
        return always or await _was_mailed(connection, before)

    async def again(self, change: Change, found: Extension, one: ActivationCode) -> Mailed:
        """Mail a code once more; what still waits to be sent of it is sent by this one."""
        user = await self._reader(change.connection, found)
        await outbox.drop_about(change.connection, one.id, change.at, "it was asked for again")
        return await self._queue(change, found, one, user)

    async def _reader(self, connection: AsyncConnection, found: Extension) -> User:
        if not self._host:
            raise MailOff("mail is off: set mail.host and mail.from in provisioner.toml, and start the server again")
        user = await user_of(connection, found.user, found.account)
        if not user.email:
            raise NoAddress(f"user {user.name!r} has no mail address", cure=Cure(Deed.SET_EMAIL, user.id))
        try:
            parse_address(user.email)
        except ValueError as error:
            raise NoAddress(f"the mail address of user {user.name!r} {error}") from error
        return user

    async def _queue(self, change: Change, found: Extension, one: ActivationCode, user: User) -> Mailed:
        return Mailed(await _queue_code(change, self._box, found, _Due(one.id, one.expires, one.mac)), user.email)


async def _was_mailed(connection: AsyncConnection, code: str) -> bool:
    return bool(code) and bool(await outbox.about(connection, [code]))


async def phone_bound(change: Change, box: SecretBox, found: Extension, device: Device) -> None:
    """An administrator has bound a device: who was mailed a code and has not used it hears that a phone is ready.

    That a code was mailed shows that mail is on; nobody else is written to. Nor are those whom that mail did not reach,
    and those whose phone it was before: a line that was given another label is no news.
    """
    last = await outbox.last_of(change.connection, subject_of(found.id))
    if last is None or last.kind != CODE or last.state is MessageState.DEAD:
        return
    if await codes.state_of(change.connection, last.about) in {None, CodeState.USED}:
        return
    news = not await _was_its_phone(change, found, device, last.created)
    if last.state is not MessageState.SENT and (news or last.created == change.at):
        await outbox.drop_about(change.connection, last.about, change.at, SET_ASIDE)
    if news:
        await _announce(change, box, found, device)


async def _was_its_phone(change: Change, found: Extension, device: Device, mailed: float) -> bool:
    """Whether this device had the extension when the code was mailed, or until a moment ago in this very change."""
    held = await devices.bindings_of(change.connection, device.mac, active=False)
    ended = [(one.since, one.until) for one in held if one.extension == found.id and one.until is not None]
    return any(until == change.at or since < mailed < until for since, until in ended)


async def _announce(change: Change, box: SecretBox, found: Extension, device: Device) -> None:
    payload = {"extension": found.id, "mac": device.mac}
    title = f"phone of extension {found.number} is ready"
    draft = Draft(READY, found.account, subject_of(found.id), payload, change.at + _READY_FOR, device.mac, title)
    ident = await outbox.put(change, box, draft)
    told = {"extension": found.id, "number": found.number, "user": found.user}
    change.audit("message_queued", mac=device.mac, what=READY, message=str(ident), **told)


async def phone_known(change: Change, box: SecretBox, device: Device) -> None:
    """A device was added that codes are tied to: who was mailed such a code is mailed it again, now with the phone.

    A mail that still waits is made when it leaves, and knows the phone by then.
    """
    tied = await codes.codes_for(change.connection, device.mac, device.account, change.at)
    mails = await outbox.about(change.connection, [one.id for one in tied])
    for one in tied:
        if one.id in mails and mails[one.id].state is MessageState.SENT:
            found = await _extension(change.connection, one.extension)
            await _queue_code(change, box, found, _Due(one.id, one.expires, one.mac))


async def _extension(connection: AsyncConnection, ident: str) -> Extension:
    return next(one for one in await people.find_extensions(connection, ident) if one.id == ident)


async def phone_taken_away(change: Change, box: SecretBox, bound: Binding) -> None:
    """The mail of a code that was dropped because a phone was set aside is queued again when that is taken away.

    The code can still be used, and its owner would never hear of it.
    """
    last = await outbox.newest(change.connection, subject_of(bound.extension), CODE)
    if last is None or last.state is not MessageState.DROPPED or last.last_error != SET_ASIDE:
        return
    if last.until <= change.at or await codes.state_of(change.connection, last.about) is not CodeState.ISSUED:
        return
    found = await _extension(change.connection, bound.extension)
    await _queue_code(change, box, found, _Due(last.about, last.until))


class _Due(NamedTuple):
    """A code whose digits are to be mailed."""

    code: str
    until: float
    mac: str = ""


async def _queue_code(change: Change, box: SecretBox, found: Extension, due: _Due) -> int:
    payload = {"code": due.code, "extension": found.id}
    title = f"code for extension {found.number}"
    draft = Draft(CODE, found.account, subject_of(found.id), payload, due.until, due.code, title)
    ident = await outbox.put(change, box, draft)
    told = {"activation": due.code, "extension": found.id, "number": found.number, "user": found.user}
    change.audit("message_queued", mac=due.mac, what=CODE, message=str(ident), **told)
    return ident
