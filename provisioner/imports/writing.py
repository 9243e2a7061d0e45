"""Writes what was planned for a batch, in the transaction that it was planned in: one statement a kind of row.

Each step leaves what its use-case leaves: the rows, the notice to the workers, the audit event, and the phones that
have been here before are asked to fetch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from provisioner.bindings import fill, follow, generated_secret
from provisioner.emergency import lost_lines, tell_lost
from provisioner.imports.steps import (
    AddDevice,
    AddExtension,
    AddSite,
    AddUser,
    Bind,
    MoveDevice,
    Relabel,
    SetEmail,
    SetModel,
    SetSecret,
    Step,
)  # fmt: skip
from provisioner.line_errands import have_fetch
from provisioner.model import Mac, Scope
from provisioner.store import devices, imports, people
from provisioner.store.database import Change
from provisioner.store.secretbox import SecretBox
from provisioner.vendor import VendorDriver
from provisioner.welcome import phone_bound

_Kind = TypeVar("_Kind", bound=Step)


class Writing:
    """One batch."""

    def __init__(
        self, change: Change, box: SecretBox, drivers: Mapping[str, VendorDriver], steps: Sequence[Step]
    ) -> None:
        self._change, self._box, self._drivers, self._steps = change, box, drivers, steps
        self._added = {one.extension.id for one in self._of(AddExtension)}

    def _of(self, kind: type[_Kind]) -> list[_Kind]:
        return [one for one in self._steps if isinstance(one, kind)]

    async def write(self) -> None:
        """All of it, in the order in which rows hang on each other."""
        await self._sites()
        await self._users()
        await self._extensions()
        await self._devices()
        await self._lines()

    async def _sites(self) -> None:
        added = [one.site for one in self._of(AddSite)]
        await imports.insert_sites(self._change.connection, added)
        for site in added:
            self._change.touch(Scope.SITE, site.id)
            self._change.audit("site_added", site=site.id, account=site.account, name=site.name)

    async def _users(self) -> None:
        added = [one.user for one in self._of(AddUser)]
        await imports.insert_users(self._change.connection, added)
        for user in added:
            self._change.audit("user_added", user=user.id, account=user.account, name=user.name)
        for user in (one.user for one in self._of(SetEmail)):
            await people.write_email(self._change.connection, user.id, user.email)
            self._change.audit("email_set", user=user.id, account=user.account, address="yes")

    async def _extensions(self) -> None:
        added = self._of(AddExtension)
        sealed = [
            (one.extension, self._sealed(one.extension.id, one.secret), people.origin_of(one.secret)) for one in added
        ]
        await imports.insert_extensions(self._change.connection, sealed, self._change.at)
        await imports.end_holds(self._change.connection, (one.extension for one in added))
        for one in [one.extension for one in added]:
            told = {"extension": one.id, "account": one.account, "number": one.number, "user": one.user}
            self._change.audit("extension_added", **told)
        for step in self._of(SetSecret):
            found = step.extension
            sealed_one, origin = self._sealed(found.id, step.secret), people.origin_of(step.secret)
            await people.write_secret(self._change.connection, found.id, sealed_one, origin=origin, at=self._change.at)
            for bound in await devices.bindings_of_extension(self._change.connection, found.id):
                self._change.touch(Scope.DEVICE, bound.mac)
            self._change.audit("secret_changed", extension=found.id, account=found.account, number=found.number)

    def _sealed(self, ident: str, secret: str) -> bytes:
        return self._box.seal((secret or generated_secret()).encode(), "extension", ident, "secret")

    async def _devices(self) -> None:
        added = [one.device for one in self._of(AddDevice)]
        await imports.insert_devices(self._change.connection, added, self._change.at)
        for one in added:
            self._note(one.mac, "device_added", vendor=one.vendor, model=one.model, account=one.account, site=one.site)
        for step in self._steps:
            if isinstance(step, (MoveDevice, SetModel)):
                await imports.place_device(self._change.connection, step.device)
                self._replaced(step)

    def _replaced(self, step: MoveDevice | SetModel) -> None:
        one = step.device
        if isinstance(step, SetModel):
            self._note(one.mac, "model_set", model=one.model, before=step.before, account=one.account)
        else:
            places = {"site": one.site, "before": one.account, "site_before": step.before}
            self._note(one.mac, "device_moved", account=one.account, **places)

    async def _lines(self) -> None:
        relabelled = self._of(Relabel)
        for one in relabelled:
            await devices.end_binding(self._change.connection, one.before.mac, one.before.line, self._change.at)
            self._told("line_unbound", one.bind)
        binds = self._binds()
        await imports.insert_bindings(self._change.connection, (one.binding for one in binds))
        for bind in binds:
            self._told("line_bound", bind)
            if bind.extension.id not in self._added:  # nobody can have been mailed a code for one that is new
                await phone_bound(self._change, self._box, bind.extension, bind.device)
        await self._lost()
        await self._fetch({one.binding.mac for one in binds} | await self._follow(self._of(Bind)))

    async def _lost(self) -> None:
        """Whose phone help would not find is told, as of a line that is bound by itself."""
        bound = {(one.binding.mac, one.binding.line) for one in self._of(Bind)}
        moved = {one.device.mac for one in self._of(MoveDevice)}
        found = await lost_lines(self._change.connection, {mac for mac, _ in bound} | moved)
        await tell_lost(self._change, [one for one in found if one.mac in moved or (one.mac, one.line) in bound])

    def _binds(self) -> list[Bind]:
        return [*self._of(Bind), *(one.bind for one in self._of(Relabel))]

    async def _follow(self, binds: Sequence[Bind]) -> set[Mac]:
        """What else begins with a line: see ``bindings``; the further phones that it concerns."""
        connection = self._change.connection
        left = await imports.left_behind(connection, {one.extension.id for one in binds})
        emptied = await imports.emptied(connection, {one.binding.mac for one in binds})
        others: set[Mac] = set()
        for one in binds:
            if one.binding.mac in emptied:
                await fill(self._change, self._box, one.binding)
            if one.extension.id in left:
                begun = await follow(self._change, self._box, one.binding, one.extension.account)
                others |= set(begun.others)
        return others

    async def _fetch(self, macs: set[Mac]) -> None:
        known = await imports.may_fetch(self._change.connection, macs) if macs else []
        if known:
            await have_fetch(self._change, self._drivers, known)

    def _told(self, kind: str, bind: Bind) -> None:
        one = bind.binding
        told = {"line": str(one.line), "extension": one.extension, "number": one.number}
        self._note(one.mac, kind, account=bind.device.account, **told)

    def _note(self, mac: str, kind: str, **details: str) -> None:
        self._change.touch(Scope.DEVICE, mac)
        self._change.audit(kind, mac=mac, **details)
