"""Use-cases of the administrator: what an account asks of its users and extensions before they have a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from provisioner.desk import Desk, account_of
from provisioner.errors import Conflict, Invalid
from provisioner.licensing import AccountPolicy, CodeMails, CodeNetworks, EmergencyRule, Rotation
from provisioner.preconditions import Phones
from provisioner.store import devices, policies
from provisioner.store.database import Change


class Policies(Desk):
    """Policies of accounts."""

    async def policy(self, account: str) -> AccountPolicy:
        """An account's policy; the default where it has none of its own."""
        async with self._store.reading() as connection:
            return await policies.policy_of(connection, (await account_of(connection, account)).id)

    async def set_policy(
        self,
        account: str,
        *,
        needs_license: bool | None = None,
        needs_number: bool | None = None,
        phones: int | None = None,
        reserved: Sequence[str] | None = None,
        rotation: Rotation | None = None,
        emergency: EmergencyRule | None = None,
        networks: CodeNetworks | None = None,
        mails: CodeMails | None = None,
    ) -> AccountPolicy:
        """Change what is given and leave the rest; phones that are bound already go on as they are."""
        given = (needs_license, needs_number, phones, reserved, rotation, emergency, networks, mails)
        if all(one is None for one in given):
            what = "license, number, phones, reserved, rotation, emergency, networks, mails"
            raise Invalid("policy", f"say at least one of {what}")
        async with self._change() as change:
            owner = await account_of(change.connection, account)
            before = await policies.policy_of(change.connection, owner.id)
            policy = replace(
                before,
                needs_license=before.needs_license if needs_license is None else needs_license,
                needs_number=before.needs_number if needs_number is None else needs_number,
                phones=before.phones if phones is None else phones,
                reserved=before.reserved if reserved is None else tuple(sorted(set(reserved))),
                rotation=rotation or before.rotation,
                emergency=emergency or before.emergency,
                networks=networks or before.networks,
                mails=mails or before.mails,
            )
            await _make_room(change, policy)
            await policies.write_policy(change.connection, policy)
            change.audit("policy_set", account=owner.id, **_told(before, policy))
        return policy


async def _make_room(change: Change, policy: AccountPolicy) -> None:
    """Each phone gets a slot that the policy still has; refused when an extension has more phones than that."""
    for one in await devices.bindings_beyond(change.connection, policy.account, policy.phones):
        phones = Phones(tuple(await devices.bindings_of_extension(change.connection, one.extension)), policy)
        if (slot := phones.slot()) > policy.phones:
            raise Conflict(f"extension {one.number} is on {phones.told}: unbind it until {policy.phones} are left")
        await devices.move_slot(change.connection, one, slot)


def _told(before: AccountPolicy, after: AccountPolicy) -> dict[str, str]:
    """What has changed, from what to what."""
    names = ("needs_license", "needs_number", "phones", "reserved", "rotation", "emergency", "networks", "mails")
    pairs = {name: (_word(getattr(before, name)), _word(getattr(after, name))) for name in names}
    return {name: f"{was} -> {now}" for name, (was, now) in pairs.items() if was != now}


def _word(value: bool | int | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
