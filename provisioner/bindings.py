"""What begins and what ends when a line changes hands, the same whoever changes it: administrator, code, hook, import.

A SIP secret is a phone's for as long as it has the extension. When the extension comes to another phone than the ones
that know its secret, a new one is made in the transaction that binds it, if its account's policy says so; the PBX hears
of it by an event that does not hold it. A line that was freed is emptied by name in what the phone fetches next.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from provisioner.deeds import Cure, Deed
from provisioner.emergency import require_location
from provisioner.errors import Conflict
from provisioner.licensing import Rotation
from provisioner.model import ConfigLayer, Mac, Scope
from provisioner.store import devices, layer_rows, people, wipes
from provisioner.store.database import Change
from provisioner.store.people import SEVERAL, SecretLife
from provisioner.store.policies import policy_of
from provisioner.store.rows import Binding
from provisioner.store.secretbox import SecretBox
from provisioner.wiping import Wipe

_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
_GENERATED: Final = 20
"""Characters of 57: 116 bits, and nobody mistakes an O for a 0 when it is typed into a phone."""


def generated_secret() -> str:
    """A password no one has to think of."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_GENERATED))


@dataclass(frozen=True, slots=True)
class Exchanged:
    """An extension's SIP password that was made anew: whose it is, and who gets it. The password is not in here."""

    extension: str
    number: str
    account: str
    account_name: str
    user: str
    """The name of who holds it."""
    phones: tuple[Mac, ...]
    """They have it with their next fetch; the one that was bound comes first."""

    @property
    def told(self) -> str:
        """In words."""
        phones = " and ".join(mac.colons for mac in self.phones)
        get = "gets" if len(self.phones) == 1 else "get"
        return (
            f"the SIP password of extension {self.number} ({self.user}, account {self.account_name}) was made anew: "
            f"the PBX has to read it, and {phones} {get} it with the next fetch"
        )


@dataclass(frozen=True, slots=True)
class Begun:
    """What has come of it."""

    exchanged: Exchanged | None = None
    """Where the extension has another SIP secret now, which the PBX has to read."""
    others: tuple[Mac, ...] = ()
    """Its further phones: they have to fetch the new secret as well."""

    @property
    def rotated(self) -> bool:
        """Whether there is another SIP secret."""
        return self.exchanged is not None


async def begin(change: Change, box: SecretBox, one: Binding, account: str, **told: str) -> Begun:
    """An extension of this account comes to a line, which is free."""
    await require_location(change, one, account)
    await devices.insert_binding(change.connection, one)
    await fill(change, box, one)
    change.touch(Scope.DEVICE, one.mac)
    about = {"line": str(one.line), "extension": one.extension, "number": one.number}
    change.audit("line_bound", mac=one.mac, **about, **told)
    return await follow(change, box, one, account)


async def fill(change: Change, box: SecretBox, one: Binding) -> None:
    """The line is not to be forgotten any more. What another device took over from this one is that one's alone."""
    found = await wipes.wipe_of(change.connection, one.mac)
    require_forgotten(one.mac, found)
    if found.everything:
        await end_wipe(change, box, one.mac, found, one.line)
    else:
        await wipes.fill_line(change.connection, one.mac, found.lines, one.line)


def require_forgotten(mac: Mac, found: Wipe) -> None:
    """Conflict while a device may still know settings that go with its wipe: until then they have names."""
    if found.holds:
        raise Conflict(
            f"{mac.colons} was replaced by {Mac(found.replaced_by).colons} and has not fetched yet what empties it, so "
            "it would keep settings of before: have it fetch, or reset it by its menu and end its wipe",
            cure=Cure(Deed.END_WIPE, mac),
        )


async def end_wipe(change: Change, box: SecretBox, mac: Mac, found: Wipe, line: int = 0) -> None:
    """The device is served as any other again, which is told; who has taken over its layer meanwhile keeps that."""
    await wipes.end_all(change.connection, mac, line)
    if found.replaced_by:
        await drop_layer(change, box, mac)
    change.touch(Scope.DEVICE, mac)
    state = "no" if found.pending else "yes"
    change.audit("wipe_ended", mac=mac, replaced_by=found.replaced_by, fetched=state)


async def drop_layer(change: Change, box: SecretBox, mac: Mac) -> None:
    """A device has no settings of its own any more."""
    await layer_rows.write_layer(change.connection, box, ConfigLayer(Scope.DEVICE, mac))
    change.touch(Scope.DEVICE, mac)


async def end(change: Change, one: Binding, **told: str) -> None:
    """It leaves the line, and the phone is to forget it."""
    await devices.end_binding(change.connection, one.mac, one.line, change.at)
    await forget(change, one)
    change.touch(Scope.DEVICE, one.mac)
    about = {"line": str(one.line), "extension": one.extension, "number": one.number}
    change.audit("line_unbound", mac=one.mac, **about, **told)


async def forget(change: Change, one: Binding) -> None:
    """The phone may know the secret, and has the extension no more.

    Whether it has fetched it is not asked: that is written later and may be lost. An exchange too many costs little.
    """
    await people.note_left(change.connection, one.extension, one.mac)
    await wipes.empty_line(change.connection, one.mac, one.line, change.at, change.revision)


async def follow(change: Change, box: SecretBox, one: Binding, account: str) -> Begun:
    """A new secret where a phone knows the last one that has the extension no more."""
    life = await people.secret_life(change.connection, one.extension)
    if life.left in ("", one.mac):
        await people.note_back(change.connection, one.extension, one.mac)
        return Begun()
    if not is_exchanged(life, (await policy_of(change.connection, account)).rotation):
        return Begun()
    secret = box.seal(generated_secret().encode(), "extension", one.extension, "secret")
    await people.rotate_secret(change.connection, one.extension, secret, change.at)
    held = await devices.bindings_of_extension(change.connection, one.extension)
    others = tuple(dict.fromkeys(bound.mac for bound in held if bound.mac != one.mac))
    for mac in others:
        change.touch(Scope.DEVICE, mac)
    known = "several" if life.left == SEVERAL else life.left
    about = {"extension": one.extension, "number": one.number, "account": account}
    change.audit("secret_rotated", severity="warning", **about, phone=one.mac, known_to=known)
    return Begun(await _exchanged(change, one, account, others), others)


async def _exchanged(change: Change, one: Binding, account: str, others: tuple[Mac, ...]) -> Exchanged:
    called = await people.find_extensions(change.connection, one.extension)
    found = next(each for each in called if each.id == one.extension)
    users = [each.name for each in await people.find_users(change.connection, found.user) if each.id == found.user]
    names = [each.name for each in await people.find_accounts(change.connection, account) if each.id == account]
    name, user = next(iter(names), account), next(iter(users), found.user)
    return Exchanged(found.id, found.number, account, name, user, (one.mac, *others))


def is_exchanged(life: SecretLife, rotation: Rotation) -> bool:
    """What the policy makes of a secret that somebody else knows."""
    return rotation is Rotation.ALL or (rotation is Rotation.MADE and life.origin == people.MADE)
