"""Reads what an import speaks of into its World: a few questions for a batch, whatever the size of the installation."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.imports.rows import Row
from provisioner.imports.world import World
from provisioner.model import Mac, Scope
from provisioner.store import imports, layer_rows, wipes
from provisioner.store.rows import Account, Extension
from provisioner.store.secretbox import SecretBox


class Reading:
    """Asks for each thing once: what was planned meanwhile stays."""

    def __init__(self, box: SecretBox) -> None:
        self._box = box
        self._asked: dict[str, set[str]] = {}

    def _new(self, what: str, wanted: Collection[str]) -> set[str]:
        """Those that were not asked for before."""
        known = self._asked.setdefault(what, set())
        found = set(wanted) - known - {""}
        known |= found
        return found

    async def read(self, connection: AsyncConnection, rows: Sequence[Row], world: World) -> None:
        """All that the planner asks about these rows."""
        await self._accounts(connection, rows, world)
        owners = {one.id: one for found in world.accounts.values() for one in found}
        for owner in owners.values():
            await self._account(
                connection, owner, [row for row in rows if row.account in {owner.id, owner.name}], world
            )
        await self._devices(connection, rows, world)
        await self._holders(connection, world)
        await self._bindings(connection, rows, world)
        await self._conditions(connection, world)
        await self._located(connection, rows, world)
        await self._secrets(connection, rows, world)

    async def _accounts(self, connection: AsyncConnection, rows: Sequence[Row], world: World) -> None:
        refs = self._new("account", {row.account for row in rows})
        found = await imports.accounts_called(connection, refs)
        for ref in refs:
            world.accounts[ref] = [one for one in found if ref in {one.id, one.name}]
        fresh = self._new("policy", {one.id for one in found})
        world.policies.update(await imports.policies(connection, fresh))

    async def _account(self, connection: AsyncConnection, owner: Account, rows: Sequence[Row], world: World) -> None:
        sites = self._new(f"site {owner.id}", {row.site for row in rows})
        world.know_sites(await imports.sites_called(connection, owner.id, sites))
        names = self._new(f"user {owner.id}", {name for row in rows for name in (row.user, row.email)})
        world.know_users(await imports.users_called(connection, owner.id, names))
        numbers = self._new(f"extension {owner.id}", {row.extension for row in rows})
        world.know_extensions(await imports.extensions_called(connection, owner.id, numbers))
        for hold in await imports.holds_of(connection, owner.id, numbers):
            world.holds[hold.account, hold.number] = hold

    async def _devices(self, connection: AsyncConnection, rows: Sequence[Row], world: World) -> None:
        macs = {Mac(one) for one in self._new("device", {row.mac for row in rows if row.mac})}
        found = await imports.devices_with(connection, macs)
        world.devices.update(found)
        for mac in await imports.emptied(connection, found):
            if (wipe := await wipes.wipe_of(connection, mac)).everything:
                world.wipes[mac] = wipe
        world.foreign |= await imports.taken(connection, macs - found.keys())
        for row in rows:
            device = world.devices.get(row.mac) if row.mac else None
            if device and row.model not in {"", device.model} and self._new("layer", {device.mac}):
                layer = await layer_rows.read_layer(connection, self._box, Scope.DEVICE, device.mac)
                world.settings[device.mac] = layer.values if layer else {}

    async def _holders(self, connection: AsyncConnection, world: World) -> None:
        users = self._new("holder", {one.user for one in world.known_extensions() if world.user(one.user) is None})
        world.know_users(await imports.users_with(connection, users))

    async def _bindings(self, connection: AsyncConnection, rows: Sequence[Row], world: World) -> None:
        macs = {Mac(one) for one in self._new("lines", {row.mac for row in rows if row.mac})}
        extensions = self._new("phones", {one.id for one in world.known_extensions()})
        world.know_bindings(await imports.bindings_of(connection, macs, extensions))

    async def _conditions(self, connection: AsyncConnection, world: World) -> None:
        """Only where an account's policy asks for anything."""

        def where(needed: str) -> list[Extension]:
            return [one for one in world.known_extensions() if getattr(world.policies[one.account], needed)]

        users = self._new("seat", {one.user for one in where("needs_license")})
        world.seats.update(await imports.seats(connection, users))
        extensions = self._new("number", {one.id for one in where("needs_number")})
        world.reachable |= await imports.with_number(connection, extensions)

    async def _located(self, connection: AsyncConnection, rows: Sequence[Row], world: World) -> None:
        """Who could be sent help."""
        found = {world.devices[row.mac] for row in rows if row.mac in world.devices}
        sites = {one.site for one in found} | {one.id for owner in world.policies for one in world.all_sites(owner)}
        users = {one.id for owner in world.policies for one in world.all_users(owner)}
        lines = {line.extension for one in found for line in world.lines(one.mac).values()}
        world.located |= await imports.located_sites(connection, self._new("place", sites))
        world.located |= await imports.located_users(connection, self._new("whereabouts", users))
        world.located |= await imports.located_extensions(connection, self._new("line", lines))

    async def _secrets(self, connection: AsyncConnection, rows: Sequence[Row], world: World) -> None:
        given = {(one.id, row.extension) for row in rows if row.secret for one in world.accounts.get(row.account, ())}
        idents = {one.id for one in (world.extension(*key) for key in given) if one and one.id not in world.secrets}
        for ident, sealed in (await imports.sealed_secrets(connection, self._new("secret", idents))).items():
            world.secrets[ident] = self._box.open(sealed, "extension", ident, "secret").decode()
