"""What other systems may have done: the use-cases of the administrator, as the source, in its account alone.

Each action is safe to repeat: what is so already stays so, and nothing is told twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.activation.codes import Codes
from provisioner.codes import CodeState
from provisioner.deeds import Cure, Deed
from provisioner.desk import device_of, extension_of, site_of, user_of
from provisioner.errors import Conflict, Invalid, NotFound
from provisioner.events import printable
from provisioner.fleet.rebind import Rebinding
from provisioner.hooks.mapping import Action, Asked
from provisioner.model import Event, Mac
from provisioner.rights import Principal
from provisioner.settings import Settings
from provisioner.store import codes, devices, journal, people
from provisioner.store.database import Store
from provisioner.store.hook_inbox import Source
from provisioner.store.reach import Limited
from provisioner.store.rows import Extension
from provisioner.vendor import VendorDriver, model_named

_DAY: Final = 86_400.0
_YES: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Actions:
    """For one message of one source; ``store`` is the transaction that the message is settled in.

    ``principal`` is the source with the rights and the reach of whoever answers for it.
    """

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, VendorDriver],
        settings: Settings,
        source: Source,
        principal: Principal,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._drivers = drivers
        self._clock = clock
        self._whole = store
        self._store = Limited(store, principal)
        self._actor = principal.actor
        self._lines = Rebinding(store, drivers, clock=clock, principal=principal)
        self._codes = Codes(store, drivers, settings, actor=principal.actor, clock=clock, principal=principal)

    async def apply(self, asked: Asked) -> str:
        """Do it; what was done, in words. Invalid, NotFound or Conflict where it cannot be."""
        match asked.action:
            case Action.ASSIGN:
                return await self._assign(asked.fields)
            case Action.LEFT:
                return await self._left(asked.fields["user"])
            case Action.REGISTERED:
                return await self._registered(asked.fields)
            case Action.SHIPPED:
                return await self._shipped(asked.fields)
            case _:
                return "of no interest"

    async def subjects(self, asked: Asked) -> list[str]:
        """What it is about, by our own names: of the same, only what is newer than the last is applied."""
        found = [f"named:{asked.subject}"] if asked.subject else []
        fields = asked.fields
        async with self._store.reading() as connection:
            if asked.action is Action.LEFT:
                user = await user_of(connection, fields["user"], self._source.account)
                held = await people.list_extensions(connection, user=user.id)
                found += [f"user:{user.id}", *(f"extension:{one.id}" for one in held)]
            elif asked.action is Action.ASSIGN and fields.get("extension"):
                one = await extension_of(connection, fields["extension"], self._source.account)
                found.append(f"extension:{one.id}")
            elif asked.action is Action.ASSIGN and fields.get("user"):
                user = await user_of(connection, fields["user"], self._source.account)
                found += [f"extension:{one.id}" for one in await people.list_extensions(connection, user=user.id)]
        if asked.action is Action.SHIPPED:
            found.append(f"device:{Mac.parse(fields['mac'])}")
        return found

    # --- extension.assign ---------------------------------------------------------------------------------

    async def _assign(self, fields: Mapping[str, str]) -> str:
        extension, user = fields.get("extension", ""), fields.get("user", "")
        if not extension and not user:
            raise Invalid("extension", "is not in the document, and neither is user")
        if fields.get("mac"):
            mac, line = Mac.parse(fields["mac"]), 1
        elif extension and user:
            mac, line = await self._phone_of(user, extension)
        else:
            raise Invalid("mac", "is not in the document: without it both user and extension are needed")
        line = _line(fields["line"]) if "line" in fields else line
        done = await self._lines.rebind(
            mac,
            line,
            extension=extension,
            user="" if extension else user,
            label=fields.get("label", ""),
            replace=_flag("replace", fields.get("replace", "no")),
        )
        return f"extension {done.binding.number} is on line {line} of {mac.colons}"

    async def _phone_of(self, user: str, extension: str) -> tuple[Mac, int]:
        """The one phone that a user has, and the line for this extension: where it is, or the first that is free."""
        async with self._store.reading() as connection:
            holder = await user_of(connection, user, self._source.account)
            wanted = await extension_of(connection, extension, self._source.account)
            held = await people.list_extensions(connection, user=holder.id)
            bound = [b for one in held for b in await devices.bindings_of_extension(connection, one.id)]
            macs = sorted({one.mac for one in bound})
            if len(macs) != 1:
                raise Conflict(f"user {holder.name!r} has {len(macs) or 'no'} phones: say which Mac is meant")
            device = await device_of(connection, macs[0])
            active = {one.line: one.extension for one in await devices.bindings_of(connection, macs[0], active=True)}
        if there := [line for line, one in active.items() if one == wanted.id]:
            return device.mac, there[0]
        model = model_named(self._drivers[device.vendor].manifest, device.model)
        free = [line for line in range(1, (model.lines if model else 1) + 1) if line not in active]
        if not free:
            raise Conflict(f"{device.mac.colons} has no free line")
        return device.mac, free[0]

    # --- user.left ----------------------------------------------------------------------------------------

    async def _left(self, ref: str) -> str:
        async with self._store.reading() as connection:
            user = await user_of(connection, ref, self._source.account)
            held = await people.list_extensions(connection, user=user.id)
        lines = sum([await self._freed(one) for one in held])
        taken = sum([await self._revoked(one) for one in held])
        if lines or taken:
            async with self._store.changing(self._actor, self._clock()) as change:
                told = {"user": user.id, "account": user.account, "lines": str(lines), "codes": str(taken)}
                change.audit("user_left", **told)
        return f"user {user.name!r}: {lines} lines freed, {taken} activation codes taken back"

    async def _freed(self, one: Extension) -> int:
        async with self._store.reading() as connection:
            bound = await devices.bindings_of_extension(connection, one.id)
        for binding in bound:
            await self._lines.release(binding.mac, binding.line)
        return len(bound)

    async def _revoked(self, one: Extension) -> int:
        async with self._store.reading() as connection:
            open_one = await codes.open_code(connection, one.id)
        if open_one is None or open_one.state_at(self._clock()) is not CodeState.ISSUED:
            return 0
        await self._codes.revoke(one.id, account=self._source.account)
        return 1

    # --- registration.seen --------------------------------------------------------------------------------

    async def _registered(self, fields: Mapping[str, str]) -> str:
        """Told when it is news: since the phone was bound, and once a day."""
        async with self._store.reading() as connection:
            mac = await self._registrar(connection, fields)
            active = await devices.bindings_of(connection, mac, active=True)
            known = await journal.list_events(connection, limit=1, kind="registration_seen", mac=mac)
        since = max([one.since for one in active], default=0.0)
        now = self._clock()
        if known and known[-1].at >= since and now - known[-1].at < _DAY:
            return f"{mac.colons} was seen already"
        told = {name: printable(fields[name]) for name in ("extension", "address", "user_agent") if name in fields}
        event = Event("registration_seen", now, mac, actor=self._actor, details=told)
        async with self._whole.writing() as connection:
            await journal.write_events(connection, [event])
        return f"{mac.colons} is registered"

    async def _registrar(self, connection: AsyncConnection, fields: Mapping[str, str]) -> Mac:
        """The phone that has registered: by its Mac, else the one that the extension is on."""
        if fields.get("mac"):
            return (await device_of(connection, Mac.parse(fields["mac"]))).mac
        if not fields.get("extension"):
            raise Invalid("mac", "is not in the document, and neither is extension")
        found = await extension_of(connection, fields["extension"], self._source.account)
        macs = {one.mac for one in await devices.bindings_of_extension(connection, found.id)}
        if len(macs) != 1:
            raise Conflict(f"extension {found.number} is on {len(macs) or 'no'} phones: say which Mac is meant")
        return macs.pop()

    # --- device.shipped -----------------------------------------------------------------------------------

    async def _shipped(self, fields: Mapping[str, str]) -> str:
        mac = Mac.parse(fields["mac"])
        vendor, model = self._model(fields.get("vendor", "").lower(), fields["model"])
        async with self._whole.reading() as connection:
            known = await devices.find_device(connection, mac)
        if known is None:
            place = await self._site(fields.get("site", ""))
            await self._lines.add_device(mac, vendor=vendor, model=model, account=self._source.account, site=place)
            return f"{mac.colons} is expected"
        if known.account != self._source.account:
            raise Conflict(f"{mac.colons} cannot be added to this account: ask whoever runs this server")
        if (known.vendor, known.model) != (vendor, model):
            raise Conflict(f"{mac.colons} is here as a {known.model}, not as a {model}")
        return f"{mac.colons} was expected already"

    async def _site(self, ref: str) -> str:
        if not ref:
            return ""
        async with self._store.reading() as connection:
            return (await site_of(connection, ref, self._source.account)).id

    def _model(self, vendor: str, name: str) -> tuple[str, str]:
        """The one model of this name, of this vendor or of any."""
        chosen = [one for key, one in self._drivers.items() if vendor in {"", key}]
        found = [one for driver in chosen if (one := model_named(driver.manifest, name))]
        if len(found) != 1:
            raise NotFound(f"{len(found) or 'no'} models are called {name!r}", cure=Cure(Deed.LIST_MODELS))
        return found[0].vendor, found[0].name


def _line(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 3):
        raise Invalid("line", "must be the number of a line")
    return int(text)


def _flag(field: str, text: str) -> bool:
    if text.lower() not in _YES:
        raise Invalid(field, "must be true or false")
    return _YES[text.lower()]
