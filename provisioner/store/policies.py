"""Rows of policies: an account without a row has the default, so installations from before go on as they were."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.licensing import AccountPolicy, CodeMails, CodeNetworks, EmergencyRule, Rotation
from provisioner.store import schema

_P: Final = schema.policy.c


async def policy_of(connection: AsyncConnection, account: str) -> AccountPolicy:
    """An account's policy."""
    row = (await connection.execute(select(schema.policy).where(_P.account == account))).one_or_none()
    if row is None:
        return AccountPolicy(account)
    reserved, rotation = tuple(row.reserved.split()), Rotation(row.rotation)
    emergency, networks = EmergencyRule(row.emergency), CodeNetworks(row.networks)
    asked = (row.needs_license, row.needs_number, row.phones)
    return AccountPolicy(account, *asked, reserved, rotation, emergency, networks, CodeMails(row.mails))


async def write_policy(connection: AsyncConnection, one: AccountPolicy) -> None:
    """In the place of the one that there was."""
    await connection.execute(delete(schema.policy).where(_P.account == one.account))
    values = {"account": one.account, "needs_license": one.needs_license, "needs_number": one.needs_number}
    row = values | {"phones": one.phones, "reserved": " ".join(one.reserved), "rotation": one.rotation.value}
    row |= {"emergency": one.emergency.value, "networks": one.networks.value, "mails": one.mails.value}
    await connection.execute(insert(schema.policy).values(row))
