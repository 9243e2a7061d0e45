"""Use-cases of the administrator: activation codes are issued, read, replaced and taken back, each an audit event.

What a code needs (a license, a number, a free extension, a model that can call) is checked before it is made, so that
nobody gets a letter with digits that cannot work.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from provisioner.activation.sweep import sweep
from provisioner.activation_budget import budgets
from provisioner.activation_limits import limits_of
from provisioner.codes import TRANSITIONS, ActivationCode, CodeEvent, CodeState, generate, require
from provisioner.deeds import Cure, Deed
from provisioner.desk import Desk, account_id, device_of, extension_of, site_id
from provisioner.errors import (
    Conflict,
    ExtensionHasCode,
    ExtensionHasPhone,
    Invalid,
    IvrUnsupportedModel,
    ModelUnsupported,
    NoLicense,
    NoNumber,
    NotFound,
)
from provisioner.model import Device, Event, Mac, Model
from provisioner.preconditions import Preconditions, phones_of
from provisioner.progress import Progress
from provisioner.progress_desk import arrival
from provisioner.rights import OPERATOR, Principal
from provisioner.settings import Settings
from provisioner.store import codes, devices, people
from provisioner.store.budgets import clear_budgets
from provisioner.store.database import Change, Store
from provisioner.store.journal import write_events
from provisioner.store.rows import Extension
from provisioner.vendor import VendorDriver, model_named
from provisioner.welcome import NOT_MAILED, Mailed, Welcome

SHORTEST_LIFE: Final = 3600.0
LONGEST_LIFE: Final = 7_776_000.0
LIVES: Final = "a code lives from 1 h to 90 d"
_TRIES: Final = 10
"""Codes drawn until one was never used; with 8 digits and many codes one in a thousand was."""
_DAY: Final = 86_400.0


class Check(NamedTuple):
    """One precondition, and what is wrong with it."""

    name: str
    error: Conflict | None


@dataclass(frozen=True, slots=True)
class Ties:
    """What a code shall be tied to, looked up."""

    asked: str = ""
    """The model as it was asked for."""
    model: Model | None = None
    mac: str = ""
    device: Device | None = None
    device_model: Model | None = None
    site: str = ""
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class Issued:
    """A code as it is told to the administrator who asked for it."""

    code: str = field(repr=False)
    about: ActivationCode
    mailed: Mailed = NOT_MAILED

    @property
    def expires(self) -> float:
        """Until when it can be used."""
        return self.about.expires


class Codes(Desk):
    """Activation codes."""

    def __init__(
        self,
        store: Store,
        drivers: Mapping[str, VendorDriver],
        settings: Settings,
        *,
        actor: str = "",
        clock: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
        wanted: Preconditions | None = None,
        principal: Principal = OPERATOR,
    ) -> None:
        super().__init__(store, drivers, actor=actor, clock=clock, principal=principal)
        self._settings = settings
        self._entropy = entropy
        self._wanted = wanted or Preconditions()
        self._welcome = Welcome(store.box, settings)

    async def issue(
        self,
        extension: str,
        *,
        account: str = "",
        life: float | None = None,
        model: str = "",
        mac: Mac | None = None,
        site: str = "",
        replace: bool = False,
        mail: bool | None = None,
    ) -> Issued:
        """A code for an extension that has none; the error's kind says which precondition is missing.

        ``mail``: send it to the extension's user; None: as the account's policy says, else mail.on_issue.
        """
        lives = self._life(life)
        async with self._change() as change:
            found = await _meant(change.connection, extension, account)
            ties = await self._ties(change.connection, found, (model, ""), mac, site, replace)
            await self._expire(change, found.id)
            if (held := await _held(change.connection, found, change.at)) is not None:
                raise held
            return await self._mailed(change, found, await self._issue(change, found, ties, lives), mail)

    async def reissue(
        self, extension: str, *, account: str = "", life: float | None = None, mail: bool | None = None
    ) -> Issued:
        """Another code with the same ties; the one before is worth nothing from now on.

        ``mail``: None also sends it to whom that one was sent.
        """
        lives = self._life(life)
        async with self._change() as change:
            found, before = await self._current(change, extension, account)
            if before.state_at(change.at) is not CodeState.EXPIRED:
                require(before.state, CodeEvent.REISSUE, found.number)
                await codes.end_code(change.connection, before.id, CodeEvent.REISSUE, change.at)
            change.audit("code_reissued", mac=before.mac, **_named(before))
            mac = Mac(before.mac) if before.mac else None
            model = (before.model, before.vendor)
            ties = await self._ties(change.connection, found, model, mac, before.site, before.replaces)
            issued = await self._issue(change, found, ties, lives)
            return await self._mailed(change, found, issued, mail, before.id)

    async def reveal(self, extension: str, *, account: str = "") -> Issued:
        """The digits again; that they were read is an event, written before they are told."""
        async with self._change() as change:
            found, one = await self._current(change, extension, account)
            require(one.state, CodeEvent.REVEAL, found.number)
            sealed = await codes.read_sealed(change.connection, one.id)
            change.audit("code_revealed", mac=one.mac, severity="warning", **_named(one))
        return Issued(codes.opened(self._store.box, one.id, sealed), one)

    async def code(self, extension: str, *, account: str = "") -> ActivationCode:
        """The last code of an extension without its digits, in the state that it is in now."""
        async with self._store.reading() as connection:
            one = await self._latest(connection, await _meant(connection, extension, account))
        return replace(one, state=one.state_at(self._clock()))

    async def revoke(self, extension: str, *, account: str = "") -> ActivationCode:
        """Take it back."""
        async with self._change() as change:
            found, one = await self._current(change, extension, account)
            require(one.state, CodeEvent.REVOKE, found.number)
            await codes.end_code(change.connection, one.id, CodeEvent.REVOKE, change.at)
            change.audit("code_revoked", mac=one.mac, **_named(one))
        return replace(one, state=CodeState.REVOKED, ended=change.at)

    async def check(
        self,
        extension: str,
        *,
        account: str = "",
        model: str = "",
        mac: Mac | None = None,
        site: str = "",
        replace: bool = False,
    ) -> list[Check]:
        """Every precondition of such a code, those that are met as well; nothing is changed."""
        async with self._store.reading() as connection:
            found = await _meant(connection, extension, account)
            ties = await self._ties(connection, found, (model, ""), mac, site, replace)
            held = await _held(connection, found, self._clock())
            return [Check("code", held), *await self._checks(connection, found, ties)]

    async def codes(self, *, account: str = "", state: CodeState | None = None) -> list[ActivationCode]:
        """Codes with their states as of now, the newest first."""
        now = self._clock()
        async with self._store.reading() as connection:
            owner = await account_id(connection, account)
            found = await codes.list_codes(connection, owner)
        told = [replace(one, state=one.state_at(now)) for one in found]
        return [one for one in told if state in {None, one.state}]

    async def arrivals(self, listed: Sequence[ActivationCode]) -> dict[str, Progress]:
        """How far the phones are that used one of these codes within the last day, by the code's id."""
        now = self._clock()
        fresh = [one for one in listed if one.used_by and one.ended is not None and now - one.ended < _DAY]
        async with self._store.reading() as connection:
            return {one.id: await arrival(connection, Mac(one.used_by), now, self._settings) for one in fresh}

    async def forgive(self, mac: Mac) -> int:
        """Let a device try again that was locked out for wrong codes; how many budgets that cleared."""
        limits = limits_of(self._settings)
        both = [one for proven in (True, False) for one in budgets(limits, mac, "", "", proven=proven)]
        async with self._store.writing() as connection:
            await device_of(connection, mac)
            count = await clear_budgets(connection, [one.key for one in both if one.kind == "device"])
            event = Event("code_forgiven", self._clock(), mac, actor=self._actor)
            await write_events(connection, [event], audit=True)
        return count

    async def sweep(self) -> int:
        """Write down what expired, as the server does each hour; how many codes."""
        return await sweep(self._store, self._settings, self._clock())

    # --- parts ------------------------------------------------------------------------------------------

    def _life(self, life: float | None) -> float:
        chosen = self._settings.activation_life if life is None else life
        if not SHORTEST_LIFE <= chosen <= LONGEST_LIFE:
            raise Invalid("life", LIVES)
        return chosen

    async def _ties(
        self,
        connection: AsyncConnection,
        found: Extension,
        model: tuple[str, str],
        mac: Mac | None,
        site: str,
        replaces: bool,
    ) -> Ties:
        """``model``: its name, and its vendor where that is known."""
        place = await site_id(connection, site, found.account)
        device = await devices.find_device(connection, mac) if mac else None
        if device is not None and device.account != found.account:
            raise Invalid("mac", f"{device.mac.colons} belongs to another account than extension {found.number}")
        own = self._named(device.model, device.vendor) if device else None
        return Ties(model[0], self._named(*model), mac or "", device, own, place, replaces)

    def _named(self, model: str, vendor: str = "") -> Model | None:
        """The one model of this name, of this vendor or of any."""
        chosen = [one for name, one in self._drivers.items() if vendor in {"", name}]
        found = [one for driver in chosen if model and (one := model_named(driver.manifest, model))]
        return found[0] if len(found) == 1 else None

    async def _checks(self, connection: AsyncConnection, found: Extension, ties: Ties) -> list[Check]:
        unlicensed = await self._wanted.license(connection, found)
        numberless = await self._wanted.number(connection, found)
        return [
            Check("license", NoLicense(unlicensed.why, cure=unlicensed.cure) if unlicensed else None),
            Check("number", NoNumber(numberless.why, cure=numberless.cure) if numberless else None),
            Check("extension", await _taken(connection, found, ties)),
            Check("model", _unsupported(ties)),
            Check("ivr", _voiceless(found, ties)),
        ]

    async def _issue(self, change: Change, found: Extension, ties: Ties, life: float) -> Issued:
        for check in await self._checks(change.connection, found, ties):
            if check.error is not None:
                raise check.error
        vendor, model = (ties.model.vendor, ties.model.name) if ties.model else ("", "")
        one = ActivationCode(
            people.new_id(), found.account, found.id, found.number, CodeState.ISSUED, change.at, change.at + life,
            self._actor, vendor, model, ties.mac, ties.site, ties.replaces,
        )  # fmt: skip
        code = await self._fresh(change.connection)
        await codes.insert_code(change.connection, one, *codes.sealed_for(self._store.box, one.id, code))
        tied = {"model": model, "site": ties.site, "replaces": "yes" if ties.replaces else ""}
        told = {name: value for name, value in tied.items() if value}
        change.audit("code_issued", mac=one.mac, life=f"{life:.0f} s", **told, **_named(one))
        return Issued(code, one)

    async def _mailed(
        self, change: Change, found: Extension, issued: Issued, mail: bool | None, before: str = ""
    ) -> Issued:
        return replace(issued, mailed=await self._welcome.of_code(change, found, issued.about, mail, before))

    async def _fresh(self, connection: AsyncConnection) -> str:
        """Digits that no code here has or had."""
        for _ in range(_TRIES):
            code = generate(self._entropy, self._settings.activation_digits)
            if await codes.find_code(connection, self._store.box.code_finders(code)) is None:
                return code
        raise Conflict("every code drawn was used before: raise activation.digits")

    async def _expire(self, change: Change, extension: str) -> None:
        for one in await codes.expire_codes(change.connection, change.at, extension):
            change.audit("code_expired", mac=one.mac, **_named(one))

    async def _current(self, change: Change, extension: str, account: str) -> tuple[Extension, ActivationCode]:
        """The extension that is meant and its last code, which has expired by now where its time is over."""
        found = await _meant(change.connection, extension, account)
        await self._expire(change, found.id)
        return found, await self._latest(change.connection, found)

    async def _latest(self, connection: AsyncConnection, found: Extension) -> ActivationCode:
        open_one = await codes.open_code(connection, found.id)
        one = open_one or await codes.latest_code(connection, found.id)
        if one is None:
            raise NotFound(f"extension {found.number} has no activation code", cure=Cure(Deed.ISSUE_CODE, found.number))
        return one


async def _meant(connection: AsyncConnection, extension: str, account: str) -> Extension:
    """The extension with this number or id, of the account with this name or id where one is given."""
    owner = await account_id(connection, account)
    return await extension_of(connection, extension, owner)


def _named(one: ActivationCode) -> dict[str, str]:
    return {"activation": one.id, "extension": one.extension, "number": one.number}


async def _held(connection: AsyncConnection, found: Extension, now: float) -> Conflict | None:
    """One code an extension: one that can still be used, or is locked, is there to be replaced."""
    one = await codes.open_code(connection, found.id)
    if one is None or one.state_at(now) is CodeState.EXPIRED:
        return None
    number, read = found.number, CodeEvent.REVEAL in TRANSITIONS[one.state]
    cure = Cure(Deed.REVEAL_CODE if read else Deed.REISSUE_CODE, number)
    return ExtensionHasCode(f"extension {number} has a code already, which is {one.state}", cure=cure)


async def _taken(connection: AsyncConnection, found: Extension, ties: Ties) -> Conflict | None:
    """One physical phone an extension, or as many as its account's policy says."""
    phones = await phones_of(connection, found.id, found.account)
    if not phones.full or ties.replaces:
        return None
    return ExtensionHasPhone(
        f"extension {found.number} is on {phones.told}: unbind it there, or say that the phone that keys in the code "
        "shall replace that one",
        cure=Cure(Deed.REPLACE_PHONE, found.id),
    )


def _unsupported(ties: Ties) -> Conflict | None:
    if ties.asked and ties.model is None:
        return ModelUnsupported(f"{ties.asked!r} is no model that is known here", cure=Cure(Deed.LIST_MODELS))
    if ties.model and ties.device and (ties.device.vendor, ties.device.model) != (ties.model.vendor, ties.model.name):
        return ModelUnsupported(f"{ties.device.mac.colons} is a {ties.device.model}, not a {ties.model.name}")
    if ties.device and ties.device_model is None:
        return ModelUnsupported(f"{ties.device.mac.colons} is a {ties.device.model}, which is not known here any more")
    return None


def _voiceless(found: Extension, ties: Ties) -> Conflict | None:
    deaf = next((one for one in (ties.model, ties.device_model) if one and not one.ivr_activation), None)
    if deaf is None:
        return None
    return IvrUnsupportedModel(
        f"{deaf.name} cannot call the activation prompts: bind it by its MAC instead",
        cure=Cure(Deed.BIND, found.number),
    )
