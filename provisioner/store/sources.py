"""From where devices came last, and which networks sites say are theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, Text, Update, and_, bindparam, case, false, literal_column, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.model import FetchRecord, Mac
from provisioner.networks import address_in, ordered, span
from provisioner.store import schema
from provisioner.store.hook_queue import UNBOUND

_D: Final = schema.device.c
_S: Final = schema.site.c
_FREE: Final = {UNBOUND: True}


def kept() -> Update:
    """What a fetch tells of the device itself: version and source, where it is another one than before.

    A row that stays as it is costs no page of the log.
    """
    version, net = bindparam("version", type_=Text), bindparam("from_net", type_=Text)
    nothing: ColumnElement[str] = literal_column("''")
    other = or_((version != nothing) & (_D.firmware != version), (net != nothing) & (_D.net != net))
    query = update(schema.device).where(_D.mac == bindparam("the_mac"), other)
    return query.values(
        firmware=case((version == nothing, _D.firmware), else_=version), net=case((net == nothing, _D.net), else_=net)
    )


def kept_rows(records: Sequence[FetchRecord]) -> list[dict[str, str]]:
    """Its values, a device each in the order in which workers write; of several fetches the last that tells counts."""
    found: dict[str, tuple[str, str]] = {}
    for one in sorted(records, key=lambda one: one.at):
        version, address = found.get(one.mac, ("", ""))
        found[one.mac] = one.firmware or version, one.address or address
    return [
        {"the_mac": mac, "version": version, "from_net": ordered(address)}
        for mac, (version, address) in sorted(found.items())
        if version or address
    ]


async def sources_of(connection: AsyncConnection, macs: Sequence[Mac]) -> dict[Mac, str]:
    """The addresses that devices fetched from last; those that are not known are left out."""
    query = select(_D.mac, _D.net).where(_D.mac.in_(macs), _D.net != literal_column("''"))
    return {Mac(mac): address_in(net) for mac, net in await connection.execute(query)}


async def source_of(connection: AsyncConnection, mac: Mac) -> str:
    """The same of one, also of one that nobody has added; empty where it is not known."""
    if found := (await sources_of(connection, [mac])).get(mac):
        return found
    seen = schema.seen.c
    return (await connection.execute(select(seen.address).where(seen.mac == mac))).scalar_one_or_none() or ""


async def networks_of(connection: AsyncConnection, account: str, site: str = "") -> dict[str, tuple[str, ...]]:
    """The networks of an account's sites, or of one of them; whoever sees a device is told where it was seen."""
    query = select(_S.id, _S.networks).where(_S.account == account, _S.networks != "")
    query = query.where(_S.id == site) if site else query
    rows = await connection.execute(query.execution_options(**_FREE))
    return {ident: tuple(networks.split()) for ident, networks in rows}


async def name_of(connection: AsyncConnection, site: str) -> str:
    """What a site is called."""
    query = select(_S.name).where(_S.id == site).execution_options(**_FREE)
    return (await connection.execute(query)).scalar_one_or_none() or ""


async def all_networks(connection: AsyncConnection) -> dict[str, tuple[str, ...]]:
    """The same of every account within reach."""
    rows = await connection.execute(select(_S.id, _S.networks).where(_S.networks != ""))
    return {ident: tuple(networks.split()) for ident, networks in rows}


def came_from(networks: Sequence[str]) -> ColumnElement[bool]:
    """Devices that came last from one of these networks, found by an index."""
    spans = [and_(_D.net >= low, _D.net <= high) for low, high in map(span, networks)]
    came = _D.net != literal_column("''")  # the index's own condition
    return and_(came, or_(false(), *spans))
