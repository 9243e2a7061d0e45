"""Use-cases of the administrator: accounts, sites, users and extensions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.bindings import end, generated_secret
from provisioner.desk import (
    Desk,
    account_id,
    account_of,
    counted,
    extension_in,
    matching,
    only,
    site_of,
    text_of,
    user_of,
)
from provisioner.errors import Conflict, Invalid
from provisioner.extension_forms import AUTH_USER, NUMBER, SECRET
from provisioner.fleet.licenses import free_licenses_of
from provisioner.fleet.numbers import claim_extension, free_numbers_of
from provisioner.line_errands import have_fetch
from provisioner.mail_address import parse_address
from provisioner.model import ConfigLayer, Scope
from provisioner.neutral import TIME_ZONE, parse_value
from provisioner.places import UserKind
from provisioner.preconditions import phones_of
from provisioner.store import devices, layer_rows, people, schema, uploads
from provisioner.store.database import Change
from provisioner.store.people import SecretLife
from provisioner.store.rows import Account, Binding, Extension, Site, User
from provisioner.store.switches import count_at
from provisioner.welcome import phone_taken_away


def _secret(value: str) -> str:
    if not value:
        return generated_secret()
    return matching("secret", value, *SECRET)


class Accounts(Desk):
    """Accounts and their places."""

    async def add_account(self, name: str) -> Account:
        """A new account; its name is its own."""
        async with self._change() as change:
            name = text_of("name", name)
            if await people.find_accounts(change.connection, name):
                raise Conflict(f"there is an account {name!r} already")
            account = Account(people.new_id(), name, change.at)
            await people.insert_account(change.connection, account)
            change.audit("account_added", account=account.id, name=name)
        return account

    async def rename_account(self, account: str, *, name: str) -> Account:
        """Another name; the id stays."""
        async with self._change() as change:
            name = text_of("name", name)
            found = await account_of(change.connection, account)
            if [one for one in await people.find_accounts(change.connection, name) if one.id != found.id]:
                raise Conflict(f"there is an account {name!r} already")
            await people.rename_account(change.connection, found.id, name)
            change.audit("account_renamed", account=found.id, before=found.name, name=name)
        return Account(found.id, name, found.created)

    async def accounts(self) -> list[Account]:
        """All accounts."""
        async with self._store.reading() as connection:
            return await people.list_accounts(connection)

    async def remove_account(self, account: str) -> None:
        """Remove an empty account."""
        async with self._change() as change:
            found = await account_of(change.connection, account)
            if left := await people.contents(change.connection, found.id):
                words = ", ".join(counted(count, word.removesuffix("s")) for word, count in left.items())
                raise Conflict(f"account {found.name!r} still has {words}: remove them first")
            await layer_rows.delete_layer(change.connection, Scope.ACCOUNT, found.id)
            await people.delete_row(change.connection, schema.account, found.id)
            change.touch(Scope.ACCOUNT, found.id)
            change.audit("account_removed", account=found.id, name=found.name)

    async def add_site(self, name: str, *, account: str, time_zone: str = "") -> Site:
        """A place; its time zone goes into its layer, where devices get it from."""
        async with self._change() as change:
            name = text_of("name", name)
            zone = str(parse_value(TIME_ZONE.name, time_zone)) if time_zone else ""
            owner = await account_of(change.connection, account)
            if await people.find_sites(change.connection, name, owner.id):
                raise Conflict(f"account {owner.name!r} has a site {name!r} already")
            site = Site(people.new_id(), owner.id, name, zone)
            await people.insert_site(change.connection, site)
            if zone:
                layer = ConfigLayer(Scope.SITE, site.id, {TIME_ZONE.name: zone})
                await layer_rows.write_layer(change.connection, self._store.box, layer)
            change.touch(Scope.SITE, site.id)
            change.audit("site_added", site=site.id, account=owner.id, name=name)
        return site

    async def sites(self, account: str = "") -> list[Site]:
        """Places, of one account or of all, with the time zones their layers say."""
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            found = await people.list_sites(connection, owner)
            layers = {}
            for one in found:
                layers[one.id] = await layer_rows.read_layer(connection, self._store.box, Scope.SITE, one.id)
        return [replace(one, time_zone=_zone(layers[one.id])) for one in found]

    async def remove_site(self, site: str) -> None:
        """Remove a place where nothing stands."""
        async with self._change() as change:
            found = await site_of(change.connection, site)
            if count := await people.devices_at(change.connection, found.id):
                raise Conflict(f"site {found.name!r} still has {counted(count, 'device')}: move them first")
            if count := await count_at(change.connection, found.id):
                what = "a switch" if count == 1 else f"{count} switches"
                raise Conflict(f"site {found.name!r} still has {what}: remove them first")
            await layer_rows.delete_layer(change.connection, Scope.SITE, found.id)
            await people.delete_row(change.connection, schema.site, found.id)
            change.touch(Scope.SITE, found.id)
            change.audit("site_removed", site=found.id, account=found.account, name=found.name)


def _zone(layer: ConfigLayer | None) -> str:
    return str(layer.values.get(TIME_ZONE.name, "")) if layer else ""


class People(Desk):
    """Users and the extensions they hold."""

    async def add_user(self, name: str, *, account: str, email: str = "", kind: UserKind = UserKind.PERSON) -> User:
        """A person or a place such as a lobby."""
        async with self._change() as change:
            name = text_of("name", name)
            owner = await account_of(change.connection, account)
            user = User(people.new_id(), owner.id, name, await _free_address(change, email, owner.id), kind)
            await people.insert_user(change.connection, user)
            change.audit("user_added", user=user.id, account=owner.id, name=name)
        return user

    async def users(self, account: str = "") -> list[User]:
        """Users, of one account or of all."""
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            return await people.list_users(connection, owner)

    async def set_email(self, user: str, *, email: str) -> User:
        """Another mail address; empty: none. Mails that wait to be sent go to the new one."""
        async with self._change() as change:
            found = await user_of(change.connection, user)
            email = await _free_address(change, email, found.account, found.id)
            await people.write_email(change.connection, found.id, email)
            change.audit("email_set", user=found.id, account=found.account, address="yes" if email else "none")
        return replace(found, email=email)

    async def remove_user(self, user: str, *, extensions: bool = False) -> list[Binding]:
        """Remove a user, with what their phones have sent; the lines that were freed by it.

        Refused while they hold extensions, unless those shall go with them.
        """
        freed: list[Binding] = []
        async with self._change() as change:
            found = await user_of(change.connection, user)
            held = await people.list_extensions(change.connection, user=found.id)
            if held and not extensions:
                numbers = ", ".join(one.number for one in held)
                raise Conflict(f"user {found.name!r} holds extension {numbers}: remove it first, or with its user")
            for one in held:
                freed += await self._remove(change, one)
            await free_licenses_of(change, found)
            gone = await uploads.forget_owner(change.connection, found.id)
            await people.delete_row(change.connection, schema.user, found.id)
            change.audit("user_removed", user=found.id, account=found.account, name=found.name)
            change.later.append(partial(uploads.remove_files, self._store.uploads, gone))
        return freed

    async def add_extension(
        self, number: str, *, account: str, user: str, display_name: str = "", auth_user: str = "", secret: str = ""
    ) -> Extension:
        """A number with its SIP credentials, held by a user of the same account; an empty secret is generated."""
        async with self._change() as change:
            matching("number", number, *NUMBER)
            display_name = text_of("display_name", display_name, empty=True)
            matching("auth_user", auth_user or number, *AUTH_USER)
            owner = await account_of(change.connection, account)
            holder = await user_of_account(change.connection, user, owner)
            if await people.find_extensions(change.connection, number, owner.id):
                raise Conflict(f"account {owner.name!r} has an extension {number} already")
            await claim_extension(change, owner, number)
            one = Extension(people.new_id(), owner.id, number, holder.id, display_name, auth_user or number)
            sealed, origin = self._sealed(one.id, _secret(secret)), people.origin_of(secret)
            await people.insert_extension(change.connection, one, sealed, origin=origin, at=change.at)
            change.audit("extension_added", extension=one.id, account=owner.id, number=number, user=holder.id)
        return one

    def _sealed(self, ident: str, secret: str) -> bytes:
        return self._store.box.seal(secret.encode(), "extension", ident, "secret")

    async def extensions(self, account: str = "") -> list[Extension]:
        """Extensions, of one account or of all, without their secrets."""
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            return await people.list_extensions(connection, owner)

    async def set_secret(self, extension: str, *, secret: str = "", account: str = "") -> None:
        """Another SIP secret; an empty one is generated, and follows the account's policy from then on."""
        async with self._change() as change:
            found = await extension_in(change.connection, extension, account)
            sealed, origin = self._sealed(found.id, _secret(secret)), people.origin_of(secret)
            await people.write_secret(change.connection, found.id, sealed, origin=origin, at=change.at)
            for bound in await devices.bindings_of_extension(change.connection, found.id):
                change.touch(Scope.DEVICE, bound.mac)
            change.audit("secret_changed", extension=found.id, number=found.number)

    async def reveal_secret(self, extension: str, *, account: str = "") -> str:
        """The SIP secret; that it was read is an event, written before it is told."""
        async with self._change() as change:
            found = await extension_in(change.connection, extension, account)
            sealed = await people.read_secret(change.connection, found.id)
            change.audit("secret_revealed", severity="warning", extension=found.id, number=found.number)
        return self._store.box.open(sealed, "extension", found.id, "secret").decode()

    async def remove_extension(self, extension: str, *, account: str = "") -> list[Binding]:
        """Remove a number; its phones are told to fetch what empties the lines that it was on, which are returned."""
        async with self._change() as change:
            return await self._remove(change, await extension_in(change.connection, extension, account))

    async def _remove(self, change: Change, found: Extension) -> list[Binding]:
        """The phones are asked first, as long as it is known by which name the PBX knows them."""
        held = list((await phones_of(change.connection, found.id, found.account)).held)
        for one in held:
            await end(change, one)
            await phone_taken_away(change, self._store.box, one)
        await have_fetch(change, self._drivers, [one.mac for one in held])
        await free_numbers_of(change, found)
        await people.delete_row(change.connection, schema.extension, found.id)
        numbers = {"account": found.account, "number": found.number}
        change.audit("extension_removed", extension=found.id, **numbers)
        return held

    async def secret_life(self, extension: str, *, account: str = "") -> SecretLife:
        """Whether its SIP secret was made here or given, and since when it is what it is."""
        async with self._store.reading() as connection:
            found = await extension_in(connection, extension, account)
            return await people.secret_life(connection, found.id)


async def _free_address(change: Change, email: str, account: str, own: str = "") -> str:
    """The address, which no other user of the account has; Invalid when it is none."""
    email = text_of("email", email, 254, empty=True)
    if not email:
        return ""
    try:
        parse_address(email)
    except ValueError as error:
        raise Invalid("email", str(error)) from error
    if taken := [one for one in await people.find_users(change.connection, email, account) if one.id != own]:
        raise Conflict(f"user {taken[0].name!r} of this account has the address {email} already")
    return email


async def user_of_account(connection: AsyncConnection, ref: str, owner: Account) -> User:
    """The user, who must belong to the account; Invalid when there is one elsewhere."""
    if found := await people.find_users(connection, ref, owner.id):
        return only(found, "user", ref)
    elsewhere = only(await people.find_users(connection, ref), "user", ref)
    raise Invalid("user", f"{elsewhere.name!r} belongs to another account than {owner.name!r}")
