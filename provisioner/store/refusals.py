"""The mailbox of refused certificates: grouped by verdict, issuer and the CA that signed; the longest chain stays.

Rule: a name is anybody's, a key is not. Whoever makes a CA of the same name makes a group of his own, and what is
stored of a CA is replaced only by what the same one signed. A group is silent once somebody has said of every model in
it that it is expected; another model makes it speak again. It is bounded: of those of which nobody has said anything,
the one that was away longest goes first, and last those with the Mac of a device that has been added.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.certificates import Unreadable, signer_of, to_der, to_pem
from provisioner.store import schema
from provisioner.store.database import Store
from provisioner.store.engine import is_sqlite, writing

_NAMES: Final = 16
"""Macs, models and addresses kept of a group each, the newest."""
_LARGEST: Final = 256 * 1024
"""Bytes that a chain may be unpacked to."""
_ROUND: Final = 50
"""Groups whose Macs are looked up at once."""
_R: Final = schema.refusal.c


def group_key(verdict: str, issuer: str, chain: Sequence[bytes]) -> str:
    """The id of the group that a refused chain belongs to."""
    return hashlib.sha256(f"{verdict}\n{issuer}\n{signer_of(chain)}".encode()).hexdigest()[:16]


def better_chain(new: tuple[bytes, ...], old: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The longer of two, where the same CA has signed both, or none came with either; otherwise the one there was."""
    return new if len(new) > len(old) and signer_of(new) == signer_of(old) else old


@dataclass(slots=True)
class Group:
    """What came of one kind since the last batch."""

    id: str
    verdict: str
    issuer: str
    why: str
    first_at: float
    last_at: float
    times: int
    chain: tuple[bytes, ...] = field(repr=False)
    macs: dict[str, float] = field(default_factory=dict)
    addresses: dict[str, float] = field(default_factory=dict)
    models: dict[str, float] = field(default_factory=dict)

    def add(self, newer: Group) -> None:
        """What came after it."""
        self.times += newer.times
        self.last_at = max(self.last_at, newer.last_at)
        self.first_at = min(self.first_at, newer.first_at)
        self.chain = better_chain(newer.chain, self.chain)
        for mine, theirs in ((self.macs, newer.macs), (self.addresses, newer.addresses), (self.models, newer.models)):
            mine |= theirs


@dataclass(frozen=True, slots=True)
class Silence:
    """Why nobody needs to be told of a model any more."""

    note: str
    actor: str
    at: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A group as it is stored."""

    id: str
    verdict: str
    issuer: str
    why: str
    times: int
    first_at: float
    last_at: float
    chain: tuple[bytes, ...] = field(repr=False)
    """DER, the device's own first."""
    macs: Mapping[str, float]
    """Proven or claimed, and when each came last."""
    addresses: Mapping[str, float]
    models: Mapping[str, float]
    """As User-Agents claim; empty for none."""
    silenced: Mapping[str, Silence]

    @property
    def open(self) -> bool:
        """Whether somebody should look at it."""
        return bool(self.models.keys() - self.silenced.keys())


async def write_refusals(store: Store, groups: Sequence[Group], *, most: int) -> None:
    """Add them to what is there; StoreFailed when it cannot be."""
    if not groups:
        return
    async with writing(store.lossy) as connection:
        stored = await _stored(connection, sorted(one.id for one in groups))
        insert = (sqlite if is_sqlite(store.url) else postgresql).insert(schema.refusal)
        rows = [_merged(one, stored.get(one.id)) for one in sorted(groups, key=lambda one: one.id)]
        changed = {name: insert.excluded[name] for name in rows[0] if name not in ("id", "silenced")}
        await connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=changed), rows)
        await _trim(connection, most, {one.id for one in groups})


async def _stored(connection: AsyncConnection, idents: Sequence[str]) -> dict[str, Refusal]:
    query = select(schema.refusal).where(_R.id.in_(idents)).order_by(_R.id).with_for_update()
    return {row.id: _refusal(row) for row in await connection.execute(query)}


def _merged(new: Group, old: Refusal | None) -> dict[str, Any]:
    chain = new.chain if old is None else better_chain(new.chain, old.chain)
    return {
        "id": new.id,
        "verdict": new.verdict,
        "issuer": new.issuer,
        "why": new.why,
        "times": new.times + (old.times if old else 0),
        "first_at": old.first_at if old else new.first_at,
        "last_at": max(new.last_at, old.last_at if old else 0.0),
        "chain": zlib.compress(b"".join(map(to_pem, chain))),
        "macs": _newest(new.macs, old.macs if old else {}),
        "addresses": _newest(new.addresses, old.addresses if old else {}),
        "models": _newest(new.models, old.models if old else {}),
        "silenced": "{}",
    }


def _newest(new: Mapping[str, float], old: Mapping[str, float]) -> str:
    both = {**old, **new}
    return json.dumps(dict(islice(sorted(both.items(), key=lambda one: -one[1]), _NAMES)))


async def _trim(connection: AsyncConnection, most: int, new: Collection[str]) -> None:
    """How often one came says nothing: whoever makes up issuers can come twice with each."""
    excess = (await connection.execute(select(func.count()).select_from(schema.refusal))).scalar_one() - most
    if excess <= 0:
        return
    in_order = select(_R.id, _R.macs).order_by(_R.silenced != "{}", _R.id.in_(new), _R.last_at, _R.id)
    spoken_of = _R.silenced != "{}"
    unsaid = list(await connection.execute(in_order.where(~spoken_of)))
    gone = await _first_of_strangers(connection, unsaid, excess)
    said = await connection.execute(in_order.where(spoken_of)) if len(unsaid) < excess else ()
    rest = [one.id for one in (*unsaid, *said) if one.id not in gone]
    gone += rest[: excess - len(gone)]
    await connection.execute(delete(schema.refusal).where(_R.id.in_(gone)))


async def _first_of_strangers(connection: AsyncConnection, rows: Sequence[Any], most: int) -> list[str]:
    """So many of them with which no known device's Mac came."""
    found: list[str] = []
    for start in range(0, len(rows), _ROUND):
        if len(found) >= most:
            break
        macs = {one.id: json.loads(one.macs).keys() for one in rows[start : start + _ROUND]}
        asked = schema.device.c.mac.in_(sorted(set().union(*macs.values())))
        known = set((await connection.execute(select(schema.device.c.mac).where(asked))).scalars())
        found += [ident for ident, some in macs.items() if not known & some]
    return found[:most]


async def list_refusals(connection: AsyncConnection, *, everything: bool = False) -> list[Refusal]:
    """The groups that somebody should look at, or all; the one seen last first."""
    rows = await connection.execute(select(schema.refusal).order_by(_R.last_at.desc(), _R.id))
    return [one for one in map(_refusal, rows) if everything or one.open]


async def find_refusal(connection: AsyncConnection, ident: str) -> Refusal | None:
    """One group."""
    row = (await connection.execute(select(schema.refusal).where(_R.id == ident))).one_or_none()
    return None if row is None else _refusal(row)


async def silence(connection: AsyncConnection, one: Refusal, models: Iterable[str], why: Silence) -> None:
    """Nobody needs to be told of these models of it any more."""
    said = {**one.silenced, **dict.fromkeys(models, why)}
    text = json.dumps({name: [each.note, each.actor, each.at] for name, each in said.items()})
    await connection.execute(update(schema.refusal).where(_R.id == one.id).values(silenced=text))


def _refusal(row: Any) -> Refusal:
    silenced = {name: Silence(*said) for name, said in json.loads(row.silenced).items()}
    return Refusal(
        row.id, row.verdict, row.issuer, row.why, row.times, row.first_at, row.last_at, _ders(row.chain),
        json.loads(row.macs), json.loads(row.addresses), json.loads(row.models), silenced,
    )  # fmt: skip


def _ders(packed: bytes) -> tuple[bytes, ...]:
    try:
        return to_der(zlib.decompressobj().decompress(packed, _LARGEST))
    except (zlib.error, Unreadable):
        return ()
