"""Rows of activation codes: found by a keyed hash, changed only along the table in ``codes``, each time by one UPDATE.

The statement says whether it won, so of fifty who key in one code at the same moment one is served. The digits are
sealed for as long as they can be used, and erased by the same statement that ends that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, Select, Update, case, delete, func, insert, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.codes import ACTIVE, ActivationCode, CodeEvent, CodeState, sources, target
from provisioner.errors import Conflict
from provisioner.model import Mac
from provisioner.resync_states import State
from provisioner.store import schema
from provisioner.store.hook_queue import UNBOUND
from provisioner.store.secretbox import SecretBox

_A: Final = schema.activation_code.c
_ROW: Final = tuple(name for name in ActivationCode.__dataclass_fields__ if name != "number")
_ARRIVED: Final = (State.FETCHED.value, State.REGISTERED.value)
_SERVED: Final = (200, 304)
"""HTTP statuses of a fetch that gave the device what it asked for."""


def sealed_for(box: SecretBox, ident: str, code: str) -> tuple[bytes, str]:
    """The columns ``sealed`` and ``finder`` of a code.

    In this order: when the key is exchanged in between, what is sealed with the old one is found and done again.
    """
    sealed = box.seal(code.encode(), "activation_code", ident, "sealed")
    return sealed, box.code_finders(code)[0]


def opened(box: SecretBox, ident: str, sealed: bytes) -> str:
    """The digits."""
    return box.open(sealed, "activation_code", ident, "sealed").decode()


def _selected() -> Select[Any]:
    columns = (_A[name] for name in _ROW)
    return select(*columns, schema.extension.c.number).join(schema.extension, schema.extension.c.id == _A.extension)


def _code(row: Row[Any]) -> ActivationCode:
    values = {**row._mapping, "state": CodeState(row.state), "site": row.site or "", "replaces": bool(row.replaces)}
    return ActivationCode(**values)


async def insert_code(connection: AsyncConnection, one: ActivationCode, sealed: bytes, finder: str) -> None:
    """A new code."""
    values = {name: getattr(one, name) for name in _ROW} | {"state": one.state.value, "site": one.site or None}
    await connection.execute(insert(schema.activation_code).values(**values, sealed=sealed, finder=finder))


async def find_code(connection: AsyncConnection, finders: Sequence[str]) -> ActivationCode | None:
    """The code with these digits, whatever became of it."""
    found = (await connection.execute(_selected().where(_A.finder.in_(finders)))).first()
    return None if found is None else _code(found)


async def code_of(connection: AsyncConnection, ident: str) -> ActivationCode | None:
    """The code with this id."""
    found = (await connection.execute(_selected().where(_A.id == ident))).first()
    return None if found is None else _code(found)


async def open_code(connection: AsyncConnection, extension: str) -> ActivationCode | None:
    """The code that an extension has now."""
    states = [state.value for state in ACTIVE]
    query = _selected().where(_A.extension == extension, _A.state.in_(states))
    found = (await connection.execute(query)).one_or_none()
    return None if found is None else _code(found)


async def codes_for(connection: AsyncConnection, mac: Mac, account: str, now: float) -> list[ActivationCode]:
    """Codes of this account that only this device can use, and that can still be used."""
    tied = (_A.mac == mac) & (_A.account == account)
    query = _selected().where(tied, _A.state == CodeState.ISSUED.value, _A.expires > now).order_by(_A.created)
    return [_code(row) for row in await connection.execute(query)]


async def latest_code(connection: AsyncConnection, extension: str) -> ActivationCode | None:
    """The one that an extension had last."""
    query = _selected().where(_A.extension == extension).order_by(_A.created.desc(), _A.id).limit(1)
    found = (await connection.execute(query)).one_or_none()
    return None if found is None else _code(found)


async def list_codes(connection: AsyncConnection, account: str = "", limit: int = 1000) -> list[ActivationCode]:
    """Codes, the newest first."""
    query = _selected().order_by(_A.created.desc(), _A.id).limit(limit)
    rows = await connection.execute(query.where(_A.account == account) if account else query)
    return [_code(row) for row in rows]


async def open_lengths(connection: AsyncConnection, box: SecretBox, now: float) -> frozenset[int]:
    """How many digits the codes have that can still be used: a sealed code is longer by what sealing nothing makes."""
    states, added = [state.value for state in ACTIVE], len(box.seal(b"", "activation_code", "", "sealed"))
    query = select(func.length(_A.sealed)).where(_A.state.in_(states), _A.expires > now, _A.sealed.is_not(None))
    return frozenset(length - added for length in (await connection.execute(query.distinct())).scalars())


async def read_sealed(connection: AsyncConnection, ident: str) -> bytes:
    """The sealed digits of a code that can still be used; Conflict when that has ended since its state was read."""
    sealed = (await connection.execute(select(_A.sealed).where(_A.id == ident))).scalar_one_or_none()
    if sealed is None:
        raise Conflict("the code was used or taken back at this very moment")
    return bytes(sealed)


async def state_of(connection: AsyncConnection, ident: str) -> CodeState | None:
    """What became of a code, for whoever acts on its extension, however far they can see; None: it is forgotten."""
    query = select(_A.state).where(_A.id == ident).execution_options(**{UNBOUND: True})
    found = (await connection.execute(query)).scalar_one_or_none()
    return CodeState(found) if found else None


def _moved(event: CodeEvent) -> Update:
    """From wherever the table lets it happen to where that leads; the digits are erased with it."""
    allowed = [state.value for state in sources(event)]
    moved = update(schema.activation_code).where(_A.state.in_(allowed))
    return moved.values(state=target(event).value, sealed=null())


async def redeem_code(connection: AsyncConnection, ident: str, mac: Mac, now: float) -> bool:
    """Use it up for this device; whether this call was the one that did."""
    query = _moved(CodeEvent.REDEEM).where(_A.id == ident, _A.expires > now)
    done = await connection.execute(query.values(used_by=mac, ended=now).returning(_A.id))
    return done.first() is not None


async def end_code(connection: AsyncConnection, ident: str, event: CodeEvent, now: float) -> bool:
    """Take it back; whether it was still there to be taken."""
    done = await connection.execute(_moved(event).where(_A.id == ident).values(ended=now).returning(_A.id))
    return done.first() is not None


async def note_misuse(connection: AsyncConnection, finders: Sequence[str], most: int, now: float) -> bool:
    """The digits came from a phone that they are not for; whether that was once too often and has locked the code.

    No finder is a code's unless the digits were right, so this is run for every wrong entry: each takes the same time.
    """
    allowed = [state.value for state in sources(CodeEvent.LOCK)]
    full, locked = _A.misused + 1 >= most, target(CodeEvent.LOCK).value
    query = update(schema.activation_code).where(_A.finder.in_(finders), _A.state.in_(allowed), _A.expires > now)
    query = query.values(
        misused=_A.misused + 1,
        state=case((full, locked), else_=_A.state),
        sealed=case((full, null()), else_=_A.sealed),
        ended=case((full, now), else_=null()),
    )
    found = (await connection.execute(query.returning(_A.state))).first()
    return found is not None and found.state == locked


async def expire_codes(connection: AsyncConnection, now: float, extension: str = "") -> list[ActivationCode]:
    """Write down which codes' life is over."""
    query = _moved(CodeEvent.EXPIRE).where(_A.expires <= now)
    query = query.where(_A.extension == extension) if extension else query
    idents = (await connection.execute(query.values(ended=_A.expires).returning(_A.id))).scalars().all()
    found: list[ActivationCode] = []
    for start in range(0, len(idents), 400):
        rows = await connection.execute(_selected().where(_A.id.in_(idents[start : start + 400])))
        found += [_code(row) for row in rows]
    return found


async def forget_codes(connection: AsyncConnection, before: float) -> int:
    """Remove what ended before a time; how many that were."""
    ended = [state.value for state in CodeState if state not in ACTIVE]
    query = delete(schema.activation_code).where(_A.state.in_(ended), _A.ended < before)
    return (await connection.execute(query)).rowcount


class Activity(NamedTuple):
    """What is known of a device on its way."""

    bound: float | None = None
    """When something was last bound to it."""
    fetched: float | None = None
    """When it last got a file."""
    arrived: bool = False
    """It has got the configuration that it was bound with, or the PBX has seen it since."""


async def activity(connection: AsyncConnection, mac: Mac) -> Activity:
    """Of one device."""
    return (await activities(connection, [mac]))[mac]


async def activities(connection: AsyncConnection, macs: Sequence[Mac]) -> dict[str, Activity]:
    """Of some devices."""
    binding, fetch, device, resync = schema.binding.c, schema.last_fetch.c, schema.device.c, schema.resync.c
    bound = select(binding.mac, func.max(binding.since)).where(binding.mac.in_(macs), binding.until.is_(None))
    fetched = select(fetch.mac, func.max(fetch.at)).where(fetch.mac.in_(macs), fetch.status.in_(_SERVED))
    since = {mac: at for mac, at in await connection.execute(bound.group_by(binding.mac))}
    came = {mac: at for mac, at in await connection.execute(fetched.group_by(fetch.mac))}
    newest = select(device.mac).where(device.mac.in_(macs), device.served >= device.changed)
    current = set((await connection.execute(newest)).scalars())
    told = select(resync.mac, resync.since).where(resync.mac.in_(macs), resync.state.in_(_ARRIVED))
    done = {mac: at for mac, at in await connection.execute(told)}
    return {
        mac: Activity(since.get(mac), came.get(mac), mac in current or done.get(mac, -1.0) >= since.get(mac, 0.0))
        for mac in macs
    }
