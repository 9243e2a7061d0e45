"""What must be so before a phone becomes an extension's: asked when a code is issued, when it is redeemed, and on bind.

Each is asked in the transaction that does it, since a license may be gone by the time the code is keyed in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.deeds import Cure, Deed
from provisioner.errors import NoLicense, NoNumber
from provisioner.licensing import AccountPolicy, LicenseState
from provisioner.model import Mac
from provisioner.store.devices import bindings_of_extension
from provisioner.store.licenses import seats_of
from provisioner.store.numbers import has_number
from provisioner.store.policies import policy_of
from provisioner.store.rows import Binding, Extension


@dataclass(frozen=True, slots=True)
class Lack:
    """Why an extension may not have a phone, and what to do."""

    why: str
    cure: Cure | None = None


Hook = Callable[[AsyncConnection, Extension], Awaitable[Lack | None]]
"""Says what an extension lacks; None when it may have a phone."""


async def unlicensed(connection: AsyncConnection, extension: Extension) -> Lack | None:
    """Where its account's policy wants a license, its user has one that is not suspended."""
    if not (await policy_of(connection, extension.account)).needs_license:
        return None
    held = await seats_of(connection, extension.user)
    if not held:
        cure = Cure(Deed.ASSIGN_LICENSE, extension.user, extension.account)
        return Lack(f"the user who holds extension {extension.number} has no license", cure)
    if held[0].state is LicenseState.SUSPENDED:
        cure = Cure(Deed.RESUME_LICENSE, held[0].id, extension.account)
        return Lack(f"the license of the user who holds extension {extension.number} is suspended", cure)
    return None


async def unreachable(connection: AsyncConnection, extension: Extension) -> Lack | None:
    """Where its account's policy wants a number, it has one that has come."""
    needed = (await policy_of(connection, extension.account)).needs_number
    if not needed or await has_number(connection, extension.id):
        return None
    cure = Cure(Deed.ASSIGN_NUMBER, extension.number, extension.account)
    return Lack(f"extension {extension.number} has no phone number that has come", cure)


async def undialled(connection: AsyncConnection, extension: Extension) -> Lack | None:
    """Somebody can dial it: it has a digit, and the number that its account's policy wants."""
    if any(letter.isdecimal() for letter in extension.number):
        return await unreachable(connection, extension)
    why = f"extension {extension.number} has no digit in it, so nobody can dial it: give its user one with a number"
    return Lack(why)


async def require_met(connection: AsyncConnection, extension: Extension, policy: AccountPolicy) -> None:
    """What the account asks for; most ask for nothing, and nothing is looked up."""
    if policy.needs_license and (lack := await unlicensed(connection, extension)):
        raise NoLicense(lack.why, cure=lack.cure)
    if policy.needs_number and (lack := await unreachable(connection, extension)):
        raise NoNumber(lack.why, cure=lack.cure)


@dataclass(frozen=True, slots=True)
class Preconditions:
    """What is asked of an account; nothing of it is stored with a code, so it is asked each time anew."""

    license: Hook = unlicensed
    number: Hook = undialled


@dataclass(frozen=True, slots=True)
class Phones:
    """The phones that an extension has, the one that has had it longest first, and the policy of its account."""

    held: tuple[Binding, ...]
    policy: AccountPolicy

    @property
    def most(self) -> int:
        """Phones that it may have at the same time."""
        return self.policy.phones

    @property
    def full(self) -> bool:
        """Whether it may have no further one."""
        return len(self.held) >= self.most

    @property
    def told(self) -> str:
        """Where it is, for people."""
        return " and ".join(f"line {one.line} of {one.mac.colons}" for one in self.held)

    def on(self, mac: Mac) -> Binding | None:
        """Where it is on this phone: no phone has an extension twice."""
        return next((one for one in self.held if one.mac == mac), None)

    def given_up(self, mac: Mac) -> Binding | None:
        """Which one a phone takes the place of when it shall replace one: itself, else who has had it longest."""
        return self.on(mac) or (self.held[0] if self.held else None)

    def slot(self, gone: Binding | None = None) -> int:
        """The lowest that is free once ``gone`` has made way; it is above ``most`` when none is."""
        used = {one.slot for one in self.held if one is not gone}
        return next(slot for slot in range(1, self.most + len(self.held) + 2) if slot not in used)


async def phones_of(connection: AsyncConnection, extension: str, account: str) -> Phones:
    """The phones of an extension by its account's policy."""
    policy = await policy_of(connection, account)
    return Phones(tuple(await bindings_of_extension(connection, extension)), policy)
