"""Use-cases of partners: accounts that stand below another one. A tree: none is below an account below itself."""

from __future__ import annotations

from dataclasses import replace

from provisioner.desk import Desk, account_id, account_of, text_of
from provisioner.errors import Conflict, Forbidden
from provisioner.rights import Right
from provisioner.store import people
from provisioner.store.administrators import children_of
from provisioner.store.rows import Account


class Partners(Desk):
    """Which account is below which."""

    async def add_child(self, name: str, *, parent: str) -> Account:
        """A new account below a partner's; whoever is partner there reaches it from their next call on."""
        async with self._change() as change:
            name = text_of("name", name)
            partner = await account_of(change.connection, parent)
            reach = self._principal.reach
            if reach.accounts is not None and partner.id not in reach.parents:
                raise Forbidden("only a partner adds accounts below their own", right=Right.ACCOUNT_WRITE.value)
            if await people.find_accounts(change.connection, name):
                raise Conflict(f"there is an account {name!r} already")
            account = Account(people.new_id(), name, change.at, partner.id)
            await people.insert_account(change.connection, account)
            change.audit("account_added", account=account.id, name=name, parent=partner.id, partner=partner.id)
        return account

    async def set_parent(self, account: str, *, parent: str = "") -> Account:
        """Put an account below a partner's, or with an empty ``parent`` below none."""
        self._require_all(Right.ACCOUNT_WRITE)
        async with self._change() as change:
            found = await account_of(change.connection, account)
            partner = await account_id(change.connection, parent)
            below = (await children_of(change.connection, [found.id]))[found.id]
            if partner == found.id or partner in below:
                raise Conflict(f"account {found.name!r} would be below an account that is below it")
            await people.write_parent(change.connection, found.id, partner)
            change.audit(
                "account_parent_set", severity="warning", account=found.id, before=found.parent, parent=partner
            )
        return replace(found, parent=partner)

    async def children(self, account: str) -> list[Account]:
        """All accounts below one, however deep."""
        async with self._store.reading() as connection:
            found = await account_of(connection, account)
            below = (await children_of(connection, [found.id]))[found.id]
            return [one for one in await people.list_accounts(connection) if one.id in below]
