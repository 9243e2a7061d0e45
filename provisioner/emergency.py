"""Where somebody is sent to when a phone calls for help: its user's own address, else that of its site.

A line that is nobody's way to be found is told, or refused, as its account's policy says. Whom the site names for it is
written to by the process that sends mails: here it is only noted that there is something to tell.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, Text, case, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.errors import Conflict
from provisioner.licensing import EmergencyRule
from provisioner.model import Mac
from provisioner.store import schema
from provisioner.store.database import Change
from provisioner.store.hook_queue import UNBOUND
from provisioner.store.rows import Binding

MISSING: Final = "missing"
CHANGED: Final = "changed"
"""It tells more, so it stands above the other."""
_WHOLE: Final = {UNBOUND: True}
"""Whoever may bind hears whether help would find the phone, also where they may not look at its site or its user."""
_D: Final = schema.device.c
_S: Final = schema.site.c
_U: Final = schema.user.c
_E: Final = schema.extension.c
_P: Final = schema.policy.c
_B: Final = schema.binding.c
_FEW: Final = 400
"""Macs in one question."""


class _Found(NamedTuple):
    """What is known of one line; addresses are whole or empty, so the street alone says whether there is one."""

    street: str
    """Of the user's address, else of the site's."""
    place: str
    """The site of the phone."""
    rule: str
    """Of the account's policy."""

    @property
    def blocked(self) -> bool:
        """Whether nobody could be sent there and the policy does not let that be."""
        return not self.street and self.rule == EmergencyRule.BLOCK


async def _look(connection: AsyncConnection, extension: str, mac: Mac, site: str = "") -> _Found | None:
    """One question, as it is asked with every line that is bound; ``site``: where a phone comes to that has none."""
    own = select(_D.site).where(_D.mac == mac).scalar_subquery()
    place = func.coalesce(own, literal(site, Text))
    street = select(_S.street).where(_S.id == place).scalar_subquery()
    rule = select(_P.emergency).where(_P.account == _E.account).correlate(schema.extension).scalar_subquery()
    query = select(
        func.coalesce(func.nullif(_U.street, ""), street, ""), place, func.coalesce(rule, EmergencyRule.WARN.value)
    )
    query = query.select_from(schema.extension.join(schema.user, _U.id == _E.user)).where(_E.id == extension)
    row = (await connection.execute(query.execution_options(**_WHOLE))).one_or_none()
    return None if row is None else _Found(*row)


async def is_blocked(connection: AsyncConnection, extension: str, mac: Mac, site: str = "") -> bool:
    """Whether the policy of its account lets an extension not come to such a phone."""
    found = await _look(connection, extension, mac, site)
    return found is not None and found.blocked


async def require_location(change: Change, one: Binding, account: str) -> None:
    """A new binding whose phone help would not find is told; Conflict where its account's policy lets it not be."""
    found = await _look(change.connection, one.extension, one.mac)
    if found is None or found.street:
        return
    if found.blocked:
        raise Conflict(
            f"nobody could be sent to {one.mac.colons} in an emergency: neither its site nor the user of extension "
            f"{one.number} has an address. Give one of them an address, or let the account's policy warn only"
        )
    _tell(change, Lost(one.mac, one.line, one.extension, one.number, account, found.place, found.rule))
    await note(change, found.place, MISSING)


class Lost(NamedTuple):
    """A line that is somebody's and whose phone help would not find."""

    mac: Mac
    line: int
    extension: str
    number: str
    account: str
    site: str
    rule: str


def _tell(change: Change, one: Lost) -> None:
    told = {"line": str(one.line), "extension": one.extension, "number": one.number, "account": one.account}
    told |= {"site": one.site} if one.site else {}
    change.audit("emergency_missing", mac=one.mac, severity="warning", **told)


def _lost(*columns: ColumnElement[Any]) -> Select[Any]:
    """Lines whose phone's site has no address, and whose user has none either."""
    held = schema.binding.join(schema.device, _D.mac == _B.mac).join(schema.extension, _E.id == _B.extension)
    held = held.join(schema.user, _U.id == _E.user).outerjoin(schema.site, _S.id == _D.site)
    held = held.outerjoin(schema.policy, _P.account == _E.account)
    street = func.coalesce(func.nullif(_U.street, ""), _S.street, "")
    query = select(*columns).select_from(held).where(_B.until.is_(None), street == "")
    return query.execution_options(**_WHOLE)


async def lost_lines(connection: AsyncConnection, macs: Collection[Mac]) -> list[Lost]:
    """Of these phones, in one question for a few hundred of them."""
    rule = func.coalesce(_P.emergency, EmergencyRule.WARN.value)
    query = _lost(_B.mac, _B.line, _B.extension, _E.number, _E.account, func.coalesce(_D.site, ""), rule)
    wanted, found = sorted(macs), list[Lost]()
    for start in range(0, len(wanted), _FEW):
        asked = query.where(_B.mac.in_(wanted[start : start + _FEW])).order_by(_B.mac, _B.line)
        found += [Lost(Mac(row[0]), *row[1:]) for row in (await connection.execute(asked)).all()]
    return found


async def require_still(change: Change, mac: Mac) -> None:
    """A phone stands elsewhere now: what ``require_location`` asks of a new line holds for those that it has."""
    found = await lost_lines(change.connection, [mac])
    if blocked := [one.number for one in found if one.rule == EmergencyRule.BLOCK]:
        raise Conflict(
            f"nobody could be sent to {mac.colons} there in an emergency, and it has extension {', '.join(blocked)}: "
            "give the site an address, unbind its lines, or let the account's policy warn only"
        )
    await tell_lost(change, found)


async def require_held(change: Change, extension: str, macs: Collection[Mac]) -> None:
    """An extension is another user's now: the same holds for the phones that it is on."""
    found = [one for one in await lost_lines(change.connection, macs) if one.extension == extension]
    if blocked := [one for one in found if one.rule == EmergencyRule.BLOCK]:
        raise Conflict(
            f"nobody could be sent to {blocked[0].mac.colons} in an emergency any more: neither its site nor the new "
            f"user of extension {blocked[0].number} has an address. Give one of them an address, or let the account's "
            "policy warn only"
        )
    await tell_lost(change, found)


async def tell_lost(change: Change, found: Sequence[Lost]) -> None:
    """Each line is an event, and each site hears of it once."""
    for one in found:
        _tell(change, one)
    for site in sorted({one.site for one in found}):
        await note(change, site, MISSING)


async def require_kept(change: Change, *, site: str = "", user: str = "") -> None:
    """An address was cleared: Conflict where lines hang on it whose account's policy wants one."""
    whose = _D.site == site if site else _E.user == user
    query = _lost(func.count()).where(whose, _P.emergency == EmergencyRule.BLOCK.value)
    if count := (await change.connection.execute(query)).scalar_one():
        lines = "1 line hangs" if count == 1 else f"{count} lines hang"
        raise Conflict(
            f"{lines} on this address: nobody could be sent to their phones in an emergency any more. "
            "Unbind them, or let the account's policy warn only"
        )


async def note(change: Change, site: str, what: str) -> None:
    """Whoever the site names has to hear of it; once for all that happens until they are written to."""
    if not site:
        return
    notice = case((_S.notice == CHANGED, CHANGED), else_=what)
    since = func.coalesce(_S.notice_at, change.at)
    query = update(schema.site).where(_S.id == site, _S.notify != "").values(notice=notice, notice_at=since)
    await change.connection.execute(query.execution_options(**_WHOLE))


async def note_user(change: Change, user: str) -> None:
    """The same at each site where a phone of this user stands."""
    bound = schema.binding.c
    query = select(_D.site).join(schema.binding, bound.mac == _D.mac).join(schema.extension, _E.id == bound.extension)
    query = query.where(_E.user == user, bound.until.is_(None), _D.site.is_not(None)).distinct()
    for site in (await change.connection.execute(query.execution_options(**_WHOLE))).scalars().all():
        await note(change, site, CHANGED)
