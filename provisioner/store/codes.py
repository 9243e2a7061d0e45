"""Rows of activation codes: found by a keyed hash, changed only along the table in ``codes``, each time by one UPDATE.

The statement says whether it won, so of fifty who key in one code at the same moment one is served. The digits are
sealed for as long as they can be used, and erased by the same statement that ends that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Row, Select, Update, case, delete, func, insert, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.codes import ACTIVE, ActivationCode, CodeEvent, CodeState, sources, target
from provisioner.model import Mac
from provisioner.store import schema
from provisioner.store.secretbox import SecretBox

_A: Final = schema.activation_code.c
_ROW: Final = tuple(name for name in ActivationCode.__dataclass_fields__ if name != "number")
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


async def open_code(connection: AsyncConnection, extension: str) -> ActivationCode | None:
    """The code that an extension has now."""
    states = [state.value for state in ACTIVE]
    query = _selected().where(_A.extension == extension, _A.state.in_(states))
    found = (await connection.execute(query)).one_or_none()
    return None if found is None else _code(found)


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


async def read_sealed(connection: AsyncConnection, ident: str) -> bytes:
    """The sealed digits of a code that can still be used."""
    return bytes((await connection.execute(select(_A.sealed).where(_A.id == ident))).scalar_one())


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


async def activity(connection: AsyncConnection, mac: Mac) -> tuple[float | None, float | None]:
    """When something was last bound to a device, and when it last got a file."""
    binding, fetch = schema.binding.c, schema.last_fetch.c
    bound = select(func.max(binding.since)).where(binding.mac == mac, binding.until.is_(None)).scalar_subquery()
    fetched = select(func.max(fetch.at)).where(fetch.mac == mac, fetch.status.in_(_SERVED)).scalar_subquery()
    row = (await connection.execute(select(bound, fetched))).one()
    return row[0], row[1]
