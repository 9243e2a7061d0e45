"""What there is already, of what an import speaks of: read from the store, and changed by each step that is planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import singledispatchmethod

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
from provisioner.licensing import AccountPolicy, EmergencyRule, LicenseState
from provisioner.model import Device, Mac
from provisioner.preconditions import Phones
from provisioner.store.rows import Account, Binding, Extension, ExtensionHold, Site, User
from provisioner.wiping import Wipe


@dataclass(slots=True)
class World:
    """Found by what a file calls it; what was planned counts as done."""

    accounts: dict[str, list[Account]] = field(default_factory=dict)
    """By what the file calls them."""
    policies: dict[str, AccountPolicy] = field(default_factory=dict)
    devices: dict[Mac, Device] = field(default_factory=dict)
    foreign: set[Mac] = field(default_factory=set)
    """Devices that cannot be seen from here; not whose."""
    wipes: dict[Mac, Wipe] = field(default_factory=dict)
    """Of devices that are to forget everything."""
    settings: dict[Mac, Mapping[str, object]] = field(default_factory=dict)
    """Own layers of devices whose model a file gives otherwise."""
    holds: dict[tuple[str, str], ExtensionHold] = field(default_factory=dict)
    seats: dict[str, LicenseState] = field(default_factory=dict)
    """By user."""
    reachable: set[str] = field(default_factory=set)
    """Extensions that have a phone number."""
    located: set[str] = field(default_factory=set)
    """Ids of sites and users with an address for emergencies, and of extensions of such users."""
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """By extension, where a file gives one."""
    _sites: dict[tuple[str, str], dict[str, Site]] = field(default_factory=dict)
    _users: dict[str, User] = field(default_factory=dict)
    _called: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)
    """Ids of users by account and name, and by account and address."""
    _extensions: dict[tuple[str, str], Extension] = field(default_factory=dict)
    _lines: dict[Mac, dict[int, Binding]] = field(default_factory=dict)
    _phones: dict[str, list[Binding]] = field(default_factory=dict)

    # --- what was read; what is known already stays as it was planned -----------------------------------

    def know_sites(self, found: Iterable[Site]) -> None:
        """Places."""
        for one in found:
            self._sites.setdefault((one.account, one.name), {}).setdefault(one.id, one)

    def know_users(self, found: Iterable[User]) -> None:
        """People."""
        for one in found:
            if one.id not in self._users:
                self._know_user(one)

    def _know_user(self, one: User) -> None:
        self._users[one.id] = one
        for name in {one.name, one.email} - {""}:
            self._called.setdefault((one.account, name), {})[one.id] = None

    def know_extensions(self, found: Iterable[Extension]) -> None:
        """Numbers."""
        for one in found:
            self._extensions.setdefault((one.account, one.number), one)

    def know_bindings(self, found: Iterable[Binding]) -> None:
        """Those that are active, the longest first."""
        for one in found:
            if self._lines.setdefault(one.mac, {}).setdefault(one.line, one) is one:
                self._phones.setdefault(one.extension, []).append(one)

    # --- what is asked ------------------------------------------------------------------------------------

    def sites(self, account: str, name: str) -> list[Site]:
        """Places of an account that are called so."""
        return list(self._sites.get((account, name), {}).values())

    def all_sites(self, account: str) -> list[Site]:
        """Places of an account that a file names."""
        return [one for (owner, _), found in self._sites.items() if owner == account for one in found.values()]

    def users(self, account: str, called: str) -> list[User]:
        """Users of an account with this name or address."""
        return [self._users[ident] for ident in self._called.get((account, called), {})]

    def all_users(self, account: str) -> list[User]:
        """Users of an account that a file speaks of."""
        return [one for one in self._users.values() if one.account == account]

    def user(self, ident: str) -> User | None:
        """By id."""
        return self._users.get(ident)

    def extension(self, account: str, number: str) -> Extension | None:
        """By number."""
        return self._extensions.get((account, number))

    def known_extensions(self) -> list[Extension]:
        """All of them."""
        return list(self._extensions.values())

    def lines(self, mac: Mac) -> Mapping[int, Binding]:
        """What is on a device's lines."""
        return self._lines.get(mac, {})

    def is_lost(self, site: str, whose: str) -> bool:
        """Whether nobody could be sent to a line at this site; ``whose``: its user, or its extension."""
        return not {site, whose} & self.located

    def blocks(self, account: str) -> bool:
        """Whether the account's policy does not let such a line be."""
        return self.policies[account].emergency is EmergencyRule.BLOCK

    def phones(self, extension: Extension) -> Phones:
        """Where an extension is, and where it may be."""
        return Phones(tuple(self._phones.get(extension.id, ())), self.policies[extension.account])

    # --- what is planned ----------------------------------------------------------------------------------

    @singledispatchmethod
    def take(self, step: Step) -> None:
        """From now on it is so."""
        raise TypeError(f"no such step: {type(step).__name__}")

    @take.register
    def _(self, step: AddSite) -> None:
        self.know_sites([step.site])

    @take.register
    def _(self, step: AddUser) -> None:
        self._know_user(step.user)

    @take.register
    def _(self, step: SetEmail) -> None:
        self._know_user(step.user)

    @take.register
    def _(self, step: AddExtension) -> None:
        self.know_extensions([step.extension])
        self.secrets[step.extension.id] = step.secret

    @take.register
    def _(self, step: SetSecret) -> None:
        self.secrets[step.extension.id] = step.secret

    @take.register(AddDevice)
    @take.register(MoveDevice)
    @take.register(SetModel)
    def _(self, step: AddDevice | MoveDevice | SetModel) -> None:
        self.devices[step.device.mac] = step.device

    @take.register
    def _(self, step: Bind) -> None:
        self.know_bindings([step.binding])
        self.located |= {step.extension.id} if step.extension.user in self.located else set()

    @take.register
    def _(self, step: Relabel) -> None:
        self._lines[step.before.mac].pop(step.before.line)
        held = self._phones[step.before.extension]
        held[held.index(step.before)] = step.bind.binding
        self._lines[step.before.mac][step.before.line] = step.bind.binding
