"""A code that fits takes effect: used up, device added where nobody had, extension moved, all in one transaction.

What was looked up before is looked up again under the lock of administrators' changes, and the code itself is taken by
the one UPDATE that says whether it won.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.activation_verdict import Attempt, Case, Cause, Outcome, Redemption, objection
from provisioner.bindings import Begun, begin, end
from provisioner.codes import ActivationCode, masked
from provisioner.desk import extension_of
from provisioner.emergency import is_blocked
from provisioner.events import printable
from provisioner.licensing import CodeNetworks
from provisioner.line_errands import have_fetch
from provisioner.model import Device, DeviceState, Mac, Model, Scope
from provisioner.networks import site_of
from provisioner.neutral import ACTIVATION
from provisioner.preconditions import Phones, Preconditions, phones_of
from provisioner.store import codes, devices, sources, wipes
from provisioner.store.database import Change, change_on
from provisioner.store.journal import find_seen
from provisioner.store.rolled import layers_for
from provisioner.store.rows import Binding
from provisioner.store.secretbox import SecretBox
from provisioner.vendor import VendorDriver

ACTOR: Final = "device"


class Rules(NamedTuple):
    """What holds for every attempt of this moment."""

    now: float
    window: float
    """s after it got its first line that a phone may be given further ones, and may repeat its code."""
    reach: Callable[[str], bool]
    """Whether devices at an address are offered activation though nobody has added them."""
    wanted: Preconditions
    """What the extension's account must have, as when the code was issued."""


@dataclass(slots=True)
class Entry:
    """An attempt while it is looked at: its transaction, and the code that its digits have found."""

    connection: AsyncConnection
    attempt: Attempt
    finders: tuple[str, ...] = field(repr=False)
    model: Model
    now: float
    rules: Rules
    code: ActivationCode | None = None
    offered: bool = True
    bound: float | None = None
    came_from: str = ""
    """The address that speaks against it."""

    @classmethod
    def of(cls, connection: AsyncConnection, box: SecretBox, attempt: Attempt, model: Model, rules: Rules) -> Entry:
        """With what the digits can be found by."""
        return cls(connection, attempt, box.code_finders(attempt.code), model, rules.now, rules)

    async def look(self, box: SecretBox, device: Device | None) -> None:
        """Read what is to be known of the device before its digits are looked at, the same for whatever they are."""
        held = await devices.bindings_of(self.connection, self.attempt.mac, active=True)
        self.bound = min((one.since for one in held), default=None)
        if self.attempt.authenticated:
            self.offered = await is_offered(self.connection, box, self.attempt.mac, device, self.rules.reach)

    def objection(self, device: Device | None) -> Cause | None:
        """What speaks against it as far as rows can tell."""
        if self.code is None:
            return Cause.UNKNOWN
        case = Case(self.attempt, self.code, device, self.model, self.now, self.offered, self.bound, self.rules.window)
        return objection(case)

    def whose(self) -> dict[str, str]:
        """Whose code it is, for events; nothing where the digits are nobody's."""
        one = self.code
        told = {"activation": one.id, "extension": one.extension, "number": one.number} if one else {}
        return told | ({"came_from": self.came_from} if self.came_from else {})


def told_of(attempt: Attempt) -> dict[str, str]:
    """An attempt for events: its digits masked, and nothing from outside unprintable."""
    told = {
        "code": masked(attempt.code),
        "attempt": str(attempt.number),
        "source": attempt.source,
        "channel": attempt.channel,
        "proven": "yes" if attempt.authenticated else "no",
        "vendor": attempt.vendor,
        "model": attempt.model,
    }
    return {name: printable(value) for name, value in told.items() if value}


async def is_offered(
    connection: AsyncConnection, box: SecretBox, mac: Mac, device: Device | None, reach: Callable[[str], bool]
) -> bool:
    """Whether the device would be offered activation now: what it proves itself by outlives the offer.

    Adding a device removes what was seen of it, so a removed one has been here again when anything is.
    """
    if device is None:
        seen = await find_seen(connection, mac)
        return seen is not None and reach(seen.address)
    if device.state is DeviceState.REVOKED or (await wipes.wipe_of(connection, mac)).everything:
        return False
    layers = await layers_for(connection, box, mac, _layers_of(device))
    return next((one.values[ACTIVATION.name] is True for one in layers if ACTIVATION.name in one.values), False)


def _layers_of(device: Device) -> tuple[tuple[Scope, str], ...]:
    """The strongest first."""
    return (
        (Scope.DEVICE, device.mac),
        (Scope.SITE, device.site),
        (Scope.ACCOUNT, device.account),
        (Scope.MODEL, f"{device.vendor}/{device.model}"),
        (Scope.VENDOR, device.vendor),
        (Scope.DEFAULTS, ""),
    )


async def is_again(entry: Entry) -> Redemption | None:
    """Who used the code a moment ago, keys it in again and still has the extension, hears again that it worked.

    A caller who hung up on "your phone will restart" may lift the handset before it does.
    """
    one, mac = entry.code, entry.attempt.mac
    if one is None or not entry.attempt.authenticated or one.used_by != mac or not entry.offered:
        return None
    if one.ended is None or entry.now - one.ended >= entry.rules.window:
        return None
    bound = (await phones_of(entry.connection, one.extension, one.account)).on(mac)
    if bound is None:
        return None
    return Redemption(Outcome.ACCEPTED, one.number, mac, bound.line)


async def preview(entry: Entry) -> Redemption | Cause:
    """Whose extension it would be, as far as can be told without the lock."""
    if (code := entry.code) is None:
        return Cause.UNKNOWN
    line = await _line_for(entry, code, await phones_of(entry.connection, code.extension, code.account))
    return line if isinstance(line, Cause) else Redemption(Outcome.ACCEPTED, code.number, line=line)


async def accept(entry: Entry, box: SecretBox, drivers: Mapping[str, VendorDriver]) -> Redemption | Cause:
    """Bind the device, unless something has come in between; then nothing but the answer is different.

    A phone that loses the extension by it is asked to fetch, too.
    """
    async with change_on(entry.connection, ACTOR, entry.now) as change:
        entry.code = code = await codes.find_code(change.connection, entry.finders)
        device = await devices.find_device(change.connection, entry.attempt.mac)
        await entry.look(box, device)
        cause = entry.objection(device)
        if code is None or cause is not None:
            return cause or Cause.UNKNOWN
        phones = await phones_of(change.connection, code.extension, code.account)
        line = await _line_for(entry, code, phones)
        if isinstance(line, Cause):
            return line
        if not await codes.redeem_code(change.connection, code.id, entry.attempt.mac, entry.now):
            return Cause.USED
        await _place(change, entry, code, device)
        replaced, begun = await _rebind(change, box, code, entry.attempt.mac, line, phones)
        told = {"line": str(line), **entry.whose(), **told_of(entry.attempt)}
        if replaced:
            told["replaced"] = replaced
        if begun.rotated:
            told["rotated"] = "yes"
        await have_fetch(change, drivers, [*([replaced] if replaced else []), *begun.others])
        change.audit("device_activated", mac=entry.attempt.mac, **told)
    return Redemption(Outcome.ACCEPTED, code.number, entry.attempt.mac, line, replaced)


async def _line_for(entry: Entry, code: ActivationCode, phones: Phones) -> int | Cause:
    """The line the extension is on already, else the first that is free: an ATA has a code for each of its ports."""
    mac = entry.attempt.mac
    if (own := phones.on(mac)) is not None:
        return own.line
    if (await wipes.wipe_of(entry.connection, mac)).holds:
        return Cause.NOT_OFFERED
    if phones.policy.networks is CodeNetworks.SITE and not await _is_at_home(entry, code):
        return Cause.NETWORK
    if (lacking := await _lacking(entry, code)) is not None:
        return lacking
    if phones.full and not code.replaces:
        return Cause.HAS_PHONE
    taken = {one.line for one in await devices.bindings_of(entry.connection, mac, active=True)}
    return next((line for line in range(1, entry.model.lines + 1) if line not in taken), Cause.NO_LINE)


async def _lacking(entry: Entry, code: ActivationCode) -> Cause | None:
    """What was there when the code was issued and is not there any more."""
    found = await extension_of(entry.connection, code.extension, code.account)
    if await entry.rules.wanted.license(entry.connection, found):
        return Cause.NO_LICENSE
    if await entry.rules.wanted.number(entry.connection, found):
        return Cause.NO_NUMBER
    blocked = await is_blocked(entry.connection, found.id, entry.attempt.mac, code.site)
    return Cause.NO_LOCATION if blocked else None


async def _is_at_home(entry: Entry, code: ActivationCode) -> bool:
    """Whether the phone fetched last from a network of its site: its own, else the code's, else any of the account."""
    connection, mac = entry.connection, entry.attempt.mac
    device = await devices.find_device(connection, mac)
    site = (device.site if device else "") or code.site
    came_from = await sources.source_of(connection, mac)
    networks = await sources.networks_of(connection, code.account, site)
    if came_from and site_of(came_from, networks):
        return True
    entry.came_from = came_from or "nowhere yet"
    return False


async def _place(change: Change, entry: Entry, code: ActivationCode, device: Device | None) -> None:
    """A stranger with a good certificate joins the code's account; a device that stands nowhere comes to its site."""
    mac, model = entry.attempt.mac, entry.model
    if device is None:
        fresh = Device(mac, model.vendor, model.name, DeviceState.UNASSIGNED, code.account, code.site)
        await devices.insert_device(change.connection, fresh, change.at)
        told = {"vendor": model.vendor, "model": model.name, "account": code.account, "site": code.site}
        change.audit("device_added", mac=mac, cause="code", **told)
    elif code.site and not device.site:
        await devices.write_device(change.connection, mac, {"site": code.site})
        change.audit("device_moved", mac=mac, account=code.account, site=code.site, before=code.account)


async def _rebind(
    change: Change, box: SecretBox, code: ActivationCode, mac: Mac, line: int, phones: Phones
) -> tuple[Mac | None, Begun]:
    """Free the extension where it was, when the code says so, and bind it here; who lost it, and what has begun."""
    change.touch(Scope.DEVICE, mac)
    if phones.on(mac) is not None:
        return None, Begun()
    if (gone := phones.given_up(mac) if code.replaces else None) is not None:
        await end(change, gone, cause="code")
    slot = phones.slot(gone)
    bound = Binding(mac, line, code.extension, code.number, "", change.at, None, ACTOR, "code", slot)
    begun = await begin(change, box, bound, code.account, cause="code")
    return (gone.mac if gone else None), begun
