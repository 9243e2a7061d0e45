"""A queued mail becomes a letter: what it says is looked up when it is sent, and whether it is still so.

The digits of a code are opened here and nowhere kept: a code that is over by now is not sent. A user's address that was
corrected meanwhile is the one that counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.codes import ActivationCode, CodeState, grouped
from provisioner.errors import Conflict, NoAddress, NotWanted
from provisioner.mail.text import Letter, Texts, Writer, local_time, quick_start
from provisioner.mail_address import Mailbox, parse_address
from provisioner.model import Mac, Model, Scope
from provisioner.neutral import LANGUAGE, TIME_ZONE
from provisioner.outbox import Channel, Told
from provisioner.preconditions import phones_of
from provisioner.settings import Settings
from provisioner.store import codes, devices, people
from provisioner.store.database import Store
from provisioner.store.layer_rows import read_layer
from provisioner.store.outbox import Message
from provisioner.store.rows import Extension, User
from provisioner.vendor import VendorDriver, model_named
from provisioner.welcome import CODE, READY, SET_ASIDE

if TYPE_CHECKING:
    from provisioner.mail.relay import Relay

_MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Reader:
    """Who is written to, and how."""

    user: User
    extension: Extension
    account: str
    """Its name."""
    language: str
    zone: str

    def values(self) -> dict[str, object]:
        """What every letter may say of them."""
        return {
            "name": self.user.name,
            "login": self.user.email,
            "number": self.extension.number,
            "display_name": self.extension.display_name,
            "account": self.account,
            "zone": self.zone,
        }


class Post:
    """Makes letters and hands them to the mail server."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, VendorDriver],
        settings: Settings,
        relay: Relay,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._drivers = drivers
        self._settings = settings
        self._relay = relay
        self._clock = clock
        self._texts = Texts(settings.data / "templates")

    def channels(self) -> dict[str, Channel]:
        """For the outbox."""
        longest, pace = self._settings.mail_timeout, _MINUTE / self._settings.mail_rate
        return {CODE: Channel(self.code, longest, pace), READY: Channel(self.ready, longest, pace)}

    async def code(self, message: Message, payload: Mapping[str, str]) -> Told:
        """A code, with its digits."""
        now = self._clock()
        async with self._store.reading() as connection:
            one = await codes.code_of(connection, payload["code"])
            if one is None or one.state_at(now) is not CodeState.ISSUED:
                raise NotWanted(f"the code is {one.state_at(now) if one else 'forgotten'}")
            if not one.replaces and (await phones_of(connection, one.extension, one.account)).full:
                raise NotWanted(SET_ASIDE)
            reader = await self._reader(connection, one.extension, one.site)
            digits = await self._digits(connection, one)
            model = await self._model_for(connection, one)
        link = self._link(model, reader.language)
        values = reader.values() | self._about(model, one.mac) | {
            "code": grouped(digits), "digits": digits, "until": local_time(one.expires, reader.zone),
            "link": link, "dial": self._settings.activation_number,
        }  # fmt: skip
        await self._send("code", reader, message, values, link or digits)
        return {"activation": one.id, "extension": one.extension, "number": one.number, "user": reader.user.id}

    async def ready(self, message: Message, payload: Mapping[str, str]) -> Told:
        """A phone that an administrator has bound."""
        mac = Mac(payload["mac"])
        async with self._store.reading() as connection:
            held = await devices.bindings_of_extension(connection, payload["extension"])
            device = await devices.find_device(connection, mac)
            if device is None or mac not in {one.mac for one in held}:
                raise NotWanted(f"{mac.colons} is not that extension's phone any more")
            reader = await self._reader(connection, payload["extension"], device.site)
        model = self._model(device.vendor, device.model)
        link = self._link(model, reader.language)
        values = reader.values() | self._about(model, mac, device.model) | {"link": link}
        await self._send("ready", reader, message, values, "")
        told = {"extension": reader.extension.id, "number": reader.extension.number, "user": reader.user.id}
        return told | {"mac": mac}

    # --- parts ------------------------------------------------------------------------------------------

    async def _digits(self, connection: AsyncConnection, one: ActivationCode) -> str:
        try:
            return codes.opened(self._store.box, one.id, await codes.read_sealed(connection, one.id))
        except Conflict as error:  # its owner keys it in while this mail is made
            raise NotWanted(error.cause) from error

    async def _send(
        self, template: str, reader: Reader, message: Message, values: Mapping[str, object], qr: str
    ) -> None:
        ident = f"{message.id}.{message.created * 1000:.0f}"  # a number may come again after the list was cleared
        to = Mailbox(reader.user.name, reader.user.email)
        letter = Letter(template, reader.language, to, ident, self._clock(), qr, values)
        writer = Writer(self._relay.sender, self._relay.reply_to)
        await self._relay.send(self._texts.message(letter, writer), to.address)

    async def _reader(self, connection: AsyncConnection, extension: str, site: str) -> Reader:
        found = next((one for one in await people.find_extensions(connection, extension) if one.id == extension), None)
        if found is None:
            raise NotWanted("the extension was removed")
        user = next(one for one in await people.find_users(connection, found.user) if one.id == found.user)
        try:
            parse_address(user.email)
        except ValueError as error:
            raise NoAddress(f"the mail address of user {user.name!r} {error}") from error
        account = next(one for one in await people.find_accounts(connection, found.account) if one.id == found.account)
        language, zone = await preferences(connection, self._store, found.account, site)
        spoken = self._texts.spoken(language, self._settings.mail_language)
        return Reader(user, found, account.name, spoken, zone)

    async def _model_for(self, connection: AsyncConnection, one: ActivationCode) -> Model | None:
        device = await devices.find_device(connection, Mac(one.mac)) if one.mac else None
        return self._model(device.vendor, device.model) if device else self._model(one.vendor, one.model)

    def _model(self, vendor: str, model: str) -> Model | None:
        driver = self._drivers.get(vendor)
        return model_named(driver.manifest, model) if driver and model else None

    def _about(self, model: Model | None, mac: str, otherwise: str = "") -> dict[str, object]:
        named = full_name(self._drivers, model) if model else otherwise
        return {"model": named, "mac": Mac(mac).colons if mac else "", "poe": model.poe if model else True}

    def _link(self, model: Model | None, language: str) -> str:
        vendor, name = (model.vendor, model.name) if model else ("", "")
        return quick_start(self._settings.mail_link, vendor, name, language)


def full_name(drivers: Mapping[str, VendorDriver], model: Model) -> str:
    """As a person reads it on the box: ``Poly VVX 411``."""
    return f"{drivers[model.vendor].manifest.title.partition(' (')[0]} {model.name}"


async def preferences(connection: AsyncConnection, store: Store, account: str, site: str) -> tuple[str, str]:
    """Language and time zone as the layers of the place, of the account and of all say; empty where none does."""
    language = zone = ""
    for scope, key in ((Scope.SITE, site), (Scope.ACCOUNT, account), (Scope.DEFAULTS, "")):
        layer = await read_layer(connection, store.box, scope, key) if key or scope is Scope.DEFAULTS else None
        if layer is None:
            continue
        with suppress(KeyError):
            language = language or str(layer.values[LANGUAGE.name])
        with suppress(KeyError):
            zone = zone or str(layer.values[TIME_ZONE.name])
    return language, zone or "UTC"
