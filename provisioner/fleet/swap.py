"""Use-case of the administrator: a new phone for an old one. Lines, settings and place go over in one transaction.

What the new phone lacks is shown before; a plan that loses something is carried out only for whoever names it. The old
phone is wiped. Its own settings stay with it until that is over, for only so can each of them be taken back by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.bindings import begin, end, end_wipe, is_exchanged, require_forgotten
from provisioner.deeds import Cure, Deed
from provisioner.desk import device_of, extension_of
from provisioner.errors import Conflict, Invalid, NotFound
from provisioner.fleet.rebind import Rebinding
from provisioner.fleet.swap_plan import Move, Side, SwapPlan, planned
from provisioner.fleet.wipe import ask_wipe
from provisioner.line_errands import have_fetch
from provisioner.model import ConfigLayer, Device, DeviceState, Mac, Scope
from provisioner.store import devices, layer_rows, people
from provisioner.store.database import Change
from provisioner.store.journal import find_seen
from provisioner.store.policies import policy_of
from provisioner.store.rolled import layers_for
from provisioner.store.rows import Binding
from provisioner.store.wipes import wipe_of
from provisioner.welcome import phone_bound, phone_known, phone_taken_away


@dataclass(frozen=True, slots=True)
class Swapped:
    """What has come of it."""

    plan: SwapPlan
    bound: Sequence[Binding]
    """Lines of the new phone."""
    exchanged: Sequence[str]
    """Numbers that have another SIP secret now, which the PBX has to read."""
    told: Sequence[Mac]
    """Phones that are told to fetch; the others get it when they come."""


class Swap(Rebinding):
    """Phones that take the place of others."""

    async def plan_swap(self, old: Mac, new: Mac, *, vendor: str = "", model: str = "") -> SwapPlan:
        """What would go over and what would be lost; nothing is changed.

        A phone that nobody has added needs vendor and model, unless it was here already and told them.
        """
        async with self._store.reading() as connection:
            fresh = await self._new_device(connection, await device_of(connection, old), new, vendor, model)
            return await self._plan(connection, old, fresh)

    async def swap(self, old: Mac, new: Mac, *, plan: str = "", vendor: str = "", model: str = "") -> Swapped:
        """Do it. ``plan`` is the token of what was shown; without losses it may be left out."""
        async with self._change() as change:
            worn = await device_of(change.connection, old)
            fresh = await self._new_device(change.connection, worn, new, vendor, model)
            found = await self._plan(change.connection, old, fresh)
            _require_seen(found, plan)
            await self._prepare(change, worn, fresh)
            bound = [await self._over(change, one, found, fresh) for one in found.moves]
            others = await self._leave(change, found)
            await layer_rows.write_layer(change.connection, self._store.box, found.layer)
            told = await have_fetch(change, self._drivers, [new, *others])
            told += await have_fetch(change, self._drivers, [old], restart=True)
            lines = ", ".join(f"{one.number}: {one.line} -> {one.to}" for one in found.moves)
            lost = ", ".join(one.name for one in found.losses)
            change.audit("device_swapped", mac=old, new=new, lines=lines, lost=lost, account=worn.account)
        return Swapped(found, bound, found.exchanged, told)

    # --- what is looked at --------------------------------------------------------------------------------

    async def _new_device(self, connection: AsyncConnection, old: Device, new: Mac, vendor: str, model: str) -> Device:
        """The new phone, or what it will be; refused where it cannot take the other's place."""
        if old.mac == new:
            raise Invalid("new", "is the phone that is to be replaced")
        found = await devices.find_device(connection, new)
        if found is None:
            return await self._unadded(connection, old, new, vendor, model)
        if found.account != old.account:
            cure = Cure(Deed.MOVE_DEVICE, new, old.account)
            raise Conflict(f"{new.colons} belongs to another account: move it to this one first", cure=cure)
        if found.state is DeviceState.REVOKED:
            raise Conflict(f"{new.colons} is revoked: take that back first", cure=Cure(Deed.RESTORE_DEVICE, new))
        if bound := await devices.bindings_of(connection, new, active=True):
            lines = ", ".join(f"{one.number} on line {one.line}" for one in bound)
            raise Conflict(f"the new phone {new.colons} has {lines}: unbind it first, or take a phone that has no line")
        wipe = await wipe_of(connection, new)
        if wipe.replaced_by != old.mac:  # what has come from it goes back to it
            require_forgotten(new, wipe)
        return found

    async def _unadded(self, connection: AsyncConnection, old: Device, new: Mac, vendor: str, model: str) -> Device:
        seen = await find_seen(connection, new) if self._principal.reach.accounts is None else None
        vendor, model = vendor or (seen.vendor if seen else ""), model or (seen.model if seen else "")
        if not (vendor and model):
            raise NotFound(f"there is no device {new.colons}: add it first, or say its vendor and model")
        name = self._model(vendor, model).name
        return Device(new, vendor, name, DeviceState.UNASSIGNED, old.account, old.site)

    async def _plan(self, connection: AsyncConnection, old: Mac, fresh: Device) -> SwapPlan:
        worn = await device_of(connection, old)
        if (await wipe_of(connection, old)).everything:
            raise Conflict(f"{old.colons} is wiped: nothing is left of it that another phone could take over")
        bound = await devices.bindings_of(connection, old, active=True)
        own, others = [await self._layer(connection, Scope.DEVICE, mac) for mac in (old, fresh.mac)]
        if (await wipe_of(connection, fresh.mac)).replaced_by:
            others = ConfigLayer(Scope.DEVICE, fresh.mac)  # they are another's, and go with the end of its wipe
        places = ((Scope.DEFAULTS, ""), (Scope.ACCOUNT, worn.account), (Scope.SITE, worn.site))
        told = tuple((scope, key) for scope, key in places if key or scope is Scope.DEFAULTS)
        shared = await layers_for(connection, self._store.box, fresh.mac, told)
        plan = planned(self._side(worn), self._side(fresh), bound, own, others, shared)
        return replace(plan, exchanged=tuple(await self._exchanged(connection, worn, plan)))

    async def _layer(self, connection: AsyncConnection, scope: Scope, key: str) -> ConfigLayer:
        return await layer_rows.read_layer(connection, self._store.box, scope, key) or ConfigLayer(scope, key)

    def _side(self, device: Device) -> Side:
        return Side(device, self._model(device.vendor, device.model), self._drivers[device.vendor].manifest)

    async def _exchanged(self, connection: AsyncConnection, old: Device, plan: SwapPlan) -> list[str]:
        """Numbers whose SIP secret follows: the old phone is one that will know it and have them no more."""
        rotation = (await policy_of(connection, old.account)).rotation
        lives = [(one.number, await people.secret_life(connection, one.extension)) for one in plan.moves]
        return [number for number, life in lives if is_exchanged(life, rotation)]

    # --- what is done -------------------------------------------------------------------------------------

    async def _prepare(self, change: Change, worn: Device, fresh: Device) -> None:
        """The new phone stands where the old one stood, and serves."""
        connection, mac = change.connection, fresh.mac
        if await devices.find_device(connection, mac) is None:
            await devices.insert_device(connection, fresh, change.at)
            told = {"vendor": fresh.vendor, "model": fresh.model, "account": fresh.account, "site": fresh.site}
            change.audit("device_added", mac=mac, cause="swap", **told)
            await phone_known(change, self._store.box, fresh)
        elif worn.site and fresh.site != worn.site:
            await devices.write_device(connection, mac, {"site": worn.site})
            told = {"account": worn.account, "site": worn.site, "site_before": fresh.site}
            change.audit("device_moved", mac=mac, before=worn.account, **told)
        if (wipe := await wipe_of(connection, mac)).everything:
            await end_wipe(change, self._store.box, mac, wipe)
        change.touch(Scope.DEVICE, mac)

    async def _over(self, change: Change, move: Move, plan: SwapPlan, fresh: Device) -> Binding:
        """One line; its slot stays its slot, so no extension has a phone more than before at any moment."""
        held = await devices.bindings_of(change.connection, plan.old, active=True)
        there = next(one for one in held if one.line == move.line)
        await end(change, there, cause="swap")
        bound = Binding(
            plan.new, move.to, move.extension, move.number, move.label, change.at, None, self._actor, "swap", there.slot
        )
        await begin(change, self._store.box, bound, fresh.account, cause="swap")
        await phone_bound(change, self._store.box, await extension_of(change.connection, move.extension), fresh)
        return bound

    async def _leave(self, change: Change, plan: SwapPlan) -> list[Mac]:
        """What finds no line, and the old phone itself; further phones of the extensions, which have to fetch too."""
        for one in plan.lost:
            await end(change, one, cause="swap")
            await phone_taken_away(change, self._store.box, one)
        await ask_wipe(change, plan.old, plan.new)
        held = [await devices.bindings_of_extension(change.connection, one.extension) for one in plan.moves]
        return [bound.mac for each in held for bound in each if bound.mac != plan.new]


def _require_seen(plan: SwapPlan, token: str) -> None:
    """Conflict where something would be lost that nobody has looked at."""
    if token and token != plan.token:
        raise Conflict("what would be swapped has changed since it was looked at: look again, and name that plan")
    if not token and (lost := plan.losses):
        told = "; ".join(f"{one.what} {one.name}: {one.why}" for one in lost)
        raise Conflict(f"something would be lost: {told}. Name the plan {plan.token} to do it all the same")
