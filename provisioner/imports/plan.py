"""What becomes of a row, by the rules of the use-cases: the same answer before anything is written and while it is.

Rows are planned in their order; what a row adds is there for those behind it. A row that is refused adds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Final

from provisioner.bindings import require_forgotten
from provisioner.desk import only
from provisioner.errors import Conflict, Invalid, NotFound
from provisioner.fleet.layers import check_model_fits
from provisioner.imports.rows import Row
from provisioner.imports.steps import (
    AddDevice,
    AddExtension,
    AddSite,
    AddUser,
    Bind,
    MoveDevice,
    Outcome,
    Planned,
    Relabel,
    SetEmail,
    SetModel,
    SetSecret,
    Step,
)  # fmt: skip
from provisioner.imports.world import World
from provisioner.licensing import LicenseState
from provisioner.model import Device, DeviceState, Mac, Model
from provisioner.store.people import new_id
from provisioner.store.rows import Account, Binding, Extension, Site, User
from provisioner.vendor import VendorDriver, model_named
from provisioner.wiping import Wipe

_SUGGESTED: Final = 3
CAUSE: Final = "import"
"""Of bindings."""


@dataclass(slots=True)
class Said:
    """What earlier rows have said of the same thing: two rows that contradict each other are not both done."""

    _told: dict[tuple[str, str, str], tuple[int, int, str]] = field(default_factory=dict, repr=False)

    def agree(self, row: Row, column: str, about: str, value: str, word: str = "") -> None:
        """Invalid when an earlier row says something else; ``word`` stands for a value that must not be shown."""
        line, file, before = self._told.setdefault((column, row.account, about), (row.line, row.file, value))
        if before != value:
            where = f"line {line}" if file == row.file else f"line {line} of file {file}"
            raise Invalid(column, f"{where} says {word or repr(before)} for {about}")


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans rows of one import."""

    drivers: Mapping[str, VendorDriver]
    actor: str
    at: float
    said: Said = field(default_factory=Said)

    def plan(self, row: Row, world: World) -> Planned:
        """What becomes of the row; the world is as it is afterwards."""
        if row.left_out:
            return Planned(row.line, row.file, Outcome.LEFT_OUT, why=row.left_out, mac=row.mac)
        try:
            work = _Work(self, row, world)
            steps = work.steps()
        except Invalid as error:
            return Planned(row.line, row.file, Outcome.REFUSED, why=error.why, column=error.field, mac=row.mac)
        for step in steps:
            world.take(step)
        does = tuple(str(step) for step in steps)
        outcome = Outcome.ADD if any(step.adds for step in steps) else Outcome.CHANGE if steps else Outcome.SAME
        return Planned(
            row.line, row.file, outcome, does, warnings=tuple(work.warnings), mac=row.mac, steps=tuple(steps)
        )


class _Work:
    """One row on its way from texts to steps."""

    def __init__(self, planner: Planner, row: Row, world: World) -> None:
        self.planner, self.row, self.world = planner, row, world
        self.warnings: list[str] = []
        self._steps: list[Step] = []

    def steps(self) -> list[Step]:
        """All that has to be done."""
        owner = self._account()
        site = self._site(owner) if self.row.site else None
        extension = self._extension(owner)
        device = self._device(owner, site) if self.row.mac else None
        if extension and device:
            self._line(extension, device)
        elif device and self.row.user:
            self.warnings.append(f"nothing is bound to {device.mac.colons}: the row names no extension")
        return self._steps

    # --- account, site, user ----------------------------------------------------------------------------

    def _account(self) -> Account:
        ref = self.row.account
        if not ref:
            raise Invalid("account", "is empty: name it in the file, or for all of it when you import it")
        try:
            return only(self.world.accounts.get(ref, []), "account", ref)
        except NotFound as error:
            raise Invalid("account", f"there is no account {ref!r}: add it first") from error

    def _site(self, owner: Account) -> Site:
        found = self.world.sites(owner.id, self.row.site)
        if len(found) > 1:
            raise Invalid("site", f"{len(found)} sites are called {self.row.site!r}")
        if found:
            return found[0]
        site = Site(new_id(), owner.id, self.row.site)
        self._steps.append(AddSite(site))
        return site

    def _user(self, owner: Account) -> User | None:
        """By address before name; a new one where there is none."""
        name, email = self.row.user, self.row.email
        addressed = self.world.users(owner.id, email) if email else []
        if len(addressed) > 1:
            raise Invalid("email", f"{email} may mean {len(addressed)} users")
        if addressed:
            return self._addressed(addressed[0])
        called = self.world.users(owner.id, name) if name else []
        called = [one for one in called if not email or not one.email]
        if len(called) > 1:
            raise Invalid("user", f"{len(called)} users are called {name!r}: the column email tells them apart")
        if called and email:
            self._steps.append(SetEmail(replace(called[0], email=email)))
        if called:
            return replace(called[0], email=email or called[0].email)
        return self._new_user(owner) if name else None

    def _addressed(self, found: User) -> User:
        if found.email != self.row.email:
            raise Invalid("email", f"a user of this account is called {self.row.email} already")
        if self.row.user and found.name != self.row.user:
            raise Invalid("email", f"user {found.name!r} of this account has the address {found.email} already")
        return found

    def _new_user(self, owner: Account) -> User:
        user = User(new_id(), owner.id, self.row.user, self.row.email)
        self._steps.append(AddUser(user))
        return user

    # --- extension --------------------------------------------------------------------------------------

    def _extension(self, owner: Account) -> Extension | None:
        number = self.row.extension
        found = self.world.extension(owner.id, number) if number else None
        silent = found is not None and not (self.row.user or self.row.email)
        holder = self.world.user(found.user) if found and silent else self._user(owner)
        if not number:
            return None
        if self.row.secret:
            self.planner.said.agree(self.row, "secret", f"extension {number}", self.row.secret, "another secret")
        if found is None:
            return self._new_extension(owner, number, holder)
        if holder is None or found.user != holder.id:
            whose = self.world.user(found.user)
            raise Invalid("extension", f"{number} is taken: it is user {whose.name if whose else found.user!r}'s")
        self._compared(found)
        return found

    def _new_extension(self, owner: Account, number: str, holder: User | None) -> Extension:
        if holder is None:
            raise Invalid("user", f"is empty: extension {number} is new, and somebody has to hold it")
        if number in self.world.policies[owner.id].reserved:
            raise Invalid("extension", f"{number} is reserved for calls to others, by the policy of the account")
        held = self.world.holds.get((owner.id, number))
        if held and held.until > self.planner.at and held.actor != self.planner.actor:
            raise Invalid("extension", f"{number} is kept for {held.actor}: take another, or release it")
        auth_user = self.row.auth_user or number
        one = Extension(new_id(), owner.id, number, holder.id, self.row.display_name, auth_user)
        self._steps.append(AddExtension(one, self.row.secret))
        return one

    def _compared(self, found: Extension) -> None:
        """What a file says of an extension that is there."""
        if self.row.secret and self.world.secrets.get(found.id) != self.row.secret:
            self._steps.append(SetSecret(found, self.row.secret))
        for word, said, now in (
            ("display name", self.row.display_name, found.display_name),
            ("auth user", self.row.auth_user, found.auth_user),
        ):
            if said and said != now:
                self.warnings.append(f"the {word} of extension {found.number} stays {now!r}")

    # --- device -----------------------------------------------------------------------------------------

    def _device(self, owner: Account, site: Site | None) -> Device:
        mac = self.row.mac
        assert mac is not None, "asked before"
        found = self.world.devices.get(mac)
        if mac in self.world.foreign or (found and found.account != owner.id):
            raise Invalid("mac", f"{mac.colons} belongs to another account")
        if self.row.model:
            self.planner.said.agree(self.row, "model", mac.colons, self.row.model)
        if site:
            self.planner.said.agree(self.row, "site", mac.colons, site.name)
        return self._known(found, site) if found else self._new_device(mac, owner, site)

    def _new_device(self, mac: Mac, owner: Account, site: Site | None) -> Device:
        if not self.row.model:
            raise Invalid("model", f"is empty: device {mac.colons} is new")
        model = _model(self.planner.drivers, self.row.vendor, self.row.model)
        device = Device(mac, model.vendor, model.name, DeviceState.UNASSIGNED, owner.id, site.id if site else "")
        self._warn_of_maker(mac, model.vendor)
        self._steps.append(AddDevice(device))
        return device

    def _warn_of_maker(self, mac: Mac, vendor: str) -> None:
        makers = {name for name, one in self.planner.drivers.items() if mac.oui in one.manifest.ouis}
        if makers and vendor not in makers:
            titles = " and ".join(sorted(self.planner.drivers[one].manifest.title for one in makers))
            title = self.planner.drivers[vendor].manifest.title
            self.warnings.append(f"{mac.colons} begins like a device of {titles}, not of {title}")

    def _known(self, device: Device, site: Site | None) -> Device:
        if self.row.vendor and self.row.vendor.lower() != device.vendor:
            raise Invalid("vendor", f"device {device.mac.colons} is a {device.vendor} {device.model}: remove it first")
        if self.row.model:
            device = self._modelled(device)
        if site and site.id != device.site:
            self._still_found(device.mac, site)
            before, device = device.site, replace(device, site=site.id)
            self._steps.append(MoveDevice(device, before, site.name))
        return device

    def _still_found(self, mac: Mac, site: Site) -> None:
        for line in self.world.lines(mac).values():
            if self.world.is_lost(site.id, line.extension):
                why = f"nobody could be sent to {mac.colons} there in an emergency, and it has {line.number}"
                self._lost(site.account, "site", f"{why}: give site {site.name!r} an address first")

    def _lost(self, account: str, column: str, why: str) -> None:
        """As the account's policy has it: refused, or told."""
        if self.world.blocks(account):
            raise Invalid(column, why)
        self.warnings.append(why)

    def _modelled(self, device: Device) -> Device:
        model = _model(self.planner.drivers, device.vendor, self.row.model)
        if model.name == device.model:
            return device
        for line, one in self.world.lines(device.mac).items():
            if line > model.lines:
                raise Invalid(
                    "model", f"{model.name} has {model.lines} lines and {one.number} is on line {line}: unbind it"
                )
        try:
            check_model_fits(model, self.world.settings.get(device.mac, {}))
        except Invalid as error:
            raise Invalid("model", f"device {device.mac.colons} sets {error.field}: {error.why}") from error
        changed = replace(device, model=model.name)
        self._steps.append(SetModel(changed, device.model))
        return changed

    # --- line -------------------------------------------------------------------------------------------

    def _line(self, extension: Extension, device: Device) -> None:
        key = self.row.key or 1
        there = self.world.lines(device.mac).get(key)
        if self.row.label or there is None:
            self.planner.said.agree(self.row, "label", f"line {key} of {device.mac.colons}", self.row.label)
        if there is not None and there.extension == extension.id:
            self._labelled(there, extension, device)
            return
        model = _model(self.planner.drivers, device.vendor, device.model)
        if key > model.lines:
            raise Invalid("line", f"{model.name} has lines 1 to {model.lines}")
        phones = self.world.phones(extension)
        if own := phones.on(device.mac):
            raise Invalid("line", f"extension {extension.number} is on line {own.line} of this device: unbind it there")
        if phones.full:
            raise Invalid("extension", f"{extension.number} is on {phones.told}: unbind it there first")
        if there is not None:
            raise Invalid("line", f"line {key} of {device.mac.colons} has extension {there.number}: unbind it first")
        try:
            require_forgotten(device.mac, self.world.wipes.get(device.mac, Wipe()))
        except Conflict as error:
            raise Invalid("mac", error.cause) from error
        self._licensed(extension)
        self._found(extension, device)
        self._steps.append(self._bind(extension, device, key, self.row.label, phones.slot()))

    def _labelled(self, there: Binding, extension: Extension, device: Device) -> None:
        if self.row.label and self.row.label != there.label:
            bind = self._bind(extension, device, there.line, self.row.label, there.slot)
            self._steps.append(Relabel(there, bind))

    def _bind(self, extension: Extension, device: Device, key: int, label: str, slot: int) -> Bind:
        at, actor = self.planner.at, self.planner.actor
        binding = Binding(device.mac, key, extension.id, extension.number, label, at, None, actor, CAUSE, slot)
        return Bind(binding, extension, device)

    def _found(self, extension: Extension, device: Device) -> None:
        if self.world.is_lost(device.site, extension.user):
            lack = f"neither the site of {device.mac.colons} nor the user of {extension.number} has an address"
            self._lost(extension.account, "extension", f"nobody could be sent there in an emergency: {lack}")

    def _licensed(self, extension: Extension) -> None:
        """What the account's policy asks for before an extension has a phone."""
        policy = self.world.policies[extension.account]
        if policy.needs_license:
            seat = self.world.seats.get(extension.user)
            if seat is not LicenseState.ASSIGNED:
                lack = "has no license" if seat is None else "has a license that is suspended"
                raise Invalid("extension", f"the user who holds {extension.number} {lack}")
        if policy.needs_number and extension.id not in self.world.reachable:
            raise Invalid("extension", f"{extension.number} has no phone number that has come: assign one to it first")


def _model(drivers: Mapping[str, VendorDriver], vendor: str, name: str) -> Model:
    """The model; Invalid with those that are meant most likely."""
    wanted = vendor.lower()
    if wanted and wanted not in drivers:
        raise Invalid("vendor", f"{vendor!r} is none of {', '.join(sorted(drivers))}")
    among = [drivers[wanted]] if wanted else list(drivers.values())
    found = [model for one in among if (model := model_named(one.manifest, name)) is not None]
    if len(found) == 1:
        return found[0]
    if found:
        raise Invalid("vendor", f"is empty, and {name!r} is a model of {len(found)} vendors")
    known = {model: model.lower() for one in among for model in one.manifest.models}
    near = get_close_matches(name.lower(), known.values(), _SUGGESTED)
    part = [model for model, low in known.items() if name.lower().replace(" ", "") in low.replace(" ", "")]
    meant = sorted({*(model for model, low in known.items() if low in near), *sorted(part)[:_SUGGESTED]})
    hint = f"; did you mean {', '.join(meant)}?" if meant else "; the list of models has them all"
    raise Invalid("model", f"{name!r} is no model that is known here{hint}")
