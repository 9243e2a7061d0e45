"""Use-cases of the administrator: what sites, users and extensions that are there already say of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from provisioner.codes import CodeState
from provisioner.desk import Desk, extension_in, matching, site_of, text_of, user_of
from provisioner.emergency import CHANGED, note, note_user, require_held, require_kept
from provisioner.errors import Conflict, ExtensionHasCode, Invalid
from provisioner.extension_forms import AUTH_USER
from provisioner.fleet.layers import Layers
from provisioner.model import Scope
from provisioner.neutral import TIME_ZONE
from provisioner.places import Address, UserKind, parse_location, parse_networks, parse_notify
from provisioner.preconditions import phones_of, require_met
from provisioner.store import codes, devices, people
from provisioner.store.database import Change
from provisioner.store.rows import Binding, Extension, Site, User
from provisioner.store.together import Together


class Places(Desk):
    """Changes of what is there; what is not given stays."""

    async def change_site(
        self,
        site: str,
        *,
        name: str | None = None,
        time_zone: str | None = None,
        address: Address | None = None,
        location: str | None = None,
        notify: Sequence[str] | None = None,
        networks: Sequence[str] | None = None,
    ) -> Site:
        """A site's name, time zone (empty: its account's), address, where in the building, who hears of missing
        and changed addresses, and its networks.
        """
        async with self._change() as change:
            found = await site_of(change.connection, site)
            one = replace(
                found,
                name=found.name if name is None else await _free_name(change, name, found),
                address=found.address if address is None else address,
                location=found.location if location is None else parse_location(location),
                notify=found.notify if notify is None else parse_notify(notify),
                networks=found.networks if networks is None else parse_networks(networks),
            )
            await people.write_site(change.connection, one)
            if found.address.street and not one.address.street:
                await require_kept(change, site=one.id)
            if time_zone is not None:
                await self._set_zone(change, found, time_zone)
            changed = [field for field in _TOLD if getattr(one, field) != getattr(found, field)]
            changed += ["time_zone"] if time_zone is not None else []
            if not changed:
                return one
            change.touch(Scope.SITE, one.id)
            change.audit("site_changed", site=one.id, account=one.account, name=one.name, changed=", ".join(changed))
            if {"address", "location"} & set(changed):
                change.audit("emergency_changed", site=one.id, account=one.account, address=str(one.address) or "none")
                await note(change, one.id, CHANGED)
        return one

    async def _set_zone(self, change: Change, site: Site, zone: str) -> None:
        """It stands in the site's layer, where devices get it from."""
        layers = Layers(
            Together(self._store, change), self._drivers, actor=self._actor, clock=self._clock,
            principal=self._principal,
        )  # fmt: skip
        if zone:
            await layers.set_layer(Scope.SITE, site.id, {TIME_ZONE.name: zone})
        elif TIME_ZONE.name in (await layers.layer(Scope.SITE, site.id)).values:
            await layers.unset_layer(Scope.SITE, site.id, [TIME_ZONE.name])

    async def change_user(
        self,
        user: str,
        *,
        name: str | None = None,
        kind: UserKind | None = None,
        address: Address | None = None,
        location: str | None = None,
    ) -> User:
        """A user's name, whether they are a person or a place, and where help is sent to from their phones.

        Without an address of their own that is where the site is. Mail addresses have ``set_email``.
        """
        if all(one is None for one in (name, kind, address, location)):
            raise Invalid("user", "say at least one of name, kind, address, location")
        async with self._change() as change:
            found = await user_of(change.connection, user)
            one = replace(
                found,
                name=found.name if name is None else text_of("name", name),
                kind=found.kind if kind is None else kind,
                address=found.address if address is None else address,
                location=found.location if location is None else parse_location(location),
            )
            await people.write_user(change.connection, one)
            if found.address.street and not one.address.street:
                await require_kept(change, user=one.id)
            if name is not None or kind is not None:
                told = {"before": found.name, "name": one.name, "is": one.kind.value}
                change.audit("user_changed", user=one.id, account=one.account, **told)
            if (one.address, one.location) != (found.address, found.location):
                shown = str(one.address) or "as the site"
                change.audit("emergency_changed", user=one.id, account=one.account, address=shown)
                await note_user(change, one.id)
        return one

    async def lines_of(self, extension: str, *, account: str = "") -> list[Binding]:
        """On which lines an extension is now; the phone that has had it longest comes first."""
        async with self._store.reading() as connection:
            found = await extension_in(connection, extension, account)
            return await devices.bindings_of_extension(connection, found.id)

    async def change_extension(
        self,
        extension: str,
        *,
        account: str = "",
        display_name: str | None = None,
        auth_user: str | None = None,
        user: str | None = None,
    ) -> Extension:
        """What phones show and send for an extension, its SIP user name, and whose it is; they get it with their next
        fetch.

        Its phones go with it to another user of the account, who needs what a new phone of theirs would need.
        """
        if display_name is None and auth_user is None and user is None:
            raise Invalid("extension", "say at least one of display_name, auth_user, user")
        async with self._change() as change:
            found = await extension_in(change.connection, extension, account)
            one = replace(
                found,
                user=found.user if user is None else (await user_of(change.connection, user, found.account)).id,
                display_name=found.display_name
                if display_name is None
                else text_of("display_name", display_name, empty=True),
                auth_user=found.auth_user
                if auth_user is None
                else matching("auth_user", auth_user or found.number, AUTH_USER.pattern, AUTH_USER.words),
            )
            await people.write_extension(change.connection, one)
            for bound in await devices.bindings_of_extension(change.connection, one.id):
                change.touch(Scope.DEVICE, bound.mac)
            told = {"number": one.number, "display_name": one.display_name, "auth_user": one.auth_user}
            if one.user != found.user:
                await _hand_over(change, one)
                told |= {"user": one.user, "user_before": found.user}
            change.audit("extension_changed", extension=one.id, account=one.account, **told)
        return one


async def _hand_over(change: Change, one: Extension) -> None:
    """What is asked of a new phone of its new user is asked of those that it has."""
    code = await codes.open_code(change.connection, one.id)
    if code is not None and code.state_at(change.at) is not CodeState.EXPIRED:
        raise ExtensionHasCode(f"extension {one.number} has a code, which its user of now may know: revoke it first")
    phones = await phones_of(change.connection, one.id, one.account)
    if not phones.held:
        return
    await require_met(change.connection, one, phones.policy)
    await require_held(change, one.id, {bound.mac for bound in phones.held})
    await note_user(change, one.user)


_TOLD = ("name", "address", "location", "notify", "networks")


async def _free_name(change: Change, name: str, site: Site) -> str:
    name = text_of("name", name)
    if any(one.id != site.id for one in await people.find_sites(change.connection, name, site.account)):
        raise Conflict(f"the account has a site {name!r} already")
    return name
