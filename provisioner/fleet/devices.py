"""Use-cases of the administrator: devices, what is bound to their lines, and what they may use to prove themselves."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Final

from provisioner.audit_chain import changed
from provisioner.bindings import Begun, begin, end, forget, generated_secret
from provisioner.deeds import Cure, Deed
from provisioner.desk import Desk, account_id, account_of, device_of, extension_for, site_id, text_of
from provisioner.emergency import require_still
from provisioner.errors import Conflict, ExtensionHasPhone, Invalid, NotFound
from provisioner.fleet.layers import check_model_fits
from provisioner.line_errands import have_fetch
from provisioner.model import Device, DeviceState, Mac, Model, Scope
from provisioner.preconditions import Phones, phones_of, require_met
from provisioner.store import devices, handover, journal, layer_rows, people, tokens, uploads, wipes
from provisioner.store.database import Change
from provisioner.store.devices import DeviceFilter
from provisioner.store.rows import Binding, Extension, Pin, Token
from provisioner.vendor import model_named, older
from provisioner.welcome import phone_bound, phone_known, phone_taken_away

_LABEL: Final = 40
_WINDOW: Final = 3600.0
_FETCHES: Final = 40
_KEY: Final = re.compile(r"[0-9a-f]{16,64}")
_DIGITS: Final = 64
_ALARMS: Final = 10_000
"""The newest ones of a device that are looked through for keys."""
_EVERYBODY: Final = "f" * 12
_SLACK: Final = 60.0
"""s: another worker may have noted a key shortly before the one that won was pinned."""


class Devices(Desk):
    """Phones and ATAs."""

    def _model(self, vendor: str, model: str) -> Model:
        driver = self._drivers.get(vendor)
        if driver is None:
            raise Invalid("vendor", f"{vendor!r} is none of {', '.join(sorted(self._drivers))}")
        found = model_named(driver.manifest, model)
        if found is None:
            near = [
                name
                for name in driver.manifest.models
                if model.lower().replace(" ", "") in name.lower().replace(" ", "")
            ]
            hint = f"; did you mean {', '.join(sorted(near)[:5])}?" if near and model else ""
            raise Invalid("model", f"{model!r} is no {driver.manifest.title} model that is known here{hint}")
        return found

    def _model_wanted(self, vendor: str, model: str) -> str:
        """A model's own name for what an administrator looks for; Invalid when there is no such vendor or model."""
        if vendor and vendor not in self._drivers:
            raise Invalid("vendor", f"{vendor!r} is none of {', '.join(sorted(self._drivers))}")
        if not model:
            return ""
        if vendor:
            return self._model(vendor, model).name
        named = {one.name for driver in self._drivers.values() if (one := model_named(driver.manifest, model))}
        if len(named) != 1:
            raise Invalid("model", f"{model!r} is no model", cure=Cure(Deed.LIST_MODELS))
        return named.pop()

    def _told(self, device: Device) -> Device:
        """With the state that only the model can tell."""
        driver = self._drivers.get(device.vendor)
        model = driver.manifest.models.get(device.model) if driver else None
        old = model is not None and bool(device.firmware and model.min_firmware)
        if model is None or not old or device.state is DeviceState.REVOKED:
            return device
        return (
            replace(device, state=DeviceState.NEEDS_FIRMWARE) if older(device.firmware, model.min_firmware) else device
        )

    async def add_device(self, mac: Mac, *, vendor: str, model: str, account: str, site: str = "") -> Device:
        """A device that may now prove itself and fetch."""
        if mac == _EVERYBODY:
            raise Invalid("mac", f"{mac.colons} is Ethernet's address for everybody, not a device")
        model = self._model(vendor, model).name
        async with self._change() as change:
            owner = await account_of(change.connection, account)
            place = await site_id(change.connection, site, owner.id)
            if (found := await devices.find_device(change.connection, mac)) is not None:
                raise Conflict(f"device {mac.colons} is there already, in account {found.account}")
            device = Device(mac, vendor, model, DeviceState.UNASSIGNED, owner.id, place)
            await devices.insert_device(change.connection, device, change.at)
            _note(change, mac, "device_added", vendor=vendor, model=model, account=owner.id, site=place)
            await phone_known(change, self._store.box, device)
        return device

    async def devices(
        self,
        *,
        account: str = "",
        site: str = "",
        vendor: str = "",
        model: str = "",
        state: DeviceState | None = None,
        after: str = "",
        limit: int = 1000,
    ) -> list[Device]:
        """A page of devices by Mac; ``after`` is the last Mac of the page before."""
        model = self._model_wanted(vendor, model)
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            place = await site_id(connection, site, owner)
            wanted = DeviceFilter(owner, place, vendor, model, state, after, limit)
            found = [self._told(one) for one in await devices.list_devices(connection, wanted)]
        return [one for one in found if state in {None, one.state}]

    async def device(self, mac: Mac) -> Device:
        """One device."""
        async with self._store.reading() as connection:
            return self._told(await device_of(connection, mac))

    async def move_device(self, mac: Mac, *, account: str, site: str = "") -> Device:
        """Give it to another account or site.

        Into another account it brings nothing: it must be unbound first, and wiped where it was ever served; whatever
        is kept about it of the former account is dropped.
        """
        async with self._change() as change:
            device = await device_of(change.connection, mac)
            owner = await account_of(change.connection, account)
            place = await site_id(change.connection, site, owner.id)
            if owner.id != device.account:
                await _refuse_bound(change, mac, "before it changes its account")
                await _refuse_unwiped(change, mac)
                await handover.forget_former(change.connection, mac)
                change.later.append(partial(uploads.forget_files, self._store.uploads, mac))
            await devices.write_device(change.connection, mac, {"account": owner.id, "site": place or None})
            if place != device.site:
                await require_still(change, mac)
            if owner.id == device.account:
                told = {"before": device.account, "site_before": device.site}
            else:  # each account is told of its own side, and not whose the other is
                told = {"came": "from another account"}
                _note(change, mac, "device_moved", account=device.account, site=device.site, went="to another account")
            _note(change, mac, "device_moved", account=owner.id, site=place, **told)
        return self._told(replace(device, account=owner.id, site=place))

    async def set_model(self, mac: Mac, *, model: str) -> Device:
        """Correct the model; refused when what is bound or set does not fit it."""
        async with self._change() as change:
            device = await device_of(change.connection, mac)
            fitting = self._model(device.vendor, model)
            for one in await devices.bindings_of(change.connection, mac, active=True):
                if one.line > fitting.lines:
                    raise Conflict(
                        f"{fitting.name} has {fitting.lines} lines and {one.number} is on line {one.line}: unbind it"
                    )
            layer = await layer_rows.read_layer(change.connection, self._store.box, Scope.DEVICE, mac)
            check_model_fits(fitting, layer.values if layer else {})
            await devices.write_device(change.connection, mac, {"model": fitting.name})
            _note(change, mac, "model_set", model=fitting.name, before=device.model)
        return self._told(replace(device, model=fitting.name))

    async def remove_device(self, mac: Mac) -> None:
        """Forget the device with its bindings, layer, pin, tokens and uploads.

        It keeps what it has in its memory, for it is served nothing any more: wipe it first. The secrets that it knows
        are exchanged when its extensions come to other phones.
        """
        async with self._change() as change:
            device = await device_of(change.connection, mac)
            bound = await devices.bindings_of(change.connection, mac, active=True)
            for one in bound:
                await forget(change, one)
            await devices.delete_device(change.connection, mac)
            for one in bound:
                await phone_taken_away(change, self._store.box, one)
            numbers = ", ".join(one.number for one in bound)
            _note(change, mac, "device_removed", account=device.account, model=device.model, unbound=numbers)
            change.later.append(partial(uploads.forget_files, self._store.uploads, mac))

    async def revoke_device(self, mac: Mac) -> Device:
        """Serve it nothing any more; its bindings stay for the day it is restored."""
        return await self._revoked(mac, True)

    async def restore_device(self, mac: Mac) -> Device:
        """Take a revocation back."""
        return await self._revoked(mac, False)

    async def _revoked(self, mac: Mac, revoked: bool) -> Device:
        async with self._change() as change:
            await device_of(change.connection, mac)
            await devices.write_device(change.connection, mac, {"revoked": revoked})
            _note(change, mac, "device_revoked" if revoked else "device_restored", severity="warning")
            return self._told(await device_of(change.connection, mac))


class Lines(Devices):
    """Which extension is on which line."""

    async def bind(
        self, mac: Mac, line: int, *, extension: str, label: str = "", replace: bool = False, resync: bool = True
    ) -> Binding:
        """Put an extension of the device's account on a line; it has one phone, or as many as its account lets it.

        ``replace`` takes it from the phone that has had it longest, in the same transaction. Phones that have been here
        before are told to fetch, unless ``resync`` is off.
        """
        return (await self.bound(mac, line, extension=extension, label=label, replace=replace, resync=resync))[0]

    async def bound(
        self,
        mac: Mac,
        line: int,
        *,
        extension: str = "",
        user: str = "",
        label: str = "",
        replace: bool = False,
        resync: bool = True,
    ) -> tuple[Binding, Begun]:
        """The same, and what has come of it: whether the PBX has to read another SIP secret.

        ``user`` names the extension by who holds it and no other one. What is so already stays so.
        """
        label = text_of("label", label, _LABEL, empty=True)
        async with self._change() as change:
            device = await device_of(change.connection, mac)
            model = self._model(device.vendor, device.model)
            if not 1 <= line <= model.lines:
                raise Invalid("line", f"{model.name} has lines 1 to {model.lines}")
            found = await extension_for(change.connection, device, extension, user)
            if (there := await _as_asked(change, mac, line, found, label)) is not None:
                return there, Begun()
            phones = await phones_of(change.connection, found.id, found.account)
            await _refuse_taken(change, mac, line, found, None if replace else phones)
            await require_met(change.connection, found, phones.policy)
            if (gone := phones.given_up(mac) if replace else None) is not None:
                await end(change, gone)
            slot = phones.slot(gone)
            bound = Binding(mac, line, found.id, found.number, label, change.at, None, self._actor, "bind", slot)
            begun = await begin(change, self._store.box, bound, found.account)
            await phone_bound(change, self._store.box, found, device)
            if resync:
                await have_fetch(change, self._drivers, [mac, *([gone.mac] if gone else []), *begun.others])
        return bound, begun

    async def unbind(self, mac: Mac, line: int, *, resync: bool = True) -> None:
        """Free a line, and have the phone fetch what empties it."""
        async with self._change() as change:
            await device_of(change.connection, mac)
            active = await devices.bindings_of(change.connection, mac, active=True)
            found = next((one for one in active if one.line == line), None)
            if found is None:
                raise NotFound(f"nothing is bound to line {line} of {mac.colons}")
            await end(change, found)
            await phone_taken_away(change, self._store.box, found)
            if resync:
                await have_fetch(change, self._drivers, [mac])

    async def bindings(self, mac: Mac, *, active: bool = False) -> list[Binding]:
        """What is on its lines and what was; ``active=True`` only what is."""
        async with self._store.reading() as connection:
            await device_of(connection, mac)
            return await devices.bindings_of(connection, mac, active=active)


class Access(Desk):
    """How a device may prove itself: pin, token URLs, digest, expired leaf."""

    async def allow(
        self, mac: Mac, *, token: bool | None = None, digest: bool | None = None, expired: bool | None = None
    ) -> Device:
        """Switch what the device may use instead of a good certificate; None leaves it as it is."""
        asked = {"allow_token": token, "allow_digest": digest, "allow_expired": expired}
        values = {name: value for name, value in asked.items() if value is not None}
        if not values:
            raise Invalid("allow", "say at least one of token, digest, expired")
        async with self._change() as change:
            device = await device_of(change.connection, mac)
            await devices.write_device(change.connection, mac, values)
            before = {name: _yes(getattr(device, name)) for name in values}
            told = changed(before, {name: _yes(value) for name, value in values.items()})
            _note(change, mac, "access_changed", severity="warning", **told)
            return await device_of(change.connection, mac)

    async def accept_pin(self, mac: Mac, *, key: str = "") -> Device:
        """Pin a key that came with an alarm of this device instead of the one that is pinned.

        ``key`` is its SHA-256 or at least the first 16 digits; without it the only other key that has come since the
        pin was set. Nobody else can slip in between.
        """
        async with self._change() as change:
            device = await device_of(change.connection, mac)
            pinned = await devices.find_pin(change.connection, mac)
            if pinned is None and not key:
                raise NotFound(f"no key is pinned to {mac.colons}: the next unique certificate is pinned by itself")
            alarms = await journal.list_events(change.connection, limit=_ALARMS, kind="pin_mismatch", mac=mac)
            since = 0.0 if key or pinned is None else pinned.at - _SLACK
            came = {one.details.get("came", ""): one.details.get("not_after", "") for one in alarms if one.at >= since}
            chosen = _chosen(mac, key, [one for one in came if len(one) == _DIGITS and one != device.pinned])
            await devices.write_pin(change.connection, Pin(mac, chosen, came[chosen], change.at))
            _note(change, mac, "pin_accepted", severity="warning", pinned=chosen, forgot=device.pinned)
        return replace(device, pinned=chosen)

    async def forget_pin(self, mac: Mac) -> Device:
        """Forget the pinned key: the next unique certificate of this Mac is pinned, whoever brings it."""
        async with self._change() as change:
            device = await device_of(change.connection, mac)
            if not device.pinned:
                raise NotFound(f"no key is pinned to {mac.colons}")
            await devices.delete_pin(change.connection, mac)
            _note(change, mac, "pin_forgotten", severity="warning", forgot=device.pinned)
        return replace(device, pinned="")

    async def pins(self, *, after: str = "", limit: int = 0) -> list[Pin]:
        """All pinned keys, soonest expiry first; with ``limit`` a page of them, by Mac."""
        async with self._store.reading() as connection:
            return await devices.list_pins(connection, after=after, limit=limit)

    async def open_token(
        self, mac: Mac, *, now: float | None = None, window: float = _WINDOW, fetches: int = _FETCHES
    ) -> tuple[str, str]:
        """A token and its URL path, told once: it opens this device's files for a while and a number of fetches."""
        if window <= 0 or fetches < 1:
            raise Invalid("window" if window <= 0 else "fetches", "must be more than nothing")
        async with self._change() as change:
            device = await device_of(change.connection, mac)
            if not device.allow_token:
                raise Conflict(f"token URLs are off for {mac.colons}", cure=Cure(Deed.ALLOW_TOKEN, mac))
            begin = change.at if now is None else now
            text = tokens.new_token()
            token = Token(people.new_id(), mac, begin, begin + window, fetches, 0, False)
            await tokens.insert_token(change.connection, token, self._store.box.finders(text)[0])
            _note(change, mac, "token_opened", token=token.id, window=f"{window:.0f} s", fetches=str(fetches))
        return text, f"/t/{text}/"

    async def tokens(self, mac: Mac) -> list[Token]:
        """The device's tokens, without what opens them."""
        async with self._store.reading() as connection:
            await device_of(connection, mac)
            return await tokens.list_tokens(connection, mac)

    async def revoke_tokens(self, mac: Mac) -> int:
        """Close all tokens of the device; how many were open."""
        async with self._change() as change:
            await device_of(change.connection, mac)
            count = await tokens.revoke_tokens(change.connection, mac)
            _note(change, mac, "tokens_revoked", tokens=str(count))
        return count

    async def set_digest(self, mac: Mac) -> str:
        """A new HTTP Digest password, told once; the user name is the Mac."""
        secret = generated_secret()
        async with self._change() as change:
            await device_of(change.connection, mac)
            sealed = self._store.box.seal(secret.encode(), "device", mac, "digest_secret")
            await devices.write_device(change.connection, mac, {"digest_secret": sealed})
            _note(change, mac, "digest_set")
        return secret


def _chosen(mac: Mac, key: str, keys: list[str]) -> str:
    """The one of the keys that came which is meant; a list to choose from when that is not clear."""
    wanted = key.replace(":", "").replace(" ", "").lower()
    if key and not _KEY.fullmatch(wanted):
        raise Invalid("key", "must be the SHA-256 of a key in hex digits, or at least its first 16")
    found = [one for one in keys if one.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    listed = f"; keys in its alarms: {', '.join(keys)}" if keys else ""
    if found:
        raise Conflict(f"{len(found)} other keys came for {mac.colons}: say which one is right{listed}")
    which = f"no alarm of {mac.colons} names such a key" if key else f"no other key came for {mac.colons}"
    raise NotFound(f"{which}{listed}", cure=Cure(Deed.FORGET_PIN, mac))


def _note(change: Change, mac: Mac, kind: str, *, severity: str = "info", **details: str) -> None:
    change.touch(Scope.DEVICE, mac)
    change.audit(kind, mac=mac, severity=severity, **details)


async def _refuse_bound(change: Change, mac: Mac, when: str) -> None:
    if bound := await devices.bindings_of(change.connection, mac, active=True):
        lines = ", ".join(f"{one.number} from line {one.line}" for one in bound)
        raise Conflict(f"unbind {lines} of {mac.colons} {when}")


async def _as_asked(change: Change, mac: Mac, line: int, wanted: Extension, label: str) -> Binding | None:
    """What is on the line, where that is this extension and nothing else is asked for."""
    active = await devices.bindings_of(change.connection, mac, active=True)
    there = next((one for one in active if (one.line, one.extension) == (line, wanted.id)), None)
    return there if there and label in {"", there.label} else None


async def _refuse_unwiped(change: Change, mac: Mac) -> None:
    """What the layers of its account have told it can be emptied by name only as long as they are its layers."""
    if not await handover.was_served(change.connection, mac):
        return
    found = await wipes.wipe_of(change.connection, mac)
    if not found.everything:
        raise Conflict(
            f"{mac.colons} still knows what its account has told it: wipe it before it changes its account, or remove "
            "it and add it to the other one"
        )
    if found.pending:
        raise Conflict(
            f"{mac.colons} has not fetched yet what wipes it: wait for that before it changes its account, or remove "
            "it and add it to the other one"
        )


async def _refuse_taken(change: Change, mac: Mac, line: int, wanted: Extension, phones: Phones | None) -> None:
    """``phones``: those that the extension has; None when it may be taken from one of them."""
    if phones and (own := phones.on(mac)):
        where = f"line {own.line} of this device"
        raise ExtensionHasPhone(f"extension {wanted.number} is on {where}: unbind it there first")
    if phones and phones.full:
        raise ExtensionHasPhone(
            f"extension {wanted.number} is on {phones.told}: unbind it there first, or let this phone take its place",
            cure=Cure(Deed.REPLACE_PHONE, wanted.id),
        )
    active = await devices.bindings_of(change.connection, mac, active=True)
    if taken := next((one for one in active if one.line == line), None):
        raise Conflict(f"line {line} of {mac.colons} has extension {taken.number}: unbind it first")


def _yes(value: bool) -> str:
    return "yes" if value else "no"
